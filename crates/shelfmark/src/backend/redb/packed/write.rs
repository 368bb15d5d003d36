//! Writing entries into blocks.

use std::ops::{Bound, Range};

use ::redb::{CursorError, CursorMut, ReadableTable, Table};

use super::super::apply::Unreadable;
use super::super::failure::from_redb;
use super::BLOCK;
use super::block::{Block, Builder, common, size_behind};
use super::read::Walk;
use crate::backend::{Direction, KeyRange, Keyspace, SpaceBatch, WriteOp};
use crate::error::Result;

type Bytes = &'static [u8];
type Rows<'txn> = Table<'txn, Bytes, Bytes>;

/// A block that is left with less, since entries were removed, is put together with its neighbours.
const SMALL: usize = BLOCK / 4;
/// What is put together is no more than this.
const FILLED: usize = BLOCK / 4 * 3;
/// Where a block is cut at an entry, neither part is smaller.
const PART: usize = BLOCK / 4;
/// Up to so many blocks are passed on the way to the next that changes: as many cost about one seek.
const UNCHANGED: usize = 8;
/// So many blocks are held at a time.
const AT_ONCE: usize = 256;
/// A run of rows from this length on is cut out and written through one cursor, since putting each costs more.
const LONG_RUN: usize = 16;

type Change<'a> = (&'a [u8], WriteOp<'a>);

/// What a block is to have at a place.
enum Piece<'a> {
    /// Entries that it has.
    Old(Range<usize>),
    /// Another entry.
    New(&'a [u8], &'a [u8]),
}

/// A row of the table.
type Stored = (Vec<u8>, Vec<u8>);

/// Applies the changes of one keyspace: first the ranges, then the entries, each block once.
pub(in super::super) fn apply(
    table: &mut Rows<'_>,
    space: Keyspace,
    batch: &SpaceBatch,
    unreadable: Unreadable,
) -> Result<()> {
    for range in batch.ranges.iter().filter(|range| !range.is_empty()) {
        clear(table, space, range, unreadable)?;
    }
    let changes: Vec<Change<'_>> = batch.entries.iter().collect();
    let mut rest = &changes[..];
    while !rest.is_empty() {
        let window = Window::read(table, rest)?;
        let changed = window.changes();
        window.write(table, space, &rest[..changed], unreadable)?;
        rest = &rest[changed..];
    }
    Ok(())
}

/// Blocks that change, close to each other.
struct Window {
    /// Those that change.
    rows: Vec<Held>,
    /// `false` where the table has no first block yet.
    is_there: bool,
}

struct Held {
    stored: Stored,
    /// How many of the changes lie in this block and those before.
    until: usize,
    /// Whether the block before it changes too.
    follows: bool,
}

