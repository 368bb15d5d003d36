//! The fields of the three kinds, their types and their rules, as the contract has them: read from JSON, checked on JSON.

use serde_json::{Map, Value};
use shelfmark::{EntityKind, Timestamp};

pub(super) type Object = Map<String, Value>;

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Type {
    Text,
    Boolean,
    Integer,
    Time,
    Free,
    Texts,
    Object(&'static [Field]),
    List(&'static [Field]),
}

/// One field of an object.
pub(super) struct Field {
    name: &'static str,
    holds: Type,
    /// Whether the application sets it, whatever a user gives.
    made: bool,
    /// Whether an empty list shows.
    shown_empty: bool,
}

const fn user(name: &'static str, holds: Type) -> Field {
    Field {
        name,
        holds,
        made: false,
        shown_empty: false,
    }
}

const fn made(name: &'static str, holds: Type) -> Field {
    Field {
        made: true,
        ..user(name, holds)
    }
}

const fn text(name: &'static str) -> Field {
    user(name, Type::Text)
}

const TAGS: Field = Field {
    shown_empty: true,
    ..user("tags", Type::Texts)
};

const STORE_INFO: &[Field] = &[text("id"), made("name", Type::Text), made("type", Type::Text)];
const ASSET_INFO: &[Field] = &[
    text("id"),
    made("name", Type::Text),
    made("dataStoreInfo", Type::Object(STORE_INFO)),
];
const TABLE: &[Field] = &[
    text("tableName"),
    text("selectionScript"),
    user("additionalProperties", Type::Free),
];
const OPERATIONAL: &[Field] = &[
    user("size", Type::Integer),
    text("status"),
    user("endDate", Type::Time),
    text("location"),
    user("rowCount", Type::Integer),
    user("startDate", Type::Time),
    text("logMessage"),
    text("tableOwner"),
    user("lastLoadTime", Type::Time),
    user("contentUpdated", Type::Boolean),
    user("lastUpdateTime", Type::Time),
    user("tableConnectionInfo", Type::Object(TABLE)),
];
const USER_TAG: &[Field] = &[text("id"), text("name")];
const DATA_TYPE: &[Field] = &[text("type"), user("properties", Type::Free), text("originalType")];
const DATA_FIELD: &[Field] = &[
    text("name"),
    user("tags", Type::Texts),
    text("alias"),
    made("index", Type::Integer),
    user("orphan", Type::Boolean),
    user("dataType", Type::Object(DATA_TYPE)),
    user("nullable", Type::Boolean),
    user("userTags", Type::List(USER_TAG)),
    user("encrypted", Type::Boolean),
    user("sensitive", Type::Boolean),
    user("primaryKey", Type::Boolean),
    user("properties", Type::Free),
    text("description"),
    user("ordinalPositionInKey", Type::Integer),
];
const SCHEMA: &[Field] = &[
    user("anomalies", Type::Texts),
    Field {
        shown_empty: true,
        ..user("dataFields", Type::List(DATA_FIELD))
    },
    text("schemaName"),
    user("loadOptions", Type::Free),
    made("effectiveDate", Type::Time),
    user("overrideSchemaAnomalies", Type::Boolean),
];
const STORE: &[Field] = &[
    made("id", Type::Text),
    text("uri"),
    text("name"),
    TAGS,
    text("type"),
    text("ownerId"),
    text("spaceId"),
    made("version", Type::Integer),
    made("tenantId", Type::Text),
    made("createdBy", Type::Text),
    user("properties", Type::Free),
    made("createdTime", Type::Time),
    text("description"),
    text("technicalName"),
    made("lastModifiedBy", Type::Text),
    made("lastModifiedTime", Type::Time),
    text("technicalDescription"),
];
const ASSET: &[Field] = &[
    made("id", Type::Text),
    text("name"),
    TAGS,
    text("appId"),
    text("appType"),
    text("ownerId"),
    text("spaceId"),
    made("version", Type::Integer),
    made("tenantId", Type::Text),
    made("createdBy", Type::Text),
    user("properties", Type::Free),
    made("createdTime", Type::Time),
    text("description"),
    user("dataFreshness", Type::Time),
    user("dataStoreInfo", Type::Object(STORE_INFO)),
    text("technicalName"),
    made("lastModifiedBy", Type::Text),
    made("lastModifiedTime", Type::Time),
    text("technicalDescription"),
];
const SET: &[Field] = &[
    made("id", Type::Text),
    text("qri"),
    text("name"),
    TAGS,
    text("type"),
    user("schema", Type::Object(SCHEMA)),
    text("ownerId"),
    text("spaceId"),
    made("version", Type::Integer),
    made("tenantId", Type::Text),
    made("createdBy", Type::Text),
    text("secureQri"),
    user("properties", Type::Free),
    made("createdTime", Type::Time),
    text("description"),
    user("operational", Type::Object(OPERATIONAL)),
    user("dataAssetInfo", Type::Object(ASSET_INFO)),
    text("technicalName"),
    made("lastModifiedBy", Type::Text),
    text("appTypeOverride"),
    made("lastModifiedTime", Type::Time),
    user("additionalSchemas", Type::List(SCHEMA)),
    text("technicalDescription"),
    text("createdByConnectionId"),
];

/// The fields of a kind.
pub(super) fn of(kind: EntityKind) -> &'static [Field] {
    match kind {
        EntityKind::Store => STORE,
        EntityKind::Asset => ASSET,
        EntityKind::Set => SET,
    }
}

/// Where a kind names its parent.
pub(super) fn parent_field(kind: EntityKind) -> Option<&'static str> {
    match kind {
        EntityKind::Store => None,
        EntityKind::Asset => Some("dataStoreInfo"),
        EntityKind::Set => Some("dataAssetInfo"),
    }
}

