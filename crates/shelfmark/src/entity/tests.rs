//! The field table, the records and the JSON of fully populated entities agree; the records are bincode.

use serde_json::{Value, json};
use uuid::Uuid;

use super::shape::{self, Shape};
use super::*;
use crate::sortkey::Scalar;

const ID: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
const ASSET: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);
const STORE: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0003);

fn store() -> Value {
    json!({
        "uri": "postgres://warehouse", "name": "Warehouse", "tags": ["gold", "eu"], "type": "postgres",
        "spaceId": "space", "properties": {"z": 1, "a": [18446744073709551615_u64, -0.5, null]},
        "description": "Everything sold", "technicalName": "warehouse", "technicalDescription": "PostgreSQL 15"
    })
}

fn asset() -> Value {
    json!({
        "name": "Sales", "tags": ["gold"], "appId": "app", "appType": "qix-df", "spaceId": "space",
        "properties": {"a": {"b": true}}, "description": "What was sold",
        "dataFreshness": "2018-10-30T07:06:22.123Z", "dataStoreInfo": {"id": STORE},
        "technicalName": "sales", "technicalDescription": "Loaded each night"
    })
}

fn schema(name: &str) -> Value {
    json!({
        "anomalies": ["$warning-unknown-headers"], "schemaName": name, "loadOptions": {"qLabel": "embedded labels"},
        "overrideSchemaAnomalies": true,
        "dataFields": [{
            "name": "amount", "tags": ["$numeric"], "alias": "sum", "orphan": false, "nullable": true, "encrypted": false,
            "dataType": {"type": "DECIMAL", "properties": {"precision": 10, "scale": 2}, "originalType": "numeric"},
            "userTags": [{"id": "t1", "name": "money"}], "sensitive": true, "primaryKey": true, "properties": {"unit": "EUR"},
            "description": "What was paid", "ordinalPositionInKey": 1
        }]
    })
}

fn set() -> Value {
    json!({
        "qri": "qdf:files:acme:orders", "name": "Orders", "tags": ["gold"], "type": "table", "schema": schema("orders"),
        "spaceId": "space", "secureQri": "qri:orders", "properties": {"a": "b"}, "description": "One row an order",
        "operational": {
            "size": 4096, "status": "ok", "endDate": "2018-10-30T07:06:22Z", "location": "eu", "rowCount": 12,
            "startDate": "2018-10-30T07:06:21Z", "logMessage": "done", "tableOwner": "sales",
            "lastLoadTime": "2018-10-30T07:06:23Z", "contentUpdated": true, "lastUpdateTime": "2018-10-30T07:06:24Z",
            "tableConnectionInfo": {"tableName": "orders", "selectionScript": "SELECT *", "additionalProperties": {"x": 1}}
        },
        "dataAssetInfo": {"id": ASSET}, "technicalName": "orders", "appTypeOverride": "qvd",
        "additionalSchemas": [schema("lines")], "technicalDescription": "A table", "createdByConnectionId": "connection"
    })
}

/// A state in which no field is empty.
fn state<E: Entity>(fields: Value) -> State<E> {
    let fields = E::New::from_json(fields.to_string().as_bytes()).unwrap();
    let lineage = Lineage {
        store: (E::KIND != EntityKind::Store).then_some(StoreId(STORE)),
        asset: (E::KIND == EntityKind::Set).then_some(AssetId(ASSET)),
    };
    let mut fields = E::with_parent_and_owner(fields, lineage, None);
    let modified = Timestamp::from_millis(1_720_000_000_123).unwrap();
    E::date_schemas(&mut fields, None, modified);
    let meta = Meta {
        version: 300,
        owner_id: "olga".to_owned(),
        created_by: "ann".to_owned(),
        last_modified_by: "bob".to_owned(),
        last_modified_time: modified,
    };
    State {
        schema_row: E::has_schemas(&fields),
        meta,
        lineage,
        fields,
    }
}

fn entity_json<E: Entity>(state: &State<E>) -> Value {
    let inherited = Inherited {
        asset_name: Some("Sales".to_owned()),
        store_name: Some("Warehouse".to_owned()),
        store_type: "postgres".to_owned(),
    };
    serde_json::to_value(E::assemble(ID, "acme", state.clone(), inherited)).unwrap()
}

