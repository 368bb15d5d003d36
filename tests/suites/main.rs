//! Suites that cross crates, in one binary.

mod bad_input;
mod batch;
mod care;
mod concurrency;
mod conformance;
mod documents;
mod group;
mod idempotency;
mod lists;
mod model;
mod opening;
mod reads;
mod support;
mod tenancy;
