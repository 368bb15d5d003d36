//! What readers keep beside a state, which goes with it.

use std::any::Any;
use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, PoisonError, RwLock};

use super::ancestors::Ancestors;
use super::view::TenantView;
use crate::keyspace::TenantNumber;

/// The most bytes of remembered values beside one state.
const MOST_BYTES: usize = 8 << 20;
/// About what an entry costs beyond its key and its value.
const ENTRY: usize = 128;

/// All of it. A state never changes, so nothing here is ever out of date.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) ancestors: Ancestors,
    values: RwLock<Values>,
}

#[derive(Default)]
struct Values {
    bytes: usize,
    of_tenant: HashMap<TenantNumber, HashMap<Box<[u8]>, Arc<dyn Any + Send + Sync>>>,
}

impl Beside {
    fn value(&self, tenant: TenantNumber, key: &[u8]) -> Option<Arc<dyn Any + Send + Sync>> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        values.of_tenant.get(&tenant)?.get(key).cloned()
    }

    /// Keeps a value of `bytes`. Where there is no room, everything before it is forgotten: what is asked for often is soon there again.
    fn keep(&self, tenant: TenantNumber, key: &[u8], bytes: usize, value: Arc<dyn Any + Send + Sync>) {
        let bytes = bytes.saturating_add(key.len()).saturating_add(ENTRY);
        if bytes > MOST_BYTES {
            return;
        }
        let mut forgotten = None;
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        if values.bytes + bytes > MOST_BYTES {
            forgotten = Some(mem::take(&mut *values));
        }
        let of_tenant = values.of_tenant.entry(tenant).or_default();
        // The first one stays: others who made it at the same time made the same.
        if !of_tenant.contains_key(key) {
            of_tenant.insert(key.into(), value);
            values.bytes += bytes;
        }
        drop(values);
        // Many small pieces, which nobody waits for.
        drop(forgotten);
    }
}

impl TenantView<'_> {
    pub(super) fn beside(&self) -> Option<&Beside> {
        self.snapshot.memo()?.get()
    }

    /// What was remembered under `key`, if it is there and a `T`.
    pub(crate) fn remembered<T: Any + Send + Sync>(&self, key: &[u8]) -> Option<Arc<T>> {
        self.beside()?.value(self.number?, key)?.downcast().ok()
    }

    /// Remembers a value of about so many bytes, if this view has a place for it.
    pub(crate) fn remember(&self, key: &[u8], bytes: usize, value: Arc<dyn Any + Send + Sync>) {
        if let Some((beside, tenant)) = self.beside().zip(self.number) {
            beside.keep(tenant, key, bytes, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalog, NewDataStore, Read as _, Write as _};

    fn known(at: &impl crate::Read, key: &str) -> Option<String> {
        let text = at.remembered::<String>(key.as_bytes()).unwrap();
        text.map(|text| (*text).clone())
    }

    #[test]
    fn what_is_remembered_belongs_to_one_state_of_one_tenant() {
        let catalog = Catalog::in_memory().unwrap();
        let session = catalog.session("acme", "ann").unwrap();
        let other = catalog.session("umbrella", "ann").unwrap();
        let nobody = catalog.session("nobody", "ann").unwrap();
        for session in [&session, &other] {
            session.create(NewDataStore::new("lake", "x")).unwrap();
        }
        let before = session.snapshot().unwrap();
        before.remember(b"k", 3, Arc::new("old".to_owned()));
        before.remember(b"k", 3, Arc::new("again".to_owned()));
        assert_eq!(known(&before, "k").as_deref(), Some("old"));
        assert_eq!(known(&session, "k").as_deref(), Some("old"));
        assert_eq!(before.remembered::<u64>(b"k").unwrap(), None);
        assert_eq!(known(&other, "k"), None);
        assert_eq!(known(&other.snapshot().unwrap(), "k"), None);
        nobody
            .snapshot()
            .unwrap()
            .remember(b"k", 3, Arc::new("none".to_owned()));
        assert_eq!(known(&nobody, "k"), None);
        session
            .transact(|transaction| {
                assert_eq!(known(transaction, "k"), None);
                transaction.create(NewDataStore::new("pond", "x"))
            })
            .unwrap();
        assert_eq!(known(&session, "k"), None);
        // Of the state that it was made from, whatever came since.
        assert_eq!(known(&before, "k").as_deref(), Some("old"));
        before.remember(b"late", 3, Arc::new("late".to_owned()));
        assert_eq!(known(&session, "late"), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_in_bytes() {
        let beside = Beside::default();
        let (one, two) = (TenantNumber(1), TenantNumber(2));
        let keep = |tenant, key: &str, bytes| beside.keep(tenant, key.as_bytes(), bytes, Arc::new(()));
        let there = |tenant, key: &str| beside.value(tenant, key.as_bytes()).is_some();
        keep(one, "too large", MOST_BYTES);
        assert!(!there(one, "too large"));
        let third = MOST_BYTES / 3 - ENTRY - 1;
        keep(one, "a", third);
        keep(two, "b", third);
        // Once more is not more.
        keep(two, "b", third);
        keep(one, "c", third);
        assert!(there(one, "a") && there(two, "b") && there(one, "c"));
        assert!(!there(two, "a"));
        keep(two, "d", 0);
        assert!(there(two, "d"));
        assert!(!there(one, "a") && !there(two, "b") && !there(one, "c"));
        assert_eq!(beside.values.read().unwrap().bytes, ENTRY + 1);
    }
}
