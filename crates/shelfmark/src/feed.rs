//! What of the change feed is durable, and who waits for more of it.
//!
//! A reader is shown what no crash can take back, so not yet the records of [`Durability::Deferred`] commits. `held_back` has, for each tenant with such
//! records, the number of its last durable one. Why a reader that takes its snapshot first and asks `held_back` then is never shown too much:
//!
//! - `order` is held over each commit, sync and reopening together with what it does to `held_back`. So between two of them this holds: of a tenant
//!   that is not in `held_back` every committed record is durable, of one that is in it every one up to that number.
//! - A deferred commit puts its tenants in before it becomes visible, with the newest number that its plan's view has, which is durable by the above. Who sees
//!   its records in a snapshot asks later, and finds the entry. If the commit fails, the entry says no more than is so.
//! - Entries go only after a durable commit that wrote something, or a sync, has returned: then all records that any snapshot can have by now are durable. No deferred
//!   commit comes between that return and the entries' going. A durable commit that wrote nothing need not have reached the disk, and clears nothing.
//! - A reopening may lose what was deferred. A snapshot from before it could then be shown whole, so each reopening is counted, and who finds that there was one
//!   between its snapshot and its asking starts again.
//!
//! Where a backend has no deferred commits, all of it is left out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::backend::{Backend, CommitOptions, Durability, Keyspace, Snapshot, WriteBatch};
use crate::catalog::Inner;
use crate::engine::feed::last_sequence;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::{TenantNumber, keys};

#[derive(Default)]
pub(crate) struct Feed {
    order: Mutex<()>,
    held_back: Mutex<HeldBack>,
    /// Grows with everything that may have brought something to show.
    commits: Mutex<u64>,
    committed: Condvar,
    /// Whether no handle of the catalog is left.
    closed: AtomicBool,
}

#[derive(Default)]
struct HeldBack {
    durable: HashMap<TenantNumber, u64>,
    reopenings: u64,
}

/// A view, the tenant's number in it, and where its records cease to be durable, if they do.
pub(crate) type DurableView = (Box<dyn Snapshot>, Option<TenantNumber>, Option<u64>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// The change feed; `Unsupported` where there is none.
    pub(crate) fn feed(&self) -> Result<&Feed> {
        self.feed.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "the catalog keeps no change feed: open it with Options::change_feed(true), which turns it on from then on",
            )
        })
    }
}

impl Feed {
    /// Commits, and notes what is durable by that and what is not.
    pub(crate) fn commit(
        &self,
        backend: &dyn Backend,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()> {
        let defers = backend.limits().deferred_durability;
        let deferred = defers && options.durability == Durability::Deferred;
        let _order = defers.then(|| lock(&self.order));
        let (mut written, mut told) = (false, false);
        let outcome = backend.commit(options, &mut |view| {
            let batch = plan(view)?;
            written = !batch.is_empty();
            told = batch.touches(Keyspace::Change);
            if deferred && told {
                self.hold_back(view, &batch)?;
            }
            Ok(batch)
        });
        let shown = outcome.is_ok() && !deferred && written && self.all_durable();
        // One in doubt may have happened.
        if shown || (told && !deferred) {
            self.wake();
        }
        outcome
    }

    pub(crate) fn sync(&self, backend: &dyn Backend) -> Result<()> {
        let _order = lock(&self.order);
        backend.sync()?;
        if self.all_durable() {
            self.wake();
        }
        Ok(())
    }

    pub(crate) fn reopen(&self, backend: &dyn Backend) -> Result<()> {
        let _order = lock(&self.order);
        backend.reopen()?;
        lock(&self.held_back).reopenings += 1;
        self.all_durable();
        self.wake();
        Ok(())
    }

    /// Notes how far each tenant of the batch was durable before it, unless that is known.
    fn hold_back(&self, view: &dyn Snapshot, batch: &WriteBatch) -> Result<()> {
        let mut last = None;
        for key in batch.keys(Keyspace::Change) {
            let tenant = keys::tenant_of(key);
            if let Some(tenant) = tenant
                && last != Some(tenant)
                && !lock(&self.held_back).durable.contains_key(&tenant)
            {
                let durable = last_sequence(view, tenant)?;
                lock(&self.held_back).durable.insert(tenant, durable);
            }
            last = tenant.or(last);
        }
        Ok(())
    }

    /// Forgets what was held back, and tells whether there was something.
    fn all_durable(&self) -> bool {
        let mut held_back = lock(&self.held_back);
        let shown = !held_back.durable.is_empty();
        held_back.durable.clear();
        shown
    }

    /// A view of a tenant, and how far its feed may be shown.
    pub(crate) fn durable_view(&self, inner: &Inner, tenant: &str) -> Result<DurableView> {
        loop {
            let before = lock(&self.held_back).reopenings;
            let (snapshot, number) = inner.snapshot_of(tenant)?;
            let HeldBack { durable, reopenings } = &*lock(&self.held_back);
            if *reopenings == before {
                let durable = number.and_then(|number| durable.get(&number).copied());
                return Ok((snapshot, number, durable));
            }
        }
    }

    fn wake(&self) {
        *lock(&self.commits) += 1;
        self.committed.notify_all();
    }

    /// Wakes who waits, to find that there is nothing to wait for.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether nobody may wait any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// What to hand to [`Feed::wait`], taken before one looks.
    pub(crate) fn commits_seen(&self) -> u64 {
        *lock(&self.commits)
    }

    /// Waits until there was another commit since `seen` was taken, for `timeout` at the most. May return earlier.
    pub(crate) fn wait(&self, seen: u64, timeout: Option<Duration>) {
        let commits = lock(&self.commits);
        if *commits != seen {
            return;
        }
        match timeout {
            Some(timeout) => drop(self.committed.wait_timeout(commits, timeout)),
            None => drop(self.committed.wait(commits)),
        }
    }
}
