//! Damage of the change feed.

use super::*;

fn filled(bed: Bed) -> (Bed, Catalog) {
    let catalog = Options::new()
        .change_feed(true)
        .on_backend(bed.backend.clone())
        .expect("a catalog");
    for tenant in ["acme", "other"] {
        let session = session(&catalog, tenant);
        let family = family(&session);
        for name in ["second", "third"] {
            session.create(new_set(family.asset, name)).expect("a set");
        }
        session
            .delete(family.asset, Expectation::Any)
            .expect("a deletion");
    }
    assert_clean(&catalog, bed.name);
    (bed, catalog)
}

fn beds() -> [Bed; 2] {
    let memory: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    [Bed::in_memory(), Bed::new("memory", memory)]
}

fn put(backend: &dyn Backend, space: Keyspace, key: &[u8], value: &[u8]) {
    damage(backend, |batch| batch.put(space, key, value));
}

#[test]
fn a_flipped_byte_of_a_change_is_found_and_never_a_wrong_change() {
    for bed in beds() {
        let (bed, catalog) = filled(bed);
        let session = session(&catalog, "acme");
        let right = session.changes(None, 100).unwrap();
        for (key, value) in &rows(&*bed.backend, Keyspace::Change) {
            for at in (0..value.len()).step_by(3) {
                let mut flipped = value.clone();
                flipped[at] ^= 1 << (at % 8);
                put(&*bed.backend, Keyspace::Change, key, &flipped);
                let findings = catalog.check().unwrap().findings;
                assert_eq!(findings.len(), 1, "{findings:?}");
                assert_eq!(
                    (findings[0].kind, findings[0].keyspace, &findings[0].key),
                    (FindingKind::Unreadable, Keyspace::Change, key)
                );
                match session.changes(None, 100) {
                    Ok(page) => assert_eq!(page, right, "the other tenant's"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
                }
            }
            assert_eq!(catalog.repair().unwrap().left.len(), 1);
            put(&*bed.backend, Keyspace::Change, key, value);
            assert_clean(&catalog, bed.name);
        }
        assert_eq!(session.changes(None, 100).unwrap(), right);
    }
}

#[test]
fn a_missing_change_is_found_and_not_skipped() {
    for bed in beds() {
        let (bed, catalog) = filled(bed);
        let session = session(&catalog, "acme");
        let changes = rows(&*bed.backend, Keyspace::Change);
        let keys: Vec<&Vec<u8>> = changes.keys().collect();
        // Not the first nor the last of a tenant's: retention takes those that come first.
        let missing = keys[2];
        damage(&*bed.backend, |batch| {
            batch.delete(Keyspace::Change, missing.clone());
        });
        let findings = catalog.check().unwrap().findings;
        assert_eq!(
            (findings.len(), findings[0].kind, &findings[0].key),
            (1, FindingKind::MissingChange, keys[3]),
            "{findings:?}"
        );
        assert!(!findings[0].kind.is_repairable());
        assert_eq!(session.changes(None, 2).unwrap().items.len(), 2);
        let error = session.changes(None, 100).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        // A change under another's key is none.
        put(&*bed.backend, Keyspace::Change, missing, &changes[keys[3]]);
        let findings = catalog.check().unwrap().findings;
        assert_eq!(
            (findings.len(), findings[0].kind),
            (1, FindingKind::Unreadable),
            "{findings:?}"
        );
    }
}

#[test]
fn changes_of_no_tenant_and_of_no_feed_are_found() {
    for bed in beds() {
        let (bed, catalog) = filled(bed);
        let (key, value) = rows(&*bed.backend, Keyspace::Tenant)
            .pop_first()
            .expect("a tenant");
        damage(&*bed.backend, |batch| batch.delete(Keyspace::Tenant, key.clone()));
        let findings = catalog.check().unwrap().findings;
        let changes = findings
            .iter()
            .filter(|finding| finding.keyspace == Keyspace::Change);
        assert_eq!(changes.count(), 7, "{findings:?}");
        assert!(
            findings
                .iter()
                .all(|finding| finding.kind == FindingKind::UnknownTenant)
        );
        put(&*bed.backend, Keyspace::Tenant, &key, &value);

        put(&*bed.backend, Keyspace::Change, b"\0\0\0\x01short", b"");
        let findings = catalog.check().unwrap().findings;
        assert_eq!(
            (findings.len(), findings[0].kind),
            (1, FindingKind::Unreadable),
            "{findings:?}"
        );
        damage(&*bed.backend, |batch| {
            batch.delete(Keyspace::Change, b"\0\0\0\x01short");
        });

        let feed_id = rows(&*bed.backend, Keyspace::Meta)
            .remove(&b"feed_id"[..])
            .expect("a feed id");
        damage(&*bed.backend, |batch| {
            batch.delete(Keyspace::Meta, b"feed_id");
        });
        let findings = catalog.check().unwrap().findings;
        assert_eq!(
            (findings.len(), findings[0].kind, findings[0].keyspace),
            (1, FindingKind::Unreadable, Keyspace::Meta),
            "{findings:?}"
        );
        let error = Options::new().on_backend(bed.backend.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        put(&*bed.backend, Keyspace::Meta, b"feed_id", &feed_id);
        assert_clean(&catalog, bed.name);

        // The rows about the catalog are of one without a feed, the changes of one with it.
        let without = Bed::new("memory", Arc::new(MemoryBackend::new()) as Arc<dyn Backend>);
        let plain = without.catalog();
        family(&session(&plain, "acme"));
        let (key, value) = rows(&*bed.backend, Keyspace::Change)
            .pop_first()
            .expect("a change");
        put(&*without.backend, Keyspace::Change, &key, &value);
        let findings = plain.check().unwrap().findings;
        assert_eq!(
            (findings.len(), findings[0].kind),
            (1, FindingKind::Insane),
            "{findings:?}"
        );
    }
}
