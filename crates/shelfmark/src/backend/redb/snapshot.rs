//! Views of a committed state: one redb read transaction with its tables, shared by the snapshots that are handed out. One thing in one file: how a
//! view is read, how long it is kept and who holds it.

pub(super) mod tables;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{self, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ::redb::{
    AccessGuard, Cursor, ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, StorageError,
};

use super::beginnings::{Beginnings, MANY};
use super::compact::packed_bytes;
use super::failure::{Latch, from_redb};
use super::milestones::{Milestones, STRIDE, Way};
use super::packed::{self, is_packed, is_within};
use crate::backend::{Direction, KeyRange, Keyspace, Memo, Snapshot, scan_one_by_one};
use crate::envelope;
use crate::error::Result;
use crate::format::FORMAT;
use crate::keyspace::keys;

type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;
type Row<'a> = (AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>);

/// Up to as many keys are looked up one by one.
const FEW_KEYS: usize = 4;
/// How many rows a walk from one key to the next passes before it gives up: so many cost about one seek.
const PASSED_ROWS: usize = 6;
/// A walk that finds fewer keys than this did not pay for its seek.
const SHORT_WALK: usize = 4;
/// How many rows of those that are skipped go by unseen.
const SKIPPED_UNSEEN: u64 = 64;
const _: () = assert!(STRIDE.is_multiple_of(SKIPPED_UNSEEN));

/// The range as redb takes it.
pub(super) fn bounds(range: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (
        Bound::Included(&range.start),
        range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
    )
}

/// One committed state. Tables open with their first use.
pub(super) struct View {
    transaction: ReadTransaction,
    /// By [`Keyspace::index`]; `None` inside is a table that no commit has made yet, in a file that is no catalog as yet.
    tables: [OnceLock<Option<Rows>>; Keyspace::ALL.len()],
    latch: Arc<Latch>,
    memo: Memo,
    milestones: Milestones,
    beginnings: Beginnings,
}

impl View {
    pub(super) fn new(transaction: ReadTransaction, latch: Arc<Latch>) -> Self {
        Self {
            transaction,
            tables: [const { OnceLock::new() }; Keyspace::ALL.len()],
            latch,
            memo: Memo::default(),
            milestones: Milestones::default(),
            beginnings: Beginnings::default(),
        }
    }

    fn table(&self, space: Keyspace) -> Result<Option<&Rows>> {
        let slot = &self.tables[space.index()];
        if let Some(table) = slot.get() {
            return Ok(table.as_ref());
        }
        let opened = self.latch.read(|| tables::open(&self.transaction, space))?;
        if opened.is_none() && space != Keyspace::Meta && self.is_of_this_format()? {
            return Err(tables::missing(space));
        }
        Ok(slot.get_or_init(|| opened).as_ref())
    }

    /// Whether it is a catalog whose tables this version knows.
    fn is_of_this_format(&self) -> Result<bool> {
        let key = keys::META_FORMAT;
        let mut format = Ok(false);
        self.get(Keyspace::Meta, key, &mut |value| {
            format = envelope::open(Keyspace::Meta, key, value).map(|body| body == FORMAT.to_be_bytes());
        })?;
        format
    }

    /// Opens every table, so that a file of another program is known for one, and a damaged name is met before anything is read or written.
    pub(super) fn check_tables(&self) -> Result<()> {
        let mut made = 0;
        for &space in Keyspace::ALL {
            made += usize::from(self.table(space)?.is_some());
        }
        if self.table(Keyspace::Meta)?.is_none() && made + 1 == Keyspace::ALL.len() {
            return Err(tables::missing(Keyspace::Meta));
        }
        if self.is_of_this_format()? {
            self.latch.read(|| tables::check_names(&self.transaction))?;
        }
        Ok(())
    }

    /// Bytes of keys and values as they are stored, and what they would take if they were packed. Walks the whole file.
    pub(super) fn stored_bytes(&self) -> Result<(u64, u64)> {
        let (mut stored, mut packed) = (0, 0);
        for &space in Keyspace::ALL {
            let Some(table) = self.table(space)? else { continue };
            stored += self
                .latch
                .read(|| table.stats().map_err(from_redb))?
                .stored_bytes();
            packed += self.latch.read(|| packed_bytes(table, space))?;
        }
        Ok((stored, packed))
    }
}

/// Rows of a table from one end of a range on.
struct Walk<'a> {
    cursor: Cursor<'a, &'static [u8], &'static [u8]>,
    range: &'a KeyRange,
    direction: Direction,
}

