//! The suite on the kit's own backends, and what is special about each of them.

mod conformance;
mod counting;
mod faulty;
mod memory;
