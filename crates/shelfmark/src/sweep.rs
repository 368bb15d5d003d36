//! Removing what has outlived its retention, in bounded steps.

use crate::backend::{Snapshot, WriteBatch};
use crate::catalog::{Catalog, Inner};
use crate::engine::{Settings, retention, tenants};
use crate::error::Result;
use crate::keyspace::TenantNumber;
use crate::reentry;

/// What a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Records of the change feed.
    pub changes: u64,
}

/// Stages the removal of a bounded number of rows of one tenant, and tells how many.
type Step = fn(&Settings, &dyn Snapshot, TenantNumber, &mut WriteBatch) -> Result<u64>;

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
        for (_, tenant) in tenants::all(&*inner.backend.snapshot()?)? {
            if inner.settings.change_feed {
                swept.changes += steps(inner, tenant, retention::trim)?;
            }
        }
        Ok(swept)
    }
}

/// Takes step after step, each in a commit of its own, until there is nothing left to do.
fn steps(inner: &Inner, tenant: TenantNumber, step: Step) -> Result<u64> {
    let mut removed = 0;
    loop {
        let ahead = step(
            &inner.settings,
            &*inner.backend.snapshot()?,
            tenant,
            &mut WriteBatch::new(),
        )?;
        if ahead == 0 {
            return Ok(removed);
        }
        let mut done = 0;
        inner.commit(inner.durability, &mut |snapshot| {
            let mut batch = WriteBatch::new();
            done = step(&inner.settings, snapshot, tenant, &mut batch)?;
            Ok(batch)
        })?;
        removed += done;
    }
}
