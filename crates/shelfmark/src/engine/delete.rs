//! Deleting: stores are restricted, assets cascade to their sets.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use uuid::Uuid;

use super::feed::{self, DescendantRecord, Event, Subject};
use super::{Stage, TenantView, hooked, undrop};
use crate::backend::{Direction, Keyspace, successor};
use crate::entity::{Entity, Head as _};
use crate::entity::{Leaving, LeavingReader};
use crate::envelope;
use crate::error::{Error, ErrorKind, NonEmptyStore, Result};
use crate::hooks::Deletion;
use crate::ids::{EntityId, EntityKind, StoreId};
use crate::index;
use crate::keyspace::{IndexOrder, Parent, TenantNumber, bounds, keys};
use crate::list::Select as _;
use crate::{DataAsset, DataSet, DataStore, Expectation};

/// How many children a cascade reads at a time.
const CHUNK: usize = feed::DESCENDANTS;

/// What a deletion took, or would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Deleted {
    /// Data stores.
    pub stores: u64,
    /// Data assets.
    pub assets: u64,
    /// Data sets, those that went with their assets included.
    pub sets: u64,
}

/// Stages the deletion of every member, or of none: a repeated id counts once.
pub(crate) fn delete(stage: &mut Stage<'_>, members: &[(EntityId, Expectation)]) -> Result<Deleted> {
    check_members(stage, members)?;
    let ids: BTreeSet<EntityId> = members.iter().map(|(id, _)| *id).collect();
    let mut deleted = Deleted::default();
    // Children before parents, so that what one call names together can go together.
    for &id in ids.iter().rev() {
        match id {
            EntityId::Set(set) => {
                delete_root::<DataSet>(stage, set.uuid())?;
                deleted.sets += 1;
            }
            EntityId::Asset(asset) => {
                deleted.sets += delete_root::<DataAsset>(stage, asset.uuid())?;
                deleted.assets += 1;
            }
            EntityId::Store(store) => {
                delete_root::<DataStore>(stage, store.uuid())?;
                deleted.stores += 1;
            }
        }
    }
    undrop::sweep_after(stage, &deleted)?;
    Ok(deleted)
}

/// Stages the deletion of every entity that the selection holds.
pub(crate) fn delete_selected<E: Entity>(stage: &mut Stage<'_>, selection: &E::Selection) -> Result<Deleted> {
    let parents = stage.read(|view| selection.resolve(view)?.parents(view, E::KIND))?;
    let mut deleted = Deleted::default();
    for parent in parents {
        if E::KIND == EntityKind::Set && !stage.settings.heeds_deletions() {
            deleted.sets += delete_sets_of(stage, parent, None)?;
            continue;
        }
        let ids = stage.read(|view| view.all_children(E::KIND, parent))?;
        let members: Vec<_> = ids
            .into_iter()
            .map(|id| (EntityId::new(E::KIND, id), Expectation::Any))
            .collect();
        let Deleted { stores, assets, sets } = delete(stage, &members)?;
        deleted.stores += stores;
        deleted.assets += assets;
        deleted.sets += sets;
    }
    Ok(deleted)
}

/// That every member is there, then that each is as expected, then that no store holds an asset.
fn check_members(stage: &Stage<'_>, members: &[(EntityId, Expectation)]) -> Result<()> {
    let mut versions = BTreeMap::new();
    for &(id, _) in members {
        if let Entry::Vacant(entry) = versions.entry(id) {
            entry.insert(version_of(stage, id)?);
        }
    }
    let missing: Vec<EntityId> = versions
        .iter()
        .filter(|(_, version)| version.is_none())
        .map(|(id, _)| *id)
        .collect();
    if !missing.is_empty() {
        return Err(Error::not_found(missing));
    }
    for &(id, expectation) in members {
        if let Some(&Some(version)) = versions.get(&id) {
            expectation.check(id, version)?;
        }
    }
    let mut not_empty = Vec::new();
    for &id in versions.keys() {
        if let EntityId::Store(store) = id {
            let assets = assets_in(stage, store)?;
            if assets > 0 {
                not_empty.push(NonEmptyStore { store, assets });
            }
        }
    }
    if not_empty.is_empty() {
        Ok(())
    } else {
        Err(Error::stores_not_empty(not_empty))
    }
}

fn version_of(stage: &Stage<'_>, id: EntityId) -> Result<Option<u64>> {
    stage.read(|view| match id {
        EntityId::Store(id) => view.head::<DataStore, _>(id.uuid(), |head| Ok(head.stamps().version())),
        EntityId::Asset(id) => view.head::<DataAsset, _>(id.uuid(), |head| Ok(head.stamps().version())),
        EntityId::Set(id) => view.head::<DataSet, _>(id.uuid(), |head| Ok(head.stamps().version())),
    })
}

fn assets_in(stage: &Stage<'_>, store: StoreId) -> Result<u64> {
    stage.read(|view| match view.parent(Some(store.uuid())) {
        Some(parent) => view.children(EntityKind::Asset, &[parent]),
        None => Ok(0),
    })
}

/// Stages the deletion of an entity that was named, and tells how many sets go with it.
fn delete_root<E: Entity>(stage: &mut Stage<'_>, id: Uuid) -> Result<u64> {
    let Some(tenant) = stage.tenant() else {
        return Ok(0);
    };
    let Some(state) = stage.read(|view| view.state::<E>(id, false))? else {
        return Ok(0);
    };
    let root = Subject::of(id, &state);
    let sets = Parent { tenant, id: Some(id) };
    let descendants = match E::KIND {
        EntityKind::Asset => stage.read(|view| view.children(EntityKind::Set, &[sets]))?,
        EntityKind::Store | EntityKind::Set => 0,
    };
    let deletion = Deletion {
        id: root.id,
        version: root.version,
        descendants,
    };
    hooked::before_deletion(stage, &deletion)?;
    feed::record(stage, Event::Deleted, &root)?;
    undrop::keep_root(stage, tenant, &root, &E::indexed(id, &state), descendants)?;
    if E::KIND == EntityKind::Asset {
        delete_sets_of(stage, sets, Some(&root))?;
    }
    stage.delete_entity::<E>(tenant, id, &state);
    Ok(descendants)
}

