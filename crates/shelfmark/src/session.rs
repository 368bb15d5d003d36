//! One tenant and one actor: the handle that reads and writes.

use std::fmt;
use std::sync::Arc;

use crate::Entity;
use crate::backend::{CommitOptions, Durability, Snapshot};
use crate::bulk::{self, Batched};
use crate::catalog::Inner;
use crate::engine::many::Many;
use crate::engine::{Stage, TenantView};
use crate::entity::NewEntity;
use crate::error::{Error, ErrorKind, Result};
use crate::list::{Query, Stream};
use crate::read::{Context, Read};
use crate::reentry;
use crate::snapshot::TenantSnapshot;
use crate::transaction::Transaction;
use crate::write::Write;

/// A handle on one tenant for one actor, from [`Catalog::session`](crate::Catalog::session). Cheap to clone, usable from any thread.
///
/// Reads come through [`Read`], each on the newest state; writes through [`Write`], each a transaction of its own. Writes that many threads make at once share
/// commits, at most 512 of them each; every caller has its own outcome:
///
/// ```
/// # use shelfmark::{AllStores, Catalog, DataStore, NewDataStore, Read, Write};
/// # fn main() -> shelfmark::Result<()> {
/// let catalog = Catalog::in_memory()?;
/// let session = catalog.session("acme", "ann")?;
/// let create = |n| session.create(NewDataStore::new(["fact", " ", "mart", "raw"][n], "postgres"));
/// let refused = std::thread::scope(|threads| {
///     let create = &create;
///     let running: Vec<_> = (0..4).map(|n| threads.spawn(move || create(n))).collect();
///     running.into_iter().map(|thread| thread.join().expect("no panic")).filter(Result::is_err).count()
/// });
/// assert_eq!((refused, session.count::<DataStore>(AllStores)?), (1, 3));
/// let stats = catalog.stats()?;
/// assert!(stats.grouped_writes == 3 && stats.groups <= 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<Inner>,
    tenant: Arc<str>,
    actor: Arc<str>,
    pub(crate) durability: Durability,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("tenant", &self.tenant)
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(inner: Arc<Inner>, tenant: Arc<str>, actor: Arc<str>) -> Self {
        let durability = inner.durability;
        Self {
            inner,
            tenant,
            actor,
            durability,
        }
    }

    /// The same session with another durability of its writes.
    ///
    /// [`Durability::Deferred`] writes are atomic and visible at once, but a crash may lose them until the next durable write or
    /// [`Catalog::sync`](crate::Catalog::sync); where the backend does not allow them they give `Unsupported`.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The actor whom writes are ascribed to.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// One consistent state of the tenant for many reads, on any thread.
    ///
    /// # Errors
    ///
    /// `Io`, `Corrupt`, `Unavailable`.
    pub fn snapshot(&self) -> Result<TenantSnapshot> {
        let (snapshot, number) = self.inner.snapshot_of(&self.tenant)?;
        Ok(TenantSnapshot::new(
            self.inner.clone(),
            snapshot.into(),
            self.tenant.clone(),
            number,
        ))
    }

    /// Iterates over what `query` selects, in its order, on one snapshot. Filters and sort are honoured; page and limit are not. Memory stays
    /// bounded; costs as following cursors would.
    ///
    /// # Errors
    ///
    /// As [`Read::list`]; each item may be an error, after which the stream ends.
    pub fn stream<E: Entity>(&self, query: &Query<E>) -> Result<Stream<E>> {
        self.snapshot()?.stream(query)
    }

    /// Runs several reads and writes as one transaction: all of them happen, or none. The transaction reads its own writes, and no other write
    /// comes between. An error of the closure drops everything; after an operation inside failed, the closure may go on without it.
    ///
    /// The closure **may run again** when the backend reports a conflict: it should have no effects but through the transaction. It runs
    /// while every other writer waits, so it must not wait for another thread that writes: that would never end.
    ///
    /// ```
    /// # use shelfmark::{Catalog, NewDataAsset, NewDataStore, Read, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// let (store, asset) = session.transact(|tx| {
    ///     let store = tx.create(NewDataStore::new("warehouse", "postgres"))?;
    ///     let asset = tx.create(NewDataAsset::new(store.id, "orders", "qix-df"))?;
    ///     Ok((store, asset))
    /// })?;
    /// assert_eq!(asset.data_store_info.id, store.id);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The closure's own; those of any write.
    pub fn transact<T>(&self, work: impl FnMut(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.try_transact(work)
    }

    /// As [`Session::transact`], for a closure with an error type of its own.
    ///
    /// # Errors
    ///
    /// The closure's own; those of any write.
    pub fn try_transact<T, X: From<Error>>(
        &self,
        mut work: impl FnMut(&Transaction<'_>) -> std::result::Result<T, X>,
    ) -> std::result::Result<T, X> {
        let mut outcome = None;
        let committed = self.inner.commit(
            self.inner.commit_options(self.durability),
            &mut |snapshot: &dyn Snapshot| {
                let transaction = Transaction::new(self, snapshot);
                match work(&transaction) {
                    Ok(value) => {
                        outcome = Some(Ok(value));
                        Ok(transaction.into_batch())
                    }
                    Err(error) => {
                        outcome = Some(Err(error));
                        Err(Error::new(
                            ErrorKind::Internal,
                            "the transaction's closure gave an error",
                        ))
                    }
                }
            },
        );
        match (outcome, committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(error)) => Err(error.into()),
            (None, Ok(())) => {
                Err(Error::new(ErrorKind::Internal, "the backend committed without a plan").into())
            }
        }
    }

    /// Creates as many entities as the iterator gives, in transactions of at most 10,000 entities or 8 MiB, so that a million of them never
    /// sit in memory at once: while one is committed the next one is made, so the iterator, which is asked on this thread, may be ahead of what is stored
    /// by as much. Gives their ids in order. Beside the cache it takes the memory of the rows of two transactions, index entries included, and 16 bytes for each id.
    ///
    /// ```
    /// # use shelfmark::{Batched, Catalog, NewDataStore, Read, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let session = Catalog::in_memory()?.session("acme", "ann")?;
    /// let stores = (0..25_000).map(|n| NewDataStore::new(format!("store_{n}"), "postgres"));
    /// let mut chunks = 0;
    /// let ids = session.create_batched(stores, Batched::new().on_progress(|_| chunks += 1))?;
    /// assert_eq!((ids.len(), chunks), (25_000, 3));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Write::create`]. [`Error::bulk`] gives how many are stored, and the position of the offending member, if it was one: the
    /// chunks before its own stay, nothing of its own chunk does.
    pub fn create_batched<N: NewEntity>(
        &self,
        members: impl IntoIterator<Item = N>,
        options: Batched<'_>,
    ) -> Result<Vec<<N::Entity as Entity>::Id>> {
        bulk::create(self, members.into_iter(), options)
    }

    /// Commits a chunk. An error of a member comes with its position in the chunk.
    pub(crate) fn commit_chunk<E: Entity>(
        &self,
        options: CommitOptions,
        chunk: &Many<E>,
    ) -> Result<(), (Option<usize>, Error)> {
        let mut refused = None;
        let committed = self.inner.commit(options, &mut |snapshot| {
            let mut stage = Stage::new(&self.inner.settings, snapshot, &self.tenant, &self.actor)?;
            chunk.stage(&mut stage).map_err(|(position, error)| {
                refused = Some(position);
                error
            })?;
            refused = None;
            Ok(stage.batch)
        });
        committed.map_err(|error| (refused, error))
    }
}

