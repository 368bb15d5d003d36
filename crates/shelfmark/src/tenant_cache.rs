//! Tenant numbers by name, remembered between snapshots of a backend that no other process changes.
//!
//! A number that is remembered must be the tenant's in the snapshot at hand. Dropping a tenant can break that, and so can reopening, which may lose deferred
//! commits. So the cache is not used while one of these is under way, and each starts a new epoch: a reader that looked at a state from before it cannot
//! put an old number back.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::backend::{Backend, Snapshot};
use crate::engine::tenants;
use crate::error::Result;
use crate::keyspace::TenantNumber;

#[derive(Default)]
pub(crate) struct TenantCache {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    epoch: u64,
    upheavals: u64,
    numbers: HashMap<String, TenantNumber>,
}

impl TenantCache {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot, and the number that the tenant has in it.
    pub(crate) fn snapshot_of(
        &self,
        backend: &dyn Backend,
        tenant: &str,
    ) -> Result<(Box<dyn Snapshot>, Option<TenantNumber>)> {
        let epoch = self.read().epoch;
        let snapshot = backend.snapshot()?;
        if backend.limits().exclusive {
            let state = self.read();
            if state.epoch == epoch
                && state.upheavals == 0
                && let Some(&known) = state.numbers.get(tenant)
            {
                return Ok((snapshot, Some(known)));
            }
        }
        let number = tenants::number(&*snapshot, tenant)?;
        if let Some(number) = number
            && backend.limits().exclusive
        {
            let mut state = self.write();
            if state.epoch == epoch && state.upheavals == 0 {
                state.numbers.insert(tenant.to_owned(), number);
            }
        }
        Ok((snapshot, number))
    }

    /// Runs what may take a number from its tenant, a drop or a reopening, whatever becomes of it.
    pub(crate) fn around_upheaval<R>(&self, work: impl FnOnce() -> R) -> R {
        self.write().upheavals += 1;
        let _end = UpheavalEnd(self);
        work()
    }
}

/// Ends an upheaval, by a panic too.
struct UpheavalEnd<'a>(&'a TenantCache);

impl Drop for UpheavalEnd<'_> {
    fn drop(&mut self) {
        let mut state = self.0.write();
        state.upheavals -= 1;
        state.epoch += 1;
        state.numbers.clear();
    }
}
