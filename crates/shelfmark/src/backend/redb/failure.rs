//! What redb's errors and panics become: one mapping, one guard, one latch.

use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use crate::backend::Health;
use crate::error::{Error, ErrorKind, Result};

/// Every error of redb but those of opening a file, which [`super::open`] knows more about.
pub(super) fn from_redb(error: impl Into<::redb::Error>) -> Error {
    use ::redb::Error as E;
    let error = error.into();
    let (kind, message) = match error {
        E::Io(error) => return from_io(error),
        E::Corrupted(_) => (
            ErrorKind::Corrupt,
            "the file is damaged: run a check, or restore a backup",
        ),
        E::PreviousIo => (
            ErrorKind::Unavailable,
            "an earlier input or output operation failed: reopen the catalog",
        ),
        E::DatabaseClosed => (
            ErrorKind::Unavailable,
            "the file was closed and reopened since: take a new snapshot",
        ),
        E::LockPoisoned(_) => (
            ErrorKind::Unavailable,
            "an earlier call panicked: reopen the catalog",
        ),
        E::ValueTooLarge(_) => (
            ErrorKind::TooLarge,
            "a key or a value is larger than a file can hold",
        ),
        E::DatabaseAlreadyOpen => (
            ErrorKind::InUse,
            "the file is open in another process or handle: close it there first",
        ),
        E::LockProtocolMismatch => (
            ErrorKind::InUse,
            "the file is open in a process built with another version of the engine: close it there first",
        ),
        E::UpgradeRequired(_) => (
            ErrorKind::NotACatalog,
            "the file has an engine format older than any catalog's: correct the path",
        ),
        E::TableTypeMismatch { .. }
        | E::TypeDefinitionChanged { .. }
        | E::TableIsMultimap(_)
        | E::TableIsNotMultimap(_) => (
            ErrorKind::NotACatalog,
            "the file holds tables of another program: correct the path",
        ),
        E::NonDurableCommitUnsupported => (
            ErrorKind::Unsupported,
            "deferred durability does not work in a file that processes share: commit durably",
        ),
        E::Unsupported => (
            ErrorKind::Unsupported,
            "this file system or platform lacks the locks for sharing a file: open it exclusively",
        ),
        E::TransactionInProgress
        | E::ReadTransactionStillInUse(_)
        | E::PersistentSavepointExists
        | E::EphemeralSavepointExists
        | E::WouldBlock => (
            ErrorKind::Busy,
            "a transaction, perhaps of another process, stands in the way: let it end and try again",
        ),
        E::Backend(_) => (ErrorKind::Io, "the storage refused an operation"),
        _ => (
            ErrorKind::Internal,
            "the engine was used wrongly: please report this",
        ),
    };
    Error::new(kind, message).because(Engine(error))
}

/// An error of the operating system on a file that is open.
pub(super) fn from_io(error: io::Error) -> Error {
    let (kind, message) = match error.kind() {
        io::ErrorKind::StorageFull => (
            ErrorKind::StorageFull,
            "the medium is full: make room, then reopen the catalog",
        ),
        io::ErrorKind::QuotaExceeded => (
            ErrorKind::StorageFull,
            "the disk quota is used up: make room, then reopen the catalog",
        ),
        io::ErrorKind::FileTooLarge => (
            ErrorKind::StorageFull,
            "the file may not grow further: raise the file size limit, or delete and compact",
        ),
        io::ErrorKind::PermissionDenied => (
            ErrorKind::ReadOnly,
            "no permission to write: grant it, or open the catalog read-only",
        ),
        io::ErrorKind::ReadOnlyFilesystem => (
            ErrorKind::ReadOnly,
            "the medium cannot be written: open the catalog read-only",
        ),
        io::ErrorKind::UnexpectedEof => (
            ErrorKind::Corrupt,
            "the file is shorter than its contents: restore a backup",
        ),
        _ => (
            ErrorKind::Io,
            "the operating system refused an operation on the file",
        ),
    };
    Error::new(kind, message).because(error)
}

/// A commit that failed half-way.
pub(super) fn from_commit(error: ::redb::CommitError) -> Error {
    match error {
        // redb rolled it back by itself.
        ::redb::CommitError::TransactionPoisoned => from_redb(error),
        ::redb::CommitError::Storage(storage) => commit_unknown(&storage).because(from_redb(storage)),
        error => commit_unknown(&error).because(from_redb(error)),
    }
}

