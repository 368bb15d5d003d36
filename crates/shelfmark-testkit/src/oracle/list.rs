//! Selections, lists and finds, on everything there is.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::{Value, json};
use shelfmark::EntityKind;
use uuid::Uuid;

use super::fields::{is_projectable, is_sortable};
use super::state::{Entities, Record, time};
use crate::environment::TestEnvironment;
use crate::operation::{FilterSpec, Form, QuerySpec, Ref, Selection};
use crate::outcome::Failure;

pub(super) fn exact(id: &Ref) -> Uuid {
    match id {
        Ref::Exact(id) => *id,
        _ => Uuid::nil(),
    }
}

/// Unicode case folding.
pub(super) fn fold(text: &str) -> String {
    caseless::default_case_fold_str(text)
}

/// What text sorts by: the first 512 bytes of the folded form, cut at a character.
fn sort_text(text: &str) -> String {
    let mut folded = fold(text);
    while folded.len() > 512 {
        folded.pop();
    }
    folded
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Boolean(bool),
    Integer(i64),
    Text(String),
    // The last: missing values come last ascending.
    Missing,
}

/// A place in an order: what an entity sorts by, and its id.
#[derive(Debug, Clone)]
pub(super) struct Place {
    keys: Vec<(Key, bool)>,
    id: Uuid,
}

impl Place {
    fn compare(&self, other: &Place) -> Ordering {
        let turned = |order: Ordering, descending| if descending { order.reverse() } else { order };
        let leading = self.keys.first().is_some_and(|(_, descending)| *descending);
        self.keys
            .iter()
            .zip(&other.keys)
            .map(|((one, descending), (two, _))| turned(one.cmp(two), *descending))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| turned(self.id.cmp(&other.id), leading))
    }
}

/// The sort's fields, each with whether it is descending.
fn sort_fields(kind: EntityKind, sort: &str) -> Result<Vec<(&str, bool)>, Failure> {
    if sort.is_empty() {
        return Ok(Vec::new());
    }
    sort.split(',')
        .map(|part| {
            let (path, descending) = match part.strip_prefix('-') {
                Some(path) => (path, true),
                None => (part.strip_prefix('+').unwrap_or(part), false),
            };
            if is_sortable(kind, path) {
                Ok((path, descending))
            } else {
                Err(Failure::invalid([String::new()]))
            }
        })
        .collect()
}

/// The parents that a selection names, in creation order; for all, all there are. For stores, none.
fn parents(entities: &Entities, kind: EntityKind, selection: &Selection) -> Result<Vec<Uuid>, Failure> {
    let found = |kind: EntityKind, ids: &[Ref]| -> Result<Vec<Uuid>, Failure> {
        let ids: BTreeSet<Uuid> = ids.iter().map(exact).collect();
        let missing: Vec<Uuid> = ids
            .iter()
            .copied()
            .filter(|&id| entities.get(kind, id).is_none())
            .collect();
        if missing.is_empty() {
            Ok(ids.into_iter().collect())
        } else {
            Err(Failure::not_found(missing))
        }
    };
    let all = |kind: EntityKind| entities.all(kind).map(|record| record.id).collect();
    match (selection, kind) {
        (_, EntityKind::Store) => Ok(Vec::new()),
        (Selection::All, EntityKind::Asset) => Ok(all(EntityKind::Store)),
        (Selection::All, EntityKind::Set) => Ok(all(EntityKind::Asset)),
        (Selection::InStores(stores), EntityKind::Asset) => found(EntityKind::Store, stores),
        (Selection::InStores(stores), EntityKind::Set) => {
            let stores = found(EntityKind::Store, stores)?;
            let within = |asset: &&Rc<Record>| asset.parent.is_some_and(|store| stores.contains(&store));
            Ok(entities
                .all(EntityKind::Asset)
                .filter(within)
                .map(|asset| asset.id)
                .collect())
        }
        (Selection::InAssets(assets), _) => found(EntityKind::Asset, assets),
        (Selection::Within(stores, assets), _) => {
            let stores = found(EntityKind::Store, stores)?;
            let outside: Vec<Uuid> = assets
                .iter()
                .map(exact)
                .filter(|&asset| {
                    let store = entities
                        .get(EntityKind::Asset, asset)
                        .and_then(|asset| asset.parent);
                    !store.is_some_and(|store| stores.contains(&store))
                })
                .collect();
            if outside.is_empty() {
                found(EntityKind::Asset, assets)
            } else {
                Err(Failure::not_found(outside))
            }
        }
    }
}

