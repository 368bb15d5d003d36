//! Suites that cross crates, in one binary.

mod bad_input;
mod batch;
mod care;
mod compatibility;
mod concurrency;
mod conformance;
mod corruption;
mod crashes;
mod documents;
mod extremes;
mod faults;
mod feed;
mod formats;
mod group;
mod hooks;
mod idempotency;
mod kill;
mod linear;
mod lists;
mod medium;
mod model;
mod opening;
mod reads;
mod support;
mod tenancy;
mod undrop;
