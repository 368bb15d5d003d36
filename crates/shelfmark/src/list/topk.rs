//! A sort that no index serves: looks at everything selected and holds a bounded number of keys.

use std::cmp::Ordering;

use uuid::Uuid;

use crate::backend::{Direction, Keyspace};
use crate::engine::TenantView;
use crate::engine::ancestors::InheritedCache;
use crate::engine::view::decode_head;
use crate::entity::skim::{self, Raw};
use crate::entity::{Head, Inherited, Lineage, Stored as _};
use crate::envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::created_time;
use crate::keyspace::{IndexOrder, entities, keys};
use crate::sortkey::{Scalar, compare_text};
use crate::{DataSet, Entity, NewDataSet};

use super::best::Best;
use super::filter::Filter;
use super::sort::SortField;
use super::source::{Candidate, Edge, Source};

/// The most (key, id) pairs that one list holds.
pub(crate) const MAX_HELD: usize = 100_000;
/// How many records are read at a time.
const CHUNK: usize = 1_024;
/// How many schema rows, of up to 1 MiB each, are asked for at a time.
const SCHEMA_ROWS: usize = 64;

/// What a list is sorted by.
pub(super) struct Ranking {
    pub(super) keys: Keys,
    /// The index that serves the filter.
    pub(super) served_by: Option<IndexOrder>,
    /// The parents of what is selected, sorted, where the source holds more. Only with fields that the records themselves tell.
    pub(super) within: Option<Vec<Uuid>>,
}

pub(super) enum Keys {
    /// The sort keys of an index, so that a cursor leads on whichever way a page is found.
    Index { order: IndexOrder, descending: bool },
    /// By these fields, which no index has.
    Fields(Vec<SortField>),
}

/// Where an unindexed page begins, in the order of the sort's keys.
pub(super) struct Window<'a> {
    /// The most keys to hold.
    pub(super) at_most: usize,
    pub(super) edge: Option<&'a Edge>,
    /// Whether it is the part before `edge` that is wanted, nearest first.
    pub(super) backwards: bool,
    pub(super) skip: u64,
    pub(super) take: usize,
}

/// The candidates of the window, in its direction, and how many entities match in all.
pub(super) fn select<E: Entity>(
    view: &TenantView<'_>,
    source: &Source,
    ranking: &Ranking,
    filter: &Filter,
    window: &Window<'_>,
) -> Result<(Vec<Candidate>, u64)> {
    // The one that only shows whether there is a next page does not count.
    let wanted = usize::try_from(window.skip)
        .unwrap_or(usize::MAX)
        .saturating_add(window.take);
    let held = wanted.min(window.at_most.saturating_add(1));
    // The keys of an index do not tell whether it is walked from its end.
    let (fields, descending) = match &ranking.keys {
        Keys::Fields(fields) => (fields.as_slice(), false),
        Keys::Index { descending, .. } => (&[][..], *descending),
    };
    let backwards = window.backwards != descending;
    let direction = if backwards {
        Direction::Reverse
    } else {
        Direction::Forward
    };
    let mut found = Found {
        best: Best::new(held, direction),
        edge: window.edge,
        direction,
        matching: 0,
        offered: 0,
    };
    let mut keyer = Keyer {
        view,
        fields,
        skimmed: skimmed::<E>(ranking, filter),
        within: ranking.within.as_deref(),
        inherited: InheritedCache::default(),
    };
    if source.has_entity_rows(E::KIND) && matches!(ranking.keys, Keys::Fields(_)) && tell_all(fields) {
        let mut sort_key = Vec::with_capacity(64);
        source.each_row(view, |key, value| {
            if let Some(id) = keyer.key_of_row::<E>(&mut sort_key, key, value, filter, &mut found)? {
                found.give(&sort_key, id);
            }
            Ok(())
        })?;
    } else {
        let mut walker = source.walk_unordered(E::KIND);
        loop {
            let chunk = walker.chunk(view, CHUNK)?;
            if chunk.is_empty() {
                break;
            }
            match ranking.keys {
                Keys::Index { order, .. } => {
                    keyer.index_keys::<E>(source, &chunk, filter, order, &mut found)?;
                }
                Keys::Fields(_) => keyer.keys::<E>(source, &chunk, filter, &mut found)?,
            }
        }
    }
    let Found {
        best,
        matching,
        offered,
        ..
    } = found;
    // A page past the end is empty, however deep.
    if offered > held as u64 && offered > window.skip && held < wanted {
        return Err(too_deep(ranking, window));
    }
    let skip = usize::try_from(window.skip).unwrap_or(usize::MAX);
    Ok((best.into_sorted().into_iter().skip(skip).collect(), matching))
}

/// What is found as the selected are looked at.
struct Found<'a> {
    best: Best,
    edge: Option<&'a Edge>,
    direction: Direction,
    /// How many match, and how many of these lie behind the edge.
    matching: u64,
    offered: u64,
}