/// What a selection holds, parent by parent, each in creation order.
pub(super) fn select(
    entities: &Entities,
    kind: EntityKind,
    selection: &Selection,
) -> Result<Vec<Rc<Record>>, Failure> {
    if kind == EntityKind::Store {
        return Ok(entities.all(kind).cloned().collect());
    }
    let parents = parents(entities, kind, selection)?;
    Ok(parents
        .into_iter()
        .flat_map(|parent| entities.children(parent).cloned())
        .collect())
}

fn admits(filter: &FilterSpec, record: &Record) -> bool {
    let text = |name: &str| record.fields.get(name).and_then(Value::as_str);
    let type_field = match record.kind {
        EntityKind::Asset => "appType",
        _ => "type",
    };
    let FilterSpec {
        name_prefix,
        type_name,
        tag,
        owner,
        space,
        since,
    } = filter;
    name_prefix
        .as_ref()
        .is_none_or(|prefix| text("name").is_some_and(|name| fold(name).starts_with(&fold(prefix))))
        && type_name
            .as_deref()
            .is_none_or(|name| text(type_field) == Some(name))
        && tag.as_ref().is_none_or(|tag| {
            let tags = record.fields.get("tags").and_then(Value::as_array);
            tags.is_some_and(|tags| tags.iter().any(|have| have == tag.as_str()))
        })
        && owner.as_ref().is_none_or(|owner| record.owner == *owner)
        && space
            .as_deref()
            .is_none_or(|space| text("spaceId") == Some(space))
        && since.is_none_or(|since| record.modified >= TestEnvironment::START + since)
}

fn place(entities: &Entities, tenant: &str, record: &Record, fields: &[(&str, bool)]) -> Place {
    // The most common ones without making the whole document.
    let document = match fields {
        [] | [("id", _)] => Value::Null,
        [("name" | "technicalName", _)] => Value::Object(record.fields.clone()),
        [("lastModifiedTime", _)] => json!({ "lastModifiedTime": time(record.modified) }),
        _ => entities.shown(tenant, record, true),
    };
    let keys = fields
        .iter()
        .filter(|(path, _)| *path != "id" || fields.len() > 1)
        .map(|&(path, descending)| {
            let value = path.split('.').try_fold(&document, |at, name| at.get(name));
            let key = match value {
                // Ids and times too: their texts sort as they do.
                Some(Value::String(text)) => Key::Text(sort_text(text)),
                Some(Value::Number(number)) => Key::Integer(number.as_i64().unwrap_or(i64::MAX)),
                Some(Value::Bool(value)) => Key::Boolean(*value),
                _ => Key::Missing,
            };
            (key, descending)
        })
        .collect::<Vec<_>>();
    match fields {
        [("id", true)] => Place {
            keys: vec![(Key::Missing, true)],
            id: record.id,
        },
        _ => Place { keys, id: record.id },
    }
}

/// Everything that a list shows, in its order.
pub(super) fn ordered(
    entities: &Entities,
    tenant: &str,
    query: &QuerySpec,
) -> Result<Vec<(Place, Rc<Record>)>, Failure> {
    let fields = sort_fields(query.kind, &query.sort)?;
    let mut list: Vec<_> = select(entities, query.kind, &query.selection)?
        .into_iter()
        .filter(|record| admits(&query.filter, record))
        .map(|record| (place(entities, tenant, &record, &fields), record))
        .collect();
    list.sort_by(|(one, _), (two, _)| one.compare(two));
    Ok(list)
}

/// A page by number: its items, and whether there is one before and after.
pub(super) struct Slice {
    pub(super) items: Vec<(Place, Rc<Record>)>,
    pub(super) page: u64,
    pub(super) total: usize,
    pub(super) prev: bool,
    pub(super) next: bool,
    /// Where an empty page turns round.
    pub(super) turned: Option<Edge>,
}

/// Where a cursor leads on, and whether what is there is on the page.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) place: Place,
    pub(super) inclusive: bool,
}

