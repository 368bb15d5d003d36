//! JSON Patch by example, at its bounds, and against another implementation. One file: all of it is about what one call makes of one document, with the same
//! few helpers.

use proptest::prelude::*;
use serde_json::json;

use super::apply::{MAX_BYTES, MAX_LEVELS, MAX_NODES, SIBLINGS_PER_NODE, Target, check_paths};
use super::*;
use crate::ErrorKind;
use crate::entity::shape::{Shape, entity};
use crate::ids::EntityKind;

fn patch(operations: &Value) -> Patch {
    Patch::from_value(operations.clone()).unwrap()
}

/// The result on a document of free JSON.
fn run(document: &Value, operations: &Value) -> Result<Value> {
    apply(&patch(operations), document.clone(), Shape::Free)
}

fn gives(document: &Value, operations: &Value, expected: &Value) {
    let result = run(document, operations).unwrap();
    // As text: the order of members counts.
    assert_eq!(result.to_string(), expected.to_string(), "{operations}");
}

fn pointers(error: &Error) -> Vec<&str> {
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error
        .violations()
        .iter()
        .map(|violation| violation.pointer.as_str())
        .collect()
}

fn refused(document: &Value, operations: &Value, pointer: &str) {
    let error = run(document, operations).unwrap_err();
    assert_eq!(pointers(&error), [pointer], "{error}");
}

fn test_fails(document: &Value, operations: &Value) {
    let error = run(document, operations).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PatchTestFailed, "{operations}: {error}");
}

fn malformed(operations: &Value, expected: &[&str]) {
    let error = Patch::from_value(operations.clone()).unwrap_err();
    assert_eq!(pointers(&error), expected, "{error}");
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn bytes(value: &Value) -> usize {
    serde_json::to_vec(value).unwrap().len()
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(0), |inner, level| {
        if level % 2 == 0 {
            json!([inner])
        } else {
            json!({"k": inner})
        }
    })
}

// Reading.

#[test]
fn every_malformed_operation_is_reported() {
    malformed(
        &json!([
            {"op": "add", "path": "/a", "value": 1},
            {"op": "add", "path": "a"},
            {"op": "replace", "path": "/~2", "value": 1},
            {"op": "move", "path": "/a"},
            {"op": "copy", "path": "/a", "from": 7},
            {"op": "Remove", "path": "/a"},
            {"path": "/a"},
            {"op": null},
            {"op": "remove"},
            "remove",
            {"op": "move", "from": "a~", "path": "/a~"},
            {"op": "test", "path": "/a"},
        ]),
        &[
            "/1/path",
            "/1/value",
            "/2/path",
            "/3/from",
            "/4/from",
            "/5/op",
            "/6/op",
            "/7/op",
            "/7/path",
            "/8/path",
            "/9",
            "/10/path",
            "/10/from",
            "/11/value",
        ],
    );
}

#[test]
fn a_patch_is_a_list() {
    for other in [
        json!({}),
        json!(null),
        json!("[]"),
        json!({"op": "remove", "path": "/a"}),
    ] {
        malformed(&other, &[""]);
    }
    assert!(Patch::from_json(b"[]").unwrap().is_empty());
}

#[test]
fn what_rfc_6902_does_not_define_is_ignored() {
    let read = patch(&json!([{"op": "remove", "path": "/a", "from": 7, "value": 1, "comment": "x"}]));
    assert_eq!(read, Patch::new().remove("/a").unwrap());
    // The curl line of the reference: its `from` is ignored, its `path` is none.
    malformed(
        &json!([{"op": "add", "from": "string", "path": "string", "value": {}}]),
        &["/0/path"],
    );
}

#[test]
fn the_text_is_read_strictly() {
    let read = |text: &str| Patch::from_json(text.as_bytes()).unwrap_err();
    assert_eq!(pointers(&read("[")), [""]);
    assert_eq!(
        pointers(&read(
            r#"[{"op": "add", "path": "/a", "value": 1, "op": "remove"}]"#
        )),
        ["/0/op"]
    );
    let wide = r#"[{"op": "add", "path": "/a", "value": {"b": [18446744073709551616]}}]"#;
    assert_eq!(pointers(&read(wide)), ["/0/value/b/0"]);
}

