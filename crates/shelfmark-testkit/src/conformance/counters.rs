//! Counts, whether a backend keeps counters or counts rows: what it is told always agrees with the rows.

use shelfmark::backend::{Backend, Durability, KeyRange, Keyspace, WriteBatch};
use shelfmark::{Error, ErrorKind};

use super::{Make, count, must_fail, options, snapshot, write};

// Of one length, as the keys of parents are.
const FIRST: &[u8] = b"\x00\x00\x00\x01parent\x00one";
const SECOND: &[u8] = b"\x00\x00\x00\x01parent\xFFtwo";
const THIRD: &[u8] = b"\x00\x00\x00\x02parent\xFF\xFF\xFF\xFF";
const TENANT: &[u8] = b"\x00\x00\x00\x01";

fn child(parent: &[u8], number: u32) -> Vec<u8> {
    [parent, &number.to_be_bytes()].concat()
}

fn add(batch: &mut WriteBatch, space: Keyspace, parent: &[u8], numbers: std::ops::Range<u32>) {
    batch.count(space, parent, i64::from(numbers.end - numbers.start));
    for number in numbers {
        batch.put(space, child(parent, number), Vec::new());
    }
}

fn remove(batch: &mut WriteBatch, space: Keyspace, parent: &[u8], numbers: std::ops::Range<u32>) {
    batch.count(space, parent, -i64::from(numbers.end - numbers.start));
    for number in numbers {
        batch.delete(space, child(parent, number));
    }
}

#[track_caller]
fn assert_count(backend: &dyn Backend, prefixes: &[&[u8]], expected: u64, what: &str) {
    assert_eq!(
        count(&*snapshot(backend), Keyspace::SetByAsset, prefixes),
        expected,
        "the count {what}"
    );
}

pub(super) fn counts_follow_the_deltas(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| {
        add(batch, Keyspace::SetByAsset, FIRST, 0..3);
        add(batch, Keyspace::SetByAsset, SECOND, 0..5);
        add(batch, Keyspace::SetByAsset, THIRD, 0..7);
    });
    assert_count(&*backend, &[FIRST], 3, "of the first parent");
    assert_count(&*backend, &[SECOND], 5, "of a parent with 0xFF in its key");
    assert_count(&*backend, &[THIRD], 7, "of a parent whose key ends with 0xFF");
    assert_count(&*backend, &[], 0, "of no prefixes");
    assert_count(
        &*backend,
        &[b"\x00\x00\x00\x09 no parent"],
        0,
        "of a parent without children",
    );
    assert_count(&*backend, &[FIRST, SECOND], 8, "of two parents");
    assert_count(
        &*backend,
        &[THIRD, b"\x00\x00\x00\x09 no parent", FIRST],
        10,
        "of parents out of order",
    );
    write(&*backend, |batch| {
        remove(batch, Keyspace::SetByAsset, SECOND, 1..3);
        add(batch, Keyspace::SetByAsset, SECOND, 10..11);
        add(batch, Keyspace::SetByAsset, FIRST, 3..4);
    });
    assert_count(&*backend, &[SECOND], 4, "after deletes and a put in one batch");
    assert_count(&*backend, &[FIRST, SECOND, THIRD], 15, "of all parents");
    let parents: Vec<Vec<u8>> = (0..50u32).map(|number| child(b"many", number)).collect();
    write(&*backend, |batch| {
        for (number, parent) in parents.iter().enumerate() {
            add(batch, Keyspace::SetByAsset, parent, 0..number as u32);
        }
    });
    let prefixes: Vec<&[u8]> = parents.iter().map(Vec::as_slice).collect();
    assert_count(&*backend, &prefixes, (0..50).sum(), "of fifty parents at once");
}

pub(super) fn counts_go_to_zero_and_back(make: Make<'_>) {
    let backend = make();
    for round in 0..3 {
        write(&*backend, |batch| add(batch, Keyspace::SetByAsset, FIRST, 0..4));
        assert_count(&*backend, &[FIRST], 4, &format!("after adding, round {round}"));
        write(&*backend, |batch| {
            remove(batch, Keyspace::SetByAsset, FIRST, 0..3);
        });
        assert_count(
            &*backend,
            &[FIRST],
            1,
            &format!("after removing all but one, round {round}"),
        );
        write(&*backend, |batch| {
            remove(batch, Keyspace::SetByAsset, FIRST, 3..4);
        });
        assert_count(
            &*backend,
            &[FIRST],
            0,
            &format!("after removing the last, round {round}"),
        );
    }
    write(&*backend, |batch| {
        add(batch, Keyspace::SetByAsset, FIRST, 0..2);
        remove(batch, Keyspace::SetByAsset, FIRST, 0..2);
    });
    assert_count(&*backend, &[FIRST], 0, "after deltas that cancel each other");
}

