//! Asks the hooks before a change: the one place that calls them.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use uuid::Uuid;

use super::Stage;
use crate::TypedId as _;
use crate::entity::{Entity, Lineage, State};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{Deletion, Hook, HookView, Proposal, Restoration, Veto};
use crate::ids::EntityId;
use crate::reentry;

thread_local! {
    /// Whether a hook is being asked: what it wants to know itself no hook is asked about, or there would be no end of it.
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Lets every hook amend what an entity is about to become, or veto it. `old` is `None` for a creation.
pub(crate) fn amend<E: Entity>(
    stage: &Stage<'_>,
    id: Uuid,
    old: Option<&State<E>>,
    new: &mut E::New,
) -> Result<()> {
    if stage.settings.hooks.is_empty() {
        return Ok(());
    }
    // What stays as it is need not have been named; a hook sees it.
    let owner = old.map_or(stage.actor, |old| &old.meta.owner_id);
    let owner = E::named_owner(new)
        .filter(|_| old.is_some())
        .unwrap_or(owner)
        .to_owned();
    let lineage = match (old, E::named_parent(new)) {
        (Some(old), None) => old.lineage,
        (_, named) => Lineage::naming(named),
    };
    *new = E::with_parent_and_owner(new.clone(), lineage, Some(owner));
    // As update closures see it: the parent named, the owner beside the other fields.
    let shown = old.map(|old| {
        let owner = Some(old.meta.owner_id.clone());
        (
            E::with_parent_and_owner(old.fields.clone(), old.lineage, owner),
            old.meta.version,
        )
    });
    let what = match old {
        None => "the creation of",
        Some(_) => "the change of",
    };
    ask(stage, (what, EntityId::new(E::KIND, id)), |hook, view| {
        let mut proposal = Proposal {
            id: E::Id::from_uuid(id),
            old: shown.as_ref().map(|(fields, _)| fields),
            old_version: shown.as_ref().map(|(_, version)| *version),
            new: &mut *new,
        };
        E::run_hook(hook, view, &mut proposal)
    })
}

/// Lets every hook veto a deletion.
pub(crate) fn before_deletion(stage: &Stage<'_>, deletion: &Deletion) -> Result<()> {
    ask(stage, ("the deletion of", deletion.id), |hook, view| {
        hook.delete(view, deletion)
    })
}

/// Lets every hook veto a restoration.
pub(crate) fn before_restoration(stage: &Stage<'_>, restoration: &Restoration) -> Result<()> {
    ask(stage, ("the restoration of", restoration.id), |hook, view| {
        hook.restore(view, restoration)
    })
}

/// Asks each hook in the order of their registration; the first veto or panic ends it.
fn ask(
    stage: &Stage<'_>,
    (what, id): (&str, EntityId),
    mut call: impl FnMut(&dyn Hook, &HookView<'_>) -> Result<(), Veto>,
) -> Result<()> {
    if stage.settings.hooks.is_empty() || ASKING.get() {
        return Ok(());
    }
    let view = HookView { stage };
    for hook in &stage.settings.hooks {
        // A hook that panics has failed its operation, and nothing else: what it amended is dropped with it.
        let asked = catch_unwind(AssertUnwindSafe(|| {
            let _entered = reentry::inside_a_write();
            let _asking = Asking::begin();
            call(&**hook, &view).map_err(|veto| Error::vetoed(hook.name(), &format!("{what} {id}"), veto))
        }));
        match asked {
            Ok(asked) => asked?,
            Err(_) => return Err(panicked(&**hook, what, id)),
        }
    }
    Ok(())
}

fn panicked(hook: &dyn Hook, what: impl fmt::Display, id: EntityId) -> Error {
    // Its name may be what panics.
    let name = catch_unwind(AssertUnwindSafe(|| hook.name().to_owned())).unwrap_or_default();
    let message = format!("the hook {name:?} panicked over {what} {id}: nothing was changed");
    Error::new(ErrorKind::HookPanicked, message)
}

/// A hook is being asked, on this thread, until this is dropped.
struct Asking;

impl Asking {
    fn begin() -> Self {
        ASKING.set(true);
        Self
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKING.set(false);
    }
}
