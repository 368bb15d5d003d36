use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ErrorKind;
use crate::violations::LISTED;

/// The pointers and messages of what is wrong with a text.
fn violations(text: &[u8]) -> Vec<(String, String)> {
    let error = parse(text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error
        .violations()
        .iter()
        .map(|violation| (violation.pointer.clone(), violation.message.clone()))
        .collect()
}

fn pointers(text: &str) -> Vec<String> {
    violations(text.as_bytes())
        .into_iter()
        .map(|(pointer, _)| pointer)
        .collect()
}

fn one(pointer: &str, message: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), message.to_owned())]
}

#[test]
fn pointers_are_escaped() {
    assert_eq!(child("", "a"), "/a");
    assert_eq!(child("/a", ""), "/a/");
    assert_eq!(child("/a", "b/c~d~1"), "/a/b~1c~0d~01");
}

#[test]
fn well_formed_documents_are_read_in_order() {
    let text = r#" {"z": [1, -2, 2.5, true, null, "\u00e9\n"], "a": {}, "m": {"y": [], "b": ""}} "#;
    let value = parse(text.as_bytes()).unwrap();
    assert_eq!(
        value,
        json!({"z": [1, -2, 2.5, true, null, "é\n"], "a": {}, "m": {"y": [], "b": ""}})
    );
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["z", "a", "m"]);
}

#[test]
fn malformed_text_is_one_violation_with_its_place() {
    for (text, place) in [
        (&b""[..], "line 1 column 0"),
        (b"  ", "line 1 column 2"),
        (b"{\n\"a\": }", "line 2 column 6"),
        (b"[1] 2", "line 1 column 5"),
        (b"[1,]", "line 1 column 4"),
        (b"{\"a\":1,}", "line 1 column 8"),
        (b"[01]", "line 1 column 3"),
        (b"[\"\xff\"]", "line 1 column 3"),
        (b"\xff", "line 1 column 1"),
        (b"\xef\xbb\xbf[]", "line 1 column 1"),
        (b"\"\\ud800\"", "line 1 column 8"),
        (b"NaN", "line 1 column 1"),
        (b"{\"a\":1,\"a\":2", "line 1 column 12"),
        (b"[1e999,\n}", "line 2 column 1"),
    ] {
        let found = violations(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, "");
        assert!(found[0].1.starts_with("cannot be read as JSON: "), "{found:?}");
        assert!(found[0].1.ends_with(place), "{found:?} {place}");
    }
}

#[test]
fn nesting_is_bounded_while_reading() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(nested(127).as_bytes()).is_ok());
    let found = violations(nested(128).as_bytes());
    assert!(found[0].1.contains("recursion limit exceeded"), "{found:?}");
    let found = violations("{\"a\":".repeat(1_000_000).as_bytes());
    assert!(found[0].1.contains("recursion limit exceeded"), "{found:?}");
}

#[test]
fn duplicate_keys_are_found_at_every_level() {
    let text =
        r#"{"a": [{"x/y": 1, "x\/y": 2}], "b": {"~": {"k": {"d": 1, "d": 1}}}, "a": [{"p": 0, "p": 0}]}"#;
    assert_eq!(pointers(text), ["/a/0/x~1y", "/b/~0/k/d", "/a", "/a/0/p"]);
    assert_eq!(pointers(r#"{"": 1, "": 1, "\u0041": 1, "A": 2}"#), ["/", "/A"]);
    assert_eq!(violations(br#"{"a":1,"a":1}"#), one("/a", DUPLICATE));
}

#[test]
fn integers_are_exact_to_the_bounds_of_64_bits() {
    let text = b"[9223372036854775807, 18446744073709551615, -9223372036854775808, 9007199254740993]";
    let value = parse(text).unwrap();
    assert_eq!(
        value,
        json!([i64::MAX, u64::MAX, i64::MIN, 9_007_199_254_740_993_u64])
    );
}

#[test]
fn wider_integers_are_refused_and_equal_floats_are_not() {
    assert_eq!(violations(b"18446744073709551616"), one("", WIDE_INTEGER));
    assert_eq!(violations(b"-9223372036854775809"), one("", WIDE_INTEGER));
    let long = format!("[0, {}]", "9".repeat(400));
    assert_eq!(violations(long.as_bytes()), one("/1", WIDE_INTEGER));
    let floats = b"[18446744073709551616.0, 1.8446744073709551616e19, -1E300, 1e19, 0.5]";
    assert_eq!(
        parse(floats).unwrap(),
        json!([18446744073709551616.0, 18446744073709551616.0, -1e300, 1e19, 0.5])
    );
    // Digits in texts and keys are not numbers; the count of numbers survives escapes.
    let text = r#"{"12": "34 \" 56 {", "a\\": [1e30, -1, 2.5], "b": 99999999999999999999, "c": {"d": [1e30, -99999999999999999999]}}"#;
    assert_eq!(pointers(text), ["/b", "/c/d/1"]);
}

#[test]
fn numbers_beyond_a_float_are_refused_with_all_else_that_is_wrong() {
    let text = r#"{"a": 1e999, "b": [-1E+400, 1, {"c": 99999999999999999999, "c": 1e-999}], "a": 1e308, "d": 1e309}"#;
    assert_eq!(
        violations(text.as_bytes()),
        [
            one("/a", NOT_FINITE),
            one("/b/0", NOT_FINITE),
            one("/b/2/c", WIDE_INTEGER),
            one("/b/2/c", DUPLICATE),
            one("/a", DUPLICATE),
            one("/d", NOT_FINITE)
        ]
        .concat()
    );
}

#[test]
fn minus_zero_is_a_number() {
    let value = parse(b"[-0, -0.0, 0]").unwrap();
    assert_eq!(value[0].as_f64(), Some(0.0));
    assert_eq!(value[2], json!(0));
}

#[test]
fn a_hostile_document_makes_no_hostile_error() {
    let long = "k".repeat(400_000);
    let text = format!("{{\"{long}\": {{{}\"x\": 0}}}}", "\"x\": 0,".repeat(80_000));
    let error = parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.violations().len(), 2);
    assert_eq!(
        error.violations()[1],
        Violation::new("", "79999 more violations are not listed")
    );
    let text = format!("{{{}\"x\": 0}}", "\"x\": 0,".repeat(80_000));
    let error = parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.violations().len(), LISTED + 1);
    assert_eq!(
        error.violations()[LISTED],
        Violation::new("", "79000 more violations are not listed")
    );
}

/// The same as without the feature is promised; this key is the one place where they could be confused.
#[test]
fn the_private_key_of_numbers_is_an_ordinary_key() {
    for text in [
        r#"{"$serde_json::private::Number": "12"}"#,
        r#"[1.5, {"$serde_json::private::Number": "12", "a": 2.5}]"#,
        r#"{"$serde_json::private::Number": {"$serde_json::private::Number": 1.5}}"#,
        r#"{"$serde_json::private::RawValue": "[1"}"#,
    ] {
        let value = parse(text.as_bytes()).unwrap();
        let spaceless = text.replace(": ", ":").replace(", ", ",");
        assert_eq!(serde_json::to_string(&value).unwrap(), spaceless);
    }
    let text = r#"{"$serde_json::private::Number": "1", "$serde_json::private::Number": "2"}"#;
    assert_eq!(pointers(text), ["/$serde_json::private::Number"]);
}

fn free(value: &Value, pointer: &str) -> Vec<Violation> {
    let mut violations = Violations::default();
    check_free(value.as_object().unwrap(), pointer, &mut violations);
    violations.iter().cloned().collect()
}

/// An object with this many levels, the innermost empty.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!({}), |inner, level| {
        if level % 2 == 0 {
            json!([inner])
        } else {
            json!({"a": inner})
        }
    })
}

