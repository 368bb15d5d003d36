//! The write path at its ends: limits and times that no one means, and handles that go while others use them.

use std::sync::{Barrier, mpsc};
use std::time::Duration;

use shelfmark::{
    AllStores, Batch, BatchOutcome, Catalog, ChangeRetention, Concurrency, DataSet, DataStore, DroppedQuery,
    Durability, EntityId, Error, ErrorKind, Expectation, IdempotencyKey, Options, Patch, Query, Read, Result,
    Session, StoreId, Timestamp, Write,
};
use shelfmark_testkit::{TestEnvironment, replay};

use crate::support::{Bed, Watchdog, assert_clean, family, new_asset, new_set, new_store, session};

/// The last millisecond of the year 9999, which is the last that a timestamp has.
const LATEST: i64 = 253_402_300_799_999;

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).expect("a key")
}

fn kind_of<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.expect_err("a refusal").kind()
}

/// Deletes, restores, purges, replays and sweeps. Tells whether a deletion could be undone, and whether a request was answered again.
fn use_all(catalog: &Catalog, name: &str) -> (bool, bool) {
    let session = catalog.session(name, "ann").expect("a session");
    let family = family(&session);
    session
        .delete(family.asset, Expectation::Any)
        .expect("a deletion");
    let listed = session
        .list_dropped(&DroppedQuery::new().limit(usize::MAX))
        .expect("a list");
    let restored = session.restore(family.asset);
    let undone = restored.is_ok();
    let listed = listed
        .items
        .iter()
        .any(|dropped| dropped.id == family.asset.into());
    assert_eq!(listed, undone);
    if undone {
        session.delete(family.set, Expectation::Any).expect("a deletion");
        assert_eq!(session.purge(family.set).expect("a purge").sets, 1);
    } else {
        assert_eq!(kind_of(restored), ErrorKind::NotFound);
        assert_eq!(kind_of(session.purge(family.asset)), ErrorKind::NotFound);
    }
    // What was answered when the clock stood later has not expired.
    let one = key(&format!(
        "behind {}",
        session.newest_change().expect("a position")
    ));
    let once = |_| session.create_once(&one, new_store("once")).expect("an answer");
    let [first, second] = [0, 1].map(once);
    assert!(!first.replayed);
    assert_eq!(second.replayed, first.value == second.value);
    let mut batch = Batch::new();
    let store = batch.create(new_store("lake"));
    batch.delete(store, 0);
    let error = session.batch_once(&one, &batch).map(drop);
    assert_eq!(
        error.map_err(|error| error.kind()),
        if second.replayed {
            Err(ErrorKind::KeyReused)
        } else {
            Ok(())
        }
    );
    session
        .transact(|tx| {
            tx.delete(family.store, Expectation::Any)
                .or(Ok(Default::default()))
        })
        .expect("a transaction");
    catalog.sweep().expect("a sweep");
    assert_eq!(catalog.sweep().expect("a sweep"), shelfmark::Swept::default());
    assert_clean(catalog, name);
    (undone, second.replayed)
}

#[test]
fn retentions_at_their_ends() {
    let ends = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    for now in [0, TestEnvironment::START, LATEST - 1, LATEST] {
        for duration in ends {
            for count in [0, 1, u64::MAX] {
                let environment = TestEnvironment::new(3);
                environment.set(now);
                let catalog = Options::new()
                    .change_feed(true)
                    .change_retention(ChangeRetention::new().count(count).age(duration))
                    .undrop(duration)
                    .idempotency_expiry(duration)
                    .environment(environment.environment())
                    .in_memory()
                    .expect("a catalog");
                let context = format!("{duration:?} at {now}, {count} changes");
                // Something that is kept for ever ends with time itself.
                let lasts = duration > Duration::ZERO && (now < LATEST || duration < Duration::MAX);
                let (undone, replayed) = use_all(&catalog, "acme");
                if now < LATEST {
                    assert_eq!(
                        (undone, replayed),
                        (!duration.is_zero(), lasts && duration == Duration::MAX),
                        "{context}"
                    );
                }
                let session = session(&catalog, "acme");
                let newest = session.newest_change().expect("a position");
                assert!(
                    session
                        .changes(newest, usize::MAX)
                        .expect("a page")
                        .items
                        .is_empty()
                );
                let kept = match session.changes(None, usize::MAX) {
                    Ok(page) => page.items.len() as u64,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::ChangesTrimmed, "{context}");
                        let oldest = error.oldest_change().expect("a position");
                        session.changes(oldest, usize::MAX).expect("a page").items.len() as u64
                    }
                };
                assert!(kept >= 1 && kept <= count.max(1), "{context}: {kept}");
            }
        }
    }
}

