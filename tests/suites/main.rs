//! Suites that cross crates, in one binary.

mod concurrency;
mod conformance;
mod opening;
mod reads;
mod support;
