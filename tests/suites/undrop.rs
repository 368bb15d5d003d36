//! Deletions that can be undone: what comes back, what does not, what is kept how long, and that nothing of it happens unless asked for. One file, since every
//! test starts from the same catalog with a clock of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shelfmark::backend::{Backend, Keyspace};
use shelfmark::{
    AllStores, AssetId, Catalog, ChangeEvent, DataAsset, DataSet, DataStore, Deleted, Dropped,
    DroppedPosition, DroppedQuery, EntityId, EntityKind, ErrorKind, Expectation, Hook, HookView, NewDataSet,
    NewDataStore, Options, Query, Read, Restoration, Result, Session, Uuid, Veto, Write,
};
use shelfmark_testkit::{CountingBackend, SpaceCounts, TestEnvironment};

use crate::support::{
    Bed, Family, Random, Rows, assert_clean, catalog_on, dump, family, new_asset, new_set, new_store, rows,
    schema, session,
};

const DAY: i64 = 86_400_000;

/// A catalog that keeps what is deleted for a day, and its clock.
fn keeping(backend: &Arc<dyn Backend>) -> (Catalog, TestEnvironment) {
    let environment = TestEnvironment::new(1);
    let options = Options::new()
        .environment(environment.environment())
        .undrop(Duration::from_millis(DAY as u64));
    (
        options.on_backend(backend.clone()).expect("a catalog"),
        environment,
    )
}

fn in_memory() -> (Bed, Catalog, TestEnvironment) {
    let bed = Bed::in_memory();
    let (catalog, environment) = keeping(&bed.backend);
    (bed, catalog, environment)
}

/// All but what tells of the past.
fn present(backend: &dyn Backend) -> BTreeMap<Keyspace, Rows> {
    let mut dump = dump(backend);
    dump.retain(|space, _| !space.remembers());
    dump
}

fn kept(backend: &dyn Backend) -> usize {
    rows(backend, Keyspace::Dropped).len() + rows(backend, Keyspace::DroppedRow).len()
}

fn kind_of<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.expect_err("a refusal").kind()
}

/// Every dropped entity, the newest first.
fn all_dropped(session: &Session) -> Vec<Dropped> {
    let query = DroppedQuery::new().limit(1_000);
    session.list_dropped(&query).expect("a page").items
}

#[test]
fn without_the_option_nothing_is_kept_and_deletions_cost_what_they_did() {
    for bed in Bed::all() {
        let counting = CountingBackend::new(bed.backend.clone());
        let backend: Arc<dyn Backend> = Arc::new(counting.clone());
        let catalog = catalog_on(&backend);
        let session = session(&catalog, "acme");
        let Family { store, asset, set } = family(&session);
        session.create(new_set(asset, "second")).unwrap();
        counting.reset();
        session.delete(set, Expectation::Any).unwrap();
        session.delete(asset, Expectation::Any).unwrap();
        session.delete(store, Expectation::Any).unwrap();
        let counts = counting.counts();
        for space in [Keyspace::Dropped, Keyspace::DroppedRow] {
            assert_eq!(
                counts.space(space),
                SpaceCounts::default(),
                "{}: {}",
                bed.name,
                space.name()
            );
        }
        if !bed.name.contains("retried") {
            let total = counts.total();
            assert_eq!(
                (
                    counts.commits,
                    total.rows_written(),
                    total.range_deletes,
                    total.deltas
                ),
                (3, 17, 5, 7),
                "{}: {total:?}",
                bed.name
            );
            assert_eq!(
                (total.lookups, total.got, total.scans, total.visited, total.counts),
                (9, 9, 2, 2, 2),
                "{}: {total:?}",
                bed.name
            );
        }
        assert_eq!(kept(&*bed.backend), 0);
        let unsupported = ErrorKind::Unsupported;
        assert_eq!(kind_of(session.restore(set)), unsupported);
        assert_eq!(kind_of(session.purge(set)), unsupported);
        assert_eq!(kind_of(session.dropped(set)), unsupported);
        assert_eq!(kind_of(session.list_dropped(&DroppedQuery::new())), unsupported);
    }
}

