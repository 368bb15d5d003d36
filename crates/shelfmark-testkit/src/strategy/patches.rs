//! JSON Patches: most of them good, with paths and values of every kind of wrong.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use shelfmark::EntityKind;

use super::{inputs, reference};
use crate::operation::{PatchStep, PatchValue};

const COMMON: [&str; 17] = [
    "/name",
    "/name",
    "/description",
    "/technicalName",
    "/ownerId",
    "/spaceId",
    "/tags",
    "/tags/-",
    "/tags/0",
    "/tags/1",
    "/properties",
    "/properties/team",
    "/properties/a~1b",
    "/properties/list/1",
    "/properties/list/-",
    "/properties/list/3/three",
    "/properties/list/x",
];
const MADE: [&str; 8] = [
    "/version",
    "/createdBy",
    "/createdTime",
    "/lastModifiedTime",
    "/lastModifiedBy",
    "/tenantId",
    "/id",
    "/ownerId",
];
const UNKNOWN: [&str; 6] = ["/nope", "/name/x", "/tags/x", "/tags/01", "", "/properties~1x"];

fn paths(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Store => &["/uri", "/type"],
        EntityKind::Asset => &[
            "/appId",
            "/appType",
            "/dataFreshness",
            "/dataStoreInfo/name",
            "/dataStoreInfo",
        ],
        EntityKind::Set => &[
            "/schema",
            "/schema/schemaName",
            "/schema/effectiveDate",
            "/schema/dataFields",
            "/schema/dataFields/-",
            "/schema/dataFields/0",
            "/schema/dataFields/0/name",
            "/schema/dataFields/0/index",
            "/schema/dataFields/0/tags/-",
            "/schema/dataFields/0/dataType",
            "/schema/dataFields/0/dataType/type",
            "/schema/dataFields/0/dataType/properties",
            "/additionalSchemas",
            "/additionalSchemas/0",
            "/additionalSchemas/0/loadOptions",
            "/operational",
            "/operational/size",
            "/operational/lastLoadTime",
            "/operational/tableConnectionInfo",
            "/operational/tableConnectionInfo/additionalProperties/x",
            "/secureQri",
            "/qri",
            "/type",
            "/dataAssetInfo/dataStoreInfo/name",
            "/dataAssetInfo",
        ],
    }
}

fn path(kind: EntityKind) -> impl Strategy<Value = String> {
    prop_oneof![
        12 => select(&COMMON[..]),
        8 => select(paths(kind)),
        2 => select(&MADE[..]),
        1 => select(&UNKNOWN[..]),
    ]
    .prop_map(str::to_owned)
}

/// A value that fits a path, as often as not.
fn value_for(path: &str) -> BoxedStrategy<Value> {
    let field = json!({ "name": "added", "dataType": { "type": "STRING" }, "unknown": 1 });
    let schema = json!({ "dataFields": [field], "schemaName": "patched" });
    let fitting: Vec<Value> = match path {
        "/schema" | "/additionalSchemas/0" => vec![schema, json!({}), json!({ "dataFields": [] })],
        "/additionalSchemas" => vec![json!([schema]), json!([]), json!([schema, schema])],
        "/schema/dataFields" => vec![json!([]), json!([field])],
        "/schema/dataFields/-" | "/schema/dataFields/0" => vec![field, json!({ "name": "bare" }), json!({})],
        "/schema/dataFields/0/dataType" => {
            vec![json!({ "type": "DATE" }), json!({ "type": "DECIMAL" }), json!({})]
        }
        "/schema/dataFields/0/dataType/type" => vec![json!("DATE"), json!("DECIMAL"), json!("date")],
        "/dataFreshness" | "/operational/lastLoadTime" => {
            vec![json!("2018-10-30T09:06:22.5+02:00"), json!("yesterday")]
        }
        "/operational/size" => vec![json!(7), json!(7.5), json!(i64::MAX)],
        "/tags" => vec![json!([]), json!(["gold", "new"]), json!(["new", "new"])],
        "/qri" => vec![json!("qdf:files:acme:lines"), json!("qdf:files")],
        "/properties"
        | "/operational"
        | "/operational/tableConnectionInfo"
        | "/dataStoreInfo"
        | "/dataAssetInfo" => vec![json!({}), json!({ "team": "web" }), json!({ "list": [] })],
        _ => vec![json!("text"), json!("Text"), json!("gold"), json!("ann")],
    };
    // Made only where it is chosen.
    let deep = |levels| Value::Object(inputs::nested(levels));
    prop_oneof![
        8 => select(fitting),
        2 => inputs::name().prop_map(Value::String),
        1 => select(vec![json!(null), json!(5), json!(5.0), json!(true), json!([]), json!({}), json!("")]),
        1 => Just(64).prop_map(deep),
        1 => Just(63).prop_map(deep),
    ]
    .boxed()
}

fn step(kind: EntityKind) -> impl Strategy<Value = PatchStep> {
    let with_value = || {
        path(kind).prop_flat_map(|path| {
            let value = value_for(&path).prop_map(PatchValue::Json);
            (Just(path), value)
        })
    };
    let from = select(
        &[
            "/name",
            "/description",
            "/tags/0",
            "/properties/team",
            "/properties",
            "/properties/list/0",
            "/createdBy",
            "/nope",
        ][..],
    );
    let onto = select(
        &[
            "/name",
            "/description",
            "/tags/-",
            "/properties/team",
            "/properties/copy",
            "/properties/list/-",
            "/technicalName",
            "/tags/1",
        ][..],
    );
    let between = (from, onto).prop_map(|(from, onto)| (from.to_owned(), onto.to_owned()));
    let parent = match kind {
        EntityKind::Store => Just(PatchStep::Remove("/uri".to_owned())).boxed(),
        EntityKind::Asset => reference()
            .prop_map(|id| {
                PatchStep::Replace(
                    "/dataStoreInfo/id".to_owned(),
                    PatchValue::Id(EntityKind::Store, id),
                )
            })
            .boxed(),
        EntityKind::Set => reference()
            .prop_map(|id| {
                PatchStep::Replace(
                    "/dataAssetInfo/id".to_owned(),
                    PatchValue::Id(EntityKind::Asset, id),
                )
            })
            .boxed(),
    };
    prop_oneof![
        8 => with_value().prop_map(|(path, value)| PatchStep::Add(path, value)),
        6 => with_value().prop_map(|(path, value)| PatchStep::Replace(path, value)),
        4 => path(kind).prop_map(PatchStep::Remove),
        2 => between.clone().prop_map(|(from, onto)| PatchStep::Move(from, onto)),
        2 => between.prop_map(|(from, onto)| PatchStep::Copy(from, onto)),
        3 => Just(PatchStep::Test("/version".to_owned(), PatchValue::Version)),
        1 => with_value().prop_map(|(path, value)| PatchStep::Test(path, value)),
        1 => parent,
    ]
}

/// A patch of an entity of this kind.
pub(super) fn patch(kind: EntityKind) -> impl Strategy<Value = Vec<PatchStep>> {
    prop_oneof![3 => vec(step(kind), 1..2), 2 => vec(step(kind), 0..5)]
}
