//! Walking an index, or several parents' ranges of it merged, chunk by chunk.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::ControlFlow;

use uuid::Uuid;

use crate::backend::{Direction, KeyRange, Keyspace, successor};
use crate::engine::TenantView;
use crate::error::{Error, Result};
use crate::ids::EntityKind;
use crate::keyspace::{IndexOrder, Parent, bounds, entities, keys};

use super::filter::Filter;
use super::selection::Scope;

/// How many rows a merge reads ahead of each parent after the first.
pub(super) const READ_AHEAD: usize = 16;
/// How many bytes of keys and values a chunk holds, give or take its last row.
const CHUNK_BYTES: usize = 4 << 20;

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
    /// One range for each parent, with the bytes before the sort key.
    ranges: Vec<(KeyRange, usize)>,
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
            let range = view.number.map(|tenant| (bounds::tenant(tenant), keys::TENANT));
            return Ok(Self {
                space: entities(kind),
                ranges: range.into_iter().collect(),
            });
        }
        let parents = scope.clone().parents(view, kind)?;
        let ranges = parents
            .iter()
            .map(|&parent| range_of(parent, order, filter))
            .collect();
        Ok(Self {
            space: order.keyspace(kind),
            ranges,
        })
    }

    /// Whether its rows are the entities' own.
    pub(super) fn has_entity_rows(&self, kind: EntityKind) -> bool {
        self.space == entities(kind)
    }

    /// Begins a walk in the order of the sort keys, from `edge`, without the first `skip` rows.
    pub(super) fn walk(&self, direction: Direction, edge: Option<&Edge>, skip: u64) -> Walker {
        let mut parts: VecDeque<Part> = self
            .ranges
            .iter()
            .map(|(range, prefix)| Part {
                range: edge.map_or_else(
                    || range.clone(),
                    |Edge { key, inclusive }| beyond(range, *prefix, key, *inclusive, direction),
                ),
                prefix: *prefix,
            })
            .collect();
        let way = if parts.len() > 1 {
            Way::Merge {
                unopened: std::mem::take(&mut parts),
                runs: BinaryHeap::new(),
            }
        } else {
            Way::Queue(parts)
        };
        Walker {
            space: self.space,
            direction,
            skip,
            values: true,
            way,
        }
    }

    /// Begins a walk over everything, one parent after the other: one seek a parent. Values are kept only where the rows are the
    /// entities' own.
    pub(super) fn walk_unordered(&self, kind: EntityKind) -> Walker {
        let part = |(range, prefix): &(KeyRange, usize)| Part {
            range: range.clone(),
            prefix: *prefix,
        };
        Walker {
            space: self.space,
            direction: Direction::Forward,
            skip: 0,
            values: self.has_entity_rows(kind),
            way: Way::Queue(self.ranges.iter().map(part).collect()),
        }
    }

    /// Counts the rows.
    pub(super) fn count(&self, view: &TenantView<'_>) -> Result<u64> {
        let mut count = 0;
        for (range, _) in &self.ranges {
            view.snapshot
                .scan(self.space, range, Direction::Forward, &mut |_, _| {
                    count += 1;
                    ControlFlow::Continue(())
                })?;
        }
        Ok(count)
    }
}

fn range_of(parent: Parent, order: IndexOrder, filter: &Filter) -> (KeyRange, usize) {
    let prefix = keys::TENANT + parent.id.map_or(0, |_| keys::ID);
    let range = match (order, &filter.name_prefix, filter.modified_since) {
        (IndexOrder::Name, Some(text), _) => {
            bounds::children_by_text_prefix(parent, &crate::sortkey::TextKey::prefix(text))
        }
        (IndexOrder::Modified, _, Some(since)) => bounds::children_modified_since(parent, since),
        _ => bounds::children(parent),
    };
    (range, prefix)
}

