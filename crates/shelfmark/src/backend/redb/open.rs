//! Opens and closes the file, and says what is wrong with one that cannot be opened.

use std::cell::Cell;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::backends::{FileBackend, InMemoryBackend};
use ::redb::{Builder, ConcurrencyMode, DatabaseError, ReadableDatabase, StorageBackend, StorageError};

use super::RedbOptions;
use super::failure::{Latch, from_io, from_redb, guard};
use super::log::{self, CommitLog, Medium};
use super::snapshot::View;
use crate::backend::{ByteStorage, Concurrency, Health, Integrity};
use crate::error::{Error, ErrorKind, Result};

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Storage {
    File(PathBuf),
    Memory(SharedMemory),
    Bytes(Arc<dyn ByteStorage>),
}

impl Storage {
    pub(super) fn size(&self) -> Result<u64> {
        match self {
            Storage::File(path) => fs::metadata(path).map(|metadata| metadata.len()).map_err(from_io),
            Storage::Memory(memory) => memory.len().map_err(from_io),
            Storage::Bytes(bytes) => bytes.len().map_err(from_io),
        }
    }

    /// The first bytes, as many as `out` takes; whether there are that many.
    fn head(&self, out: &mut [u8]) -> bool {
        match self {
            Storage::File(path) => File::open(path).and_then(|mut file| file.read_exact(out)).is_ok(),
            Storage::Memory(memory) => memory.read(0, out).is_ok(),
            Storage::Bytes(bytes) => bytes.read(0, out).is_ok(),
        }
    }
}

/// What messages call it.
impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Storage::File(path) => path.display().fmt(f),
            Storage::Memory(_) => f.write_str("the memory"),
            Storage::Bytes(_) => f.write_str("the storage"),
        }
    }
}

/// A storage of the caller's, as redb takes it. It has no locks: redb does without them in its exclusive mode.
#[derive(Debug)]
pub(super) struct Bytes(pub(super) Arc<dyn ByteStorage>);

impl StorageBackend for Bytes {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Memory that outlives the engine on it, so that reopening finds what was there.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedMemory(Arc<InMemoryBackend>);

impl StorageBackend for SharedMemory {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// An open file with what latches it.
pub(super) struct Engine {
    pub(super) database: Database,
    pub(super) latch: Arc<Latch>,
}

pub(super) enum Database {
    /// Shared only with a commit under way.
    Writable(Arc<::redb::Database>),
    ReadOnly(::redb::ReadOnlyDatabase),
}

impl Engine {
    /// Opens what `storage` holds, up to date with the log that may be beside it; `create` allows an empty one.
    pub(super) fn open(storage: &Storage, log: &Medium, options: &RedbOptions, create: bool) -> Result<Self> {
        let engine = Self {
            database: open_database(storage, options, create)?,
            latch: Arc::default(),
        };
        let usable = engine
            .begin_view()
            .and_then(|view| view.check_tables())
            .and_then(|()| engine.recover(log, options));
        if let Err(error) = usable {
            engine.release();
            return Err(error);
        }
        tracing::debug!(read_only = options.read_only, concurrency = ?options.concurrency, "opened the file");
        Ok(engine)
    }

    fn recover(&self, log: &Medium, options: &RedbOptions) -> Result<()> {
        match &self.database {
            Database::Writable(database) => CommitLog::recover(log, database, options),
            Database::ReadOnly(database) => {
                let transaction = guard(|| database.begin_read().map_err(from_redb))?;
                CommitLog::check_none(&transaction)
            }
        }
    }

    pub(super) fn begin_view(&self) -> Result<View> {
        let transaction = self.latch.call(|| {
            match &self.database {
                Database::Writable(database) => database.begin_read(),
                Database::ReadOnly(database) => database.begin_read(),
            }
            .map_err(from_redb)
        });
        match (transaction, &self.database) {
            (Ok(transaction), _) => Ok(View::new(transaction, Arc::clone(&self.latch))),
            (Err(error), Database::Writable(database)) => {
                probe(database, &self.latch, &error);
                Err(error)
            }
            (Err(error), Database::ReadOnly(_)) => Err(error),
        }
    }

    /// Closes the file, with its log where it has one, and releases its lock. Snapshots that are still held fail from now on. Whether all that was written is
    /// on the medium.
    pub(super) fn close(self, log: &mut CommitLog, options: &RedbOptions) -> bool {
        let mut whole = self.latch.health() == Health::Healthy;
        if let Database::Writable(database) = &self.database
            && whole
        {
            whole = log.close(database, options.quick_repair);
        }
        self.release() && whole
    }