#[test]
fn a_thousand_operations_and_no_more() {
    let operations = |count| Value::Array(vec![json!({"op": "remove", "path": "/a"}); count]);
    assert_eq!(patch(&operations(1000)).len(), 1000);
    let mut many = operations(1001);
    many[0] = json!("malformed, and not looked at");
    malformed(&many, &[""]);
    let full = patch(&operations(1000));
    assert_eq!(pointers(&full.remove("/a").unwrap_err()), [""]);
    assert!(serde_json::from_value::<Patch>(many).is_err());
}

#[test]
fn the_constructors_make_what_is_read() {
    let operations = json!([
        {"op": "test", "path": "/a", "value": null},
        {"op": "add", "path": "/b~1c", "value": {"d": [1.5]}},
        {"op": "replace", "path": "/a", "value": "x"},
        {"op": "move", "from": "/a", "path": "/e"},
        {"op": "copy", "from": "/e", "path": "/f"},
        {"op": "remove", "path": "/e"},
    ]);
    let built = (|| {
        Patch::new()
            .test("/a", Value::Null)?
            .add("/b~1c", json!({"d": [1.5]}))?
            .replace("/a", "x")?
            .move_("/a", "/e")?
            .copy("/e", "/f")?
            .remove("/e")
    })()
    .unwrap();
    assert_eq!(built, patch(&operations));
    assert_eq!(serde_json::to_value(&built).unwrap(), operations);
    assert_eq!(serde_json::from_value::<Patch>(operations).unwrap(), built);
    assert_eq!(pointers(&built.clone().copy("e", "/f").unwrap_err()), ["/6/from"]);
    assert_eq!(pointers(&built.test("/~", 1).unwrap_err()), ["/6/path"]);
}

// The operations, case by case as RFC 6902 gives them in its appendix.

#[test]
fn add() {
    let set = json!({"kind": "table", "tags": ["raw", "eu"]});
    gives(
        &set,
        &json!([{"op": "add", "path": "/rows", "value": 7}]),
        &json!({"kind": "table", "tags": ["raw", "eu"], "rows": 7}),
    );
    gives(
        &set,
        &json!([{"op": "add", "path": "/kind", "value": null}]),
        &json!({"kind": null, "tags": ["raw", "eu"]}),
    );
    for (index, expected) in [
        ("0", json!(["x", "raw", "eu"])),
        ("1", json!(["raw", "x", "eu"])),
        ("2", json!(["raw", "eu", "x"])),
    ] {
        let operations = json!([{"op": "add", "path": format!("/tags/{index}"), "value": "x"}]);
        gives(&set, &operations, &json!({"kind": "table", "tags": expected}));
    }
    gives(
        &set,
        &json!([{"op": "add", "path": "/tags/-", "value": ["x", 1]}]),
        &json!({"kind": "table", "tags": ["raw", "eu", ["x", 1]]}),
    );
    gives(
        &set,
        &json!([{"op": "add", "path": "/owner", "value": {"team": {}}}, {"op": "add", "path": "/owner/team/lead", "value": "ann"}]),
        &json!({"kind": "table", "tags": ["raw", "eu"], "owner": {"team": {"lead": "ann"}}}),
    );
    gives(
        &json!({}),
        &json!([{"op": "add", "path": "/", "value": 1}, {"op": "add", "path": "/a~1b~0c", "value": 2}]),
        &json!({"": 1, "a/b~c": 2}),
    );
    for path in [
        "/owner/team",
        "/kind/x",
        "/tags/3",
        "/tags/00",
        "/tags/01",
        "/tags/+1",
        "/tags/1e0",
        "/tags/",
        "/tags/x",
        "/tags/-/x",
    ] {
        refused(&set, &json!([{"op": "add", "path": path, "value": 1}]), "/0/path");
    }
    refused(
        &set,
        &json!([{"op": "add", "path": "/tags/99999999999999999999999", "value": 1}]),
        "/0/path",
    );
}

#[test]
fn remove_keeps_the_order_of_the_others() {
    let store = json!({"a": 1, "b": [1, 2, 3], "c": {"d": 4}, "e": 5});
    gives(
        &store,
        &json!([{"op": "remove", "path": "/a"}]),
        &json!({"b": [1, 2, 3], "c": {"d": 4}, "e": 5}),
    );
    gives(
        &store,
        &json!([{"op": "remove", "path": "/b/1"}, {"op": "remove", "path": "/c/d"}]),
        &json!({"a": 1, "b": [1, 3], "c": {}, "e": 5}),
    );
    for path in ["/x", "/b/3", "/b/-", "/b/01", "/c/d/e", "/x/y"] {
        refused(&store, &json!([{"op": "remove", "path": path}]), "/0/path");
    }
}

