//! One state of the catalog, held for many reads.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::Entity;
use crate::backend::Snapshot;
use crate::catalog::Inner;
use crate::engine::TenantView;
use crate::engine::tenants::{self, check_name};
use crate::error::Result;
use crate::keyspace::TenantNumber;
use crate::list::{Query, Stream};
use crate::read::{Context, Read};

/// One consistent state of the whole catalog, from [`Catalog::snapshot`](crate::Catalog::snapshot). Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct CatalogSnapshot {
    inner: Arc<Inner>,
    snapshot: Arc<dyn Snapshot>,
}

impl fmt::Debug for CatalogSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogSnapshot").finish_non_exhaustive()
    }
}

impl CatalogSnapshot {
    pub(crate) fn new(inner: Arc<Inner>, snapshot: Arc<dyn Snapshot>) -> Self {
        Self { inner, snapshot }
    }

    /// One tenant in this state.
    ///
    /// # Errors
    ///
    /// `Invalid` where the name is empty or longer than 255 bytes; `Io`, `Corrupt`.
    pub fn tenant(&self, name: &str) -> Result<TenantSnapshot> {
        check_name("tenant", name)?;
        let number = tenants::number(&*self.snapshot, name)?;
        Ok(TenantSnapshot::new(
            self.inner.clone(),
            self.snapshot.clone(),
            name.into(),
            number,
        ))
    }

    /// The names of all tenants in this state, sorted.
    ///
    /// # Errors
    ///
    /// `Io`, `Corrupt`.
    pub fn tenants(&self) -> Result<Vec<String>> {
        Ok(tenants::all(&*self.snapshot)?
            .into_iter()
            .map(|(name, _)| name)
            .collect())
    }
}

/// One tenant in one state: [`Read`] without anything changing in between. Cheap to clone, usable from any thread.
///
/// Holding one for long keeps the file from reusing space: see [`Catalog::stats`](crate::Catalog::stats).
#[derive(Clone)]
pub struct TenantSnapshot {
    inner: Arc<Inner>,
    snapshot: Arc<dyn Snapshot>,
    tenant: Arc<str>,
    number: Option<TenantNumber>,
}

impl fmt::Debug for TenantSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantSnapshot")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

impl TenantSnapshot {
    pub(crate) fn new(
        inner: Arc<Inner>,
        snapshot: Arc<dyn Snapshot>,
        tenant: Arc<str>,
        number: Option<TenantNumber>,
    ) -> Self {
        Self {
            inner,
            snapshot,
            tenant,
            number,
        }
    }

    pub(crate) fn view(&self) -> TenantView<'_> {
        TenantView {
            snapshot: &*self.snapshot,
            name: &self.tenant,
            number: self.number,
        }
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Remembers what somebody made of this state of the tenant, such as the text of a page, for [`Read::remembered`] on this state by whichever handle. The first value of a key
    /// stays. With the next commit it is out of reach, and gone once nobody holds the state.
    ///
    /// `bytes` is about what the value takes. A state has room for 8 MiB of all tenants, keys included; where that is full, all is forgotten and remembering begins anew. Nothing is
    /// remembered of a tenant that does not exist, nor by a backend without a place for it. All who use the catalog share the keys: begin them with something of your own.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use shelfmark::{Catalog, DataStore, JsonText, NewDataStore, Query, Read, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// # session.create(NewDataStore::new("warehouse", "postgres"))?;
    /// let state = session.snapshot()?;
    /// let mut text = JsonText::new();
    /// state.list_json(&Query::<DataStore>::new(), &mut text)?;
    /// let text = Arc::new(text.into_bytes());
    /// state.remember(b"my first page", text.len(), text.clone());
    /// assert_eq!(session.remembered(b"my first page")?, Some(text));
    /// session.create(NewDataStore::new("lake", "iceberg"))?;
    /// assert_eq!(session.remembered::<Vec<u8>>(b"my first page")?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn remember<T: Any + Send + Sync>(&self, key: &[u8], bytes: usize, value: Arc<T>) {
        self.view().remember(key, bytes, value);
    }

    /// As [`Session::stream`](crate::Session::stream), on this state.
    ///
    /// # Errors
    ///
    /// As [`Read::list`].
    pub fn stream<E: Entity>(&self, query: &Query<E>) -> Result<Stream<E>> {
        Stream::new(self.clone(), query)
    }
}

impl Read for TenantSnapshot {
    fn with_view<R>(&self, read: impl FnOnce(&TenantView<'_>) -> Result<R>) -> Result<R> {
        read(&self.view())
    }

    fn context(&self) -> Context<'_> {
        // A snapshot writes nothing that could be ascribed to an actor.
        Context {
            settings: &self.inner.settings,
            tenant: &self.tenant,
            actor: "",
        }
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<CatalogSnapshot>();
    shared::<TenantSnapshot>();
    shared::<crate::Catalog>();
    shared::<crate::Session>();
};
