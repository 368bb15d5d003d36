use std::process::Command;

use super::*;

const CHILD_DIRECTORY: &str = "SHELFMARK_TEST_LIMITED_DIRECTORY";

fn fill(backend: &RedbBackend, rows: u32) -> Result<()> {
    commit_as(backend, Durability::Immediate, |batch| {
        for row in 0..rows {
            batch.put(Keyspace::Set, row.to_be_bytes(), vec![7; 1_000]);
        }
    })
}

#[test]
fn every_failing_write_latches_and_reopening_recovers() {
    let mut kinds = Vec::new();
    for nth in 1.. {
        let storage = Flaky::default();
        let backend = storage.backend();
        put(&backend, b"before", b"1").unwrap();
        storage.fail_write(nth, io::ErrorKind::StorageFull);
        let Err(error) = fill(&backend, 600) else { break };
        kinds.push(error.kind());
        assert!(std::error::Error::source(&error).is_some());
        assert!(
            matches!(backend.health(), Health::Latched { .. }),
            "write {nth}: {error}"
        );
        for call in [
            put(&backend, b"x", b"1"),
            backend.sync(),
            backend.maintain(Maintenance::Compact).map(drop),
        ] {
            assert_eq!(call.unwrap_err().kind(), ErrorKind::Unavailable);
        }
        storage.mend();
        assert_eq!(
            put(&backend, b"x", b"1").unwrap_err().kind(),
            ErrorKind::Unavailable
        );
        let held = backend.snapshot();
        backend.reopen().unwrap();
        assert_eq!(backend.health(), Health::Healthy);
        assert_eq!(get_now(&backend, b"before"), Some(b"1".to_vec()), "write {nth}");
        let rows = all(&*backend.snapshot().unwrap(), Keyspace::Set, Direction::Forward).len();
        assert!(
            rows == 1 || (rows == 601 && error.kind() == ErrorKind::CommitUnknown),
            "{rows} rows: {error}"
        );
        put(&backend, b"after", b"2").unwrap();
        // A snapshot of before works or fails typed.
        if let Ok(held) = held
            && let Err(error) = get(&*held, b"before")
        {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
        }
    }
    assert!(kinds.contains(&ErrorKind::StorageFull), "{kinds:?}");
    assert!(kinds.contains(&ErrorKind::CommitUnknown), "{kinds:?}");
    assert!(
        kinds
            .iter()
            .all(|kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::CommitUnknown))
    );
}

#[test]
fn what_redb_swallows_does_not_latch() {
    // Deferred commits leave pages in memory; a read that needs room writes them back, and that write may fail.
    let storage = Flaky::default();
    let small = RedbOptions {
        cache_bytes: 1 << 20,
        ..options()
    };
    let backend = RedbBackend::start(storage.storage(), Medium::None, small, true).unwrap();
    fill(&backend, 2_000).unwrap();
    commit_as(&backend, Durability::Deferred, |batch| {
        for row in 0..60_u32 {
            batch.put(Keyspace::Set, (row * 30).to_be_bytes(), vec![8; 1_000]);
        }
    })
    .unwrap();
    storage.0.failing_writes.store(3, Ordering::SeqCst);
    let rows = all(&*backend.snapshot().unwrap(), Keyspace::Set, Direction::Forward);
    assert_eq!(rows.len(), 2_000);
    assert!(
        storage.0.failing_writes.swap(0, Ordering::SeqCst) < 3,
        "nothing failed"
    );
    assert_eq!(backend.health(), Health::Healthy);
    put(&backend, b"after", b"1").unwrap();
    backend.reopen().unwrap();
    assert_eq!(get_now(&backend, &30_u32.to_be_bytes()), Some(vec![8; 1_000]));
}