/// What a path leads to, list elements by `element` or not at all.
fn lookup(kind: EntityKind, path: &[String], element: fn(&str) -> bool) -> Option<Type> {
    let mut at = Type::Object(of(kind));
    let mut in_texts = false;
    for name in path {
        if in_texts {
            return None;
        }
        at = match at {
            Type::Object(fields) => fields.iter().find(|field| field.name == name)?.holds,
            Type::Free => return Some(Type::Free),
            Type::List(fields) if element(name) => Type::Object(fields),
            Type::Texts if element(name) => {
                in_texts = true;
                Type::Text
            }
            _ => return None,
        };
    }
    Some(at)
}

/// Whether a list can be sorted by this dotted path.
pub(super) fn is_sortable(kind: EntityKind, path: &str) -> bool {
    let path: Vec<String> = path.split('.').map(str::to_owned).collect();
    let mut at = Type::Object(of(kind));
    for name in &path {
        let Type::Object(fields) = at else { return false };
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            return false;
        };
        at = field.holds;
    }
    matches!(at, Type::Text | Type::Boolean | Type::Integer | Type::Time)
}

/// Whether this dotted path can be projected: elements of lists are passed over.
pub(super) fn is_projectable(kind: EntityKind, path: &str) -> bool {
    let mut at = Type::Object(of(kind));
    for name in path.split('.') {
        at = match at {
            Type::Object(fields) | Type::List(fields) => {
                match fields.iter().find(|field| field.name == name) {
                    Some(field) => field.holds,
                    None => return false,
                }
            }
            Type::Free => return true,
            _ => return false,
        };
    }
    true
}

/// Whether a patch may name this path, whatever the document holds.
pub(super) fn is_patchable(kind: EntityKind, path: &[String]) -> bool {
    !path.is_empty() && lookup(kind, path, is_index).is_some()
}

/// Whether a token names a place in a list.
pub(super) fn is_index(token: &str) -> bool {
    token == "-" || token == "0" || (!token.starts_with('0') && token.parse::<u32>().is_ok())
}

