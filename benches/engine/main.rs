//! The engine's own operations, each on a file, each with its answer checked.
//!
//! `cargo bench -p shelfmark-benches` measures; with `-- --test` every bench runs once.

#![expect(
    clippy::unwrap_used,
    reason = "a bench stops where an answer is not as it should be"
)]

mod fixture;
mod reads;
mod writes;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = engine;
    config = short();
    targets = reads::gets, reads::lists, reads::counts, writes::creates, writes::changes, writes::deletes
}
criterion_main!(engine);
