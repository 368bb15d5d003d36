//! A backend that fails when told to, and holds commits back, for tests of what happens then.

use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shelfmark::backend::{
    Backend, BackendActivity, BackendStats, CommitOptions, Direction, Health, KeyRange, Keyspace, Limits,
    Maintenance, MaintenanceReport, Snapshot, WriteBatch,
};
use shelfmark::{Error, ErrorKind, Result};

use crate::lock;

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Snapshot,
    Read,
    BeforeCommit,
    AfterCommit,
    Sync,
}

/// One failure to come: what fails, how, and at which call. Strikes once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a fault does nothing until it is armed"]
pub struct Fault {
    point: Point,
    kind: ErrorKind,
    nth: u64,
    latches: bool,
}

impl Fault {
    fn at(point: Point, kind: ErrorKind) -> Self {
        Self {
            point,
            kind,
            nth: 1,
            latches: false,
        }
    }

    /// The next `snapshot` fails.
    pub fn snapshot(kind: ErrorKind) -> Self {
        Self::at(Point::Snapshot, kind)
    }

    /// The next `get`, `get_many`, `scan` or `count` fails before it shows anything, be it of a snapshot or of a commit's view.
    pub fn read(kind: ErrorKind) -> Self {
        Self::at(Point::Read, kind)
    }

    /// The next commit fails after its plan is made and before anything is written. A commit whose plan fails does not count.
    pub fn before_commit(kind: ErrorKind) -> Self {
        Self::at(Point::BeforeCommit, kind)
    }

    /// The next commit is written, and says `CommitUnknown`.
    pub fn after_commit() -> Self {
        Self::at(Point::AfterCommit, ErrorKind::CommitUnknown)
    }

    /// The next `sync` fails.
    pub fn sync(kind: ErrorKind) -> Self {
        Self::at(Point::Sync, kind)
    }

    /// Not the next call fails but the `n`-th from when it is armed; 1 is the next.
    pub fn nth(mut self, n: u64) -> Self {
        self.nth = n.max(1);
        self
    }

    /// With the failure the backend latches: reads go on, writes give `Unavailable` until it is reopened.
    pub fn latching(mut self) -> Self {
        self.latches = true;
        self
    }
}

/// Arms the faults of a [`FaultyBackend`]. A clone is the same handle.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when a hold ends and when a commit begins or ends waiting.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    armed: Vec<Fault>,
    struck: u64,
    latched: Option<String>,
    holds: usize,
    waiting: usize,
}

impl Faults {
    /// Arms one more fault; several of the same place count down side by side.
    pub fn arm(&self, fault: Fault) {
        lock(&self.0.state).armed.push(fault);
    }

    /// Takes back every fault that has not struck yet. A latch stays.
    pub fn disarm(&self) {
        lock(&self.0.state).armed.clear();
    }

    /// How many faults have struck.
    pub fn struck(&self) -> u64 {
        lock(&self.0.state).struck
    }

    /// Latches the backend now.
    pub fn latch(&self, reason: impl Into<String>) {
        lock(&self.0.state).latched = Some(reason.into());
    }

    /// Makes commits wait, before their plan is asked for, until the guard and every other one is dropped.
    pub fn hold_commits(&self) -> HeldCommits {
        lock(&self.0.state).holds += 1;
        HeldCommits { faults: self.clone() }
    }

    /// Counts one call at `point`, and fails it when a fault is due.
    fn pass(&self, point: Point) -> Result<()> {
        let mut state = lock(&self.0.state);
        let mut due: Option<Fault> = None;
        state.armed.retain_mut(|fault| {
            // One that is due together with an earlier one strikes at the call after.
            if fault.point != point || (fault.nth == 1 && due.is_some()) {
                return true;
            }
            fault.nth -= 1;
            if fault.nth > 0 {
                return true;
            }
            due = Some(*fault);
            false
        });
        let Some(fault) = due else { return Ok(()) };
        state.struck += 1;
        let message = format!("a fault was injected at {point:?}");
        if fault.latches {
            state.latched = Some(message.clone());
        }
        Err(Error::new(fault.kind, message))
    }