impl Window {
    /// The blocks of the first changes.
    fn read(table: &Rows<'_>, changes: &[Change<'_>]) -> Result<Self> {
        let (first, _) = changes[0];
        let mut cursor = table.upper_bound(Bound::Included(first)).map_err(from_redb)?;
        let mut row = cursor.peek_prev().map_err(from_redb)?;
        let mut window = Self {
            rows: Vec::new(),
            is_there: row.is_some(),
        };
        let (mut until, mut unchanged) = (0, 0);
        loop {
            let next = cursor.next().map_err(from_redb)?;
            let changed = match &next {
                Some((fence, _)) => changes[until..].partition_point(|(key, _)| *key < fence.value()),
                None => changes.len() - until,
            };
            until += changed;
            if changed > 0 {
                window.rows.push(Held {
                    stored: row.map_or_else(Stored::default, |(fence, row)| {
                        (fence.value().to_vec(), row.value().to_vec())
                    }),
                    until,
                    follows: unchanged == 0 && !window.rows.is_empty(),
                });
                unchanged = 0;
            } else {
                unchanged += 1;
            }
            row = next;
            let goes_on = until < changes.len() && unchanged <= UNCHANGED && window.rows.len() < AT_ONCE;
            if row.is_none() || !goes_on {
                return Ok(window);
            }
        }
    }

    /// How many changes lie in it.
    fn changes(&self) -> usize {
        self.rows.last().map_or(0, |row| row.until)
    }

    fn write(
        self,
        table: &mut Rows<'_>,
        space: Keyspace,
        changes: &[Change<'_>],
        unreadable: Unreadable,
    ) -> Result<()> {
        let Self { rows, is_there } = self;
        let mut block = Block::default();
        let mut writer = Writer::new(space);
        let mut small = Vec::new();
        let mut from = 0;
        for (position, held) in rows.into_iter().enumerate() {
            let Held {
                stored: (fence, row),
                until,
                follows,
            } = held;
            let now = &changes[from..until];
            from = until;
            if !follows {
                writer.runs.push(Vec::new());
            }
            block.clear();
            let stands = is_there || position > 0;
            let is_readable = !stands || unreadable.check(block.read(space, &fence, &row))?.is_some();
            let Some(pieces) = merged(&block, now).filter(|_| is_readable) else {
                // As it is stored.
                writer.runs.push(Vec::new());
                continue;
            };
            writer.block(fence, &block, &pieces);
            let has_removed = now.iter().any(|(_, op)| *op == WriteOp::Delete);
            if let Some((fence, Some(row))) = writer.last()
                && has_removed
                && row.len() < SMALL
            {
                small.push(fence.clone());
            }
        }
        writer.write(table)?;
        small.iter().try_for_each(|fence| fill(table, space, fence))
    }
}

/// Rows that are to take the place of others.
struct Writer {
    space: Keyspace,
    builder: Builder,
    /// Each run has every row from its first fence to its last.
    runs: Vec<Vec<NewRow>>,
}

/// A fence and its row, which is `None` where all entries of the block have gone.
type NewRow = (Vec<u8>, Option<Vec<u8>>);

impl Writer {
    fn new(space: Keyspace) -> Self {
        Self {
            space,
            builder: Builder::new(),
            runs: vec![Vec::new()],
        }
    }

    fn last(&self) -> Option<&NewRow> {
        self.runs.last()?.last()
    }

    fn push(&mut self, row: NewRow) {
        match self.runs.last_mut() {
            Some(run) => run.push(row),
            None => self.runs.push(vec![row]),
        }
    }

