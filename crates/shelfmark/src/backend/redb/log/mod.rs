//! The log beside the file: a small durable commit is written there and synced, and reaches the file later, with many others
//! (docs/decisions/0006-commit-log.md has the invariants).

mod record;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::backends::FileBackend;
use ::redb::{
    Database, Durability, ReadTransaction, ReadableTable, StorageBackend, TableDefinition, TableError,
    WriteTransaction,
};
use xxhash_rust::xxh3::xxh3_64;

use super::RedbOptions;
use super::apply::{self, Unreadable};
use super::failure::{from_commit, from_io, from_redb, guard};
use super::open::Bytes;
use super::place::sync_directory;
use crate::backend::{ByteStorage, Keyspace, SpaceBatch, WriteBatch};
use crate::error::{Error, ErrorKind, Result};

/// How long a log becomes before the file takes over what is in it.
const LIMIT: u64 = 16 << 20;
/// Where the file is to be recovered quickly, so that applying a whole log takes no longer than some milliseconds.
const QUICK_LIMIT: u64 = 1 << 20;
/// A new log has this many bytes. They are written, so that syncing a record changes no metadata of a file system.
const FIRST_LEN: u64 = 64 << 10;
/// The part of the limit that one record may take.
const RECORDS: u64 = 4;
/// No log is longer, whichever version wrote it.
const MAX_LEN: u64 = 1 << 30;
/// What a log begins with.
const MAGIC: &[u8; 16] = b"shelfmark log 1\n";
/// Where its first record begins.
const FIRST_RECORD: u64 = record::SECTOR as u64;

/// In the file: which log goes with it, and how far it has been applied.
const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new(TABLE_NAME);
pub(super) const TABLE_NAME: &str = "commit_log";
const KEY: &[u8] = b"applied";

/// Where the log is.
#[derive(Debug, Clone)]
pub(super) enum Medium {
    /// There is none, and the file has none.
    None,
    /// Beside a file.
    Beside {
        file: PathBuf,
        log: PathBuf,
    },
    Bytes(Arc<dyn ByteStorage>),
}

/// The log that goes with the file, and the last record that the file's state has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Applied {
    /// Told apart by it from logs of other files and times.
    id: u64,
    number: u64,
}

/// Where a commit goes.
pub(super) enum Route {
    /// To the engine's memory.
    Memory,
    /// To the file, with all that is not there yet.
    File,
    /// To the file, which says from then on that it has a log.
    FileBeginning(Option<Box<Active>>),
    /// To the file, which says from then on that it has none.
    FileEnding,
    /// To the log, and to the engine's memory.
    Log { record: Vec<u8> },
}

impl Route {
    /// Whether the file has the commit when it returns.
    pub(super) fn is_durable_in_file(&self) -> bool {
        !matches!(self, Route::Memory | Route::Log { .. })
    }
}

/// The log of an open file.
pub(super) struct CommitLog {
    medium: Medium,
    limit: u64,
    state: State,
    /// Whether the engine's memory has commits that are neither in the file nor in the log.
    unlogged: bool,
}

enum State {
    /// No log is to be had: it is switched off, or failed when it was to be begun.
    Off,
    /// None as yet, and the next small commit goes without one: a process that writes once makes none.
    Absent,
    /// None as yet, and the next small commit begins one.
    Wanted,
    Active(Box<Active>),
}

/// A log in use.
pub(super) struct Active {
    storage: Box<dyn StorageBackend>,
    applied: Applied,
    /// Where the next record begins.
    end: u64,
    /// How many bytes were written, zeros included.
    len: u64,
}

impl Medium {
    /// The log of the file at this path, which goes by the file's own name however it is reached.
    pub(super) fn beside(file: &Path) -> Self {
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let mut name = file.as_os_str().to_owned();
        name.push("-log");
        let log = PathBuf::from(name);
        Medium::Beside { file, log }
    }

    /// An empty log, durably there; `None` where none is to be had.
    fn create(&self, id: u64) -> io::Result<Option<Box<dyn StorageBackend>>> {
        let storage: Box<dyn StorageBackend> = match self {
            Medium::None => return Ok(None),
            Medium::Beside { file, log } => {
                if log.exists() && !remove_stale(log)? {
                    let message = format!("{} is in use, or something else", log.display());
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
                }
                let new = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(log)?;
                new.set_permissions(fs::metadata(file)?.permissions())?;
                lock(&new)?;
                Box::new(FileBackend::new(new).map_err(io::Error::other)?)
            }
            Medium::Bytes(bytes) => Box::new(Bytes(Arc::clone(bytes))),
        };
        storage.set_len(FIRST_LEN)?;
        zero(&*storage, 0, FIRST_LEN)?;
        storage.write(0, &header(id))?;
        storage.sync_data()?;
        if let Medium::Beside { log, .. } = self {
            sync_directory(log)?;
        }
        Ok(Some(storage))
    }

