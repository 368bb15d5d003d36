//! What the fuzzers start from, and the words in it that stand for what the catalog gave.

use std::sync::OnceLock;

use serde_json::{Value, json};
use shelfmark::{DataStore, Query, Read as _};
use shelfmark_testkit::fuzz::{Fixture, Seed, TENANT, sure};

use crate::facade::BODY_LIMIT;
use crate::requests::{SEPARATOR, TRACE_PARENT};

/// The words of a request, and what stands for each: ids would be other ones with every change of the fixture, and hard to guess for a fuzzer.
pub(crate) fn places() -> [(&'static str, &'static str); 7] {
    static PLACES: OnceLock<[(&str, String); 7]> = OnceLock::new();
    let places = PLACES.get_or_init(|| {
        let fixture = Fixture::get();
        let (catalog, _) = fixture.restored();
        let session = sure(catalog.session(TENANT, "ann"));
        let page = sure(session.list(&Query::<DataStore>::new().sort("name").limit(1)));
        let cursor = page.next.map(|next| next.to_string()).unwrap_or_default();
        let changes = sure(session.changes(None, 1));
        [
            ("{store}", fixture.store.to_string()),
            ("{empty}", fixture.empty.to_string()),
            ("{asset}", fixture.asset.to_string()),
            ("{set}", fixture.set.to_string()),
            ("{gone}", fixture.dropped.to_string()),
            ("{cursor}", cursor),
            ("{position}", changes.position.to_string()),
        ]
    });
    places.each_ref().map(|(word, text)| (*word, text.as_str()))
}

/// The text with what the words stand for.
pub(crate) fn filled(text: &[u8], places: &[(&str, &str)]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        match places.iter().find(|(word, _)| rest.starts_with(word.as_bytes())) {
            Some((word, place)) => {
                filled.extend_from_slice(place.as_bytes());
                rest = &rest[word.len()..];
            }
            None => {
                filled.push(byte);
                rest = &rest[1..];
            }
        }
    }
    filled
}

/// Every seed, the same each time.
pub fn seeds() -> Vec<Seed> {
    let seed = |target, name: String, bytes| Seed { target, name, bytes };
    let requests = requests().into_iter().enumerate();
    let requests = requests.map(|(at, text)| seed("http", format!("request-{at:02}"), text.into_bytes()));
    let lines = lines().into_iter().enumerate();
    let lines = lines.map(|(at, (head, text))| {
        let bytes = [&head[..], text.as_bytes()].concat();
        seed("ndjson", format!("lines-{at:02}"), bytes)
    });
    requests.chain(lines).collect()
}

const JSON: &str = "content-type: application/json";

fn set() -> Value {
    json!({
        "dataAssetInfo": {"id": "{asset}"}, "technicalName": "orders", "qri": "qdf:a:b:orders", "secureQri": "qri:orders",
        "schema": {"dataFields": [{"name": "id", "dataType": {"type": "INTEGER"}}]},
    })
}

