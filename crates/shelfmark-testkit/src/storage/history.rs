//! The rows of a backend after each of its commits.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use shelfmark::Result;
use shelfmark::backend::{
    Backend, BackendStats, CommitOptions, Direction, Health, KeyRange, Keyspace, Limits, Maintenance,
    MaintenanceReport, Snapshot, WriteBatch,
};

use crate::lock;

/// Every row of every keyspace.
pub type Rows = BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>;

/// Reads every row. Backends that keep counters keep them alike, so they are compared too.
///
/// # Errors
///
/// What a scan gives.
pub fn rows_of(backend: &dyn Backend) -> Result<Rows> {
    let snapshot = backend.snapshot()?;
    let mut rows = Rows::new();
    for &space in Keyspace::ALL {
        snapshot.scan(space, &KeyRange::all(), Direction::Forward, &mut |key, value| {
            rows.insert((space, key.to_vec()), value.to_vec());
            ControlFlow::Continue(())
        })?;
    }
    Ok(rows)
}

/// The states that a backend has been in: the one it was found in, and one after each commit. A clone is the same history.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<Vec<Rows>>>);

impl History {
    /// A backend that does what `inner` does, and notes its states here.
    ///
    /// # Errors
    ///
    /// What reading the first state gives.
    pub fn watch(&self, inner: Arc<dyn Backend>) -> Result<Arc<dyn Backend>> {
        let watched = Watched {
            inner,
            history: self.clone(),
        };
        watched.note()?;
        Ok(Arc::new(watched))
    }

    /// How many states there have been.
    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// Whether there has been none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The states, in order.
    pub fn states(&self) -> Vec<Rows> {
        lock(&self.0).clone()
    }
}

struct Watched {
    inner: Arc<dyn Backend>,
    history: History,
}

impl Watched {
    fn note(&self) -> Result<()> {
        let rows = rows_of(&*self.inner)?;
        let mut states = lock(&self.history.0);
        if states.last() != Some(&rows) {
            states.push(rows);
        }
        Ok(())
    }
}

impl Backend for Watched {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.inner.snapshot()
    }

    fn commit(
        &self,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()> {
        self.inner.commit(options, plan)?;
        self.note()
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

    fn stats(&self) -> Result<BackendStats> {
        self.inner.stats()
    }

    fn maintain(&self, what: Maintenance) -> Result<MaintenanceReport> {
        self.inner.maintain(what)
    }
}