/// The entity as JSON text, by way of its record.
fn text_of_record<E: Entity>(state: &State<E>, inherited: &Inherited) -> String {
    let head = E::encode_head(state).unwrap();
    let schemas = E::encode_schemas(&state.fields).unwrap();
    let around = shown::Around {
        id: ID,
        tenant: "acme",
        inherited,
        schemas: schemas.as_deref(),
    };
    let mut text = Vec::new();
    E::show(E::decode_head(&head).unwrap(), &around, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_record_is_shown_as_its_entity_serializes() {
    fn check<E: Entity>(fields: Value) {
        let full = state::<E>(fields);
        let mut object = serde_json::to_value(&full.fields).unwrap();
        let members: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
        let mut states = vec![full];
        // Without one member each, and with a text that has everything to escape.
        for member in members {
            let value = object.as_object_mut().unwrap().remove(&member).unwrap();
            for other in [None, Some(json!("\"\\/\u{0}\u{1f}\n\u{7f}é\u{2028}"))] {
                if let Some(other) = other.filter(|_| value.is_string()) {
                    object[&member] = other;
                }
                let text = object.to_string();
                let mut violations = Violations::default();
                let value = crate::json::parse(text.as_bytes()).unwrap();
                let mut fields = reader::read_new::<E>(value, &mut violations);
                E::date_schemas(&mut fields, None, states[0].meta.last_modified_time);
                states.push(State {
                    schema_row: E::has_schemas(&fields),
                    fields,
                    ..states[0].clone()
                });
            }
            object[&member] = value;
        }
        let nameless = Inherited {
            asset_name: None,
            store_name: None,
            store_type: "a \"quoted\" type".to_owned(),
        };
        let named = Inherited {
            asset_name: Some("Sales".to_owned()),
            store_name: Some("Ware\thouse".to_owned()),
            store_type: "postgres".to_owned(),
        };
        for state in &states {
            for inherited in [&nameless, &named] {
                let entity = E::assemble(ID, "acme", state.clone(), inherited.clone());
                assert_eq!(
                    text_of_record(state, inherited),
                    serde_json::to_string(&entity).unwrap()
                );
            }
        }
    }
    check::<DataStore>(store());
    check::<DataAsset>(asset());
    check::<DataSet>(set());
}

#[test]
fn free_json_that_is_none_is_not_shown() {
    let state = state::<DataStore>(store());
    let bytes = DataStore::encode_head(&state).unwrap();
    let around = shown::Around {
        id: ID,
        tenant: "acme",
        inherited: &Inherited::default(),
        schemas: None,
    };
    for (properties, is_shown) in [("{\"a\":1}", true), ("{\"a\":", false), ("[1]", false)] {
        let mut head = DataStore::decode_head(&bytes).unwrap();
        head.properties = Some(properties.into());
        let shown = DataStore::show(head, &around, &mut Vec::new());
        assert_eq!(shown.is_ok(), is_shown, "{properties}");
    }
}

/// That the members of a fully populated entity are exactly the fields of the table.
fn same_fields(place: &str, shape: Shape, value: &Value) {
    match (shape, value) {
        (Shape::Scalar, scalar) => assert!(!scalar.is_object() && !scalar.is_array(), "{place}"),
        (Shape::Free, free) => assert!(free.is_object(), "{place}"),
        (Shape::List(element), Value::Array(elements)) => {
            assert!(!elements.is_empty(), "{place} is not populated");
            for value in elements {
                same_fields(place, *element, value);
            }
        }
        (Shape::Object(fields), Value::Object(object)) => {
            let mut named: Vec<&str> = fields.iter().map(|field| field.name).collect();
            let mut members: Vec<&str> = object.keys().map(String::as_str).collect();
            named.sort_unstable();
            members.sort_unstable();
            assert_eq!(named, members, "{place}");
            for field in fields {
                same_fields(
                    &format!("{place}.{}", field.name),
                    field.shape,
                    &object[field.name],
                );
            }
        }
        (shape, value) => panic!("{place} is {value}, not {shape:?}"),
    }
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

/// That every scalar of the table has an accessor that gives what the JSON shows.
fn same_scalars<E: Entity>(state: &State<E>) {
    let json = entity_json(state);
    let body = E::encode_head(state).unwrap();
    let head = E::decode_head(&body).unwrap();
    for path in shape::entity(E::KIND).scalar_paths() {
        let elsewhere = ["id", "createdTime", "tenantId"].contains(&path.as_str())
            || path.ends_with("Info.name")
            || path.ends_with("StoreInfo.type");
        if elsewhere {
            continue;
        }
        let scalar = match head.scalar(&path) {
            Scalar::Missing => E::schema_scalar(&state.fields, &path),
            found => found,
        };
        let shown = at(&json, &path);
        let same = match scalar {
            Scalar::Missing => false,
            Scalar::Text(text) => shown == text,
            Scalar::Boolean(value) => *shown == value,
            Scalar::Id(id) => *shown == id.to_string(),
            Scalar::Integer(number) => {
                *shown == number || *shown == Timestamp::from_millis(number).unwrap().to_string()
            }
        };
        assert!(same, "{} {path}: {scalar:?} is shown as {shown}", E::KIND);
    }
}

/// That a state comes back from its rows as it went.
fn round_trip<E: Entity>(state: &State<E>) {
    let body = E::encode_head(state).unwrap();
    let mut read = E::state(E::decode_head(&body).unwrap()).unwrap();
    if let Some(schemas) = E::encode_schemas(&state.fields).unwrap() {
        E::add_schemas(&mut read.fields, &schemas).unwrap();
    }
    assert_eq!(&read, state);
    let mut longer = body;
    longer.push(0);
    assert!(E::decode_head(&longer).is_err(), "trailing bytes are taken");
}

fn every_kind_agrees<E: Entity>(fields: Value) {
    let state = state::<E>(fields);
    same_fields(&E::KIND.to_string(), shape::entity(E::KIND), &entity_json(&state));
    same_scalars(&state);
    round_trip(&state);
}

#[test]
fn tables_records_and_json_agree() {
    every_kind_agrees::<DataStore>(store());
    every_kind_agrees::<DataAsset>(asset());
    every_kind_agrees::<DataSet>(set());
}

fn bincode(value: impl bincode::Encode) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard()).unwrap()
}

#[test]
fn bodies_are_bincode() {
    let body = DataStore::encode_head(&state(store())).unwrap();
    assert_eq!(bincode(DataStore::decode_head(&body).unwrap()), body);
    let body = DataAsset::encode_head(&state(asset())).unwrap();
    assert_eq!(bincode(DataAsset::decode_head(&body).unwrap()), body);
    let set = state::<DataSet>(set());
    let body = DataSet::encode_head(&set).unwrap();
    assert_eq!(bincode(DataSet::decode_head(&body).unwrap()), body);
    let body = DataSet::encode_schemas(&set.fields).unwrap().unwrap();
    let record: schema::SchemasRecord<'_> = crate::codec::decode(&body).unwrap();
    assert_eq!(bincode(record), body);
}

/// What format 1 wrote. Never to be changed: a difference is a new format, with a migration.
const FORMAT_1: [&str; 4] = include!("../../golden/format_1.in");

#[test]
fn format_1_is_written_and_read_as_ever() {
    let set_state = state::<DataSet>(set());
    let written = [
        DataStore::encode_head(&state(store())).unwrap(),
        DataAsset::encode_head(&state(asset())).unwrap(),
        DataSet::encode_head(&set_state).unwrap(),
        DataSet::encode_schemas(&set_state.fields).unwrap().unwrap(),
    ];
    assert_eq!(written.map(|body| crate::backend::hex(&body)), FORMAT_1);
}

#[test]
fn the_largest_schema_that_fits_comes_back() {
    // The shortest fields there can be: the most elements within the bound.
    let field = DataField::new("x", FieldType::String);
    let fields = vec![field; (rules::MAX_ENTITY_BYTES - 64) / 16];
    let schema = Schema {
        data_fields: fields,
        effective_date: Some(Timestamp::default()),
        ..Schema::default()
    };
    let body = schema::encode(Some(&schema), &[]).unwrap().unwrap();
    assert!(
        body.len() <= rules::MAX_ENTITY_BYTES && body.len() > rules::MAX_ENTITY_BYTES - 128,
        "{}",
        body.len()
    );
    assert_eq!(schema::decode(&body).unwrap().0, Some(schema));
}

#[test]
fn a_schema_keeps_its_date_until_it_changes() {
    let (then, now) = (
        Timestamp::from_millis(1).unwrap(),
        Timestamp::from_millis(2).unwrap(),
    );
    let mut old = state::<DataSet>(set()).fields;
    DataSet::date_schemas(&mut old, None, then);
    let mut new = old.clone();
    new.additional_schemas[0].schema_name = Some("changed".to_owned());
    DataSet::date_schemas(&mut new, Some(&old), now);
    assert_eq!(new.schema.unwrap().effective_date, Some(then));
    assert_eq!(new.additional_schemas[0].effective_date, Some(now));
}

proptest::proptest! {
    #[test]
    fn garbage_never_decodes_with_a_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let _ = DataStore::decode_head(&body);
        let _ = DataAsset::decode_head(&body);
        let _ = DataSet::decode_head(&body);
        let _ = schema::decode(&body);
    }
}

