//! A view with the changes staged over it, so that operations read their own writes.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::{Direction, KeyRange, Keyspace, Snapshot, WriteBatch, WriteOp};
use crate::error::Result;
use crate::keyspace::keys;

/// `base` as it would be after `staged` is committed.
#[derive(Clone, Copy)]
pub(crate) struct Overlay<'a> {
    pub(crate) base: &'a dyn Snapshot,
    pub(crate) staged: &'a WriteBatch,
}

impl Snapshot for Overlay<'_> {
    fn get(&self, space: Keyspace, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        match self.staged.staged(space, key) {
            Some(WriteOp::Put(value)) => {
                visit(value);
                Ok(true)
            }
            Some(WriteOp::Delete) => Ok(false),
            None => self.base.get(space, key, visit),
        }
    }

    fn get_many(&self, space: Keyspace, keys: &[&[u8]], visit: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        if !self.staged.touches(space) {
            return self.base.get_many(space, keys, visit);
        }
        let mut below = Vec::with_capacity(keys.len());
        for (position, key) in keys.iter().enumerate() {
            match self.staged.staged(space, key) {
                Some(WriteOp::Put(value)) => visit(position, value),
                Some(WriteOp::Delete) => {}
                None => below.push(position),
            }
        }
        let wanted: Vec<&[u8]> = below.iter().map(|&position| keys[position]).collect();
        self.base
            .get_many(space, &wanted, &mut |at, value| visit(below[at], value))
    }

    fn scan(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        if !self.staged.touches(space) {
            return self.base.scan(space, range, direction, visit);
        }
        let mut staged = self.staged.staged_range(space, range, direction).peekable();
        let mut stopped = false;
        self.base.scan(space, range, direction, &mut |key, value| {
            // Staged keys up to and with this one come first; a staged change of this key replaces it.
            while let Some(&(staged_key, op)) = staged.peek() {
                let order = match direction {
                    Direction::Forward => staged_key.cmp(key),
                    Direction::Reverse => key.cmp(staged_key),
                };
                if order == Ordering::Greater {
                    break;
                }
                staged.next();
                if let WriteOp::Put(value) = op
                    && visit(staged_key, value).is_break()
                {
                    stopped = true;
                    return ControlFlow::Break(());
                }
                if order == Ordering::Equal {
                    return ControlFlow::Continue(());
                }
            }
            if self.staged.is_cleared(space, key) {
                return ControlFlow::Continue(());
            }
            let flow = visit(key, value);
            stopped = flow.is_break();
            flow
        })?;
        if !stopped {
            for (key, op) in staged {
                if let WriteOp::Put(value) = op
                    && visit(key, value).is_break()
                {
                    break;
                }
            }
        }
        Ok(())
    }

    fn scan_past(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        skip: u64,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        if !self.staged.touches(space) {
            return self.base.scan_past(space, range, direction, skip, visit);
        }
        let mut skip = skip;
        self.scan(space, range, direction, &mut |key, value| {
            if skip > 0 {
                skip -= 1;
                return ControlFlow::Continue(());
            }
            visit(key, value)
        })
    }

    fn scan_each(
        &self,
        space: Keyspace,
        ranges: &[KeyRange],
        direction: Direction,
        visit: &mut dyn FnMut(usize, &[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        if !self.staged.touches(space) {
            return self.base.scan_each(space, ranges, direction, visit);
        }
        for (position, range) in ranges.iter().enumerate() {
            self.scan(space, range, direction, &mut |key, value| {
                visit(position, key, value)
            })?;
        }
        Ok(())
    }

    fn count(&self, space: Keyspace, prefixes: &[&[u8]]) -> Result<u64> {
        let kept: Vec<&[u8]> = prefixes
            .iter()
            .copied()
            .filter(|prefix| {
                !self
                    .staged
                    .is_cleared(Keyspace::Counter, &keys::counter(space, prefix))
            })
            .collect();
        let below = self.base.count(space, &kept)?;
        let delta: i64 = prefixes
            .iter()
            .map(|prefix| self.staged.counted(space, prefix))
            .sum();
        Ok(below.saturating_add_signed(delta))
    }
}
