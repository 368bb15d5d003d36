//! Many creations at once: rows that are made ahead, by two threads, are those that single creations write, and an error names its member.

use std::cell::Cell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use shelfmark::{
    AssetId, Batched, Catalog, DataField, DataSet, EntityId, ErrorKind, Expectation, FieldType, Hook,
    HookView, NewDataSet, Options, Proposal, Query, Read as _, Schema, Session, SetId, SetSelection, Veto,
    Write as _,
};

use shelfmark_testkit::{Fault, FaultyBackend};

use super::support::{Bed, new_asset, new_set, new_store};

/// Enough for a second thread to help with.
const MANY: usize = 1_500;

fn sets(assets: &[AssetId], count: usize) -> impl Iterator<Item = NewDataSet> {
    (0..count).map(move |n| {
        let name = format!("Set {:04}", n * 7_919 % count);
        NewDataSet {
            name: Some(name.clone()),
            schema: (n % 3 == 0).then(super::support::schema),
            ..new_set(assets[n % assets.len()], &name.replace(' ', "_"))
        }
    })
}

fn beginning(bed: &Bed, options: &Options) -> (Catalog, Session, [AssetId; 2]) {
    let catalog = options.on_backend(Arc::clone(&bed.backend)).expect("a catalog");
    let session = catalog.session("acme", "ann").expect("a session");
    let store = session.create(new_store("store")).expect("a store").id;
    let assets = ["one", "two"].map(|name| session.create(new_asset(store, name)).expect("an asset").id);
    (catalog, session, assets)
}

fn count(session: &Session) -> u64 {
    session.count::<DataSet>(SetSelection::All).expect("a count")
}

#[test]
fn many_are_stored_as_single_ones_are() {
    for bed in Bed::all() {
        let (catalog, session, assets) = beginning(&bed, &Options::new().change_feed(true));
        let mut all = session.create_all(sets(&assets, MANY)).expect("all of them");
        let batched = Batched::new().chunk_entities(MANY / 4);
        all.extend(
            session
                .create_batched(sets(&assets, MANY), batched)
                .expect("in chunks"),
        );
        assert!(all.is_sorted(), "{}: ids grow", bed.name);
        assert!(catalog.check().expect("a check").is_clean(), "{}", bed.name);
        assert_eq!(count(&session), all.len() as u64);
        for (new, &id) in sets(&assets, MANY).chain(sets(&assets, MANY)).zip(&all) {
            let set = session.get(id).expect("a read").expect("a set");
            assert_eq!((&set.name, Some(set.data_asset_info.id)), (&new.name, new.asset));
            assert_eq!(set.schema.is_some(), new.schema.is_some());
        }
        let changes = session.changes(None, usize::MAX).expect("changes").items;
        let told: Vec<SetId> = changes
            .iter()
            .filter_map(|change| match change.id {
                EntityId::Set(id) => Some(id),
                _ => None,
            })
            .collect();
        assert_eq!(told, all, "{}: in their order", bed.name);
    }
}

#[test]
fn an_error_names_its_member_and_what_stays() {
    let bed = Bed::in_memory();
    let (_catalog, session, assets) = beginning(&bed, &Options::new());
    let store = session
        .get(assets[0])
        .expect("a read")
        .expect("an asset")
        .data_store_info
        .id;
    let gone = session.create(new_asset(store, "gone")).expect("an asset").id;
    session.delete(gone, Expectation::Any).expect("a deletion");
    let invalid = |set: &mut NewDataSet| set.qri.clear();
    let orphan = |set: &mut NewDataSet| set.asset = Some(gone);
    let with = |faults: &[(usize, &dyn Fn(&mut NewDataSet))]| -> Vec<NewDataSet> {
        let mut all: Vec<_> = sets(&assets, MANY).collect();
        for (at, spoil) in faults {
            spoil(&mut all[*at]);
        }
        all
    };
    for at in [0, 255, 256, 700, MANY - 1] {
        for (kind, spoil) in [
            (ErrorKind::Invalid, &invalid as &dyn Fn(&mut NewDataSet)),
            (ErrorKind::NotFound, &orphan),
        ] {
            let error = session.create_all(with(&[(at, spoil)])).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(error.bulk().and_then(|bulk| bulk.index), Some(at as u64));
        }
    }
    assert_eq!(count(&session), 0);
    // The first chunk fails while the second, which holds an invalid member, is made.
    let two = with(&[(300, &orphan), (700, &invalid)]);
    let chunks = || Batched::new().chunk_entities(500);
    let error = session.create_batched(two, chunks()).unwrap_err();
    let bulk = error.bulk().expect("where it stopped");
    assert_eq!(
        (error.kind(), bulk.index, bulk.stored),
        (ErrorKind::NotFound, Some(300), 0)
    );
    assert_eq!(count(&session), 0);
    let error = session
        .create_batched(with(&[(700, &invalid)]), chunks())
        .unwrap_err();
    let bulk = error.bulk().expect("where it stopped");
    assert_eq!(
        (error.kind(), bulk.index, bulk.stored),
        (ErrorKind::Invalid, Some(700), 500)
    );
    assert_eq!(count(&session), 500);
}

#[test]
fn a_parent_that_goes_while_members_are_taken_takes_the_call_along() {
    let bed = Bed::in_memory();
    let (catalog, session, assets) = beginning(&bed, &Options::new());
    let going = sets(&assets, MANY).enumerate().map(|(n, set)| {
        if n == MANY / 2 {
            session.delete(assets[1], Expectation::Any).expect("a deletion");
        }
        set
    });
    let error = session.create_all(going).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.bulk().and_then(|bulk| bulk.index),
        Some(1),
        "the first that has it"
    );
    assert_eq!(count(&session), 0);
    assert!(catalog.check().expect("a check").is_clean());
    let page = session.list(&Query::<DataSet>::of(assets[0])).expect("a page");
    assert!(page.items.is_empty());
}

