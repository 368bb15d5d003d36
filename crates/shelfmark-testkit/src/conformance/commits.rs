//! What a commit writes, and what it leaves alone when it fails.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use shelfmark::backend::{Backend, Direction, Durability, KeyRange, Keyspace, Snapshot, WriteBatch};
use shelfmark::{Error, ErrorKind};

use super::{
    Make, Row, all, count, get, must, must_fail, options, put_all, rows_of, scan, snapshot, value_of, write,
};

fn row(key: &[u8], value: &[u8]) -> Row {
    (key.to_vec(), value.to_vec())
}

pub(super) fn the_last_write_of_a_key_counts(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| {
        put_all(batch, Keyspace::Set, &[b"a", b"b", b"c"]);
    });
    write(&*backend, |batch| {
        batch.put(Keyspace::Set, b"a", b"1");
        batch.put(Keyspace::Set, b"a", b"2");
        batch.put(Keyspace::Set, b"b", b"3");
        batch.delete(Keyspace::Set, b"b");
        batch.delete(Keyspace::Set, b"c");
        batch.put(Keyspace::Set, b"c", b"4");
        batch.delete(Keyspace::Set, b"absent");
        batch.put(Keyspace::Set, b"new", b"5");
        batch.delete(Keyspace::Set, b"new");
    });
    let rows = all(&*snapshot(&*backend), Keyspace::Set);
    assert_eq!(
        rows,
        [row(b"a", b"2"), row(b"c", b"4")],
        "the last put or delete of each key counts"
    );
}

pub(super) fn a_range_delete_takes_what_was_and_leaves_what_comes(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| {
        put_all(batch, Keyspace::Set, &[b"a", b"p1", b"p2", b"p3", b"q"]);
    });
    write(&*backend, |batch| {
        batch.put(Keyspace::Set, b"p4", b"dropped");
        batch.put(Keyspace::Set, b"p2", b"dropped");
        batch.put(Keyspace::Set, b"r", b"outside");
        batch.delete_range(Keyspace::Set, KeyRange::prefix(b"p"));
        batch.put(Keyspace::Set, b"p2", b"later");
        batch.put(Keyspace::Set, b"p5", b"later");
        batch.delete(Keyspace::Set, b"p5");
        batch.delete(Keyspace::Set, b"q");
    });
    let rows = all(&*snapshot(&*backend), Keyspace::Set);
    let expected = [
        row(b"a", &value_of(b"a")),
        row(b"p2", b"later"),
        row(b"r", b"outside"),
    ];
    assert_eq!(
        rows, expected,
        "a range delete takes rows and earlier puts, and leaves later puts"
    );
    // Again and again in one batch, and over nothing.
    write(&*backend, |batch| {
        for round in 0..3u8 {
            batch.delete_range(Keyspace::Set, KeyRange::all());
            batch.put(Keyspace::Set, vec![round], vec![round]);
        }
        batch.delete_range(Keyspace::Store, KeyRange::all());
    });
    let rows = all(&*snapshot(&*backend), Keyspace::Set);
    assert_eq!(
        rows,
        [row(&[2], &[2])],
        "only what comes after the last of several range deletes stays"
    );
}

pub(super) fn range_deletes_have_the_right_edges(make: Make<'_>) {
    let keys: &[&[u8]] = &[
        b"\x00",
        b"\x00\x00",
        b"a",
        b"a\x00",
        b"a\xFF",
        b"a\xFF\xFF",
        b"b",
        b"\xFF",
        b"\xFF\xFF",
    ];
    let mut ranges: Vec<KeyRange> = [&b"a"[..], b"a\xFF", b"\x00", b"\xFF", b"\xFF\xFF", b"absent", b""]
        .map(KeyRange::prefix)
        .to_vec();
    ranges.push(KeyRange::new(b"a\x00".to_vec(), Some(b"a\xFF\xFF".to_vec())));
    ranges.push(KeyRange::new(b"a".to_vec(), Some(b"a".to_vec())));
    ranges.push(KeyRange::new(b"b".to_vec(), Some(b"a".to_vec())));
    ranges.push(KeyRange::new(b"b".to_vec(), None));
    for range in ranges {
        let backend = make();
        write(&*backend, |batch| put_all(batch, Keyspace::SetByAsset, keys));
        write(&*backend, |batch| {
            batch.delete_range(Keyspace::SetByAsset, range.clone());
            batch.put(Keyspace::Store, b"beside", Vec::new());
        });
        let mut expected = rows_of(keys);
        expected.retain(|(key, _)| !range.contains(key));
        let view = snapshot(&*backend);
        assert_eq!(
            all(&*view, Keyspace::SetByAsset),
            expected,
            "what is left after deleting {range:x?}"
        );
        assert_eq!(
            all(&*view, Keyspace::Store).len(),
            1,
            "a put beside the range delete of {range:x?}"
        );
    }
    let backend = make();
    write(&*backend, |batch| put_all(batch, Keyspace::SetByAsset, keys));
    write(&*backend, |batch| {
        batch.delete_range(Keyspace::SetByAsset, KeyRange::prefix(b"a\xFF"));
        batch.delete_range(Keyspace::SetByAsset, KeyRange::prefix(b"\x00"));
        batch.delete_range(
            Keyspace::SetByAsset,
            KeyRange::new(b"a\x00".to_vec(), Some(b"b".to_vec())),
        );
    });
    let rows = all(&*snapshot(&*backend), Keyspace::SetByAsset);
    assert_eq!(
        rows,
        rows_of(&[b"a", b"b", b"\xFF", b"\xFF\xFF"]),
        "what several range deletes leave"
    );
}

