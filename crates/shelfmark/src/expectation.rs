//! What a caller expects of the entity it is about to change.

use crate::error::{Error, Result};
use crate::ids::EntityId;

/// The version that an existing entity must have for a write to happen. Of any number of concurrent writes that expect the same
/// version and change something, exactly one succeeds; one that changes nothing keeps the version and stands in nobody's way.
///
/// ```
/// # use shelfmark::{Catalog, Expectation, NewDataStore, Write};
/// # fn main() -> shelfmark::Result<()> {
/// # let session = Catalog::in_memory()?.session("acme", "ann")?;
/// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
/// let renamed = session.update(store.id, store.version, |store| store.name = Some("Warehouse".into()))?;
/// let error = session.delete(store.id, store.version).unwrap_err();
/// assert_eq!(error.conflict().unwrap().found, renamed.version);
/// session.delete(store.id, Expectation::Any)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expectation {
    /// Exactly this version, else a version conflict.
    Exactly(u64),
    /// Any version.
    Any,
}

impl From<u64> for Expectation {
    fn from(version: u64) -> Self {
        Expectation::Exactly(version)
    }
}

impl Expectation {
    pub(crate) fn check(self, id: EntityId, found: u64) -> Result<()> {
        match self {
            Expectation::Exactly(expected) if expected != found => {
                Err(Error::version_conflict(id, expected, found))
            }
            _ => Ok(()),
        }
    }
}
