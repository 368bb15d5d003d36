//! One opaque error with a coarse kind that says what the caller should do, and typed details where a caller acts on them.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::batch::BatchFailure;
use crate::changes::Position;
use crate::hooks::Veto;
use crate::ids::EntityId;

/// How many violations a message tells; the accessor has all.
const TOLD: usize = 100;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Declares `ErrorKind`, its list of all kinds and the stable name of each from one table.
macro_rules! error_kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident => $code:literal,)+) => {
        /// What went wrong, coarse enough to act on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl ErrorKind {
            /// Every kind, in the order of their declaration.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$kind,)+];

            /// The stable upper-case identifier of this kind, for logs and wire formats.
            pub fn code(self) -> &'static str {
                match self {
                    $(ErrorKind::$kind => $code,)+
                }
            }
        }
    };
}

error_kinds! {
    /// The input breaks one or more rules. Mend what [`Error::violations`] lists and try again.
    Invalid => "INVALID",
    /// No such entity in this tenant ([`Error::missing`]). Do not retry without creating it.
    NotFound => "NOT_FOUND",
    /// The entity has another version than expected ([`Error::conflict`]). Read it again, redo the change, retry.
    VersionConflict => "VERSION_CONFLICT",
    /// A `test` operation of a JSON Patch failed; nothing changed. Read the entity again.
    PatchTestFailed => "PATCH_TEST_FAILED",
    /// A store still holds assets ([`Error::not_empty`]). Delete the assets first.
    NotEmpty => "NOT_EMPTY",
    /// The technical name is taken under this parent ([`Error::name_taken`]). Choose another one.
    NameTaken => "NAME_TAKEN",
    /// The cursor is malformed, altered, or was made for another query. Start again from the first page.
    BadCursor => "BAD_CURSOR",
    /// The page lies too deep for a sort without an index. Follow cursors, or sort by an indexed field.
    OffsetTooDeep => "OFFSET_TOO_DEEP",
    /// The call is larger than a limit allows. Split it, or use the batched mode.
    TooLarge => "TOO_LARGE",
    /// A hook refused the change ([`Error::violations`] names members where the hook did). Do what its reason says.
    Vetoed => "VETOED",
    /// A hook panicked while it was asked about the change; nothing changed. Mend the hook.
    HookPanicked => "HOOK_PANICKED",
    /// The idempotency key was used for another request, by the same actor, and has not expired. Use a new key for a new request.
    KeyReused => "IDEMPOTENCY_KEY_REUSED",
    /// The change feed no longer holds what followed this position: retention has removed it. Read the whole catalog again, then follow from the newest
    /// position; [`Error::oldest_change`] is for those who can do without what is gone.
    ChangesTrimmed => "CHANGES_TRIMMED",
    /// The position belongs to another feed: the catalog was restored from a backup, or the tenant dropped and made anew. Read the whole catalog
    /// again, then follow from the newest position.
    ChangesRewound => "CHANGES_REWOUND",
    /// A write was entered from inside a transaction, an update closure or a hook on the same thread. Use the transaction's own handle.
    ReentrantWrite => "REENTRANT_WRITE",
    /// The backend or the mode it was opened in cannot do this. Choose another option.
    Unsupported => "UNSUPPORTED",
    /// There is no file at this path. Create one, or correct the path.
    FileMissing => "FILE_MISSING",
    /// A file exists already where a new one was to be made. Open it, or choose another path.
    FileExists => "FILE_EXISTS",
    /// The file is not a shelfmark catalog. Correct the path; nothing of what it holds was changed.
    NotACatalog => "NOT_A_CATALOG",
    /// Another process, or another handle in this one, has the file open. Close it there first.
    InUse => "IN_USE",
    /// The file was written by an older version, and this open may not migrate it. Open it writable once.
    FormatTooOld => "FORMAT_TOO_OLD",
    /// The file was written by a newer version of this crate. Upgrade the crate.
    FormatTooNew => "FORMAT_TOO_NEW",
    /// The catalog was created with another value of a stored option. Open it with that value.
    OptionMismatch => "OPTION_MISMATCH",
    /// Stored bytes are damaged. Run a check, restore a backup.
    Corrupt => "CORRUPT",
    /// The file or its medium cannot be written, or the catalog was opened read-only.
    ReadOnly => "READ_ONLY",
    /// The file was not closed cleanly and cannot be recovered while opened read-only. Open it writable once.
    NeedsRepair => "NEEDS_REPAIR",
    /// The medium is full. Make room; deletes work again once there is some.
    StorageFull => "STORAGE_FULL",
    /// The operating system refused an operation on the file; the source says why.
    Io => "IO",
    /// An earlier I/O failure latched the backend: reads go on, writes fail until the catalog is reopened.
    Unavailable => "UNAVAILABLE",
    /// Whether the commit became durable cannot be told. Read before you retry.
    CommitUnknown => "COMMIT_UNKNOWN",
    /// The last [`Catalog`](crate::Catalog) handle was dropped, so nobody waits any more. Stop following, or keep a handle.
    Closed => "CLOSED",
    /// Open snapshots or transactions stand in the way. Drop them and try again.
    Busy => "BUSY",
    /// Others kept changing the same entity until the retries were used up. Try again later.
    Contended => "CONTENDED",
    /// A defect of this crate. Please report it.
    Internal => "INTERNAL",
}