fn commit_unknown(cause: &dyn fmt::Display) -> Error {
    Error::new(
        ErrorKind::CommitUnknown,
        format!("the commit failed and may or may not have become durable ({cause}): reopen, then read"),
    )
}

/// redb's errors name no type of ours in their source chain; this keeps them out of the public API.
#[derive(Debug)]
struct Engine(::redb::Error);

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Engine {}

/// A panic of redb, as it meets pages that it did not write.
#[derive(Debug)]
struct EnginePanic(String);

impl fmt::Display for EnginePanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the engine panicked: {}", self.0)
    }
}

impl StdError for EnginePanic {}

/// Calls into redb. It panics on some damaged pages; that becomes [`ErrorKind::Corrupt`]. No closure of a caller may run inside.
pub(super) fn guard<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    guard_visiting(|_| call())
}

/// Where closures of a caller run within a guarded call.
#[derive(Default)]
pub(super) struct Visiting(Cell<bool>);

impl Visiting {
    /// Runs what is not redb's: a panic of it goes on as the caller's own.
    pub(super) fn run<R>(&self, visit: impl FnOnce() -> R) -> R {
        self.0.set(true);
        let result = visit();
        self.0.set(false);
        result
    }
}

/// As [`guard`], around calls into redb that show a caller what they find.
fn guard_visiting<T>(call: impl FnOnce(&Visiting) -> Result<T>) -> Result<T> {
    let visiting = Visiting::default();
    match catch_unwind(AssertUnwindSafe(|| call(&visiting))) {
        Ok(result) => result,
        Err(payload) if visiting.0.get() => resume_unwind(payload),
        Err(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Err(Error::new(
                ErrorKind::Corrupt,
                "the file is damaged: run a check, or restore a backup",
            )
            .because(EnginePanic(text)))
        }
    }
}

/// Whether a snapshot outlived the file it was taken from, which is no failure of the file that is open now.
fn is_closed(error: &Error) -> bool {
    let engine = error.source().and_then(|source| source.downcast_ref::<Engine>());
    engine.is_some_and(|engine| matches!(engine.0, ::redb::Error::DatabaseClosed))
}

fn is_panic(error: &Error) -> bool {
    error.source().is_some_and(|source| source.is::<EnginePanic>())
}

/// Remembers the failure after which an opened file takes no more writes.
#[derive(Debug, Default)]
pub(super) struct Latch(Mutex<Option<String>>);

impl Latch {
    /// Latches, unless an earlier failure did.
    pub(super) fn set(&self, reason: &Error) {
        let mut latched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if latched.is_none() {
            tracing::warn!(kind = %reason.kind(), "the backend failed and takes no more writes until reopened");
            let cause = reason
                .source()
                .map(|source| format!(" ({source})"))
                .unwrap_or_default();
            *latched = Some(format!("{reason}{cause}"));
        }
    }

    pub(super) fn health(&self) -> Health {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            None => Health::Healthy,
            Some(reason) => Health::Latched { reason },
        }
    }

    /// `Unavailable`, once latched.
    pub(super) fn check(&self) -> Result<()> {
        match self.health() {
            Health::Healthy => Ok(()),
            Health::Latched { reason } => Err(unavailable(&reason)),
        }
    }

    /// A call into redb that reads pages. redb stops for good after a failed read, so that latches, as a panic does.
    pub(super) fn read<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        self.read_visiting(|_| call())
    }

    /// As [`Latch::read`], where a caller's closure runs inside, through [`Visiting::run`]. One guard for a whole scan: one for each row costs
    /// more than the row.
    pub(super) fn read_visiting<T>(&self, call: impl FnOnce(&Visiting) -> Result<T>) -> Result<T> {
        let result = guard_visiting(call);
        if let Err(error) = &result
            && !is_closed(error)
            && (is_panic(error)
                || matches!(
                    error.kind(),
                    ErrorKind::Io | ErrorKind::StorageFull | ErrorKind::Unavailable
                ))
        {
            self.set(error);
        }
        result
    }

    /// A call into redb whose I/O failures may leave it usable; a panic latches.
    pub(super) fn call<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let result = guard(call);
        if let Err(error) = &result
            && is_panic(error)
        {
            self.set(error);
        }
        result
    }
}

