//! Whatever the input is: it imports, or a typed error stores nothing.

use proptest::prelude::*;
use serde_json::{Map, Value};
use shelfmark_datapackage::{ImportErrorKind, Importer};

use super::{catalog, counts, import};

const NAMES: [&str; 22] = [
    "name",
    "title",
    "description",
    "keywords",
    "owidTags",
    "sources",
    "resources",
    "schema",
    "fields",
    "type",
    "format",
    "constraints",
    "required",
    "primaryKey",
    "path",
    "bytes",
    "dialect",
    "profile",
    "email",
    "dataPublishedBy",
    "x",
    "",
];

const TEXTS: [&str; 12] = [
    "", " ", "\r", "a", "A", "a:b", "string", "binary", "date", "table", "a.csv", "é%",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(&TEXTS[..]).prop_map(Value::from),
        ".*".prop_map(Value::from),
        (250_usize..260, 1020_usize..1030).prop_map(|(some, more)| Value::from("ä".repeat(some * 4 + more))),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((proptest::sample::select(&NAMES[..]), inner), 0..6).prop_map(object),
        ]
    })
}

fn object(members: Vec<(&str, Value)>) -> Value {
    let members: Map<String, Value> = members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Value::Object(members)
}

/// A value that is nearly a package: each member is what it should be, or anything.
fn package() -> impl Strategy<Value = Value> {
    let text = || prop_oneof![4 => proptest::sample::select(&TEXTS[..]).prop_map(Value::from), 1 => json()];
    let field =
        proptest::collection::vec((proptest::sample::select(&NAMES[..]), text()), 0..5).prop_map(object);
    let fields = prop_oneof![9 => proptest::collection::vec(field, 0..5).prop_map(Value::from), 1 => json()];
    let schema =
        (fields, json()).prop_map(|(fields, key)| object(vec![("primaryKey", key), ("fields", fields)]));
    let schema = prop_oneof![9 => schema, 1 => json()];
    let resource = (text(), schema, json())
        .prop_map(|(name, schema, more)| object(vec![("name", name), ("schema", schema), ("path", more)]));
    let resources =
        prop_oneof![9 => proptest::collection::vec(resource, 0..4).prop_map(Value::from), 1 => json()];
    let source = text().prop_map(|title| Value::from(vec![object(vec![("title", title)])]));
    (text(), source, resources, json()).prop_map(|(name, sources, resources, more)| {
        object(vec![
            ("name", name),
            ("sources", sources),
            ("x", more),
            ("resources", resources),
        ])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_imports_or_stores_nothing(documents in proptest::collection::vec(prop_oneof![4 => package(), 1 => json()], 1..4)) {
        let (catalog, session) = catalog();
        match import(&session, &documents) {
            Ok(report) => {
                prop_assert_eq!(report.packages, documents.len() as u64);
                prop_assert_eq!(counts(&session), (report.stores_created, report.packages, report.resources));
            }
            Err(error) => {
                let typed = matches!(error.kind(), ImportErrorKind::NotAPackage | ImportErrorKind::Refused);
                prop_assert!(typed && !error.violations().is_empty(), "{}", error);
                prop_assert_eq!(counts(&session), (0, 0, 0));
            }
        }
        prop_assert!(catalog.check().is_ok_and(|report| report.is_clean()));
    }

    #[test]
    fn any_bytes_import_or_store_nothing(text in proptest::collection::vec(any::<u8>(), 0..200), braces in "[\\[\\]{}\":,0-9a\n]{0,200}") {
        for text in [&text[..], braces.as_bytes()] {
            let (_catalog, session) = catalog();
            if Importer::new(&session).import_reader(text).is_err() {
                prop_assert_eq!(counts(&session), (0, 0, 0));
            }
        }
    }
}
