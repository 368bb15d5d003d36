//! Tenant numbers by name, remembered between snapshots of a backend that no other process changes.
//!
//! A number that is remembered must be the tenant's in the snapshot at hand. Only dropping a tenant can break that, so the cache is not used while a drop is
//! under way, and each drop starts a new epoch: a reader that looked at a state from before it cannot put the old number back.

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
    drops_under_way: u64,
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
                && state.drops_under_way == 0
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
            if state.epoch == epoch && state.drops_under_way == 0 {
                state.numbers.insert(tenant.to_owned(), number);
            }
        }
        Ok((snapshot, number))
    }

    /// Runs what drops `tenant`, whatever becomes of it.
    pub(crate) fn around_drop<R>(&self, tenant: &str, drop: impl FnOnce() -> R) -> R {
        self.write().drops_under_way += 1;
        let _end = DropEnd { cache: self, tenant };
        drop()
    }
}

/// Ends a drop, by a panic too.
struct DropEnd<'a> {
    cache: &'a TenantCache,
    tenant: &'a str,
}

impl Drop for DropEnd<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.write();
        state.drops_under_way -= 1;
        state.epoch += 1;
        state.numbers.remove(self.tenant);
    }
}
