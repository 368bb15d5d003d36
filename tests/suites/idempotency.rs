//! Idempotency keys: the first answer again, as it was, and never a second effect.
//!
//! One file: all of it is about one row, from its recording to its end, with a clock of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shelfmark::backend::{Backend, Keyspace};
use shelfmark::{
    AllStores, Batch, Catalog, DataAsset, DataStore, ErrorKind, Expectation, Hook, HookView, IdempotencyKey,
    NewDataSet, NewDataStore, Once, Options, Proposal, Read, Result, Session, Veto, Write,
};
use shelfmark_testkit::{CountingBackend, FaultyBackend, MemoryBackend, TestEnvironment};

use crate::support::{
    Bed, Watchdog, assert_clean, catalog_on, dump, family, new_asset, new_set, new_store, rows, schema,
    session,
};

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).expect("a key")
}

fn stores(session: &Session) -> u64 {
    session.count::<DataStore>(AllStores).expect("a count")
}

fn kind<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.expect_err("refused").kind()
}

#[test]
fn a_replay_is_the_first_answer_as_it_was_and_writes_nothing() {
    for bed in Bed::all() {
        let counting = CountingBackend::new(bed.backend.clone());
        let backend: Arc<dyn Backend> = Arc::new(counting.clone());
        let catalog = catalog_on(&backend);
        let session_ = session(&catalog, "acme");
        let there = family(&session_);
        let new = || NewDataSet {
            name: Some("Events".into()),
            schema: Some(schema()),
            additional_schemas: vec![schema()],
            ..new_set(there.asset, "events")
        };
        let first = session_.create_once(&key("set"), new()).expect("a set");
        assert!(!first.replayed);
        assert_eq!(
            session_.get(first.value.id).expect("a read").as_ref(),
            Some(&first.value)
        );
        let store = session_
            .create_once(&key("store"), new_store("lake"))
            .expect("a store");
        let asset = session_
            .create_once(&key("asset"), new_asset(there.store, "more"))
            .expect("an asset");
        // What was answered changes, its ancestors do, and then it goes.
        let rename = |name: &str| Some(name.to_owned());
        session_
            .update(there.store, 0, |store| store.name = rename("Depot"))
            .expect("a rename");
        session_
            .update(there.asset, 0, |asset| asset.name = rename("Turnover"))
            .expect("a rename");
        session_
            .update(first.value.id, 0, |set| set.schema = None)
            .expect("a change");
        let replays = |session: &Session| {
            let again = session.create_once(&key("set"), new()).expect("a replay");
            assert!(again.replayed);
            assert_eq!(again.value, first.value, "{}", bed.name);
            let again = session
                .create_once(&key("store"), new_store("lake"))
                .expect("a replay");
            assert!(again.replayed && again.value == store.value);
            let again = session
                .create_once(&key("asset"), new_asset(there.store, "more"))
                .expect("a replay");
            assert!(again.replayed && again.value == asset.value);
        };
        counting.reset();
        replays(&session_);
        session_
            .delete(there.asset, Expectation::Any)
            .expect("a deletion");
        counting.reset();
        replays(&session_);
        assert_eq!(counting.counts().commits, 0, "{}", bed.name);
        assert!(!session_.exists(first.value.id).expect("a read"));
        // Opened again it still knows.
        drop((session_, catalog));
        let catalog = catalog_on(&backend);
        replays(&session(&catalog, "acme"));
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn a_batch_that_is_made_anew_is_the_same_request() {
    for bed in Bed::all() {
        let catalog = bed.catalog();
        let session = session(&catalog, "acme");
        let there = family(&session);
        let batch = |name: &str| {
            let mut batch = Batch::new();
            let store = batch.create(new_store(name));
            let asset = batch.create(new_asset(store, "raw"));
            batch.replace(asset, 0, new_asset(store, "cooked"));
            batch.delete(there.set, 0);
            let short = batch.create(new_set(asset, "short-lived"));
            batch.delete(short, Expectation::Any);
            batch
        };
        let first = session.batch_once(&key("b"), &batch("lake")).expect("a batch");
        assert!(!first.replayed);
        let again = session.batch_once(&key("b"), &batch("lake")).expect("a replay");
        assert_eq!((again.replayed, &again.value), (true, &first.value));
        assert_eq!(again.value[1].asset().map(|asset| asset.version), Some(0));
        assert_eq!(again.value[2].asset().map(|asset| asset.version), Some(1));
        let own = batch("lake");
        for _ in 0..2 {
            assert!(session.batch_once(&key("b"), &own).expect("a replay").replayed);
        }
        assert_eq!(
            kind(session.batch_once(&key("b"), &batch("pit"))),
            ErrorKind::KeyReused
        );
        assert_eq!(
            kind(session.batch_once(&key("b"), &Batch::new())),
            ErrorKind::KeyReused
        );
        assert_eq!(stores(&session), 2);
        // The same operations in another order, with another reference, or another expectation, are another request.
        let pair = |turned: bool, second: bool, expected: u64| {
            let mut batch = Batch::new();
            let names = if turned { ["b", "a"] } else { ["a", "b"] };
            let made = names.map(|name| batch.create(new_store(name)));
            batch.create(new_asset(made[usize::from(second)], "below"));
            batch.patch(there.asset, expected, shelfmark::Patch::new());
            session.batch_once(&key("pair"), &batch)
        };
        assert!(!pair(false, false, 0).expect("a batch").replayed);
        assert!(pair(false, false, 0).expect("a replay").replayed);
        for other in [pair(true, false, 0), pair(false, true, 0), pair(false, false, 1)] {
            assert_eq!(kind(other), ErrorKind::KeyReused);
        }
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn a_key_belongs_to_one_request_of_one_actor_of_one_tenant() {
    let catalog = Bed::in_memory().catalog();
    let ann = session(&catalog, "acme");
    let there = family(&ann);
    ann.create_once(&key("k"), new_store("lake")).expect("a store");
    for (outcome, what) in [
        (
            ann.create_once(&key("k"), new_store("pit")).map(drop),
            "another input",
        ),
        (
            ann.create_once(&key("k"), new_asset(there.store, "lake"))
                .map(drop),
            "another kind",
        ),
        (ann.batch_once(&key("k"), &Batch::new()).map(drop), "a batch"),
    ] {
        let error = outcome.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::KeyReused, "{what}");
        assert!(error.to_string().contains("\"k\""), "{error}");
    }
    let bob = catalog.session("acme", "bob").expect("a session");
    let other = session(&catalog, "other");
    for session in [&bob, &other] {
        let theirs = session
            .create_once(&key("k"), new_store("pit"))
            .expect("their own");
        assert!(!theirs.replayed);
        assert_eq!(theirs.value.created_by, session.actor());
    }
    // Where one name ends and the next begins counts.
    let one = catalog.session("acme", "ab").expect("a session");
    let two = catalog.session("acme", "a").expect("a session");
    one.create_once(&key("c"), new_store("of ab")).expect("a store");
    assert!(
        !two.create_once(&key("bc"), new_store("of a"))
            .expect("a store")
            .replayed
    );
    // A fingerprint of one's own decides alone, but an answer of another form is none.
    let own = |n: u8| key("own").fingerprint([n; 32]);
    let first = ann.create_once(&own(1), new_store("first")).expect("a store");
    let again = ann.create_once(&own(1), new_store("whatever")).expect("a replay");
    assert_eq!((again.replayed, again.value), (true, first.value));
    assert_eq!(
        kind(ann.create_once(&own(2), new_store("first"))),
        ErrorKind::KeyReused
    );
    assert_eq!(
        kind(ann.create_once(&own(1), new_asset(there.store, "a"))),
        ErrorKind::KeyReused
    );
    assert_eq!(kind(ann.batch_once(&own(1), &Batch::new())), ErrorKind::KeyReused);
    assert_clean(&catalog, "keys");
}

#[test]
fn keys_have_1_to_255_bytes() {
    for (length, fine) in [(0, false), (1, true), (255, true), (256, false)] {
        assert_eq!(IdempotencyKey::new("k".repeat(length)).is_ok(), fine, "{length}");
    }
    let error = IdempotencyKey::new("ü".repeat(128)).expect_err("256 bytes");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let catalog = Bed::in_memory().catalog();
    let actor = "a".repeat(255);
    let session = catalog.session("t".repeat(255), actor).expect("a session");
    let longest = key(&"k".repeat(255));
    assert!(
        !session
            .create_once(&longest, new_store("s"))
            .expect("a store")
            .replayed
    );
    assert!(
        session
            .create_once(&longest, new_store("s"))
            .expect("a replay")
            .replayed
    );
}

#[test]
fn a_failure_is_not_remembered() {
    for bed in Bed::all() {
        let catalog = bed.catalog();
        let session = session(&catalog, "acme");
        let before = dump(&*bed.backend);
        assert_eq!(
            kind(session.create_once(&key("k"), new_store(" "))),
            ErrorKind::Invalid
        );
        let nowhere = "00000000-0000-7000-8000-000000000000".parse().expect("an id");
        assert_eq!(
            kind(session.create_once(&key("k"), new_asset(nowhere, "a"))),
            ErrorKind::NotFound
        );
        let mut batch = Batch::new();
        batch.create(new_store("fine"));
        batch.delete(nowhere, 0);
        assert_eq!(kind(session.batch_once(&key("k"), &batch)), ErrorKind::NotFound);
        assert!(dump(&*bed.backend) == before, "{}", bed.name);
        assert!(
            !session
                .create_once(&key("k"), new_store("s"))
                .expect("a store")
                .replayed
        );
    }
}

/// `Once` of each thread: exactly one is the first, all tell the same.
fn assert_once<T: PartialEq + std::fmt::Debug>(outcomes: &[Once<T>]) {
    assert_eq!(outcomes.iter().filter(|once| !once.replayed).count(), 1);
    assert!(outcomes.iter().all(|once| once.value == outcomes[0].value));
}

#[test]
fn many_at_once_make_one_creation() {
    for bed in Bed::all() {
        let catalog = bed.catalog();
        let session = session(&catalog, "acme");
        for round in 0..12 {
            let (key, name) = (key(&format!("round {round}")), format!("store {round}"));
            let outcomes: Vec<Once<DataStore>> = std::thread::scope(|scope| {
                let running: Vec<_> = (0..12)
                    .map(|_| scope.spawn(|| session.create_once(&key, new_store(&name)).expect("a store")))
                    .collect();
                running
                    .into_iter()
                    .map(|run| run.join().expect("a thread"))
                    .collect()
            });
            assert_once(&outcomes);
        }
        assert_eq!(stores(&session), 12, "{}", bed.name);
    }
}

#[test]
fn many_in_one_group_make_one_creation() {
    let backend = FaultyBackend::new(Arc::new(MemoryBackend::new()));
    let faults = backend.faults();
    let catalog = Options::new().on_backend(Arc::new(backend)).expect("a catalog");
    let session = session(&catalog, "acme");
    let gate = faults.hold_commits();
    // The first leads alone and is held: everybody looked for the key before anybody recorded it.
    let (singles, batches) = std::thread::scope(|scope| {
        let first = scope.spawn(|| session.create(new_store("first")));
        assert!(gate.wait_for(1, Duration::from_secs(20)), "nobody leads");
        let singles: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| session.create_once(&key("single"), new_store("single"))))
            .collect();
        let batches: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut batch = Batch::new();
                    let store = batch.create(new_store("of a batch"));
                    batch.create(new_asset(store, "below"));
                    session.batch_once(&key("batch"), &batch)
                })
            })
            .collect();
        // Time for most of them to queue; what is asserted holds whoever did.
        std::thread::sleep(Duration::from_millis(100));
        drop(gate);
        first.join().expect("a thread").expect("a store");
        let singles: Vec<_> = singles
            .into_iter()
            .map(|run| run.join().expect("a thread").expect("a store"))
            .collect();
        let batches: Vec<_> = batches
            .into_iter()
            .map(|run| run.join().expect("a thread").expect("a batch"))
            .collect();
        (singles, batches)
    });
    assert_once(&singles);
    assert_once(&batches);
    assert_eq!(stores(&session), 3);
    assert_clean(&catalog, "one group");
}