impl Found<'_> {
    fn give(&mut self, key: &[u8], id: Uuid) {
        self.matching += 1;
        if self.edge.is_none_or(|edge| edge.leads_to(key, self.direction)) {
            self.offered += 1;
            self.best.offer(key, || Candidate::by_key(key, id));
        }
    }

    /// Counts one that matches and whose key begins with that of a text, if that alone puts it behind all that are held. Those lie behind the edge, and so
    /// does it.
    fn passes_over(&mut self, text: &[u8], descending: bool) -> bool {
        let behind = match self.direction {
            Direction::Forward => Ordering::Greater,
            Direction::Reverse => Ordering::Less,
        };
        let last = self.best.last();
        let passes = last.is_some_and(|last| compare_text(text, descending, last) == Some(behind));
        if passes {
            self.matching += 1;
            self.offered += 1;
        }
        passes
    }
}

/// Whether records alone tell every field, without schema rows and ancestors.
pub(super) fn tell_all(fields: &[SortField]) -> bool {
    !fields
        .iter()
        .any(|field| in_schema(&field.path) || inherited_path(&field.path).is_some())
}

/// The positions of the fields in an encoded head, where all lie there and nothing else is to be looked at.
fn skimmed<E: Entity>(ranking: &Ranking, filter: &Filter) -> Option<Skimmed> {
    let Keys::Fields(fields) = &ranking.keys else {
        return None;
    };
    if !filter.is_empty() {
        return None;
    }
    let at = |path| skim::position(E::LAYOUT, path);
    Some(Skimmed {
        fields: fields
            .iter()
            .map(|field| at(&field.path))
            .collect::<Option<_>>()?,
        parent: skim::parent_position(E::KIND, E::LAYOUT),
    })
}

/// Positions in an encoded head.
struct Skimmed {
    fields: Vec<usize>,
    parent: Option<usize>,
}

fn too_deep(ranking: &Ranking, window: &Window<'_>) -> Error {
    let (filter, indexed) = match ranking.served_by {
        None => (
            "",
            "sort by name, technicalName, lastModifiedTime or createdTime alone",
        ),
        Some(IndexOrder::Modified) => (
            " and a filter by modification time",
            "sort by lastModifiedTime alone, which has the index of that filter",
        ),
        Some(_) => (
            " and a filter by name prefix",
            "sort by name alone, which has the index of that filter",
        ),
    };
    let (sort, instead) = match ranking.keys {
        Keys::Fields(_) => ("a sort without an index", ""),
        Keys::Index { .. } => ("a sort by one index", ", or drop the filter"),
    };
    Error::new(
        ErrorKind::OffsetTooDeep,
        format!(
            "the page begins at {} and asks for {}, and {sort}{filter} holds at most {} keys: follow cursors instead of page numbers, or {indexed}{instead}",
            window.skip,
            window.take.saturating_sub(1),
            window.at_most,
        ),
    )
}