#[test]
fn the_input_of_a_replacement_names_its_id_and_version_or_not() {
    let id = StoreId(ID);
    let read = |extra: Value| {
        let mut body = store();
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        NewDataStore::from_put_json(body.to_string().as_bytes(), id)
    };
    assert_eq!(read(json!({})).unwrap().1, None);
    assert_eq!(read(json!({"id": null, "version": null})).unwrap().1, None);
    let (fields, version) = read(json!({"id": ID, "version": 7, "ownerId": "bob", "createdBy": 3})).unwrap();
    assert_eq!((version, fields.owner_id.as_deref()), (Some(7), Some("bob")));
    for (extra, pointers) in [
        (json!({"id": ASSET}), vec!["/id"]),
        (json!({"version": -1}), vec!["/version"]),
        (json!({"version": 1.0}), vec!["/version"]),
        // Once something is wrong, everything that is wrong is told.
        (
            json!({"version": "1", "technicalName": " "}),
            vec!["/version", "/technicalName"],
        ),
        (json!({"ownerId": 1}), vec!["/ownerId"]),
    ] {
        let error = read(extra.clone()).unwrap_err();
        let told: Vec<&str> = error
            .violations()
            .iter()
            .map(|violation| violation.pointer.as_str())
            .collect();
        assert_eq!(told, pointers, "{extra}");
    }
    // A broken rule alone waits until the expectation was looked at.
    assert!(read(json!({"technicalName": " "})).is_ok());
}

