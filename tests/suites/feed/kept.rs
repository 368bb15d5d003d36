//! What is kept of a feed, and whose it is: retention, openings, copies, tenants.

use super::*;
use shelfmark_testkit::{CountingBackend, TestEnvironment};

fn trimming(count: u64) -> Options {
    options().change_retention(ChangeRetention::keep_all().count(count))
}

fn kept(session: &Session) -> Vec<u64> {
    match session.changes(None, usize::MAX) {
        Ok(page) => sequences(&page.items),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ChangesTrimmed, "{error}");
            let oldest = error.oldest_change().expect("the oldest");
            sequences(&session.changes(oldest, usize::MAX).expect("what is left").items)
        }
    }
}

#[test]
fn writes_trim_as_they_go_and_a_sweep_the_rest() {
    for bed in Bed::all() {
        let catalog = trimming(100).on_backend(bed.backend.clone()).unwrap();
        let session = session(&catalog, "acme");
        let start = session.newest_change().unwrap();
        for chunk in 0..20 {
            session
                .create_all((0..50).map(|n| new_store(&format!("{chunk} {n}"))))
                .unwrap();
            let kept = kept(&session);
            assert_eq!(kept.last(), Some(&((chunk + 1) * 50)));
            assert!(
                kept.len() < 100 + 256,
                "{}: {} after {chunk}",
                bed.name,
                kept.len()
            );
            assert_clean(&catalog, bed.name);
        }
        assert!(
            kept(&session).len() > 100,
            "{}: nothing is left to sweep",
            bed.name
        );
        let swept = catalog.sweep().unwrap().changes;
        assert!(swept > 0);
        assert!(kept(&session).iter().copied().eq(901..=1_000));
        assert_eq!(catalog.sweep().unwrap().changes, 0);
        for behind in [None, Some(start)] {
            let error = session.changes(behind, 10).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ChangesTrimmed);
            assert!(error.oldest_change().is_some());
        }
        assert_eq!(rows(&*bed.backend, Keyspace::Change).len(), 100);
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn a_sweep_goes_in_bounded_steps_and_over_every_tenant() {
    let memory: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let filling = options().on_backend(memory.clone()).unwrap();
    for (tenant, stores) in [("one", 3_000), ("two", 10), ("three", 1)] {
        session(&filling, tenant)
            .create_all((0..stores).map(|n| new_store(&n.to_string())))
            .unwrap();
    }
    drop(filling);
    let counting = CountingBackend::new(memory.clone());
    // The newest stays, whatever is asked for: it has the number that the next one goes on from.
    let catalog = trimming(0).on_backend(Arc::new(counting.clone())).unwrap();
    counting.reset();
    assert_eq!(catalog.sweep().unwrap().changes, 2_999 + 9);
    assert_eq!(counting.counts().commits, 3 + 1);
    counting.reset();
    assert_eq!(catalog.sweep().unwrap().changes, 0);
    assert_eq!(counting.counts().commits, 0);
    for (tenant, last) in [("one", 3_000), ("two", 10), ("three", 1)] {
        let session = session(&catalog, tenant);
        assert_eq!(kept(&session), [last]);
        session.create(new_store("next")).unwrap();
        assert_eq!(kept(&session).last(), Some(&(last + 1)));
    }
    assert_clean(&catalog, "swept");
    let refused = session(&catalog, "one").transact(|_| catalog.sweep());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReentrantWrite);
}

#[test]
fn retention_by_age_goes_by_the_catalogs_clock() {
    let clock = TestEnvironment::new(3);
    let retention = ChangeRetention::keep_all().age(Duration::from_millis(1_000));
    let catalog = options()
        .change_retention(retention)
        .environment(clock.environment())
        .in_memory()
        .unwrap();
    let session = session(&catalog, "acme");
    for n in 0..10 {
        session.create(new_store(&n.to_string())).unwrap();
        clock.advance(300);
    }
    // Made 300 ms apart; those of 900, 600 and 300 ms ago are left.
    assert_eq!(catalog.sweep().unwrap().changes, 7);
    assert_eq!(kept(&session), [8, 9, 10]);
    clock.advance(1_000_000);
    assert_eq!(catalog.sweep().unwrap().changes, 2);
    assert_eq!(kept(&session), [10]);
    // A clock that was set back keeps more, and takes nothing that is young.
    clock.advance(-5_000_000);
    session.create(new_store("earlier")).unwrap();
    assert_eq!(catalog.sweep().unwrap().changes, 0);
}

