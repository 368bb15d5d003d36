//! Undoing deletions: what a deletion keeps, how it comes back, and how it goes for good.
//!
//! A deletion keeps one entry in `dropped`, by time, and in `dropped_row` a record of the root, then the stored bodies of root and descendants. The record is what says
//! that the root can be restored; where a purge takes more than one step, it is marked first and goes last.

mod record;

use std::ops::ControlFlow;

use uuid::Uuid;

pub(crate) use self::record::Kept;
use super::ancestors::InheritedCache;
use super::create::{check_size, check_unique, encode_head, encoding_failed};
use super::delete::Deleted;
use super::feed::{self, DescendantRecord, Event, Subject};
use super::{Settings, Stage, TenantView, hooked};
use crate::backend::{Direction, KeyRange, Keyspace, Snapshot, successor};
use crate::entity::{Entity, State, Stored as _};
use crate::envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::Restoration;
use crate::ids::{EntityId, EntityKind};
use crate::index::Indexed;
use crate::keyspace::{Parent, TenantNumber, bounds, entities, keys};
use crate::time::Timestamp;
use crate::undrop::{Dropped, DroppedPage, DroppedPosition, DroppedQuery};
use crate::{DataSet, TypedId};

/// The part of a root's record.
pub(crate) const RECORD: u8 = 0;
/// The part of a head.
pub(crate) const HEAD: u8 = 1;
/// The part of schemas.
pub(crate) const SCHEMAS: u8 = 2;

/// How many rows a deletion sweeps, beside as many as it may have kept itself.
const SWEEP_ROWS: usize = 512;
/// The most rows that a deleted entity leaves.
const ROWS_OF_ENTITY: usize = 4;
/// How many rows, and bytes of them, are read at a time.
const CHUNK_ROWS: usize = 4_096;
const CHUNK_BYTES: usize = 4 << 20;

/// For how long what is dropped can be restored.
fn retention(settings: &Settings) -> Result<i64> {
    settings.undrop.ok_or_else(|| {
        let message = "the catalog was opened without undrop: open it with Options::undrop and a retention";
        Error::new(ErrorKind::Unsupported, message)
    })
}

/// Whatever was dropped at this time or before has expired.
fn expired_until(settings: &Settings, retention: i64) -> Timestamp {
    let now = settings.environment.clock.now();
    Timestamp::from_millis_lossy(now.millis().saturating_sub(retention))
}

/// Stages what is kept of a root that is being deleted, where deletions can be undone.
pub(crate) fn keep_root(
    stage: &mut Stage<'_>,
    tenant: TenantNumber,
    root: &Subject,
    indexed: &Indexed<'_>,
    descendants: u64,
) -> Result<()> {
    if stage.settings.undrop.is_none() {
        return Ok(());
    }
    let Subject { id, lineage, version } = *root;
    let kept = Kept {
        id,
        time: stage.now(),
        actor: stage.actor.to_owned(),
        version,
        lineage,
        name: indexed.name.map(str::to_owned),
        technical_name: indexed.technical_name.to_owned(),
        descendants,
        purging: false,
    };
    let key = keys::dropped(tenant, kept.time, id.uuid());
    stage.batch.put(Keyspace::Dropped, key, Vec::new());
    put_record(stage, tenant, &kept)?;
    keep_rows(stage, tenant, id.uuid(), id.kind(), &[id.uuid()])
}

fn put_record(stage: &mut Stage<'_>, tenant: TenantNumber, kept: &Kept) -> Result<()> {
    let root = kept.id.uuid();
    let key = keys::dropped_row(tenant, root, root, RECORD);
    let value = envelope::seal(Keyspace::DroppedRow, &key, &kept.encode()?);
    stage.batch.put(Keyspace::DroppedRow, key, value);
    Ok(())
}

