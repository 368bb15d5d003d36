//! From a descriptor to what the catalog stores of it. One rule throughout: what no typed field carries verbatim stays in `properties`, under
//! the name of the member it came from.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use serde_json::Value;
use shelfmark::{
    DataField, DataType, FieldType, JsonObject, NewDataAsset, NewDataSet, NewDataStore, Operational, Schema,
    Violation,
};

use crate::ImportReport;
use crate::members::{Members, Violations};
use crate::text::{
    DESCRIPTION_CHARS, FIELD_NAME_CHARS, NAME_CHARS, cut, cut_technical_name, is_blank, qri,
    without_extension,
};
use crate::types;

/// The `type` of every store that the importer makes.
pub(crate) const STORE_TYPE: &str = "frictionless";
/// The `appType` of every asset that the importer makes.
pub(crate) const APP_TYPE: &str = "datapackage";
/// The store of packages without a source.
const UNATTRIBUTED: &str = "unattributed";

/// What names a source, best first: those of the published specification are `title`, `path` and `email`.
const SOURCE_NAMES: [&str; 6] = ["dataPublishedBy", "title", "name", "path", "link", "email"];

/// The members that hold tags.
const TAG_LISTS: [&str; 2] = ["keywords", "owidTags"];

/// More fields than an entity of 1 MiB can hold.
const MAX_FIELDS: usize = 65_536;

/// A package as the catalog stores it. The asset has no store yet, and no set an asset.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) store: NewDataStore,
    pub(crate) asset: NewDataAsset,
    pub(crate) sets: Vec<NewDataSet>,
    /// What it counts for.
    pub(crate) counts: ImportReport,
}

/// Why a document is not a package.
#[derive(Debug)]
pub(crate) struct NotAPackage {
    pub(crate) name: Option<String>,
    pub(crate) violations: Vec<Violation>,
}

/// The package that a document describes; `place_name` names one that does not name itself.
pub(crate) fn package(document: Value, place_name: &str) -> Result<Package, NotAPackage> {
    let mut violations = Violations::default();
    let left = match document {
        Value::Object(left) => left,
        _ => {
            violations.note("", "must be a JSON object");
            JsonObject::new()
        }
    };
    let named = left.get("name").and_then(Value::as_str).is_some();
    let members = Members {
        pointer: String::new(),
        left,
        violations: &mut violations,
    };
    let package = read_package(members, place_name);
    match violations.none() {
        Ok(()) => Ok(package),
        Err(violations) => Err(NotAPackage {
            name: named.then_some(package.asset.technical_name),
            violations,
        }),
    }
}

fn read_package(mut members: Members<'_>, place_name: &str) -> Package {
    let mut counts = ImportReport {
        packages: 1,
        ..ImportReport::default()
    };
    let store = source_store(&mut members, &mut counts);
    let mut asset = NewDataAsset {
        app_type: APP_TYPE.to_owned(),
        ..NewDataAsset::default()
    };
    let title = members.text("title");
    let name = own_name(&mut members).unwrap_or_else(|| {
        counts.package_names_made += 1;
        let title = title.as_deref().filter(|title| !is_blank(title));
        title.unwrap_or(place_name).to_owned()
    });
    asset.name = Some(shown_name(title, &name, &mut members, &mut counts));
    asset.technical_name = technical_name(name, &mut members, &mut counts);
    asset.description = description(&mut members, &mut counts.package_descriptions_cut);
    asset.tags = tags(&mut members, &mut counts);

    let list = members.required_list("resources");
    let mut sets = Vec::new();
    members.objects("resources", list, |index, resource| {
        let names = (store.technical_name.as_str(), asset.technical_name.as_str());
        sets.push(read_resource(resource, index, names, &mut counts));
    });
    counts.resources = sets.len() as u64;
    asset.properties = members.properties();
    Package {
        store,
        asset,
        sets,
        counts,
    }
}

/// The store of the package's source: of the first of its `sources` that names itself.
fn source_store(members: &mut Members<'_>, counts: &mut ImportReport) -> NewDataStore {
    // They stay in the asset's properties, where they stood.
    let sources = match members.left.get("sources") {
        Some(Value::Array(sources)) => sources.clone(),
        None | Some(Value::Null) => Vec::new(),
        Some(_) => {
            members.refuse("sources", "must be a list");
            Vec::new()
        }
    };
    let mut source = None;
    members.objects("sources", sources, |_, mut entry| {
        for name in SOURCE_NAMES {
            let text = entry.text(name);
            if source.is_none() {
                source = text.filter(|text| !is_blank(text));
            }
        }
    });
    if source.is_none() {
        counts.packages_without_source += 1;
    }
    let source = source.as_deref().map_or(UNATTRIBUTED, str::trim);
    let mut store = NewDataStore::new(source, STORE_TYPE);
    store.name = Some(cut(source, NAME_CHARS).unwrap_or(source).to_owned());
    if let Some(shorter) = cut_technical_name(source) {
        let whole = [("source".to_owned(), Value::from(source))];
        store.properties = Some(whole.into_iter().collect());
        store.technical_name = shorter;
    }
    store
}

