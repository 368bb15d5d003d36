//! From a query to the candidates of one page.

use uuid::Uuid;

use crate::Entity;
use crate::backend::Direction;
use crate::engine::TenantView;
use crate::engine::view::{decode_head, name_in};
use crate::error::Result;
use crate::ids::EntityKind;
use crate::keyspace::IndexOrder;

use super::children;
use super::cursor::{Cursor, Position};
use super::filter::Filter;
use super::page::IdAndName;
use super::selection::{Scope, Select as _};
use super::sort::SortOrder;
use super::source::{Candidate, Edge, OrderedSlice, Source};
use super::topk::{self, Keys, Ranking, Window};
use super::walk::Walker;
use super::{Query, Start};

/// How many candidates are read at a time where records decide which of them to show.
const CHUNK: usize = 256;

/// Up to how many rows of many parents are found by holding the first, not by merging runs.
const FEW: usize = 1_024;

/// Up to how many parents are asked how many children they have.
const COUNTED_PARENTS: usize = 64;

/// From how many rows on a filter's index is not sorted for a page alone.
const WIDE: usize = 1_024;

/// A query resolved against one view.
pub(super) struct Plan {
    scope: Scope,
    source: Source,
    way: Way,
    /// What the source does not tell: looked at in records.
    residual: Filter,
    filtered: bool,
    fingerprint: Vec<u8>,
}

enum Way {
    /// The source is in the query's order.
    Walk { order: IndexOrder, descending: bool },
    /// It is not.
    TopK(Ranking),
}

/// Where to begin, and how much to take.
pub(super) struct Slice {
    pub(super) edge: Option<Edge>,
    pub(super) backwards: bool,
    pub(super) skip: u64,
    pub(super) take: usize,
    /// How many bytes of rows to take at most, or a little more, in the order of an index.
    pub(super) bytes: usize,
    pub(super) count: bool,
}

/// The candidates of a slice, in its direction.
pub(super) struct Found {
    pub(super) candidates: Vec<Candidate>,
    /// How many entities match in all, where asked for.
    pub(super) total: Option<u64>,
}

/// As [`Found`], of ids and names.
pub(super) struct FoundNames {
    pub(super) named: Vec<IdAndName>,
    /// The sort keys of the first, and of the last that the page shows: one more is looked for.
    pub(super) edges: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) total: Option<u64>,
}

impl Plan {
    pub(super) fn new<E: Entity>(view: &TenantView<'_>, query: &Query<E>) -> Result<Self> {
        let Query {
            selection,
            filter,
            sort,
            start: _,
            limit: _,
            total,
            schemas: _,
        } = query;
        let sorted = sort.check(E::KIND)?;
        let mut fingerprint = vec![E::KIND as u8];
        super::cursor::append_text(&mut fingerprint, Some(view.name));
        selection.fingerprint(&mut fingerprint);
        sorted.fingerprint(&mut fingerprint);
        filter.fingerprint(&mut fingerprint);
        let scope = selection.resolve(view)?;
        let served_by = filter.served_by();
        let top_k = |keys, within| {
            Way::TopK(Ranking {
                keys,
                served_by,
                within,
            })
        };
        let source = |order| Source::new(view, E::KIND, &scope, order, filter);
        let (source, way, residual) = match (sorted, served_by) {
            (SortOrder::Indexed { order, descending }, Some(by)) if by != order => {
                let narrowed = source(by)?;
                if filter.has_empty_prefix() || !total && is_wide(view, &narrowed, E::KIND)? {
                    (source(order)?, Way::Walk { order, descending }, filter.clone())
                } else {
                    // Sorting what a filter's index lets through beats filtering everything in the sort's order.
                    (
                        narrowed,
                        top_k(Keys::Index { order, descending }, None),
                        filter.residual(),
                    )
                }
            }
            (SortOrder::Indexed { order, descending }, _) => {
                (source(order)?, Way::Walk { order, descending }, filter.residual())
            }
            (SortOrder::Fields(fields), served) => {
                let within = match served {
                    None if topk::tell_all(&fields) => most_of_all(view, E::KIND, &scope)?,
                    _ => None,
                };
                let source = match &within {
                    // Reading all records in their order beats looking for most of them.
                    Some(_) => Source::of_entities(view, E::KIND),
                    None => source(served.unwrap_or(IndexOrder::Creation))?,
                };
                (source, top_k(Keys::Fields(fields), within), filter.residual())
            }
        };
        Ok(Self {
            scope,
            source,
            way,
            residual,
            filtered: !filter.is_empty(),
            fingerprint,
        })
    }