    fn refuse_if_latched(&self) -> Result<()> {
        match &lock(&self.0.state).latched {
            Some(reason) => {
                let message = format!("the backend latched ({reason}): reopen it");
                Err(Error::new(ErrorKind::Unavailable, message))
            }
            None => Ok(()),
        }
    }

    fn wait_for_release(&self) {
        let mut state = lock(&self.0.state);
        if state.holds == 0 {
            return;
        }
        state.waiting += 1;
        self.0.changed.notify_all();
        while state.holds > 0 {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        self.0.changed.notify_all();
    }
}

/// Holds commits back while it lives.
#[derive(Debug)]
#[must_use = "commits go on when the guard is dropped"]
pub struct HeldCommits {
    faults: Faults,
}

impl HeldCommits {
    /// How many commits are waiting.
    pub fn waiting(&self) -> usize {
        lock(&self.faults.0.state).waiting
    }

    /// Waits until at least `commits` are waiting; `false` when they are not within `timeout`.
    pub fn wait_for(&self, commits: usize, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut state = lock(&self.faults.0.state);
        while state.waiting < commits {
            let Some(left) = until
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())
            else {
                return false;
            };
            let waited = self.faults.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for HeldCommits {
    fn drop(&mut self) {
        lock(&self.faults.0.state).holds -= 1;
        self.faults.0.changed.notify_all();
    }
}

/// Hands everything on to another backend, and fails where its [`Faults`] say so. A clone shares the faults.
#[derive(Debug, Clone)]
pub struct FaultyBackend {
    inner: Arc<dyn Backend>,
    faults: Faults,
}

impl FaultyBackend {
    /// A backend over `inner` without any fault armed.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self {
            inner,
            faults: Faults::default(),
        }
    }

    /// The handle that arms its faults.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }
}

impl Backend for FaultyBackend {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.faults.pass(Point::Snapshot)?;
        Ok(Box::new(FaultySnapshot {
            inner: self.inner.snapshot()?,
            faults: self.faults.clone(),
        }))
    }

    fn commit(
        &self,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()> {
        self.faults.wait_for_release();
        self.faults.refuse_if_latched()?;
        let mut passed = false;
        self.inner.commit(options, &mut |view| {
            let batch = plan(&FaultySnapshot {
                inner: view,
                faults: self.faults.clone(),
            })?;
            // Once for each commit, however often the plan is asked for.
            if !std::mem::replace(&mut passed, true) {
                self.faults.pass(Point::BeforeCommit)?;
            }
            Ok(batch)
        })?;
        self.faults.pass(Point::AfterCommit)
    }

    fn sync(&self) -> Result<()> {
        self.faults.refuse_if_latched()?;
        self.faults.pass(Point::Sync)?;
        self.inner.sync()
    }

    fn health(&self) -> Health {
        match lock(&self.faults.0.state).latched.clone() {
            Some(reason) => Health::Latched { reason },
            None => self.inner.health(),
        }
    }

    fn reopen(&self) -> Result<()> {
        self.inner.reopen()?;
        lock(&self.faults.0.state).latched = None;
        Ok(())
    }

    fn activity(&self) -> BackendActivity {
        self.inner.activity()
    }

    fn stats(&self) -> Result<BackendStats> {
        self.inner.stats()
    }

    fn maintain(&self, what: Maintenance) -> Result<MaintenanceReport> {
        self.faults.refuse_if_latched()?;
        self.inner.maintain(what)
    }
}

struct FaultySnapshot<S> {
    inner: S,
    faults: Faults,
}

impl<S> Snapshot for FaultySnapshot<S>
where
    S: std::ops::Deref<Target: Snapshot> + Send + Sync,
{
    fn get(&self, space: Keyspace, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.faults.pass(Point::Read)?;
        self.inner.get(space, key, visit)
    }

    fn get_many(&self, space: Keyspace, keys: &[&[u8]], visit: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.faults.pass(Point::Read)?;
        self.inner.get_many(space, keys, visit)
    }

    fn scan(
        &self,
        space: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        self.faults.pass(Point::Read)?;
        self.inner.scan(space, range, direction, visit)
    }

    fn count(&self, space: Keyspace, prefixes: &[&[u8]]) -> Result<u64> {
        self.faults.pass(Point::Read)?;
        self.inner.count(space, prefixes)
    }
}
