//! The catalog: one file, opened once, shared by every thread.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::backend::{Backend, CommitOptions, Durability, Health, Snapshot, WriteBatch};
use crate::engine::Settings;
use crate::engine::tenants::{self, check_name};
use crate::environment::Environment;
use crate::error::Result;
use crate::feed::Feed;
use crate::group::GroupCommit;
use crate::keyspace::TenantNumber;
use crate::options::Options;
use crate::reentry;
use crate::session::Session;
use crate::snapshot::CatalogSnapshot;
use crate::tenant_cache::TenantCache;

/// An open catalog. Cheap to clone; all clones are the same catalog, and the file is closed when the last one, its sessions and its snapshots are
/// gone. Sessions and snapshots work on without it, but nobody waits any more: dropping the last clone ends each [`Session::watch`], so that threads that do
/// nothing else let go of the file.
///
/// ```
/// use shelfmark::{Catalog, NewDataStore, Read, Write};
/// # fn main() -> shelfmark::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("catalog.shelf");
/// let catalog = Catalog::create(&path)?;
/// let session = catalog.session("acme", "ann")?;
/// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
/// assert_eq!(session.get(store.id)?, Some(store));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Catalog {
    pub(crate) inner: Arc<Inner>,
    _handles: Arc<Handles>,
}

/// What the clones of a catalog share and nothing else does: it goes with the last one.
struct Handles(Arc<Inner>);

impl Drop for Handles {
    fn drop(&mut self) {
        if let Some(feed) = &self.0.feed {
            feed.close();
        }
    }
}

/// What sessions and snapshots share.
pub(crate) struct Inner {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) settings: Settings,
    pub(crate) durability: Durability,
    pub(crate) group: GroupCommit,
    /// Where the catalog keeps a change feed.
    pub(crate) feed: Option<Feed>,
    tenants: TenantCache,
}

impl Inner {
    pub(crate) fn new(backend: Arc<dyn Backend>, durability: Durability, settings: Settings) -> Self {
        Self {
            backend,
            feed: settings.change_feed.then(Feed::default),
            settings,
            durability,
            group: GroupCommit::default(),
            tenants: TenantCache::default(),
        }
    }

    /// A snapshot, and the number that the tenant has in it.
    pub(crate) fn snapshot_of(&self, tenant: &str) -> Result<(Box<dyn Snapshot>, Option<TenantNumber>)> {
        self.tenants.snapshot_of(&*self.backend, tenant)
    }

    /// A commit of its own.
    pub(crate) fn commit(
        &self,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()> {
        let _entered = reentry::enter_write()?;
        self.backend_commit(options, plan)
    }

    /// Options of a commit that begins now.
    pub(crate) fn commit_options(&self, durability: Durability) -> CommitOptions {
        let Environment { ids, clock, .. } = &self.settings.environment;
        CommitOptions::new(durability, ids.next_id(clock.now()).as_u128())
    }

    /// The one way to the backend's commit, for those who have entered a write.
    pub(crate) fn backend_commit(
        &self,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()> {
        match &self.feed {
            Some(feed) => feed.commit(&*self.backend, options, plan),
            None => self.backend.commit(options, plan),
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("backend", &self.inner.backend)
            .finish_non_exhaustive()
    }
}

impl Catalog {
    pub(crate) fn over(inner: Inner) -> Self {
        let inner = Arc::new(inner);
        Self {
            _handles: Arc::new(Handles(Arc::clone(&inner))),
            inner,
        }
    }

    /// Makes a new file with the default [`Options`] and opens it.
    ///
    /// # Errors
    ///
    /// `FileExists` and what [`Options::create`] names.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().create(path)
    }

    /// Opens an existing file with the default [`Options`].
    ///
    /// # Errors
    ///
    /// `FileMissing` and what [`Options::open`] names.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(path)
    }

    /// Opens the file, or makes it where there is none.
    ///
    /// # Errors
    ///
    /// What [`Options::open`] names.
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open_or_create(path)
    }

    /// A catalog in memory, gone when it is dropped.
    ///
    /// # Errors
    ///
    /// `Io` where the system gives no random bytes.
    pub fn in_memory() -> Result<Self> {
        Options::new().in_memory()
    }

