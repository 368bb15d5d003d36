//! Reading entries out of blocks.

use std::ops::{Bound, ControlFlow};

use ::redb::{Cursor, ReadableTable};

use super::super::failure::from_redb;
use super::super::milestones::STRIDE;
use super::block::{self, Block};
use super::is_within;
use crate::backend::{Direction, KeyRange, Keyspace};
use crate::error::Result;

type Bytes = &'static [u8];

/// Entries of a keyspace, one behind the other, from one end of a range on.
pub(in super::super) struct Walk<'a> {
    space: Keyspace,
    direction: Direction,
    cursor: Option<Cursor<'a, Bytes, Bytes>>,
    block: Block,
    /// How many of the block's entries have been passed, from the end that it is walked from.
    passed: usize,
}

impl<'a> Walk<'a> {
    /// A walk that is nowhere yet.
    pub(in super::super) fn new(space: Keyspace, direction: Direction) -> Self {
        Self {
            space,
            direction,
            cursor: None,
            block: Block::default(),
            passed: 0,
        }
    }

    /// Goes to the first entry that lies within the range or behind it.
    pub(in super::super) fn seek(
        &mut self,
        table: &'a impl ReadableTable<Bytes, Bytes>,
        range: &KeyRange,
    ) -> Result<()> {
        self.end();
        let cursor = match (self.direction, &range.end) {
            (Direction::Forward, _) => table.upper_bound(Bound::Included(range.start.as_slice())),
            (Direction::Reverse, Some(end)) => table.lower_bound(Bound::Included(end.as_slice())),
            (Direction::Reverse, None) => table.upper_bound(Bound::<&[u8]>::Unbounded),
        };
        let cursor = self.cursor.insert(cursor.map_err(from_redb)?);
        let next = cursor.peek_next().map_err(from_redb)?;
        match self.direction {
            Direction::Forward => {
                if let Some((fence, row)) = cursor.peek_prev().map_err(from_redb)? {
                    self.block.read(self.space, fence.value(), row.value())?;
                    self.passed = self.block.before(&range.start);
                }
            }
            Direction::Reverse => {
                self.load()?;
                if let Some(end) = &range.end {
                    self.passed = self.block.len() - self.block.before(end);
                }
            }
        }
        if let Some((fence, _)) = next {
            self.ends_before(fence.value())?;
        }
        self.settle()
    }

