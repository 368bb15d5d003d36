//! Hooks that amend, veto and panic by what they see and nothing else, so that the oracle can tell what they do.

use std::panic::resume_unwind;
use std::sync::Arc;

use shelfmark::{
    AllStores, DataAsset, DataSet, DataStore, Deletion, EntityId, Hook, HookView, Options, Proposal, Read,
    Veto,
};

/// A description that is vetoed.
pub(crate) const VETOED: &str = "some words.";
/// A technical name whose entity is not deleted, and the number of data sets that no data asset is deleted with.
pub(crate) const KEPT: &str = "İ";
pub(crate) const KEPT_SETS: u64 = 3;
/// A technical name that makes the hook panic.
pub(crate) const PANICS: &str = "ǆ";
/// What an empty technical name becomes.
pub(crate) const MENDED: &str = "mended";
/// A tag that another one comes with, which may be there already.
pub(crate) const DOUBLED: (&str, &str) = ("Gold", "gold");
/// A tag that the number of stores comes with.
pub(crate) const COUNTED: &str = "silver";
/// A tag of the first hook that the second one vetoes.
pub(crate) const REFUSED: &str = "stores 3";

/// The tag that says how many stores there are.
pub(crate) fn stores(count: u64) -> String {
    format!("{STORES}{count}")
}

/// How such a tag begins.
pub(crate) const STORES: &str = "stores ";

/// Registers both.
pub(crate) fn register(options: Options) -> Options {
    options.hook(Arc::new(Amends)).hook(Arc::new(Refuses))
}

struct Amends;

struct Refuses;

macro_rules! amend {
    ($view:expr, $new:expr) => {{
        let new = &mut *$new;
        if new.technical_name == PANICS {
            // Without the process's panic hook, which would print it.
            resume_unwind(Box::new("a hook of the model"));
        }
        if new.description.as_deref() == Some(VETOED) {
            return Err(Veto::new("no such words").at("/description"));
        }
        if new.technical_name.is_empty() {
            MENDED.clone_into(&mut new.technical_name);
        }
        if new.tags.iter().any(|tag| tag == DOUBLED.0) {
            new.tags.push(DOUBLED.1.to_owned());
        }
        new.tags.retain(|tag| !tag.starts_with(STORES));
        if new.tags.iter().any(|tag| tag == COUNTED) {
            new.tags.push(stores($view.count::<DataStore>(AllStores)?));
        }
        Ok(())
    }};
}

impl Hook for Amends {
    fn name(&self) -> &str {
        "amends"
    }

    fn store(&self, view: &HookView<'_>, store: &mut Proposal<'_, DataStore>) -> Result<(), Veto> {
        amend!(view, store.new)
    }

    fn asset(&self, view: &HookView<'_>, asset: &mut Proposal<'_, DataAsset>) -> Result<(), Veto> {
        amend!(view, asset.new)
    }

    fn set(&self, view: &HookView<'_>, set: &mut Proposal<'_, DataSet>) -> Result<(), Veto> {
        amend!(view, set.new)
    }
}

fn refuse(tags: &[String]) -> Result<(), Veto> {
    if tags.iter().any(|tag| tag == REFUSED) {
        return Err(Veto::new("so many stores").at("/tags"));
    }
    Ok(())
}

impl Hook for Refuses {
    fn name(&self) -> &str {
        "refuses"
    }

    fn store(&self, _: &HookView<'_>, store: &mut Proposal<'_, DataStore>) -> Result<(), Veto> {
        refuse(&store.new.tags)
    }

    fn asset(&self, _: &HookView<'_>, asset: &mut Proposal<'_, DataAsset>) -> Result<(), Veto> {
        refuse(&asset.new.tags)
    }

    fn set(&self, _: &HookView<'_>, set: &mut Proposal<'_, DataSet>) -> Result<(), Veto> {
        refuse(&set.new.tags)
    }

    fn delete(&self, view: &HookView<'_>, deletion: &Deletion) -> Result<(), Veto> {
        let name = match deletion.id {
            EntityId::Store(id) => view.get(id)?.map(|store| store.technical_name),
            EntityId::Asset(id) => view.get(id)?.map(|asset| asset.technical_name),
            EntityId::Set(id) => view.get(id)?.map(|set| set.technical_name),
        };
        if name.as_deref() == Some(KEPT) || deletion.descendants == KEPT_SETS {
            return Err(Veto::new("it is kept").at("/technicalName"));
        }
        Ok(())
    }
}