pub(super) fn absorbed_batches_come_later(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"a", b"b"]));
    write(&*backend, |batch| {
        batch.put(Keyspace::Set, b"c", b"first");
        batch.put(Keyspace::Set, b"d", b"first");
        let mut later = WriteBatch::new();
        later.delete_range(Keyspace::Set, KeyRange::new(b"b".to_vec(), Some(b"d".to_vec())));
        later.put(Keyspace::Set, b"d", b"second");
        later.put(Keyspace::Asset, b"x", b"second");
        batch.absorb(later);
    });
    let view = snapshot(&*backend);
    let expected = [row(b"a", &value_of(b"a")), row(b"d", b"second")];
    assert_eq!(
        all(&*view, Keyspace::Set),
        expected,
        "an absorbed batch comes behind what was staged"
    );
    assert_eq!(
        all(&*view, Keyspace::Asset),
        [row(b"x", b"second")],
        "an absorbed batch brings new keyspaces"
    );
}

pub(super) fn an_empty_batch_changes_nothing(make: Make<'_>) {
    let backend = make();
    write(&*backend, |_| {});
    write(&*backend, |batch| put_all(batch, Keyspace::Set, &[b"a"]));
    write(&*backend, |_| {});
    write(&*backend, |batch| batch.delete(Keyspace::Set, b"absent"));
    write(&*backend, |batch| {
        batch.delete_range(Keyspace::Store, KeyRange::all());
    });
    assert_eq!(
        all(&*snapshot(&*backend), Keyspace::Set),
        rows_of(&[b"a"]),
        "empty batches change nothing"
    );
}

pub(super) fn the_plan_sees_the_latest_commit(make: Make<'_>) {
    let backend = make();
    for round in 0..20u64 {
        let old = snapshot(&*backend);
        let done = backend.commit(options(Durability::Immediate), &mut |view| {
            let rows = scan(view, Keyspace::Meta, &KeyRange::all(), Direction::Reverse);
            assert_eq!(
                rows.len() as u64,
                round,
                "the plan's scan sees every earlier commit"
            );
            let last = round.checked_sub(1).map(|last| last.to_be_bytes());
            if let Some(last) = last {
                assert_eq!(
                    get(view, Keyspace::Meta, &last),
                    Some(value_of(&last)),
                    "the plan's get"
                );
                let mut shown = 0;
                must(
                    view.get_many(Keyspace::Meta, &[&last], &mut |_, _| shown += 1),
                    "the plan's get_many",
                );
                assert_eq!(shown, 1, "the plan's get_many sees the last commit");
            }
            let mut batch = WriteBatch::new();
            put_all(&mut batch, Keyspace::Meta, &[&round.to_be_bytes()]);
            Ok(batch)
        });
        must(done, "a commit whose plan reads");
        assert_eq!(
            all(&*old, Keyspace::Meta).len() as u64,
            round,
            "a snapshot from before a commit"
        );
        let rows = all(&*snapshot(&*backend), Keyspace::Meta).len() as u64;
        assert_eq!(rows, round + 1, "a snapshot taken after a commit sees it");
    }
}

