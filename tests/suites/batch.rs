//! Declarative batches: references between operations, all or nothing, every failure with its place.

use std::sync::{Arc, Mutex};

use shelfmark::{
    AssetId, Batch, BatchOutcome, DataSet, DataStore, EntityId, Error, ErrorKind, Expectation, Hook,
    HookView, NewDataAsset, NewDataStore, Options, Patch, Proposal, Query, Read, StoreId, Veto, Write,
};
use shelfmark_testkit::{CountingBackend, Fault, FaultyBackend, MemoryBackend};

use crate::support::{
    Bed, Watchdog, assert_clean, catalog_on, dump, family, new_asset, new_set, new_store, session,
};

fn rename(name: &str) -> Patch {
    Patch::new().add("/name", name).expect("a patch")
}

/// Index and kind of each failure.
fn kinds(error: &Error) -> Vec<(u64, ErrorKind)> {
    error
        .failures()
        .iter()
        .map(|failure| (failure.index, failure.error.kind()))
        .collect()
}

#[test]
fn operations_refer_to_what_those_before_them_create() {
    for bed in Bed::all() {
        let catalog = bed.catalog();
        let session = session(&catalog, "acme");
        let there = family(&session);
        let mut batch = Batch::new();
        let store = batch.create(new_store("lake"));
        let asset = batch.create(new_asset(store, "raw"));
        let set = batch.create(new_set(asset, "events"));
        batch.create(new_set(there.asset, "more"));
        batch.patch(asset, 0, rename("Raw"));
        batch.replace(set, 0, new_set(asset, "clicks"));
        batch.patch(there.store, 0, rename("Depot"));
        batch.delete(there.set, Expectation::Any);
        let short = batch.create(new_asset(store, "short-lived"));
        batch.delete(short, 0);
        let outcomes = session.batch(&batch).expect("a batch");
        assert_eq!(outcomes.len(), batch.len());
        let real = outcomes[0].store().expect("a store").id;
        let raw = outcomes[1].asset().expect("an asset");
        assert_eq!((raw.data_store_info.id, raw.version), (real, 0));
        let named = outcomes[4].asset().expect("an asset");
        assert_eq!((named.id, named.version), (raw.id, 1));
        let clicks = outcomes[5].set().expect("a set");
        assert_eq!(clicks.data_asset_info.name.as_deref(), Some("Raw"));
        assert_eq!(
            (
                clicks.technical_name.as_str(),
                clicks.version,
                clicks.data_asset_info.id
            ),
            ("clicks", 1, raw.id)
        );
        assert_eq!(outcomes[7].deleted().map(|deleted| deleted.sets), Some(1));
        assert_eq!(outcomes[9].deleted().map(|deleted| deleted.assets), Some(1));
        // What outcomes show is what is there.
        assert_eq!(session.get(clicks.id).expect("a read").as_ref(), Some(clicks));
        assert_eq!(session.get(raw.id).expect("a read").as_ref(), Some(named));
        assert!(!session.exists(there.set).expect("a read"));
        assert_eq!(session.count::<shelfmark::DataAsset>(real).expect("a count"), 1);
        // Run again it creates anew, as far as it still can.
        let error = session.batch(&batch).expect_err("versions have moved");
        assert_eq!(
            kinds(&error),
            [(6, ErrorKind::VersionConflict), (7, ErrorKind::NotFound)]
        );
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn every_failure_is_told_and_nothing_happens() {
    for bed in Bed::all() {
        let catalog = bed.catalog();
        let session = session(&catalog, "acme");
        let there = family(&session);
        let before = dump(&*bed.backend);
        let mut batch = Batch::new();
        batch.create(new_store("fine"));
        let broken = batch.create(new_store(" "));
        // On a creation that is refused for its own input, and on those.
        let below = batch.create(new_asset(broken, "below"));
        batch.create(new_set(below, "below that"));
        batch.patch(below, 7, rename("Below"));
        batch.patch(there.set, 3, rename("Stale"));
        batch.delete(there.store, 0);
        // On a creation that is refused where it is staged.
        let lost = batch.create(new_set(AssetId::from_uuid(there.store.uuid()), "lost"));
        batch.delete(lost, Expectation::Any);
        batch.replace(there.asset, 0, NewDataAsset::default());
        batch.delete(there.set, 7);
        let check = |error: Error| {
            let expected = [
                (1, ErrorKind::Invalid),
                (5, ErrorKind::VersionConflict),
                (6, ErrorKind::NotEmpty),
                (7, ErrorKind::NotFound),
                (9, ErrorKind::Invalid),
                (10, ErrorKind::VersionConflict),
            ];
            assert_eq!(kinds(&error), expected, "{}", bed.name);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert_eq!(error.bulk().and_then(|bulk| bulk.index), Some(1));
            assert_eq!(error.violations()[0].pointer, "/technicalName");
            let text = error.to_string();
            assert!(
                text.starts_with("operation 1 of the batch") && text.contains("5 more"),
                "{text}"
            );
            let conflict = *error.failures()[1].error.conflict().expect("the versions");
            assert_eq!((conflict.expected, conflict.found), (3, 0));
        };
        check(session.batch(&batch).expect_err("refused"));
        assert!(dump(&*bed.backend) == before, "{}", bed.name);
        // A transaction goes on without it.
        session
            .transact(|tx| {
                tx.create(new_store("before"))?;
                check(tx.batch(&batch).expect_err("refused"));
                let mut good = Batch::new();
                let store = good.create(new_store("after"));
                good.create(new_asset(store, "of it"));
                tx.batch(&good).map(drop)
            })
            .expect("a transaction");
        let names = session.list(&Query::<DataStore>::new()).expect("a list");
        let names: Vec<_> = names.items.iter().map(|store| &store.technical_name).collect();
        assert_eq!(names, ["warehouse", "before", "after"]);
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn a_failing_storage_is_the_error_of_the_batch_whatever_was_refused_before() {
    for kind in [ErrorKind::Io, ErrorKind::Corrupt] {
        let backend = FaultyBackend::new(Arc::new(MemoryBackend::new()));
        let faults = backend.faults();
        let catalog = catalog_on(&(Arc::new(backend) as Arc<dyn shelfmark::backend::Backend>));
        let session = session(&catalog, "acme");
        let store = session.create(new_store("warehouse")).expect("a store").id;
        let mut batch = Batch::new();
        batch.create(new_store(" "));
        batch.create(new_asset(store, "sales"));
        batch.create(new_store(" "));
        let refused = [(0, ErrorKind::Invalid), (2, ErrorKind::Invalid)];
        // The fault at each read in turn, until none is left.
        let mut struck = 0;
        for nth in 1.. {
            faults.arm(Fault::read(kind).nth(nth));
            let error = session.batch(&batch).expect_err("refused");
            if faults.struck() == struck {
                assert_eq!(kinds(&error), refused);
                break;
            }
            struck += 1;
            assert_eq!(error.kind(), kind, "{nth}: {error}");
            assert!(error.failures().is_empty(), "{nth}: {error}");
        }
        faults.disarm();
        assert!(struck > 1, "{struck}");
        assert_eq!(session.count::<shelfmark::DataAsset>(store).expect("a count"), 0);
    }
}

#[test]
fn errors_name_placeholders_where_nothing_else_has_a_name() {
    let catalog = Options::new()
        .unique_technical_names(true)
        .in_memory()
        .expect("a catalog");
    let session = session(&catalog, "acme");
    let mut batch = Batch::new();
    let store = batch.create(new_store("lake"));
    let asset = batch.create(new_asset(store, "raw"));
    batch.create(new_asset(store, "RAW"));
    batch.delete(store, 0);
    batch.patch(asset, 4, rename("Raw"));
    batch.delete(asset, 0);
    batch.delete(asset, 0);
    let error = session.batch(&batch).expect_err("refused");
    let failures: Vec<&Error> = error.failures().iter().map(|failure| &failure.error).collect();
    assert_eq!(
        kinds(&error),
        [
            (2, ErrorKind::NameTaken),
            (3, ErrorKind::NotEmpty),
            (4, ErrorKind::VersionConflict),
            (6, ErrorKind::NotFound)
        ]
    );
    assert_eq!(failures[0].name_taken(), Some(EntityId::Asset(asset)));
    assert_eq!(
        (
            failures[1].not_empty()[0].store,
            failures[1].not_empty()[0].assets
        ),
        (store, 1)
    );
    assert_eq!(
        failures[2].conflict().expect("a conflict").entity,
        EntityId::Asset(asset)
    );
    assert_eq!(failures[3].missing(), [EntityId::Asset(asset)]);
    for (failure, id) in failures
        .iter()
        .zip([asset.uuid(), store.uuid(), asset.uuid(), asset.uuid()])
    {
        assert!(failure.to_string().contains(&id.to_string()), "{failure}");
    }
    assert_eq!(batch.position(asset), Some(1));
}

#[test]
fn a_placeholder_is_nobody_elsewhere() {
    let catalog = Bed::in_memory().catalog();
    let session = session(&catalog, "acme");
    let there = family(&session);
    let mut one = Batch::new();
    let store = one.create(new_store("lake"));
    session.batch(&one).expect("a batch");
    assert_eq!(session.get(store).expect("a read"), None);
    let error = session
        .create(new_asset(store, "raw"))
        .expect_err("no such store");
    assert_eq!(error.missing(), [EntityId::Store(store)]);
    // At the same position of another batch.
    let mut two = Batch::new();
    two.create(new_store("depot"));
    two.create(new_asset(store, "raw"));
    two.patch(store, 0, rename("Lake"));
    let error = session.batch(&two).expect_err("another batch's");
    assert_eq!(
        kinds(&error),
        [(1, ErrorKind::NotFound), (2, ErrorKind::NotFound)]
    );
    assert_eq!(error.missing(), [EntityId::Store(store)]);
    // Of another kind, of what creates nothing, and before its creation.
    let mut three = Batch::new();
    let asset = three.create(new_asset(there.store, "raw"));
    three.patch(StoreId::from_uuid(asset.uuid()), 0, rename("Raw"));
    three.delete(there.set, 0);
    let error = session.batch(&three).expect_err("not a store");
    assert_eq!(kinds(&error), [(1, ErrorKind::NotFound)]);
    let mut four = Batch::new();
    let first = four.create(new_asset(there.store, "raw"));
    let at =
        |position: u128| AssetId::from_uuid(shelfmark::Uuid::from_u128(first.uuid().as_u128() + position));
    // On itself, and on each other.
    four.create(new_set(at(1), "a"));
    four.create(new_set(at(3), "b"));
    four.create(new_set(at(2), "c"));
    // On what comes later, and on what never comes.
    four.patch(at(5), 0, rename("Later"));
    let fifth = four.create(new_asset(there.store, "later"));
    assert_eq!(fifth, at(5));
    four.delete(at(70), 0);
    let error = session.batch(&four).expect_err("not yet");
    let nobody = |index| (index, ErrorKind::NotFound);
    // The third rests on the second.
    assert_eq!(kinds(&error), [1, 2, 4, 6].map(nobody));
    // Values of a patch are taken as they are.
    let mut five = Batch::new();
    let store = five.create(new_store("pit"));
    let asset = five.create(new_asset(store, "raw"));
    let patch = Patch::new().add("/properties", serde_json::json!({ "see": store.to_string() }));
    five.patch(asset, 0, patch.expect("a patch"));
    let outcomes = session.batch(&five).expect("a batch");
    let properties = outcomes[2].asset().and_then(|asset| asset.properties.clone());
    assert_eq!(properties.expect("properties")["see"], store.to_string());
}

#[test]
fn bounds() {
    let catalog = Options::new()
        .atomic_bulk_bytes(20_000)
        .in_memory()
        .expect("a catalog");
    let session = session(&catalog, "acme");
    assert_eq!(session.batch(&Batch::new()).expect("nothing to do"), []);
    assert!(catalog.tenants().expect("a list").is_empty());
    let mut many = Batch::new();
    for n in 0..=Batch::MAX_OPERATIONS {
        many.delete(StoreId::from_uuid(shelfmark::Uuid::from_u128(n as u128)), 0);
    }
    let error = session.batch(&many).expect_err("too many");
    assert_eq!((error.kind(), error.bulk()), (ErrorKind::TooLarge, None));
    let text = |length: usize| Some("x".repeat(length));
    let long = |name: &str| NewDataStore {
        description: text(1_000),
        ..new_store(name)
    };
    let mut large = Batch::new();
    for n in 0..40 {
        large.create(long(&format!("store {n}")));
    }
    let error = session.batch(&large).expect_err("too large");
    let index = error.bulk().and_then(|bulk| bulk.index).expect("an index");
    assert!(
        error.kind() == ErrorKind::TooLarge && (15..25).contains(&index),
        "{index}"
    );
    // What changes grow counts too.
    let store = session.create(new_store("warehouse")).expect("a store").id;
    let mut growing = Batch::new();
    for n in 0..40 {
        let patch = Patch::new().add("/description", format!("{n}{}", "x".repeat(1_000)));
        growing.patch(store, n, patch.expect("a patch"));
    }
    let error = session.batch(&growing).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.bulk().and_then(|bulk| bulk.index).is_some());
    // No more failures than a caller would read.
    let mut hopeless = Batch::new();
    for _ in 0..500 {
        hopeless.patch(store, 9, rename("Late"));
    }
    let error = session.batch(&hopeless).expect_err("all of them");
    assert_eq!(
        (error.kind(), error.failures().len()),
        (ErrorKind::VersionConflict, 100)
    );
    assert_eq!(
        session.get(store).expect("a read").map(|store| store.version),
        Some(0)
    );
    assert_eq!(
        session.count::<DataStore>(shelfmark::AllStores).expect("a count"),
        1
    );
    // Outcomes are whole entities: a small change of a large one counts as the large one, and so does one that changes nothing.
    let large = session.create(long("large")).expect("a store").id;
    for patch in [Patch::new(), rename("Large")] {
        let mut held = Batch::new();
        for _ in 0..40 {
            held.patch(large, Expectation::Any, patch.clone());
        }
        let error = session.batch(&held).expect_err("too large");
        let index = error.bulk().and_then(|bulk| bulk.index).expect("an index");
        assert!(
            error.kind() == ErrorKind::TooLarge && (15..25).contains(&index),
            "{index}"
        );
        let in_transaction = session.transact(|tx| tx.batch(&held));
        assert_eq!(in_transaction.expect_err("too large").kind(), ErrorKind::TooLarge);
    }
}

#[test]
fn a_batch_is_one_member_of_a_group() {
    let bed = Bed::in_a_file();
    let counting = CountingBackend::new(bed.backend.clone());
    let catalog = catalog_on(&(Arc::new(counting.clone()) as Arc<dyn shelfmark::backend::Backend>));
    let session = session(&catalog, "acme");
    let store = session.create(new_store("warehouse")).expect("a store").id;
    counting.reset();
    let mut batch = Batch::new();
    for n in 0..50 {
        let asset = batch.create(new_asset(store, &format!("asset {n}")));
        batch.create(new_set(asset, &format!("set {n}")));
    }
    assert_eq!(session.batch(&batch).expect("a batch").len(), 100);
    assert_eq!(counting.counts().commits, 1);
    // Of many that expect the same version one wins, whole.
    let batches: Vec<Batch> = (0..16)
        .map(|n| {
            let mut batch = Batch::new();
            let asset = batch.create(new_asset(store, &format!("by {n}")));
            batch.create(new_set(asset, &format!("by {n}")));
            batch.patch(store, 0, rename(&format!("by {n}")));
            batch
        })
        .collect();
    let won: Vec<bool> = std::thread::scope(|scope| {
        let running: Vec<_> = batches
            .iter()
            .map(|batch| scope.spawn(|| session.batch(batch).is_ok()))
            .collect();
        running
            .into_iter()
            .map(|run| run.join().expect("a thread"))
            .collect()
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    assert_eq!(session.count::<DataSet>(store).expect("a count"), 51);
    let winner = won.iter().position(|won| *won).expect("a winner");
    let name = session.get(store).expect("a read").and_then(|store| store.name);
    assert_eq!(name, Some(format!("by {winner}")));
    assert_clean(&catalog, bed.name);
}

/// Notes what it is asked about; refuses what is called "refused", panics at "panic", and tags the rest.
#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

impl Hook for Asked {
    fn name(&self) -> &str {
        "asked"
    }

    fn store(&self, view: &HookView<'_>, change: &mut Proposal<'_, DataStore>) -> Result<(), Veto> {
        // What the batch did before is there.
        let others = view.count::<DataStore>(shelfmark::AllStores).unwrap_or_default();
        let name = change.new.technical_name.clone();
        self.0
            .lock()
            .expect("a lock")
            .push(format!("{name} beside {others}"));
        match name.as_str() {
            "refused" => Err(Veto::new("as its name says")),
            "panic" => panic!("as its name says"),
            _ => {
                change.new.tags = vec!["asked".to_owned()];
                Ok(())
            }
        }
    }
}

#[test]
fn hooks_are_asked_about_each_operation_in_its_place() {
    let hook = Arc::new(Asked::default());
    let catalog = Options::new().hook(hook.clone()).in_memory().expect("a catalog");
    let session = session(&catalog, "acme");
    let mut batch = Batch::new();
    let one = batch.create(new_store("one"));
    batch.create(new_store("two"));
    batch.patch(one, 0, rename("One"));
    // Changes nothing: nobody is asked.
    batch.patch(one, 1, rename("One"));
    let outcomes = session.batch(&batch).expect("a batch");
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, BatchOutcome::Store(store) if store.tags == ["asked"]))
    );
    let asked = std::mem::take(&mut *hook.0.lock().expect("a lock"));
    assert_eq!(asked, ["one beside 0", "two beside 1", "one beside 2"]);
    let mut batch = Batch::new();
    batch.create(new_store("refused"));
    batch.create(new_store("three"));
    batch.create(new_store("panic"));
    let error = session.batch(&batch).expect_err("a veto");
    assert_eq!(
        kinds(&error),
        [(0, ErrorKind::Vetoed), (2, ErrorKind::HookPanicked)]
    );
    assert_eq!(
        session.count::<DataStore>(shelfmark::AllStores).expect("a count"),
        2
    );
}

#[test]
fn a_batch_inside_of_another_write_is_refused() {
    let _watchdog = Watchdog::new("a batch inside of a write");
    let catalog = Bed::in_memory().catalog();
    let session = session(&catalog, "acme");
    let store = session.create(new_store("warehouse")).expect("a store").id;
    let mut batch = Batch::new();
    batch.create(new_store("lake"));
    batch.patch(store, 0, rename("Depot"));
    let inside = |kind: ErrorKind| assert_eq!(kind, ErrorKind::ReentrantWrite);
    session
        .transact(|_| {
            inside(session.batch(&batch).expect_err("inside").kind());
            Ok(())
        })
        .expect("a transaction");
    session
        .update(store, 0, |_| {
            inside(session.batch(&batch).expect_err("inside").kind());
        })
        .expect("an update");
    session
        .transact(|tx| tx.update(store, 0, |_| inside(tx.batch(&batch).expect_err("inside").kind())))
        .expect("a transaction");
}
