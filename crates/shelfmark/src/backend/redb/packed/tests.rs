use std::collections::BTreeMap;

use ::redb::{Database, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::apply::Unreadable;
use super::super::milestones::STRIDE;
use super::super::snapshot::tables::definition;
use super::block::Block;
use super::*;
use crate::backend::WriteBatch;
use std::ops::ControlFlow;

const SPACE: Keyspace = Keyspace::SetByName;
const NUMBERS: u16 = 3_000;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
enum Step {
    Put(u16, u8),
    Delete(u16),
    DeleteRange(Option<u16>, Option<u16>),
    /// So many, every `stride`-th of them.
    Fill(u16, u16, u16, u8),
    Drain(u16, u16, u16),
}

/// In the order of the numbers; under parents, of which some have long names.
fn key(number: u16) -> Vec<u8> {
    let parent = number / 300;
    let mut key = vec![0, 0, 0, 1];
    key.extend_from_slice(&[parent as u8; 16]);
    key.extend_from_slice(format!("{number:05}").as_bytes());
    let more = match number % 97 {
        0 => 1_040,
        1..4 => 200,
        other => usize::from(other % 23),
    };
    key.resize(key.len() + more, b'n');
    key
}

fn value(seed: u8) -> Vec<u8> {
    vec![
        seed;
        if seed.is_multiple_of(8) {
            usize::from(seed)
        } else {
            0
        }
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 0..NUMBERS;
    let end = proptest::option::weighted(0.8, 0..NUMBERS);
    let run = (number.clone(), 1_u16..900, prop_oneof![Just(1_u16), 2_u16..60]);
    let step = prop_oneof![
        4 => (number.clone(), any::<u8>()).prop_map(|(n, v)| Step::Put(n, v)),
        4 => number.prop_map(Step::Delete),
        1 => (end.clone(), end).prop_map(|(from, to)| Step::DeleteRange(from, to)),
        3 => (run.clone(), any::<u8>()).prop_map(|((from, count, stride), v)| Step::Fill(from, count, stride, v)),
        2 => run.prop_map(|(from, count, stride)| Step::Drain(from, count, stride)),
    ];
    vec(step, 0..8)
}

fn numbers(from: u16, count: u16, stride: u16) -> impl Iterator<Item = u16> {
    (from..NUMBERS)
        .step_by(usize::from(stride))
        .take(usize::from(count))
}

fn play(step: &Step, batch: &mut WriteBatch, model: &mut Model) {
    match *step {
        Step::Put(number, seed) => {
            batch.put(SPACE, key(number), value(seed));
            model.insert(key(number), value(seed));
        }
        Step::Delete(number) => {
            batch.delete(SPACE, key(number));
            model.remove(&key(number));
        }
        Step::DeleteRange(from, to) => {
            let range = KeyRange::new(from.map(key).unwrap_or_default(), to.map(key));
            model.retain(|key, _| !range.contains(key));
            batch.delete_range(SPACE, range);
        }
        Step::Fill(from, count, stride, seed) => {
            for number in numbers(from, count, stride) {
                play(&Step::Put(number, seed), batch, model);
            }
        }
        Step::Drain(from, count, stride) => {
            for number in numbers(from, count, stride) {
                play(&Step::Delete(number), batch, model);
            }
        }
    }
}

fn commit(database: &Database, batch: WriteBatch) {
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(definition(SPACE)).unwrap();
        for (_, batch) in batch.into_spaces().0 {
            apply(&mut table, SPACE, &batch, Unreadable::Refused).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// What the module says of fences and blocks holds, and the blocks have just these entries.
fn assert_sound(table: &impl ReadableTable<&'static [u8], &'static [u8]>, model: &Model) {
    let mut entries = Vec::new();
    let mut last: Option<Vec<u8>> = None;
    let mut block = Block::default();
    let rows: Vec<_> = table.iter().unwrap().map(Result::unwrap).collect();
    for (position, (fence, row)) in rows.iter().enumerate() {
        let fence = fence.value();
        block.read(SPACE, fence, row.value()).unwrap();
        assert_eq!(position == 0, fence.is_empty(), "the first fence alone is empty");
        assert!(last.as_deref().is_none_or(|last| last < fence));
        assert!(position == 0 || block.len() > 0, "a block without entries");
        assert!(
            block.len() < 2 || row.value().len() <= BLOCK + 16,
            "a block that is too large"
        );
        for position in 0..block.len() {
            let (key, value) = block.entry(position);
            assert!(key >= fence);
            entries.push((key.to_vec(), value.to_vec()));
        }
        last = entries.last().map(|(key, _)| key.clone());
    }
    assert!(
        entries.iter().eq(model
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<Vec<_>>()
            .iter())
    );
    assert!(!model.is_empty() || rows.len() <= 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn blocks_do_what_a_map_does(
        commits in vec(steps(), 1..6),
        probes in vec((proptest::option::of(0..NUMBERS), proptest::option::of(0..NUMBERS), any::<bool>(), 0_u64..1_200), 12),
    ) {
        let database = database();
        let mut model = Model::new();
        for steps in &commits {
            let mut batch = WriteBatch::new();
            for step in steps {
                play(step, &mut batch, &mut model);
            }
            // A table that nothing was put in yet is there too.
            batch.delete(SPACE, key(0));
            model.remove(&key(0));
            commit(&database, batch);
            let transaction = database.begin_read().unwrap();
            let table = transaction.open_table(definition(SPACE)).unwrap();
            assert_sound(&table, &model);
            for &(from, to, forward, skip) in &probes {
                let range = KeyRange::new(from.map(key).unwrap_or_default(), to.map(key));
                if range.is_empty() {
                    continue;
                }
                let direction = if forward { Direction::Forward } else { Direction::Reverse };
                let mut expected: Vec<_> = model.iter().filter(|(key, _)| range.contains(key)).collect();
                if !forward {
                    expected.reverse();
                }
                let mut walk = Walk::new(SPACE, direction);
                walk.seek(&table, &range).unwrap();
                let mut noted = Vec::new();
                walk.skip(skip, &range, &mut |key| noted.push(key.to_vec())).unwrap();
                let expected_notes: Vec<_> = expected
                    .iter()
                    .take(skip as usize)
                    .step_by(STRIDE as usize)
                    .skip(1)
                    .map(|(key, _)| (*key).clone())
                    .collect();
                prop_assert_eq!(noted, expected_notes);
                let mut shown = Vec::new();
                walk.show(&range, &mut |key, value| {
                    shown.push((key.to_vec(), value.to_vec()));
                    if shown.len() == 300 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                }).unwrap();
                let expected: Vec<_> = expected
                    .into_iter()
                    .skip(skip as usize)
                    .take(300)
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                prop_assert_eq!(shown, expected);
                for number in [from, to].into_iter().flatten() {
                    let mut found = None;
                    let there = get(&table, SPACE, &key(number), |value| found = Some(value.to_vec())).unwrap();
                    prop_assert_eq!(there, found.is_some());
                    prop_assert_eq!(found.as_ref(), model.get(&key(number)));
                }
            }
        }
        let transaction = database.begin_write().unwrap();
        {
            let loose = transaction.open_table(definition(SPACE)).unwrap();
            let mut packed = transaction.open_table(definition(Keyspace::AssetByName)).unwrap();
            pack(&loose, &mut packed, SPACE).unwrap();
            assert_sound(&packed, &model);
            prop_assert!(packed.len().unwrap() <= loose.len().unwrap());
        }
    }
}

fn database() -> Database {
    ::redb::Builder::new()
        .create_with_backend(::redb::backends::InMemoryBackend::new())
        .unwrap()
}

fn commit_as(database: &Database, stage: impl FnOnce(&mut WriteBatch)) {
    let mut batch = WriteBatch::new();
    stage(&mut batch);
    commit(database, batch);
}

/// The part of the blocks that is not empty.
fn filled(database: &Database) -> f64 {
    let transaction = database.begin_read().unwrap();
    let table = transaction.open_table(definition(SPACE)).unwrap();
    let rows = table.iter().unwrap().map(|row| row.unwrap().1.value().len());
    let bytes: usize = rows.sum();
    bytes as f64 / (table.len().unwrap() as usize * BLOCK) as f64
}

/// Without order. Odd multipliers name each number once.
fn scattered(number: u64) -> Vec<u8> {
    let number = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    [&[7; 20][..], &number.to_be_bytes(), &[1; 16]].concat()
}

fn child(parent: u8, number: u64) -> Vec<u8> {
    [&[parent; 20][..], &number.to_be_bytes()].concat()
}

/// What comes in no order and goes again leaves no blocks behind that hold next to nothing.
#[test]
fn blocks_stay_filled() {
    let database = database();
    for commits in [1, 20, 2_000] {
        for chunk in 0..commits {
            commit_as(&database, |batch| {
                for n in chunk * 4_000 / commits..(chunk + 1) * 4_000 / commits {
                    batch.put(SPACE, scattered(n), []);
                }
            });
        }
        assert!(filled(&database) > 0.55, "{} after {commits}", filled(&database));
        for n in 0..3_900 {
            commit_as(&database, |batch| batch.delete(SPACE, scattered(n)));
        }
        assert!(filled(&database) > 0.3, "{} after deletions", filled(&database));
        commit_as(&database, |batch| batch.delete_range(SPACE, KeyRange::all()));
    }
    // Children of several parents, each in the order of its ids.
    for n in 0..2_000 {
        commit_as(&database, |batch| {
            for parent in 1..4 {
                batch.put(SPACE, child(parent, n), []);
            }
        });
    }
    assert!(filled(&database) > 0.85, "{}", filled(&database));
}

#[test]
fn what_many_deletions_leave_is_put_together() {
    let database = database();
    commit_as(&database, |batch| {
        (0..4_000).for_each(|n| batch.put(SPACE, scattered(n), []));
    });
    commit_as(&database, |batch| {
        (0..3_900).for_each(|n| batch.delete(SPACE, scattered(n)));
    });

    assert!(filled(&database) > 0.45, "{} after entries", filled(&database));
    // All but the first and the last of the children of each parent.
    for at_once in [true, false] {
        commit_as(&database, |batch| {
            batch.delete_range(SPACE, KeyRange::all());
            for parent in 0..200 {
                (0..100).for_each(|n| batch.put(SPACE, child(parent, n), []));
            }
        });
        let ranges = (0..200).map(|parent| KeyRange::new(child(parent, 1), Some(child(parent, 99))));
        if at_once {
            commit_as(&database, |batch| {
                ranges.for_each(|range| batch.delete_range(SPACE, range));
            });
        } else {
            for range in ranges {
                commit_as(&database, |batch| batch.delete_range(SPACE, range));
            }
        }

        assert!(filled(&database) > 0.45, "{} after ranges", filled(&database));
    }
}

/// From any entry to any, also where a block loses but its first or its last.
#[test]
fn every_range_of_some_blocks_goes_as_from_a_map() {
    let database = database();
    let long = |n: u64| [&child(1, n)[..], &[1; 80]].concat();
    commit_as(&database, |batch| {
        (0..40).for_each(|n| batch.put(SPACE, long(n), []));
    });
    for (from, to) in (0..40).flat_map(|from| (from + 1..=40).map(move |to| (from, to))) {
        let mut batch = WriteBatch::new();
        batch.delete_range(SPACE, KeyRange::new(long(from), Some(long(to))));
        let left = (0..40).filter(|n| !(from..to).contains(n));
        let model: Model = left.map(|n| (long(n), Vec::new())).collect();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(definition(SPACE)).unwrap();
            for (_, batch) in batch.into_spaces().0 {
                apply(&mut table, SPACE, &batch, Unreadable::Refused).unwrap();
            }
            assert_sound(&table, &model);
        }
        transaction.abort().unwrap();
    }
}

/// As a time of modification does: out of its place, to the end of its parent's.
#[test]
fn blocks_stay_filled_where_entries_move() {
    let database = database();
    let mut places: Vec<(u8, u64)> = (0..1_200).map(|n| ((n % 4) as u8, n)).collect();
    commit_as(&database, |batch| {
        places
            .iter()
            .for_each(|&(parent, time)| batch.put(SPACE, child(parent, time), []));
    });
    let mut random = 1_u64;
    for now in 0..8_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (parent, time) = &mut places[(random >> 33) as usize % 1_200];
        commit_as(&database, |batch| {
            batch.delete(SPACE, child(*parent, *time));
            *time = 10_000 + now;
            batch.put(SPACE, child(*parent, *time), []);
        });
    }
    assert!(filled(&database) > 0.55, "{}", filled(&database));
}