fn requests() -> Vec<String> {
    let store =
        json!({"technicalName": "warehouse", "type": "postgres", "tags": ["gold"], "properties": {"n": 1.5}});
    let asset = json!({"dataStoreInfo": {"id": "{store}"}, "technicalName": "sales", "appType": "qix-df"});
    let batch = json!({"operations": [
        {"op": "create", "kind": "store", "as": "s", "value": store},
        {"op": "create", "kind": "asset", "value": {"dataStoreInfo": {"id": "$s"}, "technicalName": "a", "appType": "x"}},
        {"op": "patch", "kind": "set", "id": "{set}", "version": 0, "patch": [{"op": "add", "path": "/name", "value": "N"}]},
        {"op": "delete", "kind": "store", "id": "{empty}"},
        {"op": "replace", "kind": "store", "id": "$s", "version": 0, "value": store},
    ]});
    let mut requests: Vec<String> = [
        "GET /v1/data-stores",
        "GET /api/v1/data-stores?limit=1&sort=-name,%2Btype&page=1&projections=name,tags\nhost: catalog.example.org:8443",
        "GET /v1/data-stores?sort=name&limit=1&cursor={cursor}",
        "GET /v1/data-stores/{store}?projections=name\nif-none-match: W/\"0\", \"7\"",
        "GET /v1/data-assets/{asset}",
        "GET /v1/data-sets/{set}?projections=schema.dataFields.name,operational.rowCount",
        "GET /v1/data-stores/*/data-assets?sort=dataStoreInfo.name&limit=1",
        "GET /v1/data-stores/{store},{empty}/data-assets/{asset}/data-sets?limit=1&sort=technicalName",
        "GET /v1/changes?after={position}&limit=2",
        "GET /v1/changes?after=newest\naccept: text/event-stream\nlast-event-id: {position}",
        "GET /v1/data-sets/{gone}\nauthorization: Bearer r",
        "GET /v1/data-stores/{store}\nauthorization: Bearer s",
        "GET /v1/data-stores\nauthorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl",
        "HEAD /v1/data-stores\n",
        "OPTIONS /v1/data-stores/%2A\nauthorization: Basic YTpi",
        "GET /v1/data-stores?limit=0",
        "GET /v1/data-stores?sort=name&cursor=AAAA",
        "DELETE /v1/data-stores/{store},{empty},{store},{store},{store}/data-assets",
        "PUT /v1/data-stores\nauthorization: Bearer w",
        "POST /v1/changes\nauthorization: Bearer r",
        "GET /metrics",
        "GET /docs/",
        "GET /openapi.json",
        "GET http://h/readyz",
        "DELETE /v1/data-stores/{store}/data-assets\nif-match: \"0\"",
        "DELETE /v1/data-stores/*/data-assets/{asset}/data-sets",
        "DELETE /v1/data-stores/{store}/data-assets/{asset}/data-sets\nif-match: *",
    ]
    .map(str::to_owned)
    .to_vec();
    let traced = format!("traceparent: {TRACE_PARENT}");
    for (head, body) in [
        (format!("POST /v1/data-stores\n{JSON}"), store.to_string()),
        (
            format!("POST /v1/data-stores\n{JSON}\nidempotency-key: request-1"),
            store.to_string(),
        ),
        (
            format!("POST /v1/data-assets\n{JSON}; charset=utf-8"),
            asset.to_string(),
        ),
        (format!("POST /v1/data-sets\n{JSON}"), set().to_string()),
        (
            "POST /v1/data-sets\ncontent-type: application/x-ndjson".to_owned(),
            format!("{}\n\n{{}}\n", set()),
        ),
        (
            format!("POST /v1/batch\n{JSON}\nauthorization: Bearer w"),
            batch.to_string(),
        ),
        (
            format!("PUT /v1/data-stores/{{store}}\n{JSON}\nif-match: \"0\", \"1\""),
            json!({"version": 0, "technicalName": "other", "type": "duckdb"}).to_string(),
        ),
        (
            "PATCH /v1/data-sets/{set}\ncontent-type: application/json-patch+json\nprefer: return=minimal"
                .to_owned(),
            json!([{"op": "replace", "path": "/schema/dataFields/0/name", "value": "order"}]).to_string(),
        ),
        (
            format!("PATCH /v1/data-assets/{{asset}}\n{JSON}\n{traced}"),
            json!([{"op": "test", "path": "/name", "value": 1}]).to_string(),
        ),
        (
            format!("DELETE /v1/data-stores\n{JSON}"),
            json!({"ids": ["{empty}", "{empty}"]}).to_string(),
        ),
        (
            format!("DELETE /v1/data-stores\n{JSON}\n{traced}"),
            json!({"ids": ["{empty}", "{store}"]}).to_string(),
        ),
        (
            format!("DELETE /v1/data-sets\n{JSON}\nif-match: \"1\""),
            json!({"ids": ["{set}"]}).to_string(),
        ),
        (
            format!("POST /v1/data-stores\n{JSON}\ncontent-length: 99999999999"),
            store.to_string(),
        ),
        (
            format!("POST /v1/data-stores\n{JSON}"),
            format!("[{}]", " ".repeat(BODY_LIMIT)),
        ),
        (
            format!("POST /v1/data-sets\n{JSON}"),
            json!({"id": 1, "tags": ["a", "a"], "qri": "a:b", "schema": {"dataFields": [{}]}}).to_string(),
        ),
        (
            format!("PATCH /v1/data-stores/{{store}}\n{JSON}"),
            json!([{"op": "move", "from": "", "path": "/name"}]).to_string(),
        ),
        (
            "POST /v1/data-stores\ncontent-type: text/xml".to_owned(),
            "<a/>".to_owned(),
        ),
    ] {
        requests.push(format!("{head}\n\n{body}"));
    }
    // The same key twice, and a deletion with what is left of it afterwards.
    let once = format!("POST /v1/batch\n{JSON}\nidempotency-key: k\n\n{batch}");
    let separator = char::from(SEPARATOR);
    requests.push([once.as_str(), &once, "GET /v1/data-stores?limit=2"].join(&separator.to_string()));
    let gone = format!(
        "DELETE /v1/data-assets\n{JSON}\n\n{}",
        json!({"ids": ["{asset}"]})
    );
    requests.push([gone.as_str(), "GET /v1/data-sets/{set}", "GET /v1/changes"].join(&separator.to_string()));
    requests
}

