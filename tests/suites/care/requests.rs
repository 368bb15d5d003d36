//! Damage of answers to requests with an idempotency key.

use shelfmark::{Batch, IdempotencyKey};

use super::*;

fn with_answers() -> [Filled; 2] {
    let filled = Filled::both();
    for filled in &filled {
        let session = session(&filled.catalog, "acme");
        for (name, schemas) in [("one", true), ("two", false)] {
            let set = NewDataSet {
                schema: schemas.then(schema),
                ..new_set(filled.family.asset, name)
            };
            session.create_once(&key(name), set).expect("a set");
        }
        let mut batch = Batch::new();
        let store = batch.create(new_store("lake"));
        batch.delete(store, 0);
        session.batch_once(&key("batch"), &batch).expect("a batch");
        assert_clean(&filled.catalog, filled.name);
    }
    filled
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).expect("a key")
}

#[test]
fn a_damaged_answer_is_found_and_never_given() {
    for filled in with_answers() {
        let rows = filled.rows(Keyspace::Request);
        assert_eq!(rows.len(), 3);
        let values: Vec<&Vec<u8>> = rows.values().collect();
        for (key, value) in &rows {
            let flips = (0..value.len()).map(|at| {
                let mut flipped = value.clone();
                flipped[at] ^= 1 << (at % 8);
                flipped
            });
            let others = values
                .iter()
                .filter(|other| ***other != *value)
                .map(|other| other.to_vec());
            for other in flips.chain(others) {
                filled.put(Keyspace::Request, key, &other);
                let findings = filled.check().findings;
                assert_eq!(findings.len(), 1, "{findings:?}");
                assert_eq!(
                    (findings[0].keyspace, &findings[0].key, findings[0].kind),
                    (Keyspace::Request, key, FindingKind::Unreadable)
                );
            }
            let session = session(&filled.catalog, "acme");
            let kinds = ["one", "two", "batch"].map(|text| {
                // Whatever is asked: what is there must be read first.
                let answer = session.create_once(&self::key(text), new_store("other"));
                answer.expect_err("a known key").kind()
            });
            assert_eq!(
                kinds.iter().filter(|kind| **kind == ErrorKind::Corrupt).count(),
                1,
                "{kinds:?}"
            );
            assert_eq!(filled.repair().left.len(), 1);
            filled.put(Keyspace::Request, key, value);
        }
        assert_clean(&filled.catalog, filled.name);
    }
}

#[test]
fn the_order_by_expiry_is_mended() {
    for filled in with_answers() {
        let space = Keyspace::RequestByExpiry;
        let original = dump(&*filled.backend);
        let entries = filled.rows(space);
        assert_eq!(entries.len(), 3);
        for key in entries.keys() {
            filled.delete(space, key);
            filled.assert_mended(space, &original, "a row that is missing");
            filled.put(space, key, b"x");
            filled.assert_mended(space, &original, "a value");
            for at in 4..key.len() {
                let mut stray = key.clone();
                stray[at] ^= 1;
                filled.put(space, &stray, b"");
                filled.assert_mended(space, &original, "a stray row");
            }
        }
        for key in [&b"\x00"[..], b"\x00\x00\x00\x01short"] {
            filled.put(space, key, b"");
            filled.assert_mended(space, &original, "a key of a wrong form");
        }
        // An entry whose answer is gone goes too.
        let request = filled
            .rows(Keyspace::Request)
            .into_iter()
            .next()
            .expect("an answer");
        filled.delete(Keyspace::Request, &request.0);
        let findings = filled.repair().mended;
        assert_eq!(
            (findings.len(), findings[0].kind),
            (1, FindingKind::StrayIndexEntry)
        );
        assert_clean(&filled.catalog, filled.name);
    }
}

#[test]
fn an_answer_of_no_tenant_or_of_a_wrong_key_is_found() {
    for filled in with_answers() {
        let (key, value) = filled
            .rows(Keyspace::Request)
            .into_iter()
            .next()
            .expect("an answer");
        let mut foreign = key.clone();
        foreign[3] ^= 0x40;
        filled.put(Keyspace::Request, &foreign, &value);
        filled.put(Keyspace::Request, b"short", &value);
        let found: Vec<_> = filled
            .check()
            .findings
            .into_iter()
            .map(|finding| (finding.kind, finding.key))
            .collect();
        assert!(
            found.contains(&(FindingKind::UnknownTenant, foreign)),
            "{found:?}"
        );
        assert!(
            found.contains(&(FindingKind::Unreadable, b"short".to_vec())),
            "{found:?}"
        );
    }
}
