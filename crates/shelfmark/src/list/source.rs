//! Walking an index, or several parents' ranges of it merged, chunk by chunk.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::ControlFlow;

use uuid::Uuid;

use crate::Entity;
use crate::backend::{Direction, KeyRange, Keyspace, successor};
use crate::engine::TenantView;
use crate::error::{Error, Result};
use crate::ids::EntityKind;
use crate::index::name_of_entry;
use crate::keyspace::{IndexOrder, Parent, bounds, entities, keys};

use super::best::Best;
use super::children;
use super::filter::Filter;
use super::page::IdAndName;
use super::selection::Scope;
use super::walk::Walker;

/// An entity that a list may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The key of the row it was found in.
    pub(super) key: Vec<u8>,
    /// Bytes of the key before what it is sorted by.
    pub(super) prefix: usize,
    pub(super) id: Uuid,
    /// The value of the row it was found in.
    pub(super) value: Vec<u8>,
}

impl Candidate {
    /// What it is sorted by, id included; comparable across parents.
    pub(super) fn sort_key(&self) -> &[u8] {
        &self.key[self.prefix..]
    }

    /// One that was found by a sort key of no index.
    pub(super) fn by_key(key: &[u8], id: Uuid) -> Self {
        Self {
            key: key.to_vec(),
            prefix: 0,
            id,
            value: Vec::new(),
        }
    }
}

/// A row of a source as a view shows it.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    prefix: usize,
    pub(super) id: Uuid,
}

impl<'a> Row<'a> {
    pub(super) fn new(space: Keyspace, key: &'a [u8], value: &'a [u8], prefix: usize) -> Result<Self> {
        match keys::id_at_end(key) {
            Some(id) if key.len() >= prefix => Ok(Self {
                key,
                value,
                prefix,
                id,
            }),
            _ => Err(Error::corrupt(space, key, "an index key too short for an id")),
        }
    }

    pub(super) fn sort_key(&self) -> &'a [u8] {
        &self.key[self.prefix..]
    }

    /// The name as written, of a row of a name index.
    pub(super) fn name(&self, space: Keyspace) -> Result<Option<String>> {
        name_of_entry(space, self.key, self.value, self.prefix)
    }

    pub(super) fn to_candidate(self) -> Candidate {
        Candidate {
            key: self.key.to_vec(),
            prefix: self.prefix,
            id: self.id,
            value: self.value.to_vec(),
        }
    }
}

/// Which rows of one range to show, in the order of their sort keys.
pub(super) struct OrderedSlice<'a> {
    pub(super) direction: Direction,
    pub(super) edge: Option<&'a Edge>,
    pub(super) skip: u64,
    pub(super) take: usize,
}

/// Where a walk begins: behind a sort key, or at it.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) key: Vec<u8>,
    pub(super) inclusive: bool,
}

impl Edge {
    /// Whether a walk in `direction` from here comes to `key`.
    pub(super) fn leads_to(&self, key: &[u8], direction: Direction) -> bool {
        match (key.cmp(&self.key), direction) {
            (Ordering::Equal, _) => self.inclusive,
            (order, Direction::Forward) => order == Ordering::Greater,
            (order, Direction::Reverse) => order == Ordering::Less,
        }
    }
}

/// The part of an index that holds what a list selects.
pub(super) struct Source {
    pub(super) space: Keyspace,
    /// One range for each parent, rising.
    ranges: Vec<KeyRange>,
    /// Bytes of every key before the sort key.
    prefix: usize,
}

impl Source {
    /// The children of `scope` in the order of an index, restricted to what that index can tell of `filter`.
    pub(super) fn new(
        view: &TenantView<'_>,
        kind: EntityKind,
        scope: &Scope,
        order: IndexOrder,
        filter: &Filter,
    ) -> Result<Self> {
        if *scope == Scope::Tenant && order == IndexOrder::Creation {
            // The entities themselves lie in creation order.
            return Ok(Self::of_entities(view, kind));
        }
        let parents = scope.clone().parents(view, kind)?;
        let prefix = match kind {
            EntityKind::Store => keys::TENANT,
            EntityKind::Asset | EntityKind::Set => keys::TENANT + keys::ID,
        };
        let ranges = parents
            .iter()
            .map(|&parent| range_of(parent, order, filter))
            .collect();
        Ok(Self {
            space: order.keyspace(kind),
            ranges,
            prefix,
        })
    }

