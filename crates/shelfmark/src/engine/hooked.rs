//! Asks the hooks before a change: the one place that calls them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use uuid::Uuid;

use super::Stage;
use crate::TypedId as _;
use crate::entity::{Entity, State};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{Deletion, Hook, HookView, Proposal, Restoration, Veto};
use crate::reentry;

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
    // As update closures see it: the parent named, the owner beside the other fields.
    let shown = old.map(|old| {
        let owner = Some(old.meta.owner_id.clone());
        (
            E::with_parent_and_owner(old.fields.clone(), old.lineage, owner),
            old.meta.version,
        )
    });
    ask(stage, |hook, view| {
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
    ask(stage, |hook, view| hook.delete(view, deletion))
}

/// Lets every hook veto a restoration.
#[expect(dead_code, reason = "until deletions can be undone")]
pub(crate) fn before_restoration(stage: &Stage<'_>, restoration: &Restoration) -> Result<()> {
    ask(stage, |hook, view| hook.restore(view, restoration))
}

/// Asks each hook in the order of their registration; the first veto or panic ends it.
fn ask(stage: &Stage<'_>, mut call: impl FnMut(&dyn Hook, &HookView<'_>) -> Result<(), Veto>) -> Result<()> {
    let view = HookView { stage };
    for hook in &stage.settings.hooks {
        // A hook that panics has failed its operation, and nothing else: what it amended is dropped with it.
        let asked = catch_unwind(AssertUnwindSafe(|| {
            let _entered = reentry::inside_a_write();
            call(&**hook, &view)
        }));
        match asked {
            Ok(Ok(())) => {}
            Ok(Err(veto)) => return Err(Error::vetoed(hook.name(), veto)),
            Err(_) => {
                let message = format!("the hook {:?} panicked: nothing was changed", hook.name());
                return Err(Error::new(ErrorKind::HookPanicked, message));
            }
        }
    }
    Ok(())
}