#[test]
fn replace_keeps_the_place() {
    let store = json!({"a": 1, "b": [1, 2, 3], "c": null});
    gives(
        &store,
        &json!([
            {"op": "replace", "path": "/a", "value": {"x": []}},
            {"op": "replace", "path": "/b/0", "value": null},
            {"op": "replace", "path": "/c", "value": "was null"},
        ]),
        &json!({"a": {"x": []}, "b": [null, 2, 3], "c": "was null"}),
    );
    for path in ["/x", "/b/3", "/b/-", "/b/00", "/a/b"] {
        refused(
            &store,
            &json!([{"op": "replace", "path": path, "value": 1}]),
            "/0/path",
        );
    }
}

#[test]
fn move_takes_away_first() {
    let shelf = json!({"a": {"x": 1, "y": 2}, "b": {"z": 3}, "l": ["p", "q", "r", "s"]});
    gives(
        &shelf,
        &json!([{"op": "move", "from": "/a/x", "path": "/b/x"}]),
        &json!({"a": {"y": 2}, "b": {"z": 3, "x": 1}, "l": ["p", "q", "r", "s"]}),
    );
    gives(
        &shelf,
        &json!([{"op": "move", "from": "/l/1", "path": "/l/3"}]),
        &json!({"a": {"x": 1, "y": 2}, "b": {"z": 3}, "l": ["p", "r", "s", "q"]}),
    );
    gives(
        &shelf,
        &json!([{"op": "move", "from": "/l/3", "path": "/l/0"}, {"op": "move", "from": "/a", "path": "/l/-"}]),
        &json!({"b": {"z": 3}, "l": ["s", "p", "q", "r", {"x": 1, "y": 2}]}),
    );
    gives(
        &shelf,
        &json!([{"op": "move", "from": "/a/x", "path": "/a"}]),
        &json!({"a": 1, "b": {"z": 3}, "l": ["p", "q", "r", "s"]}),
    );
    gives(
        &shelf,
        &json!([{"op": "move", "from": "/a", "path": "/a"}, {"op": "move", "from": "/l/2", "path": "/l/2"}]),
        &shelf,
    );
    // Beyond the end once the element is gone.
    refused(
        &shelf,
        &json!([{"op": "move", "from": "/l/0", "path": "/l/4"}]),
        "/0/path",
    );
    refused(
        &shelf,
        &json!([{"op": "move", "from": "/l/-", "path": "/a"}]),
        "/0/from",
    );
    refused(
        &shelf,
        &json!([{"op": "move", "from": "/none", "path": "/none"}]),
        "/0/from",
    );
    refused(
        &shelf,
        &json!([{"op": "move", "from": "/none", "path": "/a"}]),
        "/0/from",
    );
    refused(
        &shelf,
        &json!([{"op": "move", "from": "/a", "path": "/none/x"}]),
        "/0/path",
    );
    refused(
        &shelf,
        &json!([{"op": "move", "from": "/a", "path": "/a/x/y"}]),
        "/0/path",
    );
    refused(
        &shelf,
        &json!([{"op": "move", "from": "/a", "path": "/a/"}]),
        "/0/path",
    );
    gives(
        &json!({"a": 1}),
        &json!([{"op": "move", "from": "/a", "path": "/ab"}]),
        &json!({"ab": 1}),
    );
}

#[test]
fn copy_also_into_itself() {
    let shelf = json!({"a": {"x": [1]}, "l": []});
    gives(
        &shelf,
        &json!([{"op": "copy", "from": "/a/x", "path": "/l/0"}, {"op": "copy", "from": "/a", "path": "/a/x"}]),
        &json!({"a": {"x": {"x": [1]}}, "l": [[1]]}),
    );
    gives(
        &shelf,
        &json!([{"op": "copy", "from": "/a", "path": "/a"}]),
        &shelf,
    );
    refused(
        &shelf,
        &json!([{"op": "copy", "from": "/b", "path": "/a"}]),
        "/0/from",
    );
    refused(
        &shelf,
        &json!([{"op": "copy", "from": "/l/-", "path": "/a"}]),
        "/0/from",
    );
    refused(
        &shelf,
        &json!([{"op": "copy", "from": "/a", "path": "/l/1"}]),
        "/0/path",
    );
}

