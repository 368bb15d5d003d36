//! Care of the file: check, repair, backup, compaction, figures.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod repair;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::backend::{
    BackendActivity, BackendStats, ByteStorage, Keyspace, Maintenance, MaintenanceReport, hex,
};
use crate::catalog::Catalog;
use crate::engine::{TenantView, tenants};
use crate::error::Result;
use crate::ids::EntityKind;
use crate::reentry;

/// What a check found wrong with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The keyspace.
    pub keyspace: Keyspace,
    /// The key.
    pub key: Vec<u8>,
    /// What kind of damage it is.
    pub kind: FindingKind,
    /// What is wrong, in words.
    pub detail: String,
}

/// The kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A row cannot be decoded, or a key has a wrong form. Restore a backup.
    Unreadable,
    /// An entity has no parent, or of something dropped the record of its deletion is missing. Restore a backup.
    Orphan,
    /// A version, a time or an id that no catalog would have written. Restore a backup.
    Insane,
    /// An index entry without its entity, or with another value than it should have. A repair removes or replaces it.
    StrayIndexEntry,
    /// An entity without its index entry. A repair makes it.
    MissingIndexEntry,
    /// An index of which something cannot be read. A repair makes all of it anew.
    UnreadableIndex,
    /// A counter that differs from a count, or cannot be read. A repair makes it anew.
    WrongCounter,
    /// A schema row without its data set. A repair removes it.
    StraySchema,
    /// A row of a tenant that does not exist. Restore a backup.
    UnknownTenant,
    /// The change feed leaves one out. Restore a backup, or have its readers read everything again.
    MissingChange,
}

impl FindingKind {
    /// Whether a repair mends it.
    pub fn is_repairable(self) -> bool {
        matches!(
            self,
            FindingKind::StrayIndexEntry
                | FindingKind::MissingIndexEntry
                | FindingKind::UnreadableIndex
                | FindingKind::WrongCounter
                | FindingKind::StraySchema
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            keyspace,
            key,
            kind,
            detail,
        } = self;
        write!(f, "{kind:?} in {} at {}: {detail}", keyspace.name(), hex(key))
    }
}

/// What a check saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// How many rows it read, of all keyspaces.
    pub rows: u64,
    /// What is wrong, at most 10,000 findings.
    pub findings: Vec<Finding>,
    /// How many more findings there are.
    pub more: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// What was mended.
    pub mended: Vec<Finding>,
    /// What can only be restored from a backup.
    pub left: Vec<Finding>,
}

/// Figures of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CatalogStats {
    /// Tenants.
    pub tenants: u64,
    /// Data stores of all tenants.
    pub stores: u64,
    /// Data assets of all tenants.
    pub assets: u64,
    /// Data sets of all tenants.
    pub sets: u64,
    /// Groups that single-shot writes came together in, since the catalog was opened; one in which nothing was to be written made no commit.
    pub groups: u64,
    /// The writes that were in them, also those that were refused or changed nothing.
    pub grouped_writes: u64,
    /// Figures of the backend: sizes, open snapshots, commits.
    pub backend: BackendStats,
}

/// Figures of a catalog that cost nothing to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CatalogActivity {
    /// Single-shot writes that wait for the next group commit.
    pub queued_writes: u64,
    /// Groups that single-shot writes came together in, since the catalog was opened; one in which nothing was to be written made no commit.
    pub groups: u64,
    /// The writes that were in them, also those that were refused or changed nothing.
    pub grouped_writes: u64,
    /// Figures that the backend keeps.
    pub backend: BackendActivity,
}

impl Catalog {
    /// Reads the whole catalog on one snapshot and reports everything that is not as it should be: every row decodes, every index entry has its
    /// entity and the reverse, counters equal a count, nothing is an orphan, versions and times are sane, what was dropped is whole. O(everything); reads and writes go on meanwhile.
    ///
    /// ```
    /// # use shelfmark::{Catalog, NewDataStore, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// let catalog = Catalog::in_memory()?;
    /// catalog.session("acme", "ann")?.create(NewDataStore::new("warehouse", "postgres"))?;
    /// assert!(catalog.check()?.is_clean());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Io`, `Corrupt` where the backend cannot even walk a keyspace, `Unavailable`.
    pub fn check(&self) -> Result<CheckReport> {
        check::check(&*self.inner.backend.snapshot()?)
    }

    /// Mends what can be derived again: index entries, counters, schema rows without a set. One transaction; every other writer waits meanwhile.
    ///
    /// # Errors
    ///
    /// Those of a check and of any write.
    pub fn repair(&self) -> Result<RepairReport> {
        let mut report = RepairReport::default();
        self.inner.commit(
            self.inner.commit_options(crate::Durability::Immediate),
            &mut |snapshot| {
                let (batch, found) = repair::repair(snapshot)?;
                report = found;
                Ok(batch)
            },
        )?;
        Ok(report)
    }

