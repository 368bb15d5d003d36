//! A sort that no index serves: looks at everything selected and holds a bounded number of keys.

use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use uuid::Uuid;

use crate::Entity;
use crate::backend::{Direction, Keyspace};
use crate::engine::TenantView;
use crate::engine::view::{InheritedCache, add_schemas, decode_head, state_of};
use crate::entity::{Head as _, Lineage, State, Stored as _};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::created_time;
use crate::keyspace::keys;
use crate::sortkey::Scalar;

use super::filter::Filter;
use super::sort::SortField;
use super::source::{Candidate, Source};

/// The most (key, id) pairs that one list holds.
pub(crate) const MAX_HELD: usize = 100_000;
/// How many records are read at a time.
const CHUNK: usize = 1_024;

/// Where an unindexed page begins, in the order of the sort's keys.
pub(super) struct Window<'a> {
    pub(super) after: Option<&'a [u8]>,
    /// Whether it is the part before `after` that is wanted, nearest first.
    pub(super) backwards: bool,
    pub(super) skip: u64,
    pub(super) take: usize,
}

/// The candidates of the window, in its direction, and how many entities match in all.
pub(super) fn select<E: Entity>(
    view: &TenantView<'_>,
    source: &Source,
    fields: &[SortField],
    filter: &Filter,
    window: &Window<'_>,
) -> Result<(Vec<Candidate>, u64)> {
    let held = usize::try_from(window.skip).unwrap_or(usize::MAX).saturating_add(window.take);
    if held > MAX_HELD {
        return Err(Error::new(
            ErrorKind::OffsetTooDeep,
            format!(
                "the page lies behind {} entities, and a sort without an index holds at most {MAX_HELD}: follow cursors instead of page \
                 numbers, or sort by name, technicalName, lastModifiedTime or createdTime alone",
                window.skip
            ),
        ));
    }
    let mut best = Best { heap: BinaryHeap::new(), held, backwards: window.backwards };
    let mut matching = 0;
    let mut keyer = Keyer { view, fields, cache: InheritedCache::new() };
    let mut pending: Vec<Candidate> = Vec::new();
    let mut flush = |pending: &mut Vec<Candidate>| -> Result<()> {
        keyer.keys::<E>(source, pending, filter, |key, id| {
            matching += 1;
            let wanted = window.after.is_none_or(|after| {
                if window.backwards { key.as_slice() < after } else { key.as_slice() > after }
            });
            if wanted {
                best.offer(key, id);
            }
        })?;
        pending.clear();
        Ok(())
    };
    source.walk(view, Direction::Forward, None, 0, &mut |candidate| {
        pending.push(candidate);
        if pending.len() == CHUNK {
            flush(&mut pending)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    flush(&mut pending)?;
    let skip = usize::try_from(window.skip).unwrap_or(usize::MAX);
    Ok((best.into_sorted().into_iter().skip(skip).collect(), matching))
}

/// The best keys seen so far, the worst of them on top of the heap.
struct Best {
    heap: BinaryHeap<Ranked>,
    held: usize,
    backwards: bool,
}

#[derive(PartialEq, Eq)]
struct Ranked {
    key: Vec<u8>,
    id: Uuid,
    backwards: bool,
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The key ends with the id, so keys never tie.
        if self.backwards { other.key.cmp(&self.key) } else { self.key.cmp(&other.key) }
    }
}

impl Best {
    fn offer(&mut self, key: Vec<u8>, id: Uuid) {
        let ranked = Ranked { key, id, backwards: self.backwards };
        if self.heap.len() < self.held {
            self.heap.push(ranked);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && ranked < *worst
        {
            *worst = ranked;
        }
    }

    fn into_sorted(self) -> Vec<Candidate> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|Ranked { key, id, backwards: _ }| Candidate { key, prefix: 0, id, value: Vec::new() })
            .collect()
    }
}

/// Makes sort keys.
struct Keyer<'a> {
    view: &'a TenantView<'a>,
    fields: &'a [SortField],
    cache: InheritedCache,
}

