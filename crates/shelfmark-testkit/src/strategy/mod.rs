//! Sequences of operations: as a proptest strategy, from a seed, from bytes.

mod batches;
mod inputs;
mod patches;
mod queries;
mod undrop;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shelfmark::{EntityKind, NewDataAsset, NewDataSet, NewDataStore};

pub use self::inputs::draft;
pub use self::queries::read_op;

use self::queries::{query, selection};
use crate::operation::{Actor, Draft, End, Expect, Input, Operation, Ref, Step, Target, Tenant, WriteOp};
use crate::run::Setup;
use crate::system::CatalogSetup;

/// A setup and a sequence of at most `most` operations.
pub fn sequence(most: usize) -> impl Strategy<Value = (Setup, Vec<Operation>)> {
    // So that most sequences have something to work on; shrinking takes it away again.
    // A few have much.
    let sets = prop_oneof![11 => 3..12_usize, 1 => 60..80_usize];
    let start = (tenant(), 1..4_usize, 2..7_usize, sets).prop_flat_map(|(tenant, stores, assets, sets)| {
        (
            vec(draft(EntityKind::Store), stores),
            vec(draft(EntityKind::Asset), assets),
            vec(draft(EntityKind::Set), sets),
        )
            .prop_map(move |(stores, assets, sets)| {
                [stores, assets, sets]
                    .into_iter()
                    .flatten()
                    .map(|draft| Operation::Write(tenant, Actor::Ann, WriteOp::Create(draft)))
                    .collect::<Vec<_>>()
            })
    });
    let start = prop_oneof![1 => Just(Vec::new()), 9 => start];
    let more = vec(operation(), 1..most.saturating_sub(20).max(2));
    (setup(), start, more).prop_map(|(setup, mut operations, more)| {
        operations.extend(more);
        (setup, operations)
    })
}

/// The operations of the sequence of this seed, with `sets` sets created before and as many after them, none of which anything refuses: so there are at least
/// that many when it ends, whatever the operations do.
pub fn among_many(seed: u64, most: usize, sets: usize) -> (Setup, Vec<Operation>) {
    let (setup, operations) = from_seed(seed, most);
    let mut all = many("early", sets);
    all.extend(operations);
    all.extend(many("late", sets));
    (setup, all)
}

/// Creates a store, an asset and so many sets in one asset, under technical names that nothing else has.
fn many(name: &str, sets: usize) -> Vec<Operation> {
    let named = |number: usize| format!("{name} {number}");
    let store = NewDataStore::new(named(0), "postgres");
    // The draft names the parent.
    let asset = NewDataAsset {
        technical_name: named(0),
        app_type: "qix-df".to_owned(),
        ..NewDataAsset::default()
    };
    let set = |number| NewDataSet {
        technical_name: named(number),
        qri: "qdf:files:acme:many".to_owned(),
        secure_qri: "qri:many".to_owned(),
        ..NewDataSet::default()
    };
    [Input::Store(Box::new(store)), Input::Asset(Box::new(asset))]
        .into_iter()
        .chain((0..sets).map(|number| Input::Set(Box::new(set(number)))))
        .map(|input| {
            let draft = Draft {
                parent: Some(Ref::Live(0)),
                input,
            };
            Operation::Write(Tenant::One, Actor::Ann, WriteOp::Create(draft))
        })
        .collect()
}

/// The sequence of this seed: always the same one.
pub fn from_seed(seed: u64, most: usize) -> (Setup, Vec<Operation>) {
    generate(seed, &sequence(most))
}

/// The sequence that these bytes decide about, as a fuzzer gives them: the first four the setup, each four behind them one operation. So what a
/// fuzzer changes, inserts, or cuts out is an operation too.
pub fn from_bytes(bytes: &[u8]) -> (Setup, Vec<Operation>) {
    let mut seeds = bytes.chunks_exact(4).map(|chunk| {
        let word = chunk.first_chunk().copied().unwrap_or_default();
        u64::from(u32::from_le_bytes(word))
    });
    let setup = generate(seeds.next().unwrap_or_default(), &setup());
    let operation = operation();
    (setup, seeds.map(|seed| generate(seed, &operation)).collect())
}

fn generate<S: Strategy>(seed: u64, strategy: &S) -> S::Value {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    match strategy.new_tree(&mut TestRunner::new_with_rng(Config::default(), rng)) {
        Ok(tree) => tree.current(),
        Err(reason) => unreachable!("nothing is filtered: {reason}"),
    }
}

