use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::*;

#[test]
fn a_panic_in_a_callers_closure_goes_through_unchanged() {
    let backend = memory();
    put(&backend, b"k", b"v").unwrap();
    let text = |panic: Box<dyn std::any::Any + Send>| *panic.downcast::<&str>().unwrap();

    let planned = catch_unwind(AssertUnwindSafe(|| {
        backend.commit(CommitOptions::default(), &mut |_| panic!("in the plan"))
    }));
    assert_eq!(text(planned.unwrap_err()), "in the plan");
    let snapshot = backend.snapshot().unwrap();
    let visited = catch_unwind(AssertUnwindSafe(|| {
        snapshot.get(Keyspace::Set, b"k", &mut |_| panic!("in the visit"))
    }));
    assert_eq!(text(visited.unwrap_err()), "in the visit");
    let scanned = catch_unwind(AssertUnwindSafe(|| {
        snapshot.scan(
            Keyspace::Set,
            &KeyRange::all(),
            Direction::Forward,
            &mut |_, _| panic!("in the scan"),
        )
    }));
    assert_eq!(text(scanned.unwrap_err()), "in the scan");

    assert_eq!(backend.health(), Health::Healthy);
    put(&backend, b"k", b"w").unwrap();
    assert_eq!(get_now(&backend, b"k"), Some(b"w".to_vec()));
    drop(snapshot);
    assert!(backend.maintain(Maintenance::Verify).unwrap().intact);
}

#[test]
fn a_plan_sees_the_latest_state_and_its_error_commits_nothing() {
    let backend = memory();
    put(&backend, b"k", b"1").unwrap();
    let error = backend.commit(CommitOptions::default(), &mut |view| {
        assert_eq!(get(view, b"k")?, Some(b"1".to_vec()));
        // A snapshot may be taken inside.
        assert_eq!(get_now(&backend, b"k"), Some(b"1".to_vec()));
        Err(Error::new(ErrorKind::Invalid, "no"))
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    backend
        .commit(CommitOptions::default(), &mut |_| Ok(WriteBatch::new()))
        .unwrap();
    assert_eq!(backend.stats().unwrap().commits, 1);
}

#[test]
fn snapshots_are_cached_between_commits_and_counted_while_held() {
    let backend = memory();
    let one = backend.hold().unwrap();
    let two = backend.hold().unwrap();
    assert!(Arc::ptr_eq(&one.view, &two.view));
    std::thread::sleep(Duration::from_millis(5));
    let stats = backend.stats().unwrap();
    assert_eq!(stats.open_snapshots, 2);
    assert!(stats.oldest_snapshot >= Some(Duration::from_millis(5)));
    drop(one);
    drop(two);
    assert_eq!(backend.stats().unwrap().open_snapshots, 0);
    assert_eq!(backend.stats().unwrap().oldest_snapshot, None);

    put(&backend, b"k", b"v").unwrap();
    assert_eq!(get_now(&backend, b"k"), Some(b"v".to_vec()));
}

#[test]
fn a_view_begun_before_a_commit_does_not_come_back() {
    let backend = memory();
    let begin = || {
        backend
            .with_engine(|engine| engine.begin_view().map(Arc::new))
            .unwrap()
    };
    let epoch = backend.cache.get().err().unwrap();
    let stale = begin();
    put(&backend, b"k", b"v").unwrap();
    assert!(Arc::ptr_eq(
        &backend.cache.offer(Arc::clone(&stale), epoch),
        &stale
    ));
    assert_eq!(get_now(&backend, b"k"), Some(b"v".to_vec()));

    // Nor is one taken in while a commit is under way.
    backend.cache.clear();
    let window = backend.cache.commit();
    let epoch = backend.cache.get().err().unwrap();
    backend.cache.offer(Arc::clone(&stale), epoch);
    assert!(backend.cache.get().is_err());
    drop(window);

    // Who comes later than another reader shares its view, so that nobody is ahead of the cache.
    let epoch = backend.cache.get().err().unwrap();
    backend.cache.offer(Arc::clone(&stale), epoch);
    assert!(Arc::ptr_eq(&backend.cache.offer(begin(), epoch), &stale));
}

#[test]
fn readers_never_see_a_commit_go_away() {
    let backend = memory();
    put(&backend, b"n", &0_u64.to_be_bytes()).unwrap();
    let (seen, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let least = seen.load(Ordering::SeqCst);
                    let number = get_now(&backend, b"n").unwrap();
                    let number = u64::from_be_bytes(number.try_into().unwrap());
                    assert!(number >= least, "{number} after {least}");
                    seen.fetch_max(number, Ordering::SeqCst);
                }
            });
        }
        for number in 1..=2_000_u64 {
            let durability = if number % 8 == 0 {
                Durability::Immediate
            } else {
                Durability::Deferred
            };
            commit_as(&backend, durability, |batch| {
                batch.put(Keyspace::Set, b"n", number.to_be_bytes());
            })
            .unwrap();
            seen.fetch_max(number, Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn maintenance_is_busy_beside_snapshots_and_gives_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog");
    let backend = RedbBackend::create(&path, options(), |backend| {
        commit_as(backend, Durability::Immediate, |batch| {
            for row in 0..3_000_u32 {
                batch.put(Keyspace::Set, row.to_be_bytes(), vec![7; 1_000]);
            }
        })
    })
    .unwrap();
    commit_as(&backend, Durability::Immediate, |batch| {
        batch.delete_range(Keyspace::Set, KeyRange::all());
    })
    .unwrap();
    let held = backend.snapshot().unwrap();
    for what in [Maintenance::Compact, Maintenance::Verify] {
        let busy = backend.maintain(what).unwrap_err();
        assert_eq!((busy.kind(), busy.open_snapshots()), (ErrorKind::Busy, Some(1)));
    }
    drop(held);
    let stats = backend.stats().unwrap();
    let report = backend.maintain(Maintenance::Compact).unwrap();
    assert!(report.size_after * 4 < report.size_before, "{report:?}");
    assert!(
        stats.fragmented_bytes.unwrap() * 10 > (report.size_before - report.size_after) * 9,
        "{stats:?}"
    );
    assert_eq!(backend.stats().unwrap().size_bytes, Some(report.size_after));
    assert!(backend.maintain(Maintenance::Verify).unwrap().intact);
}

#[test]
fn maintenance_and_reopening_beside_readers_and_writers_end() {
    let backend = memory();
    put(&backend, b"k", b"v").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2_u8 {
            let (backend, done) = (&backend, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    // A reopening may close the snapshot's file under it: typed, and only then.
                    let read = backend.snapshot().and_then(|snapshot| get(&*snapshot, b"k"));
                    assert!(read.as_ref().map_or_else(
                        |error| error.kind() == ErrorKind::Unavailable,
                        |found| found.is_some()
                    ));
                    put(backend, &[thread], b"w").unwrap();
                }
            });
        }
        for round in 0..60 {
            let what = if round % 2 == 0 {
                Maintenance::Compact
            } else {
                Maintenance::Verify
            };
            match backend.maintain(what) {
                Ok(report) => assert!(report.intact),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Busy),
            }
            if round % 10 == 0 {
                backend.reopen().unwrap();
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(backend.health(), Health::Healthy);
}

