//! A backend of ordered maps: the smallest implementation of the seam, and the fastest for tests.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use shelfmark::backend::{
    Backend, BackendStats, CommitOptions, Direction, Durability, Health, KeyRange, Keyspace, Limits,
    Maintenance, MaintenanceReport, Snapshot, SpaceBatch, WriteBatch, WriteOp,
};
use shelfmark::{Error, ErrorKind, Result};

use crate::lock;

const SPACES: usize = Keyspace::ALL.len();

type Space = BTreeMap<Vec<u8>, Vec<u8>>;

/// Each keyspace behind its own `Arc`: a commit copies a keyspace only when it changes it while a snapshot holds it.
type Spaces = [Arc<Space>; SPACES];

/// Keeps everything in memory, in one `BTreeMap` for each keyspace. Keeps no counters: `count` counts rows, as a SQL backend would.
///
/// A clone shares the data, so that a catalog can be closed and opened again over what it left. A snapshot panics when it is read from inside
/// one of its own visitors, which an engine behind a connection could not answer.
#[derive(Debug, Clone)]
pub struct MemoryBackend {
    shared: Arc<Shared>,
    limits: Limits,
    retry_every: Option<NonZeroU64>,
}

#[derive(Debug)]
struct Shared {
    /// Held from before `plan` is called until its batch is applied. Counts the commits asked for.
    writer: Mutex<u64>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    spaces: Spaces,
    commits: u64,
    next_ticket: u64,
    open: BTreeMap<u64, Instant>,
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBackend {
    /// An empty backend that says that no other process can commit.
    pub fn new() -> Self {
        let state = State {
            spaces: std::array::from_fn(|_| Arc::default()),
            commits: 0,
            next_ticket: 0,
            open: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Shared {
                writer: Mutex::new(0),
                state: Mutex::new(state),
            }),
            limits: Limits::exclusive(),
            retry_every: None,
        }
    }

    /// An empty backend that says that others may commit at any time: nothing above may remember what it read.
    pub fn shared() -> Self {
        let mut backend = Self::new();
        backend.limits.exclusive = false;
        backend
    }

    /// Refuses [`Durability::Deferred`].
    #[must_use]
    pub fn immediate_only(mut self) -> Self {
        self.limits.deferred_durability = false;
        self
    }

    /// Calls `plan` a second time in every `n`-th commit, as an engine does that found a conflict, and drops its first batch. 0 is never.
    #[must_use]
    pub fn retry_plans(mut self, n: u64) -> Self {
        self.retry_every = NonZeroU64::new(n);
        self
    }
}

