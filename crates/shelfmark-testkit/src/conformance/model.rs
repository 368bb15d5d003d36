//! Random commits against maps.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use shelfmark::backend::{Backend, Direction, Durability, KeyRange, Keyspace, Snapshot, WriteBatch};

use super::{Make, Row, all, count, must, options, scan, snapshot};

const CASES: u32 = 64;
const SEED: u64 = 0x5EED_0F5E_1F00;
const SPACES: [Keyspace; 3] = [Keyspace::Set, Keyspace::SetByAsset, Keyspace::AssetByName];
const BYTES: [u8; 5] = [0x00, 0x01, 0x61, 0xFE, 0xFF];

type Model = [BTreeMap<Vec<u8>, Vec<u8>>; SPACES.len()];

#[derive(Debug, Clone)]
enum Op {
    Put(usize, Vec<u8>, Vec<u8>),
    Delete(usize, Vec<u8>),
    Clear(usize, KeyRange),
}

#[derive(Debug, Clone)]
enum Step {
    /// One commit; the operations from `split` on are staged in a batch of their own that the first one absorbs.
    Commit {
        ops: Vec<Op>,
        split: usize,
        deferred: bool,
    },
    /// The plan fails once it has staged all this.
    Refuse(Vec<Op>),
    Hold,
    Release,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(select(&BYTES[..]), 1..4)
}

