//! The schemas of a data set.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use wincode::{SchemaRead, SchemaWrite};

use super::JsonObject;
use super::reader::Reader;
use super::rules::Checker;
use crate::codec::{self, json_text, parse_json_text};
use crate::sortkey::Scalar;
use crate::time::Timestamp;

/// One table: its fields and what is known of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schema {
    /// Anomalies found with this schema.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<String>,
    /// The fields, in order. In JSON each shows its position as `index`.
    #[serde(default, serialize_with = "fields_with_index")]
    pub data_fields: Vec<DataField>,
    /// The name of the table or sheet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_name: Option<String>,
    /// Options for loading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_options: Option<JsonObject>,
    /// When this schema last changed. Set by the catalog: a caller's value is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_date: Option<Timestamp>,
    /// Whether anomalies are to be overridden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_schema_anomalies: Option<bool>,
}

/// One field of a schema.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataField {
    /// Required: 1 to 1,024 characters, not blank.
    pub name: String,
    /// System tags, without duplicates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Another name, unique within its schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Whether the field has no counterpart any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphan: Option<bool>,
    /// What its values are.
    pub data_type: DataType,
    /// Whether a value may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nullable: Option<bool>,
    /// Tags given by users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_tags: Vec<UserTag>,
    /// Whether its values are encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// Whether its values are sensitive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<bool>,
    /// Whether it is part of the primary key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<bool>,
    /// Free name-value pairs, at most 64 levels deep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<JsonObject>,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its position in the primary key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal_position_in_key: Option<i64>,
}

impl DataField {
    /// A field with what is required.
    pub fn new(name: impl Into<String>, field_type: FieldType) -> Self {
        Self {
            name: name.into(),
            data_type: DataType {
                field_type: Some(field_type),
                ..DataType::default()
            },
            ..Self::default()
        }
    }
}

/// A tag that a user gave to a field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserTag {
    /// The id of the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What the values of a field are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataType {
    /// Required: one of the eleven.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub field_type: Option<FieldType>,
    /// Free name-value pairs. `DECIMAL` needs integers `precision` ≥ 1 and `scale` from 0 to `precision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<JsonObject>,
    /// What the source calls the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_type: Option<String>,
}

macro_rules! field_types {
    ($($name:ident => $text:literal,)+) => {
        /// The eleven types of a field.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, SchemaWrite, SchemaRead)]
        #[cfg_attr(test, derive(bincode::Encode))]
        pub enum FieldType {
            $(#[doc = concat!("`", $text, "`")] #[serde(rename = $text)] $name,)+
        }

        impl FieldType {
            /// All eleven, as the reference orders them.
            pub const ALL: [FieldType; 11] = [$(FieldType::$name,)+];

            /// The reference's name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(FieldType::$name => $text,)+
                }
            }

            /// The type of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(FieldType::$name),)+
                    _ => None,
                }
            }
        }
    };
}

// The order is part of the file format.
field_types! {
    Date => "DATE",
    Time => "TIME",
    DateTime => "DATETIME",
    Timestamp => "TIMESTAMP",
    String => "STRING",
    Double => "DOUBLE",
    Decimal => "DECIMAL",
    Integer => "INTEGER",
    Boolean => "BOOLEAN",
    Binary => "BINARY",
    Custom => "CUSTOM",
}

#[derive(Serialize)]
struct IndexedField<'a> {
    index: usize,
    #[serde(flatten)]
    field: &'a DataField,
}

fn fields_with_index<S: Serializer>(fields: &[DataField], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(fields.len()))?;
    for (index, field) in fields.iter().enumerate() {
        list.serialize_element(&IndexedField { index, field })?;
    }
    list.end()
}

/// The stored schema row of a data set. A field here is a field of the file format.
#[derive(Debug, SchemaWrite, SchemaRead)]
#[cfg_attr(test, derive(bincode::Encode))]
pub(crate) struct SchemasRecord<'a> {
    schema: Option<SchemaRecord<'a>>,
    additional: Vec<SchemaRecord<'a>>,
}

