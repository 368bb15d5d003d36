//! What must be refused: every rule with its pointer, hostile JSON and patches, bounds, garbage; and that nothing changes.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde_json::{Value, json};
use shelfmark::backend::Keyspace;
use shelfmark::{
    AssetId, Catalog, Cursor, DataAsset, DataField, DataSet, DataStore, Error, ErrorKind, Expectation,
    FieldType, Filter, JsonObject, NewDataAsset, NewDataSet, NewDataStore, NewEntity, Patch, Projection,
    Query, Read, Result, Schema, Session, SetId, SetSelection, StoreId, Write,
};

use crate::support::{
    Bed, Family, Rows, assert_clean, dump, family, new_asset, new_set, new_store, schema, session,
};

/// A catalog in which nothing may change.
struct Still {
    bed: Bed,
    catalog: Catalog,
    session: Session,
    family: Family,
    rows: std::collections::BTreeMap<Keyspace, Rows>,
}

impl Still {
    fn new() -> Self {
        let bed = Bed::in_memory();
        let catalog = bed.catalog();
        let session = session(&catalog, "acme");
        let family = family(&session);
        for n in 0..30 {
            let set = new_set(family.asset, &format!("set {n}"));
            session.create(set).expect("a set");
        }
        let rows = dump(&*bed.backend);
        Self {
            bed,
            catalog,
            session,
            family,
            rows,
        }
    }

    /// That the call was refused as this, and wrote nothing.
    #[track_caller]
    fn refused<T: Debug>(&self, kind: ErrorKind, outcome: Result<T>) -> Error {
        let error = outcome.expect_err("the call succeeded");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            dump(&*self.bed.backend) == self.rows,
            "something changed: {error}"
        );
        error
    }

    #[track_caller]
    fn invalid<T: Debug>(&self, outcome: Result<T>, pointers: &[&str]) -> Error {
        let error = self.refused(ErrorKind::Invalid, outcome);
        assert_pointers(&error, pointers);
        error
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_clean(&self.catalog, "after the refusals");
        }
    }
}

#[track_caller]
fn assert_pointers(error: &Error, expected: &[&str]) {
    let found: Vec<&str> = error
        .violations()
        .iter()
        .map(|violation| violation.pointer.as_str())
        .collect();
    let (found_set, expected): (BTreeSet<&str>, BTreeSet<&str>) = (
        found.iter().copied().collect(),
        expected.iter().copied().collect(),
    );
    assert_eq!(found_set, expected, "{error}");
    assert_eq!(found.len(), found_set.len(), "a pointer twice: {error}");
    for violation in error.violations() {
        assert!(!violation.message.is_empty());
    }
}

#[track_caller]
fn assert_refused<N: NewEntity>(document: &Value, expected: &[&str]) {
    assert_pointers(
        &N::from_json(document.to_string().as_bytes()).unwrap_err(),
        expected,
    );
    // Through serde, by the same rules.
    let error = serde_json::from_value::<N>(document.clone())
        .unwrap_err()
        .to_string();
    for pointer in expected.iter().filter(|pointer| !pointer.is_empty()) {
        assert!(error.contains(pointer), "{pointer} in {error}");
    }
}

/// Free JSON with this many levels, its own object included.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!({}), |inner, _| json!({ "l": inner }))
}

