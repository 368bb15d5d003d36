//! Writing entries into blocks.

use std::ops::{Bound, Range};

use ::redb::{CursorError, CursorMut, ReadableTable, Table};

use super::super::failure::from_redb;
use super::BLOCK;
use super::block::{Block, Builder, size_behind};
use super::read::Walk;
use crate::backend::{Direction, KeyRange, Keyspace, SpaceBatch, WriteOp};
use crate::error::Result;

type Bytes = &'static [u8];
type Rows<'txn> = Table<'txn, Bytes, Bytes>;

/// A block that is left with less, since entries were removed, takes in the next one if both make no more than three quarters of a block.
const SMALL: usize = BLOCK / 4;
/// Where a block is cut at an entry, neither part is smaller.
const PART: usize = BLOCK / 4;
/// From so many new blocks on a cursor is worth it.
const MANY_BLOCKS: usize = 4;

/// The block that a key is in or would be in.
struct Found {
    fence: Vec<u8>,
    /// The fence of the next block.
    next: Option<Vec<u8>>,
    /// `false` where the table has no block yet.
    is_there: bool,
}

/// An entry that a block is to have.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: &'a [u8],
    value: &'a [u8],
    is_new: bool,
}

/// Applies the changes of one keyspace: first the ranges, then the entries, each block once.
pub(in super::super) fn apply(table: &mut Rows<'_>, space: Keyspace, batch: &SpaceBatch) -> Result<()> {
    for range in batch.ranges.iter().filter(|range| !range.is_empty()) {
        clear(table, space, range)?;
    }
    let changes: Vec<(&[u8], WriteOp<'_>)> = batch.entries.iter().collect();
    let mut rest = &changes[..];
    let mut block = Block::default();
    while let Some((first, _)) = rest.first() {
        let found = find(table, space, Bound::Included(first), &mut block)?;
        let count = match &found.next {
            Some(next) => rest.partition_point(|(key, _)| *key < next.as_slice()),
            None => rest.len(),
        };
        let (now, later) = rest.split_at(count);
        rest = later;
        if let Some(entries) = merged(&block, now) {
            let fewer = entries.len() < block.len();
            replace(table, space, &found, &entries)?;
            if fewer {
                fill(table, space, &found)?;
            }
        }
    }
    Ok(())
}

/// The last block whose fence lies within the bound, read into `block`.
fn find(table: &Rows<'_>, space: Keyspace, fence: Bound<&[u8]>, block: &mut Block) -> Result<Found> {
    let mut cursor = table.upper_bound(fence).map_err(from_redb)?;
    let next = cursor.peek_next().map_err(from_redb)?;
    let next = next.map(|(fence, _)| fence.value().to_vec());
    let Some((fence, row)) = cursor.peek_prev().map_err(from_redb)? else {
        block.clear();
        return Ok(Found {
            fence: Vec::new(),
            next,
            is_there: false,
        });
    };
    block.read(space, fence.value(), row.value())?;
    Ok(Found {
        fence: fence.value().to_vec(),
        next,
        is_there: true,
    })
}

/// The entries of a block after the changes; `None` where they change nothing.
fn merged<'a>(block: &'a Block, changes: &[(&'a [u8], WriteOp<'a>)]) -> Option<Vec<Entry<'a>>> {
    let mut entries = Vec::with_capacity(block.len() + changes.len());
    let mut old = block.entries().peekable();
    let mut changed = false;
    let kept = |(key, value)| Entry {
        key,
        value,
        is_new: false,
    };
    for &(key, op) in changes {
        while let Some(before) = old.next_if(|(old, _)| *old < key) {
            entries.push(kept(before));
        }
        let replaced = old.next_if(|(old, _)| *old == key);
        match op {
            WriteOp::Put(value) => {
                changed |= replaced.is_none_or(|(_, old)| old != value);
                entries.push(Entry {
                    key,
                    value,
                    is_new: replaced.is_none(),
                });
            }
            WriteOp::Delete => changed |= replaced.is_some(),
        }
    }
    entries.extend(old.map(kept));
    changed.then_some(entries)
}