#[test]
fn a_failing_read_latches() {
    let storage = Flaky::default();
    let backend = RedbBackend::start(
        storage.storage(),
        Medium::None,
        RedbOptions {
            cache_bytes: 0,
            ..options()
        },
        true,
    )
    .unwrap();
    fill(&backend, 500).unwrap();
    storage.0.fail_reads.store(true, Ordering::SeqCst);
    let error = backend
        .snapshot()
        .and_then(|snapshot| get(&*snapshot, b"k"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(matches!(backend.health(), Health::Latched { reason } if reason.contains("bad sector")));
    storage.mend();
    backend.reopen().unwrap();
    assert_eq!(get_now(&backend, &7_u32.to_be_bytes()), Some(vec![7; 1_000]));
}

#[test]
fn a_panic_of_the_engine_is_corruption_and_latches() {
    let storage = Flaky::default();
    let backend = RedbBackend::start(
        storage.storage(),
        Medium::None,
        RedbOptions {
            cache_bytes: 0,
            ..options()
        },
        true,
    )
    .unwrap();
    fill(&backend, 500).unwrap();
    storage.0.panic_on_reads.store(true, Ordering::SeqCst);
    let error = backend
        .snapshot()
        .and_then(|snapshot| get(&*snapshot, b"k"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("a page out of order")
    );
    assert!(matches!(backend.health(), Health::Latched { .. }));
    storage.mend();
    assert_eq!(
        put(&backend, b"x", b"1").unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    backend.reopen().unwrap();
    put(&backend, b"x", b"1").unwrap();

    // In a large commit, on whichever thread.
    storage.0.panic_on_reads.store(true, Ordering::SeqCst);
    let error = commit_as(&backend, Durability::Immediate, |batch| {
        for row in 0..4_000_u32 {
            batch.put(Keyspace::Set, row.to_be_bytes(), vec![1]);
            batch.put(Keyspace::Asset, row.to_be_bytes(), vec![1]);
        }
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(matches!(backend.health(), Health::Latched { .. }));
    storage.mend();
    backend.reopen().unwrap();
    assert_eq!(
        all(&*backend.snapshot().unwrap(), Keyspace::Asset, Direction::Forward),
        []
    );
    assert_eq!(get_now(&backend, b"x"), Some(b"1".to_vec()));
}

#[test]
fn a_panic_within_a_commit_leaves_its_outcome_unknown() {
    let storage = Flaky::default();
    let backend = storage.backend();
    put(&backend, b"k", b"1").unwrap();
    storage.0.panic_on_syncs.store(true, Ordering::SeqCst);
    assert_eq!(
        put(&backend, b"k", b"2").unwrap_err().kind(),
        ErrorKind::CommitUnknown
    );
    assert!(matches!(backend.health(), Health::Latched { .. }));
    storage.mend();
    backend.reopen().unwrap();
    assert!(get_now(&backend, b"k").is_some());
    put(&backend, b"k", b"3").unwrap();
}

#[test]
fn a_failed_reopening_can_be_tried_again() {
    let storage = Flaky::default();
    let backend = storage.backend();
    put(&backend, b"k", b"v").unwrap();
    storage.0.fail_reads.store(true, Ordering::SeqCst);
    assert!(backend.reopen().is_err());
    assert!(matches!(backend.health(), Health::Latched { .. }));
    assert_eq!(backend.snapshot().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(
        put(&backend, b"k", b"w").unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    storage.mend();
    backend.reopen().unwrap();
    assert_eq!(get_now(&backend, b"k"), Some(b"v".to_vec()));
}

#[test]
fn syncing_makes_deferred_commits_durable() {
    let storage = Flaky::default();
    let backend = storage.backend();
    put(&backend, b"a", b"1").unwrap();
    commit_as(&backend, Durability::Deferred, |batch| {
        batch.put(Keyspace::Set, b"b", b"2");
    })
    .unwrap();
    assert_eq!(get_now(&backend, b"b"), Some(b"2".to_vec()));
    let lost = storage.after_power_loss().backend();
    assert_eq!(
        (get_now(&lost, b"a"), get_now(&lost, b"b")),
        (Some(b"1".to_vec()), None)
    );
    backend.sync().unwrap();
    let kept = storage.after_power_loss().backend();
    assert_eq!(get_now(&kept, b"b"), Some(b"2".to_vec()));
    assert_eq!(backend.stats().unwrap().commits, 2);
}

/// The real limit of a real file: the child may not grow it beyond a few blocks.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_may_not_grow_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 4096; exec \"$0\" --exact --nocapture \"$1\"",
        ])
        .arg(std::env::current_exe().unwrap())
        .arg("backend::redb::tests::faults::child_fills_a_limited_file")
        .env(CHILD_DIRECTORY, directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn child_fills_a_limited_file() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else {
        return;
    };
    let path = Path::new(&directory).join("catalog");
    let backend = RedbBackend::create(&path, options(), |backend| put(backend, b"k", b"v")).unwrap();
    let error = fill(&backend, 20_000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(matches!(backend.health(), Health::Latched { .. }));
    backend.reopen().unwrap();
    assert_eq!(get_now(&backend, b"k"), Some(b"v".to_vec()));
    put(&backend, b"k", b"w").unwrap();
}