/// That every field of the layout, skimmed, is what the decoded head tells, and which fields the layout has.
fn skims<E: Entity>(state: &State<E>) -> Vec<String> {
    let body = E::encode_head(state).unwrap();
    let head = E::decode_head(&body).unwrap();
    let mut paths = shape::entity(E::KIND).scalar_paths();
    paths.retain(|path| {
        let Some(position) = skim::position(E::LAYOUT, path) else {
            return false;
        };
        let skimmed = skim::scalar(E::LAYOUT, &body, position);
        assert_eq!(skimmed, Some(head.scalar(path)), "{path}");
        true
    });
    let shown = |path: &str| !path.is_empty() && !path.starts_with('#');
    let named = E::LAYOUT.iter().filter(|(path, _)| shown(path)).count();
    assert_eq!(paths.len(), named, "a path of no field: {:?}", E::LAYOUT);
    paths
}

#[test]
fn what_is_skimmed_is_what_is_decoded() {
    let emptied = |mut fields: Value| {
        let object = fields.as_object_mut().unwrap();
        object.retain(|name, _| {
            ["technicalName", "type", "appType", "qri", "secureQri"].contains(&name.as_str())
                || name.ends_with("Info")
        });
        fields
    };
    for make in [|fields: Value| fields, emptied] {
        assert_eq!(skims::<DataStore>(&state(make(store()))).len(), 10);
        assert_eq!(skims::<DataAsset>(&state(make(asset()))).len(), 12);
        assert_eq!(skims::<DataSet>(&state(make(set()))).len(), 14);
    }
}

#[test]
fn what_a_cascade_reads_is_what_is_decoded() {
    let reader = LeavingReader::new().unwrap();
    for (secure_qri, version, schemas) in [
        ("qri:orders", 0, true),
        ("qdf:files:acme:orders", 251, false),
        ("qri:orders", u64::from(u32::MAX) + 1, false),
    ] {
        let mut fields = set();
        fields["secureQri"] = secure_qri.into();
        if !schemas {
            fields
                .as_object_mut()
                .unwrap()
                .retain(|name, _| !name.to_lowercase().contains("schema"));
        }
        let mut state = state::<DataSet>(fields);
        state.meta.version = version;
        let body = DataSet::encode_head(&state).unwrap();
        let expected = Leaving {
            version,
            schema_row: schemas,
            secure_qri,
        };
        assert_eq!(reader.read(&body), Some(expected));
        assert_eq!(reader.read(&body[..40]), None);
    }
}