impl Backend for MemoryBackend {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let mut state = lock(&self.shared.state);
        let number = state.next_ticket;
        state.next_ticket += 1;
        state.open.insert(number, Instant::now());
        let spaces = state.spaces.clone();
        Ok(Box::new(View {
            spaces,
            visits: Visits::new(),
            _ticket: Some(Ticket {
                number,
                shared: Arc::clone(&self.shared),
            }),
        }))
    }

    fn commit(
        &self,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()> {
        if options.durability == Durability::Deferred && !self.limits.deferred_durability {
            let message = "this backend commits durably only: ask for Durability::Immediate";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let mut asked = lock(&self.shared.writer);
        *asked += 1;
        let view = View {
            spaces: lock(&self.shared.state).spaces.clone(),
            visits: Visits::new(),
            _ticket: None,
        };
        let mut batch = plan(&view)?;
        if self.retry_every.is_some_and(|n| *asked % n == 0) {
            batch = plan(&view)?;
        }
        // Held longer, the view would make every keyspace that the batch touches be copied.
        drop(view);
        if batch.is_empty() {
            return Ok(());
        }
        let (spaces, _deltas) = batch.into_spaces();
        let mut state = lock(&self.shared.state);
        for (space, SpaceBatch { ranges, entries }) in spaces {
            let map = Arc::make_mut(&mut state.spaces[space.index()]);
            for range in &ranges {
                clear(map, range);
            }
            for (key, op) in entries.iter() {
                match op {
                    WriteOp::Put(value) => map.insert(key.to_vec(), value.to_vec()),
                    WriteOp::Delete => map.remove(key),
                };
            }
        }
        state.commits += 1;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn health(&self) -> Health {
        Health::Healthy
    }

    fn reopen(&self) -> Result<()> {
        Ok(())
    }

    /// O(rows): the stored bytes are added up.
    fn stats(&self) -> Result<BackendStats> {
        let (spaces, mut stats) = {
            let state = lock(&self.shared.state);
            let mut stats = BackendStats::default();
            stats.open_snapshots = state.open.len() as u64;
            stats.oldest_snapshot = state.open.values().min().map(Instant::elapsed);
            stats.commits = state.commits;
            (state.spaces.clone(), stats)
        };
        let rows = spaces.iter().flat_map(|space| space.iter());
        stats.stored_bytes = Some(rows.map(|(key, value)| (key.len() + value.len()) as u64).sum());
        Ok(stats)
    }

    fn maintain(&self, what: Maintenance) -> Result<MaintenanceReport> {
        let open = lock(&self.shared.state).open.len() as u64;
        if what == Maintenance::Compact && open > 0 {
            return Err(Error::busy(open, "compact"));
        }
        Ok(MaintenanceReport::new(0, 0, true))
    }
}

fn clear(map: &mut Space, range: &KeyRange) {
    let doomed: Vec<Vec<u8>> = map
        .range::<[u8], _>(bounds(range))
        .map(|(key, _)| key.clone())
        .collect();
    for key in doomed {
        map.remove(&key);
    }
}

fn bounds(range: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    if range.is_empty() {
        // BTreeMap panics on a start behind its end.
        return (Bound::Included(&range.start), Bound::Excluded(&range.start));
    }
    (
        Bound::Included(&range.start),
        range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
    )
}

/// The maps as they were. The view of a `plan` has no ticket, since it ends with the commit.
struct View {
    spaces: Spaces,
    visits: Visits,
    _ticket: Option<Ticket>,
}

thread_local! {
    /// The views whose visitors are running on this thread.
    static VISITED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Tells the visitors of one view from those of others.
struct Visits(u64);

impl Visits {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Panics inside one of the view's own visitors; else, until dropped, whoever comes is inside one.
    fn begin(&self) -> Visit {
        let inside = VISITED.with_borrow(|visited| visited.contains(&self.0));
        assert!(!inside, "a snapshot is read from inside one of its own visitors");
        VISITED.with_borrow_mut(|visited| visited.push(self.0));
        Visit
    }
}

struct Visit;

impl Drop for Visit {
    fn drop(&mut self) {
        VISITED.with_borrow_mut(Vec::pop);
    }
}

/// One open snapshot in the figures.
struct Ticket {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.shared.state).open.remove(&self.number);
    }
}

impl Snapshot for View {
    fn get(&self, space: Keyspace, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let _visit = self.visits.begin();
        let value = self.spaces[space.index()].get(key);
        if let Some(value) = value {
            visit(value);
        }
        Ok(value.is_some())
    }

    fn get_many(&self, space: Keyspace, keys: &[&[u8]], visit: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let _visit = self.visits.begin();
        for (position, key) in keys.iter().enumerate() {
            if let Some(value) = self.spaces[space.index()].get(*key) {
                visit(position, value);
            }
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
        let _visit = self.visits.begin();
        let mut rows = self.spaces[space.index()].range::<[u8], _>(bounds(range));
        loop {
            let row = match direction {
                Direction::Forward => rows.next(),
                Direction::Reverse => rows.next_back(),
            };
            match row {
                Some((key, value)) if visit(key, value).is_continue() => {}
                _ => return Ok(()),
            }
        }
    }

    fn count(&self, space: Keyspace, prefixes: &[&[u8]]) -> Result<u64> {
        let _visit = self.visits.begin();
        let space = &self.spaces[space.index()];
        let count = |prefix: &&[u8]| space.range::<[u8], _>(bounds(&KeyRange::prefix(prefix))).count() as u64;
        Ok(prefixes.iter().map(count).sum())
    }
}