#[test]
fn a_set_that_breaks_every_rule_hears_of_all_at_once() {
    let too_deep = format!("/properties{}", "/l".repeat(64));
    let document = json!({
        "id": "019a0000-0000-7000-8000-000000000000",
        "version": 0,
        "qri": "a:b::d",
        "name": "n".repeat(256),
        "tags": ["a", 7, "a", "b", "b"],
        "type": " ",
        "ownerId": 5,
        "spaceId": ["s"],
        "secureQri": "\t ",
        "properties": nested(65),
        "description": "d".repeat(1025),
        "technicalDescription": {},
        "appTypeOverride": 1,
        "createdByConnectionId": false,
        "dataAssetInfo": { "id": "no uuid", "name": 4 },
        "operational": {
            "size": 1.5,
            "rowCount": "many",
            "endDate": "yesterday",
            "startDate": 7,
            "contentUpdated": "yes",
            "tableConnectionInfo": { "tableName": 1, "additionalProperties": [] },
        },
        "schema": {
            "anomalies": "none",
            "loadOptions": 3,
            "overrideSchemaAnomalies": 0,
            "dataFields": [
                "not a field",
                { "name": " ", "dataType": { "type": "NUMBER" } },
                { "name": "f", "dataType": { "type": "DECIMAL" }, "alias": "x", "tags": ["t", "t"] },
                { "name": "f".repeat(1025), "dataType": { "type": "DECIMAL", "properties": { "precision": 2, "scale": 3 } } },
                { "name": "f", "dataType": "STRING", "alias": "x", "properties": 1, "nullable": "no" },
                { "dataType": {}, "userTags": [1, { "id": 2 }], "ordinalPositionInKey": 0.5 },
            ],
        },
        "additionalSchemas": [
            7,
            {},
            { "dataFields": [{ "name": "ok", "dataType": { "type": "DECIMAL", "properties": { "precision": 0, "scale": "1" } } }] },
        ],
    });
    let expected = [
        "/id",
        "/version",
        "/qri",
        "/name",
        "/tags/1",
        "/tags/2",
        "/tags/4",
        "/type",
        "/ownerId",
        "/spaceId",
        "/secureQri",
        &too_deep,
        "/description",
        "/technicalDescription",
        "/technicalName",
        "/appTypeOverride",
        "/createdByConnectionId",
        "/dataAssetInfo/id",
        "/operational/size",
        "/operational/rowCount",
        "/operational/endDate",
        "/operational/startDate",
        "/operational/contentUpdated",
        "/operational/tableConnectionInfo/tableName",
        "/operational/tableConnectionInfo/additionalProperties",
        "/schema/anomalies",
        "/schema/loadOptions",
        "/schema/overrideSchemaAnomalies",
        "/schema/dataFields/0",
        "/schema/dataFields/1/name",
        "/schema/dataFields/1/dataType/type",
        "/schema/dataFields/2/dataType/properties/precision",
        "/schema/dataFields/2/dataType/properties/scale",
        "/schema/dataFields/2/tags/1",
        "/schema/dataFields/3/name",
        "/schema/dataFields/3/dataType/properties/scale",
        "/schema/dataFields/4/dataType",
        "/schema/dataFields/4/alias",
        "/schema/dataFields/4/properties",
        "/schema/dataFields/4/nullable",
        "/schema/dataFields/5/name",
        "/schema/dataFields/5/dataType/type",
        "/schema/dataFields/5/userTags/0",
        "/schema/dataFields/5/userTags/1/id",
        "/schema/dataFields/5/ordinalPositionInKey",
        "/additionalSchemas/0",
        "/additionalSchemas/1/dataFields",
        "/additionalSchemas/2/dataFields/0/dataType/properties/precision",
        "/additionalSchemas/2/dataFields/0/dataType/properties/scale",
    ];
    assert_refused::<NewDataSet>(&document, &expected);
}

#[test]
fn a_store_and_an_asset_that_break_every_rule_hear_of_all_at_once() {
    let document = json!({
        "id": 1, "version": "0", "uri": "u".repeat(513), "name": ["n"], "tags": "gold", "type": "", "ownerId": {},
        "spaceId": 1, "properties": "p", "description": "d".repeat(1025), "technicalName": "t".repeat(256),
        "technicalDescription": "d".repeat(1025),
    });
    assert_refused::<NewDataStore>(
        &document,
        &[
            "/id",
            "/version",
            "/uri",
            "/name",
            "/tags",
            "/type",
            "/ownerId",
            "/spaceId",
            "/properties",
            "/description",
            "/technicalName",
            "/technicalDescription",
        ],
    );
    let document = json!({
        "id": [], "version": 1.5, "name": "n".repeat(256), "tags": [null, "a", "a"], "appId": 3, "appType": "a".repeat(65),
        "ownerId": true, "spaceId": {}, "properties": [], "description": 1, "dataFreshness": "2024-02-30T00:00:00Z",
        "dataStoreInfo": "s", "technicalDescription": 1,
    });
    assert_refused::<NewDataAsset>(
        &document,
        &[
            "/id",
            "/version",
            "/name",
            "/tags/0",
            "/tags/2",
            "/appId",
            "/appType",
            "/ownerId",
            "/spaceId",
            "/properties",
            "/description",
            "/dataFreshness",
            "/dataStoreInfo",
            "/technicalName",
            "/technicalDescription",
        ],
    );
    for document in [json!(null), json!([]), json!("text"), json!(7)] {
        assert!(
            NewDataStore::from_json(document.to_string().as_bytes())
                .unwrap_err()
                .violations()
                .iter()
                .any(|violation| violation.pointer.is_empty())
        );
    }
    assert_refused::<NewDataAsset>(
        &json!({ "technicalName": "t", "appType": "a", "dataStoreInfo": {} }),
        &["/dataStoreInfo/id"],
    );
}

