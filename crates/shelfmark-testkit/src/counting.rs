//! A backend that counts what it is asked, for tests of what an operation costs.

use std::fmt;
use std::ops::{AddAssign, ControlFlow};
use std::sync::{Arc, Mutex};

use shelfmark::Result;
use shelfmark::backend::{
    Backend, BackendActivity, BackendStats, CommitOptions, Direction, Health, KeyRange, Keyspace, Limits,
    Maintenance, MaintenanceReport, Snapshot, WriteBatch, WriteOp,
};

use crate::lock;

const SPACES: usize = Keyspace::ALL.len();

/// What was asked of one keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SpaceCounts {
    /// Calls of `get` and of `get_many`: round trips.
    pub lookups: u64,
    /// Keys looked up: one for each `get`, and one for each key of a `get_many`, found or not.
    pub got: u64,
    /// Calls of `scan`: seeks.
    pub scans: u64,
    /// Rows that scans showed.
    pub visited: u64,
    /// Calls of `count`.
    pub counts: u64,
    /// Rows put by commits, the last put of each key only.
    pub puts: u64,
    /// Keys deleted by commits, whether or not they were there; without those of range deletes.
    pub deletes: u64,
    /// Ranges cleared by commits; overlapping ones of one commit are one.
    pub range_deletes: u64,
    /// Counters that commits gave a delta for.
    pub deltas: u64,
}

impl SpaceCounts {
    fn named(&self) -> [(&'static str, u64); 9] {
        let Self {
            lookups,
            got,
            scans,
            visited,
            counts,
            puts,
            deletes,
            range_deletes,
            deltas,
        } = *self;
        [
            ("lookups", lookups),
            ("got", got),
            ("scans", scans),
            ("visited", visited),
            ("counts", counts),
            ("puts", puts),
            ("deletes", deletes),
            ("range deletes", range_deletes),
            ("deltas", deltas),
        ]
    }

    /// Rows read one way or the other: looked up, or shown by a scan.
    pub fn rows_read(&self) -> u64 {
        self.got + self.visited
    }

    /// Rows written: put or deleted one by one.
    pub fn rows_written(&self) -> u64 {
        self.puts + self.deletes
    }
}

impl AddAssign for SpaceCounts {
    fn add_assign(&mut self, other: Self) {
        let Self {
            lookups,
            got,
            scans,
            visited,
            counts,
            puts,
            deletes,
            range_deletes,
            deltas,
        } = other;
        self.lookups += lookups;
        self.got += got;
        self.scans += scans;
        self.visited += visited;
        self.counts += counts;
        self.puts += puts;
        self.deletes += deletes;
        self.range_deletes += range_deletes;
        self.deltas += deltas;
    }
}

impl fmt::Display for SpaceCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, count) in self.named().into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{}{name} {count}", if first { "" } else { ", " })?;
            first = false;
        }
        if first { f.write_str("nothing") } else { Ok(()) }
    }
}

/// What was asked of a [`CountingBackend`]. Both `Display` and `Debug` show only what is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    spaces: [SpaceCounts; SPACES],
    /// Snapshots taken; the views of commits are not among them.
    pub snapshots: u64,
    /// Commits that succeeded, of empty batches too.
    pub commits: u64,
}

impl Counts {
    /// What was asked of one keyspace.
    pub fn space(&self, space: Keyspace) -> SpaceCounts {
        self.spaces[space.index()]
    }

    /// Every keyspace with what was asked of it.
    pub fn spaces(&self) -> impl Iterator<Item = (Keyspace, SpaceCounts)> + '_ {
        Keyspace::ALL.iter().map(|&space| (space, self.space(space)))
    }

    /// The sum over all keyspaces.
    pub fn total(&self) -> SpaceCounts {
        let mut total = SpaceCounts::default();
        for (_, counts) in self.spaces() {
            total += counts;
        }
        total
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshots {}, commits {}", self.snapshots, self.commits)?;
        for (space, counts) in self
            .spaces()
            .filter(|(_, counts)| *counts != SpaceCounts::default())
        {
            write!(f, "\n{}: {counts}", space.name())?;
        }
        write!(f, "\ntotal: {}", self.total())
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hands everything on to another backend and counts it by keyspace. A clone shares the counts.
#[derive(Debug, Clone)]
pub struct CountingBackend {
    inner: Arc<dyn Backend>,
    tally: Tally,
}

impl CountingBackend {
    /// Counts what is asked of `inner` through the new backend.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self {
            inner,
            tally: Tally::default(),
        }
    }

    /// What was asked since the backend was made, or since the last [`reset`](Self::reset).
    pub fn counts(&self) -> Counts {
        *lock(&self.tally.0)
    }

    /// Counts from zero again.
    pub fn reset(&self) {
        *lock(&self.tally.0) = Counts::default();
    }
}