fn timed(environment: &TestEnvironment, expiry: Option<Duration>) -> (Bed, Catalog) {
    let bed = Bed::in_memory();
    let mut options = Options::new().environment(environment.environment());
    if let Some(expiry) = expiry {
        options = options.idempotency_expiry(expiry);
    }
    let catalog = options.on_backend(bed.backend.clone()).expect("a catalog");
    (bed, catalog)
}

#[test]
fn an_answer_expires() {
    let day = 24 * 60 * 60 * 1_000;
    for (expiry, lasts) in [(None, day), (Some(Duration::from_millis(5)), 5)] {
        let environment = TestEnvironment::new(1);
        let (bed, catalog) = timed(&environment, expiry);
        let session = session(&catalog, "acme");
        let ask = |name: &str| session.create_once(&key("k"), new_store(name));
        assert!(!ask("a").expect("a store").replayed);
        environment.advance(lasts - 1);
        assert!(ask("a").expect("a replay").replayed);
        assert_eq!(kind(ask("b")), ErrorKind::KeyReused);
        environment.advance(1);
        // Expired: another request may have the key, and then it is that one's.
        assert!(!ask("b").expect("a store").replayed);
        assert_eq!(kind(ask("a")), ErrorKind::KeyReused);
        environment.advance(lasts);
        assert!(!ask("b").expect("a store").replayed);
        assert_eq!(stores(&session), 3);
        for space in [Keyspace::Request, Keyspace::RequestByExpiry] {
            assert_eq!(rows(&*bed.backend, space).len(), 1);
        }
        assert_clean(&catalog, "expired");
    }
    let environment = TestEnvironment::new(1);
    let (_bed, catalog) = timed(&environment, Some(Duration::ZERO));
    let session_ = session(&catalog, "acme");
    for _ in 0..3 {
        assert!(
            !session_
                .create_once(&key("k"), new_store("a"))
                .expect("a store")
                .replayed
        );
    }
    assert_clean(&catalog, "never kept");
    // For ever, as far as times go.
    let (_bed, catalog) = timed(&environment, Some(Duration::MAX));
    let session = session(&catalog, "acme");
    assert!(
        !session
            .create_once(&key("k"), new_store("a"))
            .expect("a store")
            .replayed
    );
    environment.advance(10 * 365 * day);
    assert!(
        session
            .create_once(&key("k"), new_store("a"))
            .expect("a replay")
            .replayed
    );
    assert_clean(&catalog, "kept for ever");
}