impl ErrorKind {
    /// Whether it tells of the storage or of this crate, and nothing of what was asked for.
    pub(crate) fn is_fault(self) -> bool {
        use ErrorKind as Kind;
        matches!(
            self,
            Kind::Corrupt
                | Kind::ReadOnly
                | Kind::StorageFull
                | Kind::Io
                | Kind::Unavailable
                | Kind::CommitUnknown
                | Kind::Closed
                | Kind::Internal
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// One broken rule and where it was broken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Violation {
    /// A JSON pointer (RFC 6901) into the input, `""` for the whole of it.
    pub pointer: String,
    /// What the rule asks for.
    pub message: String,
}

impl Violation {
    /// A violation of the rule that `message` states, at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() {
            "(the input)"
        } else {
            &self.pointer
        };
        write!(f, "{pointer}: {}", self.message)
    }
}

/// The first violations, for a message.
fn told(violations: &[Violation]) -> String {
    let told: Vec<String> = violations.iter().take(TOLD).map(Violation::to_string).collect();
    match violations.len().saturating_sub(TOLD) {
        0 => told.join("; "),
        more => format!("{}; and {more} more", told.join("; ")),
    }
}

/// The entity was not at the version the caller expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionConflict {
    /// Kind and id of the entity.
    pub entity: EntityId,
    /// The version the caller named.
    pub expected: u64,
    /// The version the entity has.
    pub found: u64,
}

/// A store that could not be deleted, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NonEmptyStore {
    /// The store.
    pub store: crate::StoreId,
    /// How many assets it holds.
    pub assets: u64,
}

/// Where a bulk call stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BulkFailure {
    /// Position of the offending member, from 0; `None` where the commit itself failed.
    pub index: Option<u64>,
    /// How many members before it are stored and stay.
    pub stored: u64,
}

#[derive(Debug, Clone, Default)]
enum Detail {
    #[default]
    None,
    Violations(Vec<Violation>),
    Missing(Vec<EntityId>),
    Conflict(VersionConflict),
    NotEmpty(Vec<NonEmptyStore>),
    NameTaken(EntityId),
    OpenSnapshots(u64),
    OldestChange(Position),
}

