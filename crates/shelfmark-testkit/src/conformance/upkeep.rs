//! Limits, figures, maintenance and reopening.

use shelfmark::ErrorKind;
use shelfmark::backend::{Health, KeyRange, Keyspace, Maintenance};

use super::{MAX_KEY, MAX_VALUE, Make, all, must, must_fail, put_all, rows_of, snapshot, write};

pub(super) fn limits_are_large_enough(make: Make<'_>) {
    let backend = make();
    let limits = backend.limits();
    assert!(limits.writable, "the suite needs a writable backend");
    assert!(
        limits.max_key >= MAX_KEY,
        "keys of {MAX_KEY} bytes are needed: {limits:?}"
    );
    assert!(
        limits.max_value >= MAX_VALUE,
        "values of {MAX_VALUE} bytes are needed: {limits:?}"
    );
    assert_eq!(backend.health(), Health::Healthy, "the health of a new backend");
}

pub(super) fn stats_follow_snapshots_and_commits(make: Make<'_>) {
    let backend = make();
    let before = must(backend.stats(), "stats");
    assert_eq!(before.open_snapshots, 0, "open snapshots of a new backend");
    assert_eq!(
        before.oldest_snapshot, None,
        "the oldest snapshot where none is open"
    );
    let first = snapshot(&*backend);
    assert_eq!(
        must(backend.stats(), "stats").open_snapshots,
        1,
        "open snapshots after one"
    );
    let second = snapshot(&*backend);
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"a"]));
    let third = snapshot(&*backend);
    let stats = must(backend.stats(), "stats");
    assert_eq!(stats.open_snapshots, 3, "open snapshots after three");
    assert_eq!(stats.commits, before.commits + 1, "commits after one");
    drop(second);
    assert_eq!(
        must(backend.stats(), "stats").open_snapshots,
        2,
        "open snapshots after one was dropped"
    );
    drop((first, third));
    let stats = must(backend.stats(), "stats");
    assert_eq!(stats.open_snapshots, 0, "open snapshots after all were dropped");
    assert_eq!(
        stats.oldest_snapshot, None,
        "the oldest snapshot after all were dropped"
    );
    for _ in 0..3 {
        write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"a", b"b"]));
    }
    let stats = must(backend.stats(), "stats");
    assert_eq!(stats.commits, before.commits + 4, "commits after four");
    assert_eq!(stats.open_snapshots, 0, "the views of commits do not stay open");
}

pub(super) fn compaction_is_busy_while_a_snapshot_is_open(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| {
        put_all(batch, Keyspace::Set, &[b"a"]);
        for number in 0..500u32 {
            batch.put(Keyspace::Asset, number.to_be_bytes(), vec![1; 1000]);
        }
    });
    write(&*backend, |batch| {
        batch.delete_range(Keyspace::Asset, KeyRange::all());
    });
    let held = snapshot(&*backend);
    let error = must_fail(
        backend.maintain(Maintenance::Compact),
        "compaction with an open snapshot",
    );
    assert_eq!(
        error.kind(),
        ErrorKind::Busy,
        "the error of compaction with an open snapshot"
    );
    assert_eq!(
        error.open_snapshots(),
        Some(1),
        "how many snapshots stand in the way"
    );
    assert_eq!(
        all(&*held, Keyspace::Set),
        rows_of(&[b"a"]),
        "a snapshot that stood in the way"
    );
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"b"]));
    drop(held);
    let report = must(
        backend.maintain(Maintenance::Compact),
        "compaction without snapshots",
    );
    assert!(report.intact, "compaction reports an intact file");
    assert!(
        report.size_after <= report.size_before,
        "compaction grew the file: {report:?}"
    );
    assert_eq!(
        all(&*snapshot(&*backend), Keyspace::Set),
        rows_of(&[b"a", b"b"]),
        "rows after compaction"
    );
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"c"]));
    let rows = all(&*snapshot(&*backend), Keyspace::Set);
    assert_eq!(rows, rows_of(&[b"a", b"b", b"c"]), "a commit after compaction");
}

pub(super) fn verification_finds_a_healthy_backend_intact(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"a"]));
    let report = must(backend.maintain(Maintenance::Verify), "verification");
    assert!(report.intact, "verification of a healthy backend");
    let held = snapshot(&*backend);
    match backend.maintain(Maintenance::Verify) {
        Ok(report) => assert!(report.intact, "verification beside a snapshot"),
        Err(error) => assert_eq!(
            error.kind(),
            ErrorKind::Busy,
            "verification beside a snapshot: {error}"
        ),
    }
    drop(held);
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"b"]));
    assert_eq!(
        all(&*snapshot(&*backend), Keyspace::Set),
        rows_of(&[b"a", b"b"]),
        "rows after verification"
    );
}

pub(super) fn reopening_keeps_what_was_committed(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"a"]));
    let reopened = backend.reopen();
    if let Err(error) = &reopened {
        // What lives in this process alone cannot be opened again.
        assert_eq!(
            error.kind(),
            ErrorKind::Unsupported,
            "reopening without snapshots: {error}"
        );
    }
    assert_eq!(
        all(&*snapshot(&*backend), Keyspace::Set),
        rows_of(&[b"a"]),
        "rows after reopening"
    );
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"b"]));
    let held = snapshot(&*backend);
    if let Err(error) = backend.reopen() {
        let typed = matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Busy);
        assert!(
            typed,
            "reopening beside a snapshot gave {}: {error}",
            error.kind()
        );
    }
    let mut shown = None;
    // It may fail, but not show anything else.
    if held
        .get(Keyspace::Set, b"a", &mut |value| shown = Some(value.to_vec()))
        .is_ok()
    {
        assert_eq!(
            shown,
            Some(super::value_of(b"a")),
            "a snapshot held over a reopening"
        );
    }
    drop(held);
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"c"]));
    let rows = all(&*snapshot(&*backend), Keyspace::Set);
    assert_eq!(
        rows,
        rows_of(&[b"a", b"b", b"c"]),
        "rows after reopening beside a snapshot"
    );
    assert_eq!(backend.health(), Health::Healthy, "the health after reopening");
    assert_eq!(
        must(backend.stats(), "stats").open_snapshots,
        0,
        "open snapshots after reopening"
    );
}