fn read_resource(
    mut members: Members<'_>,
    index: usize,
    (source, package): (&str, &str),
    counts: &mut ImportReport,
) -> NewDataSet {
    let mut set = NewDataSet::default();
    let title = members.text("title");
    let path = members.left.get("path").and_then(first_text).map(str::to_owned);
    let name = own_name(&mut members).unwrap_or_else(|| {
        counts.resource_names_made += 1;
        let stem = path
            .as_deref()
            .map(without_extension)
            .filter(|stem| !is_blank(stem));
        stem.map_or_else(|| format!("resource_{index}"), str::to_owned)
    });
    set.name = Some(shown_name(title, &name, &mut members, counts));
    set.technical_name = technical_name(name, &mut members, counts);
    set.qri = qri(source, package, &set.technical_name);
    set.secure_qri = set.qri.clone();
    set.description = description(&mut members, &mut counts.resource_descriptions_cut);
    set.set_type = set_type(&mut members);

    let mut operational = Operational::default();
    if let Some(Value::String(_)) = members.left.get("path") {
        operational.location = members.text("path");
    }
    if let Some(bytes) = members.left.get("bytes").and_then(Value::as_i64) {
        operational.size = Some(bytes);
        members.take("bytes");
    }
    set.operational = (operational != Operational::default()).then_some(operational);

    set.schema = read_schema(&mut members, counts);
    if let Some(schema) = &mut set.schema
        && let Some(Value::Object(_)) = members.left.get("dialect")
        && let Some(Value::Object(dialect)) = members.take("dialect")
    {
        schema.load_options = Some(dialect);
    }
    set.properties = members.properties();
    set
}

/// The resource's `type`. Version 1 of the specification said the same by a profile.
fn set_type(members: &mut Members<'_>) -> Option<String> {
    match members.left.get("type").and_then(Value::as_str) {
        Some(text) if !is_blank(text) && cut(text, 64).is_none() => members.text("type"),
        Some(_) => None,
        None => match members.left.get("profile").and_then(Value::as_str) {
            Some(
                "tabular-data-resource"
                | "https://specs.frictionlessdata.io/schemas/tabular-data-resource.json",
            ) => Some("table".to_owned()),
            _ => None,
        },
    }
}

fn read_schema(members: &mut Members<'_>, counts: &mut ImportReport) -> Option<Schema> {
    let left = match members.left.get("schema") {
        None => return None,
        Some(Value::String(_)) => {
            counts.referenced_schemas += 1;
            return None;
        }
        Some(_) => match members.take("schema")? {
            Value::Object(left) => left,
            _ => {
                members.refuse("schema", "must be an object, or a path or URL");
                return None;
            }
        },
    };
    let mut inner = Members {
        pointer: format!("{}/schema", members.pointer),
        left,
        violations: &mut *members.violations,
    };
    let list = inner.required_list("fields");
    if list.len() > MAX_FIELDS {
        inner.refuse("fields", "has more fields than a data set can hold");
        return None;
    }
    counts.fields += list.len() as u64;
    let mut data_fields = Vec::with_capacity(list.len());
    let mut positions = HashMap::with_capacity(list.len());
    inner.objects("fields", list, |index, field| {
        let (name, field) = read_field(field, index, counts);
        if let Some(name) = name {
            match positions.entry(name) {
                Entry::Occupied(_) => counts.duplicate_field_names += 1,
                Entry::Vacant(entry) => {
                    entry.insert(data_fields.len());
                }
            }
        }
        data_fields.push(field);
    });
    mark_primary_key(&mut inner, &mut data_fields, &positions, counts);
    let rest = inner.properties();
    if let Some(rest) = rest {
        members.keep("schema", rest);
    }
    Some(Schema {
        data_fields,
        ..Schema::default()
    })
}

/// Marks the fields of the primary key, which stays in the properties too. Its positions count from 1, as in SQL.
fn mark_primary_key(
    schema: &mut Members<'_>,
    fields: &mut [DataField],
    positions: &HashMap<String, usize>,
    counts: &mut ImportReport,
) {
    let kept = schema.left.get("primaryKey").cloned();
    let key = schema.text_or_texts("primaryKey");
    if let Some(kept) = kept {
        schema.keep("primaryKey", kept);
    }
    let mut ordinal = 0;
    for name in key {
        let Some(field) = positions.get(&name).and_then(|&at| fields.get_mut(at)) else {
            counts.unknown_key_fields += 1;
            continue;
        };
        if field.primary_key.is_none() {
            ordinal += 1;
            field.primary_key = Some(true);
            field.ordinal_position_in_key = Some(ordinal);
            // A key's values are never missing.
            field.nullable = Some(false);
        }
    }
}

