use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use shelfmark::backend::{
    Backend, CommitOptions, Direction, Health, KeyRange, Keyspace, Maintenance, WriteBatch,
};
use shelfmark::{ErrorKind, Result};
use shelfmark_testkit::{Fault, FaultyBackend, MemoryBackend};

fn backend() -> FaultyBackend {
    FaultyBackend::new(Arc::new(MemoryBackend::new()))
}

fn put(backend: &FaultyBackend, key: &[u8]) -> Result<()> {
    backend.commit(CommitOptions::default(), &mut |_| {
        let mut batch = WriteBatch::new();
        batch.put(Keyspace::Set, key, Vec::new());
        Ok(batch)
    })
}

fn has(backend: &FaultyBackend, key: &[u8]) -> Result<bool> {
    backend.snapshot()?.get(Keyspace::Set, key, &mut |_| {})
}

#[test]
fn the_nth_call_fails_and_only_that() {
    let backend = backend();
    let faults = backend.faults();
    faults.arm(Fault::snapshot(ErrorKind::Io).nth(2));
    assert!(backend.snapshot().is_ok());
    assert_eq!(backend.snapshot().unwrap_err().kind(), ErrorKind::Io);
    let view = backend.snapshot().unwrap();

    faults.arm(Fault::read(ErrorKind::Corrupt).nth(5));
    let mut calls = Vec::new();
    for _ in 0..2 {
        calls.push(view.get(Keyspace::Set, b"a", &mut |_| {}).is_ok());
        calls.push(view.get_many(Keyspace::Set, &[b"a"], &mut |_, _| {}).is_ok());
        let mut all = |_: &[u8], _: &[u8]| ControlFlow::Continue(());
        calls.push(
            view.scan(Keyspace::Set, &KeyRange::all(), Direction::Forward, &mut all)
                .is_ok(),
        );
        calls.push(view.count(Keyspace::Set, &[b"a"]).is_ok());
    }
    assert_eq!(calls, [true, true, true, true, false, true, true, true]);
    assert_eq!(faults.struck(), 2);

    faults.arm(Fault::snapshot(ErrorKind::Io).nth(2));
    faults.arm(Fault::snapshot(ErrorKind::Busy).nth(2));
    let outcomes = [(); 4].map(|()| backend.snapshot().err().map(|error| error.kind()));
    assert_eq!(
        outcomes,
        [None, Some(ErrorKind::Io), Some(ErrorKind::Busy), None],
        "one after the other"
    );

    faults.arm(Fault::snapshot(ErrorKind::Io));
    faults.disarm();
    assert!(backend.snapshot().is_ok());
}

#[test]
fn a_commit_fails_before_or_after_it_happens() {
    let backend = backend();
    let faults = backend.faults();
    faults.arm(Fault::before_commit(ErrorKind::StorageFull));
    assert_eq!(put(&backend, b"a").unwrap_err().kind(), ErrorKind::StorageFull);
    assert!(!has(&backend, b"a").unwrap());
    faults.arm(Fault::after_commit().nth(2));
    put(&backend, b"b").unwrap();
    assert_eq!(put(&backend, b"c").unwrap_err().kind(), ErrorKind::CommitUnknown);
    assert!(has(&backend, b"c").unwrap());
    faults.arm(Fault::sync(ErrorKind::Io));
    assert_eq!(backend.sync().unwrap_err().kind(), ErrorKind::Io);
    backend.sync().unwrap();
}

#[test]
fn a_latched_backend_reads_and_does_not_write_until_reopened() {
    let backend = backend();
    put(&backend, b"a").unwrap();
    backend
        .faults()
        .arm(Fault::before_commit(ErrorKind::Io).latching());
    assert_eq!(put(&backend, b"b").unwrap_err().kind(), ErrorKind::Io);
    assert!(matches!(backend.health(), Health::Latched { .. }));
    assert_eq!(put(&backend, b"b").unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(backend.sync().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(
        backend.maintain(Maintenance::Compact).unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    assert!(has(&backend, b"a").unwrap());
    backend.reopen().unwrap();
    assert_eq!(backend.health(), Health::Healthy);
    put(&backend, b"b").unwrap();
}

#[test]
fn commits_wait_while_they_are_held() {
    let backend = backend();
    let held = backend.faults().hold_commits();
    assert!(!held.wait_for(1, Duration::from_millis(1)));
    std::thread::scope(|scope| {
        let writers = [b"a", b"b"].map(|key| scope.spawn(|| put(&backend, key)));
        assert!(held.wait_for(2, Duration::from_secs(20)));
        assert_eq!(held.waiting(), 2);
        assert!(!has(&backend, b"a").unwrap(), "reads go on");
        drop(held);
        for writer in writers {
            writer.join().unwrap().unwrap();
        }
    });
    assert!(has(&backend, b"a").unwrap() && has(&backend, b"b").unwrap());
}
