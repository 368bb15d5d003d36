//! Snapshots beside commits, and commits beside each other.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use shelfmark::ErrorKind;
use shelfmark::backend::{Backend, Direction, Durability, KeyRange, Keyspace, Snapshot, WriteBatch};

use super::{Make, all, get, must, options, put_all, rows_of, scan, snapshot, value_of, write};

/// Long enough for any commit, short enough to fail a test rather than hang it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn a_held_snapshot_does_not_change(make: Make<'_>) {
    let backend = make();
    let empty = snapshot(&*backend);
    write(&*backend, |batch| {
        put_all(batch, Keyspace::Set, &[b"a", b"b", b"c"]);
        put_all(batch, Keyspace::Asset, &[b"x"]);
    });
    let held = snapshot(&*backend);
    let unchanged = |after: &str| {
        assert_eq!(all(&*empty, Keyspace::Set), [], "an empty snapshot after {after}");
        assert_eq!(
            all(&*held, Keyspace::Set),
            rows_of(&[b"a", b"b", b"c"]),
            "a held snapshot after {after}"
        );
        let reverse = scan(&*held, Keyspace::Set, &KeyRange::prefix(b"b"), Direction::Reverse);
        assert_eq!(
            reverse,
            rows_of(&[b"b"]),
            "a reverse scan of a held snapshot after {after}"
        );
        assert_eq!(
            get(&*held, Keyspace::Set, b"a"),
            Some(value_of(b"a")),
            "a held snapshot after {after}"
        );
        assert_eq!(
            get(&*held, Keyspace::Set, b"d"),
            None,
            "a held snapshot after {after}"
        );
        assert_eq!(
            all(&*held, Keyspace::Asset),
            rows_of(&[b"x"]),
            "a held snapshot after {after}"
        );
    };
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"d"]));
    unchanged("a put");
    write(&*backend, |batch| {
        batch.put(Keyspace::Set, b"a", b"other");
    });
    unchanged("a replacement");
    write(&*backend, |batch| batch.delete(Keyspace::Set, b"b"));
    unchanged("a delete");
    write(&*backend, |batch| {
        batch.delete_range(Keyspace::Set, KeyRange::all());
    });
    unchanged("a range delete");
    for number in 0..200u32 {
        write(&*backend, |batch| {
            put_all(batch, Keyspace::Asset, &[&number.to_be_bytes()]);
        });
    }
    unchanged("many commits");
    drop(empty);
    assert_eq!(
        all(&*held, Keyspace::Set),
        rows_of(&[b"a", b"b", b"c"]),
        "a snapshot after an older one was dropped"
    );
    assert_eq!(
        all(&*snapshot(&*backend), Keyspace::Set),
        [],
        "a new snapshot sees the range delete"
    );
}

pub(super) fn a_snapshot_outlives_its_frame_and_crosses_threads(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"a", b"b"]));
    let held: Arc<dyn Snapshot> = {
        let handle = Arc::clone(&backend);
        Arc::from(snapshot(&*handle))
    };
    write(&*backend, |batch| {
        batch.delete_range(Keyspace::Set, KeyRange::all());
    });
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let held = Arc::clone(&held);
            std::thread::spawn(move || {
                for _ in 0..50 {
                    assert_eq!(
                        all(&*held, Keyspace::Set),
                        rows_of(&[b"a", b"b"]),
                        "a snapshot shared by threads"
                    );
                    assert_eq!(
                        get(&*held, Keyspace::Set, b"b"),
                        Some(value_of(b"b")),
                        "a shared snapshot's get"
                    );
                }
            })
        })
        .collect();
    for reader in readers {
        assert!(reader.join().is_ok(), "threads read one snapshot");
    }
    // Moved to a thread and dropped there.
    let owned = snapshot(&*backend);
    let moved = std::thread::spawn(move || all(&*owned, Keyspace::Set)).join();
    assert_eq!(moved.ok(), Some(Vec::new()), "a snapshot moved to another thread");
    drop(held);
    let open = must(backend.stats(), "stats").open_snapshots;
    assert_eq!(
        open, 0,
        "open snapshots after those of other threads were dropped"
    );
}

