//! Damage of every keyspace, one row at a time.

use redb::ReadableTable as _;
use shelfmark_testkit::storage::{Image, RecordingStorage, below};

use super::*;

fn derived() -> impl Iterator<Item = Keyspace> {
    Keyspace::ALL.iter().copied().filter(|space| space.is_derived())
}

fn indexes() -> impl Iterator<Item = Keyspace> {
    derived().filter(|space| space.is_index())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn damage_to_any_derived_row_is_found_and_mended() {
    for filled in Filled::both() {
        let original = dump(&*filled.backend);
        for space in derived() {
            let rows = &original[&space];
            // Not every backend keeps counters.
            assert!(!rows.is_empty() || (space == Keyspace::Counter && filled.name == "memory"));
            for (key, value) in rows {
                filled.delete(space, key);
                filled.assert_mended(space, &original, "a row that is missing");

                let mut other = value.clone();
                match other.last_mut() {
                    Some(byte) => *byte ^= 1,
                    None => other.push(7),
                }
                filled.put(space, key, &other);
                filled.assert_mended(space, &original, "another value");

                // Of an entity, or a parent, that is not there.
                let mut stray = key.clone();
                let middle = stray.len() - 2;
                stray[middle] ^= 0x55;
                filled.put(space, &stray, value);
                filled.assert_mended(space, &original, "a stray row");
            }
            for key in [&b"\x00"[..], b"\x00\x00\x00\x01short"] {
                filled.put(space, key, b"");
                filled.assert_mended(space, &original, "a key of a wrong form");
            }
            if !rows.is_empty() {
                damage(&*filled.backend, |batch| {
                    batch.delete_range(space, KeyRange::all());
                });
                filled.assert_mended(space, &original, "an empty keyspace");
            }
        }
    }
}

/// The first row of a table in a file that is not open: its key and its value.
fn first_row(storage: &RecordingStorage, space: Keyspace) -> (Vec<u8>, Vec<u8>) {
    below(storage, space, |table| {
        let (key, row) = table.first()?.expect("a row");
        Ok((key.value().to_vec(), row.value().to_vec()))
    })
    .expect("a table")
}

/// Puts a row into a table of a file that is not open.
fn put_below(storage: &RecordingStorage, space: Keyspace, key: &[u8], row: &[u8]) {
    below(storage, space, |table| {
        table.insert(key, row).map(drop).map_err(Into::into)
    })
    .expect("a row");
}

/// Flips a bit of the first row of a table in a file that is not open.
fn flip_first(storage: &RecordingStorage, space: Keyspace) {
    let (key, mut row) = first_row(storage, space);
    let middle = row.len() / 2;
    row[middle] ^= 0x10;
    put_below(storage, space, &key, &row);
}

fn create(storage: &RecordingStorage) -> Arc<dyn Backend> {
    Options::new()
        .create_backend_on(Arc::new(storage.clone()))
        .expect("a backend")
}

fn open(storage: &RecordingStorage) -> (Catalog, Arc<dyn Backend>) {
    let backend = Options::new()
        .open_backend_on(Arc::new(storage.clone()))
        .expect("a backend");
    (catalog_on(&backend), backend)
}

/// A closed file with entities of each kind.
fn filled() -> Image {
    let storage = RecordingStorage::new();
    drop(Filled::new(Bed::new("storage", create(&storage))));
    storage.bytes()
}

/// What an entity that cannot be read had in the index is lost with it, and nothing else.
#[test]
fn an_index_is_made_anew_around_an_entity_that_cannot_be_read() {
    let whole = filled();
    for space in indexes() {
        let storage = RecordingStorage::holding(whole.clone());
        let entities = [Keyspace::Store, Keyspace::Asset, Keyspace::Set];
        entities
            .iter()
            .for_each(|&entities| flip_first(&storage, entities));
        let (catalog, backend) = open(&storage);
        let before = catalog.check().expect("a check");
        assert!(
            before
                .findings
                .iter()
                .all(|found| found.kind == FindingKind::Unreadable)
        );
        let original = dump(&*backend);
        drop((catalog, backend));
        flip_first(&storage, space);
        let (catalog, backend) = open(&storage);
        let context = space.name();
        let repaired = catalog.repair().expect("a repair");
        assert_eq!(repaired.left, before.findings, "{context}");
        assert!(
            repaired
                .mended
                .iter()
                .any(|found| (found.keyspace, found.kind) == (space, FindingKind::UnreadableIndex))
        );
        assert_eq!(
            catalog.check().expect("a check").findings,
            before.findings,
            "{context}"
        );
        for (other, rows) in dump(&*backend) {
            let was = &original[&other];
            if other == space {
                let lost = was.keys().filter(|key| !rows.contains_key(*key)).count();
                assert!(
                    lost <= 1 && rows.iter().all(|(key, value)| was.get(key) == Some(value)),
                    "{context}"
                );
            } else if other != Keyspace::Counter {
                assert!(rows == *was, "{context}: {other:?}");
            }
        }
    }
}

/// Many entries of an index lie in one row of a file, and go together.
#[test]
fn an_index_that_cannot_be_read_is_found_refused_and_made_anew() {
    let whole = filled();
    let original = dump(&*open(&RecordingStorage::holding(whole.clone())).1);
    for space in indexes() {
        let storage = RecordingStorage::holding(whole.clone());
        flip_first(&storage, space);
        let (catalog, backend) = open(&storage);
        let context = space.name();
        let error = backend
            .snapshot()
            .and_then(|snapshot| {
                snapshot.scan(space, &KeyRange::all(), Direction::Forward, &mut |_, _| {
                    panic!("an entry of {context}")
                })
            })
            .expect_err("an index that cannot be read");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{context}: {error}");
        assert!(error.to_string().contains(context), "{error}");
        let report = catalog.check().expect("a check");
        let found: Vec<_> = report
            .findings
            .iter()
            .map(|found| (found.keyspace, found.kind))
            .collect();
        assert_eq!(found, [(space, FindingKind::UnreadableIndex)]);
        let repaired = catalog.repair().expect("a repair");
        assert_eq!((repaired.mended, repaired.left), (report.findings, Vec::new()));
        assert_clean(&catalog, context);
        assert!(dump(&*backend) == original, "{context}: not what was there");
    }
}

/// A row as it was before its neighbours came, which a lost write leaves: its checksum is right, its entries are also in theirs.
#[test]
fn a_block_that_is_out_of_date_is_found_and_its_index_made_anew() {
    let fill = |catalog: &Catalog, asset, numbers: std::ops::Range<u64>| {
        let sets = numbers.map(|n| new_set(asset, &format!("set {:03}", n * 389 % 997)));
        session(catalog, "acme").create_all(sets).expect("sets");
    };
    let storage = RecordingStorage::new();
    let catalog = catalog_on(&create(&storage));
    let asset = family(&session(&catalog, "acme")).asset;
    fill(&catalog, asset, 0..15);
    drop(catalog);
    let of_sets = || indexes().filter(|space| space.name().starts_with("set_by"));
    let stale: Vec<_> = of_sets()
        .map(|space| (space, first_row(&storage, space)))
        .collect();
    let (catalog, backend) = open(&storage);
    fill(&catalog, asset, 15..400);
    let original = dump(&*backend);
    drop((catalog, backend));
    let whole = storage.bytes();
    for (space, (fence, row)) in stale {
        let storage = RecordingStorage::holding(whole.clone());
        put_below(&storage, space, &fence, &row);
        let (catalog, backend) = open(&storage);
        let report = catalog.check().expect("a check");
        assert!(!report.is_clean(), "{}", space.name());
        // By technical name, entries of the first block have come to lie in others since.
        let unreadable = |found: &Finding| found.kind == FindingKind::UnreadableIndex;
        assert!(
            space != Keyspace::SetByTechnicalName || report.findings.iter().any(unreadable),
            "{:?}",
            report.findings
        );
        let repaired = catalog.repair().expect("a repair");
        assert!(repaired.left.is_empty(), "{}: {:?}", space.name(), repaired.left);
        assert_clean(&catalog, space.name());
        assert!(
            dump(&*backend) == original,
            "{}: not what was there",
            space.name()
        );
    }
}

#[test]
fn an_entry_under_another_parent_is_stray() {
    for filled in Filled::both() {
        let original = dump(&*filled.backend);
        for space in indexes() {
            let rows = &original[&space];
            let (Some((one, _)), Some((two, value))) = (rows.first_key_value(), rows.last_key_value()) else {
                continue;
            };
            if one == two {
                continue;
            }
            // The place of one, the id of the other.
            let mut mixed = one[..one.len() - 16].to_vec();
            mixed.extend_from_slice(&two[two.len() - 16..]);
            if !rows.contains_key(&mixed) {
                filled.put(space, &mixed, value);
                filled.assert_mended(space, &original, "an entry in another's place");
            }
        }
    }
}

#[test]
fn counters_that_count_wrong_are_set_right() {
    let filled = Filled::new(Bed::in_memory());
    let original = dump(&*filled.backend);
    let counters = filled.rows(Keyspace::Counter);
    for key in counters.keys() {
        let (&position, prefix) = key.split_last().expect("a counter's key");
        let counted = Keyspace::ALL[usize::from(position)];
        for delta in [1, 1_000, -1] {
            damage(&*filled.backend, |batch| {
                batch.count(counted, prefix, delta);
            });
            filled.assert_mended(Keyspace::Counter, &original, &format!("{delta} too many"));
        }
        // Of a parent that has no children, or does not exist.
        let mut stray = prefix.to_vec();
        *stray.last_mut().expect("a prefix") ^= 0x40;
        damage(&*filled.backend, |batch| batch.count(counted, stray.clone(), 3));
        filled.assert_mended(Keyspace::Counter, &original, "a counter of nothing");
    }
}

/// The answers of many reads, each by a name.
fn answers(session: &Session, family: Family) -> Vec<(&'static str, Result<String>)> {
    fn shown<T: Debug>(outcome: Result<T>) -> Result<String> {
        outcome.map(|answer| format!("{answer:?}"))
    }
    let sets = |sort: &str| Query::<DataSet>::of(family.asset).sort(sort).with_schemas();
    // Cursors are not part of the answer: they are made with a key of the catalog.
    let items = |sort: &str| session.list(&sets(sort)).map(|page| (page.items, page.total));
    let names = |sort: &str| {
        session
            .list_names(&sets(sort))
            .map(|page| (page.items, page.total))
    };
    vec![
        ("store", shown(session.get(family.store))),
        ("asset", shown(session.get(family.asset))),
        ("set", shown(session.get(family.set))),
        ("head", shown(session.get_head(family.set))),
        ("many", shown(session.get_many(&[family.set]))),
        (
            "stores",
            shown(session.list(&Query::<DataStore>::new()).map(|page| page.items)),
        ),
        (
            "assets",
            shown(session.list(&Query::<DataAsset>::new()).map(|page| page.items)),
        ),
        (
            "sets",
            shown(session.list(&Query::<DataSet>::new()).map(|page| page.items)),
        ),
        ("by name", shown(items("name"))),
        ("by creation", shown(items(""))),
        ("by a field", shown(items("-qri"))),
        ("names", shown(names("name"))),
        ("names by technical name", shown(names("technicalName"))),
        ("projected", {
            let page = session.list_projected(&sets("name"), &Projection::all());
            shown(page.map(|page| page.items))
        }),
        (
            "found by name",
            shown(session.find_by_name::<DataSet>(SetSelection::All, "orders")),
        ),
        ("found by qri", shown(session.find_by_secure_qri("qri:orders"))),
        ("stream", {
            let stream = session.stream(&Query::<DataSet>::new());
            shown(stream.and_then(Iterator::collect::<Result<Vec<_>>>))
        }),
        (
            "would go",
            shown(session.would_delete([(family.asset, Expectation::Any)])),
        ),
    ]
}

/// Opens the catalog anew over the same rows and reads everything: right, or `Corrupt` naming the place. How many reads were refused.
#[track_caller]
fn read_all(filled: &Filled, right: &[(&str, Result<String>)], space: Keyspace, key: &[u8]) -> usize {
    let corrupt = |error: &Error| {
        let message = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{message}");
        assert!(
            message.contains(&format!("keyspace {} ", space.name())),
            "{message}"
        );
        assert!(message.contains(&hex(key)), "{message}");
    };
    let catalog = match Options::new().on_backend(filled.backend.clone()) {
        Ok(catalog) => catalog,
        Err(error) => {
            corrupt(&error);
            return 1;
        }
    };
    let mut refused = 0;
    let found = answers(&session(&catalog, "acme"), filled.family);
    for ((name, answer), (_, right)) in found.iter().zip(right) {
        match answer {
            Ok(answer) => assert_eq!(Some(answer), right.as_ref().ok(), "{name}"),
            Err(error) => {
                corrupt(error);
                refused += 1;
            }
        }
    }
    refused
}

#[test]
fn a_flipped_byte_of_a_primary_row_is_found_and_never_a_wrong_answer() {
    for filled in Filled::both() {
        let right = answers(&session(&filled.catalog, "acme"), filled.family);
        assert!(right.iter().all(|(_, answer)| answer.is_ok()));
        let original = dump(&*filled.backend);
        // Every byte where that is cheap, some of them elsewhere.
        let stride = if filled.name == "memory" { 1 } else { 11 };
        let primary = |space: &&Keyspace| !space.is_derived() && !space.remembers();
        for &space in Keyspace::ALL.iter().filter(primary) {
            let mut refused = 0;
            for (key, value) in &original[&space] {
                for at in (0..value.len()).step_by(stride) {
                    let mut flipped = value.clone();
                    flipped[at] ^= 1 << (at % 8);
                    filled.put(space, key, &flipped);
                    let report = filled.check();
                    let found = report
                        .findings
                        .iter()
                        .find(|finding| finding.keyspace == space && finding.key == *key);
                    let found =
                        found.unwrap_or_else(|| panic!("byte {at} of {} in {}", hex(key), space.name()));
                    assert_eq!(found.kind, FindingKind::Unreadable, "{found}");
                    refused += read_all(&filled, &right, space, key);
                    if at % 8 == 0 {
                        let repaired = filled.repair();
                        assert!(repaired.left.contains(found), "{found}");
                    }
                    filled.put(space, key, value);
                    // Nothing was mended that was not broken.
                    assert!(
                        dump(&*filled.backend) == original,
                        "{}: a repair beside {found}",
                        filled.name
                    );
                }
            }
            assert!(
                refused > 0 || space == Keyspace::Tenant,
                "nobody reads {}",
                space.name()
            );
        }
        assert_clean(&filled.catalog, filled.name);
    }
}

#[test]
fn a_value_under_anothers_key_is_found() {
    for filled in Filled::both() {
        let right = answers(&session(&filled.catalog, "acme"), filled.family);
        let original = dump(&*filled.backend);
        for &space in Keyspace::ALL.iter().filter(|space| !space.is_derived()) {
            for (key, value) in &original[&space] {
                let others = original
                    .values()
                    .flatten()
                    .filter(|(_, other)| !other.is_empty() && *other != value);
                for (_, other) in others.step_by(3) {
                    filled.put(space, key, other);
                    let report = filled.check();
                    assert!(
                        report.findings.iter().any(|finding| finding.key == *key
                            && finding.keyspace == space
                            && finding.kind == FindingKind::Unreadable),
                        "{:?}",
                        report.findings
                    );
                    read_all(&filled, &right, space, key);
                }
                filled.put(space, key, value);
            }
        }
        assert_clean(&filled.catalog, filled.name);
    }
}

fn key_of(space: Keyspace, filled: &Filled, id: EntityId) -> Vec<u8> {
    let ends = |key: &&Vec<u8>| key.ends_with(&hex_bytes(&id.uuid().to_string()));
    filled
        .rows(space)
        .keys()
        .find(ends)
        .cloned()
        .expect("a row of the entity")
}

fn hex_bytes(uuid: &str) -> Vec<u8> {
    let digits: Vec<u32> = uuid.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

#[test]
fn a_parent_without_its_row_leaves_orphans_that_are_refused() {
    let parents: [(Keyspace, fn(Family) -> EntityId, usize); 2] = [
        (Keyspace::Asset, |family| family.asset.into(), 3),
        (Keyspace::Store, |family| family.store.into(), 1),
    ];
    for (space, parent, children) in parents {
        for filled in Filled::both() {
            let session = session(&filled.catalog, "acme");
            let key = key_of(space, &filled, parent(filled.family));
            filled.delete(space, &key);
            let orphans = |findings: &[Finding]| {
                findings
                    .iter()
                    .filter(|finding| finding.kind == FindingKind::Orphan)
                    .count()
            };
            assert_eq!(orphans(&filled.check().findings), children, "{}", space.name());
            let error = session.get(filled.family.set).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(&hex(&key)), "{error}");
            // What was derived from the lost row can go; the orphans stay for a person to decide.
            let repaired = filled.repair();
            assert_eq!(orphans(&repaired.left), repaired.left.len());
            assert_eq!(repaired.left.len(), children);
            let left = filled.check().findings;
            assert_eq!(orphans(&left), left.len(), "{left:?}");
        }
    }
}

#[test]
fn lost_schemas_are_found_and_their_set_is_not_shown_without() {
    for filled in Filled::both() {
        let session = session(&filled.catalog, "acme");
        let set = filled.family.set;
        let key = key_of(Keyspace::SetSchema, &filled, set.into());
        filled.delete(Keyspace::SetSchema, &key);
        let findings = filled.check().findings;
        assert_eq!(
            (findings.len(), findings[0].kind),
            (1, FindingKind::Unreadable),
            "{findings:?}"
        );
        assert_eq!(findings[0].key, key);
        assert_eq!(session.get(set).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(session.get_many(&[set]).unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(session.get_head(set).unwrap().is_some());
        assert_eq!(filled.repair().left, findings);
    }
}

#[test]
fn a_set_without_its_head_is_cleared_away() {
    for filled in Filled::both() {
        let session = session(&filled.catalog, "acme");
        let third = session
            .find_by_name::<DataSet>(SetSelection::All, "third")
            .unwrap()[0]
            .id;
        filled.delete(Keyspace::Set, &key_of(Keyspace::Set, &filled, third.into()));
        let kinds: Vec<FindingKind> = filled
            .check()
            .findings
            .iter()
            .map(|finding| finding.kind)
            .collect();
        assert!(kinds.contains(&FindingKind::StraySchema) && kinds.contains(&FindingKind::StrayIndexEntry));
        assert!(filled.repair().left.is_empty());
        assert_clean(&filled.catalog, filled.name);
        assert_eq!(session.count::<DataSet>(filled.family.asset).unwrap(), 2);
    }
}

#[test]
fn a_row_of_no_tenant_is_found_and_left() {
    for filled in Filled::both() {
        let tenant = filled
            .rows(Keyspace::Tenant)
            .into_iter()
            .next()
            .expect("a tenant");
        filled.delete(Keyspace::Tenant, &tenant.0);
        let repaired = filled.repair();
        assert!(repaired.mended.is_empty());
        assert!(
            repaired
                .left
                .iter()
                .all(|finding| finding.kind == FindingKind::UnknownTenant)
        );
        // A store, an asset, three sets, two schemas.
        assert_eq!(repaired.left.len(), 7, "{:?}", repaired.left);
        filled.put(Keyspace::Tenant, &tenant.0, &tenant.1);
        assert_clean(&filled.catalog, filled.name);
    }
}
