//! Declarative batches, and idempotency keys.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use shelfmark::EntityKind;

use super::{draft, kind, patches, target};
use crate::operation::{BatchStep, Draft, OnceKey, Ref, Target};

/// One of few, as often as not with the request that came with it last.
pub(super) fn key() -> impl Strategy<Value = OnceKey> {
    (0..3_u8, any::<bool>()).prop_map(|(key, again)| OnceKey { key, again })
}

/// For how long answers are kept: the clock moves by seconds mostly, by days at times.
pub(super) fn expiry() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        3 => Just(None),
        3 => select(&[1_u64, 1_000, 20_000][..]).prop_map(Some),
        1 => Just(Some(0)),
    ]
}

/// One that the batch itself creates, as often as not.
fn local() -> impl Strategy<Value = Option<Ref>> {
    weighted(0.5, (0..3_u8).prop_map(Ref::Local))
}

fn local_draft(kind: EntityKind) -> impl Strategy<Value = Draft> {
    (draft(kind), local()).prop_map(|(draft, local)| Draft {
        parent: draft.parent.map(|parent| local.unwrap_or(parent)),
        ..draft
    })
}

fn local_target() -> impl Strategy<Value = Target> {
    (target(), local()).prop_map(|(target, local)| Target {
        id: local.unwrap_or(target.id),
        ..target
    })
}

fn step() -> impl Strategy<Value = BatchStep> {
    kind().prop_flat_map(|kind| {
        let change = (local_target(), local_draft(kind));
        let patch = (local_target(), patches::patch(kind));
        prop_oneof![
            8 => local_draft(kind).prop_map(BatchStep::Create),
            2 => change.prop_map(|(target, draft)| BatchStep::Replace(target, draft)),
            3 => patch.prop_map(move |(target, patch)| BatchStep::Patch(kind, target, patch)),
            1 => local_target().prop_map(move |target| BatchStep::Delete(kind, target)),
        ]
    })
}

/// The operations of a batch: at times a store with what hangs from it first.
pub(super) fn steps() -> impl Strategy<Value = Vec<BatchStep>> {
    let under = |kind| {
        draft(kind).prop_map(|draft| {
            BatchStep::Create(Draft {
                parent: Some(Ref::Local(0)),
                ..draft
            })
        })
    };
    let family = (
        under(EntityKind::Store),
        under(EntityKind::Asset),
        vec(under(EntityKind::Set), 0..8),
    )
        .prop_map(|(store, asset, sets)| [vec![store, asset], sets].concat());
    let family = prop_oneof![2 => Just(Vec::new()), 1 => family];
    (family, vec(step(), 0..5)).prop_map(|(family, steps)| [family, steps].concat())
}
