//! Check, repair, backup, compaction, health. Damage goes below the catalog, through the backend that it stands on.

use std::fmt::Debug;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shelfmark::backend::{Backend, KeyRange, Keyspace};
use shelfmark::{
    Catalog, CheckReport, DataAsset, DataSet, DataStore, Durability, EntityId, Error, ErrorKind, Expectation,
    FindingKind, Health, NewDataSet, Options, Projection, Query, Read, RepairReport, Result, Session,
    SetSelection, Write,
};
use shelfmark_testkit::{Fault, FaultyBackend, MemoryBackend};

use crate::support::{
    Bed, Family, Rows, assert_clean, catalog_on, damage, dump, family, new_set, new_store, number, number_in,
    rows, schema, session,
};

/// A catalog of two tenants, and the backend below it.
struct Filled {
    name: &'static str,
    backend: Arc<dyn Backend>,
    catalog: Catalog,
    family: Family,
}

impl Filled {
    fn new(bed: Bed) -> Self {
        let catalog = bed.catalog();
        let session_of = |tenant| session(&catalog, tenant);
        let family_here = family(&session_of("acme"));
        for name in ["second", "Third"] {
            let set = NewDataSet {
                name: Some(name.to_owned()),
                schema: (name == "Third").then(schema),
                ..new_set(family_here.asset, name)
            };
            session_of("acme").create(set).expect("a set");
        }
        family(&session_of("other"));
        assert_clean(&catalog, bed.name);
        Self {
            name: bed.name,
            backend: bed.backend.clone(),
            catalog,
            family: family_here,
        }
    }

    fn both() -> [Self; 2] {
        let memory: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
        [Self::new(Bed::in_memory()), Self::new(Bed::new("memory", memory))]
    }

    fn rows(&self, space: Keyspace) -> Rows {
        rows(&*self.backend, space)
    }

    fn put(&self, space: Keyspace, key: &[u8], value: &[u8]) {
        damage(&*self.backend, |batch| {
            batch.put(space, key.to_vec(), value.to_vec())
        });
    }

    fn delete(&self, space: Keyspace, key: &[u8]) {
        damage(&*self.backend, |batch| batch.delete(space, key.to_vec()));
    }

    fn check(&self) -> CheckReport {
        self.catalog.check().expect("a check")
    }

    fn repair(&self) -> RepairReport {
        self.catalog.repair().expect("a repair")
    }

    /// That a check finds the damage, and that a repair brings back exactly what was there.
    #[track_caller]
    fn assert_mended(&self, space: Keyspace, original: &impl PartialEq<Dump>, what: &str) {
        let context = format!("{}, {}: {what}", self.name, space.name());
        let report = self.check();
        assert!(!report.is_clean(), "{context} was not found");
        for finding in &report.findings {
            assert!(finding.kind.is_repairable(), "{context}: {finding}");
            // Without counters of its own, a backend counts the rows that are there.
            assert!(
                [space, Keyspace::Counter].contains(&finding.keyspace),
                "{context}: {finding}"
            );
        }
        let repaired = self.repair();
        assert!(repaired.left.is_empty(), "{context}: {:?}", repaired.left);
        assert_eq!(repaired.mended, report.findings, "{context}");
        assert_clean(&self.catalog, &context);
        assert!(*original == dump(&*self.backend), "{context} left something");
    }
}

type Dump = std::collections::BTreeMap<Keyspace, Rows>;

fn derived() -> impl Iterator<Item = Keyspace> {
    Keyspace::ALL.iter().copied().filter(|space| space.is_derived())
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
                    batch.delete_range(space, KeyRange::all())
                });
                filled.assert_mended(space, &original, "an empty keyspace");
            }
        }
    }
}

