//! A sort that no index serves: looks at everything selected and holds a bounded number of keys.

use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use uuid::Uuid;

use crate::Entity;
use crate::backend::Direction;
use crate::engine::TenantView;
use crate::engine::view::{InheritedCache, decode_head, state_of};
use crate::entity::{Head as _, Inherited, Lineage, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::created_time;
use crate::keyspace::{entities, keys};
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
    // The one that only shows whether there is a next page does not count.
    let wanted = usize::try_from(window.skip)
        .unwrap_or(usize::MAX)
        .saturating_add(window.take);
    let held = wanted.min(MAX_HELD + 1);
    if window.skip >= MAX_HELD as u64 {
        return Err(too_deep(window));
    }
    let mut best = Best {
        heap: BinaryHeap::new(),
        held,
        refused: false,
        backwards: window.backwards,
    };
    let mut matching = 0;
    let mut keyer = Keyer {
        view,
        fields,
        inherited: InheritedCache::new(),
    };
    let mut pending: Vec<Candidate> = Vec::new();
    let mut flush = |pending: &mut Vec<Candidate>| -> Result<()> {
        keyer.keys::<E>(source, pending, filter, |key, id| {
            matching += 1;
            let wanted = window.after.is_none_or(|after| {
                if window.backwards {
                    key.as_slice() < after
                } else {
                    key.as_slice() > after
                }
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
    if best.refused && held < wanted {
        return Err(too_deep(window));
    }
    let skip = usize::try_from(window.skip).unwrap_or(usize::MAX);
    Ok((best.into_sorted().into_iter().skip(skip).collect(), matching))
}

fn too_deep(window: &Window<'_>) -> Error {
    Error::new(
        ErrorKind::OffsetTooDeep,
        format!(
            "the page begins at {} and asks for {}, and a sort without an index holds at most {MAX_HELD} keys: follow cursors instead of page \
             numbers, or sort by name, technicalName, lastModifiedTime or createdTime alone",
            window.skip,
            window.take.saturating_sub(1),
        ),
    )
}

/// The best keys seen so far, the worst of them on top of the heap.
struct Best {
    heap: BinaryHeap<Ranked>,
    held: usize,
    /// Whether there were more than are held.
    refused: bool,
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
        if self.backwards {
            other.key.cmp(&self.key)
        } else {
            self.key.cmp(&other.key)
        }
    }
}

impl Best {
    fn offer(&mut self, key: Vec<u8>, id: Uuid) {
        let ranked = Ranked {
            key,
            id,
            backwards: self.backwards,
        };
        if self.heap.len() < self.held {
            self.heap.push(ranked);
        } else {
            self.refused = true;
            if let Some(mut worst) = self.heap.peek_mut()
                && ranked < *worst
            {
                *worst = ranked;
            }
        }
    }

    fn into_sorted(self) -> Vec<Candidate> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(
                |Ranked {
                     key,
                     id,
                     backwards: _,
                 }| Candidate {
                    key,
                    prefix: 0,
                    id,
                    value: Vec::new(),
                },
            )
            .collect()
    }
}

/// Makes sort keys.
struct Keyer<'a> {
    view: &'a TenantView<'a>,
    fields: &'a [SortField],
    inherited: InheritedCache,
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
        if self.fields.iter().any(|field| field.path.starts_with("schema.")) {
            return self.keys_with_schemas::<E>(candidates, filter, give);
        }
        if self
            .fields
            .iter()
            .any(|field| inherited_path(&field.path).is_some())
        {
            // Ahead of the keys: a view is not read from inside its own visitor.
            let mut lineages = Vec::with_capacity(candidates.len());
            self.each_head::<E>(source, candidates, |_, head| {
                lineages.push(head.lineage());
                Ok(())
            })?;
            for lineage in lineages {
                self.view.inherited(lineage, &mut self.inherited)?;
            }
        }
        self.each_head::<E>(source, candidates, |id, head| {
            if filter.admits(&head) {
                give(self.key(id, head.lineage(), |path| head.scalar(path)), id);
            }
            Ok(())
        })
    }

    fn each_head<E: Entity>(
        &self,
        source: &Source,
        candidates: &[Candidate],
        mut visit: impl FnMut(Uuid, E::Head<'_>) -> Result<()>,
    ) -> Result<()> {
        if source.has_entity_rows(E::KIND) {
            for candidate in candidates {
                visit(candidate.id, decode_head::<E>(&candidate.key, &candidate.value)?)?;
            }
            return Ok(());
        }
        let ids: Vec<Uuid> = candidates.iter().map(|candidate| candidate.id).collect();
        self.view.heads::<E>(&ids, |at, head| visit(ids[at], head))
    }

    fn keys_with_schemas<E: Entity>(
        &mut self,
        candidates: &[Candidate],
        filter: &Filter,
        mut give: impl FnMut(Vec<u8>, Uuid),
    ) -> Result<()> {
        let ids: Vec<Uuid> = candidates.iter().map(|candidate| candidate.id).collect();
        let mut states: Vec<Option<State<E>>> = Vec::new();
        states.resize_with(ids.len(), || None);
        let mut bodies = vec![Vec::new(); ids.len()];
        self.view.rows(entities(E::KIND), &ids, &mut |at, key, value| {
            let head = decode_head::<E>(key, value)?;
            if filter.admits(&head) {
                states[at] = Some(state_of::<E>(key, head)?);
                bodies[at] = value.to_vec();
            }
            Ok(())
        })?;
        self.view.add_schema_rows(&ids, &mut states)?;
        for ((id, state), body) in ids.into_iter().zip(states).zip(bodies) {
            let (Some(state), Some(tenant)) = (state, self.view.number) else {
                continue;
            };
            self.view.inherited(state.lineage, &mut self.inherited)?;
            let head = decode_head::<E>(&keys::entity(tenant, id), &body)?;
            let key = self.key(id, state.lineage, |path| match head.scalar(path) {
                Scalar::Missing => E::schema_scalar(&state.fields, path),
                found => found,
            });
            give(key, id);
        }
        Ok(())
    }

    fn key<'s>(&self, id: Uuid, lineage: Lineage, stored: impl Fn(&str) -> Scalar<'s>) -> Vec<u8> {
        let mut key = Vec::with_capacity(64);
        let nothing = Inherited::default();
        let inherited = lineage
            .nearest()
            .and_then(|nearest| self.inherited.get(&nearest))
            .unwrap_or(&nothing);
        for SortField { path, descending } in self.fields {
            let scalar = match (path.as_str(), inherited_path(path)) {
                (_, Some(InheritedPath::AssetName)) => Scalar::text(inherited.asset_name.as_deref()),
                (_, Some(InheritedPath::StoreName)) => Scalar::text(inherited.store_name.as_deref()),
                (_, Some(InheritedPath::StoreType)) => Scalar::Text(&inherited.store_type),
                ("id", None) => Scalar::Id(id),
                ("createdTime", None) => Scalar::Integer(created_time(id).millis()),
                ("tenantId", None) => Scalar::Text(self.view.name),
                (path, None) => {
                    stored(path).append_to(&mut key, *descending);
                    continue;
                }
            };
            scalar.append_to(&mut key, *descending);
        }
        let descending = self.fields.first().is_some_and(|field| field.descending);
        Scalar::Id(id).append_to(&mut key, descending);
        key
    }
}

/// What is read from an ancestor.
enum InheritedPath {
    AssetName,
    StoreName,
    StoreType,
}

fn inherited_path(path: &str) -> Option<InheritedPath> {
    match path {
        "dataAssetInfo.name" => Some(InheritedPath::AssetName),
        "dataStoreInfo.name" | "dataAssetInfo.dataStoreInfo.name" => Some(InheritedPath::StoreName),
        "dataStoreInfo.type" | "dataAssetInfo.dataStoreInfo.type" => Some(InheritedPath::StoreType),
        _ => None,
    }
}