#[derive(Debug, SchemaWrite, SchemaRead)]
#[cfg_attr(test, derive(bincode::Encode))]
struct SchemaRecord<'a> {
    effective_date: i64,
    schema_name: Option<Cow<'a, str>>,
    override_schema_anomalies: Option<bool>,
    anomalies: Vec<Cow<'a, str>>,
    /// JSON text.
    load_options: Option<Cow<'a, str>>,
    data_fields: Vec<FieldRecord<'a>>,
}

#[derive(Debug, SchemaWrite, SchemaRead)]
#[cfg_attr(test, derive(bincode::Encode))]
struct FieldRecord<'a> {
    name: Cow<'a, str>,
    field_type: FieldType,
    original_type: Option<Cow<'a, str>>,
    /// JSON text.
    type_properties: Option<Cow<'a, str>>,
    alias: Option<Cow<'a, str>>,
    description: Option<Cow<'a, str>>,
    orphan: Option<bool>,
    nullable: Option<bool>,
    encrypted: Option<bool>,
    sensitive: Option<bool>,
    primary_key: Option<bool>,
    ordinal_position_in_key: Option<i64>,
    tags: Vec<Cow<'a, str>>,
    user_tags: Vec<UserTagRecord<'a>>,
    /// JSON text.
    properties: Option<Cow<'a, str>>,
}

#[derive(Debug, SchemaWrite, SchemaRead)]
#[cfg_attr(test, derive(bincode::Encode))]
struct UserTagRecord<'a> {
    id: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
}

/// The body of the schema row; `None` where there is no schema.
pub(crate) fn encode(schema: Option<&Schema>, additional: &[Schema]) -> Result<Option<Vec<u8>>, String> {
    if schema.is_none() && additional.is_empty() {
        return Ok(None);
    }
    let record = SchemasRecord {
        schema: schema.map(schema_record).transpose()?,
        additional: additional.iter().map(schema_record).collect::<Result<_, _>>()?,
    };
    codec::encode(&record).map(Some)
}

/// The schema and the additional schemas in the body of a schema row.
pub(crate) fn decode(body: &[u8]) -> Result<(Option<Schema>, Vec<Schema>), String> {
    let SchemasRecord { schema, additional } = codec::decode(body)?;
    Ok((
        schema.map(schema_from).transpose()?,
        additional
            .into_iter()
            .map(schema_from)
            .collect::<Result<_, _>>()?,
    ))
}

fn schema_record(schema: &Schema) -> Result<SchemaRecord<'_>, String> {
    let Schema {
        anomalies,
        data_fields,
        schema_name,
        load_options,
        effective_date,
        override_schema_anomalies,
    } = schema;
    Ok(SchemaRecord {
        effective_date: effective_date.unwrap_or_default().millis(),
        schema_name: schema_name.as_deref().map(Cow::Borrowed),
        override_schema_anomalies: *override_schema_anomalies,
        anomalies: anomalies.iter().map(Cow::from).collect(),
        load_options: json_text(load_options.as_ref())?,
        data_fields: data_fields.iter().map(field_record).collect::<Result<_, _>>()?,
    })
}

fn schema_from(record: SchemaRecord<'_>) -> Result<Schema, String> {
    let SchemaRecord {
        effective_date,
        schema_name,
        override_schema_anomalies,
        anomalies,
        load_options,
        data_fields,
    } = record;
    Ok(Schema {
        anomalies: anomalies.into_iter().map(Cow::into_owned).collect(),
        data_fields: data_fields
            .into_iter()
            .map(field_from)
            .collect::<Result<_, _>>()?,
        schema_name: schema_name.map(Cow::into_owned),
        load_options: parse_json_text(load_options.as_deref())?,
        effective_date: Some(Timestamp::from_millis_lossy(effective_date)),
        override_schema_anomalies,
    })
}