    pub(super) fn open_cursor(&self, secret: &[u8; 32], cursor: &Cursor) -> Result<Position> {
        cursor.open(secret, &self.fingerprint)
    }

    pub(super) fn seal_cursor(&self, secret: &[u8; 32], position: &Position) -> Cursor {
        Cursor::seal(secret, &self.fingerprint, position)
    }

    /// The slice that the start of a query asks for, and the number of its page.
    pub(super) fn slice(&self, start: &Start, limit: usize, secret: &[u8; 32]) -> Result<(Slice, u64)> {
        // One more than the page shows whether there is another.
        let take = limit.saturating_add(1);
        let slice = |edge, backwards, skip| Slice {
            edge,
            backwards,
            skip,
            take,
            bytes: usize::MAX,
            count: false,
        };
        match start {
            Start::Page(page) => Ok((slice(None, false, page.saturating_mul(limit as u64)), *page)),
            Start::Cursor(cursor) => {
                let Position {
                    page,
                    backwards,
                    inclusive,
                    key,
                } = self.open_cursor(secret, cursor)?;
                Ok((slice(Some(Edge { key, inclusive }), backwards, 0), page))
            }
        }
    }

    /// Whether the candidates carry rows of a name index.
    pub(super) fn walks_names(&self) -> bool {
        matches!(
            self.way,
            Way::Walk {
                order: IndexOrder::Name,
                ..
            }
        )
    }

    pub(super) fn has_entity_rows<E: Entity>(&self) -> bool {
        matches!(self.way, Way::Walk { .. }) && self.source.has_entity_rows(E::KIND)
    }

    /// The keyspace that the candidates of a walk were found in.
    pub(super) fn space(&self) -> crate::backend::Keyspace {
        self.source.space
    }

    pub(super) fn find<E: Entity>(&self, view: &TenantView<'_>, slice: &Slice) -> Result<Found> {
        match &self.way {
            Way::TopK(ranking) => {
                let window = Window {
                    at_most: topk::MAX_HELD,
                    edge: slice.edge.as_ref(),
                    backwards: slice.backwards,
                    skip: slice.skip,
                    take: slice.take,
                };
                let (candidates, matching) =
                    topk::select::<E>(view, &self.source, ranking, &self.residual, &window)?;
                Ok(Found {
                    candidates,
                    total: slice.count.then_some(matching),
                })
            }
            &Way::Walk { descending, .. } => {
                let direction = direction(descending, slice.backwards);
                if self.residual.is_empty() {
                    self.walk_plain::<E>(view, direction, slice)
                } else {
                    self.walk_filtered::<E>(view, direction, slice)
                }
            }
        }
    }

    fn walk_plain<E: Entity>(
        &self,
        view: &TenantView<'_>,
        direction: Direction,
        slice: &Slice,
    ) -> Result<Found> {
        let reach = usize::try_from(slice.skip)
            .unwrap_or(usize::MAX)
            .saturating_add(slice.take);
        let candidates = if !self.source.is_one_range() && reach <= FEW {
            let mut first = self
                .source
                .first_of_many(view, direction, slice.edge.as_ref(), reach)?;
            first.drain(..first.len().min(reach - slice.take));
            first
        } else {
            let mut walker = self.source.walk(direction, slice.edge.as_ref(), slice.skip);
            walker.bounded(view, slice.take, slice.bytes)?
        };
        let total = self.total_of_walk::<E>(view, slice)?;
        Ok(Found { candidates, total })
    }