#[test]
fn test_compares_json() {
    let shelf = json!({"~1": 10, "/": 9, "t": "10", "n": null, "l": [1, {"a": 1, "b": [true]}], "e": {}});
    for (path, value) in [
        ("/~01", json!(10)),
        ("/~1", json!(9)),
        ("/t", json!("10")),
        ("/n", json!(null)),
        ("/l/1", json!({"b": [true], "a": 1.0})),
        ("/l", json!([1.0, {"a": 1, "b": [true]}])),
        ("/e", json!({})),
    ] {
        gives(
            &shelf,
            &json!([{"op": "test", "path": path, "value": value}]),
            &shelf,
        );
    }
    for (path, value) in [
        ("/~01", json!("10")),
        ("/t", json!(10)),
        ("/n", json!(false)),
        ("/n", json!(0)),
        ("/l", json!([{"a": 1, "b": [true]}, 1])),
        ("/l", json!([1])),
        ("/l/1", json!({"a": 1, "b": [true], "c": null})),
        ("/l/1", json!({"a": 1, "c": [true]})),
        ("/e", json!([])),
        ("/e", json!(null)),
        // What does not exist equals nothing.
        ("/x", json!(null)),
        ("/x/y", json!(null)),
        ("/t/y", json!(null)),
        ("/l/2", json!(null)),
        ("/l/-", json!(null)),
        ("/l/99999999999999999999999", json!(null)),
    ] {
        test_fails(&shelf, &json!([{"op": "test", "path": path, "value": value}]));
    }
    refused(
        &shelf,
        &json!([{"op": "test", "path": "/l/01", "value": 1}]),
        "/0/path",
    );
}

#[test]
fn numbers_compare_by_value() {
    let equal = |one: Value, other: Value| {
        for (one, other) in [(&one, &other), (&other, &one)] {
            let operations = json!([{"op": "test", "path": "/n", "value": other}]);
            gives(&json!({"n": one}), &operations, &json!({"n": one}));
        }
    };
    let different = |one: Value, other: Value| {
        for (one, other) in [(&one, &other), (&other, &one)] {
            test_fails(
                &json!({"n": one}),
                &json!([{"op": "test", "path": "/n", "value": other}]),
            );
        }
    };
    equal(json!(1), json!(1.0));
    equal(json!(0), json!(-0.0));
    equal(json!(0.0), json!(-0.0));
    equal(json!(-3), json!(-3.0));
    equal(json!(i64::MIN), json!(-9223372036854775808.0));
    equal(json!(1e19), json!(10_000_000_000_000_000_000_u64));
    equal(json!(1e300), json!(1e300));
    different(json!(9_007_199_254_740_993_u64), json!(9007199254740992.0));
    different(json!(u64::MAX), json!(18446744073709551616.0));
    different(json!(i64::MAX), json!(9223372036854775808.0));
    different(json!(u64::MAX), json!(-1));
    different(json!(1), json!(1.5));
    different(json!(0), json!(5e-324));
    different(json!(1e300), json!(-1e300));
    different(json!(1e300), json!(7));
}

#[test]
fn a_failing_test_names_operation_and_path() {
    let operations =
        json!([{"op": "add", "path": "/a", "value": 1}, {"op": "test", "path": "/a/b", "value": 1}]);
    let error = run(&json!({}), &operations).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PatchTestFailed);
    assert!(error.to_string().contains("\"/a/b\" in operation 1"), "{error}");
}

// What the entity knows.