impl Read for Session {
    fn with_view<R>(&self, read: impl FnOnce(&TenantView<'_>) -> Result<R>) -> Result<R> {
        let (snapshot, number) = self.inner.snapshot_of(&self.tenant)?;
        read(&TenantView {
            snapshot: &*snapshot,
            name: &self.tenant,
            number,
        })
    }

    fn context(&self) -> Context<'_> {
        Context {
            settings: &self.inner.settings,
            tenant: &self.tenant,
            actor: &self.actor,
        }
    }
}

impl Write for Session {
    fn run<T: Send + 'static>(
        &self,
        operation: impl FnMut(&mut Stage<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _entered = reentry::enter_write()?;
        self.inner.group.run(
            &self.inner,
            (&self.tenant, &self.actor),
            self.durability,
            operation,
        )
    }

    fn ahead<T>(&self, work: impl FnOnce(&TenantView<'_>) -> Result<T>) -> Result<Option<T>> {
        // Hooks are asked where the change is staged, so all of it is worked out there.
        if !self.inner.settings.hooks.is_empty() {
            return Ok(None);
        }
        let _entered = reentry::enter_write()?;
        self.with_view(work).map(Some)
    }

    fn outside_of_writes<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        let _entered = reentry::enter_write()?;
        Ok(work())
    }
}