fn field_record(field: &DataField) -> Result<FieldRecord<'_>, String> {
    let DataField {
        name,
        tags,
        alias,
        orphan,
        data_type,
        nullable,
        user_tags,
        encrypted,
        sensitive,
        primary_key,
        properties,
        description,
        ordinal_position_in_key,
    } = field;
    let DataType {
        field_type,
        properties: type_properties,
        original_type,
    } = data_type;
    Ok(FieldRecord {
        name: name.into(),
        // The rules have asked for one.
        field_type: field_type.ok_or_else(|| format!("field {name:?} has no type"))?,
        original_type: original_type.as_deref().map(Cow::Borrowed),
        type_properties: json_text(type_properties.as_ref())?,
        alias: alias.as_deref().map(Cow::Borrowed),
        description: description.as_deref().map(Cow::Borrowed),
        orphan: *orphan,
        nullable: *nullable,
        encrypted: *encrypted,
        sensitive: *sensitive,
        primary_key: *primary_key,
        ordinal_position_in_key: *ordinal_position_in_key,
        tags: tags.iter().map(Cow::from).collect(),
        user_tags: user_tags
            .iter()
            .map(|UserTag { id, name }| UserTagRecord {
                id: id.as_deref().map(Cow::Borrowed),
                name: name.as_deref().map(Cow::Borrowed),
            })
            .collect(),
        properties: json_text(properties.as_ref())?,
    })
}

fn field_from(record: FieldRecord<'_>) -> Result<DataField, String> {
    let FieldRecord {
        name,
        field_type,
        original_type,
        type_properties,
        alias,
        description,
        orphan,
        nullable,
        encrypted,
        sensitive,
        primary_key,
        ordinal_position_in_key,
        tags,
        user_tags,
        properties,
    } = record;
    Ok(DataField {
        name: name.into_owned(),
        tags: tags.into_iter().map(Cow::into_owned).collect(),
        alias: alias.map(Cow::into_owned),
        orphan,
        data_type: DataType {
            field_type: Some(field_type),
            properties: parse_json_text(type_properties.as_deref())?,
            original_type: original_type.map(Cow::into_owned),
        },
        nullable,
        user_tags: user_tags
            .into_iter()
            .map(|UserTagRecord { id, name }| UserTag {
                id: id.map(Cow::into_owned),
                name: name.map(Cow::into_owned),
            })
            .collect(),
        encrypted,
        sensitive,
        primary_key,
        properties: parse_json_text(properties.as_deref())?,
        description: description.map(Cow::into_owned),
        ordinal_position_in_key,
    })
}

pub(super) fn read(object: &mut Reader<'_>) -> Schema {
    Schema {
        anomalies: object.texts("anomalies"),
        data_fields: object.required_list("dataFields", read_field),
        schema_name: object.text("schemaName"),
        load_options: object.free("loadOptions"),
        effective_date: None,
        override_schema_anomalies: object.boolean("overrideSchemaAnomalies"),
    }
}

fn read_field(object: &mut Reader<'_>) -> DataField {
    DataField {
        name: object.required_text("name"),
        tags: object.texts("tags"),
        alias: object.text("alias"),
        orphan: object.boolean("orphan"),
        data_type: object.required_object("dataType", read_type),
        nullable: object.boolean("nullable"),
        user_tags: object
            .list("userTags", |tag| UserTag {
                id: tag.text("id"),
                name: tag.text("name"),
            })
            .unwrap_or_default(),
        encrypted: object.boolean("encrypted"),
        sensitive: object.boolean("sensitive"),
        primary_key: object.boolean("primaryKey"),
        properties: object.free("properties"),
        description: object.text("description"),
        ordinal_position_in_key: object.integer("ordinalPositionInKey"),
    }
}

fn read_type(object: &mut Reader<'_>) -> DataType {
    let name = object.text("type");
    let field_type = name.as_deref().and_then(FieldType::from_name);
    if name.is_some() && field_type.is_none() {
        object.refuse("type", one_of_the_eleven());
    }
    DataType {
        field_type,
        properties: object.free("properties"),
        original_type: object.text("originalType"),
    }
}

fn one_of_the_eleven() -> String {
    let names: Vec<&str> = FieldType::ALL
        .iter()
        .map(|field_type| field_type.as_str())
        .collect();
    format!("must be one of {}", names.join(", "))
}

