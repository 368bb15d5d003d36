//! Walking an index, or several parents' ranges of it merged, one seek a parent and chunk.

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
const READ_AHEAD: usize = 16;

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

    /// Walks from behind `after` in `direction`, skipping the first `skip`, until `visit` breaks.
    pub(super) fn walk(
        &self,
        view: &TenantView<'_>,
        direction: Direction,
        after: Option<&[u8]>,
        skip: u64,
        visit: &mut dyn FnMut(Candidate) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        match self.ranges.as_slice() {
            [] => Ok(()),
            [(range, prefix)] => {
                let range = beyond(range, *prefix, after, direction);
                self.walk_one(view, &range, *prefix, direction, skip, visit)
            }
            _ => self.walk_merged(view, direction, after, skip, visit),
        }
    }

    fn walk_one(
        &self,
        view: &TenantView<'_>,
        range: &KeyRange,
        prefix: usize,
        direction: Direction,
        mut skip: u64,
        visit: &mut dyn FnMut(Candidate) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut outcome = Ok(());
        view.snapshot
            .scan(self.space, range, direction, &mut |key, value| {
                if skip > 0 {
                    skip -= 1;
                    return ControlFlow::Continue(());
                }
                match candidate(self.space, key, value, prefix).and_then(&mut *visit) {
                    Ok(flow) => flow,
                    Err(error) => {
                        outcome = Err(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
        outcome
    }

    fn walk_merged(
        &self,
        view: &TenantView<'_>,
        direction: Direction,
        after: Option<&[u8]>,
        mut skip: u64,
        visit: &mut dyn FnMut(Candidate) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut heap = BinaryHeap::with_capacity(self.ranges.len());
        for (range, prefix) in &self.ranges {
            let mut run = Run {
                range: beyond(range, *prefix, after, direction),
                prefix: *prefix,
                direction,
                ahead: VecDeque::new(),
                more: true,
            };
            run.refill(self, view, 1)?;
            if !run.ahead.is_empty() {
                heap.push(run);
            }
        }
        while let Some(mut run) = heap.pop() {
            let Some(next) = run.ahead.pop_front() else {
                continue;
            };
            if run.ahead.is_empty() && run.more {
                run.refill(self, view, READ_AHEAD)?;
            }
            if !run.ahead.is_empty() {
                heap.push(run);
            }
            if skip > 0 {
                skip -= 1;
            } else if visit(next)?.is_break() {
                break;
            }
        }
        Ok(())
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

/// What is left of `range` behind the sort key `after`.
fn beyond(range: &KeyRange, prefix: usize, after: Option<&[u8]>, direction: Direction) -> KeyRange {
    let Some(after) = after else { return range.clone() };
    let mut key = range.start[..prefix.min(range.start.len())].to_vec();
    key.extend_from_slice(after);
    let mut range = range.clone();
    match direction {
        Direction::Forward => {
            // No key begins with another, so nothing lies between a key and its successor.
            let start = successor(&key).unwrap_or(key);
            range.start = range.start.max(start);
        }
        Direction::Reverse => {
            range.end = Some(match range.end {
                Some(end) => end.min(key),
                None => key,
            });
        }
    }
    range
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
    range: KeyRange,
    prefix: usize,
    direction: Direction,
    ahead: VecDeque<Candidate>,
    more: bool,
}

impl Run {
    fn refill(&mut self, source: &Source, view: &TenantView<'_>, rows: usize) -> Result<()> {
        let ahead = &mut self.ahead;
        source.walk_one(view, &self.range, self.prefix, self.direction, 0, &mut |found| {
            ahead.push_back(found);
            Ok(if ahead.len() < rows {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        self.more = ahead.len() == rows;
        if let Some(last) = ahead.back() {
            self.range = beyond(&self.range, self.prefix, Some(last.sort_key()), self.direction);
        }
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
