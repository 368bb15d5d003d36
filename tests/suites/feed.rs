//! The change feed: gapless, resumable, complete, of what is durable; watching it; what retention takes; whose it is.

mod durable;
mod kept;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use shelfmark::backend::{Backend, Keyspace};
use shelfmark::{
    Batch, Catalog, Change, ChangeEvent, ChangeRetention, DataSet, EntityId, ErrorKind, Expectation,
    IdempotencyKey, NewDataStore, Options, Position, Session, SetSelection, Write,
};
use shelfmark_testkit::MemoryBackend;
use shelfmark_testkit::replay::{self, Followed};
use shelfmark_testkit::run::{Tally, run};
use shelfmark_testkit::strategy::sequence;

use crate::support::{
    Bed, Random, Watchdog, assert_clean, family, new_asset, new_set, new_store, number, rows, session,
};

pub fn options() -> Options {
    Options::new().change_feed(true)
}

pub fn catalog_on(backend: &Arc<dyn Backend>) -> Catalog {
    options().on_backend(backend.clone()).expect("a catalog")
}

/// Everything behind a position, and where it ends.
#[track_caller]
pub fn follow(session: &Session, after: Option<Position>, limit: usize) -> (Vec<Change>, Position) {
    replay::follow(session, after, limit).unwrap_or_else(|error| panic!("{error}"))
}