    /// All that is in the log; `None` where there is none.
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match self {
            Medium::None => Ok(None),
            Medium::Beside { log, .. } => match fs::metadata(log) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
                Ok(metadata) if metadata.len() > MAX_LEN => Err(io::ErrorKind::FileTooLarge.into()),
                Ok(_) => fs::read(log).map(Some),
            },
            Medium::Bytes(bytes) => {
                let len = bytes.len()?;
                if len > MAX_LEN {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                let mut all = vec![0; len as usize];
                bytes.read(0, &mut all)?;
                Ok((len > 0).then_some(all))
            }
        }
    }

    /// Removes a log that nothing needs. What is not one, or is in use elsewhere, stays.
    fn remove(&self) {
        let removed = match self {
            Medium::None => Ok(()),
            Medium::Beside { log, .. } if log.exists() => remove_stale(log).map(drop),
            Medium::Beside { .. } => Ok(()),
            Medium::Bytes(bytes) => match bytes.is_empty() {
                Ok(true) => Ok(()),
                _ => bytes.set_len(0),
            },
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "a log that is not needed any more could not be removed");
        }
    }
}

/// The first sector of a log.
fn header(id: u64) -> [u8; record::SECTOR] {
    let mut sector = [0; record::SECTOR];
    sector[..MAGIC.len()].copy_from_slice(MAGIC);
    sector[MAGIC.len()..MAGIC.len() + 8].copy_from_slice(&id.to_be_bytes());
    sector
}

/// Locks a file for as long as it is open, where the file system can.
pub(super) fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes the log at this path, unless it is in use or something else. Whether it is gone.
fn remove_stale(path: &Path) -> io::Result<bool> {
    let mut log = File::open(path)?;
    let mut magic = [0; MAGIC.len()];
    // An empty one was cut off in the making.
    let ours = match log.metadata()?.len() {
        0 => true,
        _ => log.read_exact(&mut magic).is_ok() && (magic == *MAGIC || magic == [0; MAGIC.len()]),
    };
    if !ours || lock(&log).is_err() {
        return Ok(false);
    }
    fs::remove_file(path)?;
    Ok(true)
}

/// Writes zeros from `from` up to `to`.
fn zero(storage: &dyn StorageBackend, from: u64, to: u64) -> io::Result<()> {
    const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
    let mut at = from;
    while at < to {
        let len = (to - at).min(ZEROS.len() as u64);
        storage.write(at, &ZEROS[..len as usize])?;
        at += len;
    }
    Ok(())
}

impl Applied {
    fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.id.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_be_bytes());
        let sum = xxh3_64(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let applied = Self {
            id: number(0)?,
            number: number(8)?,
        };
        (applied.to_bytes() == bytes).then_some(applied)
    }

    /// What the file says; `None` where it has no log.
    fn read(transaction: &ReadTransaction) -> Result<Option<Self>> {
        let table = match transaction.open_table(TABLE) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table.map_err(from_redb)?,
        };
        let value = table.get(KEY).map_err(from_redb)?;
        value.map(|value| Self::checked(value.value())).transpose()
    }

    fn read_writing(transaction: &WriteTransaction) -> Result<Option<Self>> {
        let table = transaction.open_table(TABLE).map_err(from_redb)?;
        let value = table.get(KEY).map_err(from_redb)?;
        value.map(|value| Self::checked(value.value())).transpose()
    }

    fn checked(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes(bytes).ok_or_else(|| damaged("the file does not say which log it has"))
    }

    fn write(self, transaction: &WriteTransaction) -> Result<()> {
        let mut table = transaction.open_table(TABLE).map_err(from_redb)?;
        table
            .insert(KEY, self.to_bytes().as_slice())
            .map(drop)
            .map_err(from_redb)
    }
}

/// Makes the file say that it has no log.
fn forget(transaction: &WriteTransaction) -> Result<()> {
    transaction.delete_table(TABLE).map(drop).map_err(from_redb)
}

fn damaged(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("{what}: put the log back that was beside the file, restore a backup, or discard the log"),
    )
}

impl CommitLog {
    /// A log that may be begun where `on`, otherwise none.
    pub(super) fn new(medium: Medium, on: bool, quick: bool) -> Self {
        let on = on && !matches!(medium, Medium::None);
        Self {
            medium,
            limit: if quick { QUICK_LIMIT } else { LIMIT },
            state: if on { State::Absent } else { State::Off },
            unlogged: false,
        }
    }