impl<'a> Walk<'a> {
    /// A cursor costs about half of what redb's range iterator does a row, but does not know the end.
    fn begin(table: &'a Rows, range: &'a KeyRange, direction: Direction) -> Result<Self> {
        let cursor = match (direction, &range.end) {
            (Direction::Forward, _) => table.lower_bound(Bound::Included(range.start.as_slice())),
            (Direction::Reverse, Some(end)) => table.lower_bound(Bound::Included(end.as_slice())),
            (Direction::Reverse, None) => table.upper_bound(Bound::<&[u8]>::Unbounded),
        };
        Ok(Self {
            cursor: cursor.map_err(from_redb)?,
            range,
            direction,
        })
    }

    /// The next row of the table, within the range or behind it. With redb's own error: a row is large to move, and one that is matched where it is
    /// returned is not.
    fn step(&mut self) -> std::result::Result<Option<Row<'a>>, StorageError> {
        match self.direction {
            Direction::Forward => self.cursor.next(),
            Direction::Reverse => self.cursor.prev(),
        }
    }

    fn is_within(&self, row: &Row<'_>) -> bool {
        is_within(self.range, row.0.value(), self.direction)
    }

    /// Passes over so many rows, and shows to `note` the key of the first of every `STRIDE` but of the very first. Where the range has
    /// fewer, it ends behind the range.
    fn skip(&mut self, rows: u64, note: &mut dyn FnMut(&[u8])) -> Result<()> {
        for passed in 0..rows {
            match self.step() {
                // What is behind the range stays so: looking now and then bounds how far it goes.
                Ok(Some(ref row)) if passed % SKIPPED_UNSEEN == 0 => {
                    if !self.is_within(row) {
                        break;
                    }
                    if passed % STRIDE == 0 && passed > 0 {
                        note(row.0.value());
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Err(from_redb(error)),
            }
        }
        Ok(())
    }

    /// Shows the rows from here on that lie within the range, until `show` breaks.
    fn show(&mut self, show: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        loop {
            match self.step() {
                Ok(Some(ref row)) if self.is_within(row) => {
                    if show(row.0.value(), row.1.value()).is_break() {
                        return Ok(());
                    }
                }
                Ok(_) => return Ok(()),
                Err(error) => return Err(from_redb(error)),
            }
        }
    }
}

/// What is left of the range from `key` on.
fn from_on(range: &KeyRange, mut key: Vec<u8>, direction: Direction) -> KeyRange {
    match direction {
        Direction::Forward => KeyRange::new(key, range.end.clone()),
        Direction::Reverse => {
            key.push(0);
            KeyRange::new(range.start.clone(), Some(key))
        }
    }
}

impl View {
    fn walk(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        skip: u64,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let Some(table) = self.table(space)? else {
            return Ok(());
        };
        let way = (skip > STRIDE).then(|| Way {
            space,
            range: range.clone(),
            direction,
        });
        let near = way.as_ref().and_then(|way| self.milestones.before(way, skip));
        let (number, range) = match near {
            Some((row, key)) => (row, Cow::Owned(from_on(range, key, direction))),
            None => (0, Cow::Borrowed(range)),
        };
        self.latch.read_visiting(|visiting| {
            let mut passed = Vec::new();
            let mut note = |key: &[u8]| passed.push(key.to_vec());
            let mut show = |key: &[u8], value: &[u8]| visiting.run(|| visit(key, value));
            if is_packed(space) {
                let mut walk = packed::Walk::new(space, direction);
                walk.seek(table, &range)?;
                walk.skip(skip - number, &range, &mut note)?;
                walk.show(&range, &mut show)?;
            } else {
                let mut walk = Walk::begin(table, &range, direction)?;
                walk.skip(skip - number, &mut note)?;
                walk.show(&mut show)?;
            }
            if let Some(way) = way {
                self.milestones.note(way, number, passed);
            }
            Ok(())
        })
    }
}

impl Snapshot for View {
    fn get(&self, space: Keyspace, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let Some(table) = self.table(space)? else {
            return Ok(false);
        };
        self.latch.read_visiting(|visiting| {
            if is_packed(space) {
                return packed::get(table, space, key, |value| visiting.run(|| visit(value)));
            }
            let Some(found) = table.get(key).map_err(from_redb)? else {
                return Ok(false);
            };
            let value = found.value();
            visiting.run(|| visit(value));
            Ok(true)
        })
    }

    /// Keys that come in order and lie closely are found by walking from one to the next, a fifth of what looking each up costs.
    fn get_many(&self, space: Keyspace, keys: &[&[u8]], visit: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        if is_packed(space) {
            for (position, key) in keys.iter().enumerate() {
                self.get(space, key, &mut |value| visit(position, value))?;
            }
            return Ok(());
        }
        let Some(table) = self.table(space)? else {
            return Ok(());
        };
        self.latch.read_visiting(|visiting| {
            let mut alone = if keys.len() <= FEW_KEYS { keys.len() } else { 0 };
            let mut patience = 1;
            let mut at = 0;
            while at < keys.len() {
                for key in &keys[at..keys.len().min(at + alone)] {
                    if let Some(found) = table.get(*key).map_err(from_redb)? {
                        let value = found.value();
                        visiting.run(|| visit(at, value));
                    }
                    at += 1;
                }
                let Some(first) = keys.get(at) else { break };
                let mut cursor = table.lower_bound(Bound::Included(*first)).map_err(from_redb)?;
                let mut next = cursor.next().map_err(from_redb)?;
                let begun = at;
                'run: while let Some(&key) = keys.get(at) {
                    if at > begun && keys[at - 1] > key {
                        break;
                    }
                    let mut passed = 0;
                    while let Some((found, value)) = &next {
                        match found.value().cmp(key) {
                            Ordering::Less if passed == PASSED_ROWS => break 'run,
                            Ordering::Less => {
                                passed += 1;
                                next = cursor.next().map_err(from_redb)?;
                            }
                            Ordering::Equal => {
                                let value = value.value();
                                visiting.run(|| visit(at, value));
                                break;
                            }
                            Ordering::Greater => break,
                        }
                    }
                    at += 1;
                }
                // Where walking does not get far, ever more keys are looked up before it is tried again.
                patience = if at - begun < SHORT_WALK {
                    (patience * 2).min(256)
                } else {
                    1
                };
                alone = patience;
            }
            Ok(())
        })
    }

    fn scan(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        self.walk(space, range, direction, 0, visit)
    }

    fn scan_past(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        skip: u64,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        self.walk(space, range, direction, skip, visit)
    }

    /// The next range often begins in the block where the last one ended, and then needs no seek.
    fn scan_each(
        &self,
        space: Keyspace,
        ranges: &[KeyRange],
        direction: Direction,
        visit: &mut dyn FnMut(usize, &[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        if !is_packed(space) {
            return scan_one_by_one(self, space, ranges, direction, visit);
        }
        let Some(table) = self.table(space)? else {
            return Ok(());
        };
        let (kept, keep) = match ranges.len() >= MANY {
            true => {
                let (kept, again) = self.beginnings.ask();
                (Some(kept), again)
            }
            false => (None, false),
        };
        let known = kept.as_ref().map(|kept| kept.of(space, direction));
        let mut met = Vec::new();
        self.latch.read_visiting(|visiting| {
            let mut walk = packed::Walk::new(space, direction);
            for (position, range) in ranges.iter().enumerate().filter(|(_, range)| !range.is_empty()) {
                let known = known.as_ref().and_then(|known| known(range));
                if let Some(first) = known {
                    let first = first.as_ref().filter(|(key, _)| range.contains(key));
                    let goes_on = |(key, value): &(Vec<u8>, Vec<u8>)| {
                        visiting.run(|| visit(position, key, value)).is_continue()
                    };
                    if !first.is_some_and(goes_on) {
                        continue;
                    }
                }
                if !walk.go_on(range)? {
                    walk.seek(table, range)?;
                }
                if known.is_some() {
                    walk.step()?;
                } else if keep {
                    let owned = |(key, value): (&[u8], &[u8])| (key.to_vec(), value.to_vec());
                    met.push((range, walk.entry().map(owned)));
                }
                while let Some((key, value)) = walk.entry()
                    && is_within(range, key, direction)
                {
                    if visiting.run(|| visit(position, key, value)).is_break() {
                        break;
                    }
                    walk.step()?;
                }
            }
            Ok(())
        })?;
        drop(known);
        drop(kept);
        if !met.is_empty() {
            self.beginnings.keep(space, direction, met);
        }
        Ok(())
    }

    fn count(&self, space: Keyspace, prefixes: &[&[u8]]) -> Result<u64> {
        let mut total = 0_u64;
        for prefix in prefixes {
            let key = keys::counter(space, prefix);
            let mut number = Ok(0);
            self.get(Keyspace::Counter, &key, &mut |value| {
                number = envelope::open_u64(Keyspace::Counter, &key, value);
            })?;
            total = total.saturating_add(number?);
        }
        Ok(total)
    }

    /// The engine keeps the number of a table's rows apart from them. Rows of an index are blocks.
    fn noted_len(&self, space: Keyspace) -> Result<Option<u64>> {
        match self.table(space)? {
            Some(table) if !is_packed(space) => self.latch.read(|| table.len().map(Some).map_err(from_redb)),
            _ => Ok(None),
        }
    }

    fn memo(&self) -> Option<&Memo> {
        Some(&self.memo)
    }
}

/// The latest view, kept between snapshots where no other process can commit. Readers hit it until a commit is through. While one is
/// under way nothing is put in, so either all readers of that time see the state before it, or each asks redb.
#[derive(Default)]
pub(super) struct ViewCache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    view: Option<Arc<View>>,
    /// Grows with every commit and every drop of the view.
    epoch: u64,
    committing: bool,
}

impl ViewCache {
    fn lock(&self) -> MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The view, or the epoch to hand to [`ViewCache::offer`] with a new one.
    pub(super) fn get(&self) -> Result<Arc<View>, u64> {
        let cached = self.lock();
        cached.view.clone().ok_or(cached.epoch)
    }

    /// The view to go on with in place of `view`, which was begun after `epoch` was read: the cached one if another reader was faster,
    /// as all readers share that until a commit is through, else `view`, which is kept unless a commit came between.
    pub(super) fn offer(&self, view: Arc<View>, epoch: u64) -> Arc<View> {
        let mut cached = self.lock();
        if let Some(shared) = &cached.view {
            return Arc::clone(shared);
        }
        if !cached.committing && cached.epoch == epoch {
            cached.view = Some(Arc::clone(&view));
        }
        view
    }

    /// Forgets the view, and every one that was begun before.
    pub(super) fn clear(&self) {
        let mut cached = self.lock();
        cached.epoch += 1;
        cached.committing = false;
        let old = cached.view.take();
        drop(cached);
        drop(old);
    }

    /// From before redb's commit until the guard is dropped after it.
    pub(super) fn commit(&self) -> CommitWindow<'_> {
        let mut cached = self.lock();
        cached.committing = true;
        cached.epoch += 1;
        drop(cached);
        CommitWindow(self)
    }
}