#[test]
fn an_entry_under_another_parent_is_stray() {
    for filled in Filled::both() {
        let original = dump(&*filled.backend);
        for space in derived().filter(|space| *space != Keyspace::Counter) {
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
                batch.count(counted, prefix.to_vec(), delta)
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
        for &space in Keyspace::ALL.iter().filter(|space| !space.is_derived()) {
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
            let orphans = |findings: &[shelfmark::Finding]| {
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

/// Each transaction adds a set and counts it in the store, so that every state can be told from half of one.
fn write_until(session: &Session, family: Family, done: &AtomicBool, writer: usize) -> Result<u64> {
    let mut written = 0;
    while !done.load(Ordering::Relaxed) && written < 400 {
        session.transact(|tx| {
            tx.create(new_set(family.asset, &format!("{writer} {written}")))?;
            tx.update(family.store, Expectation::Any, |store| {
                store.properties = number(number_in(&store.properties) + 1);
            })
        })?;
        written += 1;
    }
    Ok(written)
}

#[test]
fn a_backup_taken_during_writes_is_one_state() {
    for bed in Bed::all() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = bed.catalog();
        let session = session(&catalog, "acme").with_durability(Durability::Deferred);
        let family = family(&session);
        session.delete(family.set, Expectation::Any).unwrap();
        session
            .update(family.store, Expectation::Any, |store| {
                store.properties = number(0)
            })
            .unwrap();
        let done = AtomicBool::new(false);
        let mut sizes = Vec::new();
        std::thread::scope(|scope| {
            let (session, done) = (&session, &done);
            let writers: Vec<_> = (0..4)
                .map(|writer| scope.spawn(move || write_until(session, family, done, writer)))
                .collect();
            for n in 0..3 {
                let path = directory.path().join(format!("{n}.shelf"));
                catalog.backup(&path).unwrap();
                let copy = Catalog::open(&path).unwrap();
                assert_clean(&copy, bed.name);
                let copied = self::session(&copy, "acme");
                let counted = number_in(&copied.get(family.store).unwrap().unwrap().properties) as u64;
                assert_eq!(
                    copied.count::<DataSet>(family.asset).unwrap(),
                    counted,
                    "{}",
                    bed.name
                );
                assert_eq!(
                    copied.stream(&Query::<DataSet>::new()).unwrap().count() as u64,
                    counted
                );
                // A backup is a catalog like any other.
                copied.create(new_set(family.asset, "in the copy")).unwrap();
                sizes.push(counted);
            }
            done.store(true, Ordering::Relaxed);
            let written: u64 = writers
                .into_iter()
                .map(|writer| writer.join().unwrap().unwrap())
                .sum();
            assert_eq!(session.count::<DataSet>(family.asset).unwrap(), written);
        });
        assert!(sizes.is_sorted());
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn a_backup_replaces_nothing_and_keeps_its_own_counters() {
    for filled in Filled::both() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup.shelf");
        fs::write(&path, "mine").unwrap();
        let error = filled.catalog.backup(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileExists, "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();
        let error = filled
            .catalog
            .backup(directory.path().join("no/such/backup"))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileMissing, "{error}");

        filled.catalog.backup(&path).unwrap();
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        let backend = Options::new().open_backend(&path).unwrap();
        let mut copied = dump(&*backend);
        let mut original = dump(&*filled.backend);
        let counters = copied.remove(&Keyspace::Counter).unwrap();
        original.remove(&Keyspace::Counter);
        assert!(copied == original);
        // Three kinds in two tenants; the assets of a store and the sets of an asset in each.
        assert_eq!(counters.len(), 10);
        let copy = catalog_on(&backend);
        assert_clean(&copy, filled.name);
        let stats = copy.stats().unwrap();
        assert_eq!(
            (stats.tenants, stats.stores, stats.assets, stats.sets),
            (2, 2, 2, 4)
        );
    }
}

#[test]
fn compaction_gives_space_back_and_waits_for_nobody() {
    let bed = Bed::in_a_file();
    let catalog = bed.catalog();
    let session = session(&catalog, "acme").with_durability(Durability::Deferred);
    let family = family(&session);
    let description = Some("so that there is something to give back ".repeat(20));
    let sets = (0..2_000).map(|n| NewDataSet {
        description: description.clone(),
        ..new_set(family.asset, &format!("set {n}"))
    });
    session.create_all(sets).unwrap();
    catalog.sync().unwrap();
    let full = catalog.stats().unwrap();
    assert_eq!(
        (
            full.sets,
            full.backend.open_snapshots,
            full.backend.oldest_snapshot
        ),
        (2_001, 0, None)
    );
    session.delete(family.asset, Expectation::Any).unwrap();
    catalog.sync().unwrap();

    let held = (session.snapshot().unwrap(), catalog.snapshot().unwrap());
    let stats = catalog.stats().unwrap();
    assert_eq!((stats.sets, stats.backend.open_snapshots), (0, 2));
    let first = stats.backend.oldest_snapshot.expect("an age");
    std::thread::sleep(std::time::Duration::from_millis(2));
    let second = catalog.stats().unwrap().backend.oldest_snapshot.expect("an age");
    assert!(second > first);
    for maintained in [catalog.compact(), catalog.verify()] {
        let error = maintained.unwrap_err();
        assert_eq!(
            (error.kind(), error.open_snapshots()),
            (ErrorKind::Busy, Some(2)),
            "{error}"
        );
        assert!(error.to_string().contains("drop them"), "{error}");
    }
    assert!(stats.backend.stored_bytes.unwrap() < full.backend.stored_bytes.unwrap() / 10);
    drop(held);

    let rows = dump(&*bed.backend);
    let report = catalog.compact().unwrap();
    assert!(report.size_after < report.size_before / 2, "{report:?}");
    assert_eq!(
        catalog.stats().unwrap().backend.size_bytes,
        Some(report.size_after)
    );
    assert!(dump(&*bed.backend) == rows);
    assert!(catalog.verify().unwrap().intact);
    assert_clean(&catalog, "compacted");
    session.create(new_store("after")).unwrap();
}

#[test]
fn a_latched_backend_reads_on_and_writes_again_after_reopening() {
    for bed in Bed::all() {
        let faulty = FaultyBackend::new(bed.backend.clone());
        let faults = faulty.faults();
        let backend: Arc<dyn Backend> = Arc::new(faulty);
        let catalog = catalog_on(&backend);
        let session = session(&catalog, "acme");
        let family = family(&session);
        assert_eq!(catalog.health(), Health::Healthy);

        faults.arm(Fault::before_commit(ErrorKind::Io).latching());
        assert_eq!(
            session.create(new_store("lost")).unwrap_err().kind(),
            ErrorKind::Io
        );
        let Health::Latched { reason } = catalog.health() else {
            panic!("{}: healthy after a failure", bed.name);
        };
        assert!(!reason.is_empty());
        let refused = [
            session.create(new_store("refused")).map(drop),
            session
                .transact(|tx| tx.delete(family.set, Expectation::Any))
                .map(drop),
            catalog.drop_tenant("acme").map(drop),
            catalog.sync(),
        ];
        for refused in refused {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.to_string().contains("reopen"), "{error}");
        }
        assert!(session.get(family.set).unwrap().is_some());
        assert_clean(&catalog, bed.name);

        catalog.reopen().unwrap();
        assert_eq!(catalog.health(), Health::Healthy);
        assert_eq!(session.count::<DataStore>(shelfmark::AllStores).unwrap(), 1);
        session.create(new_store("written")).unwrap();

        // Whether it happened cannot be told from the answer, only by reading.
        faults.arm(Fault::after_commit());
        let error = session.create(new_store("in doubt")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CommitUnknown);
        assert_eq!(session.count::<DataStore>(shelfmark::AllStores).unwrap(), 3);
        for fault in [Fault::read(ErrorKind::Io), Fault::snapshot(ErrorKind::Io)] {
            faults.arm(fault);
            assert_eq!(session.get(family.set).unwrap_err().kind(), ErrorKind::Io);
            assert!(session.get(family.set).unwrap().is_some());
        }
        assert_clean(&catalog, bed.name);
    }
}