    fn total_of_walk<E: Entity>(&self, view: &TenantView<'_>, slice: &Slice) -> Result<Option<u64>> {
        Ok(match (slice.count, self.filtered) {
            (false, _) => None,
            (true, false) => Some(self.scope.count(view, E::KIND)?),
            (true, true) => Some(self.source.count(view)?),
        })
    }

    /// The names of a slice of one range of an index, from its own rows where they tell; `None` where there is no such range.
    pub(super) fn find_names<E: Entity>(
        &self,
        view: &TenantView<'_>,
        slice: &Slice,
    ) -> Result<Option<FoundNames>> {
        let &Way::Walk { order, descending } = &self.way else {
            return Ok(None);
        };
        if !self.residual.is_empty() || !self.source.is_one_range() {
            return Ok(None);
        }
        let of_entities = self.source.has_entity_rows(E::KIND);
        let mut found = FoundNames {
            named: Vec::with_capacity(slice.take.min(CHUNK)),
            edges: None,
            total: self.total_of_walk::<E>(view, slice)?,
        };
        let direction = direction(descending, slice.backwards);
        let shown = slice.take.saturating_sub(1);
        // Ids in the order of an index, whose rows tell nothing else.
        let ids_alone = order == IndexOrder::Creation && !of_entities;
        let mut edge = slice.edge.clone();
        if ids_alone && slice.skip == 0 && slice.take >= children::WORTH {
            self.source.names_by_rows::<E>(
                view,
                direction,
                edge.as_ref(),
                &self.scope,
                slice.take,
                &mut found.named,
            )?;
            // The rest by the index.
            let behind = |(last, _): &IdAndName| Edge {
                key: last.as_bytes().to_vec(),
                inclusive: false,
            };
            edge = found.named.last().map(behind).or(edge);
        }
        let by_rows = found.named.len();
        let rows = OrderedSlice {
            direction,
            edge: edge.as_ref(),
            skip: slice.skip,
            take: slice.take - by_rows,
        };
        self.source.each_in_order(view, &rows, |row| {
            let name = match order {
                IndexOrder::Name => row.name(self.source.space)?,
                _ if of_entities => name_in::<E>(row.key, row.value)?,
                _ => None,
            };
            found.named.push((row.id, name));
            if ids_alone {
                return Ok(());
            }
            let key = row.sort_key();
            match &mut found.edges {
                None => found.edges = Some((key.to_vec(), key.to_vec())),
                Some((_, last)) if found.named.len() <= shown => {
                    last.clear();
                    last.extend_from_slice(key);
                }
                Some(_) => {}
            }
            Ok(())
        })?;
        if ids_alone {
            let key = |(id, _): &IdAndName| id.as_bytes().to_vec();
            let last = found.named[..found.named.len().min(shown)].last();
            found.edges = found.named.first().map(key).zip(last.map(key));
        }
        if order != IndexOrder::Name && !of_entities {
            // The one more, which only tells that there is more, is not read.
            let unread = by_rows..found.named.len().min(shown).max(by_rows);
            let ids: Vec<Uuid> = found.named[unread].iter().map(|(id, _)| *id).collect();
            let names = view.names::<E>(&ids)?;
            for ((_, name), read) in found.named[by_rows..].iter_mut().zip(names) {
                *name = read;
            }
        }
        Ok(Some(found))
    }