#[test]
fn paths_are_checked_against_the_entity() {
    let set = || json!({"schema": {"dataFields": [{"name": "a", "tags": []}]}, "tags": ["x"]});
    let go = |operations: Value| apply(&patch(&operations), set(), entity(EntityKind::Set));
    for path in [
        "/qri",
        "/schema",
        "/schema/loadOptions",
        "/schema/dataFields/0",
        "/schema/dataFields/-",
        "/schema/dataFields/0/properties",
        "/schema/dataFields/0/tags/0",
        "/additionalSchemas",
        "/properties",
        "/version",
        "/tags/0",
    ] {
        assert!(
            go(json!([{"op": "add", "path": path, "value": 1}])).is_ok(),
            "{path}"
        );
    }
    let known = json!([
        {"op": "add", "path": "/properties", "value": {"any": {}}},
        {"op": "add", "path": "/properties/any/thing", "value": {"unknown": 1}},
        {"op": "add", "path": "/operational", "value": {"notAField": 1}},
    ]);
    assert!(go(known).is_ok(), "only the path is checked, not what is added");
    let error = go(json!([
        {"op": "test", "path": "/name", "value": "this would fail"},
        {"op": "add", "path": "/nam", "value": 1},
        {"op": "test", "path": "/schema/dataFields/0/nam", "value": 1},
        {"op": "copy", "from": "/tagz", "path": "/tags/0/x"},
        {"op": "move", "from": "/tags/00", "path": "/tags/name"},
        {"op": "remove", "path": "/schema/dataFields/name"},
        {"op": "add", "path": "/", "value": 1},
        {"op": "copy", "from": "", "path": ""},
        {"op": "move", "from": "/schema", "path": "/schema/loadOptions/x"},
    ]))
    .unwrap_err();
    assert_eq!(
        pointers(&error),
        [
            "/1/path", "/2/path", "/3/from", "/3/path", "/4/from", "/4/path", "/5/path", "/6/path",
            "/7/from", "/7/path", "/8/path"
        ]
    );
    assert_eq!(error.violations()[0].message, "unknown field \"nam\"");
    // Known, but not there.
    let error = go(json!([{"op": "test", "path": "/name", "value": null}])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PatchTestFailed);
    let error = go(json!([{"op": "add", "path": "/operational/size", "value": 1}])).unwrap_err();
    assert_eq!(pointers(&error), ["/0/path"]);
}

#[test]
fn a_hostile_token_makes_no_hostile_message() {
    let path = format!("/{}", "é".repeat(500_000));
    let error = apply(
        &Patch::new().remove(&path).unwrap(),
        json!({}),
        entity(EntityKind::Store),
    )
    .unwrap_err();
    assert!(error.to_string().len() < 200);
    let error = apply(&Patch::new().remove(&path).unwrap(), json!({}), Shape::Free).unwrap_err();
    assert!(error.to_string().len() < 200);
    let error = apply(&Patch::new().test(&path, 1).unwrap(), json!({}), Shape::Free).unwrap_err();
    assert!(error.to_string().len() < 300);
}

// The known defects of json-patch 5.0.

#[test]
fn a_failing_move_loses_nothing() {
    let document = json!({"a": 1, "b": 2});
    let operations = json!([{"op": "move", "from": "/a", "path": "/none/x"}]);
    let mut theirs = document.clone();
    json_patch::patch(&mut theirs, &patch(&operations).operations).unwrap_err();
    assert_ne!(theirs, document, "mended there: apply with json-patch?");
    refused(&document, &operations, "/0/path");
}

#[test]
fn the_root_is_refused() {
    let document = json!({"a": {"b": 1}});
    for operations in [
        json!([{"op": "move", "from": "/a", "path": ""}, {"op": "test", "path": "/b", "value": 2}]),
        json!([{"op": "add", "path": "", "value": {}}]),
        json!([{"op": "remove", "path": ""}]),
        json!([{"op": "replace", "path": "", "value": 1}]),
        json!([{"op": "test", "path": "", "value": document}]),
        json!([{"op": "copy", "from": "/a", "path": ""}]),
    ] {
        refused(&document, &operations, "/0/path");
    }
    refused(
        &document,
        &json!([{"op": "move", "from": "", "path": "/a"}]),
        "/0/from",
    );
    refused(
        &document,
        &json!([{"op": "copy", "from": "", "path": "/a"}]),
        "/0/from",
    );
}

#[test]
fn ten_thousand_copies_of_the_root_are_not_looked_at() {
    let operations = Value::Array(vec![json!({"op": "copy", "from": "", "path": "/a"}); 10_000]);
    malformed(&operations, &[""]);
    // Nor does a nest grow beyond its bound through copies of a member.
    let operations = Value::Array(vec![json!({"op": "copy", "from": "/a", "path": "/a/k"}); 1000]);
    refused(
        &json!({"a": {"k": 0}}),
        &operations,
        &format!("/{}", MAX_LEVELS - 2),
    );
}

