//! Many threads at once: versions, races of creates with deletes, snapshots, re-entered writes, panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shelfmark::{
    Catalog, DataSet, DataStore, ErrorKind, Expectation, NewDataStore, Options, Patch, Query, Read, Result,
    Session, SetSelection, StoreId, Write,
};

use crate::support::{
    Bed, Watchdog, assert_clean, assert_no_write_enters, family, new_asset, new_set, new_store, number,
    number_in, session,
};

const THREADS: usize = 8;

/// Runs `work` on several threads that begin together, and gives what each returned.
fn together<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let (barrier, work) = (&barrier, &work);
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    barrier.wait();
                    work(thread)
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("a thread"))
            .collect()
    })
}

fn each(test: impl Fn(&str, &Catalog)) {
    for bed in Bed::all() {
        let catalog = bed.catalog();
        test(bed.name, &catalog);
        assert_clean(&catalog, bed.name);
    }
}

type Change = fn(&Session, StoreId, u64, usize) -> Result<DataStore>;

#[test]
fn of_all_that_expect_one_version_exactly_one_wins() {
    let update: Change = |session, id, version, thread| {
        session.update(id, version, |store| {
            store.name = Some(format!("{version} {thread}"));
        })
    };
    let replace: Change = |session, id, version, thread| {
        let new = NewDataStore {
            name: Some(format!("{version} {thread}")),
            ..new_store("raced")
        };
        session.replace(id, version, new)
    };
    let patch: Change = |session, id, version, thread| {
        let patch = Patch::new().add("/name", format!("{version} {thread}"))?;
        session.patch(id, version, &patch)
    };
    each(|name, catalog| {
        let session = session(catalog, "acme");
        for (way, change) in [("update", update), ("replace", replace), ("patch", patch)] {
            let id = session.create(new_store("raced")).unwrap().id;
            for round in 0..12 {
                let outcomes = together(THREADS, |thread| change(&session, id, round, thread));
                let mut winners = Vec::new();
                for outcome in outcomes {
                    match outcome {
                        Ok(store) => winners.push(store),
                        Err(error) => {
                            let conflict = error
                                .conflict()
                                .unwrap_or_else(|| panic!("{name}, {way}: {error}"));
                            assert_eq!((conflict.expected, conflict.found), (round, round + 1));
                        }
                    }
                }
                assert_eq!(winners.len(), 1, "{name}, {way}, round {round}");
                assert_eq!(winners[0].version, round + 1);
                assert_eq!(session.get(id).unwrap().as_ref(), winners.first());
            }
        }
    });
}

#[test]
fn of_all_deletions_exactly_one_wins() {
    each(|name, catalog| {
        let session = session(catalog, "acme");
        for round in 0..12 {
            let id = session.create(new_store("raced")).unwrap().id;
            let outcomes = together(THREADS, |_| session.delete(id, 0));
            let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
            assert_eq!(won.len(), 1, "{name}, round {round}");
            for error in lost.into_iter().filter_map(Result::err) {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}");
            }
        }
    });
}

#[test]
fn versions_are_distinct_and_dense_whoever_writes() {
    each(|name, catalog| {
        let session = session(catalog, "acme");
        let id = session
            .create(NewDataStore {
                properties: number(0),
                ..new_store("counted")
            })
            .unwrap()
            .id;
        const EACH: u64 = 15;
        let increment =
            |store: &mut NewDataStore| store.properties = number(number_in(&store.properties) + 1);
        let versions = together(THREADS, |thread| {
            (0..EACH)
                .map(|_| {
                    // Half of the writers go through an interactive transaction.
                    let changed = if thread % 2 == 0 {
                        session.update(id, Expectation::Any, increment)
                    } else {
                        session.transact(|tx| tx.update(id, Expectation::Any, increment))
                    };
                    changed.unwrap().version
                })
                .collect::<Vec<_>>()
        });
        for of_thread in &versions {
            assert!(of_thread.is_sorted(), "{name}: {of_thread:?}");
        }
        let mut all: Vec<u64> = versions.into_iter().flatten().collect();
        all.sort_unstable();
        let writes = THREADS as u64 * EACH;
        assert_eq!(all, (1..=writes).collect::<Vec<_>>(), "{name}");
        let store = session.get(id).unwrap().unwrap();
        assert_eq!(
            (store.version, number_in(&store.properties) as u64),
            (writes, writes)
        );
    });
}