#[test]
fn what_is_deleted_and_restored_is_as_it_was_but_for_the_roots_stamps() {
    for bed in Bed::all() {
        let (catalog, environment) = keeping(&bed.backend);
        let session = session(&catalog, "acme");
        let Family { store, asset, set } = family(&session);
        for name in ["second", "Third"] {
            let new = NewDataSet {
                schema: (name == "Third").then(schema),
                additional_schemas: vec![schema()],
                ..new_set(asset, name)
            };
            session.create(new).unwrap();
        }
        environment.advance(5);
        session
            .update(set, 0, |set| set.tags.push("gold".into()))
            .unwrap();
        let empty = session.create(new_store("empty")).unwrap();
        let bob = catalog.session("acme", "bob").unwrap();

        let before = present(&*bed.backend);
        for (id, taken) in [(EntityId::from(set), 1), (asset.into(), 4), (empty.id.into(), 1)] {
            environment.advance(1_000);
            let (old, new) = match id {
                EntityId::Set(id) => {
                    let old = session.get(id).unwrap().unwrap();
                    session.delete(id, Expectation::Any).unwrap();
                    let new = bob.restore(id).unwrap();
                    assert_eq!(session.get(id).unwrap(), Some(new.clone()));
                    assert_eq!(new.version, old.version + 1);
                    let mut stamped = new.clone();
                    stamped.version = old.version;
                    stamped.last_modified_by.clone_from(&old.last_modified_by);
                    stamped.last_modified_time = old.last_modified_time;
                    assert_eq!(stamped, old);
                    (
                        old.last_modified_by,
                        (new.last_modified_by, new.last_modified_time),
                    )
                }
                EntityId::Asset(id) => {
                    let query = Query::<DataSet>::of(id).with_schemas().limit(100);
                    let sets = session.list(&query).unwrap().items;
                    let old = session.get(id).unwrap().unwrap();
                    let deleted = session.delete(id, Expectation::Any).unwrap();
                    assert_eq!(deleted.assets + deleted.sets, taken);
                    let new = bob.restore(id).unwrap();
                    assert_eq!(session.get(id).unwrap(), Some(new.clone()));
                    assert_eq!(session.list(&query).unwrap().items, sets);
                    assert_eq!(session.find_by_secure_qri("qri:second").unwrap().len(), 1);
                    (
                        old.last_modified_by,
                        (new.last_modified_by, new.last_modified_time),
                    )
                }
                EntityId::Store(id) => {
                    let old = session.get(id).unwrap().unwrap();
                    session.delete(id, Expectation::Any).unwrap();
                    let new = bob.restore(id).unwrap();
                    (
                        old.last_modified_by,
                        (new.last_modified_by, new.last_modified_time),
                    )
                }
            };
            assert_eq!((old.as_str(), new.0.as_str()), ("ann", "bob"));
            assert_eq!(new.1.millis(), environment.now());
            assert_clean(&catalog, bed.name);
            assert_eq!(kept(&*bed.backend), 0, "{}", bed.name);
        }
        let after = present(&*bed.backend);
        for (&space, rows) in &before {
            let changed: Vec<&Vec<u8>> = rows
                .iter()
                .filter(|(key, value)| after[&space].get(*key) != Some(value))
                .map(|(key, _)| key)
                .collect();
            let expected = match space {
                // The heads of the three roots; the places of two of them and of their set in the order of modification.
                Keyspace::Store | Keyspace::Asset | Keyspace::Set => 1,
                Keyspace::StoreByModified | Keyspace::AssetByModified | Keyspace::SetByModified => 1,
                _ => 0,
            };
            assert_eq!(changed.len(), expected, "{}: {}", bed.name, space.name());
            assert_eq!(after[&space].len(), rows.len(), "{}: {}", bed.name, space.name());
        }
        assert_eq!(session.count::<DataAsset>(store).unwrap(), 1);
        assert_eq!(session.count::<DataSet>(asset).unwrap(), 3);
    }
}