#[test]
fn a_clock_that_jumps_from_end_to_end_leaves_a_sound_catalog() {
    for bed in Bed::all() {
        let environment = TestEnvironment::new(3);
        let catalog = Options::new()
            .change_feed(true)
            .undrop(Duration::from_secs(60))
            .idempotency_expiry(Duration::from_secs(60))
            .change_retention(ChangeRetention::new().age(Duration::from_secs(60)))
            .environment(environment.environment())
            .on_backend(bed.backend.clone())
            .expect("a catalog");
        for (turn, now) in [LATEST, 0, TestEnvironment::START, LATEST, -1, i64::from(i32::MAX)]
            .into_iter()
            .enumerate()
        {
            environment.set(now);
            use_all(&catalog, &format!("tenant {turn}"));
            use_all(&catalog, "acme");
        }
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn nothing_of_another_tenant_is_within_reach() {
    for bed in Bed::all() {
        let catalog = Options::new()
            .change_feed(true)
            .undrop(Duration::MAX)
            .on_backend(bed.backend.clone())
            .expect("a catalog");
        let (theirs, ours) = (session(&catalog, "theirs"), session(&catalog, "ours"));
        let there = family(&theirs);
        let here = family(&ours);
        theirs.delete(there.set, Expectation::Any).expect("a deletion");
        let position = theirs.newest_change().expect("a position");
        let mut foreign = Batch::new();
        let placeholder = foreign.create(new_store("elsewhere"));
        let missing = |error: Error, id: EntityId| {
            assert_eq!(
                (error.kind(), error.missing()),
                (ErrorKind::NotFound, &[id][..]),
                "{}",
                bed.name
            );
        };
        missing(ours.restore(there.set).expect_err("theirs"), there.set.into());
        missing(ours.purge(there.set).expect_err("theirs"), there.set.into());
        assert_eq!(ours.dropped(there.set).expect("a read"), None);
        assert!(
            ours.list_dropped(&DroppedQuery::new())
                .expect("a list")
                .items
                .is_empty()
        );
        assert_eq!(kind_of(ours.changes(position, 10)), ErrorKind::ChangesRewound);
        let attempts: [(EntityId, fn(&mut Batch, &crate::support::Family, StoreId)); 4] = [
            (there.store.into(), |batch, there, _| {
                batch.delete(there.store, Expectation::Any);
            }),
            (there.asset.into(), |batch, there, _| {
                batch.create(new_set(there.asset, "smuggled"));
            }),
            (there.store.into(), |batch, there, _| {
                let patch = Patch::new().add("/name", "mine").expect("a patch");
                batch.patch(there.store, Expectation::Any, patch);
            }),
            (placeholder.into(), |batch, _, placeholder| {
                batch.create(new_asset(placeholder, "nowhere"));
            }),
        ];
        for (id, attempt) in attempts {
            let mut batch = Batch::new();
            batch.create(new_store("decoy"));
            attempt(&mut batch, &there, placeholder);
            let error = ours.batch(&batch).expect_err("theirs");
            assert_eq!(error.failures().len(), 1);
            missing(error, id);
            missing(ours.batch_once(&key("one"), &batch).expect_err("theirs"), id);
        }
        assert_eq!(ours.count::<DataStore>(AllStores).expect("a count"), 1);
        assert!(ours.exists(here.set).expect("a read"));
        assert_eq!(
            theirs.get(there.store).expect("a read").expect("a store").version,
            0
        );
        assert_eq!(theirs.newest_change().expect("a position"), position);
        theirs.restore(there.set).expect("a restoration");
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn of_all_who_restore_or_purge_one_entity_one_does() {
    const ROUNDS: usize = 25;
    const THREADS: usize = 8;
    let _watchdog = Watchdog::new("restorations and purges at once");
    for bed in Bed::all() {
        let catalog = Options::new()
            .change_feed(true)
            .undrop(Duration::from_secs(3_600))
            .unique_technical_names(true)
            .on_backend(bed.backend.clone())
            .expect("a catalog");
        let session = session(&catalog, "acme");
        let store = session.create(new_store("warehouse")).expect("a store").id;
        for round in 0..ROUNDS {
            let asset = session.create(new_asset(store, "sales")).expect("an asset").id;
            session.create(new_set(asset, "orders")).expect("a set");
            session.delete(asset, 0).expect("a deletion");
            let barrier = Barrier::new(THREADS + 1);
            let (done, named) = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS)
                    .map(|thread| {
                        let (session, barrier) = (&session, &barrier);
                        scope.spawn(move || {
                            barrier.wait();
                            match thread % 2 {
                                0 => session.restore(asset).map(|asset| assert_eq!(asset.version, 1)),
                                _ => session.purge(asset).map(|deleted| assert_eq!(deleted.sets, 1)),
                            }
                        })
                    })
                    .collect();
                barrier.wait();
                // The name that a restoration would take.
                let named = session.create(new_asset(store, "Sales"));
                let outcomes: Vec<Result<()>> = threads
                    .into_iter()
                    .map(|thread| thread.join().expect("a thread"))
                    .collect();
                for outcome in &outcomes {
                    if let Err(error) = outcome {
                        let expected = [ErrorKind::NotFound, ErrorKind::NameTaken];
                        assert!(expected.contains(&error.kind()), "{}: {error}", bed.name);
                    }
                }
                (outcomes.iter().filter(|outcome| outcome.is_ok()).count(), named)
            });
            assert_eq!(done, 1, "{}, round {round}", bed.name);
            let restored = session.exists(asset).expect("a read");
            // Whoever has the name, one has it.
            assert_eq!(named.is_err(), restored, "{}: {named:?}", bed.name);
            assert_eq!(session.dropped(asset).expect("a read"), None);
            let all = session
                .list(&Query::<shelfmark::DataAsset>::new())
                .expect("a list")
                .items;
            assert_eq!(all.len(), 1, "{}", bed.name);
            session.delete(all[0].id, Expectation::Any).expect("a deletion");
        }
        assert_eq!(session.count::<DataSet>(store).expect("a count"), 0);
        assert_eq!(
            replay::replay(&session).expect("a feed"),
            replay::held(&session).expect("a read")
        );
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn the_last_handle_takes_the_watchers_with_it_and_the_file_is_free() {
    let _watchdog = Watchdog::new("a watcher of a catalog that is gone");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("catalog.shelf");
    let options = Options::new().change_feed(true);
    let catalog = options.create(&path).expect("a catalog");
    let clone = catalog.clone();
    let (told, heard) = mpsc::channel();
    // A thread that does nothing but follow, as a service has them.
    let follower = {
        let session = session(&catalog, "acme");
        std::thread::spawn(move || {
            let mut position = None;
            loop {
                match session.watch(position, 10, Duration::MAX) {
                    Ok(page) => {
                        told.send(page.items.len()).expect("one who hears");
                        position = Some(page.position);
                    }
                    Err(error) => return error.kind(),
                }
            }
        })
    };
    drop(catalog);
    // One handle is enough to wait.
    session(&clone, "acme")
        .create(new_store("warehouse"))
        .expect("a store");
    assert_eq!(heard.recv(), Ok(1));
    drop(clone);
    assert_eq!(follower.join().expect("a follower"), ErrorKind::Closed);
    let catalog = options.open(&path).expect("a file that nobody holds");
    let session = session(&catalog, "acme");
    drop(catalog);
    // A session works on, but does not wait.
    let start = session.newest_change().expect("a position");
    assert_eq!(
        kind_of(session.watch(start, 10, Duration::MAX)),
        ErrorKind::Closed
    );
    assert!(
        session
            .watch(start, 10, Duration::ZERO)
            .expect("a look")
            .items
            .is_empty()
    );
    session.create(new_store("lake")).expect("a store");
    assert_eq!(
        session
            .watch(start, 10, Duration::MAX)
            .expect("a page")
            .items
            .len(),
        1
    );
}

#[test]
fn a_reader_of_another_opening_follows_the_feed() {
    let _watchdog = Watchdog::new("a reader of another opening");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("catalog.shelf");
    let options = || {
        Options::new()
            .change_feed(true)
            .undrop(Duration::from_secs(60))
            .concurrency(Concurrency::SingleWriter)
    };
    let writer = options().create(&path).expect("a catalog");
    let reader = options().read_only(true).open(&path).expect("a reader");
    let (writing, reading) = (session(&writer, "acme"), session(&reader, "acme"));
    let start = reading.newest_change().expect("a position");
    let page = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| reading.watch(start, 1, Duration::MAX));
        writing.create(new_store("warehouse")).expect("a store");
        watcher.join().expect("a watcher")
    });
    let store = page.expect("a page").items[0].id;
    // Its own deferred commits would be shown to nobody else.
    let deferred = writing.clone().with_durability(Durability::Deferred);
    assert_eq!(
        kind_of(deferred.create(new_store("lake"))),
        ErrorKind::Unsupported
    );
    let EntityId::Store(store) = store else {
        panic!("{store}")
    };
    writing.delete(store, 0).expect("a deletion");
    assert!(reading.dropped(store).expect("a read").is_some());
    assert_eq!(kind_of(reading.restore(store)), ErrorKind::ReadOnly);
    assert_eq!(kind_of(reading.purge(store)), ErrorKind::ReadOnly);
    assert_eq!(
        kind_of(reading.create_once(&key("one"), new_store("one"))),
        ErrorKind::ReadOnly
    );
    let mut batch = Batch::new();
    batch.create(new_store("one"));
    assert_eq!(kind_of(reading.batch(&batch)), ErrorKind::ReadOnly);
    writing.restore(store).expect("a restoration");
    let events: Vec<&str> = reading
        .changes(None, 10)
        .expect("a page")
        .items
        .iter()
        .map(|change| change.event.name())
        .collect();
    assert_eq!(events, ["created", "deleted", "restored"]);
    assert_eq!(
        replay::replay(&reading).expect("a feed"),
        replay::held(&writing).expect("a read")
    );
    assert_clean(&reader, "the reader");
}