pub(super) fn unavailable(reason: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("writes are refused until the catalog is reopened: {reason}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operating_systems_refusals_have_kinds() {
        use io::ErrorKind as Os;
        for (os, kind) in [
            (Os::StorageFull, ErrorKind::StorageFull),
            (Os::QuotaExceeded, ErrorKind::StorageFull),
            (Os::FileTooLarge, ErrorKind::StorageFull),
            (Os::PermissionDenied, ErrorKind::ReadOnly),
            (Os::ReadOnlyFilesystem, ErrorKind::ReadOnly),
            (Os::UnexpectedEof, ErrorKind::Corrupt),
            (Os::Other, ErrorKind::Io),
        ] {
            let error = from_redb(::redb::StorageError::Io(io::Error::from(os)));
            assert_eq!(error.kind(), kind, "{os:?}");
            assert!(error.source().is_some());
        }
        // The numbers of Linux: ENOSPC, EFBIG, EDQUOT, EROFS, EACCES.
        #[cfg(target_os = "linux")]
        for (number, kind) in [
            (28, ErrorKind::StorageFull),
            (27, ErrorKind::StorageFull),
            (122, ErrorKind::StorageFull),
            (30, ErrorKind::ReadOnly),
            (13, ErrorKind::ReadOnly),
        ] {
            assert_eq!(
                from_io(io::Error::from_raw_os_error(number)).kind(),
                kind,
                "{number}"
            );
        }
    }

    #[test]
    fn the_engines_errors_have_kinds() {
        use ::redb::{
            CommitError, CompactionError, DatabaseError, StorageError, TableError, TransactionError,
        };
        let kind = |error: ::redb::Error| from_redb(error).kind();
        assert_eq!(
            kind(StorageError::Corrupted("x".into()).into()),
            ErrorKind::Corrupt
        );
        assert_eq!(kind(StorageError::PreviousIo.into()), ErrorKind::Unavailable);
        assert_eq!(kind(StorageError::DatabaseClosed.into()), ErrorKind::Unavailable);
        assert_eq!(kind(StorageError::ValueTooLarge(9).into()), ErrorKind::TooLarge);
        assert_eq!(kind(DatabaseError::DatabaseAlreadyOpen.into()), ErrorKind::InUse);
        assert_eq!(kind(DatabaseError::LockProtocolMismatch.into()), ErrorKind::InUse);
        assert_eq!(
            kind(DatabaseError::UpgradeRequired(2).into()),
            ErrorKind::NotACatalog
        );
        assert_eq!(
            kind(TableError::TableIsMultimap("x".into()).into()),
            ErrorKind::NotACatalog
        );
        assert_eq!(kind(TransactionError::WouldBlock.into()), ErrorKind::Busy);
        assert_eq!(
            kind(CompactionError::TransactionInProgress.into()),
            ErrorKind::Busy
        );
        let full = StorageError::Io(io::Error::from(io::ErrorKind::StorageFull));
        let unknown = from_commit(CommitError::Storage(full));
        assert_eq!(unknown.kind(), ErrorKind::CommitUnknown);
        assert_eq!(
            from_commit(CommitError::TransactionPoisoned).kind(),
            ErrorKind::Internal
        );
    }

    #[test]
    fn what_latches_a_read() {
        use ::redb::StorageError;
        let latches = |error: StorageError| {
            let latch = Latch::default();
            latch.read::<()>(|| Err(from_redb(error))).unwrap_err();
            latch.health() != Health::Healthy
        };
        assert!(latches(StorageError::Io(io::Error::other("a bad sector"))));
        assert!(latches(StorageError::PreviousIo));
        assert!(!latches(StorageError::DatabaseClosed));
        assert!(!latches(StorageError::Corrupted("one page".into())));
    }

    #[test]
    fn a_panic_of_a_visitor_is_its_own() {
        let latch = Latch::default();
        let visited = catch_unwind(AssertUnwindSafe(|| {
            latch.read_visiting(|visiting| Ok(visiting.run(|| panic!("the caller's"))))
        }));
        assert_eq!(visited.unwrap_err().downcast_ref::<&str>(), Some(&"the caller's"));
        assert_eq!(latch.health(), Health::Healthy);
        let error = latch
            .read_visiting::<()>(|visiting| {
                visiting.run(|| ());
                panic!("the engine's")
            })
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_panic_is_corruption_and_latches() {
        let latch = Latch::default();
        let error = latch.call::<()>(|| panic!("bad page {}", 7)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.source().unwrap().to_string().contains("bad page 7"));
        assert!(matches!(latch.health(), Health::Latched { reason } if reason.contains("bad page 7")));
        assert_eq!(latch.check().unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
