//! Suites that cross crates, in one binary.

mod concurrency;
mod conformance;
mod reads;
mod support;