#[test]
fn shared_modes_follow_each_other_and_refuse_deferring() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog");
    for concurrency in [Concurrency::SingleWriter, Concurrency::MultiWriter] {
        let shared = RedbOptions {
            concurrency,
            ..options()
        };
        let writer = RedbBackend::create(&path, shared, |backend| put(backend, b"k", b"1")).unwrap();
        let reader = RedbBackend::open(
            &path,
            RedbOptions {
                read_only: true,
                ..shared
            },
        )
        .unwrap();
        assert!(!writer.limits().exclusive && !writer.limits().deferred_durability);
        assert_eq!(get_now(&reader, b"k"), Some(b"1".to_vec()));
        put(&writer, b"k", b"2").unwrap();
        assert_eq!(get_now(&reader, b"k"), Some(b"2".to_vec()));
        let deferred = commit_as(&writer, Durability::Deferred, |_| {});
        assert_eq!(deferred.unwrap_err().kind(), ErrorKind::Unsupported);
        // A peer's snapshot stands in the way of compaction.
        let held = reader.snapshot().unwrap();
        assert_eq!(
            writer.maintain(Maintenance::Compact).unwrap_err().kind(),
            ErrorKind::Busy
        );
        drop(held);
        writer.maintain(Maintenance::Compact).unwrap();
        if concurrency == Concurrency::MultiWriter {
            let other = RedbBackend::open(&path, shared).unwrap();
            put(&other, b"k", b"3").unwrap();
            writer
                .commit(CommitOptions::default(), &mut |view| {
                    assert_eq!(get(view, b"k")?, Some(b"3".to_vec()));
                    Ok(WriteBatch::new())
                })
                .unwrap();
        } else {
            assert_eq!(
                RedbBackend::open(&path, shared).err().unwrap().kind(),
                ErrorKind::InUse
            );
        }
        assert_eq!(
            RedbBackend::open(&path, options()).err().unwrap().kind(),
            ErrorKind::InUse
        );
        drop((writer, reader));
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_scan_stops_where_it_is_told() {
    let backend = memory();
    for key in [b"a", b"b", b"c"] {
        put(&backend, key, b"v").unwrap();
    }
    let snapshot = backend.snapshot().unwrap();
    let mut seen = Vec::new();
    snapshot
        .scan(
            Keyspace::Set,
            &KeyRange::new(b"b".to_vec(), None),
            Direction::Reverse,
            &mut |key, _| {
                seen.push(key.to_vec());
                if seen.len() == 2 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        )
        .unwrap();
    assert_eq!(seen, [b"c".to_vec(), b"b".to_vec()]);
    let inverted = KeyRange::new(b"c".to_vec(), Some(b"a".to_vec()));
    snapshot
        .scan(Keyspace::Set, &inverted, Direction::Forward, &mut |_, _| {
            panic!("no row")
        })
        .unwrap();
    let mut found = Vec::new();
    snapshot
        .get_many(Keyspace::Set, &[b"c", b"x", b"a"], &mut |at, _| found.push(at))
        .unwrap();
    assert_eq!(found, [0, 2]);
    snapshot
        .get(Keyspace::Asset, b"a", &mut |_| panic!("no table"))
        .unwrap();
}