pub(super) fn reads_do_not_wait_for_a_commit_under_way(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"a"]));
    let (send, receive) = mpsc::channel();
    let done = backend.commit(options(Durability::Immediate), &mut |_| {
        // Detached: a backend that makes readers wait for the writer must fail the check, not hang it.
        let (backend, send) = (Arc::clone(&backend), send.clone());
        std::thread::spawn(move || {
            let rows = all(&*snapshot(&*backend), Keyspace::Set);
            // The other end is gone when the wait was given up.
            let _ = send.send(rows);
        });
        let seen = receive.recv_timeout(PATIENCE).ok();
        assert_eq!(
            seen,
            Some(rows_of(&[b"a"])),
            "a reader beside a commit sees the state before it, without waiting"
        );
        let mut batch = WriteBatch::new();
        put_all(&mut batch, Keyspace::Set, &[b"b"]);
        Ok(batch)
    });
    must(done, "a commit beside a reader");
    assert_eq!(
        all(&*snapshot(&*backend), Keyspace::Set),
        rows_of(&[b"a", b"b"]),
        "rows after it"
    );
}

pub(super) fn commits_are_seen_whole(make: Make<'_>) {
    const ROUNDS: u8 = 60;
    const SPACES: [Keyspace; 3] = [Keyspace::Store, Keyspace::Asset, Keyspace::SetSchema];
    let backend = make();
    let round = |round: u8| {
        write(&*backend, |batch| {
            for space in SPACES {
                batch.delete_range(space, KeyRange::all());
                for key in 0..5 {
                    batch.put(space, vec![key, round % 3], vec![round]);
                }
            }
        });
    };
    round(0);
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The readers must come to an end even when a commit fails.
            let outcome = catch_unwind(AssertUnwindSafe(|| (1..ROUNDS).for_each(round)));
            finished.store(true, Ordering::Release);
            if let Err(panic) = outcome {
                resume_unwind(panic);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                loop {
                    let finished = finished.load(Ordering::Acquire);
                    let view = snapshot(&*backend);
                    let rows = SPACES.map(|space| all(&*view, space));
                    let round = rows[0].first().map(|(_, value)| value[0]);
                    let whole = rows.iter().all(|rows| {
                        rows.len() == 5 && rows.iter().all(|(_, value)| value.first().copied() == round)
                    });
                    assert!(whole, "a snapshot beside commits saw a part of one: {rows:x?}");
                    assert!(round >= Some(last), "a later snapshot saw an earlier state");
                    last = round.unwrap_or(last);
                    if finished {
                        break;
                    }
                }
                assert_eq!(last, ROUNDS - 1, "a snapshot taken after the last commit sees it");
            });
        }
    });
}

pub(super) fn concurrent_increments_are_not_lost(make: Make<'_>) {
    const THREADS: u64 = 8;
    const EACH: u64 = 25;
    let backend = make();
    let number = |view: &dyn Snapshot| {
        let value = get(view, Keyspace::Meta, b"number");
        value
            .and_then(|value| value.try_into().ok())
            .map_or(0, u64::from_be_bytes)
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let backend = &*backend;
            scope.spawn(move || {
                for step in 0..EACH {
                    increment(backend, &number, &[thread as u8, step as u8]);
                }
            });
        }
    });
    let view = snapshot(&*backend);
    assert_eq!(number(&*view), THREADS * EACH, "increments by concurrent commits");
    let rows = all(&*view, Keyspace::Set);
    assert_eq!(
        rows.len() as u64,
        THREADS * EACH,
        "rows put by concurrent commits"
    );
    let mut numbers: Vec<Vec<u8>> = rows.into_iter().map(|(_, value)| value).collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(
        numbers.len() as u64,
        THREADS * EACH,
        "each concurrent commit has a number of its own"
    );
}

fn increment(backend: &dyn Backend, number: &dyn Fn(&dyn Snapshot) -> u64, key: &[u8]) {
    loop {
        let done = backend.commit(options(Durability::Immediate), &mut |view| {
            let next = (number(view) + 1).to_be_bytes().to_vec();
            let mut batch = WriteBatch::new();
            batch.put(Keyspace::Meta, b"number", next.clone());
            batch.put(Keyspace::Set, key, next);
            Ok(batch)
        });
        match done {
            Ok(()) => return,
            // A shared engine may give up after many conflicts; then nothing was written.
            Err(error) if error.kind() == ErrorKind::Contended => {}
            Err(error) => panic!("a concurrent commit failed with {}: {error}", error.kind()),
        }
    }
}
