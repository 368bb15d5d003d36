use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::envelope;
use crate::keyspace::keys;

const SPACES: [Keyspace; 4] = [
    Keyspace::Set,
    Keyspace::Asset,
    Keyspace::SetByAsset,
    Keyspace::SetByName,
];

type Row = ((Keyspace, Vec<u8>), Vec<u8>);
type Model = BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>;

#[derive(Debug, Clone)]
enum Step {
    Put(usize, u16, u8),
    Delete(usize, u16),
    DeleteRange(usize, u16, u16),
    /// A run of puts, every `stride`-th key.
    Fill(usize, u16, u16, u16, u8),
    /// A run of deletes, every `stride`-th key.
    Drain(usize, u16, u16, u16),
    Count(u8, i64),
    ClearCounters(u8),
}

fn key(number: u16) -> Vec<u8> {
    // Of differing length, and not all in one leaf.
    let mut key = number.to_be_bytes().to_vec();
    key.resize(2 + usize::from(number % 40), 9);
    key
}

fn value(seed: u8) -> Vec<u8> {
    vec![seed; usize::from(seed % 64)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let space = 0..SPACES.len();
    let key = 0_u16..6_000;
    let step = prop_oneof![
        4 => (space.clone(), key.clone(), any::<u8>()).prop_map(|(s, k, v)| Step::Put(s, k, v)),
        4 => (space.clone(), key.clone()).prop_map(|(s, k)| Step::Delete(s, k)),
        1 => (space.clone(), key.clone(), 0_u16..2_000).prop_map(|(s, k, n)| Step::DeleteRange(s, k, n)),
        2 => (space.clone(), key.clone(), 1_u16..1_500, 1_u16..4, any::<u8>())
            .prop_map(|(s, k, n, stride, v)| Step::Fill(s, k, n, stride, v)),
        2 => (space, key, 1_u16..1_500, 1_u16..40).prop_map(|(s, k, n, stride)| Step::Drain(s, k, n, stride)),
        2 => (0_u8..5, -3_i64..9).prop_map(|(prefix, delta)| Step::Count(prefix, delta)),
        1 => (0_u8..5).prop_map(Step::ClearCounters),
    ];
    proptest::collection::vec(step, 0..14)
}

/// Stages one step, and does the same to the model and its counters.
fn play(step: &Step, batch: &mut WriteBatch, model: &mut Model, counts: &mut BTreeMap<u8, u64>) {
    match *step {
        Step::Put(space, number, seed) => {
            batch.put(SPACES[space], key(number), value(seed));
            model.insert((SPACES[space], key(number)), value(seed));
        }
        Step::Delete(space, number) => {
            batch.delete(SPACES[space], key(number));
            model.remove(&(SPACES[space], key(number)));
        }
        Step::DeleteRange(space, from, length) => {
            let range = KeyRange::new(key(from), Some(key(from.saturating_add(length))));
            model.retain(|(of, key), _| *of != SPACES[space] || !range.contains(key));
            batch.delete_range(SPACES[space], range);
        }
        Step::Fill(space, from, length, stride, seed) => {
            for number in (from..from.saturating_add(length * stride)).step_by(usize::from(stride)) {
                play(&Step::Put(space, number, seed), batch, model, counts);
            }
        }
        Step::Drain(space, from, length, stride) => {
            for number in
                (from..from.saturating_add(length.saturating_mul(stride))).step_by(usize::from(stride))
            {
                play(&Step::Delete(space, number), batch, model, counts);
            }
        }
        Step::Count(prefix, delta) => {
            let count = counts.entry(prefix).or_default();
            let delta = delta.max(-i64::try_from(*count).unwrap());
            *count = count.checked_add_signed(delta).unwrap();
            batch.count(Keyspace::Set, vec![prefix], delta);
        }
        Step::ClearCounters(prefix) => {
            counts.remove(&prefix);
            batch.delete_range(Keyspace::Counter, KeyRange::prefix(&[prefix]));
        }
    }
}

fn contents(snapshot: &dyn Snapshot, direction: Direction) -> Vec<Row> {
    let mut spaces = SPACES;
    spaces.sort();
    if direction == Direction::Reverse {
        spaces.reverse();
    }
    spaces
        .iter()
        .flat_map(|&space| {
            all(snapshot, space, direction)
                .into_iter()
                .map(move |(key, value)| ((space, key), value))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn batches_do_what_the_model_does(commits in proptest::collection::vec((steps(), any::<bool>()), 1..6)) {
        let backend = memory();
        let (mut model, mut counts) = (Model::new(), BTreeMap::new());
        let mut held = Vec::new();
        for (steps, deferred) in &commits {
            held.push((backend.snapshot().unwrap(), model.clone(), counts.clone()));
            let mut batch = WriteBatch::new();
            for step in steps {
                play(step, &mut batch, &mut model, &mut counts);
            }
            let durability = if *deferred { Durability::Deferred } else { Durability::Immediate };
            let mut batch = Some(batch);
            backend
                .commit(CommitOptions::new(durability, 1), &mut |_| Ok(batch.take().unwrap()))
                .unwrap();
        }
        held.push((backend.snapshot().unwrap(), model, counts));
        for (snapshot, model, counts) in &held {
            let expected: Vec<_> = model.clone().into_iter().collect();
            prop_assert_eq!(&contents(&**snapshot, Direction::Forward), &expected);
            let expected: Vec<_> = expected.into_iter().rev().collect();
            prop_assert_eq!(&contents(&**snapshot, Direction::Reverse), &expected);
            for prefix in 0..5 {
                let count = counts.get(&prefix).copied().unwrap_or(0);
                prop_assert_eq!(snapshot.count(Keyspace::Set, &[&[prefix]]).unwrap(), count);
            }
            let rows = counts.values().filter(|&&count| count > 0).count();
            prop_assert_eq!(all(&**snapshot, Keyspace::Counter, Direction::Forward).len(), rows);
        }
        drop(held);
        prop_assert!(backend.maintain(Maintenance::Verify).unwrap().intact);
    }
}

#[test]
fn a_counter_below_zero_is_corrupt_and_commits_nothing() {
    let backend = memory();
    let count = |delta| {
        commit_as(&backend, Durability::Immediate, |batch| {
            batch.put(Keyspace::Set, vec![1], vec![delta as u8]);
            batch.count(Keyspace::Set, vec![4], delta);
        })
    };
    count(2).unwrap();
    let error = count(-3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("counter at key 0404"), "{error}");
    assert_eq!(get_now(&backend, &[1]), Some(vec![2]));
    assert_eq!(backend.health(), Health::Healthy);
    count(-2).unwrap();
    let snapshot = backend.snapshot().unwrap();
    assert_eq!(all(&*snapshot, Keyspace::Counter, Direction::Forward), []);

    // A damaged row is no number.
    let key = keys::counter(Keyspace::Set, &[4]);
    let mut value = envelope::seal_u64(Keyspace::Counter, &key, 7);
    value[8] ^= 1;
    commit_as(&backend, Durability::Immediate, |batch| {
        batch.put(Keyspace::Counter, key.clone(), value.clone());
    })
    .unwrap();
    let snapshot = backend.snapshot().unwrap();
    assert_eq!(
        snapshot.count(Keyspace::Set, &[&[4]]).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert_eq!(count(1).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn counters_alone_are_a_change() {
    let backend = memory();
    commit_as(&backend, Durability::Immediate, |batch| {
        batch.count(Keyspace::Set, vec![1], 3);
    })
    .unwrap();
    assert_eq!(
        backend
            .snapshot()
            .unwrap()
            .count(Keyspace::Set, &[&[1], &[2]])
            .unwrap(),
        3
    );
}

#[test]
fn large_batches_over_several_keyspaces_do_what_the_model_does() {
    let backend = memory();
    let (mut model, mut counts) = (Model::new(), BTreeMap::new());
    for round in 0..4_u16 {
        let mut batch = WriteBatch::new();
        for space in 0..SPACES.len() {
            let from = round * 700 + space as u16 * 50;
            play(
                &Step::Fill(space, from, 5_000, 1 + round % 3, round as u8 + 1),
                &mut batch,
                &mut model,
                &mut counts,
            );
            play(
                &Step::Drain(space, from + 500, 900, 1 + space as u16 * 9),
                &mut batch,
                &mut model,
                &mut counts,
            );
        }
        let mut batch = Some(batch);
        backend
            .commit(CommitOptions::default(), &mut |_| Ok(batch.take().unwrap()))
            .unwrap();
        let snapshot = backend.snapshot().unwrap();
        assert_eq!(
            contents(&*snapshot, Direction::Forward),
            model.clone().into_iter().collect::<Vec<_>>()
        );
    }
}
