//! Damage to what was dropped: found, mended where it can be, and never restored as if it were whole.

use std::time::Duration;

use shelfmark::{AssetId, DroppedQuery, SetId};

use super::*;

struct Dropped {
    filled: Filled,
    set: SetId,
    asset: AssetId,
}

/// A data set with schemas dropped alone, then an asset with two more.
fn dropped(bed: Bed) -> Dropped {
    let catalog = Options::new()
        .undrop(Duration::from_secs(86_400))
        .on_backend(bed.backend.clone())
        .expect("a catalog");
    let session = session(&catalog, "acme");
    let family = family(&session);
    for name in ["second", "third"] {
        let set = NewDataSet {
            schema: (name == "third").then(schema),
            ..new_set(family.asset, name)
        };
        session.create(set).expect("a set");
    }
    session.delete(family.set, Expectation::Any).expect("a deletion");
    session
        .delete(family.asset, Expectation::Any)
        .expect("a deletion");
    assert_clean(&catalog, bed.name);
    Dropped {
        set: family.set,
        asset: family.asset,
        filled: Filled {
            name: bed.name,
            backend: bed.backend.clone(),
            catalog,
            family,
        },
    }
}

fn both() -> [Dropped; 2] {
    let memory: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    [dropped(Bed::in_memory()), dropped(Bed::new("memory", memory))]
}

#[test]
fn damage_to_the_order_of_what_was_dropped_is_found_and_mended() {
    for Dropped { filled, .. } in both() {
        let original = dump(&*filled.backend);
        let space = Keyspace::Dropped;
        assert_eq!(original[&space].len(), 2);
        for key in original[&space].keys() {
            filled.delete(space, key);
            filled.assert_mended(space, &original, "an entry that is missing");
            filled.put(space, key, b"x");
            let report = filled.check();
            assert_eq!(report.findings[0].kind, FindingKind::StrayIndexEntry);
            filled.put(space, key, b"");
            // At another time, of another entity.
            for at in [key.len() - 17, key.len() - 2] {
                let mut stray = key.clone();
                stray[at] ^= 0x55;
                filled.put(space, &stray, b"");
                filled.assert_mended(space, &original, "a stray entry");
            }
        }
        filled.put(space, b"\x00\x00\x00\x01short", b"");
        filled.assert_mended(space, &original, "a key of a wrong form");
        let session = session(&filled.catalog, "acme");
        assert_eq!(session.list_dropped(&DroppedQuery::new()).unwrap().items.len(), 2);
    }
}

#[test]
fn damage_to_any_dropped_row_is_found_and_nothing_half_comes_back() {
    for Dropped { filled, set, asset } in both() {
        let session = session(&filled.catalog, "acme");
        let original = dump(&*filled.backend);
        let space = Keyspace::DroppedRow;
        let rows = &original[&space];
        // Of the set: record, head, schemas; of the asset: record, head; of its two sets: heads, and the schemas of one.
        assert_eq!(rows.len(), 3 + 2 + 3);
        let refused = |what: &str| {
            let both = session.transact(|tx| {
                tx.restore(asset)?;
                tx.restore(set)
            });
            let kind = both.expect_err(what).kind();
            let refusals = [ErrorKind::Corrupt, ErrorKind::NotFound];
            assert!(refusals.contains(&kind), "{what}: {kind}");
        };
        for (key, value) in rows {
            let found = |what: &str| {
                let report = filled.check();
                assert!(!report.is_clean(), "{what} was not found");
                let own = [Keyspace::Dropped, Keyspace::DroppedRow];
                assert!(
                    report
                        .findings
                        .iter()
                        .all(|finding| own.contains(&finding.keyspace)),
                    "{what}: {:?}",
                    report.findings
                );
                report
            };
            filled.delete(space, key);
            found("a row that is missing");
            refused("a row that is missing");
            for at in 0..value.len() {
                let mut flipped = value.clone();
                flipped[at] ^= 1 << (at % 8);
                filled.put(space, key, &flipped);
                let report = found("a flipped bit");
                let finding = report.findings.iter().find(|finding| finding.key == *key);
                assert_eq!(finding.expect("the row").kind, FindingKind::Unreadable);
                if at % 16 == 0 {
                    refused("a flipped bit");
                }
            }
            for other in rows.values().filter(|other| *other != value) {
                filled.put(space, key, other);
                found("another's value");
            }
            filled.put(space, key, value);
            for at in [3, 10, 30, key.len() - 1] {
                let mut stray = key.clone();
                stray[at] ^= 0x44;
                filled.put(space, &stray, value);
                found("a stray row");
                filled.delete(space, &stray);
            }
            assert!(dump(&*filled.backend) == original, "{}", filled.name);
        }
        for key in [&b"\x00"[..], b"\x00\x00\x00\x01short"] {
            filled.put(space, key, b"");
            assert!(!filled.check().is_clean());
            filled.delete(space, key);
        }
        assert_clean(&filled.catalog, filled.name);
        session.restore(asset).unwrap();
        session.restore(set).unwrap();
        assert_clean(&filled.catalog, filled.name);
    }
}

#[test]
fn what_is_there_and_dropped_too_is_found() {
    for Dropped { filled, asset, .. } in both() {
        let before = filled.rows(Keyspace::DroppedRow);
        session(&filled.catalog, "acme").restore(asset).unwrap();
        for (key, value) in &before {
            filled.put(Keyspace::DroppedRow, key, value);
        }
        let findings = filled.check().findings;
        let alive = |finding: &&Finding| finding.kind == FindingKind::Insane;
        // The asset and its two sets; the entry of the root is missing.
        assert_eq!(findings.iter().filter(alive).count(), 3, "{findings:?}");
        assert_eq!(findings.len(), 4, "{findings:?}");
    }
}

#[test]
fn what_no_tenant_has_dropped_is_found_and_left() {
    for Dropped { filled, .. } in both() {
        let tenant = filled.rows(Keyspace::Tenant);
        for key in tenant.keys() {
            filled.delete(Keyspace::Tenant, key);
        }
        let repaired = filled.repair();
        let unknown = |space: Keyspace| {
            repaired
                .left
                .iter()
                .filter(|finding| finding.keyspace == space && finding.kind == FindingKind::UnknownTenant)
                .count()
        };
        assert_eq!(
            (unknown(Keyspace::Dropped), unknown(Keyspace::DroppedRow)),
            (2, 8)
        );
        assert!(repaired.mended.is_empty(), "{:?}", repaired.mended);
    }
}