    /// Brings a file that was just opened up to date with its log, durably, and removes that. With `discard` goes without what cannot be read of it.
    pub(super) fn recover(medium: &Medium, database: &Database, options: &RedbOptions) -> Result<()> {
        use ::redb::ReadableDatabase as _;
        let discard = options.discard_log;
        let found = guard(|| Applied::read(&database.begin_read().map_err(from_redb)?));
        match found {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            Err(error) if discard && error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
        guard(|| {
            let mut transaction = database.begin_write().map_err(from_redb)?;
            // Looked at again: where processes share the file, another may have been faster.
            let rows = match Applied::read_writing(&transaction) {
                Ok(Some(applied)) => medium
                    .read()
                    .map_err(from_io)
                    .and_then(|log| {
                        log.ok_or_else(|| damaged("the log of the file, with its last writes, is missing"))
                    })
                    .and_then(|log| read_on(&log, applied, discard)),
                Ok(None) => return transaction.abort().map_err(from_redb),
                Err(error) => Err(error),
            };
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) if discard && error.kind() == ErrorKind::Corrupt => WriteBatch::new(),
                Err(error) => return transaction.abort().map_err(from_redb).and(Err(error)),
            };
            tracing::warn!(
                operations = rows.operations(),
                discard,
                "the file was not closed cleanly: applying its log"
            );
            transaction.set_quick_repair(options.quick_repair);
            let (spaces, deltas) = rows.into_spaces();
            // A file that does not open cannot be repaired.
            apply::apply(&transaction, spaces, deltas, Unreadable::Left)
                .and_then(|()| forget(&transaction))
                // Nobody waits for the outcome of a commit here: what failed is the opening.
                .and_then(|()| transaction.commit().map_err(from_redb))?;
            medium.remove();
            Ok(())
        })
    }

    /// Refuses a file that has a log, where nothing may be written.
    pub(super) fn check_none(transaction: &ReadTransaction) -> Result<()> {
        match guard(|| Applied::read(transaction))? {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::NeedsRepair,
                "the file was not closed cleanly and has a log beside it: open it writable once, which recovers it",
            )),
        }
    }

    /// Where a commit of about `bytes` goes. With a log come its records.
    pub(super) fn route(
        &mut self,
        deferred: bool,
        bytes: usize,
        spaces: &[(Keyspace, SpaceBatch)],
        deltas: &[(Keyspace, Vec<u8>, i64)],
    ) -> Route {
        if deferred {
            return Route::Memory;
        }
        if self.unlogged || bytes as u64 > self.limit / RECORDS {
            return Route::File;
        }
        match &mut self.state {
            State::Off => Route::File,
            State::Absent => {
                self.state = State::Wanted;
                Route::File
            }
            State::Wanted => Route::FileBeginning(None),
            State::Active(active) => match record::encode(spaces, deltas) {
                Some(record) => match active.make_room(record.len() as u64, self.limit) {
                    Ok(true) => Route::Log { record },
                    Ok(false) => Route::File,
                    Err(error) => {
                        tracing::warn!(%error, "the log cannot grow: committing without one from now on");
                        Route::FileEnding
                    }
                },
                None => Route::File,
            },
        }
    }

    fn begin(&self) -> Option<Box<Active>> {
        let id = getrandom::u64().ok()?;
        match self.medium.create(id) {
            Ok(storage) => Some(Box::new(Active {
                storage: storage?,
                applied: Applied { id, number: 0 },
                end: FIRST_RECORD,
                len: FIRST_LEN,
            })),
            Err(error) => {
                tracing::warn!(%error, "no log can be begun: committing without one");
                None
            }
        }
    }

    /// Prepares the transaction of a commit that takes this route, once all its rows are in it.
    pub(super) fn prepare(&mut self, route: &mut Route, transaction: &mut WriteTransaction) -> Result<()> {
        match route {
            Route::File => return Ok(()),
            Route::FileBeginning(begun) => {
                *begun = self.begin();
                return match begun {
                    Some(active) => active.applied.write(transaction),
                    None => Ok(()),
                };
            }
            Route::FileEnding => return forget(transaction),
            Route::Memory => {}
            Route::Log { record } => {
                let State::Active(active) = &mut self.state else {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        "there is no log: please report this",
                    ));
                };
                let next = Applied {
                    number: active.applied.number + 1,
                    ..active.applied
                };
                record::finish(record, next.id, next.number);
                next.write(transaction)?;
            }
        }
        transaction.set_durability(Durability::None).map_err(from_redb)
    }

    /// Makes the record durable. After an error it may be, or not: nothing more can be logged until the file is opened again.
    pub(super) fn append(&mut self, route: &Route) -> Result<()> {
        let (Route::Log { record }, State::Active(active)) = (route, &self.state) else {
            return Ok(());
        };
        let written = active.storage.write(active.end, record);
        written
            .and_then(|()| active.storage.sync_data())
            .map_err(|error| {
                Error::new(
                    ErrorKind::CommitUnknown,
                    format!("the log failed, so the commit may or may not have become durable ({error}): reopen, then read"),
                )
                .because(from_io(error))
            })
    }

    /// The engine has committed.
    pub(super) fn committed(&mut self, route: Route) {
        match (route, &mut self.state) {
            (Route::Memory, _) => self.unlogged = true,
            (Route::FileBeginning(begun), state) => *state = begun.map_or(State::Off, State::Active),
            (Route::FileEnding, state) => {
                *state = State::Off;
                // Another storage that failed is left alone.
                if let Medium::Beside { .. } = self.medium {
                    self.medium.remove();
                }
            }
            (Route::File, state) => {
                self.unlogged = false;
                if let State::Active(active) = state {
                    active.end = FIRST_RECORD;
                }
            }
            (Route::Log { record }, State::Active(active)) => {
                active.end += record.len() as u64;
                active.applied.number += 1;
            }
            (Route::Log { .. }, _) => {}
        }
    }

    /// Whether commits are in the engine's memory alone.
    pub(super) fn unlogged(&self) -> bool {
        self.unlogged
    }

    /// Whether the file is behind the log.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.state, State::Active(_))
    }

    /// Brings the file up to date before it is closed, and removes the log. Whether that worked.
    pub(super) fn close(&mut self, database: &Database, quick: bool) -> bool {
        if !self.is_active() {
            return true;
        }
        let closed = guard(|| {
            let mut transaction = database.begin_write().map_err(from_redb)?;
            transaction.set_quick_repair(quick);
            forget(&transaction).and_then(|()| transaction.commit().map_err(from_commit))
        });
        // Gives the log's lock back.
        self.state = State::Absent;
        match closed {
            Ok(()) => {
                self.unlogged = false;
                self.medium.remove();
                true
            }
            Err(error) => {
                tracing::warn!(kind = %error.kind(), "the log stays beside the file, and is applied when it is next opened");
                false
            }
        }
    }
}