pub(super) fn counts_of_keyspaces_and_prefixes_are_apart(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| {
        add(batch, Keyspace::SetByAsset, FIRST, 0..2);
        add(batch, Keyspace::SetByAsset, SECOND, 0..3);
        // The same rows counted by the tenant too.
        batch.count(Keyspace::SetByAsset, TENANT, 5);
        add(batch, Keyspace::AssetByStore, FIRST, 0..7);
        add(batch, Keyspace::Set, TENANT, 0..11);
    });
    let view = snapshot(&*backend);
    assert_eq!(
        count(&*view, Keyspace::SetByAsset, &[FIRST]),
        2,
        "the count in one keyspace"
    );
    assert_eq!(
        count(&*view, Keyspace::AssetByStore, &[FIRST]),
        7,
        "the count of the prefix in another one"
    );
    assert_eq!(
        count(&*view, Keyspace::SetByAsset, &[TENANT]),
        5,
        "the count of a shorter prefix"
    );
    assert_eq!(
        count(&*view, Keyspace::Set, &[TENANT]),
        11,
        "the count of the shorter prefix elsewhere"
    );
    assert_eq!(
        count(&*view, Keyspace::Store, &[TENANT]),
        0,
        "the count in a keyspace without rows"
    );
}

pub(super) fn counts_go_with_a_cleared_parent(make: Make<'_>) {
    let backend = make();
    let clear = |batch: &mut WriteBatch, parent: &[u8]| {
        batch.delete_range(Keyspace::SetByAsset, KeyRange::prefix(parent));
        batch.delete_range(Keyspace::Counter, KeyRange::prefix(parent));
    };
    write(&*backend, |batch| {
        add(batch, Keyspace::SetByAsset, FIRST, 0..3);
        add(batch, Keyspace::SetByAsset, SECOND, 0..5);
    });
    write(&*backend, |batch| clear(batch, FIRST));
    assert_count(&*backend, &[FIRST], 0, "after the parent was cleared");
    assert_count(&*backend, &[SECOND], 5, "beside a cleared parent");
    write(&*backend, |batch| add(batch, Keyspace::SetByAsset, FIRST, 5..7));
    assert_count(
        &*backend,
        &[FIRST],
        2,
        "from zero on after the parent was cleared",
    );
    write(&*backend, |batch| {
        add(batch, Keyspace::SetByAsset, SECOND, 5..9);
        clear(batch, SECOND);
        add(batch, Keyspace::SetByAsset, SECOND, 0..1);
    });
    assert_count(
        &*backend,
        &[SECOND],
        1,
        "of what came after the clearing in the same batch",
    );
    write(&*backend, |batch| {
        add(batch, Keyspace::SetByAsset, THIRD, 0..4);
        clear(batch, TENANT);
    });
    assert_count(
        &*backend,
        &[FIRST, SECOND],
        0,
        "after everything of the tenant was cleared",
    );
    assert_count(&*backend, &[THIRD], 4, "of another tenant");
}

pub(super) fn counts_belong_to_the_snapshot(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| add(batch, Keyspace::SetByAsset, FIRST, 0..3));
    let held = snapshot(&*backend);
    let done = backend.commit(options(Durability::Immediate), &mut |view| {
        assert_eq!(
            count(view, Keyspace::SetByAsset, &[FIRST]),
            3,
            "the plan counts the latest commit"
        );
        let mut batch = WriteBatch::new();
        add(&mut batch, Keyspace::SetByAsset, FIRST, 3..5);
        Ok(batch)
    });
    super::must(done, "a commit whose plan counts");
    assert_eq!(
        count(&*held, Keyspace::SetByAsset, &[FIRST]),
        3,
        "the count of a held snapshot"
    );
    assert_count(&*backend, &[FIRST], 5, "of a new snapshot");
    write(&*backend, |batch| {
        batch.delete_range(Keyspace::SetByAsset, KeyRange::prefix(FIRST));
        batch.delete_range(Keyspace::Counter, KeyRange::prefix(FIRST));
    });
    assert_eq!(
        count(&*held, Keyspace::SetByAsset, &[FIRST]),
        3,
        "the count of a snapshot held over a clearing"
    );
}

pub(super) fn failed_commits_do_not_count(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| add(batch, Keyspace::SetByAsset, FIRST, 0..3));
    let done = backend.commit(options(Durability::Immediate), &mut |_| {
        let mut batch = WriteBatch::new();
        add(&mut batch, Keyspace::SetByAsset, FIRST, 3..9);
        Err(Error::new(ErrorKind::NotFound, "the plan says no"))
    });
    must_fail(done, "a commit whose plan fails");
    assert_count(&*backend, &[FIRST], 3, "after a commit that failed");
    write(&*backend, |batch| add(batch, Keyspace::SetByAsset, FIRST, 3..4));
    assert_count(&*backend, &[FIRST], 4, "after the next commit");
}