#[test]
fn doubling_is_stopped_at_the_bound() {
    let operations: Vec<Value> = (0..24)
        .map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"}))
        .collect();
    let document = json!({"a": ["x".repeat(100)]});
    // Each copy doubles the list and adds a level.
    let error = run(&document, &Value::Array(operations)).unwrap_err();
    assert_eq!(pointers(&error), ["/13"], "{error}");
    assert!(error.to_string().contains("1048576 bytes"), "{error}");
}

// The bounds, each from both sides.

#[test]
fn the_levels_are_bounded() {
    let deep = |levels| json!([{"op": "add", "path": "/a", "value": nested(levels)}]);
    assert_eq!(
        depth(&run(&json!({}), &deep(MAX_LEVELS - 1)).unwrap()),
        MAX_LEVELS
    );
    refused(&json!({}), &deep(MAX_LEVELS), "/0");
    let document = json!({"a": nested(MAX_LEVELS - 1), "b": {}, "l": [[]]});
    for op in ["move", "copy"] {
        assert!(run(&document, &json!([{"op": op, "from": "/a", "path": "/c"}])).is_ok());
        refused(
            &document,
            &json!([{"op": op, "from": "/a", "path": "/b/c"}]),
            "/0",
        );
        refused(
            &document,
            &json!([{"op": op, "from": "/a", "path": "/l/0/0"}]),
            "/0",
        );
    }
    refused(
        &document,
        &json!([{"op": "replace", "path": "/l/0", "value": nested(MAX_LEVELS - 1)}]),
        "/0",
    );
    assert!(
        run(
            &document,
            &json!([{"op": "replace", "path": "/l/0", "value": nested(MAX_LEVELS - 2)}])
        )
        .is_ok()
    );
    // Too deep before: whatever the operations are.
    let error = run(&nested(MAX_LEVELS + 1), &json!([])).unwrap_err();
    assert_eq!(pointers(&error), [""]);
    assert!(run(&nested(MAX_LEVELS), &json!([])).is_ok());
}

#[test]
fn values_of_a_million_levels_do_not_overflow_the_stack() {
    let deep = (0..1_000_000).fold(json!(0), |inner, _| Value::Array(vec![inner]));
    let take_apart = |value: &mut Value| {
        let mut level = Some(value.take());
        while let Some(Value::Array(mut items)) = level {
            level = items.pop();
        }
    };
    let mut added = Patch::new().add("/a", deep).unwrap();
    assert_eq!(
        pointers(&apply(&added, json!({}), Shape::Free).unwrap_err()),
        ["/0"]
    );
    if let PatchOperation::Add(operation) = &mut added.operations[0] {
        let mut tested = Patch::new().test("/a", operation.value.take()).unwrap();
        let error = apply(&tested, json!({"a": nested(60)}), Shape::Free).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PatchTestFailed);
        if let PatchOperation::Test(operation) = &mut tested.operations[0] {
            take_apart(&mut operation.value);
        }
    }
}

#[test]
fn the_size_is_bounded_to_the_byte() {
    // {"a":"…"} is 8 bytes beside the text.
    let text = |bytes: usize| "x".repeat(bytes);
    let document = json!({"a": text(MAX_BYTES - 8)});
    assert_eq!(bytes(&document), MAX_BYTES);
    assert!(run(&document, &json!([])).is_ok());
    assert!(
        run(
            &document,
            &json!([{"op": "replace", "path": "/a", "value": text(MAX_BYTES - 8)}])
        )
        .is_ok()
    );
    assert!(run(&document, &json!([{"op": "move", "from": "/a", "path": "/b"}])).is_ok());
    refused(
        &document,
        &json!([{"op": "replace", "path": "/a", "value": text(MAX_BYTES - 7)}]),
        "/0",
    );
    refused(&document, &json!([{"op": "add", "path": "/b", "value": 1}]), "/0");
    refused(
        &document,
        &json!([{"op": "move", "from": "/a", "path": "/bb"}]),
        "/0",
    );
    refused(
        &document,
        &json!([{"op": "copy", "from": "/a", "path": "/b"}]),
        "/0",
    );
    // Too large in between does not help.
    refused(
        &document,
        &json!([{"op": "add", "path": "/b", "value": 1}, {"op": "remove", "path": "/a"}]),
        "/0",
    );
    assert!(
        run(
            &document,
            &json!([{"op": "remove", "path": "/a"}, {"op": "add", "path": "/b", "value": 1}])
        )
        .is_ok()
    );
    let error = run(
        &json!({"a": text(MAX_BYTES - 7)}),
        &json!([{"op": "remove", "path": "/a"}]),
    )
    .unwrap_err();
    assert_eq!(pointers(&error), [""]);
}