/// Stages copies of the rows of these entities, which are being deleted with `root`, where deletions can be undone. O(rows).
pub(crate) fn keep_rows(
    stage: &mut Stage<'_>,
    tenant: TenantNumber,
    root: Uuid,
    kind: EntityKind,
    ids: &[Uuid],
) -> Result<()> {
    if stage.settings.undrop.is_none() {
        return Ok(());
    }
    let mut copies = Vec::with_capacity(ids.len());
    stage.read(|view| {
        let mut copy = |space: Keyspace, part: u8| {
            view.rows(space, ids, &mut |at, key, value| {
                let body = envelope::open(space, key, value)?;
                let key = keys::dropped_row(tenant, root, ids[at], part);
                let value = envelope::seal(Keyspace::DroppedRow, &key, body);
                copies.push((key, value));
                Ok(())
            })
        };
        copy(entities(kind), HEAD)?;
        if kind == EntityKind::Set {
            copy(Keyspace::SetSchema, SCHEMAS)?;
        }
        Ok(())
    })?;
    for (key, value) in copies {
        stage.batch.put(Keyspace::DroppedRow, key, value);
    }
    Ok(())
}

/// The record of a root; `None` where nothing is kept of it.
pub(crate) fn kept(snapshot: &dyn Snapshot, tenant: TenantNumber, root: Uuid) -> Result<Option<Kept>> {
    let key = keys::dropped_row(tenant, root, root, RECORD);
    let mut found = None;
    snapshot.get(Keyspace::DroppedRow, &key, &mut |value| {
        found = Some(Kept::decode(root, &key, value));
    })?;
    found.transpose()
}

/// What can be restored of an id.
fn restorable(settings: &Settings, view: &TenantView<'_>, id: EntityId) -> Result<Option<Kept>> {
    let until = expired_until(settings, retention(settings)?);
    let Some(tenant) = view.number else {
        return Ok(None);
    };
    let kept = kept(view.snapshot, tenant, id.uuid())?;
    Ok(kept.filter(|kept| kept.id == id && !kept.purging && kept.time > until))
}

/// What was dropped under this id, while it can be restored.
pub(crate) fn dropped(settings: &Settings, view: &TenantView<'_>, id: EntityId) -> Result<Option<Dropped>> {
    let retention = retention(settings)?;
    Ok(restorable(settings, view, id)?.map(|kept| kept.shown(retention)))
}

/// One page of what was dropped and can be restored, the newest first.
pub(crate) fn list(settings: &Settings, view: &TenantView<'_>, query: &DroppedQuery) -> Result<DroppedPage> {
    let DroppedQuery { kind, limit, after } = *query;
    let retention = retention(settings)?;
    let Some(tenant) = view.number.filter(|_| limit > 0) else {
        return Ok(DroppedPage::default());
    };
    let until = expired_until(settings, retention);
    let mut after = after.map(|DroppedPosition { time, id }| (time, id));
    let mut items: Vec<Dropped> = Vec::new();
    // One more than wanted, which tells whether there is another page.
    let wanted = limit.saturating_add(1);
    loop {
        let range = bounds::dropped_after(tenant, until, after);
        let entries = entries(view.snapshot, &range, Direction::Reverse, wanted.min(CHUNK_ROWS))?;
        let Some(&last) = entries.last() else { break };
        after = Some(last);
        let ids: Vec<Uuid> = entries.into_iter().map(|(_, id)| id).collect();
        let found = records(view.snapshot, tenant, &ids)?.into_iter().flatten();
        let wanted_of = found.filter(|kept| !kept.purging && kind.is_none_or(|kind| kept.id.kind() == kind));
        items.extend(wanted_of.map(|kept| kept.shown(retention)));
        if items.len() > limit {
            break;
        }
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| DroppedPosition {
        time: last.dropped_at,
        id: last.id.uuid(),
    });
    Ok(DroppedPage { items, next })
}

