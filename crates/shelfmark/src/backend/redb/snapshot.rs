//! Views of a committed state: one redb read transaction with its tables, shared by the snapshots that are handed out.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ::redb::{ReadOnlyTable, ReadTransaction, ReadableTableMetadata, TableDefinition, TableError};

use super::failure::{Latch, from_redb};
use crate::backend::{Direction, KeyRange, Keyspace, Snapshot};
use crate::envelope;
use crate::error::Result;
use crate::keyspace::keys;

type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The table of a keyspace.
pub(super) const fn definition(space: Keyspace) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(space.name())
}

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
    /// By [`Keyspace::index`]; `None` inside is a table that no commit has made yet.
    tables: [OnceLock<Option<Rows>>; Keyspace::ALL.len()],
    latch: Arc<Latch>,
}

impl View {
    pub(super) fn new(transaction: ReadTransaction, latch: Arc<Latch>) -> Self {
        Self {
            transaction,
            tables: [const { OnceLock::new() }; Keyspace::ALL.len()],
            latch,
        }
    }

    fn table(&self, space: Keyspace) -> Result<Option<&Rows>> {
        let slot = &self.tables[space.index()];
        if let Some(table) = slot.get() {
            return Ok(table.as_ref());
        }
        let opened = self
            .latch
            .read(|| match self.transaction.open_table(definition(space)) {
                Ok(table) => Ok(Some(table)),
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(from_redb(error)),
            })?;
        Ok(slot.get_or_init(|| opened).as_ref())
    }

    /// Opens every table, so that a file of another program is known for one.
    pub(super) fn check_tables(&self) -> Result<()> {
        Keyspace::ALL
            .iter()
            .try_for_each(|&space| self.table(space).map(|_| ()))
    }

    /// Bytes of keys and values, and bytes of all pages of the tables. Walks the whole file.
    pub(super) fn stored_bytes(&self) -> Result<(u64, u64)> {
        let (mut stored, mut paged) = (0, 0);
        for &space in Keyspace::ALL {
            let Some(table) = self.table(space)? else { continue };
            let stats = self.latch.read(|| table.stats().map_err(from_redb))?;
            stored += stats.stored_bytes();
            paged += stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
        }
        Ok((stored, paged))
    }
}

impl Snapshot for View {
    fn get(&self, space: Keyspace, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let Some(table) = self.table(space)? else {
            return Ok(false);
        };
        let Some(found) = self.latch.read(|| table.get(key).map_err(from_redb))? else {
            return Ok(false);
        };
        let value = self.latch.read(|| Ok(found.value()))?;
        visit(value);
        Ok(true)
    }

    fn get_many(&self, space: Keyspace, keys: &[&[u8]], visit: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        for (position, key) in keys.iter().enumerate() {
            self.get(space, key, &mut |value| visit(position, value))?;
        }
        Ok(())
    }

    fn scan(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let Some(table) = self.table(space)? else {
            return Ok(());
        };
        let mut rows = self
            .latch
            .read(|| table.range::<&[u8]>(bounds(range)).map_err(from_redb))?;
        loop {
            let row = self.latch.read(|| {
                let row = match direction {
                    Direction::Forward => rows.next(),
                    Direction::Reverse => rows.next_back(),
                };
                row.transpose().map_err(from_redb)
            })?;
            let Some((key, value)) = row else { return Ok(()) };
            let (key, value) = self.latch.read(|| Ok((key.value(), value.value())))?;
            if visit(key, value).is_break() {
                return Ok(());
            }
        }
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
        let id = self.next.fetch_add(1, Ordering::Relaxed);
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

    fn count(&self, space: Keyspace, prefixes: &[&[u8]]) -> Result<u64> {
        self.view.count(space, prefixes)
    }
}