    /// Looks at records chunk by chunk until the slice is full, or at all of them where the total is wanted.
    fn walk_filtered<E: Entity>(
        &self,
        view: &TenantView<'_>,
        direction: Direction,
        slice: &Slice,
    ) -> Result<Found> {
        let mut candidates = Vec::new();
        let mut skip = slice.skip;
        let mut matching = 0;
        // A total is of everything, also of what lies before the slice.
        let (from, edge) = match &slice.edge {
            Some(edge) if slice.count => (None, Some(edge)),
            edge => (edge.as_ref(), None),
        };
        let mut walker = self.source.walk(direction, from, 0);
        while slice.count || candidates.len() < slice.take {
            let Some(chunk) = self.admitted::<E>(view, &mut walker)? else {
                break;
            };
            matching += chunk.len() as u64;
            let wanted = chunk
                .into_iter()
                .filter(|candidate| edge.is_none_or(|edge| edge.leads_to(candidate.sort_key(), direction)));
            for candidate in wanted {
                if skip > 0 {
                    skip -= 1;
                } else if candidates.len() < slice.take {
                    candidates.push(candidate);
                }
            }
        }
        Ok(Found {
            candidates,
            total: slice.count.then_some(matching),
        })
    }

    /// Begins a walk over everything that is selected, in the query's order; `None` where the source is not in that order.
    pub(super) fn walker(&self) -> Option<Walker> {
        match self.way {
            Way::Walk { descending, .. } => {
                let direction = if descending {
                    Direction::Reverse
                } else {
                    Direction::Forward
                };
                Some(self.source.walk(direction, None, 0))
            }
            Way::TopK(_) => None,
        }
    }

    /// Those of the walk's next chunk that the filter admits; `None` at the end of the walk.
    pub(super) fn admitted<E: Entity>(
        &self,
        view: &TenantView<'_>,
        walker: &mut Walker,
    ) -> Result<Option<Vec<Candidate>>> {
        let mut chunk = walker.chunk(view, CHUNK)?;
        if chunk.is_empty() {
            return Ok(None);
        }
        if self.residual.is_empty() {
            return Ok(Some(chunk));
        }
        let mut admitted = Vec::with_capacity(chunk.len());
        if self.source.has_entity_rows(E::KIND) {
            for candidate in &chunk {
                let head = decode_head::<E>(&candidate.key, &candidate.value)?;
                admitted.push(self.residual.admits(&head));
            }
        } else {
            admitted.resize(chunk.len(), false);
            let ids: Vec<Uuid> = chunk.iter().map(|candidate| candidate.id).collect();
            view.heads::<E>(&ids, |at, head| {
                admitted[at] = self.residual.admits(&head);
                Ok(())
            })?;
        }
        let mut admitted = admitted.into_iter();
        chunk.retain(|_| admitted.next() == Some(true));
        Ok(Some(chunk))
    }
}

/// The selected parents, sorted, where at least half of the entities of the kind are theirs.
fn most_of_all(view: &TenantView<'_>, kind: EntityKind, scope: &Scope) -> Result<Option<Vec<Uuid>>> {
    let Scope::Parents(parents) = scope else {
        return Ok(None);
    };
    // Of stores a parent is no entity; of many parents the counters alone would cost too much.
    if kind == EntityKind::Store || parents.len() > COUNTED_PARENTS {
        return Ok(None);
    }
    if scope.count(view, kind)?.saturating_mul(2) < view.total(kind)? {
        return Ok(None);
    }
    let mut ids: Vec<Uuid> = parents.iter().filter_map(|parent| parent.id).collect();
    ids.sort_unstable();
    Ok(Some(ids))
}

fn direction(descending: bool, backwards: bool) -> Direction {
    if descending == backwards {
        Direction::Forward
    } else {
        Direction::Reverse
    }
}

/// Whether a filter's index lets so much through that a page is found sooner in the sort's own order.
fn is_wide(view: &TenantView<'_>, narrowed: &Source, kind: EntityKind) -> Result<bool> {
    Ok(narrowed.walk_unordered(kind).rows(view, WIDE)?.len() == WIDE)
}
