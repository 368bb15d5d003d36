//! Index keyspaces, whose entries lie in blocks: a row of redb holds some tens of entries that follow one another. A row costs redb much more than
//! an entry costs a block, to write, to pass and to keep (docs/decisions/0008-index-blocks.md).
//!
//! Invariants: the key of a row is the *fence* of its block. Every entry of the block has a key that is not before the fence, and before the fence of the
//! next block; entries are in order. The first fence is empty, so that every key has a block; only that block may be without entries.

mod block;
mod read;
#[cfg(test)]
mod tests;
mod write;

use ::redb::AccessGuard;

pub(super) use self::read::{Walk, get};
pub(super) use self::write::{apply, pack};
use crate::backend::{Direction, KeyRange, Keyspace};

/// Bytes of a full block: with its fence and what redb keeps of a row, four of them fill a page.
const BLOCK: usize = 960;

type Row<'a> = (AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>);

/// Whether the entries of a keyspace lie in blocks: those of indexes do, which are many and short.
pub(super) const fn is_packed(space: Keyspace) -> bool {
    space.is_index()
}

/// Whether a walk that has come to `key` is not behind the range.
pub(super) fn is_within(range: &KeyRange, key: &[u8], direction: Direction) -> bool {
    match direction {
        Direction::Forward => range.end.as_deref().is_none_or(|end| key < end),
        Direction::Reverse => key >= range.start.as_slice(),
    }
}

/// How many bytes fewer a table of so many rows, and so many bytes of them, would have if its blocks were full, about.
pub(super) const fn slack(rows: u64, bytes: u64) -> u64 {
    // A block ends before the entry that does not fit.
    (rows * (BLOCK as u64 / 32 * 31)).saturating_sub(bytes)
}