fn lines() -> Vec<([u8; 2], String)> {
    let set = set();
    let with = |member: &str, value: Value| {
        let mut set = set.clone();
        set[member] = value;
        set.to_string()
    };
    let asset = json!({"dataStoreInfo": {"id": "{store}"}, "technicalName": "SALES", "appType": "qix-df"});
    let decimal = json!({"dataFields": [
        {"name": "n", "dataType": {"type": "DECIMAL", "properties": {"precision": 4, "scale": 2}}},
        {"name": "d", "dataType": {"type": "DATE"}, "nullable": true, "tags": ["a"], "userTags": [{"id": "1", "name": "t"}]},
    ]});
    let all_at_once = [0, 0];
    vec![
        (all_at_once, format!("{set}\n")),
        (all_at_once, format!("{set}\n{{}}\n\n \t\r\n{set}\r\n{set}")),
        ([0, 1], format!("{set}\n{}\n", with("id", json!("x")))),
        (
            [2, 7],
            format!("{set}\n{set}\n{}", with("technicalName", json!("other"))),
        ),
        ([4, 64], format!("{set}\n{set}\n{{\"technicalName\":")),
        ([6, 0], String::new()),
        ([1, 0], format!("{asset}\n{{\"dataStoreInfo\": 1}}\n{asset}")),
        (
            [3, 200],
            format!("{asset}\nnull\n[1, 2.5e300, \"\\ud800\"]\n{asset}\n"),
        ),
        (all_at_once, with("schema", decimal)),
        (
            all_at_once,
            with(
                "dataAssetInfo",
                json!({"id": "0199c2a4-7d3e-7b10-9c55-2f1f4c9a0001"}),
            ),
        ),
        (
            [0, 100],
            format!(
                "{}\n{set}\n{}",
                "x".repeat(BODY_LIMIT + 1),
                " ".repeat(BODY_LIMIT + 1)
            ),
        ),
        (
            all_at_once,
            "{\"a\":1,\"a\":2}\n{\"version\":18446744073709551616}\n\"\u{0}".to_owned(),
        ),
        (
            [0, 3],
            with(
                "properties",
                json!({"deep": [[[[{"n": u64::MAX, "m": -1.5e-9}]]]]}),
            ),
        ),
        ([5, 0], format!("{asset}\n\u{feff}{asset}\nИ")),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::TARGETS;

    #[test]
    fn words_become_what_they_stand_for() {
        let words = [("{a}", "1"), ("{b}", "{a}")];
        assert_eq!(filled(b"{a}-{b}{c}{a", &words), b"1-{a}{c}{a");
        assert!(places().iter().all(|(_, text)| !text.is_empty()));
    }

    #[test]
    fn every_target_has_ten_and_each_its_own_name() {
        let seeds = seeds();
        for (target, _) in TARGETS {
            let names: Vec<&String> = (seeds.iter())
                .filter(|seed| seed.target == target)
                .map(|seed| &seed.name)
                .collect();
            assert!(names.len() >= 10, "{target}: {names:?}");
            assert_eq!(
                names.iter().collect::<BTreeSet<_>>().len(),
                names.len(),
                "{target}"
            );
        }
    }
}
