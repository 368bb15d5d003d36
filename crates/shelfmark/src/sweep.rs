//! Removing what has outlived its retention, in bounded steps.

use crate::catalog::{Catalog, Inner};
use crate::engine::{Stage, idempotency, retention, tenants, undrop};
use crate::error::Result;
use crate::reentry;

/// Whom a sweep is ascribed to: the change feed names no actor for it.
const NOBODY: &str = "";

/// How many rows one commit removes at the most.
const STEP: usize = 1_024;

/// What a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Records of the change feed.
    pub changes: u64,
    /// Answers to requests with an idempotency key.
    pub requests: u64,
    /// Rows of deleted entities that can be restored no more: two of each that was named in a deletion, one of each data set that went with
    /// it, and one more where there are schemas.
    pub dropped_rows: u64,
}

/// Stages the removal of a bounded number of rows of one tenant, and tells how many; 0 where nothing is left to do.
type Step = fn(&mut Stage<'_>) -> Result<u64>;

impl Catalog {
    /// Removes what has outlived its retention and that no write has removed as it went: of tenants that nobody writes to, and after the retention
    /// became shorter. Each commit removes at most 1,024 rows, so other writers wait only shortly; nothing is written where there is nothing to do. Call it
    /// now and then, where retention goes by age. O(tenants + what goes).
    ///
    /// ```
    /// # use shelfmark::{ChangeRetention, NewDataStore, Options, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// let options = Options::new().change_feed(true).change_retention(ChangeRetention::new().count(10));
    /// let catalog = options.in_memory()?;
    /// let session = catalog.session("acme", "ann")?;
    /// session.create_all((0..25).map(|n| NewDataStore::new(format!("store_{n}"), "postgres")))?;
    /// assert_eq!(catalog.sweep()?.changes, 15);
    /// assert_eq!(catalog.sweep()?.changes, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of any write. What earlier steps removed stays removed.
    pub fn sweep(&self) -> Result<Swept> {
        // Also where there turns out to be nothing to do.
        drop(reentry::enter_write()?);
        let inner = &*self.inner;
        let mut swept = Swept::default();
        for (tenant, _) in tenants::all(&*inner.backend.snapshot()?)? {
            swept.requests += steps(inner, &tenant, requests)?;
            // What becomes final is told in the change feed, so before that is trimmed.
            swept.dropped_rows += steps(inner, &tenant, dropped)?;
            if inner.settings.change_feed {
                swept.changes += steps(inner, &tenant, changes)?;
            }
        }
        Ok(swept)
    }
}

fn requests(stage: &mut Stage<'_>) -> Result<u64> {
    idempotency::sweep(stage, STEP).map(|rows| rows as u64)
}

fn dropped(stage: &mut Stage<'_>) -> Result<u64> {
    undrop::sweep_step(stage, STEP).map(|rows| rows as u64)
}

fn changes(stage: &mut Stage<'_>) -> Result<u64> {
    retention::sweep(stage)
}

/// Takes step after step, each in a commit of its own, until there is nothing left to do.
fn steps(inner: &Inner, tenant: &str, step: Step) -> Result<u64> {
    let mut removed = 0;
    loop {
        let snapshot = inner.backend.snapshot()?;
        let ahead = step(&mut Stage::new(&inner.settings, &*snapshot, tenant, NOBODY)?)?;
        drop(snapshot);
        if ahead == 0 {
            return Ok(removed);
        }
        let mut done = 0;
        inner.commit(inner.commit_options(inner.durability), &mut |snapshot| {
            let mut stage = Stage::new(&inner.settings, snapshot, tenant, NOBODY)?;
            done = step(&mut stage)?;
            Ok(stage.batch)
        })?;
        removed += done;
    }
}
