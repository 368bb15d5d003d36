//! Inputs of entities: few different texts, so that they collide, and some that break a rule.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::option::{self, weighted};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use shelfmark::{
    DataField, DataType, EntityKind, FieldType, JsonObject, NewDataAsset, NewDataSet, NewDataStore,
    Operational, Schema, TableConnectionInfo, Timestamp, UserTag,
};

use super::{parent, reference};
use crate::operation::{Draft, Edit, Input};

const TYPES: [&str; 3] = ["postgres", "Postgres", "s3"];
const SPACES: [&str; 2] = ["space-1", "space-2"];
const OWNERS: [&str; 3] = ["ann", "bob", "carol"];
const QRIS: [&str; 4] = ["qri:a", "qri:b", "qdf:files:acme:orders", "QRI:A"];

/// Names that collide when folded, that hold what keys escape, and that sort near the ends.
const NAMES: [&str; 22] = [
    "alpha",
    "Alpha",
    "ALPHA",
    "alpha ",
    "al",
    "beta",
    "straße",
    "STRASSE",
    "Straẞe",
    "İ",
    "i\u{307}",
    "ı",
    "ǅ",
    "ǆ",
    "a\u{0}",
    "a\u{0}b",
    "a\u{1}b",
    "a",
    "Å",
    "\u{10FFFF}",
    "ﬃ",
    "\u{7f}",
];

/// Of 255 characters, longer than an index key holds: the last two differ behind the cut.
fn long_names() -> [String; 4] {
    [
        format!("{}a", "日".repeat(254)),
        format!("{}B", "日".repeat(254)),
        // Folds to six bytes each.
        "ΐ".repeat(255),
        format!("x{}", "ä".repeat(254)),
    ]
}

fn name_text() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => select(&NAMES[..]).prop_map(str::to_owned),
        1 => select(long_names().to_vec()),
        2 => "[a-cA-C]{1,3}",
    ]
}

/// A name to find, or its beginning.
pub(super) fn name() -> impl Strategy<Value = String> {
    prop_oneof![12 => name_text(), 1 => Just(String::new()), 1 => Just(" ".to_owned())]
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(texts).prop_map(str::to_owned)
}

pub(super) fn type_name() -> impl Strategy<Value = String> {
    one_of(&TYPES)
}

pub(super) fn space() -> impl Strategy<Value = String> {
    one_of(&SPACES)
}

pub(super) fn owner() -> impl Strategy<Value = String> {
    one_of(&OWNERS)
}

pub(super) fn tag() -> impl Strategy<Value = String> {
    one_of(&["gold", "Gold", "silver"])
}

pub(super) fn secure_qri() -> impl Strategy<Value = String> {
    one_of(&QRIS)
}

fn tags() -> impl Strategy<Value = Vec<String>> {
    subsequence(
        vec!["gold".to_owned(), "Gold".to_owned(), "silver".to_owned()],
        0..=3,
    )
}

fn text() -> impl Strategy<Value = String> {
    one_of(&["", "Some words.", "Ein paar Wörter", "some words."])
}

fn free() -> impl Strategy<Value = JsonObject> {
    static OBJECTS: LazyLock<Vec<JsonObject>> = LazyLock::new(|| {
        let objects = [
            json!({}),
            json!({ "team": "core", "rank": 1 }),
            json!({ "rank": 1, "team": "core" }),
            json!({ "rank": 1.0, "list": [1, "two", null, { "three": 3 }] }),
            json!({ "a/b": { "deep": [[[]]] }, "big": u64::MAX, "small": i64::MIN, "": -0.5 }),
        ];
        let object = |value| match value {
            Value::Object(object) => Some(object),
            _ => None,
        };
        objects.into_iter().filter_map(object).collect()
    });
    select(&**OBJECTS)
}

/// Free JSON of more levels than there may be, or exactly as many.
pub(super) fn nested(levels: usize) -> JsonObject {
    let mut value = json!(true);
    for level in 1..levels {
        value = match level % 2 {
            0 => Value::Array(vec![value]),
            _ => Value::Object(JsonObject::from_iter([("below".to_owned(), value)])),
        };
    }
    JsonObject::from_iter([("top".to_owned(), value)])
}

fn time() -> impl Strategy<Value = Timestamp> {
    (-2_000_000_000_000..2_000_000_000_000_i64)
        .prop_map(|millis| Timestamp::from_millis(millis).unwrap_or_default())
}

