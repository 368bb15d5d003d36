//! What the oracle believes a catalog holds.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
use shelfmark::{EntityKind, Timestamp};
use uuid::Uuid;

use super::feed::Feeds;
use super::fields::{self, Object};
use super::undrop::Dropped;

/// One entity.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: Uuid,
    pub(super) kind: EntityKind,
    pub(super) parent: Option<Uuid>,
    pub(super) version: u64,
    pub(super) owner: String,
    pub(super) created_by: String,
    pub(super) modified_by: String,
    pub(super) created: i64,
    pub(super) modified: i64,
    /// The settable fields as they show, without owner and parent.
    pub(super) fields: Object,
    /// When the schema, if there is one, and each additional one last changed.
    pub(super) dates: Vec<i64>,
}

/// One tenant. Ids grow in creation order.
#[derive(Debug, Clone, Default)]
pub(super) struct Entities(pub(super) BTreeMap<Uuid, Rc<Record>>);

/// Everything. Cloned for snapshots and transactions: what grows with a sequence and seldom changes is shared.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) tenants: BTreeMap<&'static str, Entities>,
    /// Whether hooks have a say.
    pub(super) hooks: bool,
    pub(super) feeds: Feeds,
    /// What was answered, by tenant, actor and idempotency key.
    pub(super) requests: Rc<Requests>,
    /// Of each tenant, what was dropped and is kept, by the id of its root.
    pub(super) dropped: BTreeMap<&'static str, Rc<BTreeMap<Uuid, Rc<Dropped>>>>,
}

/// Requests that were answered, by tenant, actor and idempotency key.
pub(super) type Requests = BTreeMap<(&'static str, String, u8), Rc<Request>>;

/// A request with an idempotency key that was answered.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The request, with every reference resolved, as text.
    pub(super) asked: String,
    pub(super) expiry: i64,
    pub(super) answer: Value,
}

impl State {
    /// The tenant as it is; one that does not exist is empty.
    pub(super) fn tenant(&self, name: &str) -> Entities {
        self.tenants.get(name).cloned().unwrap_or_default()
    }
}

pub(super) fn time(millis: i64) -> Value {
    Value::String(Timestamp::from_millis(millis).unwrap_or_default().to_string())
}

impl Entities {
    pub(super) fn get(&self, kind: EntityKind, id: Uuid) -> Option<&Rc<Record>> {
        self.0.get(&id).filter(|record| record.kind == kind)
    }

    /// All of a kind, in creation order.
    pub(super) fn all(&self, kind: EntityKind) -> impl Iterator<Item = &Rc<Record>> {
        self.0.values().filter(move |record| record.kind == kind)
    }

    /// The children of a parent, in creation order.
    pub(super) fn children(&self, parent: Uuid) -> impl Iterator<Item = &Rc<Record>> {
        self.0
            .values()
            .filter(move |record| record.parent == Some(parent))
    }

    fn store_info(&self, store: Uuid) -> Value {
        let record = &self.0[&store];
        let mut info = json!({ "id": store.to_string(), "type": record.fields["type"] });
        if let Some(name) = record.fields.get("name") {
            info["name"] = name.clone();
        }
        info
    }

    fn asset_info(&self, asset: Uuid) -> Value {
        let record = &self.0[&asset];
        let store = record.parent.unwrap_or_default();
        let mut info = json!({ "id": asset.to_string(), "dataStoreInfo": self.store_info(store) });
        if let Some(name) = record.fields.get("name") {
            info["name"] = name.clone();
        }
        info
    }