    /// A block of these entries, and blocks behind it for what does not fit.
    fn block(&mut self, fence: Vec<u8>, block: &Block, pieces: &[Piece<'_>]) {
        let is_empty = pieces.iter().all(|piece| match piece {
            Piece::Old(range) => range.is_empty(),
            Piece::New(..) => false,
        });
        // The first block stays, so that every key has one.
        if is_empty && !fence.is_empty() {
            return self.push((fence, None));
        }
        let fits = pieces.iter().all(|piece| match piece {
            Piece::Old(range) => self.builder.push_all(block, range.clone(), BLOCK) == range.len(),
            Piece::New(key, value) => self.builder.push(key, value, BLOCK),
        });
        if fits {
            return self.finish(fence);
        }
        self.builder.reset();
        self.blocks(fence, &entries_of(block, pieces));
    }

    /// Blocks of entries that are too many for one.
    fn blocks(&mut self, mut fence: Vec<u8>, entries: &[Entry<'_>]) {
        for Part { range, limit } in parts(entries) {
            for (position, entry) in entries[range].iter().enumerate() {
                // A part begins a block of its own.
                let begins = position == 0 && !self.builder.is_empty();
                if begins || !self.builder.push(entry.key, entry.value, limit) {
                    let next = self.builder.fence_before(entry.key);
                    self.finish(std::mem::replace(&mut fence, next));
                    self.builder.push(entry.key, entry.value, limit);
                }
            }
        }
        self.finish(fence);
    }

    fn finish(&mut self, fence: Vec<u8>) {
        let row = self.builder.finish(self.space, &fence);
        self.push((fence, Some(row)));
    }

    fn write(self, table: &mut Rows<'_>) -> Result<()> {
        self.runs.iter().try_for_each(|run| write_run(table, run))
    }
}

/// Writes rows, between which the table is to have no other.
fn write_run(table: &mut Rows<'_>, run: &[NewRow]) -> Result<()> {
    let (Some((first, _)), Some((last, _)), true) = (run.first(), run.last(), run.len() >= LONG_RUN) else {
        return run.iter().try_for_each(|(fence, row)| match row {
            Some(row) => put(table, fence, row),
            None => table.remove(fence.as_slice()).map(drop).map_err(from_redb),
        });
    };
    remove(table, (Bound::Included(first), Bound::Included(last)))?;
    let mut cursor = table
        .lower_bound_mut(Bound::Included(first.as_slice()))
        .map_err(from_redb)?;
    for (fence, row) in run {
        if let Some(row) = row {
            append(&mut cursor, fence, row)?;
        }
    }
    cursor.close().map_err(from_redb)
}

fn remove(table: &mut Rows<'_>, fences: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<()> {
    table
        .retain_in::<&[u8], _>(fences, |_, _| false)
        .map_err(from_redb)
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

/// The fence of the last block whose own lies within the bound, and the block itself, empty where it cannot be read and is left; `None` where there is none.
fn find(
    table: &Rows<'_>,
    space: Keyspace,
    fence: Bound<&[u8]>,
    unreadable: Unreadable,
) -> Result<Option<(Vec<u8>, Block)>> {
    let mut cursor = table.upper_bound(fence).map_err(from_redb)?;
    let Some((fence, row)) = cursor.peek_prev().map_err(from_redb)? else {
        return Ok(None);
    };
    let mut block = Block::default();
    if unreadable
        .check(block.read(space, fence.value(), row.value()))?
        .is_none()
    {
        block.clear();
    }
    Ok(Some((fence.value().to_vec(), block)))
}

/// What a block has after the changes; `None` where they change nothing.
fn merged<'a>(block: &Block, changes: &[Change<'a>]) -> Option<Vec<Piece<'a>>> {
    let mut pieces = Vec::with_capacity(2 * changes.len() + 1);
    let mut changed = false;
    let mut kept = 0;
    for &(key, op) in changes {
        let at = kept + block.before_from(kept, key);
        let replaced = (at < block.len())
            .then(|| block.entry(at))
            .filter(|(old, _)| *old == key);
        let same = match (op, replaced) {
            (WriteOp::Put(value), Some((_, old))) => value == old,
            (WriteOp::Delete, replaced) => replaced.is_none(),
            _ => false,
        };
        if same {
            continue;
        }
        changed = true;
        pieces.push(Piece::Old(kept..at));
        if let WriteOp::Put(value) = op {
            pieces.push(Piece::New(key, value));
        }
        kept = at + usize::from(replaced.is_some());
    }
    pieces.push(Piece::Old(kept..block.len()));
    changed.then_some(pieces)
}

/// An entry of a block to be.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: &'a [u8],
    value: &'a [u8],
    is_new: bool,
}