fn data_field() -> impl Strategy<Value = DataField> {
    let holds = (
        select(&FieldType::ALL[..]),
        weighted(0.2, free()),
        weighted(0.2, text()),
    )
        .prop_map(|(field_type, properties, original_type)| {
            let mut properties = properties;
            if field_type == FieldType::Decimal {
                let properties = properties.get_or_insert_default();
                properties.insert("precision".to_owned(), json!(10));
                properties.insert("scale".to_owned(), json!(10));
            }
            DataType {
                field_type: Some(field_type),
                properties,
                original_type,
            }
        });
    let user_tag = (option::of(text()), option::of(text())).prop_map(|(id, name)| UserTag { id, name });
    let rest = (
        weighted(0.2, any::<bool>()),
        weighted(0.2, any::<i64>()),
        vec(user_tag, 0..2),
        weighted(0.2, free()),
    );
    (name_text(), tags(), holds, rest).prop_map(
        |(name, tags, data_type, (nullable, ordinal, user_tags, properties))| DataField {
            name,
            tags,
            data_type,
            nullable,
            user_tags,
            properties,
            ordinal_position_in_key: ordinal,
            ..DataField::default()
        },
    )
}

pub(super) fn schema() -> impl Strategy<Value = Schema> {
    (
        vec(data_field(), 0..3),
        weighted(0.5, one_of(&["orders", "Lines"])),
        weighted(0.2, free()),
        option::of(any::<bool>()),
        weighted(0.2, time()),
    )
        .prop_map(
            |(mut data_fields, schema_name, load_options, anomalies, effective_date)| {
                for (index, field) in data_fields.iter_mut().enumerate() {
                    field.alias = (index > 0).then(|| format!("alias {index}"));
                }
                Schema {
                    data_fields,
                    schema_name,
                    load_options,
                    effective_date,
                    override_schema_anomalies: anomalies,
                    ..Schema::default()
                }
            },
        )
}

fn operational() -> impl Strategy<Value = Operational> {
    let table = (option::of(text()), option::of(free())).prop_map(|(table_name, additional_properties)| {
        TableConnectionInfo {
            table_name,
            additional_properties,
            ..TableConnectionInfo::default()
        }
    });
    (
        option::of(any::<i64>()),
        option::of(one_of(&["done", "Failed"])),
        option::of(time()),
        option::of(any::<bool>()),
        weighted(0.3, table),
    )
        .prop_map(
            |(size, status, last_load_time, content_updated, table_connection_info)| Operational {
                size,
                status,
                last_load_time,
                content_updated,
                table_connection_info,
                ..Operational::default()
            },
        )
}

fn store() -> impl Strategy<Value = NewDataStore> {
    (
        (weighted(0.8, name_text()), name_text(), type_name(), tags()),
        weighted(0.2, text()),
        weighted(0.3, space()),
        weighted(0.2, owner()),
        weighted(0.3, free()),
        weighted(0.3, text()),
    )
        .prop_map(
            |((name, technical_name, store_type, tags), uri, space_id, owner_id, properties, description)| {
                NewDataStore {
                    uri,
                    name,
                    tags,
                    owner_id,
                    space_id,
                    properties,
                    description,
                    ..NewDataStore::new(technical_name, store_type)
                }
            },
        )
}

fn asset() -> impl Strategy<Value = NewDataAsset> {
    (store(), weighted(0.3, time()), weighted(0.2, text())).prop_map(|(store, data_freshness, app_id)| {
        NewDataAsset {
            name: store.name,
            tags: store.tags,
            app_id,
            app_type: store.store_type,
            owner_id: store.owner_id,
            space_id: store.space_id,
            properties: store.properties,
            description: store.description,
            data_freshness,
            technical_name: store.technical_name,
            technical_description: store.uri,
            ..NewDataAsset::default()
        }
    })
}

fn set() -> impl Strategy<Value = NewDataSet> {
    (
        store(),
        weighted(0.4, schema()),
        vec(schema(), 0..2),
        weighted(0.3, operational()),
        secure_qri(),
        option::of(type_name()),
    )
        .prop_map(
            |(store, schema, additional_schemas, operational, secure_qri, set_type)| NewDataSet {
                qri: "qdf:files:acme:orders".to_owned(),
                name: store.name,
                tags: store.tags,
                set_type,
                schema,
                owner_id: store.owner_id,
                space_id: store.space_id,
                secure_qri,
                properties: store.properties,
                description: store.description,
                operational,
                technical_name: store.technical_name,
                app_type_override: store.uri,
                additional_schemas,
                ..NewDataSet::default()
            },
        )
}

/// A way to break a rule, or to come close.
#[derive(Debug, Clone, Copy)]
enum Spoil {
    BlankTechnicalName,
    LongName,
    LongestDescription,
    LongDescription,
    BlankType,
    RepeatedTag,
    TooDeep,
    Deepest,
    EmptyPart,
    ShortQri,
    RepeatedAlias,
    BlankField,
    Untyped,
    Decimal(i64, i64),
    DecimalFloat,
}

