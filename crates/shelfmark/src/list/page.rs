//! One page of a list.

use serde_json::Value;
use uuid::Uuid;

use crate::engine::TenantView;
use crate::entity::{Entity, JsonObject, TypedId as _};
use crate::error::Result;
use crate::index::name_of_entry;
use crate::json_text::JsonText;

use super::Query;
use super::cursor::{Cursor, Position};
use super::plan::{Found, FoundNames, Plan, Slice};
use super::projection::Projection;
use super::source::{Candidate, Edge};

/// One page of a list, and where to go from it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// What it shows, in the query's order.
    pub items: Vec<T>,
    /// Its number, from 0.
    pub page: u64,
    /// The most items a page has.
    pub limit: usize,
    /// How many entities the query selects in all, unless it went without.
    pub total: Option<u64>,
    /// Leads to the page before, where there may be one; also from a page reached by cursor that has become empty.
    pub prev: Option<Cursor>,
    /// Leads to the page after, where there may be one; also from a page reached by cursor that has become empty.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// How many pages there are, from the total.
    pub fn pages(&self) -> Option<u64> {
        let limit = (self.limit as u64).max(1);
        self.total.map(|total| total.div_ceil(limit))
    }

    fn with_items<U>(self, items: Vec<U>) -> Page<U> {
        let Page {
            items: _,
            page,
            limit,
            total,
            prev,
            next,
        } = self;
        Page {
            items,
            page,
            limit,
            total,
            prev,
            next,
        }
    }
}

/// An entity by id and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Named<I> {
    /// The id.
    pub id: I,
    /// The name, where it has one.
    pub name: Option<String>,
}

/// A query with its page to be found.
struct Asked {
    plan: Plan,
    slice: Slice,
    page: u64,
    limit: usize,
}

impl Asked {
    fn new<E: Entity>(view: &TenantView<'_>, query: &Query<E>, secret: &[u8; 32]) -> Result<Self> {
        let plan = Plan::new(view, query)?;
        let (mut slice, page) = plan.slice(&query.start, query.limit, secret)?;
        slice.count = query.total;
        Ok(Self {
            plan,
            slice,
            page,
            limit: query.limit,
        })
    }

    /// The page with these items, found in the direction of the slice, one more than it shows where there is one. `edges` are the sort keys of the first
    /// and the last of those that it shows, in that direction.
    fn page<T>(
        &self,
        mut items: Vec<T>,
        total: Option<u64>,
        edges: Option<(Vec<u8>, Vec<u8>)>,
        secret: &[u8; 32],
    ) -> Page<T> {
        let Self {
            plan,
            slice,
            page,
            limit,
        } = self;
        let (page, limit) = (*page, *limit);
        let more = items.len() > limit;
        items.truncate(limit);
        if slice.backwards {
            items.reverse();
        }
        let (first, last) = match edges.filter(|_| !items.is_empty()) {
            Some((near, far)) if slice.backwards => (Some(far), Some(near)),
            Some((near, far)) => (Some(near), Some(far)),
            None => (None, None),
        };
        let seal = |page, backwards, inclusive, key| {
            plan.seal_cursor(
                secret,
                &Position {
                    page,
                    backwards,
                    inclusive,
                    key,
                },
            )
        };
        let before = page.saturating_sub(1);
        let behind = page.saturating_add(1);
        let (prev, next) = match &slice.edge {
            // What this page was to show is gone since; the rest lies from its edge on the other way.
            Some(Edge { key, inclusive }) if items.is_empty() => {
                if slice.backwards {
                    (None, Some(seal(behind, false, !inclusive, key.clone())))
                } else {
                    (Some(seal(before, true, !inclusive, key.clone())), None)
                }
            }
            edge => {
                // A page reached by cursor has a neighbour where it came from.
                let (has_prev, has_next) = if slice.backwards {
                    (more, true)
                } else {
                    (edge.is_some() || page > 0, more)
                };
                (
                    first
                        .filter(|_| has_prev)
                        .map(|key| seal(before, true, false, key)),
                    last.filter(|_| has_next)
                        .map(|key| seal(behind, false, false, key)),
                )
            }
        };
        Page {
            items,
            page,
            limit,
            total,
            prev,
            next,
        }
    }
}

/// The candidates of the page that a query asks for.
fn candidates<E: Entity>(view: &TenantView<'_>, asked: &Asked, secret: &[u8; 32]) -> Result<Page<Candidate>> {
    let Found { candidates, total } = asked.plan.find::<E>(view, &asked.slice)?;
    let shown = &candidates[..candidates.len().min(asked.limit)];
    let key = |candidate: &Candidate| candidate.sort_key().to_vec();
    let edges = shown.first().map(key).zip(shown.last().map(key));
    Ok(asked.page(candidates, total, edges, secret))
}

fn ids(page: &Page<Candidate>) -> Vec<Uuid> {
    page.items.iter().map(|candidate| candidate.id).collect()
}