pub fn sequences(changes: &[Change]) -> Vec<u64> {
    changes.iter().map(|change| change.sequence).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each sequence ends with a replay into an empty map, before and after the catalogs are opened again.
    #[test]
    fn a_replay_of_the_feed_is_the_catalog((mut setup, operations) in sequence(60)) {
        setup.catalog.change_feed = true;
        setup.catalog.retained_changes = None;
        run(setup, &operations, &mut Tally::default()).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn the_feed_tells_what_happened() {
    for bed in Bed::all() {
        let catalog = catalog_on(&bed.backend);
        let ann = session(&catalog, "acme");
        let bob = catalog.session("acme", "bob").unwrap();
        let family = family(&ann);
        let second = ann.create(new_set(family.asset, "second")).unwrap();
        ann.update(second.id, 0, |_| {}).unwrap();
        bob.update(second.id, 0, |set| {
            set.name = Some("Second".into());
            set.properties = number(7);
            set.owner_id = Some("bob".into());
        })
        .unwrap();
        ann.create(new_store("unchanged")).unwrap();
        ann.create(new_store("")).unwrap_err();
        bob.delete(family.asset, Expectation::Any).unwrap();
        let (changes, end) = follow(&ann, None, 3);
        assert_eq!(sequences(&changes), [1, 2, 3, 4, 5, 6, 7, 8], "{}", bed.name);
        let told: Vec<(&str, &str, EntityId, u64, usize)> = changes
            .iter()
            .map(|change| {
                let actor = change.actor.as_deref().expect("an actor");
                (
                    actor,
                    change.event.name(),
                    change.id,
                    change.version,
                    change.descendants.len(),
                )
            })
            .collect();
        let (store, asset) = (EntityId::from(family.store), EntityId::from(family.asset));
        let set = EntityId::from(second.id);
        assert_eq!(told[0], ("ann", "created", store, 0, 0));
        assert_eq!(told[1], ("ann", "created", asset, 0, 0));
        assert_eq!(told[4], ("bob", "updated", set, 1, 0));
        assert_eq!(told[6], ("bob", "deleted", asset, 0, 0));
        assert_eq!(told[7], ("bob", "deleted", asset, 0, 2));
        assert_eq!(
            (changes[3].store, changes[3].asset),
            (Some(family.store), Some(family.asset))
        );
        let ChangeEvent::Updated { fields } = &changes[4].event else {
            panic!("{:?}", changes[4]);
        };
        assert_eq!(*fields, ["name", "properties", "ownerId"]);
        let went: Vec<_> = changes[7]
            .descendants
            .iter()
            .map(|one| (one.id, one.parent, one.version))
            .collect();
        assert_eq!(went, [(family.set.into(), asset, 0), (set, asset, 1)]);
        let json = serde_json::to_value(&changes[7]).unwrap();
        assert_eq!(json["kind"], "asset");
        assert_eq!(json["storeId"], family.store.to_string());
        assert_eq!(json["position"], end.to_string());
        assert_eq!(json["descendants"][1]["parentId"], family.asset.to_string());
        assert_eq!(json["descendants"][1]["version"], 1);
        assert!(json.get("assetId").is_none() && json.get("fields").is_none());
        assert_eq!(end, ann.newest_change().unwrap());
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn a_reader_takes_up_where_it_was_also_over_an_opening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.shelf");
    let mut random = Random::new(5);
    let (mut known, mut kept) = (Followed::new(), None::<String>);
    let mut stores = Vec::new();
    for round in 0..6 {
        let catalog = options().open_or_create(&path).unwrap();
        let session = session(&catalog, "acme");
        for n in 0..random.below(20) {
            stores.push(session.create(new_store(&format!("{round} {n}"))).unwrap().id);
            if random.below(3) == 0 {
                let id = stores.swap_remove(random.below(stores.len() as u64) as usize);
                session.delete(id, Expectation::Any).unwrap();
            }
        }
        let after = kept.map(|text| text.parse().unwrap());
        let (changes, position) = follow(&session, after, 4);
        for change in &changes {
            replay::apply(&mut known, change).unwrap();
        }
        assert_eq!(known, replay::held(&session).unwrap());
        assert!(session.changes(position, 10).unwrap().items.is_empty());
        kept = Some(position.to_string());
    }
    // Nothing said is as it was stored.
    let catalog = Catalog::open(&path).unwrap();
    assert!(session(&catalog, "acme").changes(None, 1).unwrap().more);
}

#[test]
fn a_large_cascade_is_told_in_records_of_4096() {
    let catalog = catalog_on(&Bed::in_memory().backend);
    let session = session(&catalog, "acme");
    let family = family(&session);
    let ids = session
        .create_all((0..5_000).map(|n| new_set(family.asset, &n.to_string())))
        .unwrap();
    let position = session.newest_change().unwrap();
    session.delete(family.asset, Expectation::Any).unwrap();
    let (changes, _) = follow(&session, Some(position), 10);
    let sizes: Vec<usize> = changes.iter().map(|change| change.descendants.len()).collect();
    assert_eq!(sizes, [0, 4_096, 905]);
    let went: Vec<EntityId> = changes
        .iter()
        .flat_map(|change| change.descendants.iter().map(|one| one.id))
        .collect();
    assert_eq!(went[0], family.set.into());
    assert!(went[1..].iter().copied().eq(ids.into_iter().map(EntityId::from)));
    assert_clean(&catalog, "a cascade");
    // Deleted by selection, each is a root of its own.
    let asset = session.create(new_asset(family.store, "second")).unwrap().id;
    session
        .create_all((0..3).map(|n| new_set(asset, &n.to_string())))
        .unwrap();
    let position = session.newest_change().unwrap();
    session.delete_selected::<DataSet>(SetSelection::All).unwrap();
    let (changes, _) = follow(&session, Some(position), 10);
    assert_eq!(changes.len(), 3);
    assert!(changes.iter().all(|change| change.descendants.is_empty()));
    assert_eq!(replay::replay(&session).unwrap(), replay::held(&session).unwrap());
}

#[test]
fn a_cascade_tells_in_creation_order_what_its_own_transaction_made() {
    for bed in Bed::all() {
        let catalog = catalog_on(&bed.backend);
        let session = session(&catalog, "acme");
        let family = family(&session);
        let position = session.newest_change().unwrap();
        let made = session
            .transact(|tx| {
                let made = tx.create_all(["two", "three"].map(|name| new_set(family.asset, name)))?;
                tx.delete(family.asset, Expectation::Any)?;
                Ok(made)
            })
            .unwrap();
        let (changes, _) = follow(&session, Some(position), 10);
        let went: Vec<EntityId> = changes[3].descendants.iter().map(|one| one.id).collect();
        let expected = [family.set, made[0], made[1]].map(EntityId::from);
        assert_eq!(went, expected, "{}", bed.name);
    }
}

#[test]
fn pages_are_bounded_in_number_and_in_bytes() {
    let catalog = catalog_on(&Bed::new("memory", Arc::new(MemoryBackend::new())).backend);
    let session = catalog.session("acme", "a".repeat(255)).unwrap();
    let all = 16_000;
    session
        .create_all((0..all).map(|n| NewDataStore::new(n.to_string(), "postgres")))
        .unwrap();
    let page = session.changes(None, usize::MAX).unwrap();
    assert!(
        page.more && (10_000..all).contains(&page.items.len()),
        "{}",
        page.items.len()
    );
    let rest = session.changes(page.position, usize::MAX).unwrap();
    assert!(!rest.more);
    assert_eq!(page.items.len() + rest.items.len(), all);
    for limit in [1, 5] {
        let page = session.changes(None, limit).unwrap();
        assert_eq!((page.items.len(), page.more), (limit, true));
    }
    let error = session.changes(None, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.violations()[0].pointer, "/limit");
}

#[test]
fn a_page_is_of_one_state_and_writers_leave_no_gap() {
    for bed in Bed::all() {
        let catalog = catalog_on(&bed.backend);
        let session = session(&catalog, "acme");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let session = &session;
                    scope.spawn(move || {
                        for n in 0..40 {
                            // Single writes share commits; a transaction makes three changes at once.
                            let name = format!("{writer} {n}");
                            let stores = (0..3).map(|_| new_store(&name));
                            if n % 2 == 0 {
                                session.create_all(stores).map(drop)
                            } else {
                                session.transact(|tx| {
                                    (0..3).try_for_each(|_| tx.create(new_store(&name)).map(drop))
                                })
                            }
                            .expect("a write");
                        }
                    })
                })
                .collect();
            let reader = scope.spawn(|| {
                let mut position = None;
                let mut seen = 0;
                loop {
                    let last = done.load(Ordering::Acquire);
                    let page = session.changes(position, 1_000).expect("a page");
                    for change in &page.items {
                        seen += 1;
                        assert_eq!(change.sequence, seen);
                    }
                    assert_eq!(seen % 3, 0, "{}: half of a commit", bed.name);
                    position = Some(page.position);
                    if last {
                        return seen;
                    }
                }
            });
            for writer in writers {
                writer.join().expect("a writer");
            }
            done.store(true, Ordering::Release);
            assert_eq!(reader.join().expect("a reader"), 4 * 40 * 3);
        });
        assert_eq!(replay::replay(&session).unwrap(), replay::held(&session).unwrap());
    }
}