/// What is left of `range` behind the sort key `after`, or from it on.
fn beyond(range: &KeyRange, prefix: usize, after: &[u8], inclusive: bool, direction: Direction) -> KeyRange {
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

/// A walk over a source, which goes on where its last chunk ended. Chunks are collected, so that the view can be read between them.
pub(super) struct Walker {
    space: Keyspace,
    direction: Direction,
    /// Rows to pass over before the first chunk.
    skip: u64,
    /// Whether candidates carry the values of their rows.
    values: bool,
    way: Way,
}

enum Way {
    /// One range after the other.
    Queue(VecDeque<Part>),
    /// In the order of the sort keys, from whichever range has the next.
    Merge {
        unopened: VecDeque<Part>,
        runs: BinaryHeap<Run>,
    },
}

/// What is left of one range, and the bytes of its keys before the sort key.
struct Part {
    range: KeyRange,
    prefix: usize,
}

impl Walker {
    /// The next candidates: at most `rows`, fewer where they are large, none only at the end.
    pub(super) fn chunk(&mut self, view: &TenantView<'_>, rows: usize) -> Result<Vec<Candidate>> {
        self.bounded(view, rows, CHUNK_BYTES)
    }

    /// The next `rows` candidates, however large.
    pub(super) fn rows(&mut self, view: &TenantView<'_>, rows: usize) -> Result<Vec<Candidate>> {
        self.bounded(view, rows, usize::MAX)
    }

    /// The next `rows` candidates, as long as they have less than `bytes` of keys and values.
    pub(super) fn bounded(
        &mut self,
        view: &TenantView<'_>,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<Candidate>> {
        let Self {
            space,
            direction,
            skip,
            values,
            way,
        } = self;
        let reader = Reader {
            view,
            space: *space,
            direction: *direction,
            values: *values,
        };
        let mut chunk = Chunk::new(rows, bytes);
        match way {
            Way::Queue(parts) => {
                while let Some(part) = parts.front_mut() {
                    if chunk.is_full() || reader.fill(part, skip, &mut chunk)? {
                        break;
                    }
                    parts.pop_front();
                }
            }
            Way::Merge { unopened, runs } => {
                while let Some(part) = unopened.pop_front() {
                    runs.extend(Run::open(part, &reader)?);
                }
                while !chunk.is_full()
                    && let Some(mut run) = runs.pop()
                {
                    let Some(next) = run.ahead.pop_front() else {
                        continue;
                    };
                    if run.ahead.is_empty() && run.more {
                        run.refill(&reader, READ_AHEAD)?;
                    }
                    if !run.ahead.is_empty() {
                        runs.push(run);
                    }
                    if *skip > 0 {
                        *skip -= 1;
                    } else {
                        chunk.push(next);
                    }
                }
            }
        }
        Ok(chunk.candidates.into())
    }
}

/// Candidates up to a bound.
struct Chunk {
    candidates: VecDeque<Candidate>,
    rows: usize,
    bytes: usize,
}

impl Chunk {
    fn new(rows: usize, bytes: usize) -> Self {
        Self {
            candidates: VecDeque::new(),
            rows,
            bytes,
        }
    }

    fn is_full(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    fn push(&mut self, candidate: Candidate) {
        self.rows -= 1;
        self.bytes = self
            .bytes
            .saturating_sub(candidate.key.len() + candidate.value.len());
        self.candidates.push_back(candidate);
    }
}

/// Reads candidates from ranges of one keyspace.
struct Reader<'a> {
    view: &'a TenantView<'a>,
    space: Keyspace,
    direction: Direction,
    values: bool,
}

impl Reader<'_> {
    /// Fills a chunk that is not full from a range, of which it leaves what comes behind. Says whether the chunk is full.
    fn fill(&self, part: &mut Part, skip: &mut u64, chunk: &mut Chunk) -> Result<bool> {
        let Part { range, prefix } = part;
        let mut bad = None;
        self.view
            .snapshot
            .scan(self.space, range, self.direction, &mut |key, value| {
                if *skip > 0 {
                    *skip -= 1;
                    return ControlFlow::Continue(());
                }
                let value = if self.values { value } else { &[] };
                match candidate(self.space, key, value, *prefix) {
                    Ok(candidate) => chunk.push(candidate),
                    Err(error) => bad = Some(error),
                }
                if chunk.is_full() || bad.is_some() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        if let Some(error) = bad {
            return Err(error);
        }
        if let Some(last) = chunk.candidates.back().filter(|_| chunk.is_full()) {
            *range = beyond(range, *prefix, last.sort_key(), false, self.direction);
        }
        Ok(chunk.is_full())
    }
}

fn candidate(space: Keyspace, key: &[u8], value: &[u8], prefix: usize) -> Result<Candidate> {
    match keys::id_at_end(key) {
        Some(id) if key.len() >= prefix => Ok(Candidate {
            key: key.to_vec(),
            prefix,
            id,
            value: value.to_vec(),
        }),
        _ => Err(Error::corrupt(space, key, "an index key too short for an id")),
    }
}

/// One parent's part of a merge.
struct Run {
    part: Part,
    direction: Direction,
    ahead: VecDeque<Candidate>,
    more: bool,
}

impl Run {
    /// The run of a range that is not empty.
    fn open(part: Part, reader: &Reader<'_>) -> Result<Option<Self>> {
        let mut run = Run {
            part,
            direction: reader.direction,
            ahead: VecDeque::new(),
            more: true,
        };
        run.refill(reader, 1)?;
        Ok(Some(run).filter(|run| !run.ahead.is_empty()))
    }

    fn refill(&mut self, reader: &Reader<'_>, rows: usize) -> Result<()> {
        let mut chunk = Chunk::new(rows, CHUNK_BYTES);
        self.more = reader.fill(&mut self.part, &mut 0, &mut chunk)?;
        self.ahead = chunk.candidates;
        Ok(())
    }

    fn front(&self) -> Option<&[u8]> {
        self.ahead.front().map(Candidate::sort_key)
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Run {}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Run {
    /// The greatest is the one that comes next.
    fn cmp(&self, other: &Self) -> Ordering {
        match self.direction {
            Direction::Forward => other.front().cmp(&self.front()),
            Direction::Reverse => self.front().cmp(&other.front()),
        }
    }
}

#[cfg(test)]
mod tests {
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