const COMMON: [Spoil; 8] = [
    Spoil::BlankTechnicalName,
    Spoil::LongName,
    Spoil::LongestDescription,
    Spoil::LongDescription,
    Spoil::BlankType,
    Spoil::RepeatedTag,
    Spoil::TooDeep,
    Spoil::Deepest,
];
const OF_SETS: [Spoil; 9] = [
    Spoil::EmptyPart,
    Spoil::ShortQri,
    Spoil::RepeatedAlias,
    Spoil::BlankField,
    Spoil::Untyped,
    Spoil::Decimal(0, 0),
    Spoil::Decimal(5, 6),
    Spoil::Decimal(5, -1),
    Spoil::DecimalFloat,
];

macro_rules! spoil_common {
    ($spoil:expr, $new:expr, $type:expr) => {
        match $spoil {
            Spoil::BlankTechnicalName => $new.technical_name = " \t".to_owned(),
            Spoil::LongName => $new.name = Some("é".repeat(256)),
            Spoil::LongestDescription => $new.description = Some("é".repeat(1024)),
            Spoil::LongDescription => $new.description = Some("é".repeat(1025)),
            Spoil::BlankType => $type = "  ".to_owned().into(),
            Spoil::RepeatedTag => $new.tags = ["a", "b", "a", "a"].map(str::to_owned).to_vec(),
            Spoil::TooDeep => $new.properties = Some(nested(65)),
            Spoil::Deepest => $new.properties = Some(nested(64)),
            _ => {}
        }
    };
}

fn spoil(spoil: Spoil, input: &mut Input) {
    let decimal = |properties: Value| {
        let mut field = DataField::new("amount", FieldType::Decimal);
        field.data_type.properties = properties.as_object().cloned();
        field
    };
    match input {
        Input::Store(new) => spoil_common!(spoil, new, new.store_type),
        Input::Asset(new) => spoil_common!(spoil, new, new.app_type),
        Input::Set(new) => {
            spoil_common!(spoil, new, new.set_type);
            let mut fields = vec![
                DataField::new("one", FieldType::Date),
                DataField::new("two", FieldType::Time),
            ];
            match spoil {
                Spoil::EmptyPart => new.qri = "qdf::acme:orders".to_owned(),
                Spoil::ShortQri => new.qri = "a:b:c:d".to_owned(),
                Spoil::RepeatedAlias => fields
                    .iter_mut()
                    .for_each(|field| field.alias = Some("same".to_owned())),
                Spoil::BlankField => fields[1].name = "\r".to_owned(),
                Spoil::Untyped => fields[0].data_type.field_type = None,
                Spoil::Decimal(precision, scale) => {
                    fields.push(decimal(json!({ "precision": precision, "scale": scale })));
                }
                Spoil::DecimalFloat => fields.push(decimal(json!({ "precision": 5.0 }))),
                _ => return,
            }
            new.additional_schemas.push(Schema {
                data_fields: fields,
                ..Schema::default()
            });
        }
    }
}

/// An input of this kind, in one of ten cases spoilt, and its parent.
pub fn draft(kind: EntityKind) -> BoxedStrategy<Draft> {
    let input = match kind {
        EntityKind::Store => store().prop_map(|new| Input::Store(Box::new(new))).boxed(),
        EntityKind::Asset => asset().prop_map(|new| Input::Asset(Box::new(new))).boxed(),
        EntityKind::Set => set().prop_map(|new| Input::Set(Box::new(new))).boxed(),
    };
    let ways: Vec<Spoil> = match kind {
        EntityKind::Set => COMMON.into_iter().chain(OF_SETS).collect(),
        _ => COMMON.to_vec(),
    };
    (weighted(0.97, parent()), input, weighted(0.1, select(ways)))
        .prop_map(|(parent, mut input, way)| {
            if let Some(way) = way {
                spoil(way, &mut input);
            }
            Draft { parent, input }
        })
        .boxed()
}

/// What an update closure does.
pub(super) fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        1 => Just(Edit::Nothing),
        4 => option::of(name_text()).prop_map(Edit::Name),
        2 => name().prop_map(Edit::TechnicalName),
        2 => vec(tag(), 0..3).prop_map(Edit::Tags),
        1 => option::of(text()).prop_map(Edit::Description),
        1 => option::of(owner()).prop_map(Edit::Owner),
        2 => option::of(free()).prop_map(Edit::Properties),
        1 => option::of(reference()).prop_map(Edit::Parent),
        2 => (option::of(schema()), 0..3_u8).prop_map(|(schema, more)| Edit::Schema(schema, more)),
        1 => secure_qri().prop_map(Edit::SecureQri),
    ]
}