#[test]
fn what_has_failed_without_a_doubt_is_not_stored() {
    // Chunks of all, some with a second thread and some without.
    for (count, chunk) in [(3, 3), (3, 2), (MANY, MANY), (MANY, 500)] {
        for nth in 1.. {
            let bed = Bed::in_memory();
            let faulty = FaultyBackend::new(Arc::clone(&bed.backend));
            let faults = faulty.faults();
            let catalog = Options::new().on_backend(Arc::new(faulty)).expect("a catalog");
            let session = catalog.session("acme", "ann").expect("a session");
            let store = session.create(new_store("store")).expect("a store").id;
            let asset = session.create(new_asset(store, "one")).expect("an asset").id;
            faults.arm(Fault::snapshot(ErrorKind::Io).nth(nth));
            let created = session.create_batched(sets(&[asset], count), Batched::new().chunk_entities(chunk));
            let struck = faults.struck() > 0;
            faults.disarm();
            let stored = self::count(&session);
            match created {
                Ok(ids) => assert_eq!((ids.len(), stored), (count, count as u64)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
                    let told = error.bulk().expect("how far it got").stored;
                    assert_eq!(told, stored, "snapshot {nth}");
                    assert!(stored < count as u64, "all are stored, and it failed: {error}");
                }
            }
            if !struck {
                break;
            }
        }
    }
}

#[test]
fn the_iterator_is_ahead_of_what_is_stored_by_a_chunk_and_no_more() {
    let (bed, taken) = (Bed::in_memory(), Cell::new(0));
    let (_catalog, session, assets) = beginning(&bed, &Options::new());
    let chunk = MANY as u64 / 5;
    let counted = sets(&assets, MANY).inspect(|_| taken.set(taken.get() + 1));
    let batched = Batched::new().chunk_entities(MANY / 5).on_progress(|progress| {
        // One more is looked at, to know whether there is another chunk.
        let ahead = taken.get() - progress.stored;
        assert!(ahead <= chunk + 1, "{ahead} of chunks of {chunk}");
    });
    assert_eq!(
        session
            .create_batched(counted, batched)
            .expect("all of them")
            .len(),
        MANY
    );
}

#[test]
fn a_chunk_holds_no_more_bytes_than_it_may() {
    let (bed, mut chunks) = (Bed::in_memory(), Vec::new());
    let (_catalog, session, assets) = beginning(&bed, &Options::new());
    // Every set takes more than these.
    let bytes = 100 << 10;
    let fields = (0..100).map(|n| DataField::new(format!("{n:01024}"), FieldType::Integer));
    let schema = Schema {
        data_fields: fields.collect(),
        ..Schema::default()
    };
    let large = sets(&assets, 200).map(|set| NewDataSet {
        schema: Some(schema.clone()),
        ..set
    });
    let batched = Batched::new().on_progress(|progress| chunks.push(progress.stored));
    session.create_batched(large, batched).expect("all of them");
    let sizes = chunks
        .iter()
        .zip([0].iter().chain(&chunks))
        .map(|(end, begin)| end - begin);
    for size in sizes {
        assert!(
            (size - 1) * bytes < 8 << 20,
            "{size} sets of {bytes} bytes and more"
        );
    }
    assert_eq!(chunks.last(), Some(&200));
}

/// Notes the threads that commit sets.
#[derive(Default)]
struct Committing(Mutex<HashSet<ThreadId>>);

impl Hook for Committing {
    fn name(&self) -> &str {
        "committing"
    }

    fn set(&self, _view: &HookView<'_>, _set: &mut Proposal<'_, DataSet>) -> Result<(), Veto> {
        self.0.lock().expect("no panic").insert(thread::current().id());
        Ok(())
    }
}

#[test]
fn one_thread_commits_every_chunk() {
    let (bed, hook) = (Bed::in_memory(), Arc::new(Committing::default()));
    let (_catalog, session, assets) = beginning(&bed, &Options::new().hook(hook.clone()));
    // The last one is too small to be worth another thread.
    let made = session.create_batched(sets(&assets, MANY + 1), Batched::new().chunk_entities(MANY / 5));
    assert_eq!(made.expect("all of them").len(), MANY + 1);
    let threads = hook.0.lock().expect("no panic").len();
    assert!(threads <= 2, "{threads} threads, the caller's among them");
    hook.0.lock().expect("no panic").clear();
    let made = session.create_batched(sets(&assets, MANY), Batched::new().chunk_entities(MANY / 5));
    assert_eq!(made.expect("all of them").len(), MANY);
    assert_eq!(hook.0.lock().expect("no panic").len(), 1, "the last one too");
}

#[test]
fn a_panic_of_the_iterator_is_the_callers_and_what_was_begun_is_committed() {
    let bed = Bed::in_memory();
    let (catalog, session, assets) = beginning(&bed, &Options::new());
    let chunk = MANY / 5;
    let panicking = sets(&assets, MANY).enumerate().map(|(n, set)| {
        if n == 3 * chunk + 1 {
            resume_unwind(Box::new("the iterator's own"));
        }
        set
    });
    let batched = Batched::new().chunk_entities(chunk);
    let panic = catch_unwind(AssertUnwindSafe(|| session.create_batched(panicking, batched)));
    let payload = panic.expect_err("a panic");
    assert_eq!(payload.downcast_ref(), Some(&"the iterator's own"));
    assert_eq!(count(&session), 3 * chunk as u64);
    assert!(catalog.check().expect("a check").is_clean());
}
