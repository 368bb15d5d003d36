//! What the fuzzers start from: at least ten inputs of each target that get past its first checks.

use serde_json::json;
use shelfmark::backend::Keyspace;
use shelfmark::{DataAsset, DataSet, DataStore, Query, Read as _};

use super::blocks::Blocks;
use super::fixture::{Fixture, session};
use super::sure;
use crate::environment::split_mix;

/// One input: its target, its name, its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The name of the target.
    pub target: &'static str,
    /// What it does, in a few words; unique in its target.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Every seed, the same each time.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: String, bytes: Vec<u8>| seeds.push(Seed { target, name, bytes });
    for (at, patch) in patches().into_iter().enumerate() {
        add("patch", format!("patch-{at:02}"), patch.into_bytes());
    }
    for (at, lines) in descriptors().into_iter().enumerate() {
        add("data_package", format!("descriptor-{at:02}"), lines.into_bytes());
    }
    for (at, (kind, text)) in texts().into_iter().enumerate() {
        let bytes = [&[kind], text.as_bytes()].concat();
        add("text", format!("text-{kind}-{at:02}"), bytes);
    }
    let fixture = Fixture::get();
    for (at, space) in fixture.spaces().into_iter().enumerate() {
        let (key, value) = first_row(fixture, space);
        let body = value.get(5..).unwrap_or_default();
        let name = space.name();
        let whole = [&[at as u8, 0], body].concat();
        if let Some(json) = whole.windows(2).position(|two| two == b"{\"") {
            let mut broken = whole.clone();
            broken[json + 1] = b'}';
            add("record", format!("broken-json-{name}"), broken);
        }
        add("record", format!("body-{name}"), whole);
        let index = space.index() as u8;
        add(
            "key",
            format!("moved-{name}"),
            [&[index, 1], &key[..key.len() - 1], b"\x07"].concat(),
        );
        add(
            "key",
            format!("longer-{name}"),
            [&[index, 0], key, b"\0"].concat(),
        );
    }
    for (at, block) in Blocks::get().all.iter().enumerate() {
        let (at, body, name) = (at as u8, &block.row[5..], block.space.name());
        add("block", format!("body-{at:02}-{name}"), [&[at, 0], body].concat());
        let cut = &body[..body.len() - 1];
        add("block", format!("cut-{at:02}-{name}"), [&[at, 0], cut].concat());
        let fence = [&block.fence[..], b"\0"].concat();
        let longer = [&[at, 0x80 | fence.len() as u8], &fence[..], body].concat();
        add("block", format!("twice-{at:02}-{name}"), longer);
    }
    let sequences = [
        ("operations", 0, 12, 40),
        ("storage_faults", 100, 16, 24),
        ("backend_faults", 200, 16, 24),
    ];
    for (target, first, count, length) in sequences {
        for n in 0..count {
            let mut state = first + n;
            let mut bytes: Vec<u8> = (0..4 + 4 * length)
                .map(|_| (split_mix(&mut state) >> 56) as u8)
                .collect();
            let n = n as u8;
            // Each place and kind of fault, at a call that comes.
            match target {
                "storage_faults" => bytes[..4].copy_from_slice(&[n ^ n << 3, n >> 2, 2 * n, 0]),
                "backend_faults" => bytes[..4].copy_from_slice(&[n, n >> 1, n / 3, n >> 2]),
                _ => {}
            }
            add(target, format!("sequence-{n:02}"), bytes);
        }
    }
    seeds
}

fn first_row(fixture: &Fixture, space: Keyspace) -> (&[u8], &[u8]) {
    let mut rows = fixture.rows.iter();
    match rows.find(|((of, _), _)| *of == space) {
        Some(((_, key), value)) => (key, value),
        None => unreachable!("the keyspaces are those with rows"),
    }
}