#[test]
fn a_sweep_takes_what_has_expired_of_every_tenant() {
    let environment = TestEnvironment::new(1);
    let (bed, catalog) = timed(&environment, Some(Duration::from_millis(100)));
    for tenant in ["one", "two", "three"] {
        let session_ = session(&catalog, tenant);
        for n in 0..500 {
            session_
                .create_once(&key(&format!("{n}")), new_store("s"))
                .expect("a store");
        }
    }
    assert_eq!(catalog.sweep().expect("a sweep").requests, 0);
    environment.advance(100);
    assert_eq!(catalog.sweep().expect("a sweep").requests, 1_500);
    assert_eq!(catalog.sweep().expect("a sweep").requests, 0);
    assert!(rows(&*bed.backend, Keyspace::Request).is_empty());
    assert!(rows(&*bed.backend, Keyspace::RequestByExpiry).is_empty());
    assert_clean(&catalog, "swept");
}

#[test]
fn expired_answers_are_swept_as_it_goes() {
    let environment = TestEnvironment::new(1);
    let (bed, catalog) = timed(&environment, Some(Duration::from_millis(100)));
    let session_ = session(&catalog, "acme");
    let other = session(&catalog, "other");
    let count = || rows(&*bed.backend, Keyspace::Request).len();
    for n in 0..20 {
        session_
            .create_once(&key(&format!("old {n}")), new_store("s"))
            .expect("a store");
        environment.advance(1);
    }
    other
        .create_once(&key("theirs"), new_store("s"))
        .expect("a store");
    environment.advance(90);
    assert_eq!(count(), 21);
    // 11 of 20 have expired; each recording takes a few of them, and none that has not.
    session_
        .create_once(&key("new 0"), new_store("s"))
        .expect("a store");
    let after_one = count();
    assert!(after_one < 21, "{after_one}");
    for n in 1..6 {
        session_
            .create_once(&key(&format!("new {n}")), new_store("s"))
            .expect("a store");
    }
    assert_eq!(count(), 9 + 1 + 6);
    for n in 11..20 {
        let old = key(&format!("old {n}"));
        assert!(
            session_
                .create_once(&old, new_store("s"))
                .expect("a replay")
                .replayed,
            "{n}"
        );
    }
    assert_eq!(count(), rows(&*bed.backend, Keyspace::RequestByExpiry).len());
    assert!(
        other
            .create_once(&key("theirs"), new_store("s"))
            .expect("a replay")
            .replayed
    );
    assert_clean(&catalog, "swept");
    // With its tenant everything goes.
    assert!(catalog.drop_tenant("acme").expect("a tenant"));
    assert_eq!(count(), 1);
    assert_clean(&catalog, "dropped");
}

