//! What is refused, where the error says it is, and that nothing of the chunk is stored.

use std::io::{self, BufReader, Read as IoRead};

use serde_json::{Value, json};
use shelfmark_datapackage::{ImportErrorKind, Importer};

use super::{catalog, counts, import};

/// Five good lines, then this one, in chunks of two.
fn after_five(line: &[u8]) -> (ImportErrorKind, Option<u64>, u64, (u64, u64, u64)) {
    let (catalog, session) = catalog();
    let mut text = Vec::new();
    for index in 0..5 {
        let package = json!({"name": format!("p{index}"), "resources": [{"name": "r"}]});
        text.extend_from_slice(format!("{package}\n").as_bytes());
    }
    text.extend_from_slice(line);
    text.extend_from_slice(b"\n{\"name\": \"after\", \"resources\": []}\n");
    let outcome = Importer::new(&session).chunk(2).import_reader(&text[..]);
    assert!(catalog.check().is_ok_and(|report| report.is_clean()));
    match outcome {
        Err(error) => {
            assert!(
                error.to_string().contains("(4 packages stored before it stay)"),
                "{error}"
            );
            (
                error.kind(),
                error.line(),
                error.stored().packages,
                counts(&session),
            )
        }
        Ok(report) => panic!("{report}"),
    }
}

#[test]
fn a_broken_line_leaves_the_chunks_before() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_member = format!("{{\"name\": \"x\", \"x\": {deep}, \"resources\": []}}");
    let many = format!(
        "{{\"name\": \"x\", \"x\": [{}0], \"resources\": []}}",
        "0,".repeat(1_000_001)
    );
    let malformed = [
        "{\"name\": \"x\"",
        "{\"name\": \"x\", \"resources\": []} trailing",
        "{\"name\": \"x\", \"name\": \"y\", \"resources\": []}",
        "{\"name\": \"x\", \"resources\": [], \"n\": 1e999}",
        "\u{0}",
        deep.as_str(),
        deep_member.as_str(),
    ];
    let expected = |kind| (kind, Some(6), 4, (1, 4, 4));
    for line in malformed {
        assert_eq!(
            after_five(line.as_bytes()),
            expected(ImportErrorKind::Malformed),
            "{:.80}",
            line
        );
    }
    assert_eq!(
        after_five(b"{\"name\": \"\xff\"}"),
        expected(ImportErrorKind::Malformed)
    );
    assert_eq!(after_five(many.as_bytes()), expected(ImportErrorKind::TooLarge));
    for line in ["[]", "7", "null", "\"text\"", "true", "{}", "{\"name\": \"x\"}"] {
        assert_eq!(
            after_five(line.as_bytes()),
            expected(ImportErrorKind::NotAPackage),
            "{line}"
        );
    }
}

#[test]
fn wrong_types_are_all_named() {
    let cases = [
        (
            json!({"name": 1, "title": [], "description": {}, "resources": []}),
            vec!["/title", "/name", "/description"],
        ),
        (json!({"name": "p"}), vec!["/resources"]),
        (json!({"name": "p", "resources": null}), vec!["/resources"]),
        (json!({"name": "p", "resources": {}}), vec!["/resources"]),
        (
            json!({"name": "p", "resources": [1, {}, []]}),
            vec!["/resources/0", "/resources/2"],
        ),
        (
            json!({"name": "p", "keywords": "k", "owidTags": ["a", 1, null], "resources": []}),
            vec!["/keywords", "/owidTags/1", "/owidTags/2"],
        ),
        (
            json!({"name": "p", "sources": "s", "resources": []}),
            vec!["/sources"],
        ),
        (
            json!({"name": "p", "sources": ["s", {"title": 1, "link": true}], "resources": []}),
            vec!["/sources/0", "/sources/1/title", "/sources/1/link"],
        ),
        (
            json!({"name": "p", "resources": [{"name": 1, "title": 2, "description": 3, "schema": 4}]}),
            vec![
                "/resources/0/title",
                "/resources/0/name",
                "/resources/0/description",
                "/resources/0/schema",
            ],
        ),
        (
            json!({"name": "p", "resources": [{"schema": {}}]}),
            vec!["/resources/0/schema/fields"],
        ),
        (
            json!({"name": "p", "resources": [{"schema": {"fields": {}}}]}),
            vec!["/resources/0/schema/fields"],
        ),
        (
            json!({"name": "p", "resources": [{"schema": {"fields": [1, {"name": 2, "type": 3, "description": 4}], "primaryKey": 5}}]}),
            vec![
                "/resources/0/schema/fields/0",
                "/resources/0/schema/fields/1/name",
                "/resources/0/schema/fields/1/type",
                "/resources/0/schema/fields/1/description",
                "/resources/0/schema/primaryKey",
            ],
        ),
        (
            json!({"name": "p", "resources": [{"schema": {"fields": [{"constraints": []}, {"constraints": {"required": "yes"}}], "primaryKey": [1]}}]}),
            vec![
                "/resources/0/schema/fields/0/constraints",
                "/resources/0/schema/fields/1/constraints/required",
                "/resources/0/schema/primaryKey/0",
            ],
        ),
    ];
    for (document, expected) in cases {
        let (_catalog, session) = catalog();
        let error = import(&session, std::slice::from_ref(&document)).unwrap_err();
        assert_eq!(error.kind(), ImportErrorKind::NotAPackage);
        let pointers: Vec<&str> = error
            .violations()
            .iter()
            .map(|violation| violation.pointer.as_str())
            .collect();
        assert_eq!(pointers, expected, "{document}");
        assert_eq!(error.package(), document["name"].as_str());
        assert_eq!(counts(&session), (0, 0, 0));
    }
}