    /// Whether it was closed cleanly.
    fn release(self) -> bool {
        let closed = guard(|| match self.database {
            Database::Writable(database) => match Arc::into_inner(database) {
                Some(database) => database.close().map_err(from_redb),
                None => Ok(()),
            },
            Database::ReadOnly(database) => database.close().map_err(from_redb),
        });
        if let Err(error) = &closed {
            tracing::warn!(kind = %error.kind(), "the file was not closed cleanly and is recovered when next opened");
        }
        closed.is_ok()
    }
}

/// Writes every page of the file again, over itself, and syncs it.
///
/// Where a sync fails, Linux takes what it could not write for written: reads go on showing it and no later sync writes it, until the machine starts anew without it. A
/// commit on top of such pages would be lost with them.
pub(super) fn write_again(storage: &Storage, options: &RedbOptions) -> Result<()> {
    match storage {
        Storage::Memory(_) => Ok(()),
        Storage::Bytes(bytes) => write_again_on(&Bytes(Arc::clone(bytes))).map_err(from_io),
        // What other processes have written since must not be taken back.
        Storage::File(_) if options.read_only || options.concurrency != Concurrency::Exclusive => Ok(()),
        Storage::File(path) => {
            let opened = File::options().read(true).write(true).open(path);
            let file = opened.map_err(|error| from_open_io(error, storage, false))?;
            log::lock(&file).map_err(|error| match error.kind() {
                io::ErrorKind::ResourceBusy => from_open(DatabaseError::DatabaseAlreadyOpen, storage, false),
                _ => from_io(error),
            })?;
            FileBackend::new(file)
                .map_err(|error| from_open(error, storage, false))
                .and_then(|file| write_again_on(&file).map_err(from_io))
        }
    }
}

fn write_again_on(storage: &dyn StorageBackend) -> io::Result<()> {
    const PAGE: usize = 4 << 10;
    const ZERO: [u8; PAGE] = [0; PAGE];
    let len = storage.len()?;
    let mut read = vec![0; (256 * PAGE).min(usize::try_from(len).unwrap_or(usize::MAX))];
    let mut at = 0;
    while at < len {
        let part = (len - at).min(read.len() as u64) as usize;
        storage.read(at, &mut read[..part])?;
        let pages = (at..).step_by(PAGE).zip(read[..part].chunks(PAGE));
        // Of a page that was never written there may be no room on the medium.
        for (at, page) in pages.filter(|(_, page)| **page != ZERO[..page.len()]) {
            storage.write(at, page)?;
        }
        at += part as u64;
    }
    storage.sync_data()
}

/// Latches when redb takes no more writes after `error`. Asking redb itself is better than guessing from the error: not every failure
/// stops it.
pub(super) fn probe(database: &::redb::Database, latch: &Latch, error: &Error) {
    let refused = guard(|| match database.try_begin_write() {
        Ok(transaction) => transaction.abort().map_err(from_redb),
        Err(::redb::TransactionError::WouldBlock) => Ok(()),
        Err(error) => Err(from_redb(error)),
    });
    if refused.is_err() {
        latch.set(error);
    }
}

fn open_database(storage: &Storage, options: &RedbOptions, create: bool) -> Result<Database> {
    if options.read_only && options.integrity == Integrity::Verify {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a file opened read-only cannot be verified as a whole: open it writable, or run a check",
        ));
    }
    match storage {
        Storage::File(path) if !create => check_is_file(path, options.read_only)?,
        Storage::Bytes(bytes) => check_fits(&**bytes, options, create)?,
        _ => {}
    }
    let builder = builder(options);
    let opened = guard(|| {
        let opened = match storage {
            Storage::File(path) if options.read_only => builder.open_read_only(path).map(Database::ReadOnly),
            Storage::File(path) if create => builder.create(path).map(Arc::new).map(Database::Writable),
            Storage::File(path) => builder.open(path).map(Arc::new).map(Database::Writable),
            Storage::Memory(memory) => builder
                .create_with_backend(memory.clone())
                .map(Arc::new)
                .map(Database::Writable),
            Storage::Bytes(bytes) => builder
                .create_with_backend(Bytes(Arc::clone(bytes)))
                .map(Arc::new)
                .map(Database::Writable),
        };
        opened.map_err(|error| from_open(error, storage, options.read_only))
    });
    if let Err(error) = &opened {
        tracing::debug!(kind = %error.kind(), "the file could not be opened");
    }
    opened
}

fn builder(options: &RedbOptions) -> Builder {
    let RedbOptions {
        cache_bytes,
        integrity,
        concurrency,
        read_only: _,
        quick_repair: _,
        commit_log: _,
        discard_log: _,
    } = options;
    let verify = *integrity == Integrity::Verify;
    let mut builder = Builder::new();
    builder
        .set_cache_size(*cache_bytes)
        .set_check_integrity_on_open(verify)
        .set_concurrency_mode(match concurrency {
            Concurrency::Exclusive => ConcurrencyMode::ExclusiveWriter,
            Concurrency::SingleWriter => ConcurrencyMode::SingleWriter,
            Concurrency::MultiWriter => ConcurrencyMode::MultiWriter,
        });
    let said = Cell::new(false);
    builder.set_repair_callback(move |_| {
        if said.replace(true) {
            return;
        }
        if verify {
            tracing::debug!("verifying the whole file");
        } else {
            tracing::warn!("the file was not closed cleanly: recovering it");
        }
    });
    builder
}

