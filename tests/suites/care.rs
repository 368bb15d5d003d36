//! Check, repair, backup, compaction, health. Damage goes below the catalog, through the backend that it stands on.

mod damage;
mod damage_feed;
mod dropped;
mod requests;

use std::fmt::Debug;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shelfmark::backend::{Backend, Direction, KeyRange, Keyspace};
use shelfmark::{
    Catalog, CheckReport, DataAsset, DataSet, DataStore, Durability, EntityId, Error, ErrorKind, Expectation,
    Finding, FindingKind, Health, NewDataSet, Options, Projection, Query, Read, RepairReport, Result,
    Session, SetSelection, Write,
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
            batch.put(space, key, value);
        });
    }

    fn delete(&self, space: Keyspace, key: &[u8]) {
        damage(&*self.backend, |batch| batch.delete(space, key));
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
                store.properties = number(0);
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
