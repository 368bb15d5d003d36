//! The description is what the server does: committed, served, and equal to the table of `docs/http.md`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::{Server, read, repository};

/// One row of the table: operation, method and path below `/api`, statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: String,
    pub method: String,
    pub path: String,
    pub statuses: Vec<u16>,
}

/// The rows of the table of operations in `docs/http.md`.
pub fn table() -> Vec<Row> {
    let document = read("docs/http.md");
    let rows: Vec<Row> = document
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
            let [id, route, succeeds, fails] = cells.as_slice() else {
                return None;
            };
            let (method, path) = route.strip_prefix('`')?.strip_suffix('`')?.split_once(' ')?;
            let statuses = succeeds.split(' ').chain(fails.split(' '));
            Some(Row {
                id: id.trim_matches('`').to_owned(),
                method: method.to_owned(),
                path: path.to_owned(),
                statuses: statuses.map(|status| status.parse().expect("a status")).collect(),
            })
        })
        .collect();
    assert!(rows.len() >= 20, "{} rows", rows.len());
    rows
}

fn described() -> Value {
    serde_json::to_value(shelfmark_http::openapi()).expect("JSON")
}

/// Every operation of the API in the description.
fn operations() -> Vec<Row> {
    let document = described();
    let mut rows = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let Some(path) = path.strip_prefix("/api") else {
            continue;
        };
        for (method, operation) in methods.as_object().expect("methods") {
            let responses = operation["responses"].as_object().expect("responses");
            rows.push(Row {
                id: operation["operationId"].as_str().expect("an id").to_owned(),
                method: method.to_uppercase(),
                path: path.to_owned(),
                statuses: responses
                    .keys()
                    .map(|status| status.parse().expect("a status"))
                    .collect(),
            });
        }
    }
    rows
}

/// `UPDATE_OPENAPI=1 cargo test -p shelfmark-http` writes the file anew.
#[test]
fn the_committed_description_is_the_one_in_the_code() {
    let mut text = shelfmark_http::openapi().to_pretty_json().unwrap();
    text.push('\n');
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(repository("openapi.json"), &text).unwrap();
    }
    assert!(
        read("openapi.json") == text,
        "openapi.json is not what the code says: UPDATE_OPENAPI=1 cargo test -p shelfmark-http"
    );
    let served = Server::start()
        .request("GET", "/openapi.json")
        .without_token()
        .send();
    assert_eq!(served.json(), described());
    assert_eq!(described()["openapi"], "3.1.0");
}

#[test]
fn the_table_in_the_documents_is_the_description() {
    let sorted = |rows: Vec<Row>| -> BTreeMap<String, Row> {
        rows.into_iter().map(|row| (row.id.clone(), row)).collect()
    };
    let (documented, described) = (sorted(table()), sorted(operations()));
    assert_eq!(
        documented.keys().collect::<Vec<_>>(),
        described.keys().collect::<Vec<_>>()
    );
    for (id, row) in &documented {
        let described = &described[id];
        assert_eq!((&row.method, &row.path), (&described.method, &described.path));
        let told: BTreeSet<u16> = row.statuses.iter().copied().collect();
        let known: BTreeSet<u16> = described.statuses.iter().copied().collect();
        assert_eq!(told, known, "{id}");
    }
}

/// The reference lists these for each of its ten operations; what nothing can cause is named in `docs/http.md`.
#[test]
fn statuses_that_nothing_can_cause_are_named() {
    const TEN: [&str; 10] = [
        "listDataStores",
        "createDataStore",
        "deleteDataStores",
        "readDataStore",
        "patchDataStore",
        "replaceDataStore",
        "listDataAssets",
        "deleteDataAssetsOfStores",
        "listDataSets",
        "deleteDataSetsOfAssets",
    ];
    let document = read("docs/http.md");
    let (_, section) = document
        .split_once("## Listed, and never given")
        .expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let named: BTreeSet<(String, u16)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .flat_map(|(id, rest)| {
            let (statuses, _) = rest.split_once(" |").expect("a cell");
            let statuses: Vec<u16> = statuses
                .split(' ')
                .map(|status| status.parse().expect("a status"))
                .collect();
            statuses.into_iter().map(move |status| (id.to_owned(), status))
        })
        .collect();
    let table = table();
    let missing: BTreeSet<(String, u16)> = TEN
        .into_iter()
        .flat_map(|id| {
            let row = table.iter().find(|row| row.id == id).expect("a row");
            let listed = [400, 401, 403, 404, 409, 500, 503];
            let never = listed.into_iter().filter(|status| !row.statuses.contains(status));
            never.map(|status| (id.to_owned(), status)).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(named, missing);
}

/// Every reference within the description leads somewhere, and every entity that is shown conforms to its names.
#[test]
fn references_lead_somewhere_and_fields_are_those_shown() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(name)) = members.get("$ref") {
                    found.insert(name.clone());
                }
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = described();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for name in found {
        assert!(
            document.pointer(name.trim_start_matches('#')).is_some(),
            "{name} leads nowhere"
        );
    }
    // A sort by a field that there is is taken, any other is refused: so the names are those of the catalog.
    let server = Server::start();
    for (schema, path) in [
        ("DataStore", "/data-stores"),
        ("DataAsset", "/data-stores/*/data-assets"),
        ("DataSet", "/data-stores/*/data-assets/*/data-sets"),
    ] {
        let fields = document["components"]["schemas"][schema]["properties"]
            .as_object()
            .expect("properties");
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let known = server.get(&format!("{path}?projections={}", names.join(",")));
        assert_eq!(known.status, 200, "{}", known.text);
        let expected = match schema {
            "DataStore" => 17,
            "DataAsset" => 19,
            _ => 24,
        };
        assert_eq!(names.len(), expected, "{schema}");
    }
}