#[test]
fn watching_wakes_for_commits_of_this_process() {
    let _watchdog = Watchdog::new("watching");
    for bed in Bed::all() {
        let catalog = catalog_on(&bed.backend);
        let session = session(&catalog, "acme");
        let start = session.newest_change().unwrap();
        // Many at once, each from the beginning to the end, one change at a time.
        std::thread::scope(|scope| {
            let watchers: Vec<_> = (0..4)
                .map(|_| {
                    let session = &session;
                    scope.spawn(move || {
                        let mut position = start;
                        for expected in 1..=30 {
                            let page = session
                                .watch(position, 1, Duration::from_secs(600))
                                .expect("a change");
                            assert_eq!(sequences(&page.items), [expected]);
                            position = page.position;
                        }
                    })
                })
                .collect();
            for n in 0..30 {
                session.create(new_store(&n.to_string())).expect("a store");
            }
            for watcher in watchers {
                watcher.join().expect("a watcher");
            }
        });
    }
}

#[test]
fn watching_ends_with_its_time_and_never_waits_inside_a_write() {
    let _watchdog = Watchdog::new("watching in vain");
    for bed in Bed::all() {
        let catalog = catalog_on(&bed.backend);
        let session = session(&catalog, "acme");
        for timeout in [Duration::ZERO, Duration::from_millis(20)] {
            let page = session.watch(None, 10, timeout).unwrap();
            assert!(page.items.is_empty() && !page.more);
            assert_eq!(page.position, session.newest_change().unwrap());
        }
        let store = session
            .transact(|tx| {
                let store = tx.create(new_store("inside"))?;
                let page = session.watch(None, 10, Duration::MAX)?;
                assert!(page.items.is_empty(), "its own, before it is committed");
                Ok(store.id)
            })
            .unwrap();
        session
            .update(store, 0, |store| {
                let page = session.watch(None, 10, Duration::MAX).unwrap();
                assert_eq!(page.items.len(), 1);
                let page = session.watch(page.position, 10, Duration::MAX).unwrap();
                assert!(page.items.is_empty());
                store.name = Some("Inside".into());
            })
            .unwrap();
    }
}

