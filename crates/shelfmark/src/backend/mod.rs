//! The seam below the catalog: ordered bytes, snapshot reads, one atomic commit. A new engine is one implementation of
//! [`Backend`] and [`Snapshot`]; nothing above may assume a particular one, or a single process.

mod batch;
mod bytes;
mod entries;
mod overlay;
pub(crate) mod redb;
pub(crate) mod two_threads;

use std::any::Any;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::Duration;

pub(crate) use batch::Rooms;
pub use batch::{SpaceBatch, WriteBatch};
pub use bytes::ByteStorage;
pub use entries::{Entries, WriteOp};
pub(crate) use overlay::Overlay;

use crate::error::Result;
pub use crate::keyspace::Keyspace;

/// What one backend can hold and do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest key, in bytes.
    pub max_key: usize,
    /// The largest value, in bytes.
    pub max_value: usize,
    /// Whether no other process can commit while this one has the backend open. Only then may the catalog remember between
    /// two snapshots what it read.
    pub exclusive: bool,
    /// Whether [`Durability::Deferred`] is supported.
    pub deferred_durability: bool,
    /// Whether a commit may be asked for at all.
    pub writable: bool,
}

impl Limits {
    /// Limits of a writable backend that this process owns, with no bound on keys and values.
    pub fn exclusive() -> Self {
        Self {
            max_key: usize::MAX,
            max_value: usize::MAX,
            exclusive: true,
            deferred_durability: true,
            writable: true,
        }
    }
}

/// When a commit survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Durability {
    /// With the next durable commit or [`Catalog::sync`](crate::Catalog::sync). Atomic and visible at once, but a crash may lose it.
    Deferred,
    /// Before the call returns.
    #[default]
    Immediate,
}

/// How much of a file is verified when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Integrity {
    /// Trust a file that was closed cleanly; a file that was not is recovered, with its checksums verified. The default.
    #[default]
    Trust,
    /// Read the whole file and verify the checksum of every page. O(file).
    Verify,
}

/// How processes may share the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Concurrency {
    /// One process has the file to itself. The fastest, and the default.
    #[default]
    Exclusive,
    /// One process writes, others may have the file open read-only and follow its commits. [`Durability::Deferred`] is not supported.
    SingleWriter,
    /// Several processes may write, one transaction at a time. [`Durability::Deferred`] is not supported.
    MultiWriter,
}

/// How to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CommitOptions {
    /// When the commit must survive a crash.
    pub durability: Durability,
    /// Identifies the operation, so that a backend whose commit may be in doubt can look it up instead of applying it twice.
    pub operation: u128,
}

impl CommitOptions {
    /// Options of a commit with this durability and operation id.
    pub fn new(durability: Durability, operation: u128) -> Self {
        Self {
            durability,
            operation,
        }
    }
}

/// Whether a backend serves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// Reads and writes work.
    Healthy,
    /// An I/O failed: reads go on as far as they can, writes give `Unavailable` until the catalog is reopened.
    Latched {
        /// The failure that latched it.
        reason: String,
    },
}

/// Figures that a backend keeps anyway. What it does not keep is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackendActivity {
    /// Snapshots handed out and not dropped yet.
    pub open_snapshots: Option<u64>,
    /// Commits since it was opened.
    pub commits: Option<u64>,
}

/// Figures of a backend. What it does not know is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BackendStats {
    /// Bytes of the file or the tables.
    pub size_bytes: Option<u64>,
    /// Bytes of keys and values stored.
    pub stored_bytes: Option<u64>,
    /// Bytes that compaction could give back, about.
    pub fragmented_bytes: Option<u64>,
    /// Snapshots handed out and not dropped yet.
    pub open_snapshots: u64,
    /// How long the oldest of them has been open. A forgotten snapshot keeps the file from reusing space.
    pub oldest_snapshot: Option<Duration>,
    /// Commits since it was opened.
    pub commits: u64,
}

/// Care that a backend may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Maintenance {
    /// Pack what lies loosely, and give unused space back to the file system.
    Compact,
    /// Verify the checksum of every page, or what the engine has instead.
    Verify,
}

/// What maintenance did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MaintenanceReport {
    /// Bytes of the file before.
    pub size_before: u64,
    /// Bytes of the file after.
    pub size_after: u64,
    /// Whether everything was in order. Compaction says `true`.
    pub intact: bool,
}

impl MaintenanceReport {
    /// A report of these three figures.
    pub fn new(size_before: u64, size_after: u64, intact: bool) -> Self {
        Self {
            size_before,
            size_after,
            intact,
        }
    }
}

/// A half-open range of keys; both ends `None` means all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key in the range.
    pub start: Vec<u8>,
    /// The first key after the range; `None` is the end of the keyspace.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self {
            start: Vec::new(),
            end: None,
        }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self {
            start: prefix.to_vec(),
            end: successor(prefix),
        }
    }

    /// From `start` on, up to but without `end`.
    pub fn new(start: Vec<u8>, end: Option<Vec<u8>>) -> Self {
        Self { start, end }
    }

    /// Whether the range holds `key`.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.end.as_deref().is_none_or(|end| key < end)
    }

    /// Whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        self.end
            .as_deref()
            .is_some_and(|end| self.start.as_slice() >= end)
    }
}