#[test]
fn a_key_that_is_used_anew_leaves_nothing_of_its_past() {
    let environment = TestEnvironment::new(1);
    let (bed, catalog) = timed(&environment, Some(Duration::from_millis(100)));
    let session = session(&catalog, "acme");
    let ask = |n: usize| {
        session
            .create_once(&key(&format!("{n}")), new_store("s"))
            .expect("a store")
    };
    for n in 0..12 {
        assert!(!ask(n).replayed);
        environment.advance(1);
    }
    environment.advance(100);
    // The youngest of those that have expired: more of them are older than a recording removes.
    assert!(!ask(11).replayed);
    assert_clean(&catalog, "used anew");
    assert_eq!(
        rows(&*bed.backend, Keyspace::Request).len(),
        rows(&*bed.backend, Keyspace::RequestByExpiry).len()
    );
    // Whatever else is removed, its new answer is not.
    for n in 20..24 {
        ask(n);
    }
    assert!(ask(11).replayed);
}

#[test]
fn an_answer_that_is_too_large_is_refused_before_the_write() {
    let bed = Bed::in_memory();
    let catalog = bed.catalog();
    let session = session(&catalog, "acme");
    session.create(new_store("first")).expect("a store");
    let before = dump(&*bed.backend);
    let large = |bytes: usize| NewDataStore {
        properties: Some(shelfmark::JsonObject::from_iter([(
            "text".to_owned(),
            "x".repeat(bytes).into(),
        )])),
        ..new_store("large")
    };
    // An entity may have as much, and its answer then has more.
    let most = (1 << 20) - 100;
    assert_eq!(
        kind(session.create_once(&key("k"), large(most))),
        ErrorKind::TooLarge
    );
    let mut batch = Batch::new();
    for _ in 0..3 {
        batch.create(large(400_000));
    }
    assert_eq!(kind(session.batch_once(&key("k"), &batch)), ErrorKind::TooLarge);
    assert!(dump(&*bed.backend) == before);
    session.batch(&batch).expect("without a key it is kept");
    session.create(large(most)).expect("without a key it is kept");
    assert!(
        !session
            .create_once(&key("k"), large(1_000_000))
            .expect("a store")
            .replayed
    );
    assert!(
        session
            .create_once(&key("k"), large(1_000_000))
            .expect("a replay")
            .replayed
    );
}