    /// Goes on to the first entry of the range or behind it, if that is close; otherwise it is to be sought. The range lies behind those before.
    pub(in super::super) fn go_on(&mut self, range: &KeyRange) -> Result<bool> {
        if self.direction == Direction::Reverse || self.cursor.is_none() {
            return Ok(false);
        }
        for further in [false, true] {
            if further && !self.load()? {
                // Nothing is behind the end.
                return Ok(true);
            }
            let before = self.block.before(&range.start);
            if before < self.block.len() {
                self.passed = before;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The entry that it is at; `None` at the end of the keyspace.
    pub(in super::super) fn entry(&self) -> Option<(&[u8], &[u8])> {
        (self.left() > 0).then(|| self.block.entry(self.position(self.passed)))
    }

    pub(in super::super) fn step(&mut self) -> Result<()> {
        self.passed += 1;
        self.settle()
    }

    /// Passes over so many entries, and shows to `note` the key of the first of every `STRIDE` but of the very first. Where the range has fewer, it
    /// ends behind the range. Most blocks are passed without being taken apart.
    pub(in super::super) fn skip(
        &mut self,
        entries: u64,
        range: &KeyRange,
        note: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let mut done = 0;
        while self.left() > 0 {
            // Here a block is open.
            let left = (self.left() as u64).min(entries - done);
            for number in noted(done, left) {
                let key = self
                    .block
                    .key(self.position(self.passed + (number - done) as usize));
                if !is_within(range, key, self.direction) {
                    self.end();
                    return Ok(());
                }
                note(key);
            }
            self.passed += left as usize;
            done += left;
            if done == entries {
                return self.settle();
            }
            // Where the range ends is seen at the next entry that is to be noted, not many blocks on.
            while let Some((fence, row)) = self.next_row()? {
                let count = block::count(self.space, fence.value(), row.value())? as u64;
                if done + count > entries || noted(done, count).next().is_some() {
                    self.open(fence.value(), row.value())?;
                    break;
                }
                done += count;
                if done == entries {
                    return self.settle();
                }
            }
        }
        Ok(())
    }

    /// Shows the entries from here on that lie within the range, until `show` breaks.
    pub(in super::super) fn show(
        &mut self,
        range: &KeyRange,
        show: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        while self.left() > 0 {
            let within = match self.direction {
                Direction::Forward => range
                    .end
                    .as_deref()
                    .map_or(self.block.len(), |end| self.block.before(end)),
                Direction::Reverse => self.block.len() - self.block.before(&range.start),
            };
            for passed in self.passed..within {
                let (key, value) = self.block.entry(self.position(passed));
                if show(key, value).is_break() {
                    return Ok(());
                }
            }
            if within < self.block.len() {
                return Ok(());
            }
            self.passed = within;
            self.settle()?;
        }
        Ok(())
    }

    fn left(&self) -> usize {
        self.block.len() - self.passed
    }

    /// Where in the block the entry is before which so many are passed.
    fn position(&self, passed: usize) -> usize {
        match self.direction {
            Direction::Forward => passed,
            Direction::Reverse => self.block.len() - 1 - passed,
        }
    }

    fn end(&mut self) {
        self.block.clear();
        self.passed = 0;
    }

    fn next_row(&mut self) -> Result<Option<super::Row<'a>>> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(None);
        };
        match self.direction {
            Direction::Forward => cursor.next(),
            Direction::Reverse => cursor.prev(),
        }
        .map_err(from_redb)
    }

    /// Opens a block that follows the one that is open, if one is.
    fn open(&mut self, fence: &[u8], row: &[u8]) -> Result<()> {
        self.passed = 0;
        if self.direction == Direction::Forward {
            self.ends_before(fence)?;
            return self.block.read(self.space, fence, row);
        }
        let behind = (self.block.len() > 0).then(|| self.block.key(0).to_vec());
        self.block.read(self.space, fence, row)?;
        behind.map_or(Ok(()), |key| self.ends_before(&key))
    }

    /// That the block has no entry of another place behind it.
    fn ends_before(&self, key: &[u8]) -> Result<()> {
        match self.block.len().checked_sub(1) {
            Some(last) if self.block.key(last) >= key => Err(block::misplaced(self.space, key)),
            _ => Ok(()),
        }
    }

    /// The next block; `false` where there is none, and then it is at the end.
    fn load(&mut self) -> Result<bool> {
        match self.next_row()? {
            Some((fence, row)) => {
                self.open(fence.value(), row.value())?;
                Ok(true)
            }
            None => {
                self.end();
                Ok(false)
            }
        }
    }

    /// Goes on to a block that has an entry left, or to the end.
    fn settle(&mut self) -> Result<()> {
        while self.left() == 0 {
            if !self.load()? {
                break;
            }
        }
        Ok(())
    }
}

/// Those of `count` entries, the first of which has the number `from`, that are to be noted.
fn noted(from: u64, count: u64) -> impl Iterator<Item = u64> {
    let first = from.max(1).next_multiple_of(STRIDE);
    (first..from + count).step_by(STRIDE as usize)
}

/// Shows the value of `key` to `visit`, if there is one, and says whether there is.
pub(in super::super) fn get(
    table: &impl ReadableTable<Bytes, Bytes>,
    space: Keyspace,
    key: &[u8],
    visit: impl FnOnce(&[u8]),
) -> Result<bool> {
    let mut cursor = table.upper_bound(Bound::Included(key)).map_err(from_redb)?;
    let Some((fence, row)) = cursor.peek_prev().map_err(from_redb)? else {
        return Ok(false);
    };
    let mut block = Block::default();
    block.read(space, fence.value(), row.value())?;
    let position = block.before(key);
    if position == block.len() || block.key(position) != key {
        return Ok(false);
    }
    visit(block.entry(position).1);
    Ok(true)
}