pub(super) struct CommitWindow<'a>(&'a ViewCache);

impl Drop for CommitWindow<'_> {
    fn drop(&mut self) {
        // In one step: a view of before the commit that is offered in between would be handed out beside newer ones.
        self.0.clear();
    }
}

/// The snapshots that are handed out, with the time of each. In shards, so that readers do not queue here.
#[derive(Default)]
pub(super) struct OpenSnapshots {
    shards: [Mutex<BTreeMap<u64, Instant>>; 16],
    next: AtomicUsize,
}

impl OpenSnapshots {
    /// Counts a snapshot from now on until the ticket is dropped.
    pub(super) fn register(self: &Arc<Self>) -> Ticket {
        let id = self.next.fetch_add(1, atomic::Ordering::Relaxed);
        let shard = id % self.shards.len();
        self.shard(shard).insert(id as u64, Instant::now());
        Ticket {
            open: Arc::clone(self),
            shard,
            id: id as u64,
        }
    }

    fn shard(&self, shard: usize) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are, and the age of the oldest.
    pub(super) fn figures(&self) -> (u64, Option<Duration>) {
        let mut count = 0;
        let mut oldest: Option<Instant> = None;
        for shard in 0..self.shards.len() {
            let shard = self.shard(shard);
            count += shard.len() as u64;
            if let Some((_, &time)) = shard.first_key_value() {
                oldest = Some(oldest.map_or(time, |oldest| oldest.min(time)));
            }
        }
        (count, oldest.map(|time| time.elapsed()))
    }
}