impl Active {
    /// Whether a record fits, after the log has grown if need be.
    fn make_room(&mut self, record: u64, limit: u64) -> io::Result<bool> {
        let end = self.end + record;
        if end > limit.max(self.len) {
            return Ok(false);
        }
        if end > self.len {
            let len = (self.len * 2)
                .max(end.next_multiple_of(FIRST_LEN))
                .min(limit.max(end));
            self.storage.set_len(len)?;
            zero(&*self.storage, self.len, len)?;
            self.len = len;
        }
        Ok(true)
    }
}

/// What the records behind `applied` come to.
///
/// A file says that it has a log once that log is durably there, so one that does not begin as the file's own was put in its place or is damaged.
///
/// Numbers only rise, and a log that begins anew is overwritten from its start: behind the newest record lie older ones, or what is left of them.
fn read_on(log: &[u8], applied: Applied, discard: bool) -> Result<WriteBatch> {
    if !discard && ((log.len() as u64) < FIRST_LEN || !log.starts_with(&header(applied.id))) {
        return Err(damaged(
            "the log beside the file is not the file's own, or is damaged",
        ));
    }
    let mut rows = WriteBatch::new();
    let mut newest = applied.number;
    let mut before: Option<u64> = None;
    let mut at = record::SECTOR;
    while let Some(found) = log.get(at..).and_then(|rest| record::find(rest, applied.id)) {
        if before.is_some_and(|before| before.checked_add(1) != Some(found.number)) {
            break;
        }
        if found.number > newest {
            if newest.checked_add(1) != Some(found.number) {
                return Err(damaged("the log begins behind the state of the file"));
            }
            let batch = record::decode(found.payload);
            rows.absorb(batch.ok_or_else(|| damaged("the log holds what this version cannot read"))?);
            newest = found.number;
        }
        before = Some(found.number);
        at += found.len;
    }
    let behind = (at..log.len()).step_by(record::SECTOR);
    for rest in behind.filter_map(|at| log.get(at..)) {
        if !discard && record::find(rest, applied.id).is_some_and(|found| found.number > newest) {
            return Err(damaged("the log is damaged in the middle"));
        }
    }
    Ok(rows)
}