pub(super) fn only_the_last_plan_of_a_commit_counts(make: Make<'_>) {
    let backend = make();
    for round in 0..12u8 {
        let mut calls = 0u8;
        let done = backend.commit(options(Durability::Immediate), &mut |view| {
            assert_eq!(
                all(view, Keyspace::Set).len(),
                usize::from(round),
                "rows that a repeated plan sees"
            );
            calls += 1;
            let mut batch = WriteBatch::new();
            batch.put(Keyspace::Set, vec![round, calls], vec![calls]);
            batch.count(Keyspace::Set, vec![round], 1);
            Ok(batch)
        });
        must(done, "a commit");
        let view = snapshot(&*backend);
        let rows = scan(
            &*view,
            Keyspace::Set,
            &KeyRange::prefix(&[round]),
            Direction::Forward,
        );
        assert_eq!(
            rows,
            [row(&[round, calls], &[calls])],
            "the batch of the last of {calls} plans is committed"
        );
        assert_eq!(
            count(&*view, Keyspace::Set, &[&[round]]),
            1,
            "the count after {calls} plans"
        );
    }
}

/// A batch that would change every row there is.
fn upheaval() -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.delete_range(Keyspace::Set, KeyRange::all());
    batch.put(Keyspace::Set, b"new", b"new");
    batch.delete(Keyspace::Asset, b"a");
    batch.count(Keyspace::Set, b"n", 1);
    batch
}

fn settled(make: Make<'_>) -> std::sync::Arc<dyn Backend> {
    let backend = make();
    write(&*backend, |batch| {
        put_all(batch, Keyspace::Set, &[b"a", b"b"]);
        put_all(batch, Keyspace::Asset, &[b"a"]);
    });
    backend
}

#[track_caller]
fn assert_settled(view: &dyn Snapshot, after: &str) {
    assert_eq!(
        all(view, Keyspace::Set),
        rows_of(&[b"a", b"b"]),
        "rows of set after {after}"
    );
    assert_eq!(
        all(view, Keyspace::Asset),
        rows_of(&[b"a"]),
        "rows of asset after {after}"
    );
    assert_eq!(count(view, Keyspace::Set, &[b"n"]), 0, "the count after {after}");
}

pub(super) fn an_error_of_the_plan_leaves_no_trace(make: Make<'_>) {
    let backend = settled(make);
    let before = must(backend.stats(), "stats").commits;
    for kind in [
        ErrorKind::VersionConflict,
        ErrorKind::NotFound,
        ErrorKind::Io,
        ErrorKind::Internal,
    ] {
        let done = backend.commit(options(Durability::Immediate), &mut |_| {
            drop(upheaval());
            Err(Error::new(kind, "the plan says no"))
        });
        let error = must_fail(done, "a commit whose plan fails");
        assert_eq!(error.kind(), kind, "the plan's error is handed through");
        assert_eq!(
            error.to_string(),
            "the plan says no",
            "the plan's error is handed through as it is"
        );
        assert_settled(&*snapshot(&*backend), "an error of the plan");
    }
    let commits = must(backend.stats(), "stats").commits;
    assert_eq!(
        commits, before,
        "a commit that failed in its plan is not in the figures"
    );
    write(&*backend, |batch| batch.absorb(upheaval()));
    let rows = all(&*snapshot(&*backend), Keyspace::Set);
    assert_eq!(
        rows,
        [row(b"new", b"new")],
        "a commit after an error of the plan works"
    );
}

pub(super) fn a_panic_of_the_plan_leaves_no_trace(make: Make<'_>) {
    let backend = settled(make);
    for _ in 0..3 {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            backend.commit(options(Durability::Immediate), &mut |view| {
                let _staged = upheaval();
                get(view, Keyspace::Set, b"a");
                // Unlike panic!, prints nothing.
                resume_unwind(Box::new("the plan panics"));
            })
        }));
        assert!(panicked.is_err(), "a panic of the plan reaches the caller");
        assert_settled(&*snapshot(&*backend), "a panic of the plan");
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        backend.commit(options(Durability::Immediate), &mut |view| {
            view.scan(
                Keyspace::Set,
                &KeyRange::all(),
                Direction::Forward,
                &mut |_, _| resume_unwind(Box::new("the visitor panics")),
            )?;
            Ok(upheaval())
        })
    }));
    assert!(
        panicked.is_err(),
        "a panic of a visitor in the plan reaches the caller"
    );
    assert_settled(&*snapshot(&*backend), "a panic of a visitor");
    // From another thread, which must not find the writer's lock taken.
    std::thread::scope(|scope| {
        scope.spawn(|| write(&*backend, |batch| batch.absorb(upheaval())));
    });
    let rows = all(&*snapshot(&*backend), Keyspace::Set);
    assert_eq!(
        rows,
        [row(b"new", b"new")],
        "a commit after a panic of the plan works"
    );
}