/// A page of whole entities.
pub(crate) fn list<E: Entity>(view: &TenantView<'_>, query: &Query<E>, secret: &[u8; 32]) -> Result<Page<E>> {
    let asked = Asked::new(view, query, secret)?;
    let page = candidates::<E>(view, &asked, secret)?;
    let items = entities::<E>(view, &asked.plan, &page.items, query.schemas)?;
    Ok(page.with_items(items))
}

/// The entities of candidates, from the rows they were found in where those are the entities' own.
pub(super) fn entities<E: Entity>(
    view: &TenantView<'_>,
    plan: &Plan,
    candidates: &[Candidate],
    schemas: bool,
) -> Result<Vec<E>> {
    let ids: Vec<Uuid> = candidates.iter().map(|candidate| candidate.id).collect();
    let found = if plan.has_entity_rows::<E>() {
        let rows = candidates.iter().map(|candidate| candidate.value.as_slice());
        view.entities_of_rows::<E>(&ids, rows, schemas)?
    } else {
        view.entities::<E>(&ids, schemas)?
    };
    Ok(found.into_iter().flatten().collect())
}

/// A page of whole entities, which are added to `text` as a JSON array; the page itself has their ids.
pub(crate) fn list_json<E: Entity>(
    view: &TenantView<'_>,
    query: &Query<E>,
    text: &mut JsonText,
    secret: &[u8; 32],
) -> Result<Page<E::Id>> {
    // Rows of more bytes than there is room for end the walk early, which the check below finds.
    let mut asked = Asked::new(view, query, secret)?;
    asked.slice.bytes = text.room().saturating_add(1);
    let page = candidates::<E>(view, &asked, secret)?;
    let ids = ids(&page);
    text.push("[");
    if asked.plan.has_entity_rows::<E>() {
        text.check(page.items.iter().map(|row| row.key.len() + row.value.len()).sum())?;
        let rows: Vec<_> = page.items.iter().map(|row| Some(&row.value)).collect();
        view.show_rows::<E>(&ids, &rows, query.schemas, text, |_, _| {})?;
    } else {
        view.show_entities::<E>(&ids, query.schemas, text)?;
    }
    text.push("]");
    text.check(0)?;
    Ok(page.with_items(ids.into_iter().map(E::Id::from_uuid).collect()))
}

/// A page of ids and names; from the index alone where it is sorted by name.
pub(crate) fn list_names<E: Entity>(
    view: &TenantView<'_>,
    query: &Query<E>,
    secret: &[u8; 32],
) -> Result<Page<Named<E::Id>>> {
    let asked = Asked::new(view, query, secret)?;
    let mut page = names::<E>(view, &asked, secret)?;
    let named = |(id, name)| Named {
        id: E::Id::from_uuid(id),
        name,
    };
    let items = std::mem::take(&mut page.items).into_iter().map(named).collect();
    Ok(page.with_items(items))
}

pub(super) type IdAndName = (Uuid, Option<String>);

fn names<E: Entity>(view: &TenantView<'_>, asked: &Asked, secret: &[u8; 32]) -> Result<Page<IdAndName>> {
    let plan = &asked.plan;
    if let Some(FoundNames { named, edges, total }) = plan.find_names::<E>(view, &asked.slice)? {
        return Ok(asked.page(named, total, edges, secret));
    }
    let page = candidates::<E>(view, asked, secret)?;
    let ids = ids(&page);
    let names = if plan.walks_names() {
        let name = |row: &Candidate| name_of_entry(plan.space(), &row.key, &row.value, row.prefix);
        page.items.iter().map(name).collect::<Result<_>>()?
    } else {
        view.names::<E>(&ids)?
    };
    Ok(page.with_items(ids.into_iter().zip(names).collect()))
}

/// A page of JSON objects with the projected fields; reads nothing that is not projected.
pub(crate) fn list_projected<E: Entity>(
    view: &TenantView<'_>,
    query: &Query<E>,
    projection: &Projection,
    secret: &[u8; 32],
) -> Result<Page<JsonObject>> {
    let wanted = projection.check(E::KIND)?;
    let asked = Asked::new(view, query, secret)?;
    if wanted.only_id_and_name() && asked.plan.walks_names() {
        let page = names::<E>(view, &asked, secret)?;
        let object = |(id, name): &IdAndName| {
            let mut object = JsonObject::new();
            object.insert("id".to_owned(), Value::String(id.to_string()));
            if let Some(name) = name.as_ref().filter(|_| wanted.has("name")) {
                object.insert("name".to_owned(), Value::String(name.clone()));
            }
            object
        };
        let items = page.items.iter().map(object).collect();
        return Ok(page.with_items(items));
    }
    let page = candidates::<E>(view, &asked, secret)?;
    let whole = entities::<E>(view, &asked.plan, &page.items, wanted.needs_schemas())?;
    let items = whole
        .iter()
        .map(|entity| wanted.apply(entity))
        .collect::<Result<_>>()?;
    Ok(page.with_items(items))
}