/// The first entries of a range of `dropped`.
fn entries(
    snapshot: &dyn Snapshot,
    range: &KeyRange,
    direction: Direction,
    limit: usize,
) -> Result<Vec<(Timestamp, Uuid)>> {
    let mut entries = Vec::new();
    if limit == 0 || range.is_empty() {
        return Ok(entries);
    }
    let mut bad = None;
    snapshot.scan(Keyspace::Dropped, range, direction, &mut |key, _| {
        match keys::of_dropped(key) {
            Some(entry) => entries.push(entry),
            None => {
                bad = Some(Error::corrupt(
                    Keyspace::Dropped,
                    key,
                    "not a key of something dropped",
                ));
            }
        }
        if bad.is_none() && entries.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    bad.map_or(Ok(entries), Err)
}

/// The records of these roots, in their order.
fn records(snapshot: &dyn Snapshot, tenant: TenantNumber, roots: &[Uuid]) -> Result<Vec<Option<Kept>>> {
    let keys: Vec<Vec<u8>> = roots
        .iter()
        .map(|&root| keys::dropped_row(tenant, root, root, RECORD))
        .collect();
    let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let mut found: Vec<Option<Kept>> = vec![None; roots.len()];
    let mut outcome = Ok(());
    snapshot.get_many(
        Keyspace::DroppedRow,
        &slices,
        &mut |at, value| match Kept::decode(roots[at], slices[at], value) {
            Ok(kept) => found[at] = Some(kept),
            Err(error) => outcome = Err(error),
        },
    )?;
    outcome.map(|()| found)
}

/// Stages the return of what was dropped under this id, and gives the entity. O(what comes back).
pub(crate) fn restore<I: TypedId>(stage: &mut Stage<'_>, id: I) -> Result<I::Entity> {
    let (kept, tenant) = found(stage, id.into())?;
    let mut state = stage.read(|view| kept_state::<I::Entity>(view, tenant, id.uuid()))?;
    let parent = kept.lineage.parent(kept.id.kind());
    if let Some(parent) = parent
        && !stage.read(|view| view.exists(parent))?
    {
        return Err(Error::not_found(vec![parent]));
    }
    state.meta.version += 1;
    stage.actor.clone_into(&mut state.meta.last_modified_by);
    // Never back, whatever the clock does.
    state.meta.last_modified_time = stage.now().max(state.meta.last_modified_time);
    let siblings = Parent {
        tenant,
        id: parent.map(EntityId::uuid),
    };
    let indexed = I::Entity::indexed(id.uuid(), &state);
    check_unique::<I::Entity>(stage, siblings, id.uuid(), indexed.technical_name)?;
    let restoration = Restoration {
        id: kept.id,
        version: state.meta.version,
        descendants: kept.descendants,
    };
    hooked::before_restoration(stage, &restoration)?;
    let head = encode_head(&state)?;
    let schemas = I::Entity::encode_schemas(&state.fields).map_err(encoding_failed)?;
    check_size(head.len() + schemas.as_ref().map_or(0, Vec::len))?;
    stage.put_head::<I::Entity>(tenant, id.uuid(), &head, state.lineage.store);
    if let Some(schemas) = schemas {
        stage.put_schemas(tenant, id.uuid(), &schemas);
    }
    stage.index(tenant, None, &indexed);
    let root = Subject::of(id.uuid(), &state);
    feed::record(stage, Event::Restored, &root)?;
    if kept.descendants > 0 {
        restore_sets(stage, tenant, &root, kept.descendants)?;
    }
    remove(stage, tenant, &kept);
    stage.read(|view| {
        let inherited = view.inherited(state.lineage, &mut InheritedCache::default())?;
        Ok(I::Entity::assemble(id.uuid(), view.name, state, inherited))
    })
}

/// What can be restored of an id; `NotFound` where there is nothing.
fn found(stage: &Stage<'_>, id: EntityId) -> Result<(Kept, TenantNumber)> {
    let kept = stage.read(|view| restorable(stage.settings, view, id))?;
    kept.zip(stage.tenant()).ok_or_else(|| Error::nothing_dropped(id))
}

/// The whole state of a dropped root.
fn kept_state<E: Entity>(view: &TenantView<'_>, tenant: TenantNumber, root: Uuid) -> Result<State<E>> {
    let key = keys::dropped_row(tenant, root, root, HEAD);
    let mut state = None;
    view.snapshot.get(Keyspace::DroppedRow, &key, &mut |value| {
        state = Some(state_of::<E>(&key, value));
    })?;
    let mut state: State<E> = state.unwrap_or_else(|| Err(missing(&key, "head")))?;
    if state.schema_row {
        let key = keys::dropped_row(tenant, root, root, SCHEMAS);
        let mut added = Err(missing(&key, "schemas"));
        view.snapshot.get(Keyspace::DroppedRow, &key, &mut |value| {
            added = add_schemas::<E>(&mut state, &key, value);
        })?;
        added?;
    }
    Ok(state)
}

fn missing(key: &[u8], what: &str) -> Error {
    Error::corrupt(
        Keyspace::DroppedRow,
        key,
        format_args!("no {what} of what was dropped"),
    )
}

/// The state in a kept head.
pub(crate) fn state_of<E: Entity>(key: &[u8], value: &[u8]) -> Result<State<E>> {
    let head = E::decode_head(envelope::open(Keyspace::DroppedRow, key, value)?);
    head.and_then(E::state)
        .map_err(|what| Error::corrupt(Keyspace::DroppedRow, key, what))
}

/// Adds kept schemas to a state.
pub(crate) fn add_schemas<E: Entity>(state: &mut State<E>, key: &[u8], value: &[u8]) -> Result<()> {
    let body = envelope::open(Keyspace::DroppedRow, key, value)?;
    E::add_schemas(&mut state.fields, body).map_err(|what| Error::corrupt(Keyspace::DroppedRow, key, what))
}

/// Stages the return of every set that went with its asset, as it was.
fn restore_sets(stage: &mut Stage<'_>, tenant: TenantNumber, root: &Subject, expected: u64) -> Result<()> {
    let mut range = bounds::dropped_rows(tenant, root.id.uuid());
    let mut came = Vec::new();
    let mut count = 0;
    // The data set whose schemas must come next.
    let mut owed = None;
    loop {
        let (rows, next) = stage.read(|view| rows_in(view.snapshot, &range))?;
        for (key, value) in rows {
            let Some((_, id, part)) = keys::of_dropped_row(&key) else {
                return Err(Error::corrupt(
                    Keyspace::DroppedRow,
                    &key,
                    "not a key of something dropped",
                ));
            };
            let body = envelope::open(Keyspace::DroppedRow, &key, &value)?;
            match part {
                // The root is back already.
                _ if id == root.id.uuid() => {}
                HEAD if owed.is_none() => {
                    let state = state_of::<DataSet>(&key, &value)?;
                    stage.put_head::<DataSet>(tenant, id, body, None);
                    stage.index(tenant, None, &DataSet::indexed(id, &state));
                    came.push(DescendantRecord {
                        id: id.into_bytes(),
                        version: state.meta.version,
                    });
                    count += 1;
                    owed = state.schema_row.then_some(id);
                    if came.len() == feed::DESCENDANTS {
                        feed::record_descendants(stage, Event::Restored, root, std::mem::take(&mut came))?;
                    }
                }
                SCHEMAS if owed == Some(id) => {
                    stage.put_schemas(tenant, id, body);
                    owed = None;
                }
                _ => {
                    return Err(Error::corrupt(
                        Keyspace::DroppedRow,
                        &key,
                        "a row out of its place",
                    ));
                }
            }
        }
        match next {
            Some(next) => range.start = next,
            None => break,
        }
    }
    if !came.is_empty() {
        feed::record_descendants(stage, Event::Restored, root, came)?;
    }
    if let Some(id) = owed {
        let key = keys::dropped_row(tenant, root.id.uuid(), id, SCHEMAS);
        return Err(missing(&key, "schemas"));
    }
    if count == expected {
        return Ok(());
    }
    let key = keys::dropped_row(tenant, root.id.uuid(), root.id.uuid(), RECORD);
    let what = format_args!("{expected} data sets went with {}, and {count} are left", root.id);
    Err(Error::corrupt(Keyspace::DroppedRow, &key, what))
}

type Row = (Vec<u8>, Vec<u8>);

/// The first rows of a range of `dropped_row`, and where to go on.
fn rows_in(snapshot: &dyn Snapshot, range: &KeyRange) -> Result<(Vec<Row>, Option<Vec<u8>>)> {
    let mut rows: Vec<Row> = Vec::new();
    let mut bytes = 0;
    let mut next = None;
    snapshot.scan(
        Keyspace::DroppedRow,
        range,
        Direction::Forward,
        &mut |key, value| {
            bytes += key.len() + value.len();
            rows.push((key.to_vec(), value.to_vec()));
            if rows.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
                return ControlFlow::Continue(());
            }
            next = successor(key);
            ControlFlow::Break(())
        },
    )?;
    Ok((rows, next))
}

/// Stages the removal of all that is kept of a root.
fn remove(stage: &mut Stage<'_>, tenant: TenantNumber, kept: &Kept) {
    let root = kept.id.uuid();
    stage
        .batch
        .delete_range(Keyspace::DroppedRow, bounds::dropped_rows(tenant, root));
    stage
        .batch
        .delete(Keyspace::Dropped, keys::dropped(tenant, kept.time, root));
}

/// Stages the end of what was dropped under this id. O(what it took along).
pub(crate) fn purge(stage: &mut Stage<'_>, id: EntityId) -> Result<Deleted> {
    let (kept, tenant) = found(stage, id)?;
    feed::record(stage, Event::Purged { by_retention: false }, &kept.subject())?;
    remove(stage, tenant, &kept);
    let mut purged = Deleted {
        sets: kept.descendants,
        ..Deleted::default()
    };
    match id.kind() {
        EntityKind::Store => purged.stores += 1,
        EntityKind::Asset => purged.assets += 1,
        EntityKind::Set => purged.sets += 1,
    }
    Ok(purged)
}

/// Sweeps after a deletion, in proportion to what it has kept itself, so that what has expired does not pile up.
pub(crate) fn sweep_after(stage: &mut Stage<'_>, deleted: &Deleted) -> Result<()> {
    let Deleted { stores, assets, sets } = *deleted;
    let entities = usize::try_from(stores + assets + sets).unwrap_or(usize::MAX);
    if stage.settings.undrop.is_none() || entities == 0 {
        return Ok(());
    }
    let limit = entities.saturating_mul(ROWS_OF_ENTITY).saturating_add(SWEEP_ROWS);
    sweep_step(stage, limit).map(drop)
}

/// Stages the removal of at most about `limit` rows whose retention is over, the oldest first, and tells how many they are. 0: nothing is left to sweep. A root of
/// more rows goes in several steps.
pub(crate) fn sweep_step(stage: &mut Stage<'_>, limit: usize) -> Result<usize> {
    let (Some(retention), Some(tenant)) = (stage.settings.undrop, stage.tenant()) else {
        return Ok(0);
    };
    let until = expired_until(stage.settings, retention);
    let range = bounds::dropped_until(tenant, until);
    let expired = stage.read(|view| entries(view.snapshot, &range, Direction::Forward, limit))?;
    let mut swept = 0;
    for (_, root) in expired {
        if swept >= limit {
            break;
        }
        match stage.read(|view| kept(view.snapshot, tenant, root)) {
            Ok(Some(kept)) => swept += sweep_root(stage, tenant, kept, limit - swept)?,
            // A check tells of it; it may not stand in the way of deletions.
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
    }
    Ok(swept)
}

/// Stages the removal of at most `limit` rows of a root beside its record, and of that when nothing else is left.
fn sweep_root(stage: &mut Stage<'_>, tenant: TenantNumber, kept: Kept, limit: usize) -> Result<usize> {
    if !kept.purging {
        feed::record(stage, Event::Purged { by_retention: true }, &kept.subject())?;
    }
    let root = kept.id.uuid();
    let record = keys::dropped_row(tenant, root, root, RECORD);
    let range = bounds::dropped_rows(tenant, root);
    let mut rows = Vec::new();
    stage.read(|view| {
        view.snapshot
            .scan(Keyspace::DroppedRow, &range, Direction::Forward, &mut |key, _| {
                if key != record {
                    rows.push(key.to_vec());
                }
                if rows.len() > limit {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
    })?;
    if rows.len() <= limit {
        remove(stage, tenant, &kept);
        return Ok(rows.len() + 1);
    }
    rows.truncate(limit);
    let swept = rows.len();
    for key in rows {
        stage.batch.delete(Keyspace::DroppedRow, key);
    }
    put_record(
        stage,
        tenant,
        &Kept {
            purging: true,
            ..kept
        },
    )?;
    Ok(swept)
}

#[cfg(test)]
mod tests;