#[derive(Debug, Clone, Default)]
struct Tally(Arc<Mutex<Counts>>);

impl Tally {
    fn add(&self, space: Keyspace, counts: SpaceCounts) {
        lock(&self.0).spaces[space.index()] += counts;
    }
}

impl Backend for CountingBackend {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let inner = self.inner.snapshot()?;
        lock(&self.tally.0).snapshots += 1;
        Ok(Box::new(CountingSnapshot {
            inner,
            tally: self.tally.clone(),
        }))
    }

    fn commit(
        &self,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()> {
        let mut written = Vec::new();
        self.inner.commit(options, &mut |view| {
            let batch = plan(&CountingSnapshot {
                inner: view,
                tally: self.tally.clone(),
            })?;
            let (batch, counts) = inspect(batch);
            written = counts;
            Ok(batch)
        })?;
        let mut tally = lock(&self.tally.0);
        tally.commits += 1;
        for (space, counts) in written {
            tally.spaces[space.index()] += counts;
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn reopen(&self) -> Result<()> {
        self.inner.reopen()
    }

    fn activity(&self) -> BackendActivity {
        self.inner.activity()
    }

    fn stats(&self) -> Result<BackendStats> {
        self.inner.stats()
    }

    fn maintain(&self, what: Maintenance) -> Result<MaintenanceReport> {
        self.inner.maintain(what)
    }
}

/// Counts what a batch writes. A batch can only be read by taking it apart, so this gives back one that does the same.
fn inspect(batch: WriteBatch) -> (WriteBatch, Vec<(Keyspace, SpaceCounts)>) {
    let mut same = WriteBatch::new();
    let mut written = Vec::new();
    let (spaces, deltas) = batch.into_spaces();
    for (space, changes) in spaces {
        let mut counts = SpaceCounts {
            range_deletes: changes.ranges.len() as u64,
            ..SpaceCounts::default()
        };
        for range in changes.ranges {
            same.delete_range(space, range);
        }
        for (key, op) in changes.entries.iter() {
            let key = key.to_vec();
            match op {
                WriteOp::Put(value) => {
                    counts.puts += 1;
                    same.put(space, key, value);
                }
                WriteOp::Delete => {
                    counts.deletes += 1;
                    same.delete(space, key);
                }
            }
        }
        written.push((space, counts));
    }
    // Behind the range deletes, since one of the counter keyspace drops the deltas given before it.
    for (space, prefix, delta) in deltas {
        same.count(space, prefix, delta);
        written.push((
            space,
            SpaceCounts {
                deltas: 1,
                ..SpaceCounts::default()
            },
        ));
    }
    (same, written)
}

struct CountingSnapshot<S> {
    inner: S,
    tally: Tally,
}

impl<S> Snapshot for CountingSnapshot<S>
where
    S: std::ops::Deref<Target: Snapshot> + Send + Sync,
{
    fn get(&self, space: Keyspace, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.tally.add(
            space,
            SpaceCounts {
                lookups: 1,
                got: 1,
                ..SpaceCounts::default()
            },
        );
        self.inner.get(space, key, visit)
    }

    fn get_many(&self, space: Keyspace, keys: &[&[u8]], visit: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.tally.add(
            space,
            SpaceCounts {
                lookups: 1,
                got: keys.len() as u64,
                ..SpaceCounts::default()
            },
        );
        self.inner.get_many(space, keys, visit)
    }

    fn scan(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut visited = 0;
        let done = self.inner.scan(space, range, direction, &mut |key, value| {
            visited += 1;
            visit(key, value)
        });
        self.tally.add(
            space,
            SpaceCounts {
                scans: 1,
                visited,
                ..SpaceCounts::default()
            },
        );
        done
    }

    fn count(&self, space: Keyspace, prefixes: &[&[u8]]) -> Result<u64> {
        self.tally.add(
            space,
            SpaceCounts {
                counts: 1,
                ..SpaceCounts::default()
            },
        );
        self.inner.count(space, prefixes)
    }
}