/// What happened, to what, and what to do about it.
///
/// ```
/// # use shelfmark::{Catalog, ErrorKind, NewDataStore, Write};
/// # fn main() -> shelfmark::Result<()> {
/// let catalog = Catalog::in_memory()?;
/// let session = catalog.session("acme", "ann")?;
/// let error = session.create(NewDataStore::new("", "postgres")).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert_eq!(error.violations()[0].pointer, "/technicalName");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    detail: Detail,
    bulk: Option<BulkFailure>,
    /// The operations of a batch that failed.
    failures: Vec<BatchFailure>,
    /// Shared, since writers that were committed together get the same error.
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` says what happened, to what, and what to do. For implementors of backends.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::with_detail(kind, message, Detail::None)
    }

    fn with_detail(kind: ErrorKind, message: impl Into<String>, detail: Detail) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            detail,
            bulk: None,
            failures: Vec::new(),
            source: None,
        }))
    }

    /// The same error with the lower-level error that caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    /// `Busy`, with the number of snapshots that stand in the way.
    pub fn busy(open_snapshots: u64, what: &str) -> Self {
        let message =
            format!("cannot {what} while {open_snapshots} snapshots are open: drop them and try again");
        Self::with_detail(ErrorKind::Busy, message, Detail::OpenSnapshots(open_snapshots))
    }

    pub(crate) fn invalid(violations: Vec<Violation>) -> Self {
        let message = match violations.as_slice() {
            [one] => one.to_string(),
            many => format!("{} rules are broken: {}", many.len(), told(many)),
        };
        Self::with_detail(ErrorKind::Invalid, message, Detail::Violations(violations))
    }

    pub(crate) fn violation(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![Violation::new(pointer, message)])
    }

    pub(crate) fn not_found(missing: Vec<EntityId>) -> Self {
        let names: Vec<String> = missing.iter().take(10).map(EntityId::to_string).collect();
        let more = if missing.len() > 10 {
            format!(" and {} more", missing.len() - 10)
        } else {
            String::new()
        };
        let message = format!("there is no {}{more} in this tenant", names.join(", no "));
        Self::with_detail(ErrorKind::NotFound, message, Detail::Missing(missing))
    }

    pub(crate) fn nothing_dropped(id: EntityId) -> Self {
        let message = format!(
            "there is nothing to restore or purge under {id}: it was not deleted, went with its asset, was purged, or its retention is over"
        );
        Self::with_detail(ErrorKind::NotFound, message, Detail::Missing(vec![id]))
    }

    pub(crate) fn version_conflict(entity: EntityId, expected: u64, found: u64) -> Self {
        let message = format!(
            "{entity} is at version {found}, not at the expected {expected}: read it again and redo the change"
        );
        Self::with_detail(
            ErrorKind::VersionConflict,
            message,
            Detail::Conflict(VersionConflict {
                entity,
                expected,
                found,
            }),
        )
    }

    pub(crate) fn stores_not_empty(stores: Vec<NonEmptyStore>) -> Self {
        let names: Vec<String> = stores
            .iter()
            .map(|s| format!("data store {} holds {} data assets", s.store, s.assets))
            .collect();
        let message = format!("{}: delete them first", names.join(", "));
        Self::with_detail(ErrorKind::NotEmpty, message, Detail::NotEmpty(stores))
    }

    pub(crate) fn technical_name_taken(name: &str, by: EntityId) -> Self {
        let message = format!("the technical name {name:?} is taken by {by} under the same parent");
        Self::with_detail(ErrorKind::NameTaken, message, Detail::NameTaken(by))
    }

    pub(crate) fn changes_trimmed(oldest: Position) -> Self {
        let message = format!(
            "retention has removed changes behind this position: read everything again, then follow from the newest position (the oldest change still \
             there lies behind {oldest})"
        );
        Self::with_detail(ErrorKind::ChangesTrimmed, message, Detail::OldestChange(oldest))
    }

    pub(crate) fn vetoed(hook: &str, what: &str, veto: Veto) -> Self {
        let Veto {
            reason,
            violations,
            cause,
        } = veto;
        if let Some(error) = cause {
            return error;
        }
        let mut message = format!("the hook {hook:?} refuses {what}: {reason}");
        if violations.iter().any(|violation| violation.message != reason) {
            message = format!("{message}: {}", told(&violations));
        }
        Self::with_detail(ErrorKind::Vetoed, message, Detail::Violations(violations))
    }

    pub(crate) fn corrupt(keyspace: crate::backend::Keyspace, key: &[u8], what: impl fmt::Display) -> Self {
        let message = format!(
            "{what} in keyspace {} at key {}: run a check, or restore a backup",
            keyspace.name(),
            crate::backend::hex(key)
        );
        Self::new(ErrorKind::Corrupt, message)
    }

    #[must_use]
    pub(crate) fn at_bulk_index(mut self, index: Option<u64>, stored: u64) -> Self {
        self.0.bulk = Some(BulkFailure { index, stored });
        self
    }

    /// The error of a batch: its first failure, with all of them.
    pub(crate) fn of_batch(failures: Vec<BatchFailure>) -> Self {
        let Some(first) = failures.first() else {
            return Self::new(ErrorKind::Internal, "a batch failed without a failure");
        };
        let mut error = first.error.clone().at_bulk_index(Some(first.index), 0);
        let more = match failures.len() {
            1 => String::new(),
            failed => format!(" (and {} more operations failed)", failed - 1),
        };
        error.0.message = format!(
            "operation {} of the batch: {}{more}",
            first.index, first.error.0.message
        );
        error.0.failures = failures;
        error
    }

    /// The same error about other ids.
    pub(crate) fn with_ids(mut self, rename: &dyn Fn(EntityId) -> EntityId) -> Self {
        let Inner { message, detail, .. } = &mut *self.0;
        let mut renamed = |id: &mut EntityId| {
            let old = std::mem::replace(id, rename(*id));
            if old != *id {
                *message = message.replace(&old.uuid().to_string(), &id.uuid().to_string());
            }
        };
        match detail {
            Detail::Missing(missing) => missing.iter_mut().for_each(renamed),
            Detail::Conflict(conflict) => renamed(&mut conflict.entity),
            Detail::NameTaken(by) => renamed(by),
            Detail::NotEmpty(stores) => {
                for store in stores {
                    let mut id = EntityId::Store(store.store);
                    renamed(&mut id);
                    store.store = crate::StoreId::from_uuid(id.uuid());
                }
            }
            Detail::None | Detail::Violations(_) | Detail::OldestChange(_) | Detail::OpenSnapshots(_) => {}
        }
        self
    }

    /// What went wrong, coarse enough to act on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The broken rules of an [`ErrorKind::Invalid`], and what an [`ErrorKind::Vetoed`] is about; empty for other kinds.
    pub fn violations(&self) -> &[Violation] {
        match &self.0.detail {
            Detail::Violations(violations) => violations,
            _ => &[],
        }
    }

    /// The entities that an [`ErrorKind::NotFound`] is about; empty for other kinds.
    pub fn missing(&self) -> &[EntityId] {
        match &self.0.detail {
            Detail::Missing(missing) => missing,
            _ => &[],
        }
    }

    /// The versions behind an [`ErrorKind::VersionConflict`].
    pub fn conflict(&self) -> Option<&VersionConflict> {
        match &self.0.detail {
            Detail::Conflict(conflict) => Some(conflict),
            _ => None,
        }
    }

    /// The stores that an [`ErrorKind::NotEmpty`] is about, each with its number of assets; empty for other kinds.
    pub fn not_empty(&self) -> &[NonEmptyStore] {
        match &self.0.detail {
            Detail::NotEmpty(stores) => stores,
            _ => &[],
        }
    }

    /// The entity that has the technical name, for an [`ErrorKind::NameTaken`].
    pub fn name_taken(&self) -> Option<EntityId> {
        match &self.0.detail {
            Detail::NameTaken(by) => Some(*by),
            _ => None,
        }
    }

    /// How many snapshots were open, for an [`ErrorKind::Busy`].
    pub fn open_snapshots(&self) -> Option<u64> {
        match &self.0.detail {
            Detail::OpenSnapshots(count) => Some(*count),
            _ => None,
        }
    }

    /// The position before the oldest change that is still there, for an [`ErrorKind::ChangesTrimmed`]: for those who can do without the ones before.
    pub fn oldest_change(&self) -> Option<Position> {
        match &self.0.detail {
            Detail::OldestChange(position) => Some(*position),
            _ => None,
        }
    }

    /// The operations of a [`Batch`](crate::Batch) that were refused, in their order, the first 100 of them: kind and details of this error are those of the
    /// first. An operation that rests on the creation of a refused one is not among them. Empty for errors of other calls, and where the storage failed.
    pub fn failures(&self) -> &[BatchFailure] {
        &self.0.failures
    }

    /// Where a bulk call stopped, when the error comes from one.
    pub fn bulk(&self) -> Option<BulkFailure> {
        self.0.bulk
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The message of a batch says it itself.
        match self.0.bulk.filter(|_| self.0.failures.is_empty()) {
            Some(BulkFailure {
                index: Some(index),
                stored,
            }) => {
                write!(f, "member {index} of the bulk call ({stored} stored before it): ")?;
            }
            Some(BulkFailure { index: None, stored }) => {
                write!(f, "a commit of the bulk call ({stored} stored before it): ")?;
            }
            None => {}
        }
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