#[test]
fn a_restoration_is_refused_where_the_parent_is_gone_or_the_name_is_taken() {
    let environment = TestEnvironment::new(1);
    let catalog = Options::new()
        .environment(environment.environment())
        .unique_technical_names(true)
        .undrop(Duration::from_secs(60))
        .in_memory()
        .unwrap();
    let session = session(&catalog, "acme");
    let Family { store, asset, set } = family(&session);

    session.delete(set, Expectation::Any).unwrap();
    let namesake = session.create(new_set(asset, "ORDERS")).unwrap().id;
    let error = session.restore(set).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NameTaken);
    assert_eq!(error.name_taken(), Some(namesake.into()));
    session
        .update(namesake, 0, |set| set.technical_name = "another".into())
        .unwrap();
    // As they were: a refusal takes nothing away.
    session.restore(set).unwrap();

    session.delete(set, Expectation::Any).unwrap();
    session.delete(asset, Expectation::Any).unwrap();
    let error = session.restore(set).unwrap_err();
    assert_eq!(
        (error.kind(), error.missing()),
        (ErrorKind::NotFound, &[asset.into()][..])
    );
    session.delete(store, Expectation::Any).unwrap();
    let error = session.restore(asset).unwrap_err();
    assert_eq!(
        (error.kind(), error.missing()),
        (ErrorKind::NotFound, &[store.into()][..])
    );
    // From the top down all comes back.
    session.restore(store).unwrap();
    session.restore(asset).unwrap();
    assert!(!session.exists(set).unwrap());
    assert!(session.exists(namesake).unwrap());
    session.restore(set).unwrap();
    assert_eq!(session.count::<DataSet>(asset).unwrap(), 2);
    assert_clean(&catalog, "restored");
}

#[test]
fn only_roots_are_restored_and_each_once() {
    let (bed, catalog, _) = in_memory();
    let session = session(&catalog, "acme");
    let Family { store, asset, set } = family(&session);
    let refused = |id: EntityId| {
        let (restored, purged, dropped) = match id {
            EntityId::Store(id) => (
                session.restore(id).map(drop),
                session.purge(id).map(drop),
                session.dropped(id),
            ),
            EntityId::Asset(id) => (
                session.restore(id).map(drop),
                session.purge(id).map(drop),
                session.dropped(id),
            ),
            EntityId::Set(id) => (
                session.restore(id).map(drop),
                session.purge(id).map(drop),
                session.dropped(id),
            ),
        };
        for outcome in [restored, purged] {
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), error.missing()), (ErrorKind::NotFound, &[id][..]));
            // It may well be in the tenant: alive.
            assert!(
                error.to_string().starts_with("there is nothing to restore"),
                "{error}"
            );
        }
        assert_eq!(dropped.unwrap(), None);
    };
    refused(set.into());
    session.delete(asset, Expectation::Any).unwrap();
    // What went with its asset is not there by itself.
    refused(set.into());
    // Of another kind.
    refused(shelfmark::StoreId::from_uuid(asset.uuid()).into());
    refused(shelfmark::SetId::from_uuid(asset.uuid()).into());
    refused(AssetId::from_uuid(Uuid::nil()).into());
    session.restore(asset).unwrap();
    refused(asset.into());
    refused(store.into());
    session.delete(asset, Expectation::Any).unwrap();
    let purged = session.purge(asset).unwrap();
    assert_eq!((purged.stores, purged.assets, purged.sets), (0, 1, 1));
    refused(asset.into());
    assert_eq!(kept(&*bed.backend), 0);
}