#[test]
fn free_json_nests_64_levels() {
    let object = |levels: usize| json!({"o": nested(levels - 1)});
    assert_eq!(free(&object(64), "/properties"), []);
    let found = free(&object(65), "/properties");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].pointer.matches('/').count(), 65);
    assert!(found[0].pointer.starts_with("/properties/o/"));
    assert_eq!(
        free(&json!({"a": object(65), "b": object(65)}), "").len(),
        1,
        "reported once"
    );
}

#[test]
fn a_value_of_a_million_levels_does_not_overflow_the_stack() {
    let mut value = json!(0);
    for _ in 0..1_000_000 {
        value = Value::Array(vec![value]);
    }
    let object = Map::from_iter([("a".to_owned(), value)]);
    let mut found = Violations::default();
    check_free(&object, "/properties", &mut found);
    assert_eq!(found.count(), 1);
    // Dropping it would: take it apart instead.
    let mut level = object.into_iter().next().map(|(_, value)| value);
    while let Some(Value::Array(mut items)) = level {
        level = items.pop();
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |float| Number::from_f64(float).map(Value::Number)),
        "\\PC*".prop_map(Value::from),
        "[\\x00-\\x1f\"\\\\/0-9.eE{}-]*".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in any_json(), pretty: bool) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        prop_assert_eq!(parse(&text).unwrap(), value);
    }

    #[test]
    fn a_wide_number_is_found_wherever_it_stands(value in any_json(), wide in prop_oneof![
        Just("18446744073709551616"), Just("-9223372036854775809"), Just("1e400"), Just("-1E+999"),
    ]) {
        // Put in place of each null, if there is one.
        fn nulls(value: &Value, path: &Path<'_>, found: &mut Vec<String>) {
            match value {
                Value::Null => found.push(path.pointer()),
                Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| nulls(item, &Path::Element(path, index), found)),
                Value::Object(members) => members.iter().for_each(|(name, item)| nulls(item, &Path::Member(path, name), found)),
                _ => {}
            }
        }
        fn write(value: &Value, wide: &str) -> String {
            match value {
                Value::Null => wide.to_owned(),
                Value::Array(items) => format!("[{}]", items.iter().map(|item| write(item, wide)).collect::<Vec<_>>().join(", ")),
                Value::Object(members) => format!("{{{}}}", members.iter().map(|(name, item)| format!("{}:{}", Value::from(name.as_str()), write(item, wide))).collect::<Vec<_>>().join(" ,")),
                other => other.to_string(),
            }
        }
        let mut expected = Vec::new();
        nulls(&value, &Path::Root(""), &mut expected);
        let text = write(&value, wide);
        match parse(text.as_bytes()) {
            Ok(read) => { prop_assert!(expected.is_empty()); prop_assert_eq!(read, value); }
            Err(_) => prop_assert_eq!(pointers(&text), expected),
        }
    }

    #[test]
    fn agrees_with_serde_json_on_what_is_json(text in "[\\[\\]{}\",:0-9.eE+\\-a ntrufls\\\\]{0,24}") {
        let theirs = serde_json::from_str::<Value>(&text);
        match parse(text.as_bytes()) {
            Ok(value) => prop_assert_eq!(value, theirs.unwrap()),
            Err(error) => if let Ok(theirs) = theirs {
                prop_assert!(!error.violations()[0].message.starts_with("cannot be read"), "{} {}", theirs, error);
            },
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }
}
