//! One page of a list.

use serde_json::Value;
use uuid::Uuid;

use crate::engine::TenantView;
use crate::entity::{Entity, Head as _, JsonObject, TypedId as _};
use crate::error::Result;
use crate::index::name_of_entry;
use crate::json_text::JsonText;

use super::Query;
use super::cursor::{Cursor, Position};
use super::plan::{Found, Plan};
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

/// The candidates of the page that a query asks for, found in about `bytes` of rows.
fn candidates<E: Entity>(
    view: &TenantView<'_>,
    query: &Query<E>,
    secret: &[u8; 32],
    bytes: usize,
) -> Result<(Plan, Page<Candidate>)> {
    let plan = Plan::new(view, query)?;
    let (mut slice, page) = plan.slice(&query.start, query.limit, secret)?;
    slice.count = query.total;
    slice.bytes = bytes;
    let Found {
        candidates: mut items,
        total,
    } = plan.find::<E>(view, &slice)?;
    let more = items.len() > query.limit;
    items.truncate(query.limit);
    if slice.backwards {
        items.reverse();
    }
    let seal = |position| plan.seal_cursor(secret, &position);
    let lead = |there: bool, page: u64, backwards: bool, from: Option<&Candidate>| {
        let key = from.filter(|_| there)?.sort_key().to_vec();
        Some(seal(Position {
            page,
            backwards,
            inclusive: false,
            key,
        }))
    };
    let before = page.saturating_sub(1);
    let behind = page.saturating_add(1);
    let (prev, next) = match slice.edge {
        // What this page was to show is gone since; the rest lies from its edge on the other way.
        Some(Edge { key, inclusive }) if items.is_empty() => {
            let back = |page, backwards| {
                Some(seal(Position {
                    page,
                    backwards,
                    inclusive: !inclusive,
                    key,
                }))
            };
            if slice.backwards {
                (None, back(behind, false))
            } else {
                (back(before, true), None)
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
                lead(has_prev, before, true, items.first()),
                lead(has_next, behind, false, items.last()),
            )
        }
    };
    Ok((
        plan,
        Page {
            items,
            page,
            limit: query.limit,
            total,
            prev,
            next,
        },
    ))
}

fn ids(page: &Page<Candidate>) -> Vec<Uuid> {
    page.items.iter().map(|candidate| candidate.id).collect()
}

/// A page of whole entities.
pub(crate) fn list<E: Entity>(view: &TenantView<'_>, query: &Query<E>, secret: &[u8; 32]) -> Result<Page<E>> {
    let (plan, page) = candidates(view, query, secret, usize::MAX)?;
    let items = entities::<E>(view, &plan, &page.items, query.schemas)?;
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
    let (plan, page) = candidates(view, query, secret, text.room().saturating_add(1))?;
    let ids = ids(&page);
    text.push("[");
    if plan.has_entity_rows::<E>() {
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
    let (plan, page) = candidates(view, query, secret, usize::MAX)?;
    let names = names::<E>(view, &plan, &page)?;
    let named = |(id, name)| Named {
        id: E::Id::from_uuid(id),
        name,
    };
    let items = ids(&page).into_iter().zip(names).map(named).collect();
    Ok(page.with_items(items))
}

fn names<E: Entity>(
    view: &TenantView<'_>,
    plan: &Plan,
    page: &Page<Candidate>,
) -> Result<Vec<Option<String>>> {
    if plan.walks_names() {
        let name = |row: &Candidate| name_of_entry(plan.space(), &row.key, &row.value, row.prefix);
        return page.items.iter().map(name).collect();
    }
    let ids = ids(page);
    let mut names = vec![None; ids.len()];
    view.heads::<E>(&ids, |at, head| {
        names[at] = head.name().map(str::to_owned);
        Ok(())
    })?;
    Ok(names)
}

/// A page of JSON objects with the projected fields; reads nothing that is not projected.
pub(crate) fn list_projected<E: Entity>(
    view: &TenantView<'_>,
    query: &Query<E>,
    projection: &Projection,
    secret: &[u8; 32],
) -> Result<Page<JsonObject>> {
    let wanted = projection.check(E::KIND)?;
    let (plan, page) = candidates(view, query, secret, usize::MAX)?;
    let items = if wanted.only_id_and_name() && plan.walks_names() {
        let names = names::<E>(view, &plan, &page)?;
        let object = |(id, name): (Uuid, Option<String>)| {
            let mut object = JsonObject::new();
            object.insert("id".to_owned(), Value::String(id.to_string()));
            if let Some(name) = name.filter(|_| wanted.has("name")) {
                object.insert("name".to_owned(), Value::String(name));
            }
            object
        };
        ids(&page).into_iter().zip(names).map(object).collect()
    } else {
        let whole = entities::<E>(view, &plan, &page.items, wanted.needs_schemas())?;
        whole
            .iter()
            .map(|entity| wanted.apply(entity))
            .collect::<Result<_>>()?
    };
    Ok(page.with_items(items))
}