#[test]
fn an_asset_created_while_its_store_goes_blocks_it_or_is_not_found() {
    each(|name, catalog| {
        let session = session(catalog, "acme");
        for round in 0..25 {
            let store = session.create(new_store("raced")).unwrap().id;
            let outcomes = together(4, |thread| {
                if thread == round % 4 {
                    session.delete(store, Expectation::Any).map(|_| None)
                } else {
                    session.create(new_asset(store, "racing")).map(Some)
                }
            });
            let exists = session.exists(store).unwrap();
            for (thread, outcome) in outcomes.into_iter().enumerate() {
                match outcome {
                    Ok(Some(asset)) => assert!(exists && session.exists(asset.id).unwrap(), "{name}"),
                    Ok(None) => assert!(!exists, "{name}"),
                    Err(error) if thread == round % 4 => assert_eq!(error.kind(), ErrorKind::NotEmpty),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}");
                        assert!(!exists, "{name}");
                    }
                }
            }
        }
    });
}

#[test]
fn sets_created_while_their_parents_go_leave_no_orphan() {
    each(|name, catalog| {
        for round in 0..24 {
            let session = session(catalog, &format!("tenant {}", round % 3));
            let store = session.create(new_store("raced")).unwrap().id;
            let asset = session.create(new_asset(store, "raced")).unwrap().id;
            let created = AtomicU64::new(0);
            let outcomes = together(4, |thread| match (thread, round % 4) {
                (0, 0) => session.delete(asset, Expectation::Any).map(|gone| gone.sets),
                (0, 1) => session
                    .delete_selected::<shelfmark::DataAsset>(store)
                    .map(|gone| gone.sets),
                (0, 2) => session.delete_selected::<DataSet>(asset).map(|gone| gone.sets),
                (0, _) => catalog.drop_tenant(session.tenant()).map(u64::from),
                _ => {
                    for n in 0..6 {
                        session.create(new_set(asset, &format!("{thread} {n}")))?;
                        created.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(0)
                }
            });
            let mut outcomes = outcomes.into_iter();
            let gone = outcomes.next().unwrap().unwrap();
            for error in outcomes.filter_map(Result::err) {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}");
                assert_ne!(round % 4, 2, "{name}: the asset stayed");
            }
            let left = session.count::<DataSet>(SetSelection::All).unwrap();
            let listed = session.list(&Query::<DataSet>::new().limit(1_000)).unwrap();
            assert_eq!(listed.items.len() as u64, left, "{name}");
            let created = created.into_inner();
            match round % 4 {
                2 => assert_eq!(session.count::<DataSet>(asset).unwrap(), created - gone, "{name}"),
                3 => assert_eq!((session.exists(store).unwrap(), left), (false, 0), "{name}"),
                _ => {
                    assert_eq!(gone, created, "{name}: each created set went with the asset");
                    assert!(!session.exists(asset).unwrap());
                }
            }
            assert_clean(catalog, name);
        }
    });
}

#[test]
fn a_snapshot_shows_one_state_however_much_is_written() {
    each(|name, catalog| {
        let session = session(catalog, "acme");
        let account = |properties| NewDataStore {
            properties,
            ..new_store("account")
        };
        let (one, two) = (
            session.create(account(number(500))).unwrap().id,
            session.create(account(number(500))).unwrap().id,
        );
        let asset = session.create(new_asset(one, "pages")).unwrap().id;
        session
            .create_all((0..60).map(|n| new_set(asset, &format!("first {n:03}"))))
            .unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..2_i64)
                .map(|writer| {
                    let session = &session;
                    scope.spawn(move || {
                        for step in 0..40 {
                            transfer(session, one, two, step - 20 * writer).unwrap();
                            let name = format!("{writer} {step}");
                            let set = session.create(new_set(asset, &name)).unwrap();
                            if step % 3 == 0 {
                                session.delete(set.id, 0).unwrap();
                            }
                        }
                    })
                })
                .collect();
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        while !done.load(Ordering::Relaxed) {
                            read_one_state(&session, one, two, asset);
                        }
                    })
                })
                .collect();
            let written: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
            done.store(true, Ordering::Relaxed);
            for outcome in written
                .into_iter()
                .chain(readers.into_iter().map(|reader| reader.join()))
            {
                outcome.expect(name);
            }
        });
        assert_eq!(session.count::<DataSet>(asset).unwrap(), 60 + 2 * (40 - 14));
    });
}