fn check_is_file(path: &Path, read_only: bool) -> Result<()> {
    let metadata = fs::metadata(path).map_err(|error| from_open_io(error, &path.display(), read_only))?;
    if metadata.is_file() {
        return Ok(());
    }
    let what = if metadata.is_dir() {
        "a directory"
    } else {
        "not a regular file"
    };
    Err(Error::new(
        ErrorKind::NotACatalog,
        format!("{} is {what}: give the path of a catalog file", path.display()),
    ))
}

/// Refuses what a storage of the caller's cannot do, and one that is empty, or is not, against what `create` says.
fn check_fits(bytes: &dyn ByteStorage, options: &RedbOptions, create: bool) -> Result<()> {
    if options.read_only || options.concurrency != Concurrency::Exclusive {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a storage without locks is writable and belongs to one process: leave these options alone",
        ));
    }
    match bytes.is_empty().map_err(from_io)? {
        true if !create => Err(Error::new(
            ErrorKind::FileMissing,
            "the storage is empty: create a catalog on it",
        )),
        false if create => Err(Error::new(
            ErrorKind::FileExists,
            "the storage holds bytes already: open it, or empty it",
        )),
        _ => Ok(()),
    }
}

/// An error of opening.
fn from_open(error: DatabaseError, storage: &Storage, read_only: bool) -> Error {
    let name = storage;
    let (kind, message) = match error {
        DatabaseError::Storage(StorageError::Io(error)) => return from_open_io(error, storage, read_only),
        DatabaseError::Storage(StorageError::Corrupted(_)) if has_newer_format(storage) => (
            ErrorKind::FormatTooNew,
            format!("{name} was written by a newer version of this crate: upgrade the crate"),
        ),
        DatabaseError::Storage(StorageError::Corrupted(_)) => (
            ErrorKind::Corrupt,
            format!("{name} is truncated or damaged: restore a backup"),
        ),
        DatabaseError::RepairAborted => (
            ErrorKind::NeedsRepair,
            format!("{name} was not closed cleanly: open it writable once, which recovers it"),
        ),
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => (
            ErrorKind::InUse,
            format!(
                "{name} is open in another process, or in another handle of this one: close it there first"
            ),
        ),
        error => return from_redb(error),
    };
    Error::new(kind, message).because(from_redb(error))
}

/// What the operating system said to opening `name`.
pub(super) fn from_open_io(error: io::Error, name: &dyn fmt::Display, read_only: bool) -> Error {
    let (kind, message) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => (
            ErrorKind::FileMissing,
            format!("there is no file {name}: create a catalog, or correct the path"),
        ),
        io::ErrorKind::IsADirectory => (
            ErrorKind::NotACatalog,
            format!("{name} is a directory: give the path of a catalog file"),
        ),
        // redb's own answer to an empty file and to one without its magic number.
        io::ErrorKind::InvalidData => (
            ErrorKind::NotACatalog,
            format!(
                "{name} is not a catalog file: correct the path, and remove the file if a creation left it"
            ),
        ),
        io::ErrorKind::UnexpectedEof => (
            ErrorKind::Corrupt,
            format!("{name} is truncated: restore a backup"),
        ),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem if !read_only => (
            ErrorKind::ReadOnly,
            format!("{name} or its directory cannot be written: grant the permission, or open it read-only"),
        ),
        io::ErrorKind::PermissionDenied => (
            ErrorKind::Io,
            format!("{name} may not be read: grant the permission"),
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            return from_io(error);
        }
        _ => (ErrorKind::Io, format!("{name} cannot be opened")),
    };
    Error::new(kind, message).because(error)
}

/// redb calls a file of a later format corrupt. Its header holds the format twice, at the start of both commit slots.
fn has_newer_format(storage: &Storage) -> bool {
    const KNOWN: u8 = 3;
    const SLOTS: [usize; 2] = [64, 192];
    let mut header = [0; 320];
    storage.head(&mut header)
        && SLOTS.iter().all(|&slot| header[slot] > KNOWN)
        && header[SLOTS[0]] == header[SLOTS[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_the_operating_system_say_what_to_do() {
        use io::ErrorKind as Os;
        let path = Path::new("/catalogs/one");
        for (os, read_only, kind) in [
            (Os::NotFound, false, ErrorKind::FileMissing),
            (Os::NotADirectory, true, ErrorKind::FileMissing),
            (Os::IsADirectory, false, ErrorKind::NotACatalog),
            (Os::InvalidData, false, ErrorKind::NotACatalog),
            (Os::UnexpectedEof, false, ErrorKind::Corrupt),
            (Os::PermissionDenied, false, ErrorKind::ReadOnly),
            (Os::PermissionDenied, true, ErrorKind::Io),
            (Os::ReadOnlyFilesystem, false, ErrorKind::ReadOnly),
            (Os::StorageFull, false, ErrorKind::StorageFull),
            (Os::Other, false, ErrorKind::Io),
        ] {
            let error = from_open_io(io::Error::from(os), &path.display(), read_only);
            assert_eq!(error.kind(), kind, "{os:?}");
            assert!(std::error::Error::source(&error).is_some());
            assert!(
                kind == ErrorKind::StorageFull || error.to_string().contains("/catalogs/one"),
                "{error}"
            );
        }
    }
}