/// Makes sort keys.
struct Keyer<'a> {
    view: &'a TenantView<'a>,
    fields: &'a [SortField],
    skimmed: Option<Skimmed>,
    within: Option<&'a [Uuid]>,
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
    /// Finds the sort key of each candidate that the filter admits.
    fn keys<E: Entity>(
        &mut self,
        source: &Source,
        candidates: &[Candidate],
        filter: &Filter,
        found: &mut Found<'_>,
    ) -> Result<()> {
        let any = |elsewhere: fn(&str) -> bool| self.fields.iter().any(|field| elsewhere(&field.path));
        if any(in_schema) {
            // Only data sets have schemas.
            let mut drafts =
                self.drafts::<DataSet>(source, candidates, filter, |head| head.has_schema_row())?;
            self.add_schema_parts(&mut drafts)?;
            return self.finish(drafts, found);
        }
        if any(|path| inherited_path(path).is_some()) {
            let drafts = self.drafts::<E>(source, candidates, filter, |_| false)?;
            return self.finish(drafts, found);
        }
        let mut sort_key = Vec::with_capacity(64);
        let ids: Vec<Uuid> = candidates.iter().map(|candidate| candidate.id).collect();
        self.view.rows(entities(E::KIND), &ids, &mut |_, key, value| {
            if let Some(id) = self.key_of_row::<E>(&mut sort_key, key, value, filter, found)? {
                found.give(&sort_key, id);
            }
            Ok(())
        })
    }

    /// Makes the sort key of an entity from its row, and tells its id; `None` where it is not selected, or passed over.
    fn key_of_row<E: Entity>(
        &self,
        sort_key: &mut Vec<u8>,
        key: &[u8],
        value: &[u8],
        filter: &Filter,
        found: &mut Found<'_>,
    ) -> Result<Option<Uuid>> {
        let space = entities(E::KIND);
        let Some(id) = keys::id_at_end(key) else {
            return Err(Error::corrupt(space, key, "a key too short for an id"));
        };
        let selects = |parent| {
            self.within
                .is_none_or(|within| within.binary_search(&parent).is_ok())
        };
        sort_key.clear();
        if let Some(Skimmed { fields, parent }) = &self.skimmed {
            let body = envelope::open(space, key, value)?;
            let other = || Error::corrupt(space, key, "a head of another layout");
            if let (Some(_), Some(at)) = (self.within, *parent)
                && let Scalar::Id(parent) = skim::scalar(E::LAYOUT, body, at).ok_or_else(other)?
                && !selects(parent)
            {
                return Ok(None);
            }
            for (&at, SortField { descending, .. }) in fields.iter().zip(self.fields) {
                let value = skim::raw(E::LAYOUT, body, at).ok_or_else(other)?;
                if let Raw::Text(text) = value
                    && sort_key.is_empty()
                    && found.passes_over(text, *descending)
                {
                    return Ok(None);
                }
                value.scalar().ok_or_else(other)?.append_to(sort_key, *descending);
            }
        } else {
            let head = decode_head::<E>(key, value)?;
            let parent = head.lineage().parent(E::KIND);
            if !parent.is_none_or(|parent| selects(parent.uuid())) || !filter.admits(&head) {
                return Ok(None);
            }
            for SortField { path, descending } in self.fields {
                self.stored(id, &head, path).append_to(sort_key, *descending);
            }
        }
        self.close(sort_key, id);
        Ok(Some(id))
    }

    /// As [`Keyer::keys`], with the sort keys that an index has.
    fn index_keys<E: Entity>(
        &self,
        source: &Source,
        candidates: &[Candidate],
        filter: &Filter,
        order: IndexOrder,
        found: &mut Found<'_>,
    ) -> Result<()> {
        let mut key = Vec::with_capacity(64);
        self.each_head::<E>(source, candidates, |id, head| {
            if filter.admits(&head) {
                key.clear();
                match order {
                    IndexOrder::Creation => {}
                    IndexOrder::Name => Scalar::text(head.name()).append_to(&mut key, false),
                    IndexOrder::TechnicalName => {
                        head.scalar("technicalName").append_to(&mut key, false);
                    }
                    IndexOrder::Modified => {
                        key.extend_from_slice(&keys::time_bytes(head.stamps().last_modified_time()));
                    }
                }
                key.extend_from_slice(id.as_bytes());
                found.give(&key, id);
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

    /// Fills in what is inherited, which makes the keys whole.
    fn finish(&mut self, drafts: Vec<Draft>, found: &mut Found<'_>) -> Result<()> {
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
            let mut key = parts.concat();
            self.close(&mut key, id);
            found.give(&key, id);
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

    /// Adds the id, which breaks ties.
    fn close(&self, key: &mut Vec<u8>, id: Uuid) {
        let descending = self.fields.first().is_some_and(|field| field.descending);
        Scalar::Id(id).append_to(key, descending);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::selection::Scope;
    use crate::{Catalog, DataStore, NewDataStore, Read as _, Write as _};

    #[test]
    fn only_what_was_dropped_is_too_deep() {
        let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
        for n in 0..30 {
            session
                .create(NewDataStore::new(format!("store {n}"), "postgres"))
                .unwrap();
        }
        let page = |ranking: &Ranking, skip, limit| {
            session.with_view(|view| {
                let filter = Filter::default();
                let order = IndexOrder::Creation;
                let source = Source::new(view, DataStore::KIND, &Scope::Tenant, order, &filter)?;
                let window = Window {
                    at_most: 10,
                    edge: None,
                    backwards: false,
                    skip,
                    take: limit + 1,
                };
                let (found, matching) = select::<DataStore>(view, &source, ranking, &filter, &window)?;
                assert_eq!(matching, 30);
                Ok(found.len())
            })
        };
        let by_type = SortField {
            path: "type".to_owned(),
            descending: false,
        };
        let unindexed = Ranking {
            keys: Keys::Fields(vec![by_type]),
            served_by: None,
            within: None,
        };
        let filtered = |by| Ranking {
            keys: Keys::Index {
                order: IndexOrder::Creation,
                descending: true,
            },
            served_by: Some(by),
            within: None,
        };
        let cases = [
            (unindexed, "createdTime alone"),
            (filtered(IndexOrder::Name), "filter by name prefix"),
            (filtered(IndexOrder::Modified), "filter by modification time"),
        ];
        for (ranking, advice) in &cases {
            assert_eq!(page(ranking, 8, 2).unwrap(), 3);
            for past in [30, 31, u64::MAX] {
                assert_eq!(page(ranking, past, 2).unwrap(), 0);
                assert_eq!(page(ranking, past, usize::MAX - 1).unwrap(), 0);
            }
            for (skip, limit) in [(9, 2), (29, 1), (0, 100)] {
                let error = page(ranking, skip, limit).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::OffsetTooDeep);
                assert!(error.to_string().contains(advice), "{error}");
                let indexed = ranking.served_by.is_none();
                assert_eq!(error.to_string().contains("createdTime"), indexed, "{error}");
            }
        }
    }
}