pub(super) fn a_large_batch_is_whole(make: Make<'_>) {
    const ENTRIES: u32 = 20_000;
    const SPACES: [Keyspace; 4] = [
        Keyspace::Set,
        Keyspace::SetByAsset,
        Keyspace::SetByName,
        Keyspace::SetBySecureQri,
    ];
    let backend = make();
    // Multiplying by an odd number visits every u32 once, far out of order.
    let key = |number: u32| [b"t".as_slice(), &number.wrapping_mul(2_654_435_761).to_be_bytes()].concat();
    let mut expected: [BTreeMap<Vec<u8>, Vec<u8>>; 4] = Default::default();
    for number in 0..ENTRIES {
        expected[number as usize % 4].insert(key(number), vec![number as u8; number as usize % 90]);
    }
    write(&*backend, |batch| {
        for number in 0..ENTRIES {
            let value = vec![number as u8; number as usize % 90];
            batch.put(SPACES[number as usize % 4], key(number), value);
        }
        for space in SPACES {
            batch.count(space, b"t", i64::from(ENTRIES / 4));
        }
    });
    let compare = |expected: &[BTreeMap<Vec<u8>, Vec<u8>>; 4], after: &str| {
        let view = snapshot(&*backend);
        for (space, rows) in SPACES.into_iter().zip(expected) {
            let found = all(&*view, space);
            let same = found.iter().map(|(key, value)| (key, value)).eq(rows);
            assert!(
                same,
                "{} has {} rows, {} expected, after {after}",
                space.name(),
                found.len(),
                rows.len()
            );
            let counted = count(&*view, space, &[b"t"]);
            assert_eq!(
                counted,
                rows.len() as u64,
                "the count of {} after {after}",
                space.name()
            );
        }
    };
    compare(&expected, "a large batch");

    // Then replace a fifth, delete a fifth, and clear one stretch.
    let stretch = KeyRange::new(b"t\x40".to_vec(), Some(b"t\x60".to_vec()));
    let mut after = expected.clone();
    for number in 0..ENTRIES {
        let rows = &mut after[number as usize % 4];
        match number % 5 {
            0 => drop(rows.insert(key(number), b"replaced".to_vec())),
            1 => drop(rows.remove(&key(number))),
            _ => {}
        }
    }
    for rows in &mut after {
        rows.retain(|key, _| !stretch.contains(key));
    }
    write(&*backend, |batch| {
        for number in 0..ENTRIES {
            let space = SPACES[number as usize % 4];
            match number % 5 {
                0 => batch.put(space, key(number), b"replaced"),
                1 => batch.delete(space, key(number)),
                _ => {}
            }
        }
        for (at, space) in SPACES.into_iter().enumerate() {
            batch.delete_range(space, stretch.clone());
            batch.count(space, b"t", after[at].len() as i64 - expected[at].len() as i64);
        }
    });
    compare(&after, "a large batch of replacements and deletes");
}

pub(super) fn deferred_durability_is_supported_or_refused(make: Make<'_>) {
    let backend = settled(make);
    let done = backend.commit(options(Durability::Deferred), &mut |_| Ok(upheaval()));
    if backend.limits().deferred_durability {
        must(done, "a deferred commit");
        let rows = all(&*snapshot(&*backend), Keyspace::Set);
        assert_eq!(
            rows,
            [row(b"new", b"new")],
            "a deferred commit is visible at once"
        );
        must(backend.sync(), "sync after a deferred commit");
        let mut batches = 0;
        let done = backend.commit(options(Durability::Deferred), &mut |view| {
            batches += 1;
            assert_eq!(
                get(view, Keyspace::Set, b"new"),
                Some(b"new".to_vec()),
                "the plan of a deferred commit"
            );
            let mut batch = WriteBatch::new();
            put_all(&mut batch, Keyspace::Set, &[b"z"]);
            Ok(batch)
        });
        must(done, "a second deferred commit");
        assert!(batches > 0, "a deferred commit asks for its plan");
    } else {
        let error = must_fail(done, "a deferred commit where limits do not allow it");
        assert_eq!(
            error.kind(),
            ErrorKind::Unsupported,
            "the error of an unsupported durability"
        );
        assert_settled(&*snapshot(&*backend), "a refused commit");
    }
    write(&*backend, |batch| put_all(batch, Keyspace::Store, &[b"s"]));
    must(backend.sync(), "sync with nothing deferred");
    must(backend.sync(), "a second sync");
    assert_eq!(
        all(&*snapshot(&*backend), Keyspace::Store),
        rows_of(&[b"s"]),
        "rows after a sync"
    );
}