#[test]
fn every_character_counts_as_it_is_written() {
    for character in ('\0'..='\u{ff}').chain(['\u{7ff}', '\u{2028}', '\u{ffff}', '😀']) {
        let document = json!({character.to_string(): character.to_string()});
        let size = Target::new(document.clone()).unwrap().bytes;
        assert_eq!(size, bytes(&document), "{character:?}");
    }
}

#[test]
fn what_is_copied_and_compared_is_bounded() {
    // A list and its elements.
    let list = Value::Array(vec![json!(1); 9_999]);
    let times = |count: usize, operation: Value| Value::Array(vec![operation; count]);
    for operation in [
        json!({"op": "test", "path": "/a", "value": list}),
        json!({"op": "copy", "from": "/a", "path": "/b"}),
        json!({"op": "add", "path": "/b", "value": list}),
        json!({"op": "replace", "path": "/b", "value": list}),
    ] {
        let document = json!({"a": list, "b": 1});
        assert_eq!(MAX_NODES, 100 * 10_000);
        assert!(run(&document, &times(100, operation.clone())).is_ok());
        refused(&document, &times(101, operation), "/100");
    }
    // To move deeper is to measure the levels.
    let there_and_back: Vec<Value> = (0..101)
        .flat_map(|_| {
            [
                json!({"op": "move", "from": "/a", "path": "/b/a"}),
                json!({"op": "move", "from": "/b/a", "path": "/a"}),
            ]
        })
        .collect();
    let document = json!({"a": list, "b": {}});
    assert!(run(&document, &Value::Array(there_and_back[..200].to_vec())).is_ok());
    refused(&document, &Value::Array(there_and_back), "/200");
}

#[test]
fn siblings_that_move_are_charged_a_little() {
    let list = Value::Array(vec![json!(1); 200_000]);
    let document = json!({"a": list});
    let removes = Value::Array(vec![json!({"op": "remove", "path": "/a/0"}); 1000]);
    let each = 199_500 / SIBLINGS_PER_NODE as u64;
    assert!(each * 1000 > MAX_NODES);
    assert!(run(&document, &removes).is_err());
    let removes = Value::Array(vec![json!({"op": "remove", "path": "/a/199000"}); 1000]);
    assert!(run(&document, &removes).is_ok());
    // A schema of 10,000 fields loses its first thousand.
    let document = json!({"a": vec![1; 10_000]});
    let removes = Value::Array(vec![json!({"op": "remove", "path": "/a/0"}); 1000]);
    assert!(run(&document, &removes).is_ok());
}

// Against json-patch, and against a full recount.

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]", 1 => "[a~/\"\\\\\u{1}é0-]{0,2}"]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-2i64..3).prop_map(Value::from),
        prop_oneof![Just(0.5), Just(1e300), Just(-1.25e-7), Just(1e16)].prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[a\"\\\\\n\u{0}\u{1f}\u{7f}é😀/]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_key(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_document() -> impl Strategy<Value = Value> {
    prop::collection::vec((any_key(), any_value()), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn every_pointer(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let pointer = json::child(at, key);
                every_pointer(member, &pointer, found);
                found.push(pointer);
            }
            found.push(json::child(at, "new"));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let pointer = json::child(at, &index.to_string());
                every_pointer(item, &pointer, found);
                found.push(pointer);
            }
            found.push(json::child(at, &items.len().to_string()));
            found.push(json::child(at, "-"));
        }
        _ => {}
    }
}

/// One operation, as random numbers; it becomes concrete on the document it meets, so that most of them apply.
type Seed = (u8, prop::sample::Index, prop::sample::Index, Value);