fn patches() -> Vec<String> {
    let deep = format!("{}0{}", "[".repeat(63), "]".repeat(63));
    let operations = [
        json!([]),
        json!([{"op": "replace", "path": "/name", "value": "Orders"}]),
        json!([{"op": "add", "path": "/tags/-", "value": "silver"}]),
        json!([{"op": "add", "path": "/tags/0", "value": "gold"}]),
        json!([{"op": "remove", "path": "/description"}]),
        json!([{"op": "test", "path": "/version", "value": 0.0}, {"op": "add", "path": "/description", "value": "x"}]),
        json!([{"op": "copy", "from": "/properties", "path": "/properties/again"}]),
        json!([{"op": "move", "from": "/properties/n", "path": "/properties/~0m~1"}]),
        json!([{"op": "move", "from": "/name", "path": ""}, {"op": "test", "path": "/name", "value": 1}]),
        json!([{"op": "add", "path": "/schema/dataFields/0/name", "value": ""}]),
        json!([{"op": "replace", "path": "/schema/dataFields/1/dataType", "value": {"type": "DECIMAL"}}]),
        json!([{"op": "add", "path": "/properties/big", "value": u64::MAX}]),
        json!([{"op": "replace", "path": "/id", "value": null}]),
        json!([{"op": "remove", "path": "/schema"}]),
        json!({"op": "add"}),
    ];
    let mut patches: Vec<String> = operations.iter().map(ToString::to_string).collect();
    patches.push(format!(
        r#"[{{"op":"add","path":"/properties/deep","value":{deep}}}]"#
    ));
    patches.push(format!(
        "[{}]",
        [r#"{"op":"copy","from":"/properties","path":"/properties/a"}"#; 20].join(",")
    ));
    patches
}

fn descriptors() -> Vec<String> {
    let field = |kind: &str| json!({"name": kind, "type": kind, "constraints": {"required": true}});
    let fields = [
        "string", "integer", "number", "boolean", "year", "duration", "any", "geojson", "unknown",
    ];
    let schema =
        json!({"fields": fields.map(field), "primaryKey": ["integer", "string"], "missingValues": [""]});
    let packages = [
        json!({"name": "gdp", "resources": []}),
        json!({"resources": []}),
        json!({"name": "a", "title": "A", "keywords": ["x", "x", "y"], "resources": [{"name": "r"}]}),
        json!({"name": "b", "sources": [{"title": " World "}], "resources": [{"path": "d/e.csv", "bytes": 12}]}),
        json!({"name": "c", "sources": [{"title": "world"}], "resources": [{"name": "r", "schema": schema}]}),
        json!({"name": "d", "resources": [{"name": "r", "schema": "s.json", "dialect": {"delimiter": ";"}}]}),
        json!({"name": "e", "resources": [{"name": "r", "schema": {"fields": [{"name": "\r"}, {}]}}]}),
        json!({"name": "f".repeat(300), "description": "é".repeat(1_100), "resources": []}),
        json!({"name": "g", "resources": {}}),
        json!({"name": "h", "resources": [{"name": "r", "data": [[1, 2.5, null]], "hash": "%:"}]}),
    ];
    let mut descriptors: Vec<String> = packages.iter().map(ToString::to_string).collect();
    descriptors.push(descriptors.join("\n"));
    descriptors.push("{\"name\": \"twice\", \"name\": \"twice\", \"resources\": []}\n".to_owned());
    descriptors
}

fn texts() -> Vec<(u8, String)> {
    let mut texts: Vec<(u8, String)> = [
        (0, "name"),
        (0, "-technicalName,+lastModifiedTime"),
        (0, "description,-id"),
        (0, "dataAssetInfo.dataStoreInfo.name"),
        (0, "tags"),
        (1, "id"),
        (1, "name,schema.dataFields.name,properties.n"),
        (1, "dataAssetInfo.dataStoreInfo.name,,"),
        (5, "acme"),
        (5, "İstanbul ǆ ß"),
        (5, " "),
        (6, "qri:orders"),
        (6, "SET"),
        (7, "2024-02-29T23:59:60.999+05:30"),
        (7, "-262143-01-01T00:00:00Z"),
        (7, "request-1"),
    ]
    .map(|(kind, text)| (kind, text.to_owned()))
    .to_vec();
    let fixture = Fixture::get();
    let session = session(&sure(Fixture::open(&fixture.rows)));
    let names = sure(session.list(&Query::<DataStore>::new().sort("name").limit(1)));
    let assets = sure(session.list(&Query::<DataAsset>::new().limit(0)));
    let sets = sure(session.list(&Query::<DataSet>::new().sort("-technicalName").limit(1)));
    let cursors = [names.next, assets.next, sets.next].into_iter().flatten();
    texts.extend(cursors.map(|cursor| (2, cursor.to_string())));
    texts.extend(
        sure(session.changes(None, 2))
            .items
            .iter()
            .map(|change| (3, change.position.to_string())),
    );
    texts.push((3, sure(session.newest_change()).to_string()));
    texts.push((4, format!("1700000000000-{}", fixture.asset.uuid().simple())));
    texts.push((4, format!("-1-{}", fixture.asset.uuid().simple())));
    texts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fuzz::TARGETS;

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
        // Cursors of the catalog, not of another.
        assert!(
            seeds
                .iter()
                .filter(|seed| seed.name.starts_with("text-2"))
                .count()
                >= 2
        );
    }
}