/// Stages the deletion of every set of an asset, and tells how many there are. `root` is the asset, where it goes itself. O(children).
fn delete_sets_of(stage: &mut Stage<'_>, parent: Parent, root: Option<&Subject>) -> Result<u64> {
    let mut children = 0;
    let mut range = bounds::children(parent);
    loop {
        let (ids, last) =
            stage.read(|view| view.ids_in(IndexOrder::Creation.keyspace(EntityKind::Set), &range, CHUNK))?;
        children += ids.len() as u64;
        if let Some(root) = root {
            undrop::keep_rows(stage, parent.tenant, root.id.uuid(), EntityKind::Set, &ids)?;
        }
        let gone = stage_rows_gone(stage, parent.tenant, &ids)?;
        if let Some(root) = root
            && !gone.is_empty()
        {
            feed::record_descendants(stage, Event::Deleted, root, gone)?;
        }
        match last.as_deref().and_then(successor) {
            Some(next) => range.start = next,
            None => break,
        }
    }
    if children > 0 {
        index::stage_all_children_gone(&mut stage.batch, parent, EntityKind::Set, children);
    }
    Ok(children)
}

/// A set as a cascade sees it.
struct Gone {
    id: Uuid,
    version: u64,
    schema_row: bool,
    /// The key of its entry in the index that does not lie under its parent.
    apart: [u8; keys::TENANT + 2 * keys::ID],
}

impl Gone {
    fn of(tenant: TenantNumber, id: Uuid, reader: &LeavingReader, key: &[u8], value: &[u8]) -> Result<Self> {
        let body = envelope::open(Keyspace::Set, key, value)?;
        let Leaving {
            version,
            schema_row,
            secure_qri,
        } = reader.read(body).ok_or_else(|| no_head(key))?;
        Ok(Self {
            id,
            version,
            schema_row,
            apart: keys::by_secure_qri(tenant, secure_qri, id),
        })
    }
}

fn no_head(key: &[u8]) -> Error {
    Error::corrupt(Keyspace::Set, key, "a head of another layout")
}

/// Stages the removal of the rows of these sets, which are in creation order, and of what is indexed apart from their parent.
fn stage_rows_gone(
    stage: &mut Stage<'_>,
    tenant: TenantNumber,
    ids: &[Uuid],
) -> Result<Vec<DescendantRecord>> {
    let reader = LeavingReader::new().ok_or_else(|| {
        Error::new(
            ErrorKind::Internal,
            "a head lacks what a cascade reads: please report this",
        )
    })?;
    let run = stage.read(|view| run_of(view, tenant, ids, &reader))?;
    let (gone, is_run) = match run {
        Some(gone) => (gone, true),
        None => {
            let mut gone = Vec::with_capacity(ids.len());
            stage.read(|view| {
                view.rows(Keyspace::Set, ids, &mut |at, key, value| {
                    gone.push(Gone::of(tenant, ids[at], &reader, key, value)?);
                    Ok(())
                })
            })?;
            // In creation order, whatever the view's.
            gone.sort_unstable_by_key(|gone| gone.id);
            (gone, false)
        }
    };
    if is_run && let (Some(&first), Some(&last)) = (ids.first(), ids.last()) {
        let range = bounds::entities_between(tenant, first, last);
        if gone.iter().any(|gone| gone.schema_row) {
            stage.batch.delete_range(Keyspace::SetSchema, range.clone());
        }
        stage.batch.delete_range(Keyspace::Set, range);
    }
    let mut descendants = Vec::with_capacity(gone.len());
    for Gone {
        id,
        version,
        schema_row,
        apart,
    } in gone
    {
        if !is_run {
            stage.batch.delete(Keyspace::Set, keys::entity(tenant, id));
            if schema_row {
                stage.delete_schemas(tenant, id);
            }
        }
        index::stage_gone_apart(&mut stage.batch, &apart);
        descendants.push(DescendantRecord {
            id: id.into_bytes(),
            version,
        });
    }
    Ok(descendants)
}

/// These sets, where no other lies between the first and the last of them: then their rows go as one range, which costs less to stage and to
/// apply than each by itself. `None` as soon as another one shows.
fn run_of(
    view: &TenantView<'_>,
    tenant: TenantNumber,
    ids: &[Uuid],
    reader: &LeavingReader,
) -> Result<Option<Vec<Gone>>> {
    let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else {
        return Ok(None);
    };
    let range = bounds::entities_between(tenant, first, last);
    let mut gone = Vec::with_capacity(ids.len());
    let mut alone = true;
    let mut outcome = Ok(());
    view.snapshot
        .scan(Keyspace::Set, &range, Direction::Forward, &mut |key, value| {
            alone = ids.get(gone.len()).copied() == keys::id_at_end(key);
            if alone && let Some(&id) = ids.get(gone.len()) {
                match Gone::of(tenant, id, reader, key, value) {
                    Ok(set) => gone.push(set),
                    Err(error) => outcome = Err(error),
                }
            }
            if alone && outcome.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
    outcome?;
    Ok(Some(gone).filter(|gone| alone && gone.len() == ids.len()))
}