#[test]
fn what_was_dropped_is_listed_the_newest_first_in_pages() {
    for bed in Bed::all() {
        let (catalog, environment) = keeping(&bed.backend);
        let session = session(&catalog, "acme");
        assert_eq!(all_dropped(&session), []);
        let Family { store, asset, set } = family(&session);
        session.delete(set, Expectation::Any).unwrap();
        environment.advance(1);
        let bob = catalog.session("acme", "bob").unwrap();
        bob.create(new_set(asset, "second")).unwrap();
        bob.update(asset, 0, |asset| asset.tags.push("x".into())).unwrap();
        bob.delete(asset, 1).unwrap();
        // At the same moment.
        let others: Vec<_> = ["a", "b", "c"]
            .map(|name| session.create(new_store(name)).unwrap().id)
            .into();
        session
            .delete_all(others.iter().map(|&id| (id, Expectation::Any)))
            .unwrap();

        let now = environment.now();
        let all = all_dropped(&session);
        let ids: Vec<EntityId> = all.iter().map(|dropped| dropped.id).collect();
        let expected: Vec<EntityId> = [others[2], others[1], others[0]]
            .map(EntityId::from)
            .into_iter()
            .chain([asset.into(), set.into()])
            .collect();
        assert_eq!(ids, expected, "{}", bed.name);
        let of_asset = &all[3];
        assert_eq!(session.dropped(asset).unwrap().as_ref(), Some(of_asset));
        assert_eq!(of_asset.name.as_deref(), Some("Sales"));
        assert_eq!(of_asset.technical_name, "sales");
        assert_eq!((of_asset.store, of_asset.asset), (Some(store), None));
        assert_eq!((of_asset.version, of_asset.descendants), (1, 1));
        assert_eq!(of_asset.dropped_by, "bob");
        assert_eq!(of_asset.dropped_at.millis(), now);
        assert_eq!(of_asset.expires_at.millis(), now + DAY);
        let of_set = &all[4];
        assert_eq!((of_set.store, of_set.asset), (Some(store), Some(asset)));
        assert_eq!(
            (of_set.dropped_at.millis(), of_set.dropped_by.as_str()),
            (now - 1, "ann")
        );

        for kind in [
            None,
            Some(EntityKind::Store),
            Some(EntityKind::Asset),
            Some(EntityKind::Set),
        ] {
            let wanted: Vec<&Dropped> = all
                .iter()
                .filter(|dropped| kind.is_none_or(|kind| dropped.id.kind() == kind))
                .collect();
            for limit in 1..=6 {
                let mut query = DroppedQuery::new().limit(limit);
                if let Some(kind) = kind {
                    query = query.kind(kind);
                }
                let mut found = Vec::new();
                loop {
                    let page = session.list_dropped(&query).unwrap();
                    let full = page.items.len() == limit;
                    found.extend(page.items);
                    let Some(next) = page.next else { break };
                    assert!(full, "{}", bed.name);
                    query = query.after(next.to_string().parse().unwrap());
                }
                assert!(
                    found.iter().eq(wanted.iter().copied()),
                    "{}: {kind:?} {limit}",
                    bed.name
                );
            }
        }
        let none = session.list_dropped(&DroppedQuery::new().limit(0)).unwrap();
        assert_eq!((none.items.len(), none.next), (0, None));
    }
}

#[test]
fn a_text_that_is_no_position_is_refused() {
    let good = format!("12-{}", Uuid::from_u128(7).simple());
    assert_eq!(good.parse::<DroppedPosition>().unwrap().to_string(), good);
    for bad in [
        "",
        "-",
        "12",
        "12-",
        "x-00000000000000000000000000000007",
        "+12-00000000000000000000000000000007",
        "99999999999999999-00000000000000000000000000000007",
        "12-00000000-0000-0000-0000-000000000007",
        "12-0000000000000000000000000000000A",
    ] {
        assert_eq!(
            kind_of(bad.parse::<DroppedPosition>()),
            ErrorKind::BadCursor,
            "{bad:?}"
        );
    }
}