#[test]
fn inside_of_a_transaction_too() {
    for bed in Bed::all() {
        let catalog = bed.catalog();
        let session = session(&catalog, "acme");
        let refused: Result<()> = session.transact(|tx| {
            assert!(!tx.create_once(&key("k"), new_store("s"))?.replayed);
            assert!(tx.create_once(&key("k"), new_store("s"))?.replayed);
            assert_eq!(
                kind(tx.create_once(&key("k"), new_store("t"))),
                ErrorKind::KeyReused
            );
            tx.create(new_store(" ")).map(drop)
        });
        assert_eq!(kind(refused), ErrorKind::Invalid);
        // Nothing happened, so nothing is remembered.
        let first = session
            .transact(|tx| {
                let mut batch = Batch::new();
                let store = batch.create(new_store("lake"));
                batch.create(new_asset(store, "raw"));
                let first = tx.create_once(&key("k"), new_store("s"))?;
                assert!(!first.replayed && !tx.batch_once(&key("b"), &batch)?.replayed);
                assert!(tx.batch_once(&key("b"), &batch)?.replayed);
                Ok(first.value)
            })
            .expect("a transaction");
        let again = session.create_once(&key("k"), new_store("s")).expect("a replay");
        assert_eq!((again.replayed, again.value), (true, first));
        assert_eq!(
            (
                stores(&session),
                session
                    .count::<DataAsset>(shelfmark::AssetSelection::All)
                    .expect("a count")
            ),
            (2, 1)
        );
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn inside_of_another_write_it_is_refused() {
    let _watchdog = Watchdog::new("an idempotent write inside of another one");
    let catalog = Bed::in_memory().catalog();
    let session = session(&catalog, "acme");
    let store = session
        .create_once(&key("k"), new_store("s"))
        .expect("a store")
        .value
        .id;
    let check = || {
        // Replays too: whether a call is refused does not depend on what came before.
        for text in ["k", "other"] {
            assert_eq!(
                kind(session.create_once(&key(text), new_store("s"))),
                ErrorKind::ReentrantWrite
            );
            assert_eq!(
                kind(session.batch_once(&key(text), &Batch::new())),
                ErrorKind::ReentrantWrite
            );
        }
    };
    session
        .transact(|_| {
            check();
            Ok(())
        })
        .expect("a transaction");
    session.update(store, 0, |_| check()).expect("an update");
}

#[derive(Default)]
struct Counted(AtomicU64);

impl Hook for Counted {
    fn name(&self) -> &str {
        "counted"
    }

    fn store(
        &self,
        _view: &HookView<'_>,
        change: &mut Proposal<'_, DataStore>,
    ) -> std::result::Result<(), Veto> {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        change.new.tags = vec![format!("asked {asked}")];
        Ok(())
    }
}

#[test]
fn no_hook_is_asked_about_a_replay() {
    let hook = Arc::new(Counted::default());
    let catalog = Options::new().hook(hook.clone()).in_memory().expect("a catalog");
    let session = session(&catalog, "acme");
    for _ in 0..3 {
        let once = session.create_once(&key("k"), new_store("s")).expect("a store");
        assert_eq!(once.value.tags, ["asked 0"]);
    }
    assert_eq!(hook.0.load(Ordering::Relaxed), 1);
}