/// Makes the block have these entries, and no others up to the next one. What does not fit goes into new blocks behind it.
fn replace(table: &mut Rows<'_>, space: Keyspace, found: &Found, entries: &[Entry<'_>]) -> Result<()> {
    let mut builder = Builder::new();
    if entries.is_empty() && !(found.fence.is_empty() && found.next.is_some()) {
        table.remove(found.fence.as_slice()).map_err(from_redb)?;
        return Ok(());
    }
    let add = |builder: &mut Builder, entry: &Entry<'_>, limit| builder.push(entry.key, entry.value, limit);
    let fits = entries.iter().all(|entry| add(&mut builder, entry, BLOCK));
    if fits {
        let row = builder.finish(space, &found.fence);
        return put(table, &found.fence, &row);
    }
    let mut builder = Builder::new();
    let mut fence = found.fence.clone();
    let mut blocks = Vec::new();
    for Part { range, limit } in parts(entries) {
        for (position, entry) in entries[range].iter().enumerate() {
            // A part begins a block of its own.
            let begins = position == 0 && !builder.is_empty();
            if !begins && add(&mut builder, entry, limit) {
                continue;
            }
            let next = builder.fence_before(entry.key);
            let row = builder.finish(space, &fence);
            blocks.push((std::mem::replace(&mut fence, next), row));
            add(&mut builder, entry, limit);
        }
    }
    let row = builder.finish(space, &fence);
    blocks.push((fence, row));
    let (first, others) = blocks.split_at(1);
    for (fence, row) in first {
        put(table, fence, row)?;
    }
    if others.len() < MANY_BLOCKS {
        return others.iter().try_for_each(|(fence, row)| put(table, fence, row));
    }
    // Nothing lies between this block and the next one.
    let mut cursor = table
        .upper_bound_mut(Bound::Included(found.fence.as_slice()))
        .map_err(from_redb)?;
    for (fence, row) in others {
        append(&mut cursor, fence, row)?;
    }
    cursor.close().map_err(from_redb)
}

fn put(table: &mut Rows<'_>, fence: &[u8], row: &[u8]) -> Result<()> {
    table.insert(fence, row).map(drop).map_err(from_redb)
}

fn append(cursor: &mut CursorMut<'_, Bytes, Bytes>, fence: &[u8], row: &[u8]) -> Result<()> {
    cursor.insert_before(fence, row).map_err(|error| match error {
        CursorError::Storage(error) => from_redb(error),
        // Fences come in order, each once.
        error => from_redb(::redb::Error::Corrupted(error.to_string())),
    })
}

/// Entries for blocks of at most so many bytes.
struct Part {
    range: Range<usize>,
    limit: usize,
}

