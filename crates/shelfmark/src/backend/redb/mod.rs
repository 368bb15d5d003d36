//! The catalog in one file, or in memory, through redb. No type of redb leaves this folder.
//!
//! One lock orders what writes: commits, `sync`, maintenance and reopening hold `writer`. The engine sits in `slot`; readers hold it shared
//! for as long as it takes to begin a view, and only maintenance and reopening hold it exclusively, both after `writer`. A commit holds
//! no lock on `slot` while a caller's closure runs, so the closure may take snapshots.

mod apply;
mod beginnings;
mod compact;
mod failure;
mod log;
mod milestones;
mod open;
mod packed;
mod place;
mod snapshot;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ::redb::WriteTransaction;

use self::apply::Unreadable;
use self::failure::{Latch, from_commit, from_redb, guard, unavailable};
use self::log::{CommitLog, Medium, Route};
use self::open::{Database, Engine, SharedMemory, Storage, probe, write_again};
use self::place::NewFile;
use self::snapshot::{HeldSnapshot, OpenSnapshots, View, ViewCache};
use super::{
    Backend, BackendActivity, BackendStats, ByteStorage, CommitOptions, Durability, Health, Limits,
    Maintenance, MaintenanceReport, Snapshot, WriteBatch,
};
use crate::backend::{Concurrency, Integrity};
use crate::error::{Error, ErrorKind, Result};

/// redb's bound on a value, 3 GiB; with the bound on keys it stays below redb's on a pair.
const MAX_VALUE: u64 = 3 << 30;
const MAX_KEY: u64 = 512 << 20;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RedbOptions {
    /// Memory for cached pages, in bytes.
    pub(crate) cache_bytes: usize,
    /// How much is verified at open.
    pub(crate) integrity: Integrity,
    /// How processes may share the file.
    pub(crate) concurrency: Concurrency,
    /// Refuses writes, and leaves the file untouched.
    pub(crate) read_only: bool,
    /// Records in every durable commit what recovery needs, so that opening after a crash is quick and commits are slow.
    pub(crate) quick_repair: bool,
    /// Writes small durable commits to a log beside the file.
    pub(crate) commit_log: bool,
    /// Opens the file without what its log holds.
    pub(crate) discard_log: bool,
}

/// A [`Backend`] on redb.
pub(crate) struct RedbBackend {
    storage: Storage,
    log: Medium,
    options: RedbOptions,
    writer: Mutex<CommitLog>,
    /// `None` after a reopening that failed.
    slot: RwLock<Option<Engine>>,
    cache: ViewCache,
    open: Arc<OpenSnapshots>,
    commits: AtomicU64,
}

/// The engine as a commit holds it.
struct Writer {
    database: Arc<::redb::Database>,
    latch: Arc<Latch>,
}

impl RedbBackend {
    /// Makes a new file, filled by `fill`, and never replaces one. The file is under a temporary name in the same directory until all
    /// of it is durable; after an error nothing is left.
    pub(crate) fn create(
        path: &Path,
        options: RedbOptions,
        fill: impl FnOnce(&RedbBackend) -> Result<()>,
    ) -> Result<Self> {
        if options.read_only {
            return Err(Error::new(
                ErrorKind::ReadOnly,
                "a new file cannot be read-only: open it writable",
            ));
        }
        // Declared first, so that the file is closed before it is removed.
        let file = NewFile::beside(path)?;
        let mut backend = Self::start(
            Storage::File(file.temporary().to_owned()),
            Medium::None,
            options,
            true,
        )?;
        fill(&backend)?;
        backend.sync()?;
        let path = file.publish()?;
        backend.log_to(Medium::beside(&path));
        backend.storage = Storage::File(path);
        Ok(backend)
    }