    /// Every entity of a kind in the tenant, in creation order, by their own rows.
    pub(super) fn of_entities(view: &TenantView<'_>, kind: EntityKind) -> Self {
        Self {
            space: entities(kind),
            ranges: view.number.map(bounds::tenant).into_iter().collect(),
            prefix: keys::TENANT,
        }
    }

    /// Shows the rows, one range after the other.
    pub(super) fn each_row(
        &self,
        view: &TenantView<'_>,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut outcome = Ok(());
        for range in &self.ranges {
            view.snapshot
                .scan(self.space, range, Direction::Forward, &mut |key, value| {
                    outcome = visit(key, value);
                    match outcome {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(_) => ControlFlow::Break(()),
                    }
                })?;
            outcome = Ok(outcome?);
        }
        outcome
    }

    /// Whether it is one range in the order of its sort keys.
    pub(super) fn is_one_range(&self) -> bool {
        self.ranges.len() == 1
    }

    /// Shows at most `take` rows with their sort keys, in the order of these, from `edge`, without the first `skip`; of one range only.
    pub(super) fn each_in_order(
        &self,
        view: &TenantView<'_>,
        slice: &OrderedSlice<'_>,
        mut visit: impl FnMut(Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let &OrderedSlice {
            direction,
            edge,
            skip,
            take,
        } = slice;
        let Some(range) = self.ranges.first().filter(|_| take > 0) else {
            return Ok(());
        };
        let range = self.left_from(range, direction, edge);
        let mut left = take;
        let mut outcome = Ok(());
        view.snapshot
            .scan_past(self.space, &range, direction, skip, &mut |key, value| {
                outcome = Row::new(self.space, key, value, self.prefix).and_then(&mut visit);
                left -= 1;
                if left == 0 || outcome.is_err() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        outcome
    }

    /// Adds the names of the first children, from `edge`, at most `take`, as far as their own rows lie together; of one parent's range of an index
    /// by creation only.
    pub(super) fn names_by_rows<E: Entity>(
        &self,
        view: &TenantView<'_>,
        direction: Direction,
        edge: Option<&Edge>,
        scope: &Scope,
        take: usize,
        named: &mut Vec<IdAndName>,
    ) -> Result<()> {
        if let (Some(range), Scope::Parents(parents)) = (self.ranges.first(), scope)
            && let Some(&parent) = parents.first()
        {
            let range = self.left_from(range, direction, edge);
            children::names::<E>(view, (self.space, &range), direction, parent, take, named)?;
        }
        Ok(())
    }

    /// The first `take` candidates in the order of the sort keys, from `edge`, of many ranges: each is read as far as its rows are among the
    /// first of those seen so far.
    pub(super) fn first_of_many(
        &self,
        view: &TenantView<'_>,
        direction: Direction,
        edge: Option<&Edge>,
        take: usize,
    ) -> Result<Vec<Candidate>> {
        let ranges: Vec<KeyRange>;
        let ranges = match edge {
            None => &self.ranges,
            Some(_) => {
                let left = |range| self.left_from(range, direction, edge).into_owned();
                ranges = self.ranges.iter().map(left).collect();
                &ranges
            }
        };
        let mut best = Best::new(take, direction);
        let mut outcome = Ok(());
        view.snapshot
            .scan_each(self.space, ranges, direction, &mut |_, key, value| {
                let among = Row::new(self.space, key, value, self.prefix)
                    .map(|row| best.offer(row.sort_key(), || row.to_candidate()));
                match among {
                    Ok(true) => return ControlFlow::Continue(()),
                    Ok(false) => {}
                    Err(error) => outcome = Err(error),
                }
                ControlFlow::Break(())
            })?;
        outcome.map(|()| best.into_sorted())
    }

    fn left_from<'r>(
        &self,
        range: &'r KeyRange,
        direction: Direction,
        edge: Option<&Edge>,
    ) -> Cow<'r, KeyRange> {
        match edge {
            None => Cow::Borrowed(range),
            Some(Edge { key, inclusive }) => {
                Cow::Owned(beyond(range, self.prefix, key, *inclusive, direction))
            }
        }
    }

    /// Whether its rows are the entities' own.
    pub(super) fn has_entity_rows(&self, kind: EntityKind) -> bool {
        self.space == entities(kind)
    }

    /// Begins a walk in the order of the sort keys, from `edge`, without the first `skip` rows.
    pub(super) fn walk(&self, direction: Direction, edge: Option<&Edge>, skip: u64) -> Walker {
        let ranges = self
            .ranges
            .iter()
            .map(|range| self.left_from(range, direction, edge).into_owned());
        Walker::in_order(self.space, ranges, self.prefix, direction, skip)
    }

    /// Begins a walk over everything, one parent after the other: one seek a parent. Values are kept only where the rows are the
    /// entities' own.
    pub(super) fn walk_unordered(&self, kind: EntityKind) -> Walker {
        let ranges = self.ranges.iter().cloned();
        let values = self.has_entity_rows(kind);
        Walker::one_by_one(self.space, ranges, self.prefix, values)
    }

    /// Counts the rows.
    pub(super) fn count(&self, view: &TenantView<'_>) -> Result<u64> {
        let mut count = 0;
        for range in &self.ranges {
            view.snapshot
                .scan(self.space, range, Direction::Forward, &mut |_, _| {
                    count += 1;
                    ControlFlow::Continue(())
                })?;
        }
        Ok(count)
    }
}

fn range_of(parent: Parent, order: IndexOrder, filter: &Filter) -> KeyRange {
    match (order, &filter.name_prefix, filter.modified_since) {
        (IndexOrder::Name, Some(text), _) => {
            bounds::children_by_text_prefix(parent, &crate::sortkey::TextKey::prefix(text))
        }
        (IndexOrder::Modified, _, Some(since)) => bounds::children_modified_since(parent, since),
        _ => bounds::children(parent),
    }
}

/// What is left of `range` behind the sort key `after`, or from it on.
pub(super) fn beyond(
    range: &KeyRange,
    prefix: usize,
    after: &[u8],
    inclusive: bool,
    direction: Direction,
) -> KeyRange {
    let mut key = range.start[..prefix.min(range.start.len())].to_vec();
    key.extend_from_slice(after);
    let mut range = range.clone();
    match direction {
        Direction::Forward => {
            // No key begins with another, so nothing lies between a key and its successor.
            let start = match inclusive {
                true => key,
                false => successor(&key).unwrap_or(key),
            };
            range.start = range.start.max(start);
        }
        Direction::Reverse => {
            if inclusive {
                key.push(0);
            }
            range.end = Some(match range.end {
                Some(end) => end.min(key),
                None => key,
            });
        }
    }
    range
}

#[cfg(test)]
mod tests {
    use super::super::walk::CHUNK_BYTES;
    use super::*;
    use crate::{Catalog, DataStore, JsonObject, NewDataAsset, NewDataStore, Query, Read as _, Write as _};

