//! What must be refused: every rule with its pointer, hostile JSON and patches, bounds, garbage; and that nothing changes.

mod bounds;
mod calls;
mod patches;

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
        &N::from_json(document.to_string().as_bytes()).expect_err("broken rules"),
        expected,
    );
    // Through serde, by the same rules.
    let error = serde_json::from_value::<N>(document.clone())
        .expect_err("broken rules")
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