/// How entries that are too many for one block are dealt out. What is added at one place comes in order more often than not, as the children of a parent do by
/// their ids: the blocks before the place are left full. Otherwise all get about equally much.
fn parts(entries: &[Entry<'_>]) -> Vec<Part> {
    let size = |range: Range<usize>| -> usize {
        let sizes = range.map(|position| {
            let before = position
                .checked_sub(1)
                .map_or(&[][..], |before| entries[before].key);
            size_behind(before, entries[position].key, entries[position].value)
        });
        sizes.sum()
    };
    let all = 0..entries.len();
    let full = |range| Part { range, limit: BLOCK };
    let first = entries.iter().position(|entry| entry.is_new);
    let end = entries
        .iter()
        .rposition(|entry| entry.is_new)
        .map_or(0, |last| last + 1);
    let at_one_place = first.is_some_and(|first| entries[first..end].iter().all(|entry| entry.is_new));
    if at_one_place {
        if end == entries.len() {
            return vec![full(all)];
        }
        let (before, behind) = (0..end, end..entries.len());
        if size(before.clone()) >= PART && size(behind.clone()) >= PART {
            return vec![full(before), full(behind)];
        }
    }
    let total = size(all.clone());
    let blocks = total.div_ceil(BLOCK).max(2);
    let largest = (0..entries.len())
        .map(|position| entries[position].key.len() + entries[position].value.len())
        .max();
    vec![Part {
        range: all,
        limit: (total / blocks + largest.unwrap_or_default()).min(BLOCK),
    }]
}

/// Lets a block that has become small take in the next one, if that leaves room.
fn fill(table: &mut Rows<'_>, space: Keyspace, found: &Found) -> Result<()> {
    let Some(next) = &found.next else { return Ok(()) };
    let len = |fence: &[u8]| -> Result<Option<usize>> {
        let row = table.get(fence).map_err(from_redb)?;
        Ok(row.map(|row| row.value().len()))
    };
    let (Some(here), Some(there)) = (len(&found.fence)?, len(next)?) else {
        return Ok(());
    };
    if here >= SMALL || here + there > BLOCK / 4 * 3 {
        return Ok(());
    }
    let (mut one, mut two) = (Block::default(), Block::default());
    find(table, space, Bound::Included(&found.fence), &mut one)?;
    let behind = find(table, space, Bound::Included(next), &mut two)?;
    let mut entries = of(&one, 0..one.len());
    entries.extend(of(&two, 0..two.len()));
    table.remove(next.as_slice()).map_err(from_redb)?;
    let joined = Found {
        fence: found.fence.clone(),
        next: behind.next,
        is_there: true,
    };
    replace(table, space, &joined, &entries)
}

/// Removes what lies in the range. Blocks that lie within it as a whole go unread.
fn clear(table: &mut Rows<'_>, space: Keyspace, range: &KeyRange) -> Result<()> {
    let remove = |table: &mut Rows<'_>, fences: (Bound<&[u8]>, Bound<&[u8]>)| {
        table
            .retain_in::<&[u8], _>(fences, |_, _| false)
            .map_err(from_redb)
    };
    if *range == KeyRange::all() {
        return remove(table, (Bound::Unbounded, Bound::Unbounded));
    }
    let mut block = Block::default();
    let mut head = find(table, space, Bound::Included(&range.start), &mut block)?;
    if !head.is_there {
        return Ok(());
    }
    let before = block.before(&range.start);
    let mut kept = 0..before;
    let mut behind = block.len()..block.len();
    let mut last = Block::default();
    match &range.end {
        Some(end) => {
            let mut tail = find(table, space, Bound::Excluded(end), &mut last)?;
            if tail.fence == head.fence {
                behind.start = block.before(end);
            } else {
                remove(
                    table,
                    (Bound::Excluded(&head.fence), Bound::Excluded(&tail.fence)),
                )?;
                let from = last.before(end);
                if from > 0 {
                    replace(table, space, &tail, &of(&last, from..last.len()))?;
                }
                head.next = if from < last.len() {
                    Some(tail.fence)
                } else {
                    tail.next.take()
                };
            }
        }
        None => {
            remove(table, (Bound::Excluded(&head.fence), Bound::Unbounded))?;
            head.next = None;
        }
    }
    if kept.end < behind.start {
        let entries = of(&block, kept.by_ref().chain(behind));
        replace(table, space, &head, &entries)?;
        if !entries.is_empty() || head.fence.is_empty() {
            fill(table, space, &head)?;
        }
    }
    Ok(())
}

fn of<'a>(block: &'a Block, positions: impl Iterator<Item = usize>) -> Vec<Entry<'a>> {
    positions
        .map(|position| {
            let (key, value) = block.entry(position);
            Entry {
                key,
                value,
                is_new: false,
            }
        })
        .collect()
}

/// Writes the entries of one table into another, which is empty, in full blocks.
pub(in super::super) fn pack(loose: &Rows<'_>, packed: &mut Rows<'_>, space: Keyspace) -> Result<()> {
    let mut walk = Walk::new(space, Direction::Forward);
    walk.seek(loose, &KeyRange::all())?;
    let mut end = packed
        .upper_bound_mut(Bound::<&[u8]>::Unbounded)
        .map_err(from_redb)?;
    let mut builder = Builder::new();
    let mut fence = Vec::new();
    while let Some((key, value)) = walk.entry() {
        if !builder.push(key, value, BLOCK) {
            let next = builder.fence_before(key);
            append(&mut end, &fence, &builder.finish(space, &fence))?;
            fence = next;
            builder.push(key, value, BLOCK);
        }
        walk.step()?;
    }
    if !builder.is_empty() {
        append(&mut end, &fence, &builder.finish(space, &fence))?;
    }
    end.close().map_err(from_redb)
}