/// Moves an amount in one transaction, so that the sum stays.
fn transfer(session: &Session, from: StoreId, to: StoreId, amount: i64) -> Result<()> {
    session.transact(|tx| {
        for (id, amount) in [(from, -amount), (to, amount)] {
            tx.update(id, Expectation::Any, |store| {
                store.properties = number(number_in(&store.properties) + amount);
            })?;
        }
        Ok(())
    })
}

fn read_one_state(session: &Session, one: StoreId, two: StoreId, asset: shelfmark::AssetId) {
    let snapshot = session.snapshot().expect("a snapshot");
    let sum = || {
        let balance =
            |id: StoreId| number_in(&snapshot.get(id).expect("a read").expect("an account").properties);
        balance(one) + balance(two)
    };
    assert_eq!(sum(), 1_000);
    let mut query = Query::<DataSet>::of(asset).sort("name").limit(7);
    let mut walked = Vec::new();
    let total = loop {
        let page = snapshot.list(&query).expect("a page");
        walked.extend(page.items);
        match page.next {
            Some(next) => query = query.cursor(next),
            None => break page.total,
        }
    };
    assert_eq!(total, Some(walked.len() as u64));
    let streamed: Result<Vec<DataSet>> = snapshot
        .stream(&Query::of(asset).sort("name"))
        .expect("a stream")
        .collect();
    assert_eq!(streamed.expect("every set"), walked);
    assert_eq!(sum(), 1_000);
}

#[test]
fn a_write_from_inside_a_write_is_refused_and_leaves_the_session_working() {
    let _watchdog = Watchdog::new("a re-entered write");
    for bed in Bed::all() {
        let catalog = Options::new()
            .change_feed(true)
            .undrop(Duration::from_secs(3_600))
            .on_backend(bed.backend.clone())
            .expect("a catalog");
        let session = session(&catalog, "acme");
        let family = family(&session);
        let enter = || {
            assert_no_write_enters(&catalog, &session, family.store);
            // Nor in another tenant.
            let elsewhere = catalog.session("elsewhere", "ann").expect("a session");
            assert_no_write_enters(&catalog, &elsewhere, family.store);
            // Reading is no write, and does not wait for one.
            assert!(session.exists(family.store).unwrap());
            assert!(session.would_delete([(family.set, Expectation::Any)]).is_ok());
            let newest = session.newest_change().unwrap();
            assert!(session.watch(newest, 10, Duration::MAX).unwrap().items.is_empty());
        };
        session
            .transact(|tx| {
                enter();
                tx.update(family.store, Expectation::Any, |_| enter())
            })
            .unwrap();
        session
            .transact(|tx| {
                tx.update(family.store, Expectation::Any, |_| {
                    // Nor through the transaction itself.
                    let mut batch = shelfmark::Batch::new();
                    batch.create(new_store("inner"));
                    let key = shelfmark::IdempotencyKey::new("inner").unwrap();
                    for refused in [
                        tx.batch(&batch).map(drop),
                        tx.batch_once(&key, &batch).map(drop),
                        tx.create_once(&key, new_store("inner")).map(drop),
                        tx.restore(family.set).map(drop),
                        tx.purge(family.set).map(drop),
                    ] {
                        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReentrantWrite);
                    }
                })
            })
            .unwrap();
        session
            .update(family.store, Expectation::Any, |_| enter())
            .unwrap();
        session
            .update_all([(family.store, Expectation::Any)], |_, _| enter())
            .unwrap();
        let name = bed.name;
        assert_eq!(session.get(family.store).unwrap().unwrap().version, 0, "{name}");
        assert_eq!(catalog.tenants().unwrap(), ["acme"], "{name}");
        let renamed = session
            .update(family.store, 0, |store| store.name = Some("after".into()))
            .unwrap();
        assert_eq!(renamed.version, 1, "{name}");
    }
}