fn op() -> impl Strategy<Value = Op> {
    let space = 0..SPACES.len();
    let value = prop::collection::vec(any::<u8>(), 0..6);
    let end = prop::option::weighted(0.8, key());
    let range = prop_oneof![
        key().prop_map(|prefix| KeyRange::prefix(&prefix)),
        (key(), end).prop_map(|(start, end)| KeyRange::new(start, end)),
    ];
    prop_oneof![
        6 => (space.clone(), key(), value).prop_map(|(space, key, value)| Op::Put(space, key, value)),
        2 => (space.clone(), key()).prop_map(|(space, key)| Op::Delete(space, key)),
        1 => (space, range).prop_map(|(space, range)| Op::Clear(space, range)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let ops = || prop::collection::vec(op(), 0..40);
    prop_oneof![
        6 => (ops(), 0..60usize, any::<bool>())
            .prop_map(|(ops, split, deferred)| Step::Commit { ops, split, deferred }),
        1 => ops().prop_map(Step::Refuse),
        2 => Just(Step::Hold),
        1 => Just(Step::Release),
    ]
}

pub(super) fn random_commits_agree_with_a_map(make: Make<'_>) {
    let seed = std::env::var("SHELFMARK_CONFORMANCE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(SEED);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&prop::collection::vec(step(), 1..12), |steps| {
        replay(&*make(), &steps)
    });
    if let Err(error) = outcome {
        panic!("random commits disagree with the model (SHELFMARK_CONFORMANCE_SEED={seed}): {error}");
    }
}

fn replay(backend: &dyn Backend, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut held: Vec<(Box<dyn Snapshot>, Model)> = Vec::new();
    for step in steps {
        match step {
            Step::Commit { ops, split, deferred } => {
                let before = model.clone();
                ops.iter().for_each(|op| apply(&mut model, op));
                let deferred = *deferred && backend.limits().deferred_durability;
                let durability = if deferred {
                    Durability::Deferred
                } else {
                    Durability::Immediate
                };
                let done = backend.commit(options(durability), &mut |view| {
                    same(view, &before).map_err(refused)?;
                    Ok(batch(ops, *split, &before, &model))
                });
                must(done, "a random commit");
                same(&*snapshot(backend), &model)?;
            }
            Step::Refuse(ops) => {
                let done = backend.commit(options(Durability::Immediate), &mut |_| {
                    drop(batch(ops, 0, &model, &model));
                    Err(refused("the plan says no"))
                });
                prop_assert!(done.is_err(), "a commit whose plan fails succeeded");
            }
            Step::Hold => held.push((snapshot(backend), model.clone())),
            Step::Release if held.is_empty() => {}
            Step::Release => {
                let (view, model) = held.remove(0);
                same(&*view, &model)?;
            }
        }
    }
    for (view, model) in &held {
        same(&**view, model)?;
    }
    same(&*snapshot(backend), &model)
}

fn refused(what: impl ToString) -> shelfmark::Error {
    shelfmark::Error::new(shelfmark::ErrorKind::Internal, what.to_string())
}

fn apply(model: &mut Model, op: &Op) {
    match op {
        Op::Put(space, key, value) => drop(model[*space].insert(key.clone(), value.clone())),
        Op::Delete(space, key) => drop(model[*space].remove(key)),
        Op::Clear(space, range) => model[*space].retain(|key, _| !range.contains(key)),
    }
}

fn batch(ops: &[Op], split: usize, before: &Model, after: &Model) -> WriteBatch {
    let (first, second) = ops.split_at(split.min(ops.len()));
    let mut batch = staged(first);
    batch.absorb(staged(second));
    for (at, space) in SPACES.into_iter().enumerate() {
        for prefix in BYTES {
            let delta = counted(&after[at], prefix) as i64 - counted(&before[at], prefix) as i64;
            if delta != 0 {
                batch.count(space, vec![prefix], delta);
            }
        }
    }
    batch
}

fn staged(ops: &[Op]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for op in ops {
        match op {
            Op::Put(space, key, value) => batch.put(SPACES[*space], key.clone(), value.clone()),
            Op::Delete(space, key) => batch.delete(SPACES[*space], key.clone()),
            Op::Clear(space, range) => batch.delete_range(SPACES[*space], range.clone()),
        }
    }
    batch
}

fn counted(rows: &BTreeMap<Vec<u8>, Vec<u8>>, prefix: u8) -> u64 {
    rows.keys().filter(|key| key.first() == Some(&prefix)).count() as u64
}

/// Whether everything that `view` can be asked has the model's answer.
fn same(view: &dyn Snapshot, model: &Model) -> Result<(), TestCaseError> {
    for (space, rows) in SPACES.into_iter().zip(model) {
        let mut expected: Vec<Row> = rows
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        prop_assert_eq!(&all(view, space), &expected, "forward scan of {}", space.name());
        expected.reverse();
        let reverse = scan(view, space, &KeyRange::all(), Direction::Reverse);
        prop_assert_eq!(reverse, expected, "reverse scan of {}", space.name());
        for prefix in BYTES {
            let part = scan(view, space, &KeyRange::prefix(&[prefix]), Direction::Forward);
            let expected = counted(rows, prefix);
            prop_assert_eq!(
                part.len() as u64,
                expected,
                "rows of {} under {:x}",
                space.name(),
                prefix
            );
            prop_assert_eq!(
                count(view, space, &[&[prefix]]),
                expected,
                "count of {} under {:x}",
                space.name(),
                prefix
            );
        }
        let prefixes: Vec<&[u8]> = BYTES.iter().map(std::slice::from_ref).collect();
        prop_assert_eq!(
            count(view, space, &prefixes),
            rows.len() as u64,
            "count of all of {}",
            space.name()
        );
        // Every key of up to two bytes, there or not.
        let keys: Vec<Vec<u8>> = BYTES
            .iter()
            .flat_map(|&one| std::iter::once(vec![one]).chain(BYTES.iter().map(move |&two| vec![one, two])))
            .collect();
        let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let mut shown = BTreeMap::new();
        let mut calls = 0;
        let done = view.get_many(space, &asked, &mut |position, value| {
            calls += 1;
            shown.insert(position, value.to_vec());
        });
        must(done, "get_many");
        prop_assert_eq!(
            calls,
            shown.len(),
            "get_many of {} shows each key once",
            space.name()
        );
        for (position, key) in keys.iter().enumerate() {
            prop_assert_eq!(
                shown.get(&position),
                rows.get(key),
                "{:x?} in {}",
                key,
                space.name()
            );
            let found = super::get(view, space, key);
            prop_assert_eq!(found.as_ref(), rows.get(key), "{:x?} in {}", key, space.name());
        }
    }
    Ok(())
}