fn setup() -> impl Strategy<Value = Setup> {
    let retries = prop_oneof![2 => Just(0_u64), 1 => 1..4_u64];
    (
        any::<bool>(),
        changes(),
        proptest::bool::weighted(0.8),
        any::<bool>(),
        retries,
        proptest::bool::weighted(0.2),
        batches::expiry(),
        undrop::retention(),
    )
        .prop_map(
            |(
                unique_technical_names,
                changes,
                deferred,
                shared,
                retry_plans,
                hooks,
                idempotency_expiry,
                undrop,
            )| {
                Setup {
                    catalog: CatalogSetup {
                        unique_technical_names,
                        hooks,
                        change_feed: changes.is_some(),
                        retained_changes: changes.flatten(),
                        idempotency_expiry,
                        undrop,
                    },
                    deferred,
                    shared,
                    retry_plans,
                }
            },
        )
}

/// Whether there is a change feed, and how many changes it keeps.
fn changes() -> impl Strategy<Value = Option<Option<u64>>> {
    prop_oneof![
        1 => Just(None),
        3 => Just(Some(None)),
        2 => (0..12_u64).prop_map(|retained| Some(Some(retained))),
    ]
}

pub(crate) fn kind() -> impl Strategy<Value = EntityKind> {
    prop_oneof![
        2 => Just(EntityKind::Store),
        3 => Just(EntityKind::Asset),
        4 => Just(EntityKind::Set),
    ]
}

fn tenant() -> impl Strategy<Value = Tenant> {
    prop_oneof![8 => Just(Tenant::One), 1 => Just(Tenant::Two)]
}

fn actor() -> impl Strategy<Value = Actor> {
    select(&[Actor::Ann, Actor::Bob][..])
}

/// Mostly one that is there.
fn reference() -> impl Strategy<Value = Ref> {
    prop_oneof![
        30 => (0..3_u8).prop_map(Ref::Live),
        20 => any::<u8>().prop_map(Ref::Live),
        2 => any::<u8>().prop_map(Ref::Gone),
        2 => any::<u8>().prop_map(Ref::Foreign),
        1 => any::<u8>().prop_map(Ref::OtherKind),
        1 => any::<u8>().prop_map(Ref::Unknown),
    ]
}

/// Mostly one of a few, so that some parents have many children.
fn parent() -> impl Strategy<Value = Ref> {
    prop_oneof![
        60 => (0..3_u8).prop_map(Ref::Live),
        20 => any::<u8>().prop_map(Ref::Live),
        1 => any::<u8>().prop_map(Ref::Gone),
        1 => any::<u8>().prop_map(Ref::Foreign),
        1 => any::<u8>().prop_map(Ref::OtherKind),
        1 => any::<u8>().prop_map(Ref::Unknown),
    ]
}

pub(crate) fn target() -> impl Strategy<Value = Target> {
    let expect = prop_oneof![
        10 => Just(Expect::Right),
        4 => Just(Expect::Any),
        1 => Just(Expect::Stale),
        1 => Just(Expect::Ahead),
    ];
    (reference(), expect).prop_map(|(id, expect)| Target { id, expect })
}