    /// Opens a file that is there.
    pub(crate) fn open(path: &Path, options: RedbOptions) -> Result<Self> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let log = Medium::beside(&path);
        Self::start(Storage::File(path), log, options, false)
    }

    /// Fills an empty storage, and opens what it is then. Without a storage for the log there is none.
    pub(crate) fn create_on(
        storage: Arc<dyn ByteStorage>,
        log: Option<Arc<dyn ByteStorage>>,
        options: RedbOptions,
        fill: impl FnOnce(&RedbBackend) -> Result<()>,
    ) -> Result<Self> {
        let mut backend = Self::start(Storage::Bytes(storage), Medium::None, options, true)?;
        fill(&backend)?;
        backend.sync()?;
        backend.log_to(log.map_or(Medium::None, Medium::Bytes));
        Ok(backend)
    }

    /// Opens a storage that is not empty.
    pub(crate) fn open_on(
        storage: Arc<dyn ByteStorage>,
        log: Option<Arc<dyn ByteStorage>>,
        options: RedbOptions,
    ) -> Result<Self> {
        let log = log.map_or(Medium::None, Medium::Bytes);
        Self::start(Storage::Bytes(storage), log, options, false)
    }

    /// Makes a catalog that goes with the backend.
    pub(crate) fn in_memory(
        options: RedbOptions,
        fill: impl FnOnce(&RedbBackend) -> Result<()>,
    ) -> Result<Self> {
        if options.read_only || options.concurrency != Concurrency::Exclusive {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a catalog in memory is writable and belongs to one process: leave these options alone",
            ));
        }
        let backend = Self::start(
            Storage::Memory(SharedMemory::default()),
            Medium::None,
            options,
            true,
        )?;
        fill(&backend)?;
        Ok(backend)
    }

    fn start(storage: Storage, log: Medium, options: RedbOptions, create: bool) -> Result<Self> {
        let engine = Engine::open(&storage, &log, &options, create)?;
        Ok(Self {
            storage,
            writer: Mutex::new(new_log(&log, &options)),
            log,
            options,
            slot: RwLock::new(Some(engine)),
            cache: ViewCache::default(),
            open: Arc::default(),
            commits: AtomicU64::new(0),
        })
    }

    /// Gives a new file, which has made none yet, a log.
    fn log_to(&mut self, log: Medium) {
        *self.writer.get_mut().unwrap_or_else(PoisonError::into_inner) = new_log(&log, &self.options);
        self.log = log;
    }

    fn is_exclusive(&self) -> bool {
        self.options.concurrency == Concurrency::Exclusive
    }

    fn lock_writer(&self) -> MutexGuard<'_, CommitLog> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_engine<T>(&self, call: impl FnOnce(&Engine) -> Result<T>) -> Result<T> {
        match &*self.slot.read().unwrap_or_else(PoisonError::into_inner) {
            Some(engine) => call(engine),
            None => Err(closed()),
        }
    }

    fn hold(&self) -> Result<HeldSnapshot> {
        self.with_engine(|engine| {
            // Before the view is taken, so that no view is out without a ticket.
            let ticket = self.open.register();
            let view = if self.is_exclusive() {
                self.cache.get().or_else(|epoch| {
                    let view = Arc::new(engine.begin_view()?);
                    Ok::<_, Error>(self.cache.offer(view, epoch))
                })?
            } else {
                Arc::new(engine.begin_view()?)
            };
            Ok(HeldSnapshot {
                view,
                _ticket: ticket,
            })
        })
    }

    /// The view that a plan sees, taken while no other commit can begin.
    fn view_for_plan(&self) -> Result<Arc<View>> {
        match self.cache.get() {
            Ok(view) => Ok(view),
            // Not offered to the cache: where nobody reads, it would only keep pages from being reused.
            Err(_) => self.with_engine(|engine| engine.begin_view().map(Arc::new)),
        }
    }

    /// The engine, if it takes writes.
    fn writable(&self) -> Result<Writer> {
        self.with_engine(|engine| match &engine.database {
            Database::ReadOnly(_) => Err(read_only()),
            Database::Writable(database) => {
                engine.latch.check()?;
                Ok(Writer {
                    database: Arc::clone(database),
                    latch: Arc::clone(&engine.latch),
                })
            }
        })
    }

    /// Commits a batch on the route that the log gives it.
    fn write(
        &self,
        writer: &Writer,
        log: &mut CommitLog,
        mut transaction: WriteTransaction,
        batch: WriteBatch,
        deferred: bool,
    ) -> Result<()> {
        let bytes = batch.bytes();
        let (spaces, deltas) = batch.into_spaces();
        let prepared = writer.latch.call(|| {
            let mut route = log.route(deferred, bytes, &spaces, &deltas);
            apply::apply(&transaction, spaces, deltas, Unreadable::Refused)?;
            log.prepare(&mut route, &mut transaction)?;
            Ok(route)
        });
        let route = match prepared {
            Ok(route) => route,
            Err(error) => {
                writer.abort(transaction);
                return writer.fail(error);
            }
        };
        if let Err(error) = guard(|| log.append(&route)) {
            writer.abort(transaction);
            let error = in_doubt(error);
            writer.latch.set(&error);
            return Err(error);
        }
        transaction.set_quick_repair(self.options.quick_repair && route.is_durable_in_file());
        match (self.finish(writer, transaction), &route) {
            (Ok(()), _) => {
                log.committed(route);
                Ok(())
            }
            // The log has what the engine has not.
            (Err(error), Route::Log { .. }) => {
                let error = Error::new(
                    ErrorKind::CommitUnknown,
                    "the commit is in the log, but not in the engine: reopen, then read",
                )
                .because(error);
                writer.latch.set(&error);
                Err(error)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn finish(&self, writer: &Writer, transaction: WriteTransaction) -> Result<()> {
        let window = self.cache.commit();
        let committed = guard(|| transaction.commit().map_err(from_commit));
        drop(window);
        committed.or_else(|error| writer.fail(in_doubt(error)))
    }

    /// Makes the file hold all that was committed. A durable commit takes with it every one before it, also when it changes nothing itself.
    fn flush(&self, writer: &Writer, log: &mut CommitLog) -> Result<()> {
        let mut transaction = writer.begin()?;
        transaction.set_quick_repair(self.options.quick_repair);
        self.finish(writer, transaction)?;
        log.committed(Route::File);
        Ok(())
    }

    /// Runs `work` on the engine while nobody else has it or a snapshot of it.
    fn alone(
        &self,
        what: &str,
        work: impl FnOnce(&mut ::redb::Database) -> Result<bool>,
    ) -> Result<MaintenanceReport> {
        let mut log = self.lock_writer();
        // Twice, so that the state to which the engine may fall back from damage is no older one.
        if log.unlogged() || log.is_active() {
            let writer = self.writable()?;
            log.close(&writer.database, self.options.quick_repair);
            self.flush(&writer, &mut log)?;
            self.flush(&writer, &mut log)?;
        }
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        let engine = slot.as_mut().ok_or_else(closed)?;
        let Database::Writable(database) = &mut engine.database else {
            return Err(read_only());
        };
        engine.latch.check()?;
        let (open, _) = self.open.figures();
        let Some(alone) = Arc::get_mut(database).filter(|_| open == 0) else {
            return Err(Error::busy(open, what));
        };
        self.cache.clear();
        let size_before = self.storage.size()?;
        let worked = guard(|| work(alone));
        if let Err(error) = &worked {
            probe(alone, &engine.latch, error);
        }
        let intact = worked?;
        let size_after = self.storage.size()?;
        tracing::debug!(what, size_before, size_after, intact, "maintained the file");
        Ok(MaintenanceReport::new(size_before, size_after, intact))
    }
}

impl Writer {
    fn begin(&self) -> Result<WriteTransaction> {
        self.latch
            .call(|| self.database.begin_write().map_err(from_redb))
            .or_else(|error| self.fail(error))
    }

    fn abort(&self, transaction: WriteTransaction) {
        if let Err(error) = self.latch.call(|| transaction.abort().map_err(from_redb)) {
            probe(&self.database, &self.latch, &error);
        }
    }

    /// The error, once it is known whether redb goes on. No transaction may be open.
    fn fail<T>(&self, error: Error) -> Result<T> {
        probe(&self.database, &self.latch, &error);
        Err(error)
    }
}

impl Backend for RedbBackend {
    fn limits(&self) -> Limits {
        Limits {
            max_key: usize::try_from(MAX_KEY).unwrap_or(usize::MAX),
            max_value: usize::try_from(MAX_VALUE).unwrap_or(usize::MAX),
            exclusive: self.is_exclusive(),
            deferred_durability: self.is_exclusive() && !self.options.read_only,
            writable: !self.options.read_only,
        }
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(self.hold()?))
    }

    fn commit(
        &self,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()> {
        if self.options.read_only {
            return Err(read_only());
        }
        let deferred = options.durability == Durability::Deferred;
        if deferred && !self.is_exclusive() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "deferred durability does not work in a file that processes share: commit durably",
            ));
        }
        let mut log = self.lock_writer();
        let writer = self.writable()?;
        let transaction = writer.begin()?;
        let view = match self.view_for_plan() {
            Ok(view) => view,
            Err(error) => {
                writer.abort(transaction);
                return Err(error);
            }
        };
        // Aborted before the panic goes on: a transaction that is dropped while unwinding leaks its pages.
        let planned = catch_unwind(AssertUnwindSafe(|| plan(&*view)));
        drop(view);
        let batch = match planned {
            Ok(Ok(batch)) if !batch.is_empty() => batch,
            Ok(unchanged) => {
                writer.abort(transaction);
                return unchanged.map(|_| ());
            }
            Err(panic) => {
                writer.abort(transaction);
                resume_unwind(panic)
            }
        };
        self.write(&writer, &mut log, transaction, batch, deferred)?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        let mut log = self.lock_writer();
        let writer = self.writable()?;
        // What is logged is durable.
        if log.is_active() && !log.unlogged() {
            return Ok(());
        }
        self.flush(&writer, &mut log)
    }

    fn health(&self) -> Health {
        self.with_engine(|engine| Ok(engine.latch.health()))
            .unwrap_or_else(|error| Health::Latched {
                reason: error.to_string(),
            })
    }

    fn reopen(&self) -> Result<()> {
        let mut log = self.lock_writer();
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        self.cache.clear();
        let whole = slot
            .take()
            .is_some_and(|engine| engine.close(&mut log, &self.options));
        if !whole {
            write_again(&self.storage, &self.options)?;
        }
        *slot = Some(Engine::open(&self.storage, &self.log, &self.options, false)?);
        *log = new_log(&self.log, &self.options);
        tracing::debug!("reopened the file");
        Ok(())
    }

    fn activity(&self) -> BackendActivity {
        BackendActivity {
            open_snapshots: Some(self.open.figures().0),
            commits: Some(self.commits.load(Ordering::Relaxed)),
        }
    }

    /// Walks the whole file.
    fn stats(&self) -> Result<BackendStats> {
        let (open_snapshots, oldest_snapshot) = self.open.figures();
        let held = self.hold()?;
        let (stored, packed) = held.view.stored_bytes()?;
        let size = self.storage.size()?;
        Ok(BackendStats {
            size_bytes: Some(size),
            stored_bytes: Some(stored),
            fragmented_bytes: Some(size.saturating_sub(packed)),
            open_snapshots,
            oldest_snapshot,
            commits: self.commits.load(Ordering::Relaxed),
        })
    }

    fn maintain(&self, what: Maintenance) -> Result<MaintenanceReport> {
        match what {
            Maintenance::Compact => {
                self.alone("compact", |database| compact::compact(database).map(|()| true))
            }
            Maintenance::Verify => {
                self.alone("verify", |database| database.check_integrity().map_err(from_redb))
            }
        }
    }
}

impl Drop for RedbBackend {
    fn drop(&mut self) {
        self.cache.clear();
        if let Some(engine) = self.slot.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let log = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
            engine.close(log, &self.options);
        }
    }
}

fn read_only() -> Error {
    Error::new(
        ErrorKind::ReadOnly,
        "the catalog was opened read-only: open it writable",
    )
}

/// The log of a file as it is when it has just been opened. Only who has the file alone may keep commits in memory.
fn new_log(medium: &Medium, options: &RedbOptions) -> CommitLog {
    let on = options.commit_log && !options.read_only && options.concurrency == Concurrency::Exclusive;
    CommitLog::new(medium.clone(), on, options.quick_repair)
}

/// The error of a commit that failed half-way: a panic there leaves as much in doubt as an error does.
fn in_doubt(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => Error::new(
            ErrorKind::CommitUnknown,
            "the commit met damaged pages and may or may not have become durable: reopen, then read",
        )
        .because(error),
        _ => error,
    }
}

fn closed() -> Error {
    unavailable("the last reopening failed")
}