fn concrete((op, path, from, value): &Seed, document: &Value) -> Option<Value> {
    let mut pointers = Vec::new();
    every_pointer(document, "", &mut pointers);
    let path = path.get(&pointers);
    let from = from.get(&pointers);
    let here = document.pointer(path);
    Some(match op % 6 {
        0 => json!({"op": "add", "path": path, "value": value}),
        1 => json!({"op": "remove", "path": path}),
        2 => json!({"op": "replace", "path": path, "value": value}),
        3 => json!({"op": "move", "from": from, "path": path}),
        4 => json!({"op": "copy", "from": from, "path": path}),
        _ => json!({"op": "test", "path": path, "value": here.unwrap_or(value)}),
    })
}

/// One operation as `apply` does it.
fn step(target: &mut Target, operation: &PatchOperation) -> Result<()> {
    check_paths(
        &Patch {
            operations: vec![operation.clone()],
        },
        Shape::Free,
    )?;
    target.run(operation).map_err(|failure| failure.of(0, operation))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn does_what_json_patch_does(document in any_document(), seeds in prop::collection::vec(any::<(u8, prop::sample::Index, prop::sample::Index)>(), 1..12), values in prop::collection::vec(any_value(), 12)) {
        let mut target = Target::new(document).unwrap();
        for ((op, path, from), value) in seeds.into_iter().zip(values) {
            let Some(operation) = concrete(&(op, path, from, value), &target.document) else { continue };
            let operation = patch(&json!([operation])).operations.remove(0);
            let before = target.document.clone();
            let mut theirs = before.clone();
            let outcome = json_patch::patch_unsafe(&mut theirs, std::slice::from_ref(&operation));
            let ours = step(&mut target, &operation);
            prop_assert_eq!(outcome.is_ok(), ours.is_ok(), "{} on {}: {:?} {:?}", &operation, before, outcome, ours);
            if ours.is_err() {
                // The document is of no further use: `apply` drops it.
                target = Target::new(before).unwrap();
                continue;
            }
            prop_assert_eq!(&target.document, &theirs, "{}", &operation);
            prop_assert_eq!(target.bytes, bytes(&target.document), "{} on {}", &operation, before);
            prop_assert!(depth(&target.document) <= MAX_LEVELS);
        }
    }

}

proptest! {
    // Each document is large: few of them.
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_bounds_hold_after_success_and_fail_for_a_reason(levels in MAX_LEVELS - 14..MAX_LEVELS, text in 0usize..3, seeds in prop::collection::vec(any::<(u8, prop::sample::Index, prop::sample::Index)>(), 1..12)) {
        let document = json!({"d": nested(levels), "s": "\u{1}\"".repeat(text * 60_000), "l": [[{}]]});
        let mut target = Target::new(document).unwrap();
        for (op, path, from) in seeds {
            let Some(operation) = concrete(&(op, path, from, nested(8)), &target.document) else { continue };
            let operation = patch(&json!([operation])).operations.remove(0);
            let before = target.document.clone();
            let ours = step(&mut target, &operation);
            let mut theirs = before.clone();
            let fits = json_patch::patch_unsafe(&mut theirs, std::slice::from_ref(&operation)).is_ok()
                && depth(&theirs) <= MAX_LEVELS && bytes(&theirs) <= MAX_BYTES;
            prop_assert_eq!(fits, ours.is_ok(), "{}: {:?}", &operation, ours);
            if ours.is_err() {
                target = Target::new(before).unwrap();
            } else {
                prop_assert_eq!(target.bytes, bytes(&target.document));
            }
        }
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(document in any_value(), operations in prop::collection::vec((
        prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test", "x"]),
        "(/[ab0-9~-]{0,2}){0,3}|[ab/~]{0,3}", "(/[ab01-]{0,2}){0,3}", any_value(),
    ), 0..6), store: bool) {
        let operations: Vec<Value> = operations.into_iter()
            .map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}))
            .collect();
        if let Ok(patch) = Patch::from_json(Value::Array(operations).to_string().as_bytes()) {
            let shape = if store { entity(EntityKind::Store) } else { Shape::Free };
            if let Ok(result) = apply(&patch, document, shape) {
                prop_assert!(bytes(&result) <= MAX_BYTES && depth(&result) <= MAX_LEVELS);
            }
        }
    }
}