    #[test]
    fn a_chunk_is_bounded_in_bytes_and_loses_nothing() {
        let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
        let store = session.create(NewDataStore::new("store", "postgres")).unwrap().id;
        let large = JsonObject::from_iter([("text".to_owned(), "x".repeat(1_000_000).into())]);
        for n in 0..12 {
            let new = NewDataAsset {
                properties: Some(large.clone()),
                ..NewDataAsset::new(store, format!("asset {n}"), "qix-df")
            };
            session.create(new).unwrap();
        }
        session
            .with_view(|view| {
                let kind = EntityKind::Asset;
                let all = Filter::default();
                let source = Source::new(view, kind, &Scope::Tenant, IndexOrder::Creation, &all)?;
                for mut walker in [
                    source.walk_unordered(kind),
                    source.walk(Direction::Reverse, None, 0),
                ] {
                    let mut found = Vec::new();
                    loop {
                        let chunk = walker.chunk(view, 1_024)?;
                        assert!(
                            chunk.iter().map(|row| row.value.len()).sum::<usize>() < CHUNK_BYTES + (1 << 20)
                        );
                        if chunk.is_empty() {
                            break;
                        }
                        found.extend(chunk.into_iter().map(|candidate| candidate.id));
                    }
                    found.sort_unstable();
                    found.dedup();
                    assert_eq!(found.len(), 12);
                }
                // An index tells no more than ids.
                let source = Source::new(view, EntityKind::Store, &Scope::Tenant, IndexOrder::Name, &all)?;
                let chunk = source.walk_unordered(EntityKind::Store).chunk(view, 1_024)?;
                assert!(chunk.iter().all(|row| row.value.is_empty()));
                Ok(())
            })
            .unwrap();
        let query = Query::<DataStore>::new().filter(Filter::new().tag("none"));
        assert_eq!(session.list(&query).unwrap().total, Some(0));
    }
}
