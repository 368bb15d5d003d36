//! Group commit: shared commits, each caller with its own outcome.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use shelfmark::{
    AssetId, Catalog, DataSet, Error, ErrorKind, Expectation, NewDataAsset, NewDataSet, NewDataStore,
    Options, Patch, Query, Read, Session, Write,
};
use shelfmark_testkit::{Fault, FaultyBackend, MemoryBackend};

const THREADS: usize = 64;

fn new_set(asset: AssetId, name: impl std::fmt::Display) -> NewDataSet {
    NewDataSet::new(
        asset,
        format!("set_{name}"),
        format!("qdf:files:acme:{name}"),
        format!("qri:{name}"),
    )
}

fn asset_in(session: &Session) -> AssetId {
    let store = session
        .create(NewDataStore::new("warehouse", "postgres"))
        .expect("a store");
    session
        .create(NewDataAsset::new(store.id, "sales", "qix-df"))
        .expect("an asset")
        .id
}

/// Runs `work` on many threads at once.
fn together<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let (barrier, work) = (&barrier, &work);
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    barrier.wait();
                    work(thread)
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("a thread"))
            .collect()
    })
}

#[test]
fn many_durable_writers_share_commits() {
    const EACH: usize = 40;
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = Catalog::create(directory.path().join("catalog.shelf")).expect("a catalog");
    let session = catalog.session("acme", "ann").expect("a session");
    let asset = asset_in(&session);
    let before = catalog.stats().expect("figures").backend.commits;
    together(THREADS, |thread| {
        for n in 0..EACH {
            session
                .create(new_set(asset, format!("{thread}_{n}")))
                .expect("a set");
        }
    });
    let stats = catalog.stats().expect("figures");
    let (commits, writes) = (stats.backend.commits - before, (THREADS * EACH) as u64);
    assert!(commits <= writes / 8, "{writes} writes took {commits} commits");
    assert_eq!(stats.grouped_writes, writes + 2);
    assert_eq!(session.count::<DataSet>(asset).expect("a count"), writes);
    assert!(catalog.check().expect("a check").is_clean());
}

#[test]
fn each_member_of_a_group_has_its_own_outcome() {
    let catalog = Catalog::in_memory().expect("a catalog");
    let session = catalog.session("acme", "ann").expect("a session");
    let asset = asset_in(&session);
    let nowhere: AssetId = "00000000-0000-7000-8000-000000000000".parse().expect("an id");
    let created = AtomicU64::new(0);
    for round in 0..20 {
        together(24, |thread| match thread % 3 {
            0 => {
                session
                    .create(new_set(asset, format!("{round}_{thread}")))
                    .expect("a set");
                created.fetch_add(1, Ordering::Relaxed);
            }
            1 => {
                let error = session
                    .create(new_set(nowhere, thread))
                    .expect_err("no such asset");
                assert_eq!(error.kind(), ErrorKind::NotFound);
            }
            _ => {
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    session.run(move |_| -> Result<(), Error> { std::panic::panic_any(thread) })
                }));
                assert_eq!(panicked.expect_err("a panic").downcast_ref(), Some(&thread));
            }
        });
    }
    assert_eq!(
        session.count::<DataSet>(asset).expect("a count"),
        created.into_inner()
    );
    assert!(catalog.check().expect("a check").is_clean());
}

#[test]
fn of_many_in_a_group_that_expect_one_version_one_wins() {
    let catalog = Catalog::in_memory().expect("a catalog");
    let session = catalog.session("acme", "ann").expect("a session");
    let store = session
        .create(NewDataStore::new("warehouse", "postgres"))
        .expect("a store");
    for version in 0..30 {
        let outcomes = together(16, |thread| {
            let new = NewDataStore {
                name: Some(format!("{version}_{thread}")),
                ..NewDataStore::new("w", "pg")
            };
            session
                .replace(store.id, version, new)
                .map(|store| store.version)
                .map_err(|error| error.kind())
        });
        let won = outcomes
            .iter()
            .filter(|outcome| **outcome == Ok(version + 1))
            .count();
        let lost = outcomes
            .iter()
            .filter(|outcome| **outcome == Err(ErrorKind::VersionConflict))
            .count();
        assert_eq!((won, lost), (1, 15));
    }
}