#[test]
fn what_has_expired_is_gone_before_it_is_swept_and_after() {
    let (bed, catalog, environment) = in_memory();
    let session = session(&catalog, "acme");
    let Family { asset, set, .. } = family(&session);
    session.delete(set, Expectation::Any).unwrap();
    environment.advance(DAY - 1);
    assert_eq!(all_dropped(&session).len(), 1);
    environment.advance(1);
    let before = dump(&*bed.backend);
    assert_eq!(all_dropped(&session), []);
    assert_eq!(session.dropped(set).unwrap(), None);
    assert_eq!(kind_of(session.restore(set)), ErrorKind::NotFound);
    assert_eq!(kind_of(session.purge(set)), ErrorKind::NotFound);
    assert!(dump(&*bed.backend) == before);
    // The clock goes back: it has not been swept, and is there.
    environment.advance(-1);
    assert_eq!(all_dropped(&session).len(), 1);
    environment.advance(1);
    // The next deletion sweeps it, and keeps its own.
    session.delete(asset, Expectation::Any).unwrap();
    assert_eq!(rows(&*bed.backend, Keyspace::Dropped).len(), 1);
    environment.advance(-DAY);
    assert_eq!(kind_of(session.restore(set)), ErrorKind::NotFound);
    assert_clean(&catalog, "swept");
}

#[test]
fn the_retention_is_that_of_the_opening() {
    let bed = Bed::in_memory();
    let environment = TestEnvironment::new(1);
    let open = |retention: Duration| {
        let options = Options::new().environment(environment.environment());
        let catalog = options.undrop(retention).on_backend(bed.backend.clone());
        session(&catalog.expect("a catalog"), "acme")
    };
    let minute = open(Duration::from_secs(60));
    let store = minute.create(new_store("warehouse")).unwrap().id;
    minute.delete(store, Expectation::Any).unwrap();
    // Rounded up to a whole millisecond.
    assert_eq!(all_dropped(&open(Duration::from_nanos(1))).len(), 1);
    assert_eq!(all_dropped(&open(Duration::ZERO)), []);
    environment.advance(60_000);
    assert_eq!(all_dropped(&minute), []);
    let for_ever = open(Duration::MAX);
    let dropped = for_ever.dropped(store).unwrap().unwrap();
    assert_eq!(dropped.expires_at.to_string(), "9999-12-31T23:59:59.999Z");
    for_ever.restore(store).unwrap();
}

#[test]
fn a_large_root_is_swept_in_steps_and_cannot_be_restored_halfway() {
    let (bed, catalog, environment) = in_memory();
    let session = session(&catalog, "acme");
    let Family { store, asset, .. } = family(&session);
    let sets = (0..600).map(|n| NewDataSet {
        schema: Some(schema()),
        ..new_set(asset, &format!("set_{n}"))
    });
    session.create_all(sets).unwrap();
    let small: Vec<_> = (0..20)
        .map(|n| session.create(new_store(&format!("store_{n}"))).unwrap().id)
        .collect();
    session.delete(asset, Expectation::Any).unwrap();
    environment.advance(DAY);
    let mut left = kept(&*bed.backend);
    assert!(left > 1_200);
    let mut steps = 0;
    for &id in &small {
        session.delete(id, Expectation::Any).unwrap();
        // What the deletion keeps itself: an entry, a record, a head.
        let now = kept(&*bed.backend) - 3 * (steps + 1);
        assert!(left - now <= 600, "{left} to {now} in one step");
        assert_clean(&catalog, "halfway");
        steps += 1;
        if now == 0 {
            break;
        }
        environment.advance(-DAY);
        assert_eq!(session.dropped(asset).unwrap(), None);
        assert_eq!(kind_of(session.restore(asset)), ErrorKind::NotFound);
        assert_eq!(kind_of(session.purge(asset)), ErrorKind::NotFound);
        assert!(
            all_dropped(&session)
                .iter()
                .all(|dropped| dropped.id != asset.into())
        );
        environment.advance(DAY);
        left = now;
    }
    assert!(steps > 1, "in one step");
    assert_eq!(kept(&*bed.backend), 3 * steps);
    assert!(session.exists(store).unwrap());
}