    /// A handle on one tenant for one actor. Nothing that it reaches belongs to another tenant. A tenant exists from its first write; opening
    /// a session writes nothing and costs nothing.
    ///
    /// # Errors
    ///
    /// `Invalid` where a name is empty or longer than 255 bytes.
    pub fn session(&self, tenant: impl Into<String>, actor: impl Into<String>) -> Result<Session> {
        let (tenant, actor) = (tenant.into(), actor.into());
        check_name("tenant", &tenant)?;
        check_name("actor", &actor)?;
        Ok(Session::new(self.inner.clone(), tenant.into(), actor.into()))
    }

    /// One consistent state of the whole catalog for many reads, on any thread, for as long as it is held. Holding one for long keeps the file
    /// from reusing space: see [`Catalog::stats`].
    ///
    /// # Errors
    ///
    /// `Io`, `Corrupt`, `Unavailable`.
    pub fn snapshot(&self) -> Result<CatalogSnapshot> {
        Ok(CatalogSnapshot::new(
            self.inner.clone(),
            self.inner.backend.snapshot()?.into(),
        ))
    }

    /// The names of all tenants, sorted. O(tenants).
    ///
    /// # Errors
    ///
    /// `Io`, `Corrupt`.
    pub fn tenants(&self) -> Result<Vec<String>> {
        let snapshot = self.inner.backend.snapshot()?;
        Ok(tenants::all(&*snapshot)?
            .into_iter()
            .map(|(name, _)| name)
            .collect())
    }

    /// Deletes a tenant with everything in it, in one transaction, and tells whether it was there. O(what it holds).
    ///
    /// ```
    /// # use shelfmark::{Catalog, NewDataStore, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// let catalog = Catalog::in_memory()?;
    /// catalog.session("acme", "ann")?.create(NewDataStore::new("warehouse", "postgres"))?;
    /// assert!(catalog.drop_tenant("acme")?);
    /// assert!(catalog.tenants()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of any write.
    pub fn drop_tenant(&self, tenant: &str) -> Result<bool> {
        let mut dropped = false;
        self.inner.tenants.around_upheaval(|| {
            self.inner.commit(
                self.inner.commit_options(self.inner.durability),
                &mut |snapshot| {
                    let mut batch = WriteBatch::new();
                    let number = tenants::number(snapshot, tenant)?;
                    dropped = number.is_some();
                    if let Some(number) = number {
                        tenants::stage_drop(&mut batch, tenant, number);
                    }
                    Ok(batch)
                },
            )
        })?;
        Ok(dropped)
    }

    /// Makes every deferred commit durable. Nothing to do where all are [`Durability::Immediate`].
    ///
    /// # Errors
    ///
    /// `Io`, `StorageFull`, `Unavailable`; `ReentrantWrite` inside a transaction or an update closure.
    pub fn sync(&self) -> Result<()> {
        let _entered = reentry::enter_write()?;
        match &self.inner.feed {
            Some(feed) => feed.sync(&*self.inner.backend),
            None => self.inner.backend.sync(),
        }
    }

    /// Whether no other process can commit to the catalog while this one has it open. Reads then wait for nothing outside of this process but pages of its
    /// file.
    pub fn is_exclusive(&self) -> bool {
        self.inner.backend.limits().exclusive
    }

    /// Whether the catalog serves reads and writes.
    pub fn health(&self) -> Health {
        self.inner.backend.health()
    }

    /// Recovers from a latched I/O failure by opening the file again.
    ///
    /// After a failure the built-in backend first writes all of the file again, over itself, and syncs it: what a failed sync did not write, an operating system may show and
    /// never write. That takes about as long as copying the file. Where processes share the file it is left out, since others may have written since: end all of them, and see
    /// what the medium has before going on.
    ///
    /// # Errors
    ///
    /// Those of [`Options::open`]; `ReentrantWrite` inside a transaction or an update closure.
    pub fn reopen(&self) -> Result<()> {
        let _entered = reentry::enter_write()?;
        self.inner.tenants.around_upheaval(|| match &self.inner.feed {
            Some(feed) => feed.reopen(&*self.inner.backend),
            None => self.inner.backend.reopen(),
        })
    }
}