fn write_op() -> impl Strategy<Value = WriteOp> {
    let drafts = kind().prop_flat_map(|kind| vec(draft(kind), 0..6));
    let replacements = kind().prop_flat_map(|kind| vec((target(), draft(kind)), 0..4));
    let deletion =
        prop_oneof![1 => Just(EntityKind::Store), 2 => Just(EntityKind::Asset), 4 => Just(EntityKind::Set)];
    prop_oneof![
        38 => kind().prop_flat_map(draft).prop_map(WriteOp::Create),
        13 => drafts.prop_map(WriteOp::CreateAll),
        6 => (target(), kind().prop_flat_map(draft)).prop_map(|(target, draft)| WriteOp::Replace(target, draft)),
        3 => replacements.prop_map(WriteOp::ReplaceAll),
        7 => (kind(), target(), inputs::edit()).prop_map(|(kind, target, edit)| WriteOp::Update(kind, target, edit)),
        3 => (kind(), vec(target(), 0..4), inputs::edit())
            .prop_map(|(kind, targets, edit)| WriteOp::UpdateAll(kind, targets, edit)),
        10 => kind().prop_flat_map(|kind| (target(), patches::patch(kind))
            .prop_map(move |(target, patch)| WriteOp::Patch(kind, target, patch))),
        4 => kind().prop_flat_map(|kind| vec((target(), patches::patch(kind)), 0..4)
            .prop_map(move |members| WriteOp::PatchAll(kind, members))),
        6 => (deletion.clone(), target()).prop_map(|(kind, target)| WriteOp::Delete(kind, target)),
        3 => (deletion.clone(), vec(target(), 0..4)).prop_map(|(kind, targets)| WriteOp::DeleteAll(kind, targets)),
        2 => deletion.prop_flat_map(|kind| selection(kind, false)
            .prop_map(move |selection| WriteOp::DeleteSelected(kind, selection))),
        6 => batches::steps().prop_map(WriteOp::Batch),
        4 => (batches::key(), kind().prop_flat_map(draft)).prop_map(|(key, draft)| WriteOp::CreateOnce(key, draft)),
        3 => (batches::key(), batches::steps()).prop_map(|(key, steps)| WriteOp::BatchOnce(key, steps)),
        6 => undrop::write_op(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => write_op().prop_map(Step::Write),
        4 => read_op().prop_map(Step::Read),
        1 => read_op().prop_map(Step::ReadOutside),
        1 => Just(Step::Reenter),
    ]
}

fn clock() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 1..2_000_i64, 1 => Just(1), 1 => -5_000..0_i64, 1 => 0..100_000_000_i64, 1 => -100_000_000..0_i64]
}

/// One operation.
pub fn operation() -> impl Strategy<Value = Operation> {
    let end = prop_oneof![4 => Just(End::Commit), 2 => Just(End::FirstError), 1 => Just(End::Refuse)];
    let batch = kind().prop_flat_map(|kind| vec(draft(kind), 0..9));
    prop_oneof![
        45 => (tenant(), actor(), write_op())
            .prop_map(|(tenant, actor, write)| Operation::Write(tenant, actor, write)),
        7 => (tenant(), actor(), batch, 1..4_usize)
            .prop_map(|(tenant, actor, drafts, chunk)| Operation::CreateBatched(tenant, actor, drafts, chunk)),
        8 => (tenant(), actor(), vec(step(), 0..7), end)
            .prop_map(|(tenant, actor, steps, end)| Operation::Transact(tenant, actor, steps, end)),
        25 => (tenant(), read_op()).prop_map(|(tenant, read)| Operation::Read(tenant, read)),
        2 => (tenant(), query()).prop_map(|(tenant, query)| Operation::Stream(tenant, query)),
        2 => Just(Operation::Hold),
        4 => (tenant(), read_op()).prop_map(|(tenant, read)| Operation::ReadHeld(tenant, read)),
        1 => (tenant(), query()).prop_map(|(tenant, query)| Operation::StreamHeld(tenant, query)),
        1 => Just(Operation::Release),
        3 => (tenant(), query()).prop_map(|(tenant, query)| Operation::KeepCursors(tenant, query)),
        6 => any::<bool>().prop_map(|back| Operation::FollowCursor { back }),
        1 => Just(Operation::Tenants),
        1 => tenant().prop_map(|tenant| Operation::DropTenant(tenant.other())),
        5 => (select(&Tenant::ALL[..]), 1..20_usize).prop_map(|(tenant, limit)| Operation::FollowChanges(tenant, limit)),
        2 => Just(Operation::Sweep),
        6 => clock().prop_map(Operation::Clock),
        1 => Just(Operation::Sync),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Check),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_bytes_always_give_the_same_sequence() {
        let (setup, operations) = from_seed(7, 60);
        assert_eq!((setup, operations.clone()), from_seed(7, 60));
        assert_ne!(operations, from_seed(8, 60).1);
        let bytes: Vec<u8> = (0..120).map(|byte: u8| byte.wrapping_mul(37)).collect();
        let (setup, operations) = from_bytes(&bytes);
        assert_eq!(operations.len(), 29);
        let mut changed = bytes;
        changed[8] ^= 1;
        let (same_setup, others) = from_bytes(&changed);
        assert_eq!(setup, same_setup);
        let different: Vec<usize> = (0..29).filter(|&at| operations[at] != others[at]).collect();
        assert_eq!(different, [1]);
        assert!(from_bytes(&[]).1.is_empty());
    }
}
