//! How a catalog is created and opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::redb::{RedbBackend, RedbOptions};
use crate::backend::{Backend, ByteStorage, Concurrency, Durability, Integrity};
use crate::catalog::Catalog;
use crate::changes::ChangeRetention;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::format;
use crate::hooks::Hook;

/// How a catalog is created or opened. Start from [`Options::new`], change what should differ, end with one of `create`, `open`, `open_or_create`,
/// `in_memory`, `on_backend`.
///
/// ```
/// # use shelfmark::{Durability, Options};
/// # fn main() -> shelfmark::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// let catalog = Options::new()
///     .cache_bytes(16 << 20)
///     .durability(Durability::Deferred)
///     .unique_technical_names(true)
///     .create(directory.path().join("catalog.shelf"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Options {
    cache_bytes: usize,
    pub(crate) durability: Durability,
    integrity: Integrity,
    concurrency: Concurrency,
    read_only: bool,
    quick_recovery: bool,
    commit_log: bool,
    commit_log_on: Option<Arc<dyn ByteStorage>>,
    discard_log: bool,
    pub(crate) unique_technical_names: Option<bool>,
    pub(crate) change_feed: Option<bool>,
    pub(crate) change_retention: ChangeRetention,
    pub(crate) atomic_bulk_bytes: usize,
    pub(crate) idempotency_expiry: Duration,
    pub(crate) backup_before_migration: Option<PathBuf>,
    pub(crate) undrop: Option<i64>,
    pub(crate) hooks: Vec<Arc<dyn Hook>>,
    pub(crate) environment: Environment,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hooks: Vec<&str> = self.hooks.iter().map(|hook| hook.name()).collect();
        f.debug_struct("Options")
            .field("redb", &self.redb())
            .field("durability", &self.durability)
            .field("unique_technical_names", &self.unique_technical_names)
            .field("change_feed", &self.change_feed)
            .field("undrop", &self.undrop)
            .field("hooks", &hooks)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            durability: Durability::Immediate,
            integrity: Integrity::Trust,
            concurrency: Concurrency::Exclusive,
            read_only: false,
            quick_recovery: false,
            commit_log: true,
            commit_log_on: None,
            discard_log: false,
            unique_technical_names: None,
            change_feed: None,
            change_retention: ChangeRetention::default(),
            atomic_bulk_bytes: 64 << 20,
            idempotency_expiry: Duration::from_secs(24 * 60 * 60),
            backup_before_migration: None,
            undrop: None,
            hooks: Vec::new(),
            environment: Environment::default(),
        }
    }
}

impl Options {
    /// The defaults, which each method names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Memory for cached pages, in bytes. 64 MiB by default: more pays off once the indexes that writes land in do not fit.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// When writes survive a crash. [`Durability::Immediate`] by default; a session may choose another.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How much is verified at open. [`Integrity::Trust`] by default.
    #[must_use]
    pub fn integrity(mut self, integrity: Integrity) -> Self {
        self.integrity = integrity;
        self
    }

    /// How processes may share the file. [`Concurrency::Exclusive`] by default.
    #[must_use]
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Refuses every write, and leaves the file untouched. Off by default.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Makes opening after a crash quick however large the file, at the cost of slower commits. Off by default.
    #[must_use]
    pub fn quick_recovery(mut self, quick: bool) -> Self {
        self.quick_recovery = quick;
        self
    }

    /// Whether small durable writes go to a log beside the file first, `<file>-log`, which makes them several times as fast. On by default; no log is used in a shared
    /// [`Concurrency`] or in memory. While the catalog is open, and after a crash, file and log only move together; closing brings the file up to date and removes
    /// the log, and [`Catalog::backup`] needs neither closing nor the log. A log that a crash left is applied when the file is next opened, whatever is chosen then.
    #[must_use]
    pub fn commit_log(mut self, on: bool) -> Self {
        self.commit_log = on;
        self
    }

    /// Where [`Options::create_backend_on`] and [`Options::open_backend_on`] keep the log. None by default, and then there is no log. Like the storage that it goes
    /// with it is used again when the catalog is reopened; what it holds when a catalog is created on an empty storage is lost.
    #[must_use]
    pub fn commit_log_on(mut self, storage: Arc<dyn ByteStorage>) -> Self {
        self.commit_log_on = Some(storage);
        self
    }

    /// Opens a file whose log is missing or damaged without what cannot be read of it: up to 16 MiB of acknowledged writes are lost. Off by default: such a file is `Corrupt`. A log
    /// that is sound is applied as ever.
    #[must_use]
    pub fn discard_log(mut self, discard: bool) -> Self {
        self.discard_log = discard;
        self
    }

    /// Whether technical names are unique under their parent, compared case-folded. Chosen at creation, stored in the file, `false` where nothing
    /// is chosen; opening with another value than the stored one is `OptionMismatch`.
    #[must_use]
    pub fn unique_technical_names(mut self, unique: bool) -> Self {
        self.unique_technical_names = Some(unique);
        self
    }