#[test]
fn what_the_application_sets_and_unknown_members_are_ignored_whatever_they_are() {
    let still = Still::new();
    let Family { store, asset, .. } = still.family;
    for odd in [
        json!(null),
        json!(7),
        json!("text"),
        json!([1]),
        json!({ "a": null }),
        json!(true),
        json!(1.5),
    ] {
        let document = json!({
            "id": null, "version": null, "tenantId": odd, "createdBy": odd, "createdTime": odd, "lastModifiedBy": odd,
            "lastModifiedTime": odd, "technicalName": "t", "type": "x", "unknown": odd, "dataAssetInfo": odd,
        });
        NewDataStore::from_json(document.to_string().as_bytes()).unwrap();
        let document = json!({
            "technicalName": "t", "appType": "x", "tenantId": odd, "createdTime": odd, "unknown": odd,
            "dataStoreInfo": { "id": store, "name": odd, "type": odd, "unknown": odd },
        });
        let new = NewDataAsset::from_json(document.to_string().as_bytes()).unwrap();
        assert_eq!(new.store, Some(store));
        let document = json!({
            "technicalName": "t", "qri": "a:b:c:de", "secureQri": "s", "lastModifiedBy": odd,
            "dataAssetInfo": { "id": asset, "name": odd, "dataStoreInfo": odd },
            "schema": { "effectiveDate": odd, "dataFields": [{ "index": odd, "name": "f", "dataType": { "type": "DATE" } }] },
        });
        let new = NewDataSet::from_json(document.to_string().as_bytes()).unwrap();
        assert_eq!(new.schema.unwrap().effective_date, None);
    }
    // A given owner is the actor's on create.
    let created = still.catalog.session("elsewhere", "bob").unwrap();
    let new = NewDataStore::from_json(br#"{"technicalName": "t", "type": "x", "ownerId": "eve"}"#).unwrap();
    assert_eq!(created.create(new).unwrap().owner_id, "bob");
}

#[test]
fn json_that_others_let_pass_is_refused_with_its_place() {
    let base = r#""technicalName": "t", "type": "x""#;
    for (rest, pointers) in [
        (r#""name": "a", "name": "b""#, &["/name"][..]),
        (
            r#""properties": {"a": {"b": 1, "b": 1}}, "tags": [], "tags": []"#,
            &["/properties/a/b", "/tags"],
        ),
        (r#""properties": {"n": 18446744073709551616}"#, &["/properties/n"]),
        (r#""properties": {"n": -9223372036854775809}"#, &["/properties/n"]),
        (
            r#""properties": {"n": [1, 1e999, -1e999]}"#,
            &["/properties/n/1", "/properties/n/2"],
        ),
        (r#""properties": {"a~b/c": 1e400}"#, &["/properties/a~0b~1c"]),
        (r#""properties": {"n": NaN}"#, &[""]),
        (r#""properties": {"n": 01}"#, &[""]),
        (r#""name": "unfinished"#, &[""]),
        ("\"name\": \"\\ud800\"", &[""]),
    ] {
        let document = format!("{{{base}, {rest}}}");
        let error = NewDataStore::from_json(document.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{document}");
        assert_pointers(&error, pointers);
    }
    for exact in ["18446744073709551615", "-9223372036854775808", "0.1", "1e308"] {
        let document = format!("{{{base}, \"properties\": {{\"n\": {exact}}}}}");
        let new = NewDataStore::from_json(document.as_bytes()).unwrap();
        let expected: Value = serde_json::from_str(exact).unwrap();
        assert_eq!(new.properties.unwrap()["n"], expected);
    }
    let invalid_utf8 = [
        b"{\"technicalName\": \"t\xff\", \"type\": \"x\"}".as_slice(),
        b"",
        b"\xef\xbb\xbf{}",
        b"{} {}",
    ];
    for text in invalid_utf8 {
        assert_pointers(&NewDataStore::from_json(text).unwrap_err(), &[""]);
        assert_pointers(&Patch::from_json(text).unwrap_err(), &[""]);
    }
}

#[test]
fn depth_bombs_are_refused_without_a_deep_stack() {
    for levels in [129, 1_000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let bomb = format!("{}1{}", open.repeat(levels), close.repeat(levels));
            let store = format!(r#"{{"technicalName": "t", "type": "x", "properties": {{"a": {bomb}}}}}"#);
            assert_pointers(&NewDataStore::from_json(store.as_bytes()).unwrap_err(), &[""]);
            let patch = format!(r#"[{{"op": "add", "path": "/properties", "value": {bomb}}}]"#);
            assert_pointers(&Patch::from_json(patch.as_bytes()).unwrap_err(), &[""]);
            assert_pointers(
                &NewDataStore::from_json(open.repeat(levels).as_bytes()).unwrap_err(),
                &[""],
            );
        }
    }
    let still = Still::new();
    let object = |levels| nested(levels).as_object().cloned();
    let with = |properties| NewDataStore {
        properties,
        ..new_store("deep")
    };
    still.invalid(
        still.session.create(with(object(65))),
        &[&format!("/properties{}", "/l".repeat(64))],
    );
    let session = still.catalog.session("elsewhere", "bob").unwrap();
    assert_eq!(session.create(with(object(64))).unwrap().properties, object(64));
}

/// One bounded text of an input.
struct Bound<N> {
    pointer: &'static str,
    most: usize,
    set: fn(&mut N, String),
}

fn check_bounds<N: NewEntity>(still: &Still, base: N, bounds: &[Bound<N>]) {
    for Bound { pointer, most, set } in bounds {
        // Characters of one, two and four bytes: characters count, not bytes.
        for letter in ["x", "ä", "𝄞"] {
            let with = |length: usize| {
                let mut new = base.clone();
                set(&mut new, letter.repeat(length));
                new
            };
            still.invalid(still.session.create(with(most + 1)), &[pointer]);
            let text = serde_json::to_vec(&with(most + 1)).expect("JSON");
            assert_pointers(&N::from_json(&text).unwrap_err(), &[pointer]);
            let text = serde_json::to_vec(&with(*most)).expect("JSON");
            assert_eq!(N::from_json(&text).expect("the longest"), with(*most));
        }
    }
}

#[test]
fn every_bounded_text_is_bounded_in_characters() {
    let still = Still::new();
    check_bounds(
        &still,
        new_store("t"),
        &[
            Bound {
                pointer: "/uri",
                most: 512,
                set: |new, text| new.uri = Some(text),
            },
            Bound {
                pointer: "/name",
                most: 255,
                set: |new, text| new.name = Some(text),
            },
            Bound {
                pointer: "/type",
                most: 64,
                set: |new, text| new.store_type = text,
            },
            Bound {
                pointer: "/technicalName",
                most: 255,
                set: |new, text| new.technical_name = text,
            },
            Bound {
                pointer: "/description",
                most: 1024,
                set: |new, text| new.description = Some(text),
            },
            Bound {
                pointer: "/technicalDescription",
                most: 1024,
                set: |new, text| new.technical_description = Some(text),
            },
        ],
    );
    check_bounds(
        &still,
        new_asset(still.family.store, "t"),
        &[
            Bound {
                pointer: "/name",
                most: 255,
                set: |new, text| new.name = Some(text),
            },
            Bound {
                pointer: "/appType",
                most: 64,
                set: |new, text| new.app_type = text,
            },
            Bound {
                pointer: "/technicalName",
                most: 255,
                set: |new, text| new.technical_name = text,
            },
            Bound {
                pointer: "/description",
                most: 1024,
                set: |new, text| new.description = Some(text),
            },
            Bound {
                pointer: "/technicalDescription",
                most: 1024,
                set: |new, text| new.technical_description = Some(text),
            },
        ],
    );
    check_bounds(
        &still,
        new_set(still.family.asset, "t"),
        &[
            Bound {
                pointer: "/qri",
                most: 1018,
                set: |new, text| new.qri = format!("a:b:c:{text}"),
            },
            Bound {
                pointer: "/secureQri",
                most: 1024,
                set: |new, text| new.secure_qri = text,
            },
            Bound {
                pointer: "/name",
                most: 255,
                set: |new, text| new.name = Some(text),
            },
            Bound {
                pointer: "/type",
                most: 64,
                set: |new, text| new.set_type = Some(text),
            },
            Bound {
                pointer: "/technicalName",
                most: 255,
                set: |new, text| new.technical_name = text,
            },
            Bound {
                pointer: "/description",
                most: 1024,
                set: |new, text| new.description = Some(text),
            },
            Bound {
                pointer: "/technicalDescription",
                most: 1024,
                set: |new, text| new.technical_description = Some(text),
            },
            Bound {
                pointer: "/schema/dataFields/0/name",
                most: 1024,
                set: |new, text| {
                    let data_fields = vec![DataField::new(text, FieldType::Date)];
                    new.schema = Some(Schema {
                        data_fields,
                        ..Schema::default()
                    });
                },
            },
        ],
    );
    let with_qri = |qri: &str| NewDataSet {
        qri: qri.to_owned(),
        ..new_set(still.family.asset, "t")
    };
    for qri in ["a:b:c:d", "aaaa:b:c", ":b:c:dddd", "a:b:c:ddd:", "a:::ddddd", ""] {
        still.invalid(still.session.create(with_qri(qri)), &["/qri"]);
    }
}

#[test]
fn an_entity_has_at_most_a_mebibyte_encoded() {
    const MOST: usize = 1 << 20;
    let still = Still::new();
    let asset = still.family.asset;
    let with = |bytes: usize| NewDataSet {
        properties: Some(JsonObject::from_iter([(
            "t".to_owned(),
            "x".repeat(bytes).into(),
        )])),
        schema: Some(schema()),
        ..new_set(asset, "large")
    };
    let error = still.invalid(still.session.create(with(MOST)), &[""]);
    let message = error.to_string();
    let taken: usize = message
        .split(' ')
        .find_map(|word| word.parse().ok())
        .expect(&message);
    let most = 2 * MOST - taken;
    still.invalid(still.session.create(with(most + 1)), &[""]);
    let id = still.family.set;
    still.invalid(still.session.replace(id, 0, with(most + 1)), &[""]);
    still.invalid(still.session.update(id, 0, |set| *set = with(MOST)), &[""]);
    still.invalid(
        still
            .session
            .create_all([new_set(asset, "small"), with(most + 1)]),
        &[""],
    );
    let batched = still.session.create_batched(
        [new_set(asset, "small"), with(most + 1)],
        shelfmark::Batched::new(),
    );
    assert_eq!(
        still
            .invalid(batched, &[""])
            .bulk()
            .map(|bulk| (bulk.index, bulk.stored)),
        Some((1, 0))
    );

    let elsewhere = still.catalog.session("elsewhere", "ann").unwrap();
    let of = family(&elsewhere);
    let largest = NewDataSet {
        asset: Some(of.asset),
        ..with(most)
    };
    let created = elsewhere.create(largest.clone()).unwrap();
    assert_eq!(
        elsewhere.get(created.id).unwrap().unwrap().properties,
        largest.properties
    );
    let page = elsewhere
        .list(&Query::<DataSet>::new().sort("qri").with_schemas())
        .unwrap();
    assert_eq!(page.items.len(), 2);
    assert_clean(&still.catalog, "with the largest entity");
}

#[test]
fn hostile_patches_change_nothing() {
    let still = Still::new();
    let Family { store, asset, set } = still.family;
    let refuse = |kind: ErrorKind, patch: Value| {
        let outcome =
            Patch::from_value(patch).and_then(|patch| still.session.patch(set, Expectation::Any, &patch));
        still.refused(kind, outcome)
    };
    let pointers =
        |patch: Value, expected: &[&str]| assert_pointers(&refuse(ErrorKind::Invalid, patch), expected);
    let copy_root = json!({ "op": "copy", "from": "", "path": "/properties" });
    // A move that fails must not lose its source.
    pointers(
        json!([{ "op": "move", "from": "/name", "path": "/tags/9" }]),
        &["/0/path"],
    );
    pointers(
        json!([{ "op": "move", "from": "/name", "path": "/properties/a/b" }]),
        &["/0/path"],
    );
    pointers(
        json!([{ "op": "move", "from": "/schema", "path": "/schema/loadOptions" }]),
        &["/0/path"],
    );
    // The root, as a target or a source.
    pointers(
        json!([{ "op": "move", "from": "/name", "path": "" }, { "op": "test", "path": "/name", "value": 1 }]),
        &["/0/path"],
    );
    pointers(
        json!([{ "op": "replace", "path": "", "value": {} }, { "op": "remove", "path": "" }]),
        &["/0/path", "/1/path"],
    );
    let copies: Vec<Value> = std::iter::repeat_n(copy_root, 10_000).collect();
    pointers(Value::from(copies.clone()), &[""]);
    let sources: Vec<String> = (0..1_000).map(|n| format!("/{n}/from")).collect();
    pointers(
        Value::from(&copies[..1_000]),
        &sources.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    // Twice as large with each operation.
    let mut doubling =
        vec![json!({ "op": "add", "path": "/properties", "value": { "seed": "s".repeat(64) } })];
    doubling.extend(
        (0..24).map(|n| json!({ "op": "copy", "from": "/properties", "path": format!("/properties/{n}") })),
    );
    let error = refuse(ErrorKind::Invalid, Value::from(doubling));
    assert_eq!(error.violations().len(), 1, "{error}");
    // Deeper with each operation.
    let mut deeper = vec![json!({ "op": "add", "path": "/properties", "value": {} })];
    deeper.extend(
        (0..100).map(
            |n| json!({ "op": "add", "path": format!("/properties{}", "/a".repeat(n + 1)), "value": {} }),
        ),
    );
    refuse(ErrorKind::Invalid, Value::from(deeper));
    let large = "x".repeat(1 << 20);
    pointers(
        json!([{ "op": "add", "path": "/description", "value": large }]),
        &["/0"],
    );

    // Paths that are none, and results that break a rule.
    for path in [
        "/unknown",
        "/name/x",
        "/tags/x",
        "/tags/01",
        "/dataAssetInfo/unknown",
        "/schema/dataFields/-1",
    ] {
        pointers(json!([{ "op": "add", "path": path, "value": "v" }]), &["/0/path"]);
    }
    pointers(json!([{ "op": "remove", "path": "/description" }]), &["/0/path"]);
    pointers(
        json!([{ "op": "add", "path": "/tags/-", "value": "a" }, { "op": "add", "path": "/tags/-", "value": "a" }]),
        &["/tags/1"],
    );
    pointers(
        json!([{ "op": "remove", "path": "/technicalName" }]),
        &["/technicalName"],
    );
    pointers(
        json!([{ "op": "replace", "path": "/name", "value": 7 }]),
        &["/name"],
    );
    pointers(
        json!([{ "op": "replace", "path": "/id", "value": SetId::from_uuid(store.uuid()) }]),
        &["/id"],
    );
    let other = AssetId::from_uuid(store.uuid());
    pointers(
        json!([{ "op": "replace", "path": "/dataAssetInfo/id", "value": other }]),
        &["/dataAssetInfo/id"],
    );
    // Malformed.
    pointers(json!({}), &[""]);
    pointers(
        json!([1, { "op": "jump", "path": "/name" }, { "path": 7 }]),
        &["/0", "/1/op", "/2/op", "/2/path"],
    );
    pointers(json!([{ "op": "copy", "path": "name" }]), &["/0/from", "/0/path"]);
    // A test that fails, and one that compares by value.
    let renamed_then = |test: Value| json!([{ "op": "replace", "path": "/name", "value": "lost" }, test]);
    refuse(
        ErrorKind::PatchTestFailed,
        renamed_then(json!({ "op": "test", "path": "/version", "value": 1 })),
    );
    refuse(
        ErrorKind::PatchTestFailed,
        renamed_then(json!({ "op": "test", "path": "/description", "value": null })),
    );
    let same = Patch::from_value(json!([{ "op": "test", "path": "/version", "value": 0.0 }])).unwrap();
    assert_eq!(still.session.patch(set, 0, &same).unwrap().version, 0);
    assert_eq!(
        still
            .session
            .patch(asset, Expectation::Any, &Patch::new())
            .unwrap()
            .version,
        0
    );
    // What the application sets keeps its value.
    let own = json!([
        { "op": "replace", "path": "/createdBy", "value": "eve" },
        { "op": "replace", "path": "/tenantId", "value": ["other"] },
        { "op": "remove", "path": "/lastModifiedTime" },
        { "op": "replace", "path": "/version", "value": 99 },
        { "op": "replace", "path": "/dataAssetInfo/name", "value": "renamed" },
    ]);
    let patched = still
        .session
        .patch(set, 0, &Patch::from_value(own).unwrap())
        .unwrap();
    assert_eq!(Some(patched), still.session.get(set).unwrap());
    assert!(dump(&*still.bed.backend) == still.rows);
}

#[test]
fn what_does_not_exist_and_versions_that_are_not_are_refused() {
    let still = Still::new();
    let session = &still.session;
    let Family { store, asset, set } = still.family;
    let no_store = StoreId::from_uuid(set.uuid());
    let no_asset = AssetId::from_uuid(store.uuid());
    let no_set = SetId::from_uuid(asset.uuid());
    let missing = [
        session.create(new_asset(no_store, "t")).map(drop),
        session.create(new_set(no_asset, "t")).map(drop),
        session
            .create_all([new_set(asset, "t"), new_set(no_asset, "t")])
            .map(drop),
        session.update(no_set, Expectation::Any, |_| {}).map(drop),
        session.replace(no_store, 0, new_store("t")).map(drop),
        session.patch(no_asset, 0, &Patch::new()).map(drop),
        session.delete(no_set, 0).map(drop),
        session
            .delete_all([(set, Expectation::Any), (no_set, Expectation::Any)])
            .map(drop),
        session
            .delete_selected::<DataSet>(vec![asset, no_asset])
            .map(drop),
        session.count::<DataSet>(no_asset).map(drop),
        session.list(&Query::<DataAsset>::of(no_store)).map(drop),
    ];
    for outcome in missing {
        let error = still.refused(ErrorKind::NotFound, outcome);
        assert_eq!(error.missing().len(), 1, "{error}");
    }
    for expected in [1, 7, u64::MAX] {
        let conflicts = [
            session
                .update(set, expected, |_| panic!("shown before the version was checked"))
                .map(drop),
            session.replace(set, expected, new_set(asset, "t")).map(drop),
            // The expectation is checked first.
            session.replace(set, expected, new_set(asset, "")).map(drop),
            session
                .patch(set, expected, &Patch::new().test("/name", 1).unwrap())
                .map(drop),
            session.delete(store, expected).map(drop),
            session.delete(asset, expected).map(drop),
        ];
        for outcome in conflicts {
            let error = still.refused(ErrorKind::VersionConflict, outcome);
            let conflict = error.conflict().unwrap();
            assert_eq!((conflict.expected, conflict.found), (expected, 0));
        }
    }
    let error = still.refused(ErrorKind::NotEmpty, session.delete(store, 0));
    assert_eq!(error.not_empty().len(), 1);
    let moved = NewDataAsset {
        store: Some(no_store),
        ..new_asset(store, "t")
    };
    still.invalid(session.replace(asset, 0, moved), &["/dataStoreInfo/id"]);
    let no_parent = NewDataSet {
        asset: None,
        ..new_set(asset, "t")
    };
    still.invalid(session.create(no_parent), &["/dataAssetInfo/id"]);
}

#[test]
fn cursors_of_another_kind_or_none_are_refused() {
    let still = Still::new();
    let session = &still.session;
    for text in ["", "%", "not base64!", "AAAA", &"A".repeat(10_000)] {
        let outcome = text
            .parse::<Cursor>()
            .and_then(|cursor| session.list(&Query::<DataSet>::new().cursor(cursor)));
        let error = still.refused(ErrorKind::BadCursor, outcome);
        assert!(
            error.to_string().contains("start again from the first page"),
            "{error}"
        );
    }
    let query = Query::<DataSet>::of(still.family.asset).sort("name").limit(3);
    let cursor = session.list(&query).unwrap().next.expect("a next page");
    let mut letters: Vec<u8> = cursor.to_string().into_bytes();
    letters[20] = if letters[20] == b'A' { b'B' } else { b'A' };
    let altered: Cursor = String::from_utf8(letters).unwrap().parse().unwrap();
    still.refused(ErrorKind::BadCursor, session.list(&query.clone().cursor(altered)));
    let others = [
        query.clone().sort("-name"),
        query.clone().sort("name,-id"),
        query.clone().sort(""),
        query.clone().filter(Filter::new().name_prefix("set")),
        Query::of(still.family.store).sort("name"),
        Query::of(SetSelection::All).sort("name"),
    ];
    for other in others {
        still.refused(
            ErrorKind::BadCursor,
            session.list_names(&other.cursor(cursor.clone())),
        );
    }
    let of_stores = Query::<DataStore>::new().sort("name").cursor(cursor.clone());
    still.refused(ErrorKind::BadCursor, session.list(&of_stores));
    let elsewhere = Still::new();
    let same = Query::<DataSet>::of(elsewhere.family.asset)
        .sort("name")
        .cursor(cursor.clone());
    elsewhere.refused(ErrorKind::BadCursor, elsewhere.session.list(&same));
    assert_eq!(session.list(&query.cursor(cursor)).unwrap().page, 1);
}

#[test]
fn sorts_and_projections_that_name_no_field_are_refused() {
    let still = Still::new();
    for sort in [
        ",",
        "name,",
        "nope",
        "--name",
        "+-name",
        " name",
        "name ",
        "NAME",
        "tags",
        "schema",
        "properties",
        "properties.a",
        "dataAssetInfo",
        "dataAssetInfo.nope",
        "name.x",
        ".",
        "-",
        "operational.tableConnectionInfo",
        "schema.dataFields.name",
    ] {
        let query = Query::<DataSet>::new().sort(sort);
        still.invalid(still.session.list(&query), &[""]);
        still.invalid(still.session.stream(&query), &[""]);
    }
    for field in [
        "",
        "nope",
        "name.x",
        "dataAssetInfo.nope",
        "Name",
        "id.",
        ".id",
        "schema..dataFields",
        "tags.0",
    ] {
        let projection = Projection::of([field]);
        still.invalid(
            still
                .session
                .list_projected(&Query::<DataSet>::new(), &projection),
            &[""],
        );
    }
    for path in [
        "properties.any.thing",
        "schema.dataFields.dataType.properties.x",
        "id",
        "tags",
    ] {
        assert!(
            still
                .session
                .list_projected(&Query::<DataSet>::new(), &Projection::of([path]))
                .is_ok()
        );
    }
}

#[test]
fn pages_of_any_size_and_number_are_answered_or_refused_with_advice() {
    let still = Still::new();
    let session = &still.session;
    let filters = [
        Filter::new(),
        Filter::new().name_prefix("o"),
        Filter::new().owner_id("ann"),
    ];
    for (sort, filter) in ["", "name", "-technicalName"]
        .into_iter()
        .flat_map(|sort| filters.iter().map(move |filter| (sort, filter)))
    {
        for query in [Query::<DataSet>::of(still.family.asset), Query::new()] {
            let query = query.sort(sort).filter(filter.clone());
            let all = session.list(&query.clone().limit(1_000)).unwrap();
            let unbounded = session.list(&query.clone().limit(usize::MAX));
            if filter == &filters[1] && sort != "name" {
                // The filter's index is not in this order.
                still.refused(ErrorKind::OffsetTooDeep, unbounded);
                continue;
            }
            assert_eq!(unbounded.unwrap().items, all.items);
            assert_eq!(all.total, Some(all.items.len() as u64));
            assert_eq!((all.next, all.prev), (None, None));
            let none = session.list(&query.clone().limit(0)).unwrap();
            assert_eq!((none.items.len(), none.total, none.next), (0, all.total, None));
            for (limit, page) in [(20, u64::MAX), (usize::MAX, u64::MAX), (0, u64::MAX), (1, 1_000)] {
                let past = session.list(&query.clone().limit(limit).page(page)).unwrap();
                assert_eq!((past.items.len(), past.page, past.total), (0, page, all.total));
            }
        }
    }
    // Without an index only so much is held.
    let query = Query::<DataSet>::new().sort("qri");
    assert_eq!(session.list(&query.clone().limit(1_000)).unwrap().items.len(), 31);
    assert_eq!(
        session
            .list(&query.clone().limit(0).page(u64::MAX))
            .unwrap()
            .total,
        Some(31)
    );
    for query in [
        query.clone().page(u64::MAX),
        query.clone().page(5_000),
        query.clone().limit(usize::MAX),
    ] {
        let error = still.refused(ErrorKind::OffsetTooDeep, session.list(&query));
        let message = error.to_string();
        assert!(
            message.contains("100000") && message.contains("follow cursors"),
            "{message}"
        );
    }
}
