use std::ops::ControlFlow;
use std::sync::Arc;

use shelfmark::backend::{Backend, CommitOptions, Direction, KeyRange, Keyspace, WriteBatch};
use shelfmark::{Error, ErrorKind};
use shelfmark_testkit::{CountingBackend, Counts, MemoryBackend};

#[test]
fn counts_what_is_asked_by_keyspace() {
    let backend = CountingBackend::new(Arc::new(MemoryBackend::new().retry_plans(1)));
    backend
        .commit(CommitOptions::default(), &mut |view| {
            view.get(Keyspace::Meta, b"m", &mut |_| {})?;
            let mut batch = WriteBatch::new();
            for key in [b"a", b"b", b"c", b"a"] {
                batch.put(Keyspace::Set, key, Vec::new());
            }
            batch.delete(Keyspace::Set, b"d");
            batch.delete_range(Keyspace::Asset, KeyRange::all());
            batch.count(Keyspace::Set, Vec::new(), 3);
            Ok(batch)
        })
        .unwrap();
    let counts = backend.counts();
    let set = counts.space(Keyspace::Set);
    // What is written once is counted once, though the plan ran twice; what the plan read, twice.
    assert_eq!(
        (set.puts, set.deletes, set.deltas, set.rows_written()),
        (3, 1, 1, 4)
    );
    assert_eq!(counts.space(Keyspace::Asset).range_deletes, 1);
    assert_eq!(counts.space(Keyspace::Meta).got, 2);
    assert_eq!((counts.commits, counts.snapshots), (1, 0));

    backend.reset();
    assert_eq!(backend.counts(), Counts::default());
    let view = backend.snapshot().unwrap();
    view.get(Keyspace::Set, b"absent", &mut |_| {}).unwrap();
    view.get_many(Keyspace::Set, &[b"a", b"b", b"x"], &mut |_, _| {})
        .unwrap();
    let mut left = 2;
    let mut two_rows = |_: &[u8], _: &[u8]| {
        left -= 1;
        if left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    view.scan(Keyspace::Set, &KeyRange::all(), Direction::Forward, &mut two_rows)
        .unwrap();
    view.count(Keyspace::SetByAsset, &[b"p", b"q"]).unwrap();
    let counts = backend.counts();
    let set = counts.space(Keyspace::Set);
    assert_eq!(
        (set.lookups, set.got, set.scans, set.visited, set.rows_read()),
        (2, 4, 1, 2, 6)
    );
    assert_eq!(counts.total().counts, 1);
    assert_eq!(
        counts.to_string(),
        "snapshots 1, commits 0\n\
         set: lookups 2, got 4, scans 1, visited 2\n\
         set_by_asset: counts 1\n\
         total: lookups 2, got 4, scans 1, visited 2, counts 1"
    );
}

#[test]
fn what_was_not_committed_is_not_counted_as_written() {
    let backend = CountingBackend::new(Arc::new(MemoryBackend::new()));
    let refused = backend.commit(CommitOptions::default(), &mut |_| {
        Err(Error::new(ErrorKind::NotFound, "the plan says no"))
    });
    assert!(refused.is_err());
    assert_eq!(backend.counts(), Counts::default());
}