    /// Whether changes are recorded, for [`Session::changes`](crate::Session::changes). Chosen at creation, stored in the file, `false` where nothing
    /// is chosen. A file without a feed that is opened with `true` has one from then on: it tells what happens after that, and nothing of what was there; a shared
    /// [`Concurrency`] does not allow it (`Unsupported`), since other processes would go on without. Opening a file that has one with `false` is `OptionMismatch`.
    ///
    /// It costs each write a row, and a cascade a row for 4,096 sets.
    ///
    /// ```
    /// # use shelfmark::{Catalog, ErrorKind, Options};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("catalog.shelf");
    /// Catalog::create(&path)?;
    /// Options::new().change_feed(true).open(&path)?; // from here on
    /// assert!(Catalog::open(&path)?.session("acme", "ann")?.changes(None, 10)?.items.is_empty());
    /// let error = Options::new().change_feed(false).open(&path).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::OptionMismatch);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn change_feed(mut self, on: bool) -> Self {
        self.change_feed = Some(on);
        self
    }

    /// How long changes are kept. The last 1,000,000 of each tenant by default. Belongs to this opening of the catalog, not to the file; costs nothing without a
    /// change feed.
    #[must_use]
    pub fn change_retention(mut self, retention: ChangeRetention) -> Self {
        self.change_retention = retention;
        self
    }

    /// How many encoded bytes the entities of an all-or-nothing bulk creation, or of a [`Batch`](crate::Batch), may have, 64 MiB by default. In memory it takes several times as many until it is committed.
    #[must_use]
    pub fn atomic_bulk_bytes(mut self, bytes: usize) -> Self {
        self.atomic_bulk_bytes = bytes;
        self
    }

    /// How long the answer to a request with an [`IdempotencyKey`](crate::IdempotencyKey) is kept and given again, from the write on, in whole milliseconds; 24
    /// hours by default. What was recorded before keeps the expiry that it got. With zero nothing is ever given again.
    #[must_use]
    pub fn idempotency_expiry(mut self, expiry: Duration) -> Self {
        self.idempotency_expiry = expiry;
        self
    }

    /// Backs the catalog up to this path before a migration from an older format. None by default.
    #[must_use]
    pub fn backup_before_migration(mut self, path: impl Into<PathBuf>) -> Self {
        self.backup_before_migration = Some(path.into());
        self
    }

    /// Keeps what is deleted for this long, in whole milliseconds, rounded up: until then [`Write::restore`](crate::Write::restore) brings it back. Off by
    /// default, and then nothing is kept. Belongs to this opening of the catalog, not to the file: the retention of the opening that asks decides what has expired.
    ///
    /// Each deletion then reads and writes once more the rows that it takes, and sweeps a bounded number of rows whose retention is over. With a retention of zero it sweeps what it
    /// has just kept: a way to clear away what earlier openings kept.
    #[must_use]
    pub fn undrop(mut self, retention: Duration) -> Self {
        let millis = retention.as_nanos().div_ceil(1_000_000);
        self.undrop = Some(i64::try_from(millis).unwrap_or(i64::MAX));
        self
    }

    /// Registers a hook, behind those that are there. None by default. Hooks belong to this opening of the catalog, not to the file.
    #[must_use]
    pub fn hook(mut self, hook: Arc<dyn Hook>) -> Self {
        self.hooks.push(hook);
        self
    }

    /// Where time, ids and randomness come from: the system by default.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Makes a new file. A crash at any moment leaves either no file at `path` or a whole one; what it may leave beside it is a hidden file that ends in
    /// `.new`, which can be removed.
    ///
    /// # Errors
    ///
    /// `FileExists`, `FileMissing` for a missing directory, `ReadOnly`, `StorageFull`, `Io`.
    pub fn create(&self, path: impl AsRef<Path>) -> Result<Catalog> {
        let backend = RedbBackend::create(path.as_ref(), self.redb(), |new| format::initialize(new, self))?;
        self.on_initialized(Arc::new(backend))
    }

    /// Opens an existing file, recovers it if it was not closed cleanly, and migrates it if an older version wrote it.
    ///
    /// # Errors
    ///
    /// `FileMissing`, `NotACatalog`, `InUse`, `FormatTooNew`, `FormatTooOld` (read-only), `OptionMismatch`, `Corrupt`, `ReadOnly`, `NeedsRepair` (read-only), `Io`, `StorageFull`;
    /// `CommitUnknown` where a migration failed half-way: open again, which finds it done or does it.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Catalog> {
        self.on_initialized(Arc::new(RedbBackend::open(path.as_ref(), self.redb())?))
    }

    /// Opens the file, or makes it where there is none.
    ///
    /// # Errors
    ///
    /// Those of [`Options::open`] and [`Options::create`].
    pub fn open_or_create(&self, path: impl AsRef<Path>) -> Result<Catalog> {
        let path = path.as_ref();
        match self.open(path) {
            Err(error) if error.kind() == ErrorKind::FileMissing && !self.read_only => {
                match self.create(path) {
                    // Another thread or process was faster.
                    Err(error) if error.kind() == ErrorKind::FileExists => self.open(path),
                    outcome => outcome,
                }
            }
            outcome => outcome,
        }
    }

    /// A catalog in memory, gone when it is dropped.
    ///
    /// # Errors
    ///
    /// `Unsupported` together with `read_only` or a shared [`Concurrency`]; `Io` where the system gives no random bytes.
    pub fn in_memory(&self) -> Result<Catalog> {
        let backend = RedbBackend::in_memory(self.redb(), |new| format::initialize(new, self))?;
        self.on_initialized(Arc::new(backend))
    }

    /// A catalog on any backend: what it holds is opened, an empty one is made a catalog. Options of the file are the backend's own affair.
    ///
    /// # Errors
    ///
    /// Those of [`Options::open`], as far as they can come.
    pub fn on_backend(&self, backend: Arc<dyn Backend>) -> Result<Catalog> {
        if backend.limits().writable && format::is_blank(&*backend.snapshot()?)? {
            format::initialize(&*backend, self)?;
        }
        self.on_initialized(backend)
    }

    /// The built-in backend over a new, blank file: to be wrapped, then given to [`Options::on_backend`].
    ///
    /// # Errors
    ///
    /// Those of [`Options::create`].
    pub fn create_backend(&self, path: impl AsRef<Path>) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(RedbBackend::create(path.as_ref(), self.redb(), |_| {
            Ok(())
        })?))
    }

    /// The built-in backend over an existing file: to be wrapped, then given to [`Options::on_backend`].
    ///
    /// # Errors
    ///
    /// Those of [`Options::open`] that concern the file itself.
    pub fn open_backend(&self, path: impl AsRef<Path>) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(RedbBackend::open(path.as_ref(), self.redb())?))
    }

    /// The built-in backend over a storage of the caller's, empty as yet: to be given to [`Options::on_backend`]. A crash before that returns leaves a storage
    /// that may not open again: empty it, and begin anew.
    ///
    /// # Errors
    ///
    /// `FileExists` where the storage is not empty, `Unsupported` together with `read_only` or a shared [`Concurrency`], `StorageFull`, `Io`.
    pub fn create_backend_on(&self, storage: Arc<dyn ByteStorage>) -> Result<Arc<dyn Backend>> {
        let log = self.commit_log_on.clone();
        let backend = RedbBackend::create_on(storage, log, self.redb(), |_| Ok(()))?;
        Ok(Arc::new(backend))
    }

    /// The built-in backend over what a storage of the caller's holds: to be given to [`Options::on_backend`].
    ///
    /// # Errors
    ///
    /// `FileMissing` where the storage is empty, `Unsupported` together with `read_only` or a shared [`Concurrency`], `NotACatalog`, also for what a creation or a
    /// backup left that was cut off, `Corrupt`, `Io`.
    pub fn open_backend_on(&self, storage: Arc<dyn ByteStorage>) -> Result<Arc<dyn Backend>> {
        let log = self.commit_log_on.clone();
        let backend = RedbBackend::open_on(storage, log, self.redb())?;
        // Where nothing is renamed, a copy that was cut off would otherwise pass for an empty catalog.
        if format::is_blank(&*backend.snapshot()?)? {
            let message = "the storage holds no catalog: a creation or a backup on it was cut off; empty it, and begin anew";
            return Err(Error::new(ErrorKind::NotACatalog, message));
        }
        Ok(Arc::new(backend))
    }

    /// The built-in backend in memory, blank: to be wrapped, then given to [`Options::on_backend`].
    ///
    /// # Errors
    ///
    /// Those of [`Options::in_memory`].
    pub fn in_memory_backend(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(RedbBackend::in_memory(self.redb(), |_| Ok(()))?))
    }

    fn on_initialized(&self, backend: Arc<dyn Backend>) -> Result<Catalog> {
        format::open(backend, self)
    }

    fn redb(&self) -> RedbOptions {
        RedbOptions {
            cache_bytes: self.cache_bytes,
            integrity: self.integrity,
            concurrency: self.concurrency,
            read_only: self.read_only,
            quick_repair: self.quick_recovery,
            commit_log: self.commit_log,
            discard_log: self.discard_log,
        }
    }
}

/// An empty storage for a backup, filled by `fill`.
pub(crate) fn new_on(
    storage: Arc<dyn ByteStorage>,
    fill: impl FnOnce(&dyn Backend) -> Result<()>,
) -> Result<()> {
    RedbBackend::create_on(storage, None, Options::new().redb(), |new| fill(new)).map(drop)
}

/// A new file for a backup, filled by `fill`.
pub(crate) fn new_file(path: &Path, fill: impl FnOnce(&dyn Backend) -> Result<()>) -> Result<()> {
    RedbBackend::create(path, Options::new().redb(), |new| fill(new)).map(drop)
}