pub(super) struct Ticket {
    open: Arc<OpenSnapshots>,
    shard: usize,
    id: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.open.shard(self.shard).remove(&self.id);
    }
}

/// A view that a caller holds.
pub(super) struct HeldSnapshot {
    // Dropped before the ticket: when no ticket is left, no view but the cached one is.
    pub(super) view: Arc<View>,
    pub(super) _ticket: Ticket,
}

impl Snapshot for HeldSnapshot {
    fn get(&self, space: Keyspace, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.view.get(space, key, visit)
    }

    fn get_many(&self, space: Keyspace, keys: &[&[u8]], visit: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.view.get_many(space, keys, visit)
    }

    fn scan(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        self.view.scan(space, range, direction, visit)
    }

    fn scan_past(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        skip: u64,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        self.view.scan_past(space, range, direction, skip, visit)
    }

    fn scan_each(
        &self,
        space: Keyspace,
        ranges: &[KeyRange],
        direction: Direction,
        visit: &mut dyn FnMut(usize, &[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        self.view.scan_each(space, ranges, direction, visit)
    }

    fn count(&self, space: Keyspace, prefixes: &[&[u8]]) -> Result<u64> {
        self.view.count(space, prefixes)
    }

    fn noted_len(&self, space: Keyspace) -> Result<Option<u64>> {
        self.view.noted_len(space)
    }

    fn memo(&self) -> Option<&Memo> {
        self.view.memo()
    }
}
