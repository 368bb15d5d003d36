//! Suites that cross crates, in one binary.

mod conformance;
mod model;
