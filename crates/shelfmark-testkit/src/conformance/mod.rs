//! What every backend must do, as one suite. A backend's tests call [`run`] with a way to make empty backends.
//!
//! Where a contract leaves a choice (which durabilities, whether counters are kept, whether `plan` runs twice), the checks allow
//! both and read [`Limits`](shelfmark::backend::Limits) for what is promised.

mod commits;
mod counters;
mod isolation;
mod model;
mod reads;
mod upkeep;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shelfmark::Result;
use shelfmark::backend::{
    Backend, CommitOptions, Direction, Durability, KeyRange, Keyspace, Snapshot, WriteBatch,
};

type Make<'a> = &'a dyn Fn() -> Arc<dyn Backend>;
type Row = (Vec<u8>, Vec<u8>);

/// Every key and value up to these sizes must be taken, and by every backend.
const MAX_KEY: usize = 1 << 10;
const MAX_VALUE: usize = 1 << 20;

type Check = fn(Make<'_>);

macro_rules! checks {
    ($($check:path,)+) => {
        &[$((stringify!($check), $check as Check),)+]
    };
}

const CHECKS: &[(&str, Check)] = checks![
    reads::an_empty_backend_has_no_rows,
    reads::get_shows_the_value_once,
    reads::get_many_shows_each_position,
    reads::scan_is_bytewise_both_ways_over_every_range,
    reads::scan_of_a_prefix_ends_with_it,
    reads::scan_stops_when_told,
    reads::scan_past_shows_what_comes_behind_the_skipped,
    reads::scan_each_shows_of_each_range_what_is_asked_for,
    reads::get_many_finds_keys_near_and_far,
    reads::keyspaces_are_apart,
    reads::large_keys_and_values_are_whole,
    commits::the_last_write_of_a_key_counts,
    commits::a_range_delete_takes_what_was_and_leaves_what_comes,
    commits::range_deletes_have_the_right_edges,
    commits::absorbed_batches_come_later,
    commits::an_empty_batch_changes_nothing,
    commits::the_plan_sees_the_latest_commit,
    commits::only_the_last_plan_of_a_commit_counts,
    commits::an_error_of_the_plan_leaves_no_trace,
    commits::a_panic_of_the_plan_leaves_no_trace,
    commits::a_large_batch_is_whole,
    commits::deferred_durability_is_supported_or_refused,
    counters::counts_follow_the_deltas,
    counters::counts_go_to_zero_and_back,
    counters::counts_of_keyspaces_and_prefixes_are_apart,
    counters::counts_go_with_a_cleared_parent,
    counters::counts_belong_to_the_snapshot,
    counters::failed_commits_do_not_count,
    isolation::a_held_snapshot_does_not_change,
    isolation::a_snapshot_outlives_its_frame_and_crosses_threads,
    isolation::reads_do_not_wait_for_a_commit_under_way,
    isolation::commits_are_seen_whole,
    isolation::concurrent_increments_are_not_lost,
    upkeep::limits_are_large_enough,
    upkeep::stats_follow_snapshots_and_commits,
    upkeep::compaction_is_busy_while_a_snapshot_is_open,
    upkeep::verification_finds_a_healthy_backend_intact,
    upkeep::reopening_keeps_what_was_committed,
    model::random_commits_agree_with_a_map,
];

/// Runs the whole suite. `make` gives an empty, writable backend that nothing else uses, a new one at each call; the suite asks for
/// about a hundred.
///
/// The seed of the random commits can be set by the environment variable `SHELFMARK_CONFORMANCE_SEED`.
///
/// # Panics
///
/// At the end, with the names of the checks that failed. What each of them found is printed as it happens.
pub fn run(make: &dyn Fn() -> Arc<dyn Backend>) {
    let failed: Vec<&str> = CHECKS
        .iter()
        .filter(|(_, check)| catch_unwind(AssertUnwindSafe(|| check(make))).is_err())
        .map(|(name, _)| *name)
        .collect();
    assert!(
        failed.is_empty(),
        "the backend does not conform: {} of {} checks failed: {}",
        failed.len(),
        CHECKS.len(),
        failed.join(", ")
    );
}

/// The value of a call that must succeed.
#[track_caller]
fn must<T>(result: Result<T>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what} failed with {}: {error}", error.kind()),
    }
}

/// The error of a call that must fail.
#[track_caller]
fn must_fail<T>(result: Result<T>, what: &str) -> shelfmark::Error {
    match result {
        Ok(_) => panic!("{what} succeeded"),
        Err(error) => error,
    }
}

/// Options of one more commit: each is another operation.
fn options(durability: Durability) -> CommitOptions {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let operation = u128::from(std::process::id()) << 64 | u128::from(NEXT.fetch_add(1, Ordering::Relaxed));
    CommitOptions::new(durability, operation)
}

/// Commits what `build` stages.
#[track_caller]
fn write(backend: &dyn Backend, build: impl Fn(&mut WriteBatch)) {
    let done = backend.commit(options(Durability::Immediate), &mut |_| {
        let mut batch = WriteBatch::new();
        build(&mut batch);
        Ok(batch)
    });
    must(done, "a commit");
}

/// Puts each key with a value of its own.
fn put_all(batch: &mut WriteBatch, space: Keyspace, keys: &[&[u8]]) {
    for key in keys {
        batch.put(space, key, value_of(key));
    }
}

/// A value that tells its key.
fn value_of(key: &[u8]) -> Vec<u8> {
    [b"value of ", key].concat()
}

fn rows_of(keys: &[&[u8]]) -> Vec<Row> {
    keys.iter().map(|key| (key.to_vec(), value_of(key))).collect()
}

#[track_caller]
fn snapshot(backend: &dyn Backend) -> Box<dyn Snapshot> {
    must(backend.snapshot(), "a snapshot")
}

/// The value of `key`; also checks that it is shown exactly when `get` says it is there.
#[track_caller]
fn get(view: &dyn Snapshot, space: Keyspace, key: &[u8]) -> Option<Vec<u8>> {
    let mut shown = Vec::new();
    let found = must(
        view.get(space, key, &mut |value| shown.push(value.to_vec())),
        "get",
    );
    assert_eq!(
        shown.len(),
        usize::from(found),
        "get shows the value once if it is there, and not otherwise"
    );
    shown.pop()
}

/// The rows of `range` in the order they are shown.
#[track_caller]
fn scan(view: &dyn Snapshot, space: Keyspace, range: &KeyRange, direction: Direction) -> Vec<Row> {
    let mut rows = Vec::new();
    let done = view.scan(space, range, direction, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    });
    must(done, "scan");
    rows
}

/// Every row of a keyspace, from the first to the last.
#[track_caller]
fn all(view: &dyn Snapshot, space: Keyspace) -> Vec<Row> {
    scan(view, space, &KeyRange::all(), Direction::Forward)
}

#[track_caller]
fn count(view: &dyn Snapshot, space: Keyspace, prefixes: &[&[u8]]) -> u64 {
    must(view.count(space, prefixes), "count")
}