/// What a user sets of `object`, in the fields' order: null and empty fields left out, and everything that the application makes. Values of a
/// wrong type are left out too, and their pointers given.
pub(super) fn read(fields: &[Field], mut object: Object, pointer: &str, wrong: &mut Vec<String>) -> Object {
    let mut read = Object::new();
    for field in fields.iter().filter(|field| !field.made) {
        let at = format!("{pointer}/{}", field.name);
        let given = object.remove(field.name).filter(|value| !value.is_null());
        let value = match (given, field.holds) {
            (None, _) => None,
            (Some(value @ Value::String(_)), Type::Text)
            | (Some(value @ Value::Bool(_)), Type::Boolean)
            | (Some(value @ Value::Object(_)), Type::Free) => Some(value),
            (Some(Value::Number(number)), Type::Integer) if number.as_i64().is_some() => {
                Some(Value::Number(number))
            }
            (Some(Value::String(text)), Type::Time) => match text.parse::<Timestamp>() {
                Ok(time) => Some(Value::String(time.to_string())),
                Err(_) => {
                    wrong.push(at);
                    None
                }
            },
            (Some(Value::Array(items)), Type::Texts) => {
                let mut texts = Vec::new();
                for (index, item) in items.into_iter().enumerate() {
                    if item.is_string() {
                        texts.push(item);
                    } else {
                        wrong.push(format!("{at}/{index}"));
                    }
                }
                Some(Value::Array(texts))
            }
            (Some(Value::Object(object)), Type::Object(fields)) => {
                Some(Value::Object(self::read(fields, object, &at, wrong)))
            }
            (Some(Value::Array(items)), Type::List(fields)) => {
                let mut objects = Vec::new();
                for (index, item) in items.into_iter().enumerate() {
                    let at = format!("{at}/{index}");
                    match item {
                        Value::Object(object) => {
                            objects.push(Value::Object(self::read(fields, object, &at, wrong)));
                        }
                        _ => wrong.push(at),
                    }
                }
                Some(Value::Array(objects))
            }
            (Some(_), _) => {
                wrong.push(at);
                None
            }
        };
        let empty = value
            .as_ref()
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty);
        match value {
            Some(value) if !empty || field.shown_empty => {
                read.insert(field.name.to_owned(), value);
            }
            None if field.shown_empty && field.name == "tags" => {
                read.insert(field.name.to_owned(), Value::Array(Vec::new()));
            }
            _ => {}
        }
    }
    read
}

/// The pointers of every rule that the settable fields break.
pub(super) fn broken_rules(kind: EntityKind, fields: &Object) -> Vec<String> {
    let mut broken = Vec::new();
    let rules: &[(&str, usize, usize)] = match kind {
        EntityKind::Store => &[("uri", 0, 512), ("type", 1, 64)],
        EntityKind::Asset => &[("appType", 1, 64)],
        EntityKind::Set => &[("qri", 8, 1024), ("secureQri", 1, 1024)],
    };
    let common = [
        ("name", 0, 255),
        ("technicalName", 1, 255),
        ("description", 0, 1024),
        ("technicalDescription", 0, 1024),
    ];
    for &(name, min, max) in rules.iter().chain(&common) {
        text_rule(fields, "", name, min, max, &mut broken);
    }
    duplicates(fields, "", "tags", &mut broken);
    depth_rule(fields, "", "properties", &mut broken);
    if kind == EntityKind::Set {
        if fields.contains_key("type") {
            text_rule(fields, "", "type", 1, 64, &mut broken);
        }
        let qri = fields.get("qri").and_then(Value::as_str).unwrap_or_default();
        if qri.split(':').count() < 4 || qri.split(':').any(str::is_empty) {
            broken.push("/qri".to_owned());
        }
        if let Some(Value::Object(schema)) = fields.get("schema") {
            schema_rules(schema, "/schema", &mut broken);
        }
        if let Some(Value::Array(schemas)) = fields.get("additionalSchemas") {
            for (index, schema) in schemas.iter().enumerate() {
                if let Value::Object(schema) = schema {
                    schema_rules(schema, &format!("/additionalSchemas/{index}"), &mut broken);
                }
            }
        }
        if let Some(Value::Object(table)) = fields
            .get("operational")
            .and_then(|operational| operational.get("tableConnectionInfo"))
        {
            let at = "/operational/tableConnectionInfo";
            depth_rule(table, at, "additionalProperties", &mut broken);
        }
    }
    broken
}