#[test]
fn a_commit_that_fails_fails_all_of_its_group_and_nobody_else() {
    let backend = FaultyBackend::new(Arc::new(MemoryBackend::new()));
    let faults = backend.faults();
    let catalog = Options::new().on_backend(Arc::new(backend)).expect("a catalog");
    let session = catalog.session("acme", "ann").expect("a session");
    let asset = asset_in(&session);
    faults.arm(Fault::before_commit(ErrorKind::Io));
    // The first leads alone and is held; the others gather behind it.
    let gate = faults.hold_commits();
    let outcomes = std::thread::scope(|scope| {
        let first = scope.spawn(|| session.create(new_set(asset, "first")));
        assert!(gate.wait_for(1, Duration::from_secs(20)), "nobody leads");
        let others: Vec<_> = (0..8)
            .map(|n| {
                let session = &session;
                scope.spawn(move || session.create(new_set(asset, n)))
            })
            .collect();
        drop(gate);
        let first = first.join().expect("a thread");
        (
            first,
            others
                .into_iter()
                .map(|other| other.join().expect("a thread"))
                .collect::<Vec<_>>(),
        )
    });
    assert_eq!(outcomes.0.expect_err("the armed fault").kind(), ErrorKind::Io);
    assert!(outcomes.1.iter().all(Result::is_ok), "another group failed too");
    let names = session
        .list_names(&Query::<DataSet>::of(asset).limit(100))
        .expect("a list");
    assert_eq!(names.items.len(), 8);
    assert!(catalog.check().expect("a check").is_clean());
}

/// Each change is worked out before it queues, on a state that the one in front of it then changes.
#[test]
fn a_change_that_was_overtaken_in_the_queue_is_worked_out_again() {
    let backend = FaultyBackend::new(Arc::new(MemoryBackend::new()));
    let faults = backend.faults();
    let catalog = Options::new().on_backend(Arc::new(backend)).expect("a catalog");
    let session = catalog.session("acme", "ann").expect("a session");
    let asset = asset_in(&session);
    let store = session
        .get(asset)
        .expect("a read")
        .expect("the asset")
        .data_store_info
        .id;
    session
        .update(store, Expectation::Any, |store| store.name = Some("old".into()))
        .expect("an update");
    let named = NewDataStore {
        name: Some("new".into()),
        ..NewDataStore::new("warehouse", "postgres")
    };
    let described = Patch::new().add("/description", "told").expect("a patch");
    let inheriting = Patch::new()
        .test("/dataStoreInfo/name", "old")
        .and_then(|patch| patch.add("/description", "told"))
        .expect("a patch");
    let gate = faults.hold_commits();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| session.replace(store, Expectation::Any, named));
        assert!(gate.wait_for(1, Duration::from_secs(20)), "nobody leads");
        let any = scope.spawn(|| session.patch(store, Expectation::Any, &described));
        let exact = scope.spawn(|| session.replace(store, 1, NewDataStore::new("other", "postgres")));
        let inherits = scope.spawn(|| session.patch(asset, Expectation::Any, &inheriting));
        // For them to work theirs out. Too short a time makes the test weaker, never fail.
        std::thread::sleep(Duration::from_millis(100));
        drop(gate);
        let first = first.join().expect("a thread").expect("a replacement");
        assert_eq!(first.version, 2);
        let any = any.join().expect("a thread").expect("a patch");
        assert_eq!((any.version, any.name.as_deref()), (3, Some("new")));
        let error = exact.join().expect("a thread").expect_err("another version");
        assert_eq!(error.kind(), ErrorKind::VersionConflict);
        let error = inherits
            .join()
            .expect("a thread")
            .expect_err("another name above it");
        assert_eq!(error.kind(), ErrorKind::PatchTestFailed);
    });
}