#[test]
fn watching_a_shared_catalog_sees_what_others_commit() {
    let _watchdog = Watchdog::new("watching others");
    let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::shared());
    let (one, two) = (catalog_on(&backend), catalog_on(&backend));
    let watching = session(&one, "acme");
    let position = watching.newest_change().unwrap();
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watching.watch(position, 10, Duration::from_secs(600)));
        // Whether it waits already or not.
        session(&two, "acme").create(new_store("theirs")).unwrap();
        let page = watcher.join().expect("a watcher").unwrap();
        assert_eq!(page.items.len(), 1);
    });
}

#[test]
fn dropping_the_tenant_wakes_its_watcher() {
    let _watchdog = Watchdog::new("watching a tenant that goes");
    let catalog = catalog_on(&Bed::in_memory().backend);
    let session = session(&catalog, "acme");
    session.create(new_store("one")).unwrap();
    let position = session.newest_change().unwrap();
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| session.watch(position, 10, Duration::MAX));
        std::thread::sleep(Duration::from_millis(5));
        catalog.drop_tenant("acme").unwrap();
        let error = watcher.join().expect("a watcher").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ChangesRewound);
    });
}

#[test]
fn retention_by_a_default_that_is_large_keeps_all_of_a_small_feed() {
    let catalog = options()
        .change_retention(ChangeRetention::default())
        .in_memory()
        .unwrap();
    let session = session(&catalog, "acme");
    session
        .create_all((0..2_000).map(|n| new_store(&n.to_string())))
        .unwrap();
    assert_eq!(catalog.sweep().unwrap().changes, 0);
    assert_eq!(follow(&session, None, 500).0.len(), 2_000);
}

#[test]
fn a_catalog_without_a_feed_has_nothing_of_one() {
    for bed in Bed::all() {
        let catalog = bed.catalog();
        let session = session(&catalog, "acme");
        let family = family(&session);
        session.delete(family.asset, Expectation::Any).unwrap();
        assert!(rows(&*bed.backend, Keyspace::Change).is_empty(), "{}", bed.name);
        assert!(!rows(&*bed.backend, Keyspace::Meta).contains_key(&b"feed_id"[..]));
        let somewhere: Position = "AAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        for refused in [
            session.changes(None, 10).map(drop),
            session.changes(somewhere, 10).map(drop),
            session.watch(None, 10, Duration::MAX).map(drop),
            session.newest_change().map(drop),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("change_feed(true)"), "{error}");
        }
        assert_eq!(catalog.sweep().unwrap(), shelfmark::Swept::default());
    }
}

/// Positions are compared by those who follow: there is one for each place.
#[test]
fn a_tenant_without_a_change_has_one_position() {
    for bed in Bed::all() {
        let catalog = catalog_on(&bed.backend);
        let session = session(&catalog, "acme");
        let before = session.newest_change().expect("a position");
        let key = IdempotencyKey::new("nothing").expect("a key");
        session.batch_once(&key, &Batch::new()).expect("an empty batch");
        assert_eq!(catalog.tenants().expect("names"), ["acme"]);
        let newest = session.newest_change().expect("a position");
        let followed = session.changes(before, 10).expect("a page");
        assert!(followed.items.is_empty());
        assert_eq!(followed.position, newest, "{}", bed.name);
    }
}