impl Keyer<'_> {
    /// Gives the sort key of each candidate that the filter admits.
    fn keys<E: Entity>(
        &mut self,
        source: &Source,
        candidates: &[Candidate],
        filter: &Filter,
        mut give: impl FnMut(Vec<u8>, Uuid),
    ) -> Result<()> {
        let needs_schemas = self.fields.iter().any(|field| field.path.starts_with("schema."));
        let mut with_schemas: Vec<(Uuid, State<E>)> = Vec::new();
        let mut one = |id: Uuid, key: &[u8], head: E::Head<'_>| -> Result<()> {
            if !filter.admits(&head) {
                return Ok(());
            }
            if needs_schemas {
                with_schemas.push((id, state_of::<E>(key, head)?));
                return Ok(());
            }
            give(self.key(id, head.lineage(), |path| head.scalar(path))?, id);
            Ok(())
        };
        if source.has_entity_rows(E::KIND) {
            for candidate in candidates {
                let Some(tenant) = self.view.number else { break };
                let key = keys::entity(tenant, candidate.id);
                one(candidate.id, &key, decode_head::<E>(&key, &candidate.value)?)?;
            }
        } else {
            let ids: Vec<Uuid> = candidates.iter().map(|candidate| candidate.id).collect();
            let Some(tenant) = self.view.number else { return Ok(()) };
            self.view.heads::<E>(&ids, |at, head| one(ids[at], &keys::entity(tenant, ids[at]), head))?;
        }
        if needs_schemas {
            self.keys_with_schemas(with_schemas, give)?;
        }
        Ok(())
    }

    fn keys_with_schemas<E: Entity>(
        &mut self,
        mut states: Vec<(Uuid, State<E>)>,
        mut give: impl FnMut(Vec<u8>, Uuid),
    ) -> Result<()> {
        let ids: Vec<Uuid> = states.iter().map(|(id, _)| *id).collect();
        self.view.rows(Keyspace::SetSchema, &ids, &mut |at, key, value| {
            add_schemas::<E>(&mut states[at].1, key, value)
        })?;
        for (id, state) in states {
            // The other fields come from the head again, so that each has one accessor.
            let body = E::encode_head(&state).map_err(crate::engine::create::encoding_failed)?;
            let head = E::decode_head(&body).map_err(crate::engine::create::encoding_failed)?;
            let key = self.key(id, state.lineage, |path| match head.scalar(path) {
                Scalar::Missing => E::schema_scalar(&state.fields, path),
                found => found,
            })?;
            give(key, id);
        }
        Ok(())
    }

    fn key<'s>(
        &mut self,
        id: Uuid,
        lineage: Lineage,
        stored: impl Fn(&str) -> Scalar<'s>,
    ) -> Result<Vec<u8>> {
        let mut key = Vec::with_capacity(64);
        for SortField { path, descending } in self.fields {
            match path.as_str() {
                "id" => Scalar::Id(id).append_to(&mut key, *descending),
                "createdTime" => Scalar::Integer(created_time(id).millis()).append_to(&mut key, *descending),
                "tenantId" => Scalar::Text(self.view.name).append_to(&mut key, *descending),
                "dataStoreInfo.name" | "dataAssetInfo.dataStoreInfo.name" => {
                    let inherited = self.view.inherited(lineage, &mut self.cache)?;
                    Scalar::text(inherited.store_name.as_deref()).append_to(&mut key, *descending);
                }
                "dataStoreInfo.type" | "dataAssetInfo.dataStoreInfo.type" => {
                    let inherited = self.view.inherited(lineage, &mut self.cache)?;
                    Scalar::Text(&inherited.store_type).append_to(&mut key, *descending);
                }
                "dataAssetInfo.name" => {
                    let inherited = self.view.inherited(lineage, &mut self.cache)?;
                    Scalar::text(inherited.asset_name.as_deref()).append_to(&mut key, *descending);
                }
                path => stored(path).append_to(&mut key, *descending),
            }
        }
        let descending = self.fields.first().is_some_and(|field| field.descending);
        Scalar::Id(id).append_to(&mut key, descending);
        Ok(key)
    }
}