/// All options at once, commits deferred; what the file says is the same after an opening and in a copy.
#[test]
fn with_everything_on_a_file_and_its_copy_tell_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let paths = ["catalog", "copy"].map(|name| directory.path().join(name).with_extension("shelf"));
    let environment = TestEnvironment::new(5);
    let options = Options::new()
        .change_feed(true)
        .undrop(Duration::from_secs(3_600))
        .unique_technical_names(true)
        .durability(Durability::Deferred)
        .environment(environment.environment());
    let catalog = options.create(&paths[0]).expect("a catalog");
    let one = session(&catalog, "acme");
    let mut batch = Batch::new();
    let store = batch.create(new_store("warehouse"));
    let asset = batch.create(new_asset(store, "sales"));
    let set = batch.create(new_set(asset, "orders"));
    batch.patch(set, 0, Patch::new().add("/name", "Orders").expect("a patch"));
    batch.create(new_set(asset, "returns"));
    let outcomes = one.batch_once(&key("one"), &batch).expect("a batch").value;
    let (Some(store), Some(asset), Some(set)) = (outcomes[0].store(), outcomes[1].asset(), outcomes[3].set())
    else {
        panic!("{outcomes:?}");
    };
    assert!(
        one.changes(None, 10).expect("a page").items.is_empty(),
        "nothing of it is durable"
    );
    one.delete(asset.id, 0).expect("a deletion");
    one.restore(asset.id).expect("a restoration");
    one.delete(set.id, 1).expect("a deletion");
    one.purge(set.id).expect("a purge");
    assert!(one.batch_once(&key("one"), &batch).expect("a batch").replayed);
    let mut failing = Batch::new();
    failing.create(new_store("lost"));
    failing.delete(store.id, 7);
    one.batch(&failing).expect_err("a conflict");
    one.delete(asset.id, 1).expect("a deletion");
    assert!(one.changes(None, 10).expect("a page").items.is_empty());
    catalog.sync().expect("a sync");
    let told = |session: &Session| -> Vec<(&'static str, EntityId, u64, usize)> {
        let page = session.changes(None, 100).expect("a page");
        let items = page.items.iter();
        items
            .map(|change| {
                (
                    change.event.name(),
                    change.id,
                    change.version,
                    change.descendants.len(),
                )
            })
            .collect()
    };
    let other = outcomes[4].id().expect("an id");
    let (store, asset, set) = (
        EntityId::from(store.id),
        EntityId::from(asset.id),
        EntityId::from(set.id),
    );
    let expected = [
        ("created", store, 0, 0),
        ("created", asset, 0, 0),
        ("created", set, 0, 0),
        ("updated", set, 1, 0),
        ("created", other, 0, 0),
        ("deleted", asset, 0, 0),
        ("deleted", asset, 0, 2),
        ("restored", asset, 1, 0),
        ("restored", asset, 1, 2),
        ("deleted", set, 1, 0),
        ("purged", set, 1, 0),
        ("deleted", asset, 1, 0),
        ("deleted", asset, 1, 1),
    ];
    assert_eq!(told(&one), expected);
    catalog.backup(&paths[1]).expect("a backup");
    drop((one, catalog));
    let EntityId::Asset(asset) = asset else {
        panic!("{asset}")
    };
    for path in paths {
        let catalog = options.open(&path).expect("a catalog");
        let session = session(&catalog, "acme");
        assert_eq!(told(&session), expected, "{}", path.display());
        assert_eq!(
            replay::replay(&session).expect("a feed"),
            replay::held(&session).expect("a read")
        );
        assert_clean(&catalog, "before");
        let again = session.batch_once(&key("one"), &batch).expect("a batch");
        assert!(again.replayed);
        assert_eq!(
            again.value.iter().map(BatchOutcome::id).collect::<Vec<_>>(),
            outcomes.iter().map(BatchOutcome::id).collect::<Vec<_>>()
        );
        assert_eq!(session.restore(asset).expect("a restoration").version, 2);
        assert_eq!(session.count::<DataSet>(asset).expect("a count"), 1);
        catalog.sync().expect("a sync");
        assert_eq!(
            replay::replay(&session).expect("a feed"),
            replay::held(&session).expect("a read")
        );
        assert_clean(&catalog, "after");
    }
}

#[test]
fn a_time_beyond_the_last_is_none() {
    assert!(Timestamp::from_millis(LATEST).is_ok());
    assert!(Timestamp::from_millis(LATEST + 1).is_err());
}