/// The field, and the name that its schema knows it by.
fn read_field(
    mut members: Members<'_>,
    index: usize,
    counts: &mut ImportReport,
) -> (Option<String>, DataField) {
    let own_name = members.text("name");
    let original_type = members.text("type");
    let format = members.left.get("format").and_then(Value::as_str);
    let (type_name, field_type) = types::mapped(original_type.as_deref(), format);
    counts.count_type(type_name, field_type);

    let name = match own_name.as_deref() {
        Some(name) if !is_blank(name) => match cut(name, FIELD_NAME_CHARS) {
            None => name.to_owned(),
            Some(shorter) => {
                counts.field_names_cut += 1;
                members.keep("name", name);
                shorter.to_owned()
            }
        },
        blank => {
            counts.field_names_made += 1;
            if let Some(blank) = blank {
                members.keep("name", blank);
            }
            format!("field_{index}")
        }
    };
    let description = members.text("description");
    if description
        .as_deref()
        .is_some_and(|text| cut(text, DESCRIPTION_CHARS).is_some())
    {
        counts.long_field_descriptions += 1;
    }
    let required = match members.left.get("constraints") {
        None | Some(Value::Null) => None,
        Some(Value::Object(constraints)) => match constraints.get("required") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(required)) => Some(*required),
            Some(_) => {
                members.refuse("constraints/required", "must be true or false");
                None
            }
        },
        Some(_) => {
            members.refuse("constraints", "must be an object");
            None
        }
    };
    let field = DataField {
        name,
        data_type: data_type(field_type, original_type),
        description,
        nullable: required.map(|required| !required),
        properties: members.properties(),
        ..DataField::default()
    };
    (own_name, field)
}

fn data_type(field_type: FieldType, original_type: Option<String>) -> DataType {
    DataType {
        field_type: Some(field_type),
        original_type,
        ..DataType::default()
    }
}

/// The first text of a text or a list.
fn first_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get(0)?.as_str())
}

/// The `name`, unless it is blank.
fn own_name(members: &mut Members<'_>) -> Option<String> {
    match members.left.get("name") {
        Some(Value::String(name)) => Some(name.clone()).filter(|name| !is_blank(name)),
        // Notes a wrong type, and drops a null.
        _ => members.text("name"),
    }
}

/// The name for people: the title, or else the name.
fn shown_name(
    title: Option<String>,
    name: &str,
    members: &mut Members<'_>,
    counts: &mut ImportReport,
) -> String {
    let text = match title {
        Some(title) if is_blank(&title) => {
            members.keep("title", title);
            name.to_owned()
        }
        Some(title) => {
            if cut(&title, NAME_CHARS).is_some() {
                members.keep("title", title.as_str());
            }
            title
        }
        None => name.to_owned(),
    };
    match cut(&text, NAME_CHARS) {
        None => text,
        Some(shorter) => {
            counts.names_cut += 1;
            shorter.to_owned()
        }
    }
}

/// The name for programs. It takes the `name` along where it is that.
fn technical_name(name: String, members: &mut Members<'_>, counts: &mut ImportReport) -> String {
    match cut_technical_name(&name) {
        None => {
            if members.left.get("name").and_then(Value::as_str) == Some(&name) {
                members.take("name");
            }
            name
        }
        Some(shorter) => {
            counts.technical_names_cut += 1;
            shorter
        }
    }
}

fn description(members: &mut Members<'_>, counter: &mut u64) -> Option<String> {
    let text = members.text("description")?;
    match cut(&text, DESCRIPTION_CHARS) {
        None => Some(text),
        Some(shorter) => {
            *counter += 1;
            let shorter = shorter.to_owned();
            members.keep("description", text);
            Some(shorter)
        }
    }
}

/// The tags of all lists, each once.
fn tags(members: &mut Members<'_>, counts: &mut ImportReport) -> Vec<String> {
    let lists = TAG_LISTS.map(|name| members.texts(name));
    let mut seen = HashSet::new();
    let mut tags = Vec::new();
    for tag in lists.iter().flatten().flatten() {
        if seen.insert(tag.as_str()) {
            tags.push(tag.clone());
        } else {
            counts.duplicate_tags += 1;
        }
    }
    for (name, list) in TAG_LISTS.into_iter().zip(&lists) {
        if let Some(list) = list
            && *list != tags
        {
            members.keep(name, list.as_slice());
        }
    }
    tags
}
