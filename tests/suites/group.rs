//! Group commit: shared commits, each caller with its own outcome.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use shelfmark::{
    AssetId, Catalog, DataSet, Durability, Error, ErrorKind, Expectation, NewDataAsset, NewDataSet,
    NewDataStore, Options, Patch, Query, Read, Session, Write,
};
use shelfmark_testkit::storage::{RecordingStorage, Survivors};
use shelfmark_testkit::{Fault, Faults, FaultyBackend, MemoryBackend};

use crate::support::Random;

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

/// Makes one write wait in its commit, then queues `writes` behind it one by one, and lets them go. Gives what came of each, in the order in which they queued.
fn queued<T: Send>(
    (catalog, session, faults): (&Catalog, &Session, &Faults),
    writes: usize,
    write: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let gate = faults.hold_commits();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| session.create(NewDataStore::new("first", "postgres")));
        assert!(gate.wait_for(1, Duration::from_secs(20)), "nobody leads");
        let write = &write;
        let running: Vec<_> = (0..writes)
            .map(|n| {
                let running = std::thread::Builder::new()
                    .stack_size(512 << 10)
                    .spawn_scoped(scope, move || write(n))
                    .expect("a thread");
                let waiting = || catalog.activity().queued_writes;
                for _ in 0..20_000 {
                    if waiting() > n as u64 {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                assert_eq!(waiting(), n as u64 + 1, "it does not queue");
                running
            })
            .collect();
        drop(gate);
        first.join().expect("a thread").expect("a store");
        running
            .into_iter()
            .map(|write| write.join().expect("a thread"))
            .collect()
    })
}

/// Whatever has gathered goes in groups of a bounded size, in the order in which it came: nobody waits behind more groups than those ahead of him fill.
#[test]
fn groups_are_bounded_and_first_come_first_served() {
    // As many as a group may have and some; few with much, so that bytes bound it.
    for (writes, bytes, most, groups) in [(600, 0, 512, 2), (25, 900_000, 10, 3)] {
        let backend = FaultyBackend::new(Arc::new(MemoryBackend::new()));
        let faults = backend.faults();
        let options = Options::new().change_feed(true);
        let catalog = options.on_backend(Arc::new(backend)).expect("a catalog");
        let session = catalog.session("acme", "ann").expect("a session");
        let asset = asset_in(&session);
        let position = session.newest_change().expect("a position");
        let before = catalog.activity();
        let filling = serde_json::json!({ "filling": "x".repeat(bytes) });
        let ids = queued((&catalog, &session, &faults), writes, |n| {
            let new = NewDataSet {
                properties: filling.as_object().cloned(),
                ..new_set(asset, n)
            };
            session.create(new).expect("a set").id
        });
        let after = catalog.activity();
        assert_eq!(after.grouped_writes - before.grouped_writes, writes as u64 + 1);
        // One more is that of the write that was held.
        let made = after.groups - before.groups - 1;
        assert_eq!(made, groups, "{writes} writes, at most {most} in a group");
        let told = session.changes(position, 1_000).expect("changes").items;
        let order = told.iter().skip(1).map(|change| change.id);
        assert!(
            order.eq(ids.into_iter().map(Into::into)),
            "in another order than they came"
        );
    }
}

/// Of a group that has both, what was to be durable is, whoever leads.
#[test]
fn a_group_is_as_durable_as_its_strictest_member_asks() {
    for seed in 0..8 {
        let mut random = Random::new(seed);
        let storage = RecordingStorage::new();
        let options = Options::new().commit_log_on(storage.log());
        let backend = options
            .create_backend_on(Arc::new(storage.clone()))
            .expect("a backend");
        let backend = FaultyBackend::new(backend);
        let faults = backend.faults();
        let catalog = options.on_backend(Arc::new(backend)).expect("a catalog");
        let session = catalog.session("acme", "ann").expect("a session");
        let asset = asset_in(&session);
        let durable: Vec<bool> = (0..6).map(|_| random.below(2) == 0).collect();
        let ids = queued((&catalog, &session, &faults), durable.len(), |n| {
            let durability = if durable[n] {
                Durability::Immediate
            } else {
                Durability::Deferred
            };
            let session = session.clone().with_durability(durability);
            session.create(new_set(asset, n)).expect("a set").id
        });
        let left = RecordingStorage::holding(storage.crash_point().image(Survivors::None));
        let options = Options::new().commit_log_on(left.log());
        let backend = options.open_backend_on(Arc::new(left)).expect("a recovery");
        let catalog = options.on_backend(backend).expect("a catalog");
        let session = catalog.session("acme", "ann").expect("a session");
        for (id, durable) in ids.into_iter().zip(durable) {
            let there = session.exists(id).expect("a read");
            assert!(there || !durable, "seed {seed}: {id} is lost");
        }
    }
}