    /// Writes everything, as of now, to a new file at `path`, from any backend, while reads and writes go on. A crash leaves no half backup at `path`.
    /// The copy is a catalog of its own: positions in the change feed of this one mean nothing there (`ChangesRewound`).
    ///
    /// ```
    /// # use shelfmark::{Catalog, NewDataStore, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("backup.shelf");
    /// let catalog = Catalog::in_memory()?;
    /// catalog.session("acme", "ann")?.create(NewDataStore::new("warehouse", "postgres"))?;
    /// catalog.backup(&path)?;
    /// assert_eq!(Catalog::open(&path)?.tenants()?, ["acme"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `FileExists`, `FileMissing` for a missing directory, `StorageFull`, `Io`, `Corrupt`.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<()> {
        let environment = &self.inner.settings.environment;
        backup::copy(&*self.inner.backend.snapshot()?, path.as_ref(), environment)
    }

    /// As [`Catalog::backup`], to an empty storage of the caller's. A crash before this returns leaves a storage that is no backup.
    ///
    /// # Errors
    ///
    /// `FileExists` where the storage is not empty, `StorageFull`, `Io`, `Corrupt`.
    pub fn backup_on(&self, storage: Arc<dyn ByteStorage>) -> Result<()> {
        let environment = &self.inner.settings.environment;
        backup::copy_on(&*self.inner.backend.snapshot()?, storage, environment)
    }

    /// Gives unused space back to the file system: packs rows that lie loosely, as those of indexes do, into full pages, then makes the file shorter. O(file), and meanwhile it
    /// may need as much room again as the largest keyspace takes. Every writer and every new reader waits. Packed pages are also fewer to read, and split with the next creations.
    ///
    /// # Errors
    ///
    /// `StorageFull` where there is no room to pack: what was free has been given back by then, and `Catalog::reopen` lets writes go on; `Busy` while a snapshot is held, with their number; `ReadOnly`; `ReentrantWrite` inside a transaction or an update closure.
    pub fn compact(&self) -> Result<MaintenanceReport> {
        self.maintain(Maintenance::Compact)
    }

    /// Verifies the checksum of every page of the file. O(file). Every writer and every new reader waits meanwhile.
    ///
    /// # Errors
    ///
    /// `Busy` while a snapshot is held, with their number; `Corrupt`; `ReadOnly`, since it may mend what the engine keeps for itself; `ReentrantWrite` inside a transaction or an update closure.
    pub fn verify(&self) -> Result<MaintenanceReport> {
        self.maintain(Maintenance::Verify)
    }

    fn maintain(&self, what: Maintenance) -> Result<MaintenanceReport> {
        let _entered = reentry::enter_write()?;
        self.inner.backend.maintain(what)
    }

    /// Figures that a dashboard may ask for as often as it likes. O(1).
    ///
    /// ```
    /// # use shelfmark::{Catalog, NewDataStore, Write};
    /// # fn main() -> shelfmark::Result<()> {
    /// let catalog = Catalog::in_memory()?;
    /// catalog.session("acme", "ann")?.create(NewDataStore::new("warehouse", "postgres"))?;
    /// assert_eq!(catalog.activity().grouped_writes, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn activity(&self) -> CatalogActivity {
        let (groups, grouped_writes) = self.inner.group.counts();
        CatalogActivity {
            queued_writes: self.inner.group.queued() as u64,
            groups,
            grouped_writes,
            backend: self.inner.backend.activity(),
        }
    }

    /// Figures of the catalog and its backend. O(tenants), and for its sizes the redb backend walks the whole file: not for a tight loop.
    ///
    /// # Errors
    ///
    /// `Io`, `Corrupt`.
    pub fn stats(&self) -> Result<CatalogStats> {
        let backend = self.inner.backend.stats()?;
        let snapshot = self.inner.backend.snapshot()?;
        let (groups, grouped_writes) = self.inner.group.counts();
        let mut stats = CatalogStats {
            groups,
            grouped_writes,
            backend,
            ..CatalogStats::default()
        };
        for (name, number) in tenants::all(&*snapshot)? {
            let view = TenantView {
                snapshot: &*snapshot,
                name: &name,
                number: Some(number),
            };
            stats.tenants += 1;
            stats.stores += view.total(EntityKind::Store)?;
            stats.assets += view.total(EntityKind::Asset)?;
            stats.sets += view.total(EntityKind::Set)?;
        }
        Ok(stats)
    }
}