/// The first key after every key that begins with `prefix`.
pub(crate) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|&byte| byte != 0xFF)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// From the first key to the last.
    #[default]
    Forward,
    /// From the last key to the first.
    Reverse,
}

/// An ordered, transactional key-value engine.
pub trait Backend: Send + Sync {
    /// What it can hold and do.
    fn limits(&self) -> Limits;

    /// One consistent view of everything committed before the call, unaffected by later commits for as long as it lives.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>>;

    /// Calls `plan` on a view that no other commit can invalidate, then commits the batch it returns, all or nothing. An error
    /// from `plan` commits nothing and is handed through. May call `plan` again when the engine reports a conflict. An empty
    /// batch need not be written. Gives `CommitUnknown` when the outcome cannot be told.
    fn commit(
        &self,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()>;

    /// Makes every earlier [`Durability::Deferred`] commit durable.
    fn sync(&self) -> Result<()>;

    /// Whether it serves.
    fn health(&self) -> Health;

    /// Recovers from a latched failure by opening the storage again. Held snapshots keep working or fail typed.
    fn reopen(&self) -> Result<()>;

    /// Those of its figures that cost nothing to tell, for a dashboard that asks often.
    fn activity(&self) -> BackendActivity {
        BackendActivity::default()
    }

    /// Its figures.
    fn stats(&self) -> Result<BackendStats>;

    /// Runs maintenance; gives `Busy` instead of waiting for snapshots to be dropped.
    fn maintain(&self, what: Maintenance) -> Result<MaintenanceReport>;
}

/// A consistent view. Owned: it may outlive the frame that took it.
pub trait Snapshot: Send + Sync {
    /// Shows the value of `key` to `visit`, if there is one, and says whether there is.
    fn get(&self, space: Keyspace, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Shows the value of each of `keys`, in any order of calls, with its position in `keys`; missing keys are not shown. One
    /// round trip.
    fn get_many(&self, space: Keyspace, keys: &[&[u8]], visit: &mut dyn FnMut(usize, &[u8])) -> Result<()>;

    /// Shows each key and value of the range in order until `visit` breaks.
    fn scan(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()>;

    /// As [`Snapshot::scan`], without the first `skip` rows. An engine that can pass over rows for less than it shows them should.
    fn scan_past(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        skip: u64,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut skip = skip;
        self.scan(space, range, direction, &mut |key, value| {
            if skip > 0 {
                skip -= 1;
                return ControlFlow::Continue(());
            }
            visit(key, value)
        })
    }

    /// As a [`Snapshot::scan`] of each of `ranges`, which rise and do not overlap, with the position of the range: where `visit` breaks, the next range is
    /// gone on with. An engine that gets from one range to the next for less than it finds each should.
    fn scan_each(
        &self,
        space: Keyspace,
        ranges: &[KeyRange],
        direction: Direction,
        visit: &mut dyn FnMut(usize, &[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        scan_one_by_one(self, space, ranges, direction, visit)
    }

    /// How many keys begin with one of `prefixes`, none of which begins another. Asked only for the prefixes that counters are kept for
    /// ([`WriteBatch::count`]): a backend may keep them, or count.
    fn count(&self, space: Keyspace, prefixes: &[&[u8]]) -> Result<u64>;

    /// How many keys there are as the backend has noted it beside them; `None` where it notes nothing of the kind. It is compared with how many a check finds: where
    /// damage takes keys away, what is left may look whole.
    fn noted_len(&self, space: Keyspace) -> Result<Option<u64>> {
        let _ = space;
        Ok(None)
    }

    /// Where readers of this very state keep what they made of it, if snapshots of one state share such a place.
    fn memo(&self) -> Option<&Memo> {
        None
    }
}

/// [`Snapshot::scan_each`] where nothing is gained by taking the ranges together.
fn scan_one_by_one<S: Snapshot + ?Sized>(
    snapshot: &S,
    space: Keyspace,
    ranges: &[KeyRange],
    direction: Direction,
    visit: &mut dyn FnMut(usize, &[u8], &[u8]) -> ControlFlow<()>,
) -> Result<()> {
    ranges.iter().enumerate().try_for_each(|(position, range)| {
        snapshot.scan(space, range, direction, &mut |key, value| {
            visit(position, key, value)
        })
    })
}

/// A place beside one committed state for what its readers made of it, dropped with it. One for all snapshots that show the same state.
#[derive(Default)]
pub struct Memo(OnceLock<Box<dyn Any + Send + Sync>>);

impl Memo {
    /// What is kept, made by its first use. All uses ask for the same type.
    pub(crate) fn get<T: Default + Any + Send + Sync>(&self) -> Option<&T> {
        self.0.get_or_init(|| Box::<T>::default()).downcast_ref()
    }
}

impl fmt::Debug for dyn Snapshot + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

impl fmt::Debug for dyn Backend + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("limits", &self.limits())
            .field("health", &self.health())
            .finish()
    }
}

/// Lower-case hexadecimal, for messages.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_ends_after_the_prefix() {
        let range = KeyRange::prefix(&[1, 0xFF, 0xFF]);
        assert!(range.contains(&[1, 0xFF, 0xFF, 0xFF, 7]));
        assert!(!range.contains(&[2]));
        assert_eq!(range.end, Some(vec![2]));
        assert_eq!(KeyRange::prefix(&[0xFF]).end, None);
    }
}
