//! A sort that no index serves: looks at everything selected and holds a bounded number of keys.

use std::collections::BinaryHeap;

use uuid::Uuid;

use crate::backend::Keyspace;
use crate::engine::TenantView;
use crate::engine::view::{InheritedCache, decode_head};
use crate::entity::{Head, Inherited, Lineage, Stored as _};
use crate::envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::created_time;
use crate::keyspace::keys;
use crate::sortkey::Scalar;
use crate::{DataSet, Entity, NewDataSet};

use super::filter::Filter;
use super::sort::SortField;
use super::source::{Candidate, Source};

/// The most (key, id) pairs that one list holds.
pub(crate) const MAX_HELD: usize = 100_000;
/// How many records are read at a time.
const CHUNK: usize = 1_024;
/// How many schema rows, of up to 1 MiB each, are asked for at a time.
const SCHEMA_ROWS: usize = 64;

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
    let mut walker = source.walk_unordered(E::KIND);
    loop {
        let chunk = walker.chunk(view, CHUNK)?;
        if chunk.is_empty() {
            break;
        }
        keyer.keys::<E>(source, &chunk, filter, |key, id| {
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
    }
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

/// A key some of whose parts lie in other rows than the record.
struct Draft {
    id: Uuid,
    lineage: Lineage,
    schema_row: bool,
    /// One for each field; empty where it is still to come.
    parts: Vec<Vec<u8>>,
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
        let any = |elsewhere: fn(&str) -> bool| self.fields.iter().any(|field| elsewhere(&field.path));
        if any(in_schema) {
            // Only data sets have schemas.
            let mut drafts =
                self.drafts::<DataSet>(source, candidates, filter, |head| head.has_schema_row())?;
            self.add_schema_parts(&mut drafts)?;
            return self.finish(drafts, give);
        }
        if any(|path| inherited_path(path).is_some()) {
            let drafts = self.drafts::<E>(source, candidates, filter, |_| false)?;
            return self.finish(drafts, give);
        }
        self.each_head::<E>(source, candidates, |id, head| {
            if filter.admits(&head) {
                let mut key = Vec::with_capacity(64);
                for SortField { path, descending } in self.fields {
                    self.stored(id, &head, path).append_to(&mut key, *descending);
                }
                give(self.closed(key, id), id);
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

    /// The drafts of those that the filter admits: a view is not read from inside its own visitor.
    fn drafts<E: Entity>(
        &self,
        source: &Source,
        candidates: &[Candidate],
        filter: &Filter,
        schema_row: impl Fn(&E::Head<'_>) -> bool,
    ) -> Result<Vec<Draft>> {
        let mut drafts = Vec::with_capacity(candidates.len());
        self.each_head::<E>(source, candidates, |id, head| {
            if filter.admits(&head) {
                let part = |SortField { path, descending }: &SortField| {
                    let mut part = Vec::new();
                    if !in_schema(path) && inherited_path(path).is_none() {
                        self.stored(id, &head, path).append_to(&mut part, *descending);
                    }
                    part
                };
                drafts.push(Draft {
                    id,
                    lineage: head.lineage(),
                    schema_row: schema_row(&head),
                    parts: self.fields.iter().map(part).collect(),
                });
            }
            Ok(())
        })?;
        Ok(drafts)
    }

    /// Fills in what lies in schema rows, each of which is dropped before the next is read.
    fn add_schema_parts(&self, drafts: &mut [Draft]) -> Result<()> {
        for drafts in drafts.chunks_mut(SCHEMA_ROWS) {
            let with: Vec<usize> = (0..drafts.len()).filter(|&at| drafts[at].schema_row).collect();
            let ids: Vec<Uuid> = with.iter().map(|&at| drafts[at].id).collect();
            let mut missing = vec![true; ids.len()];
            self.view.rows(Keyspace::SetSchema, &ids, &mut |at, key, value| {
                missing[at] = false;
                let body = envelope::open(Keyspace::SetSchema, key, value)?;
                let mut fields = NewDataSet::default();
                DataSet::add_schemas(&mut fields, body)
                    .map_err(|what| Error::corrupt(Keyspace::SetSchema, key, what))?;
                self.set_schema_parts(&mut drafts[with[at]], &fields);
                Ok(())
            })?;
            if let (Some(at), Some(tenant)) = (missing.iter().position(|&missing| missing), self.view.number)
            {
                return Err(missing_schemas(&keys::entity(tenant, ids[at])));
            }
            let nothing = NewDataSet::default();
            for draft in drafts.iter_mut().filter(|draft| !draft.schema_row) {
                self.set_schema_parts(draft, &nothing);
            }
        }
        Ok(())
    }

    fn set_schema_parts(&self, draft: &mut Draft, fields: &NewDataSet) {
        for (part, SortField { path, descending }) in draft.parts.iter_mut().zip(self.fields) {
            if in_schema(path) {
                DataSet::schema_scalar(fields, path).append_to(part, *descending);
            }
        }
    }

    /// Fills in what is inherited, and gives the keys.
    fn finish(&mut self, drafts: Vec<Draft>, mut give: impl FnMut(Vec<u8>, Uuid)) -> Result<()> {
        for Draft {
            id,
            lineage,
            schema_row: _,
            mut parts,
        } in drafts
        {
            for (part, SortField { path, descending }) in parts.iter_mut().zip(self.fields) {
                let Some(path) = inherited_path(path) else {
                    continue;
                };
                let Inherited {
                    asset_name,
                    store_name,
                    store_type,
                } = self.view.inherited(lineage, &mut self.inherited)?;
                let scalar = match path {
                    InheritedPath::AssetName => Scalar::text(asset_name.as_deref()),
                    InheritedPath::StoreName => Scalar::text(store_name.as_deref()),
                    InheritedPath::StoreType => Scalar::Text(&store_type),
                };
                scalar.append_to(part, *descending);
            }
            give(self.closed(parts.concat(), id), id);
        }
        Ok(())
    }

    /// What the record or its key tells.
    fn stored<'s, 'h: 's>(&'s self, id: Uuid, head: &'s impl Head<'h>, path: &str) -> Scalar<'s> {
        match path {
            "id" => Scalar::Id(id),
            "createdTime" => Scalar::Integer(created_time(id).millis()),
            "tenantId" => Scalar::Text(self.view.name),
            path => head.scalar(path),
        }
    }

    /// A key with the id that breaks ties.
    fn closed(&self, mut key: Vec<u8>, id: Uuid) -> Vec<u8> {
        let descending = self.fields.first().is_some_and(|field| field.descending);
        Scalar::Id(id).append_to(&mut key, descending);
        key
    }
}

fn in_schema(path: &str) -> bool {
    path.starts_with("schema.")
}

fn missing_schemas(key: &[u8]) -> Error {
    Error::corrupt(
        Keyspace::SetSchema,
        key,
        "no schemas where the data set says there are",
    )
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
