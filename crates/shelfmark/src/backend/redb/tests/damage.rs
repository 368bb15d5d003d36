//! Damaged blocks of an index: what lies in them is refused and never overwritten, all else goes on, and the index can be made anew.

use std::ops::Range;

use super::*;
use crate::backend::redb::open::Bytes;
use crate::backend::redb::snapshot::tables::definition;

type Stored = (Vec<u8>, Vec<u8>);

pub(super) const SPACE: Keyspace = Keyspace::SetByName;
pub(super) const ENTRIES: u32 = 1_000;

pub(super) fn key(number: u32) -> Vec<u8> {
    [&[0, 0, 0, 1][..], &number.to_be_bytes(), &[b'n'; 24]].concat()
}

pub(super) fn fill(backend: &RedbBackend, numbers: Range<u32>) {
    let put = |batch: &mut WriteBatch| {
        numbers
            .clone()
            .for_each(|number| batch.put(SPACE, key(number), []));
    };
    commit_as(backend, Durability::Immediate, put).unwrap();
}

/// The rows of a keyspace's table, which `change` may change.
pub(super) fn rows(file: &Flaky, space: Keyspace, change: impl FnOnce(&mut [Stored])) -> Vec<Stored> {
    use ::redb::ReadableTable as _;
    let database = ::redb::Builder::new()
        .create_with_backend(Bytes(Arc::new(file.clone())))
        .unwrap();
    let transaction = database.begin_write().unwrap();
    let mut rows: Vec<Stored>;
    {
        let mut table = transaction.open_table(definition(space)).unwrap();
        let owned = |(fence, row): (::redb::AccessGuard<'_, &[u8]>, ::redb::AccessGuard<'_, &[u8]>)| {
            (fence.value().to_vec(), row.value().to_vec())
        };
        rows = table.iter().unwrap().map(|row| owned(row.unwrap())).collect();
        let before = rows.clone();
        change(&mut rows);
        for (fence, row) in rows.iter().filter(|row| !before.contains(row)) {
            table.insert(fence.as_slice(), row.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
    rows
}

pub(super) fn flip(row: &mut [u8]) {
    let middle = row.len() / 2;
    row[middle] ^= 0x10;
}

fn has(backend: &RedbBackend, number: u32) -> Result<bool> {
    backend.snapshot().unwrap().get(SPACE, &key(number), &mut |_| {})
}

fn delete(backend: &RedbBackend, number: u32) -> Result<()> {
    commit_as(backend, Durability::Immediate, |batch| {
        batch.delete(SPACE, key(number));
    })
}

fn clear(backend: &RedbBackend, from: u32, to: u32) -> Result<()> {
    commit_as(backend, Durability::Immediate, |batch| {
        batch.delete_range(SPACE, KeyRange::new(key(from), Some(key(to))));
    })
}

/// The numbers that lie in each block.
pub(super) fn numbers(rows: &[Stored]) -> Vec<Range<u32>> {
    let first = |fence: &[u8]| (0..ENTRIES).find(|&number| key(number).as_slice() >= fence);
    let starts: Vec<u32> = rows.iter().filter_map(|(fence, _)| first(fence)).collect();
    let ends = starts.iter().skip(1).copied().chain([ENTRIES]);
    starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| start..end)
        .collect()
}

#[test]
fn a_damaged_block_is_refused_and_all_else_goes_on() {
    let whole = Flaky::default();
    fill(&whole.backend(), 0..ENTRIES);
    let blocks = numbers(&rows(&whole, SPACE, |_| {}));
    let last = blocks.len() - 1;
    assert!(last > 10);
    for (damaged, is_emptied) in [0, 1, last / 2, last]
        .map(|block| [(block, false), (block, true)])
        .concat()
    {
        let file = whole.after_power_loss();
        let mut before = Vec::new();
        rows(&file, SPACE, |rows| {
            let (_, row) = &mut rows[damaged];
            if is_emptied {
                row.clear();
            } else {
                flip(row);
            }
            before = rows.to_vec();
        });
        let backend = file.backend();
        let lost = blocks[damaged].clone();
        let corrupt =
            |result: Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::Corrupt, "{damaged}");
        corrupt(has(&backend, lost.start).map(drop));
        corrupt(delete(&backend, lost.start));
        corrupt(commit_as(&backend, Durability::Immediate, |batch| {
            batch.put(SPACE, [key(lost.start), vec![0]].concat(), []);
        }));
        corrupt(commit_as(&backend, Durability::Immediate, |batch| {
            (0..ENTRIES).for_each(|number| batch.put(SPACE, key(number), [7]));
        }));
        corrupt(clear(&backend, lost.start, lost.end - 1));
        corrupt(
            backend
                .maintain(Maintenance::Compact)
                .and_then(|_| has(&backend, lost.start).map(drop)),
        );
        // The neighbours, of which almost all goes.
        for near in [
            damaged.checked_sub(1),
            Some(damaged + 1).filter(|&near| near <= last),
        ]
        .into_iter()
        .flatten()
        {
            let Range { start, end } = blocks[near].clone();
            clear(&backend, start, end - 3).unwrap();
            delete(&backend, end - 2).unwrap();
            assert!(has(&backend, end - 1).unwrap() && has(&backend, end - 3).unwrap());
            assert!(!has(&backend, end - 2).unwrap() && !has(&backend, start).unwrap());
        }
        corrupt(has(&backend, lost.start).map(drop));
        assert_eq!(backend.health(), Health::Healthy);
        drop(backend);
        assert!(
            rows(&file, SPACE, |_| {}).contains(&before[damaged]),
            "{damaged} was overwritten"
        );
        // What is made anew is whole, and so is what loses the block among others.
        let backend = file.backend();
        commit_as(&backend, Durability::Immediate, |batch| {
            batch.delete_range(SPACE, KeyRange::all());
            (0..ENTRIES).for_each(|number| batch.put(SPACE, key(number), []));
        })
        .unwrap();
        let snapshot = backend.snapshot().unwrap();
        assert_eq!(all(&*snapshot, SPACE, Direction::Reverse).len(), ENTRIES as usize);
    }
}