pub(super) fn check(schema: &Schema, checker: &mut Checker<'_>) {
    let Schema {
        anomalies: _,
        data_fields,
        schema_name: _,
        load_options,
        effective_date: _,
        override_schema_anomalies: _,
    } = schema;
    checker.free("loadOptions", load_options.as_ref());
    let mut aliases: HashMap<&str, usize> = HashMap::new();
    checker.each("dataFields", data_fields, |index, field, checker| {
        check_field(field, checker);
        if let Some(alias) = field.alias.as_deref()
            && let Some(first) = aliases.insert(alias, index)
        {
            checker.refuse(
                "alias",
                format!("{alias:?} is the alias of field {first} already"),
            );
        }
    });
}

fn check_field(field: &DataField, checker: &mut Checker<'_>) {
    let DataField {
        name,
        tags,
        alias: _,
        orphan: _,
        data_type,
        nullable: _,
        user_tags: _,
        encrypted: _,
        sensitive: _,
        primary_key: _,
        properties,
        description: _,
        ordinal_position_in_key: _,
    } = field;
    checker.required("name", name, 1, 1024);
    checker.tags("tags", tags);
    checker.free("properties", properties.as_ref());
    checker.within("dataType", |checker| {
        checker.free("properties", data_type.properties.as_ref());
        match data_type.field_type {
            None => checker.refuse("type", one_of_the_eleven()),
            Some(FieldType::Decimal) => check_decimal(data_type.properties.as_ref(), checker),
            Some(_) => {}
        }
    });
}

fn check_decimal(properties: Option<&JsonObject>, checker: &mut Checker<'_>) {
    let integer = |name: &str| {
        properties
            .and_then(|properties| properties.get(name))
            .and_then(|value| value.as_i64())
    };
    checker.within("properties", |checker| {
        let precision = integer("precision");
        if precision.is_none_or(|precision| precision < 1) {
            checker.refuse("precision", "a DECIMAL needs an integer precision of at least 1");
        }
        let scale = integer("scale");
        if scale.is_none_or(|scale| scale < 0 || precision.is_some_and(|precision| scale > precision)) {
            checker.refuse(
                "scale",
                "a DECIMAL needs an integer scale from 0 to its precision",
            );
        }
    });
}

/// Dates each schema of `new`, by content: one that is as it was in `old`, at its place or moved, keeps its date; else it is `now`. Each schema of `old` gives its
/// date once, so a copy of one is a change.
pub(super) fn date<'a>(
    new: impl Iterator<Item = &'a mut Schema>,
    old: impl Iterator<Item = &'a Schema>,
    now: Timestamp,
) {
    let mut old: Vec<_> = old
        .map(|schema| (content(schema), schema.effective_date))
        .collect();
    let mut moved = Vec::new();
    for (place, schema) in new.enumerate() {
        let content = content(schema);
        schema.effective_date = Some(now);
        match old.get_mut(place).filter(|(known, _)| *known == content) {
            Some((known, date)) => {
                *known = None;
                schema.effective_date = *date;
            }
            None => moved.push((schema, content)),
        }
    }
    let mut unclaimed: HashMap<Vec<u8>, Vec<Timestamp>> = HashMap::new();
    for (content, date) in old {
        if let (Some(content), Some(date)) = (content, date) {
            unclaimed.entry(content).or_default().push(date);
        }
    }
    for (schema, content) in moved {
        let dates = content.and_then(|content| unclaimed.get_mut(&content));
        if let Some(date) = dates.and_then(Vec::pop) {
            schema.effective_date = Some(date);
        }
    }
}

/// The encoded schema without its date.
fn content(schema: &Schema) -> Option<Vec<u8>> {
    let mut record = schema_record(schema).ok()?;
    record.effective_date = 0;
    codec::encode(&record).ok()
}

/// The value at a dotted path within a schema.
pub(super) fn scalar<'a>(schema: &'a Schema, path: &str) -> Scalar<'a> {
    match path {
        "schemaName" => Scalar::text(schema.schema_name.as_deref()),
        "effectiveDate" => Scalar::integer(schema.effective_date.map(Timestamp::millis)),
        "overrideSchemaAnomalies" => Scalar::boolean(schema.override_schema_anomalies),
        _ => Scalar::Missing,
    }
}