    /// An entity as callers see it.
    pub(super) fn shown(&self, tenant: &str, record: &Record, schemas: bool) -> Value {
        let mut shown = record.fields.clone();
        if schemas {
            let mut dates = record.dates.iter();
            for schema in schemas_of(&mut shown) {
                let date = time(dates.next().copied().unwrap_or_default());
                schema.insert("effectiveDate".to_owned(), date);
                if let Some(Value::Array(fields)) = schema.get_mut("dataFields") {
                    for (index, field) in fields.iter_mut().enumerate() {
                        field["index"] = json!(index);
                    }
                }
            }
        } else {
            shown.shift_remove("schema");
            shown.shift_remove("additionalSchemas");
        }
        let mut set = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        set("id", json!(record.id.to_string()));
        set("ownerId", json!(record.owner));
        set("version", json!(record.version));
        set("tenantId", json!(tenant));
        set("createdBy", json!(record.created_by));
        set("createdTime", time(record.created));
        set("lastModifiedBy", json!(record.modified_by));
        set("lastModifiedTime", time(record.modified));
        match (record.kind, record.parent) {
            (EntityKind::Asset, Some(store)) => {
                set("dataStoreInfo", self.store_info(store));
            }
            (EntityKind::Set, Some(asset)) => {
                set("dataAssetInfo", self.asset_info(asset));
            }
            _ => {}
        }
        Value::Object(shown)
    }
}

/// The schema and the additional ones.
fn schemas_of(fields: &mut Object) -> Vec<&mut Object> {
    let mut schemas = Vec::new();
    for (name, value) in fields.iter_mut() {
        match (name.as_str(), value) {
            ("schema", Value::Object(schema)) => schemas.insert(0, schema),
            ("additionalSchemas", Value::Array(more)) => {
                schemas.extend(more.iter_mut().filter_map(Value::as_object_mut));
            }
            _ => {}
        }
    }
    schemas
}

/// When each schema of `fields` last changed: as in `old` where that has the same one, else `now`.
pub(super) fn dates_of(fields: &Object, old: Option<&Record>, now: i64) -> Vec<i64> {
    let texts = |fields: &Object| -> Vec<String> {
        schemas_of(&mut fields.clone())
            .into_iter()
            .map(|schema| Value::Object(schema.clone()).to_string())
            .collect()
    };
    // Each old schema gives its date once: first to the one at its place, then, the last first, to those that moved.
    let mut known: Vec<Option<(String, i64)>> = old
        .map(|old| {
            let dated = texts(&old.fields).into_iter().zip(old.dates.iter().copied());
            dated.map(Some).collect()
        })
        .unwrap_or_default();
    let texts = texts(fields);
    let mut dates: Vec<Option<i64>> = vec![None; texts.len()];
    for (place, text) in texts.iter().enumerate() {
        if let Some(old) = known.get_mut(place)
            && old.as_ref().is_some_and(|(known, _)| known == text)
        {
            dates[place] = old.take().map(|(_, date)| date);
        }
    }
    for (text, date) in texts.iter().zip(&mut dates) {
        if date.is_none() {
            let same = known
                .iter_mut()
                .rev()
                .find(|old| old.as_ref().is_some_and(|(known, _)| known == text));
            *date = same.and_then(Option::take).map(|(_, date)| date);
        }
    }
    dates.into_iter().map(|date| date.unwrap_or(now)).collect()
}

/// What a write sets: the fields as they show, the owner and the parent where they are named.
pub(super) struct Given {
    pub(super) fields: Object,
    pub(super) owner: Option<String>,
    pub(super) parent: Option<Uuid>,
    /// Pointers of values of a wrong type.
    pub(super) wrong: Vec<String>,
}

impl Given {
    /// What a document says; `None` in the parent's place is no parent.
    pub(super) fn read(kind: EntityKind, document: Object) -> Self {
        let mut wrong = Vec::new();
        let mut fields = fields::read(fields::of(kind), document, "", &mut wrong);
        let owner = match fields.shift_remove("ownerId") {
            Some(Value::String(owner)) => Some(owner),
            _ => None,
        };
        let mut parent = None;
        if let Some(name) = fields::parent_field(kind)
            && let Some(info) = fields.shift_remove(name)
        {
            parent = info["id"].as_str().and_then(|id| id.parse().ok());
            if parent.is_none() {
                wrong.push(format!("/{name}/id"));
            }
        }
        Given {
            fields,
            owner,
            parent,
            wrong,
        }
    }
}