#[test]
fn a_panic_in_a_closure_goes_on_and_leaves_no_trace() {
    let _watchdog = Watchdog::new("a write after a panic");
    each(|name, catalog| {
        let session = session(catalog, "acme");
        let family = family(&session);
        let panics: [&dyn Fn() -> Result<()>; 4] = [
            &|| {
                session.transact(|tx| {
                    tx.create(new_store("lost"))?;
                    tx.delete(family.asset, Expectation::Any)?;
                    std::panic::panic_any("in the transaction")
                })
            },
            &|| {
                session.transact(|tx| {
                    tx.create(new_store("lost"))?;
                    tx.update(family.store, Expectation::Any, |_| {
                        std::panic::panic_any("in the update inside")
                    })?;
                    Ok(())
                })
            },
            &|| {
                session
                    .update(family.store, Expectation::Any, |store| {
                        store.name = Some("lost".into());
                        std::panic::panic_any("in the update")
                    })
                    .map(drop)
            },
            &|| {
                session
                    .update_all([(family.store, Expectation::Any)], |_, _| {
                        std::panic::panic_any("in the updates")
                    })
                    .map(drop)
            },
        ];
        for (way, panics) in panics.into_iter().enumerate() {
            let outcome = catch_unwind(AssertUnwindSafe(panics));
            let payload = outcome.expect_err("a panic");
            let message = payload
                .downcast_ref::<&str>()
                .expect("the payload of the closure");
            assert!(message.starts_with("in the "), "{name}: {message}");
            assert_eq!(
                session.count::<DataStore>(shelfmark::AllStores).unwrap(),
                1,
                "{name}"
            );
            assert!(session.exists(family.set).unwrap());
            let renamed = session.update(family.store, way as u64, |store| {
                store.name = Some(format!("after {way}"));
            });
            assert_eq!(renamed.unwrap().version, way as u64 + 1, "{name}");
        }
    });
}

#[test]
fn an_error_of_a_transaction_drops_everything_and_one_inside_only_its_own() {
    each(|name, catalog| {
        let session = session(catalog, "acme");
        let family = family(&session);
        let outcome: Result<()> = session.transact(|tx| {
            tx.create(new_store("lost"))?;
            tx.delete(family.asset, Expectation::Any)?;
            tx.create(new_asset(StoreId::from_uuid(family.set.uuid()), "no parent"))?;
            Ok(())
        });
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(session.exists(family.set).unwrap(), "{name}");
        let kept = session
            .transact(|tx| {
                let kept = tx.create(new_store("kept"))?;
                let refused = tx.create_all([new_asset(kept.id, "one"), new_asset(kept.id, "")]);
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
                let refused = tx.delete_all([(family.store, Expectation::Any), (kept.id, Expectation::Any)]);
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotEmpty);
                Ok(kept)
            })
            .unwrap();
        assert_eq!(session.get(kept.id).unwrap(), Some(kept), "{name}");
        assert_eq!(session.count::<shelfmark::DataAsset>(family.store).unwrap(), 1);
    });
}

#[test]
fn an_update_closure_in_a_transaction_may_not_write_either() {
    let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
    let store = session
        .create(NewDataStore::new("warehouse", "postgres"))
        .unwrap();
    let version = session
        .transact(|tx| {
            let mut inner = Vec::new();
            let updated = tx.update(store.id, Expectation::Any, |new| {
                new.name = Some("outer".into());
                inner.push(tx.update(store.id, Expectation::Any, |new| new.name = Some("inner".into())));
                inner.push(tx.replace(store.id, Expectation::Any, NewDataStore::new("w", "x")));
            })?;
            for refused in inner {
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReentrantWrite);
            }
            assert_eq!(updated.name.as_deref(), Some("outer"));
            // Afterwards the transaction writes again.
            Ok(tx
                .replace(store.id, updated.version, NewDataStore::new("w", "x"))?
                .version)
        })
        .unwrap();
    assert_eq!(version, 2);
}