fn text_rule(fields: &Object, at: &str, name: &str, min: usize, max: usize, broken: &mut Vec<String>) {
    let text = fields.get(name).and_then(Value::as_str);
    let fine = match text {
        None => min == 0,
        Some(text) => {
            let length = text.chars().count();
            (min == 0 || !text.trim().is_empty()) && (min..=max).contains(&length)
        }
    };
    if !fine {
        broken.push(format!("{at}/{name}"));
    }
}

fn duplicates(fields: &Object, at: &str, name: &str, broken: &mut Vec<String>) {
    if let Some(Value::Array(items)) = fields.get(name) {
        for (index, item) in items.iter().enumerate() {
            if items[..index].contains(item) {
                broken.push(format!("{at}/{name}/{index}"));
            }
        }
    }
}

/// The deepest level that free JSON may have; the object itself is the first.
const LEVELS: usize = 64;

fn depth_rule(fields: &Object, at: &str, name: &str, broken: &mut Vec<String>) {
    fn too_deep(value: &Value, at: String, level: usize) -> Option<String> {
        let below: Vec<(String, &Value)> = match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (index.to_string(), item))
                .collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, member)| (name.replace('~', "~0").replace('/', "~1"), member))
                .collect(),
            _ => return None,
        };
        if level > LEVELS {
            return Some(at);
        }
        below
            .into_iter()
            .find_map(|(token, value)| too_deep(value, format!("{at}/{token}"), level + 1))
    }
    if let Some(free) = fields.get(name) {
        broken.extend(too_deep(free, format!("{at}/{name}"), 1));
    }
}

const FIELD_TYPES: [&str; 11] = [
    "DATE",
    "TIME",
    "DATETIME",
    "TIMESTAMP",
    "STRING",
    "DOUBLE",
    "DECIMAL",
    "INTEGER",
    "BOOLEAN",
    "BINARY",
    "CUSTOM",
];

fn schema_rules(schema: &Object, at: &str, broken: &mut Vec<String>) {
    depth_rule(schema, at, "loadOptions", broken);
    let Some(Value::Array(fields)) = schema.get("dataFields") else {
        broken.push(format!("{at}/dataFields"));
        return;
    };
    let mut aliases = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let Value::Object(field) = field else { continue };
        let at = format!("{at}/dataFields/{index}");
        text_rule(field, &at, "name", 1, 1024, broken);
        duplicates(field, &at, "tags", broken);
        depth_rule(field, &at, "properties", broken);
        if let Some(alias) = field.get("alias") {
            if aliases.contains(&alias) {
                broken.push(format!("{at}/alias"));
            }
            aliases.push(alias);
        }
        match field.get("dataType") {
            Some(Value::Object(holds)) => type_rules(holds, &format!("{at}/dataType"), broken),
            _ => broken.extend([format!("{at}/dataType"), format!("{at}/dataType/type")]),
        }
    }
}

fn type_rules(holds: &Object, at: &str, broken: &mut Vec<String>) {
    depth_rule(holds, at, "properties", broken);
    let name = holds.get("type").and_then(Value::as_str).unwrap_or_default();
    if !FIELD_TYPES.contains(&name) {
        broken.push(format!("{at}/type"));
    }
    if name == "DECIMAL" {
        let integer = |name: &str| holds.get("properties").and_then(|free| free.get(name)?.as_i64());
        let precision = integer("precision");
        if precision.is_none_or(|precision| precision < 1) {
            broken.push(format!("{at}/properties/precision"));
        }
        let most = precision.unwrap_or(i64::MAX);
        if integer("scale").is_none_or(|scale| !(0..=most).contains(&scale)) {
            broken.push(format!("{at}/properties/scale"));
        }
    }
}