#[test]
fn a_large_asset_comes_back_whole() {
    const SETS: usize = 10_000;
    let (_, catalog, environment) = in_memory();
    let session = session(&catalog, "acme");
    let Family { store, asset, .. } = family(&session);
    let sets = (0..SETS - 1).map(|n| NewDataSet {
        name: (n % 3 > 0).then(|| format!("Set {n}")),
        schema: (n % 2 == 0).then(schema),
        additional_schemas: vec![schema(); n % 5 / 4],
        ..new_set(asset, &format!("set_{n}"))
    });
    session.create_all(sets).unwrap();
    let everything = |sort: &str| -> Vec<DataSet> {
        let query = Query::<DataSet>::of(asset).with_schemas().sort(sort);
        session.stream(&query).unwrap().map(|set| set.unwrap()).collect()
    };
    let orders = ["", "name", "-technicalName", "lastModifiedTime"];
    let before = orders.map(everything);
    assert_eq!(before[0].len(), SETS);
    let old = session.get(asset).unwrap().unwrap();
    environment.advance(7);
    session.delete(asset, Expectation::Any).unwrap();
    assert_eq!(session.count::<DataSet>(store).unwrap(), 0);
    assert_eq!(session.dropped(asset).unwrap().unwrap().descendants, SETS as u64);
    let new = session.restore(asset).unwrap();
    assert_eq!(new.version, old.version + 1);
    let mut stamped = new;
    stamped.version = old.version;
    stamped.last_modified_time = old.last_modified_time;
    assert_eq!(stamped, old);
    for (order, before) in orders.into_iter().zip(before) {
        assert!(everything(order) == before, "in the order of {order:?}");
    }
    assert_eq!(session.count::<DataSet>(asset).unwrap(), SETS as u64);
    assert_clean(&catalog, "restored");
}

