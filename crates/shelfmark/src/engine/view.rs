//! Reading entities of one tenant from a view.

use std::ops::ControlFlow;

use uuid::Uuid;

use super::ancestors::InheritedCache;
use crate::DataAsset;
use crate::backend::{Direction, KeyRange, Keyspace, Snapshot};
use crate::entity::{Entity, Head as _, State, TypedId as _, skim};
use crate::envelope;
use crate::error::{Error, Result};
use crate::ids::{AssetId, EntityId, EntityKind, StoreId};
use crate::index::{children_counter, total_counter};
use crate::keyspace::{Parent, TenantNumber, bounds, entities, keys};
use crate::sortkey::Scalar;

/// A view, and the tenant as this view knows it.
#[derive(Clone, Copy)]
pub struct TenantView<'a> {
    pub(crate) snapshot: &'a dyn Snapshot,
    pub(crate) name: &'a str,
    /// `None`: the tenant does not exist, so every read is empty.
    pub(crate) number: Option<TenantNumber>,
}

impl TenantView<'_> {
    pub(crate) fn parent(&self, id: Option<Uuid>) -> Option<Parent> {
        self.number.map(|tenant| Parent { tenant, id })
    }

    /// Whether there is such an entity. One key lookup.
    pub(crate) fn exists(&self, id: EntityId) -> Result<bool> {
        let Some(tenant) = self.number else {
            return Ok(false);
        };
        self.snapshot
            .get(entities(id.kind()), &keys::entity(tenant, id.uuid()), &mut |_| {})
    }

    /// Which of these entities of a kind are there. One round trip.
    pub(crate) fn exist(&self, kind: EntityKind, ids: &[EntityId]) -> Result<Vec<bool>> {
        let mut there = vec![false; ids.len()];
        if ids.is_empty() {
            return Ok(there);
        }
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        self.rows(entities(kind), &ids, &mut |at, _, _| {
            there[at] = true;
            Ok(())
        })?;
        Ok(there)
    }

    /// Shows the head to `visit`, borrowed from the stored bytes.
    pub(crate) fn head<E: Entity, R>(
        &self,
        id: Uuid,
        visit: impl FnOnce(E::Head<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        self.row::<E, R>(id, |key, value| decode_head::<E>(key, value).and_then(visit))
    }

    /// Shows key and value of the entity's row.
    pub(super) fn row<E: Entity, R>(
        &self,
        id: Uuid,
        visit: impl FnOnce(&[u8], &[u8]) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some(tenant) = self.number else {
            return Ok(None);
        };
        let key = keys::entity(tenant, id);
        let mut visit = Some(visit);
        let mut result = None;
        self.snapshot.get(entities(E::KIND), &key, &mut |value| {
            result = visit.take().map(|visit| visit(&key, value));
        })?;
        result.transpose()
    }

    /// Shows the head of each of `ids` that is there, with its position, in any order.
    pub(crate) fn heads<E: Entity>(
        &self,
        ids: &[Uuid],
        mut visit: impl FnMut(usize, E::Head<'_>) -> Result<()>,
    ) -> Result<()> {
        self.rows(entities(E::KIND), ids, &mut |at, key, value| {
            visit(at, decode_head::<E>(key, value)?)
        })
    }

    /// The names of `ids`, in their order.
    pub(crate) fn names<E: Entity>(&self, ids: &[Uuid]) -> Result<Vec<Option<String>>> {
        let mut names = vec![None; ids.len()];
        self.rows(entities(E::KIND), ids, &mut |at, key, value| {
            names[at] = name_in::<E>(key, value)?;
            Ok(())
        })?;
        Ok(names)
    }

    /// Shows the row of each of `ids` that is there in a keyspace with entity keys.
    pub(crate) fn rows(
        &self,
        space: Keyspace,
        ids: &[Uuid],
        visit: &mut dyn FnMut(usize, &[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let Some(tenant) = self.number else { return Ok(()) };
        let keys: Vec<_> = ids.iter().map(|&id| keys::entity(tenant, id)).collect();
        let slices: Vec<&[u8]> = keys.iter().map(|key| key.as_slice()).collect();
        let mut outcome = Ok(());
        self.snapshot.get_many(space, &slices, &mut |at, value| {
            if outcome.is_ok() {
                outcome = visit(at, slices[at], value);
            }
        })?;
        outcome
    }

    /// The stored state of an entity. One row; a second one with schemas.
    pub(crate) fn state<E: Entity>(&self, id: Uuid, schemas: bool) -> Result<Option<State<E>>> {
        let Some(tenant) = self.number else {
            return Ok(None);
        };
        let key = keys::entity(tenant, id);
        let state = self.head::<E, _>(id, |head| state_of::<E>(&key, head))?;
        let Some(mut state) = state else { return Ok(None) };
        if schemas && state.schema_row {
            let mut outcome = Ok(());
            let there = self.snapshot.get(Keyspace::SetSchema, &key, &mut |value| {
                outcome = add_schemas::<E>(&mut state, &key, value);
            })?;
            outcome?;
            if !there {
                return Err(missing_schemas(&key));
            }
        }
        Ok(Some(state))
    }

    /// The entity as callers see it.
    pub(crate) fn entity<E: Entity>(&self, id: Uuid, schemas: bool) -> Result<Option<E>> {
        // Made in its place: an entity is large to move.
        let mut found = None;
        let mut schema_row = false;
        self.row::<E, _>(id, |key, value| {
            schema_row = self.place::<E>(id, key, value, &mut found)?;
            Ok(())
        })?;
        if schemas && schema_row {
            self.complete_schemas(std::slice::from_mut(&mut found), &[0])?;
        }
        if let Some(entity) = &mut found {
            entity.inherit(self.inherited_by_one(entity.lineage())?);
        }
        Ok(found)
    }

    /// The entities of `ids`, in their order; `None` where there is none. Rows are read in one go, ancestors once each.
    pub(crate) fn entities<E: Entity>(&self, ids: &[Uuid], schemas: bool) -> Result<Vec<Option<E>>> {
        let mut found: Vec<Option<E>> = Vec::new();
        found.resize_with(ids.len(), || None);
        let mut with_schemas = Vec::new();
        self.rows(entities(E::KIND), ids, &mut |at, key, value| {
            if self.place(ids[at], key, value, &mut found[at])? && schemas {
                with_schemas.push(at);
            }
            Ok(())
        })?;
        self.complete(&mut found, &with_schemas)?;
        Ok(found)
    }

    /// As [`TenantView::entities`], where the rows of `ids` have been read already.
    pub(crate) fn entities_of_rows<'r, E: Entity>(
        &self,
        ids: &[Uuid],
        rows: impl Iterator<Item = &'r [u8]>,
        schemas: bool,
    ) -> Result<Vec<Option<E>>> {
        let Some(tenant) = self.number else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        found.resize_with(ids.len(), || None);
        let mut with_schemas = Vec::new();
        for (at, (&id, value)) in ids.iter().zip(rows).enumerate() {
            if self.place(id, &keys::entity(tenant, id), value, &mut found[at])? && schemas {
                with_schemas.push(at);
            }
        }
        self.complete(&mut found, &with_schemas)?;
        Ok(found)
    }

    /// Puts an entity without what lies elsewhere where it is to be. Gives whether a schema row belongs to it.
    fn place<E: Entity>(&self, id: Uuid, key: &[u8], value: &[u8], place: &mut Option<E>) -> Result<bool> {
        let space = entities(E::KIND);
        let body = envelope::open(space, key, value)?;
        E::place(body, id, self.name, place).map_err(|what| Error::corrupt(space, key, what))
    }

    /// Adds what lies elsewhere: the schemas of those at `with_schemas`, and what each inherits.
    fn complete<E: Entity>(&self, found: &mut [Option<E>], with_schemas: &[usize]) -> Result<()> {
        if !with_schemas.is_empty() {
            self.complete_schemas(found, with_schemas)?;
        }
        let mut cache = InheritedCache::default();
        for entity in found.iter_mut().flatten() {
            entity.inherit(self.inherited(entity.lineage(), &mut cache)?);
        }
        Ok(())
    }

    fn complete_schemas<E: Entity>(&self, found: &mut [Option<E>], with_schemas: &[usize]) -> Result<()> {
        let id_at = |at: usize| {
            found[at]
                .as_ref()
                .map_or(Uuid::nil(), |entity| entity.id().uuid())
        };
        let ids: Vec<Uuid> = with_schemas.iter().map(|&at| id_at(at)).collect();
        let mut missing = vec![true; ids.len()];
        self.rows(Keyspace::SetSchema, &ids, &mut |at, key, value| {
            missing[at] = false;
            match &mut found[with_schemas[at]] {
                Some(entity) => read_schemas(entity, key, value),
                None => Ok(()),
            }
        })?;
        if let (Some(at), Some(tenant)) = (missing.iter().position(|&missing| missing), self.number) {
            return Err(missing_schemas(&keys::entity(tenant, ids[at])));
        }
        Ok(())
    }

    /// The store of an asset; `None` where there is no such asset.
    pub(crate) fn store_of(&self, asset: AssetId) -> Result<Option<StoreId>> {
        Ok(self
            .head::<DataAsset, _>(asset.uuid(), |head| Ok(head.lineage().store))?
            .flatten())
    }

    /// How many entities of `kind` the tenant holds. O(1) with counters.
    pub(crate) fn total(&self, kind: EntityKind) -> Result<u64> {
        let Some(tenant) = self.number else { return Ok(0) };
        let (space, prefix) = total_counter(tenant, kind);
        self.snapshot.count(space, &[&prefix])
    }

    /// How many children of `kind` the parents hold together. O(parents) with counters.
    pub(crate) fn children(&self, kind: EntityKind, parents: &[Parent]) -> Result<u64> {
        let Some(&first) = parents.first() else {
            return Ok(0);
        };
        let (space, _) = children_counter(first, kind);
        let prefixes: Vec<Vec<u8>> = parents
            .iter()
            .map(|&parent| children_counter(parent, kind).1)
            .collect();
        let slices: Vec<&[u8]> = prefixes.iter().map(Vec::as_slice).collect();
        self.snapshot.count(space, &slices)
    }

    /// The ids at the end of the keys of a range, at most `limit`, and the last key where there may be more.
    pub(crate) fn ids_in(
        &self,
        space: Keyspace,
        range: &KeyRange,
        limit: usize,
    ) -> Result<(Vec<Uuid>, Option<Vec<u8>>)> {
        let mut ids = Vec::new();
        let mut more = None;
        let mut bad = None;
        self.snapshot
            .scan(space, range, Direction::Forward, &mut |key, _| {
                match keys::id_at_end(key) {
                    Some(id) => ids.push(id),
                    None => bad = Some(Error::corrupt(space, key, "a key too short for an id")),
                }
                if ids.len() < limit && bad.is_none() {
                    return ControlFlow::Continue(());
                }
                more = Some(key.to_vec());
                ControlFlow::Break(())
            })?;
        bad.map_or(Ok((ids, more)), Err)
    }

    /// The ids of every child of `kind` of one parent, in creation order.
    pub(crate) fn all_children(&self, kind: EntityKind, parent: Parent) -> Result<Vec<Uuid>> {
        let space = crate::keyspace::IndexOrder::Creation.keyspace(kind);
        Ok(self.ids_in(space, &bounds::children(parent), usize::MAX)?.0)
    }
}

/// The text at a position of an encoded head, which is not decoded for it.
pub(super) fn text_at<E: Entity>(key: &[u8], body: &[u8], position: Option<usize>) -> Result<Option<String>> {
    match position.and_then(|position| skim::scalar(E::LAYOUT, body, position)) {
        Some(Scalar::Text(text)) => Ok(Some(text.to_owned())),
        Some(Scalar::Missing) => Ok(None),
        _ => Err(Error::corrupt(entities(E::KIND), key, "a head of another layout")),
    }
}

/// The name in the row of an entity, of which nothing else is decoded.
pub(crate) fn name_in<E: Entity>(key: &[u8], value: &[u8]) -> Result<Option<String>> {
    name_in_body::<E>(key, envelope::open(entities(E::KIND), key, value)?)
}

/// As [`name_in`], of an encoded head.
pub(crate) fn name_in_body<E: Entity>(key: &[u8], body: &[u8]) -> Result<Option<String>> {
    text_at::<E>(key, body, const { skim::position(E::LAYOUT, "name") })
}

/// The id of an entity and its encoded head, from its row.
pub(crate) fn opened<'a, E: Entity>(key: &[u8], value: &'a [u8]) -> Result<(Uuid, &'a [u8])> {
    let space = entities(E::KIND);
    let id = keys::id_at_end(key).ok_or_else(|| Error::corrupt(space, key, "a key too short for an id"))?;
    Ok((id, envelope::open(space, key, value)?))
}

/// The parent in an encoded head; `None` of stores.
pub(crate) fn parent_in_body<E: Entity>(key: &[u8], body: &[u8]) -> Result<Option<Uuid>> {
    let Some(position) = (const { skim::parent_position(E::KIND, E::LAYOUT) }) else {
        return Ok(None);
    };
    match skim::scalar(E::LAYOUT, body, position) {
        Some(Scalar::Id(parent)) => Ok(Some(parent)),
        _ => Err(Error::corrupt(entities(E::KIND), key, "a head of another layout")),
    }
}

/// Decodes the head in a stored value.
pub(crate) fn decode_head<'a, E: Entity>(key: &[u8], value: &'a [u8]) -> Result<E::Head<'a>> {
    let space = entities(E::KIND);
    E::decode_head(envelope::open(space, key, value)?).map_err(|what| Error::corrupt(space, key, what))
}

/// The owned state of a decoded head.
pub(crate) fn state_of<E: Entity>(key: &[u8], head: E::Head<'_>) -> Result<State<E>> {
    E::state(head).map_err(|what| Error::corrupt(entities(E::KIND), key, what))
}

fn read_schemas<E: Entity>(entity: &mut E, key: &[u8], value: &[u8]) -> Result<()> {
    let body = envelope::open(Keyspace::SetSchema, key, value)?;
    entity
        .read_schemas(body)
        .map_err(|what| Error::corrupt(Keyspace::SetSchema, key, what))
}

/// Adds a stored schema row to a state.
pub(crate) fn add_schemas<E: Entity>(state: &mut State<E>, key: &[u8], value: &[u8]) -> Result<()> {
    let body = envelope::open(Keyspace::SetSchema, key, value)?;
    E::add_schemas(&mut state.fields, body).map_err(|what| Error::corrupt(Keyspace::SetSchema, key, what))
}

pub(super) fn missing_schemas(key: &[u8]) -> Error {
    Error::corrupt(
        Keyspace::SetSchema,
        key,
        "no schemas where the data set says there are",
    )
}
