//! Hooks: what an embedding service has to say about each change before it happens.

use crate::engine::{Stage, TenantView};
use crate::entity::Entity;
use crate::error::{Error, Result, Violation};
use crate::read::{Context, Read};
use crate::{DataAsset, DataSet, DataStore, EntityId};

/// Amends or vetoes changes, inside of the transaction that makes them. Registered with [`Options::hook`](crate::Options::hook).
///
/// A hook is asked after the change has been put together and before its rules are checked: once for each entity that a write names, and once for the root of what
/// a deletion or a restoration takes along, with the number of the rest. It is not asked about a write that changes nothing, nor about one that an idempotency key
/// replays, nor about a patch whose values have a wrong type, which no hook could mend. Hooks are asked in the order of their registration, and each sees what the
/// ones before it amended. [`Read::would_delete`] asks them too; where a hook asks that itself, no hook is asked about it.
///
/// A hook **may be asked again** about the same change, runs while other writers wait, and on whatever thread commits: it should be a quick, pure function of
/// what it is shown. It reads through its [`HookView`]; a write that it enters by other means gives [`ReentrantWrite`](crate::ErrorKind::ReentrantWrite). A veto or a
/// panic fails the operation that it was asked about, and no other; a panic also goes through the process's panic hook, which prints it to standard error unless the
/// service has set another.
///
/// A catalog without hooks pays nothing for them. One with hooks works every change out where it is committed, which takes from what many writers do at once, and
/// [`Write::delete_selected`](crate::Write::delete_selected) of data sets names them one by one.
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
    /// What it is now, parent and owner named; `None` where it is being created.
    pub old: Option<&'a E::New>,
    /// The version that it has now; `None` where it is being created.
    pub old_version: Option<u64>,
    /// What it is to be, with its owner, and with the parent that it has or that a creation names. What a hook puts here is checked by the same rules as what a caller
    /// gives: another parent of what exists is `Invalid`, another owner of a creation is ignored. The `effective_date` of schemas is set after the hooks.
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
            tenant: self.stage.tenant_name(),
            actor: self.stage.actor,
        }
    }
}

/// Why a hook refuses a change.
///
/// An [`Error`] of what a hook reads through its view becomes one by `?`, and fails the operation as the error that it is:
///
/// ```
/// use shelfmark::{Deletion, EntityId, Hook, HookView, Read, Veto};
///
/// struct Legal;
///
/// impl Hook for Legal {
///     fn name(&self) -> &str {
///         "legal"
///     }
///
///     fn delete(&self, view: &HookView<'_>, deletion: &Deletion) -> Result<(), Veto> {
///         let EntityId::Asset(id) = deletion.id else { return Ok(()) };
///         match view.get(id)? {
///             Some(asset) if asset.tags.iter().any(|tag| tag == "legal hold") => Err(Veto::new("it is on legal hold").at("/tags")),
///             _ => Ok(()),
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Veto {
    pub(crate) reason: String,
    pub(crate) violations: Vec<Violation>,
    /// What kept the hook from deciding.
    pub(crate) cause: Option<Error>,
}

impl From<Error> for Veto {
    fn from(error: Error) -> Self {
        Self {
            cause: Some(error),
            ..Self::new("")
        }
    }
}

impl Veto {
    /// A veto for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            violations: Vec::new(),
            cause: None,
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
