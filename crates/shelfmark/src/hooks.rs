//! Hooks: what an embedding service has to say about each change before it happens.

use crate::engine::{Stage, TenantView};
use crate::entity::Entity;
use crate::error::{Result, Violation};
use crate::read::{Context, Read};
use crate::{DataAsset, DataSet, DataStore, EntityId};

/// Amends or vetoes changes, inside of the transaction that makes them. Registered with [`Options::hook`](crate::Options::hook).
///
/// A hook is asked after the change has been put together and before its rules are checked: once for each entity that a write names, and once for the root of what
/// a deletion or a restoration takes along, with the number of the rest. It is not asked about a write that changes nothing, nor about one that an idempotency key
/// replays. Hooks are asked in the order of their registration, and each sees what the ones before it amended.
///
/// A hook **may be asked again** about the same change, runs while other writers wait, and on whatever thread commits: it should be a quick, pure function of
/// what it is shown. It reads through its [`HookView`]; a write that it enters by other means gives [`ReentrantWrite`](crate::ErrorKind::ReentrantWrite). A veto or a
/// panic fails the operation that it was asked about, and no other.
///
/// ```
/// use std::sync::Arc;
/// use shelfmark::{DataStore, ErrorKind, Hook, HookView, NewDataStore, Options, Proposal, Veto, Write};
///
/// struct Naming;
///
/// impl Hook for Naming {
///     fn name(&self) -> &str {
///         "naming"
///     }
///
///     fn store(&self, _view: &HookView<'_>, store: &mut Proposal<'_, DataStore>) -> Result<(), Veto> {
///         if store.new.technical_name.starts_with("tmp_") {
///             return Err(Veto::new("temporary stores are not catalogued").at("/technicalName"));
///         }
///         store.new.tags.push("reviewed".to_owned());
///         Ok(())
///     }
/// }
///
/// # fn main() -> shelfmark::Result<()> {
/// let session = Options::new().hook(Arc::new(Naming)).in_memory()?.session("acme", "ann")?;
/// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
/// assert_eq!(store.tags, ["reviewed"]);
/// let error = session.create(NewDataStore::new("tmp_1", "postgres")).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Vetoed);
/// # Ok(())
/// # }
/// ```
pub trait Hook: Send + Sync {
    /// What errors call it.
    fn name(&self) -> &str;

    /// About a data store that is created or changed.
    ///
    /// # Errors
    ///
    /// A veto refuses the operation.
    fn store(&self, _view: &HookView<'_>, _change: &mut Proposal<'_, DataStore>) -> Result<(), Veto> {
        Ok(())
    }

    /// About a data asset that is created or changed.
    ///
    /// # Errors
    ///
    /// A veto refuses the operation.
    fn asset(&self, _view: &HookView<'_>, _change: &mut Proposal<'_, DataAsset>) -> Result<(), Veto> {
        Ok(())
    }

    /// About a data set that is created or changed.
    ///
    /// # Errors
    ///
    /// A veto refuses the operation.
    fn set(&self, _view: &HookView<'_>, _change: &mut Proposal<'_, DataSet>) -> Result<(), Veto> {
        Ok(())
    }

    /// About an entity that is deleted, with all that hangs from it.
    ///
    /// # Errors
    ///
    /// A veto refuses the operation.
    fn delete(&self, _view: &HookView<'_>, _deletion: &Deletion) -> Result<(), Veto> {
        Ok(())
    }

    /// About an entity that is restored, with all that was deleted along with it.
    ///
    /// # Errors
    ///
    /// A veto refuses the operation.
    fn restore(&self, _view: &HookView<'_>, _restoration: &Restoration) -> Result<(), Veto> {
        Ok(())
    }
}

/// What an entity is about to become.
#[derive(Debug)]
#[non_exhaustive]
pub struct Proposal<'a, E: Entity> {
    /// Its id; a new entity has one already.
    pub id: E::Id,
    /// What it is now; `None` where it is being created.
    pub old: Option<&'a E::New>,
    /// The version that it has now; `None` where it is being created.
    pub old_version: Option<u64>,
    /// What it is to be. What a hook puts here is checked by the same rules as what a caller gives. Of a creation `owner_id` is ignored: the actor is the owner.
    pub new: &'a mut E::New,
}

/// What is about to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deletion {
    /// The entity that was named.
    pub id: EntityId,
    /// The version that it has.
    pub version: u64,
    /// How many data sets go with it.
    pub descendants: u64,
}

/// What is about to be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restoration {
    /// The entity that was named.
    pub id: EntityId,
    /// The version that it will have.
    pub version: u64,
    /// How many data sets come back with it.
    pub descendants: u64,
}

/// What a hook reads: the tenant as it is with everything that the transaction has changed before this change, through [`Read`].
#[derive(Debug)]
pub struct HookView<'a> {
    pub(crate) stage: &'a Stage<'a>,
}

impl HookView<'_> {
    /// The tenant that the change is made in.
    pub fn tenant(&self) -> &str {
        self.stage.tenant_name()
    }

    /// The actor who makes the change.
    pub fn actor(&self) -> &str {
        self.stage.actor
    }
}

impl Read for HookView<'_> {
    fn with_view<R>(&self, read: impl FnOnce(&TenantView<'_>) -> Result<R>) -> Result<R> {
        self.stage.read(read)
    }

    fn context(&self) -> Context<'_> {
        Context {
            settings: self.stage.settings,
            actor: self.stage.actor,
        }
    }
}

/// Why a hook refuses a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Veto {
    pub(crate) reason: String,
    pub(crate) violations: Vec<Violation>,
}

impl Veto {
    /// A veto for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            violations: Vec::new(),
        }
    }

    /// The same, about the member at this JSON pointer; several may be named. [`Error::violations`](crate::Error::violations) gives them.
    #[must_use]
    pub fn at(self, pointer: impl Into<String>) -> Self {
        let message = self.reason.clone();
        self.because(pointer, message)
    }

    /// The same, with a message of its own about the member at this JSON pointer.
    #[must_use]
    pub fn because(mut self, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        self.violations.push(Violation::new(pointer, message));
        self
    }
}