#[test]
fn a_transaction_drops_restores_and_purges_as_one() {
    for bed in Bed::all() {
        let (catalog, _) = keeping(&bed.backend);
        let session = session(&catalog, "acme");
        let Family { asset, set, .. } = family(&session);
        let before = dump(&*bed.backend);
        let refused: Result<()> = session.transact(|tx| {
            tx.delete(asset, Expectation::Any)?;
            assert_eq!(tx.list_dropped(&DroppedQuery::new())?.items.len(), 1);
            tx.restore(asset)?;
            tx.delete(set, Expectation::Any)?;
            tx.purge(set)?;
            assert_eq!(tx.list_dropped(&DroppedQuery::new())?.items, []);
            tx.delete(asset, Expectation::Any)?;
            // An operation that fails leaves the rest as it is.
            assert_eq!(kind_of(tx.restore(set)), ErrorKind::NotFound);
            assert!(tx.dropped(asset)?.is_some());
            Err(shelfmark::Error::new(ErrorKind::Busy, "enough"))
        });
        assert_eq!(kind_of(refused), ErrorKind::Busy);
        assert!(dump(&*bed.backend) == before, "{}", bed.name);
        let restored = session
            .transact(|tx| {
                tx.delete(asset, Expectation::Any)?;
                tx.restore(asset)?;
                tx.delete(asset, Expectation::Any)?;
                tx.restore(asset)
            })
            .unwrap();
        assert_eq!(restored.version, 2);
        assert!(session.exists(set).unwrap());
        assert_eq!(kept(&*bed.backend), 0);
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn a_rehearsal_keeps_and_sweeps_nothing() {
    let (bed, catalog, environment) = in_memory();
    let session = session(&catalog, "acme");
    let Family { store, asset, set } = family(&session);
    session.delete(set, Expectation::Any).unwrap();
    environment.advance(DAY);
    let before = dump(&*bed.backend);
    let would = session.would_delete([(asset, Expectation::Any)]).unwrap();
    let selected = session.would_delete_selected::<DataAsset>(store).unwrap();
    assert!(dump(&*bed.backend) == before);
    let did = session.delete(asset, Expectation::Any).unwrap();
    assert_eq!((would, selected), (did, did));
}

/// Whatever was deleted, restored, purged and swept: the feed tells of each root by turns that it went and that it came, with the same sets, and of each that is gone for good
/// once, by whom.
#[test]
fn the_feed_tells_what_comes_back_whole_and_each_end_once() {
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let environment = TestEnvironment::new(1);
        let options = Options::new()
            .environment(environment.environment())
            .change_feed(true)
            .undrop(Duration::from_millis(DAY as u64));
        let catalog = options.in_memory().unwrap();
        let session = session(&catalog, "acme");
        let store = session.create(new_store("warehouse")).unwrap().id;
        let assets: Vec<AssetId> = (0..6)
            .map(|n| {
                session
                    .create(new_asset(store, &format!("asset_{n}")))
                    .unwrap()
                    .id
            })
            .collect();
        for (n, &asset) in assets.iter().enumerate() {
            let sets = (0..random.below(5)).map(|m| new_set(asset, &format!("set_{n}_{m}")));
            session.create_all(sets).unwrap();
        }
        let mut by_hand = Vec::new();
        for _ in 0..60 {
            let asset = assets[random.below(6) as usize];
            match random.below(10) {
                0..5 => drop(session.delete(asset, Expectation::Any)),
                5..8 => drop(session.restore(asset)),
                8 if session.purge(asset).is_ok() => by_hand.push(EntityId::from(asset)),
                _ => environment.advance(random.below(DAY as u64 / 4) as i64),
            }
        }
        environment.advance(DAY);
        catalog.sweep().unwrap();
        // What is deleted, with the sets that went along; what is gone for good.
        let mut gone: BTreeMap<EntityId, Vec<(EntityId, u64)>> = BTreeMap::new();
        let mut back: BTreeMap<EntityId, Vec<(EntityId, u64)>> = BTreeMap::new();
        let mut purged = BTreeMap::new();
        for change in session.changes(None, 10_000).unwrap().items {
            let along = change.descendants.iter().map(|set| (set.id, set.version));
            match change.event {
                ChangeEvent::Deleted => gone.entry(change.id).or_default().extend(along),
                ChangeEvent::Restored if change.descendants.is_empty() => {
                    back.insert(change.id, gone.remove(&change.id).expect("it was deleted"));
                }
                ChangeEvent::Restored => {
                    let owed = back.remove(&change.id).expect("its root came first");
                    assert!(along.eq(owed), "seed {seed}: {change:?}");
                }
                ChangeEvent::Purged => {
                    assert!(gone.contains_key(&change.id), "seed {seed}: {change:?}");
                    assert_eq!(purged.insert(change.id, change.actor), None, "seed {seed}");
                }
                _ => {}
            }
        }
        assert!(
            back.values().all(Vec::is_empty),
            "seed {seed}: not all is told that came back"
        );
        assert!(
            purged.keys().eq(gone.keys()),
            "seed {seed}: {purged:?} of {gone:?}"
        );
        for (id, actor) in purged {
            let by = by_hand.contains(&id).then(|| "ann".to_owned());
            assert_eq!(actor, by, "seed {seed}: {id}");
        }
        let alive = assets.iter().filter(|&&asset| session.exists(asset).unwrap());
        assert_eq!(alive.count(), assets.len() - gone.len(), "seed {seed}");
        assert_clean(&catalog, "in the end");
    }
}

#[test]
fn a_selection_of_sets_is_kept_one_by_one() {
    let (_, catalog, _) = in_memory();
    let session = session(&catalog, "acme");
    let Family { asset, set, .. } = family(&session);
    let second = session.create(new_set(asset, "second")).unwrap().id;
    let deleted: Deleted = session.delete_selected::<DataSet>(asset).unwrap();
    assert_eq!(deleted.sets, 2);
    assert_eq!(all_dropped(&session).len(), 2);
    session.restore(second).unwrap();
    assert!(!session.exists(set).unwrap());
}

#[test]
fn a_tenant_goes_with_what_it_has_dropped_and_a_backup_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backup.shelf");
    let (bed, catalog, environment) = in_memory();
    for tenant in ["acme", "other"] {
        let session = session(&catalog, tenant);
        let family = family(&session);
        session.delete(family.asset, Expectation::Any).unwrap();
    }
    catalog.backup(&path).unwrap();
    let everything = dump(&*bed.backend);
    assert!(catalog.drop_tenant("acme").unwrap());
    assert_eq!(rows(&*bed.backend, Keyspace::Dropped).len(), 1);
    assert!(kept(&*bed.backend) < everything[&Keyspace::DroppedRow].len());
    assert_clean(&catalog, "dropped");
    assert_eq!(all_dropped(&session(&catalog, "acme")), []);
    let other = session(&catalog, "other");
    other
        .restore(AssetId::from_uuid(all_dropped(&other)[0].id.uuid()))
        .unwrap();

    let options = Options::new().environment(environment.environment());
    let copy = options.undrop(Duration::from_secs(1)).open(&path).unwrap();
    assert_clean(&copy, "backup");
    assert_eq!(all_dropped(&session(&copy, "acme")).len(), 1);
}