fn entries_of<'a>(block: &'a Block, pieces: &[Piece<'a>]) -> Vec<Entry<'a>> {
    let mut entries = Vec::with_capacity(block.len() + pieces.len());
    for piece in pieces {
        match piece {
            Piece::Old(range) => entries.extend(range.clone().map(|position| {
                let (key, value) = block.entry(position);
                Entry {
                    key,
                    value,
                    is_new: false,
                }
            })),
            &Piece::New(key, value) => entries.push(Entry {
                key,
                value,
                is_new: true,
            }),
        }
    }
    entries
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
        // Behind the children of a parent few of the next one's may follow, but more of its own will come before those.
        let ends_a_group = |first: usize| {
            let shared = |one: usize, two: usize| common(entries[one].key, entries[two].key);
            first > 0 && shared(first - 1, first) > shared(end - 1, end)
        };
        let is_enough = size(behind.clone()) >= PART || first.is_some_and(ends_a_group);
        if size(before.clone()) >= PART && is_enough {
            return vec![full(before), full(behind)];
        }
    }
    let total = size(all.clone());
    let blocks = total.div_ceil(BLOCK).max(2);
    let largest = entries
        .iter()
        .map(|entry| entry.key.len() + entry.value.len())
        .max();
    vec![Part {
        range: all,
        limit: (total / blocks + largest.unwrap_or_default()).min(BLOCK),
    }]
}

/// Puts a block that has become small together with those behind it, or the one before, as long as that leaves room. One that cannot be read stays as it is.
fn fill(table: &mut Rows<'_>, space: Keyspace, fence: &[u8]) -> Result<()> {
    let mut block = Block::default();
    let mut builder = Builder::new();
    let mut fences = Vec::new();
    {
        let mut cursor = table.lower_bound(Bound::Included(fence)).map_err(from_redb)?;
        let len = match cursor.peek_next().map_err(from_redb)? {
            Some((here, row)) if here.value() == fence => row.value().len(),
            _ => return Ok(()),
        };
        if len >= SMALL {
            return Ok(());
        }
        let before = cursor.peek_prev().map_err(from_redb)?;
        if before.is_some_and(|(_, row)| row.value().len() + len <= FILLED) {
            cursor.prev().map_err(from_redb)?;
        }
        let mut filled = 0;
        while let Some((fence, row)) = cursor.next().map_err(from_redb)? {
            filled += row.value().len();
            let fits = filled <= FILLED;
            if !fits
                || Unreadable::Left
                    .check(block.read(space, fence.value(), row.value()))?
                    .is_none()
            {
                break;
            }
            // Together they share more than apart.
            builder.push_all(&block, 0..block.len(), usize::MAX);
            fences.push(fence.value().to_vec());
        }
    }
    let Some((first, others @ [_, ..])) = fences.split_first() else {
        return Ok(());
    };
    for fence in others {
        table.remove(fence.as_slice()).map_err(from_redb)?;
    }
    put(table, first, &builder.finish(space, first))
}

/// Removes what lies in the range. Blocks that lie within it as a whole go unread.
fn clear(table: &mut Rows<'_>, space: Keyspace, range: &KeyRange, unreadable: Unreadable) -> Result<()> {
    if *range == KeyRange::all() {
        return remove(table, (Bound::Unbounded, Bound::Unbounded));
    }
    let Some((head, block)) = find(table, space, Bound::Included(&range.start), unreadable)? else {
        return Ok(());
    };
    let before = block.before(&range.start);
    let mut behind = block.len();
    match &range.end {
        Some(end) => match find(table, space, Bound::Excluded(end), unreadable)? {
            Some((tail, last)) if tail != head => {
                remove(table, (Bound::Excluded(&head), Bound::Excluded(&tail)))?;
                let from = last.before(end);
                if from > 0 {
                    shorten(table, space, tail, &last, &[Piece::Old(from..last.len())])?;
                }
            }
            _ => behind = block.before(end),
        },
        None => remove(table, (Bound::Excluded(&head), Bound::Unbounded))?,
    }
    if before < behind {
        let pieces = [Piece::Old(0..before), Piece::Old(behind..block.len())];
        shorten(table, space, head.clone(), &block, &pieces)?;
    }
    fill(table, space, &head)
}

/// Leaves these entries of a block.
fn shorten(
    table: &mut Rows<'_>,
    space: Keyspace,
    fence: Vec<u8>,
    block: &Block,
    pieces: &[Piece<'_>],
) -> Result<()> {
    let mut writer = Writer::new(space);
    writer.block(fence, block, pieces);
    writer.write(table)
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