#[test]
fn a_document_with_many_faults_makes_no_endless_error() {
    let (_catalog, session) = catalog();
    let error = import(&session, &[json!({"name": "p", "resources": vec![1; 5000]})]).unwrap_err();
    assert_eq!(error.violations().len(), 1001);
    assert_eq!(
        error.violations()[1000].message,
        "4000 more violations are not listed"
    );
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn what_the_catalog_refuses_names_the_package_and_every_rule() {
    let (_catalog, session) = catalog();
    let good = json!({"name": "good", "resources": []});
    let bad = json!({"name": "bad", "deep": nested(70), "resources": [
        {"name": "fine"}, {"name": "deep", "x": nested(65)}, {"name": "wide", "x": "x".repeat(1 << 20)},
        {"name": "fields", "schema": {"fields": [{"name": "a", "x": nested(64)}, {"name": "b", "x": nested(65)}]}},
    ]});
    let error = import(&session, &[good, bad]).unwrap_err();
    assert_eq!(error.kind(), ImportErrorKind::Refused);
    assert_eq!(
        (error.line(), error.package(), error.stored().packages),
        (Some(2), Some("bad"), 0)
    );
    let found: Vec<(&str, &str)> = error
        .violations()
        .iter()
        .map(|violation| {
            (
                violation.pointer.as_str(),
                violation.message.split(": ").nth(1).unwrap_or_default(),
            )
        })
        .collect();
    let places: Vec<&str> = found.iter().map(|(pointer, _)| *pointer).collect();
    assert_eq!(
        places,
        ["", "/resources/1", "/resources/2", "/resources/3", "/resources/3"],
        "{error}"
    );
    assert_eq!(counts(&session), (0, 0, 0));
}

/// A reader that never ends, or fails.
struct Endless(Option<io::ErrorKind>);

impl IoRead for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {
            Some(kind) => Err(kind.into()),
            None => {
                buffer.fill(b' ');
                Ok(buffer.len())
            }
        }
    }
}

#[test]
fn a_line_without_end_is_too_large_and_a_reader_may_fail() {
    let good = json!({"name": "p", "resources": []}).to_string();
    for (rest, kind) in [
        (Endless(None), ImportErrorKind::TooLarge),
        (
            Endless(Some(io::ErrorKind::TimedOut)),
            ImportErrorKind::Unreadable,
        ),
    ] {
        let (_catalog, session) = catalog();
        let text = format!("{good}\n{good}\n{good}\n");
        let reader = BufReader::new(text.as_bytes().chain(rest));
        let error = Importer::new(&session)
            .chunk(2)
            .import_reader(reader)
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.line(), error.stored().packages),
            (kind, Some(4), 2)
        );
        assert_eq!(counts(&session), (1, 2, 0));
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (_catalog, session) = catalog();
    let missing = directory.path().join("missing.ndjson");
    let error = Importer::new(&session).import_path(&missing).unwrap_err();
    assert_eq!(
        (error.kind(), error.file()),
        (ImportErrorKind::Unreadable, Some(missing.as_path()))
    );
    assert!(std::error::Error::source(&error).is_some());

    let file = directory.path().join("datapackage.json");
    for (text, kind, line) in [
        ("", ImportErrorKind::Malformed, Some(1)),
        (
            "{\n  \"name\": \"p\",\n  oops\n}",
            ImportErrorKind::Malformed,
            Some(3),
        ),
        ("[\n]", ImportErrorKind::NotAPackage, None),
    ] {
        std::fs::write(&file, text).unwrap();
        for path in [file.as_path(), directory.path()] {
            let error = Importer::new(&session).import_path(path).unwrap_err();
            assert_eq!(
                (error.kind(), error.file(), error.line()),
                (kind, Some(file.as_path()), line),
                "{text:?}"
            );
        }
    }
}