/// Notes what it is asked, and refuses where told to.
struct Witness {
    asked: Mutex<Vec<Restoration>>,
    refuse: Mutex<bool>,
}

impl Hook for Witness {
    fn name(&self) -> &str {
        "witness"
    }

    fn restore(&self, view: &HookView<'_>, restoration: &Restoration) -> std::result::Result<(), Veto> {
        // As it was before.
        let stores = view.count::<DataStore>(AllStores).expect("a count");
        assert_eq!(stores, 1);
        self.asked.lock().expect("a lock").push(*restoration);
        if *self.refuse.lock().expect("a lock") {
            Err(Veto::new("not today"))
        } else {
            Ok(())
        }
    }
}

#[test]
fn hooks_are_asked_once_about_a_restoration() {
    let witness = Arc::new(Witness {
        asked: Mutex::default(),
        refuse: Mutex::new(true),
    });
    let bed = Bed::in_memory();
    let catalog = Options::new()
        .undrop(Duration::from_secs(60))
        .hook(witness.clone())
        .on_backend(bed.backend.clone())
        .unwrap();
    let session = session(&catalog, "acme");
    let Family { asset, set, .. } = family(&session);
    session.create(new_set(asset, "second")).unwrap();
    session.delete(asset, 0).unwrap();
    let before = dump(&*bed.backend);
    assert_eq!(kind_of(session.restore(asset)), ErrorKind::Vetoed);
    assert!(dump(&*bed.backend) == before);
    // Not about what cannot be.
    assert_eq!(kind_of(session.restore(set)), ErrorKind::NotFound);
    *witness.refuse.lock().unwrap() = false;
    session.restore(asset).unwrap();
    let asked: Vec<_> = witness
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|asked| (asked.id, asked.version, asked.descendants))
        .collect();
    assert_eq!(asked, [(asset.into(), 1, 2); 2]);
}

#[test]
fn a_restored_entity_is_not_older_than_it_was() {
    let (_, catalog, environment) = in_memory();
    let session = session(&catalog, "acme");
    let store = session
        .create(NewDataStore {
            name: Some("Warehouse".into()),
            ..new_store("warehouse")
        })
        .unwrap();
    session.delete(store.id, 0).unwrap();
    environment.advance(-5_000);
    let restored = session.restore(store.id).unwrap();
    assert_eq!(restored.last_modified_time, store.last_modified_time);
    let asset = session.create(new_asset(store.id, "sales")).unwrap();
    session.delete(asset.id, 0).unwrap();
    assert_eq!(session.restore(asset.id).unwrap().version, 1);
}
