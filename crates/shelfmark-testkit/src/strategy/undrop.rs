//! Operations on what was dropped.

use proptest::prelude::*;
use shelfmark::EntityKind;

use super::kind;
use crate::operation::{ReadOp, Ref, WriteOp};

/// Off, short enough to expire in the course of a sequence, or longer than any.
pub(super) fn retention() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        2 => Just(None),
        3 => (1..20_000_u64).prop_map(Some),
        2 => Just(Some(50_000_000)),
        1 => Just(Some(u64::MAX)),
    ]
}

/// Mostly one that was dropped.
fn reference() -> impl Strategy<Value = Ref> {
    prop_oneof![
        8 => (0..3_u8).prop_map(Ref::Dropped),
        8 => any::<u8>().prop_map(Ref::Dropped),
        2 => any::<u8>().prop_map(Ref::Gone),
        1 => any::<u8>().prop_map(Ref::Live),
        1 => any::<u8>().prop_map(Ref::Foreign),
        1 => any::<u8>().prop_map(Ref::OtherKind),
        1 => any::<u8>().prop_map(Ref::Unknown),
    ]
}

pub(super) fn write_op() -> impl Strategy<Value = WriteOp> {
    prop_oneof![
        5 => (kind(), reference()).prop_map(|(kind, id)| WriteOp::Restore(kind, id)),
        1 => (kind(), reference()).prop_map(|(kind, id)| WriteOp::Purge(kind, id)),
    ]
}

pub(super) fn read_op() -> impl Strategy<Value = ReadOp> {
    let kind_or_all = prop_oneof![2 => Just(None::<EntityKind>), 1 => kind().prop_map(Some)];
    prop_oneof![
        1 => (kind(), reference()).prop_map(|(kind, id)| ReadOp::Dropped(kind, id)),
        2 => (kind_or_all, 1..5_usize).prop_map(|(kind, limit)| ReadOp::ListDropped(kind, limit)),
    ]
}