#[test]
fn a_feed_is_turned_on_for_what_happens_from_then_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.shelf");
    let family = {
        let catalog = Options::new().change_feed(false).create(&path).unwrap();
        family(&session(&catalog, "acme"))
    };
    let kind = |outcome: shelfmark::Result<Catalog>| outcome.map(drop).map_err(|error| error.kind());
    assert_eq!(
        kind(options().unique_technical_names(true).open(&path)),
        Err(ErrorKind::OptionMismatch)
    );
    assert!(
        Options::new().change_feed(false).open(&path).is_ok(),
        "a refused open turned it on"
    );
    assert_eq!(
        kind(options().read_only(true).open(&path)),
        Err(ErrorKind::ReadOnly)
    );
    let shared = options().concurrency(shelfmark::Concurrency::MultiWriter);
    assert_eq!(kind(shared.open(&path)), Err(ErrorKind::Unsupported));

    let catalog = options().open(&path).unwrap();
    let session_of = |catalog: &Catalog| session(catalog, "acme");
    let session = session_of(&catalog);
    let start = session.newest_change().unwrap();
    assert!(session.changes(None, 10).unwrap().items.is_empty());
    session
        .update(family.set, 0, |set| set.name = Some("Told".into()))
        .unwrap();
    session.delete(family.asset, Expectation::Any).unwrap();
    let (changes, end) = follow(&session, Some(start), 1);
    assert_eq!(sequences(&changes), [1, 2, 3]);
    drop((session, catalog));
    assert_eq!(
        kind(Options::new().change_feed(false).open(&path)),
        Err(ErrorKind::OptionMismatch)
    );
    // It stays the same feed.
    for options in [Options::new(), options(), Options::new().read_only(true)] {
        let catalog = options.open(&path).unwrap();
        assert_eq!(
            follow(&session_of(&catalog), Some(start), 2),
            (changes.clone(), end)
        );
        assert_clean(&catalog, "turned on");
    }
    let catalog = shared.open(&path).unwrap();
    assert_eq!(session_of(&catalog).newest_change().unwrap(), end);
}

#[test]
fn a_copy_has_a_feed_of_its_own() {
    for bed in Bed::all() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = options()
            .environment(TestEnvironment::new(9).environment())
            .on_backend(bed.backend.clone())
            .unwrap();
        let session_of = |catalog: &Catalog| session(catalog, "acme");
        let original = session_of(&catalog);
        family(&original);
        let position = original.newest_change().unwrap();
        let before_any = session(&catalog, "nobody").newest_change().unwrap();
        let mut newest = vec![position];
        for n in 0..2 {
            let path = directory.path().join(format!("{n}.shelf"));
            catalog.backup(&path).unwrap();
            let copy = Catalog::open(&path).unwrap();
            assert_clean(&copy, bed.name);
            let copied = session_of(&copy);
            for foreign in [position, before_any] {
                let error = copied.changes(foreign, 10).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ChangesRewound, "{}", bed.name);
                let error = session(&copy, "nobody").changes(foreign, 10).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ChangesRewound, "{}", bed.name);
            }
            // What it was copied with is told there too.
            assert_eq!(follow(&copied, None, 2).0.len(), 3);
            let own = copied.newest_change().unwrap();
            assert!(!newest.contains(&own));
            assert_eq!(
                original.changes(own, 10).unwrap_err().kind(),
                ErrorKind::ChangesRewound
            );
            newest.push(own);
        }
        assert!(original.changes(position, 10).unwrap().items.is_empty());
    }
}

#[test]
fn a_tenant_made_anew_has_another_feed() {
    for bed in Bed::all() {
        let catalog = catalog_on(&bed.backend);
        let session_of = |tenant| session(&catalog, tenant);
        let acme = session_of("acme");
        // Before there is such a tenant: nothing is missed, whoever gets the name.
        let before_any = acme.newest_change().unwrap();
        assert_eq!(acme.changes(None, 10).unwrap().position, before_any);
        assert_eq!(acme.changes(before_any, 10).unwrap().position, before_any);
        assert!(rows(&*bed.backend, Keyspace::Change).is_empty());
        acme.create(new_store("one")).unwrap();
        acme.create(new_store("two")).unwrap();
        let position = follow(&acme, Some(before_any), 1).1;
        assert_eq!(position, acme.newest_change().unwrap());
        session_of("other").create(new_store("theirs")).unwrap();
        let theirs = session_of("other").newest_change().unwrap();
        let rewound = |session: &Session, position| {
            let error = session.changes(position, 10).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ChangesRewound, "{}", bed.name);
            assert!(error.to_string().contains("read everything"), "{error}");
        };
        rewound(&acme, theirs);
        rewound(&session_of("nobody"), theirs);

        catalog.drop_tenant("acme").unwrap();
        assert!(acme.changes(None, 10).unwrap().items.is_empty());
        rewound(&acme, position);
        acme.create(new_store("anew")).unwrap();
        rewound(&acme, position);
        assert_eq!(follow(&acme, Some(before_any), 1).0.len(), 1);
        assert_eq!(follow(&acme, None, 1).0[0].sequence, 1);
        assert_eq!(
            follow(&session_of("other"), None, 5).0.len(),
            1,
            "{}: the other's feed went too",
            bed.name
        );
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn a_position_ahead_of_the_feed_is_of_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.shelf");
    let saved = directory.path().join("saved.shelf");
    drop(options().create(&path).unwrap());
    let fill = |name: &str| {
        let catalog = Catalog::open(&path).unwrap();
        let session = session(&catalog, "acme");
        session.create(new_store(name)).unwrap();
        session.newest_change().unwrap()
    };
    let first = fill("one");
    std::fs::copy(&path, &saved).unwrap();
    let ahead = fill("two");
    // The file itself put back, not a backup: the feed's id is the same, and what came after is lost.
    std::fs::copy(&saved, &path).unwrap();
    let catalog = Catalog::open(&path).unwrap();
    let session = session(&catalog, "acme");
    assert!(session.changes(first, 10).unwrap().items.is_empty());
    assert_eq!(
        session.changes(ahead, 10).unwrap_err().kind(),
        ErrorKind::ChangesRewound
    );
}
