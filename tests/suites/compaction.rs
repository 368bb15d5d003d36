//! Compaction that packs: what it gives back, and what a crash or a fault in the middle of it leaves.

use std::io;
use std::sync::Arc;

use shelfmark::{Catalog, DataSet, Durability, ErrorKind, Health, NewDataSet, Options, Query, Read, Write};
use shelfmark_testkit::storage::{Call, Image, RecordingStorage, Rows, StorageFault, judge, rows_of};

use crate::support::{Bed, assert_clean, dump, family, figures, long_version, new_set, new_store, session};

/// Creates sets whose names come in no order, in many commits, so that pages of indexes split in their middles.
fn fill(catalog: &Catalog, commits: u64) {
    let session = session(catalog, "acme").with_durability(Durability::Deferred);
    let family = family(&session);
    for commit in 0..commits {
        // A multiplier that is prime to the modulus names each once.
        let names =
            (commit * 100..commit * 100 + 100).map(|n| format!("set {:06}", n * 2_654_435_761 % 999_983));
        let sets = names.map(|name| NewDataSet {
            name: Some(name.clone()),
            ..new_set(family.asset, &name)
        });
        session.create_all(sets).expect("sets");
    }
    catalog.sync().expect("a sync");
}

/// In a small file, what a table has beside its rows weighs more.
fn compact_and_pack(catalog: &Catalog, loose_part: u64) {
    let report = catalog.compact().expect("a smaller file");
    let loose = catalog
        .stats()
        .expect("stats")
        .backend
        .fragmented_bytes
        .expect("a figure");
    assert!(loose < report.size_after / loose_part, "{loose} of {report:?}");
}

#[test]
fn compaction_packs_what_came_in_no_order() {
    let bed = Bed::in_a_file();
    let catalog = bed.catalog();
    fill(&catalog, 40);
    let rows = dump(&*bed.backend);
    compact_and_pack(&catalog, 6);
    assert!(dump(&*bed.backend) == rows);
    assert!(catalog.verify().unwrap().intact);
    assert_clean(&catalog, "packed");
    let again = catalog.compact().unwrap();
    assert_eq!(again.size_before, again.size_after, "nothing is left to pack");
    let session = session(&catalog, "acme");
    let all = session.list(&Query::<DataSet>::new().limit(1)).unwrap();
    let asset = all.items[0].data_asset_info.id;
    session.create(new_set(asset, "set 000500 and a half")).unwrap();
    assert_clean(&catalog, "packed and written to");
}

/// A closed catalog with pages to pack, and its rows.
fn loose() -> (Image, Rows) {
    let storage = RecordingStorage::new();
    let backend = Options::new()
        .create_backend_on(Arc::new(storage.clone()))
        .expect("a catalog");
    let catalog = Options::new().on_backend(backend.clone()).expect("a catalog");
    fill(&catalog, 12);
    let rows = rows_of(&*backend).expect("rows");
    drop((catalog, backend));
    (storage.bytes(), rows)
}

fn open(storage: &RecordingStorage) -> (Catalog, Arc<dyn shelfmark::backend::Backend>) {
    let options = Options::new().cache_bytes(1 << 20);
    let backend = options
        .open_backend_on(Arc::new(storage.clone()))
        .expect("a catalog");
    (options.on_backend(backend.clone()).expect("a catalog"), backend)
}

#[test]
fn a_crash_while_rows_are_packed_loses_none() {
    let (image, rows) = loose();
    let storage = RecordingStorage::holding(image).recording();
    let (catalog, backend) = open(&storage);
    drop(storage.take_points());
    compact_and_pack(&catalog, 3);
    drop((catalog, backend));
    let (mut images, mut recoveries) = (0, 0);
    for (seed, point) in storage.take_points().iter().enumerate() {
        for (survivors, image) in point.images(if long_version() { 500 } else { 3 }, seed as u64) {
            images += 1;
            let at = |wrong: String| -> ! { panic!("{survivors:?} of sync {seed}: {wrong}") };
            let recovered = judge(image, std::slice::from_ref(&rows)).unwrap_or_else(|wrong| at(wrong));
            if images % 60 != 0 {
                continue;
            }
            for point in recovered.take_points() {
                for (_, image) in point.images(3, images) {
                    recoveries += 1;
                    judge(image, std::slice::from_ref(&rows)).unwrap_or_else(|wrong| at(wrong));
                }
            }
        }
    }
    figures(
        "crash images of a compaction",
        &format!("{images} images, {recoveries} images of recoveries, 0 losses"),
    );
    assert!(images > 50 && recoveries > 0, "{images}, {recoveries}");
}

#[test]
fn a_fault_while_rows_are_packed_loses_none() {
    let (image, rows) = loose();
    let mut refused = 0;
    for call in Call::ALL {
        for nth in 1.. {
            let storage = RecordingStorage::holding(image.clone());
            let (catalog, backend) = open(&storage);
            storage.arm(StorageFault {
                call,
                nth,
                error: io::ErrorKind::StorageFull,
                short: nth % 2 == 0,
                lasts: nth % 3 == 0,
            });
            let outcome = catalog.compact();
            let struck = storage.struck();
            storage.mend();
            if let Err(error) = &outcome {
                refused += 1;
                let kinds = [
                    ErrorKind::StorageFull,
                    ErrorKind::CommitUnknown,
                    ErrorKind::Unavailable,
                ];
                assert!(kinds.contains(&error.kind()), "{call:?} {nth}: {error}");
            }
            if catalog.health() != Health::Healthy {
                catalog.reopen().unwrap();
            }
            assert!(rows_of(&*backend).unwrap() == rows, "{call:?} {nth}");
            session(&catalog, "acme").create(new_store("after")).unwrap();
            assert_clean(&catalog, "after a fault");
            if !struck {
                outcome.unwrap();
                break;
            }
        }
    }
    figures("compactions on a failing storage", &format!("{refused} refused"));
    assert!(refused > 0);
}
