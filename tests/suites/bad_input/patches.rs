//! Patches.

use super::*;

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