pub(super) fn page(entities: &Entities, tenant: &str, query: &QuerySpec) -> Result<Slice, Failure> {
    let list = ordered(entities, tenant, query)?;
    let total = list.len();
    let skip = query.page.saturating_mul(query.limit as u64);
    let start = usize::try_from(skip).unwrap_or(usize::MAX).min(total);
    let end = start.saturating_add(query.limit).min(total);
    let items: Vec<_> = list.into_iter().skip(start).take(end - start).collect();
    Ok(Slice {
        prev: query.page > 0 && !items.is_empty(),
        next: end < total && !items.is_empty(),
        items,
        page: query.page,
        total,
        turned: None,
    })
}

/// The page on one side of an edge.
pub(super) fn page_beside(
    entities: &Entities,
    tenant: &str,
    query: &QuerySpec,
    edge: &Edge,
    page: u64,
    back: bool,
) -> Result<Slice, Failure> {
    let list = ordered(entities, tenant, query)?;
    let total = list.len();
    let (before, behind): (Vec<_>, Vec<_>) = list
        .into_iter()
        .filter(|(other, _)| edge.inclusive || other.compare(&edge.place).is_ne())
        .partition(|(other, _)| match other.compare(&edge.place) {
            Ordering::Equal => back,
            order => order.is_lt(),
        });
    let more = if back { before.len() } else { behind.len() } > query.limit;
    let items: Vec<_> = if back {
        let skip = before.len().saturating_sub(query.limit);
        before.into_iter().skip(skip).collect()
    } else {
        behind.into_iter().take(query.limit).collect()
    };
    let any = !items.is_empty();
    Ok(Slice {
        items,
        page: if back { page.saturating_sub(1) } else { page + 1 },
        total,
        prev: !back || (any && more),
        next: back || (any && more),
        turned: (!any).then(|| Edge {
            place: edge.place.clone(),
            inclusive: !edge.inclusive,
        }),
    })
}

/// What a page gives.
pub(super) fn page_value(
    entities: &Entities,
    tenant: &str,
    query: &QuerySpec,
    form: &Form,
    slice: &Slice,
) -> Value {
    let item = |record: &Record| match form {
        Form::Entities | Form::Json => entities.shown(tenant, record, query.schemas),
        Form::Names => json!([record.id.to_string(), record.fields.get("name")]),
        Form::Projected(fields) => {
            let paths: Vec<Vec<&str>> = fields
                .iter()
                .map(String::as_str)
                .chain(["id"])
                .map(|field| field.split('.').collect())
                .collect();
            let slices: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
            project(&entities.shown(tenant, record, true), &slices).unwrap_or_default()
        }
    };
    let pages = slice.total.div_ceil(query.limit.max(1));
    json!({
        "items": slice.items.iter().map(|(_, record)| item(record)).collect::<Vec<_>>(),
        "page": slice.page,
        "limit": query.limit,
        "total": query.total.then_some(slice.total),
        "pages": query.total.then_some(pages),
        "prev": slice.prev,
        "next": slice.next,
    })
}

/// The projected members of a value; elements of lists are passed over.
fn project(value: &Value, paths: &[&[&str]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::Array(items) => Some(items.iter().filter_map(|item| project(item, paths)).collect()),
        Value::Object(members) => {
            let kept = members.iter().filter_map(|(name, member)| {
                let below: Vec<&[&str]> = paths
                    .iter()
                    .filter(|path| path[0] == name)
                    .map(|path| &path[1..])
                    .collect();
                let shown = (!below.is_empty()).then(|| project(member, &below)).flatten();
                shown.map(|shown| (name.clone(), shown))
            });
            Some(Value::Object(kept.collect()))
        }
        // A scalar above the path that is projected is not.
        _ => None,
    }
}

pub(super) fn check_projection(kind: EntityKind, form: &Form) -> Result<(), Failure> {
    match form {
        Form::Projected(fields) if fields.iter().any(|field| !is_projectable(kind, field)) => {
            Err(Failure::invalid([String::new()]))
        }
        _ => Ok(()),
    }
}

/// What a walk over every page and back gives: the ids of each page.
pub(super) fn walk(entities: &Entities, tenant: &str, query: &QuerySpec) -> Result<Value, Failure> {
    let list = ordered(entities, tenant, query)?;
    let ids: Vec<String> = list.iter().map(|(_, record)| record.id.to_string()).collect();
    let pages: Vec<&[String]> = ids.chunks(query.limit.max(1)).collect();
    Ok(json!({ "forward": pages, "total": ids.len() }))
}
