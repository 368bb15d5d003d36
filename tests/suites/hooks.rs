//! Hooks: what they are asked, what they see, and that what they refuse leaves nothing.
//!
//! One file: every test asks the same few hooks, with the same helpers to see what they were asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use shelfmark::backend::Keyspace;
use shelfmark::{
    Batch, Batched, Catalog, DataAsset, DataSet, DataStore, Deletion, EntityId, ErrorKind, Expectation, Hook,
    HookView, IdempotencyKey, NewDataStore, Options, Patch, Proposal, Read, Restoration, Result, Veto, Write,
};
use shelfmark_testkit::TestEnvironment;

use crate::support::{
    Bed, Watchdog, assert_clean, assert_no_write_enters, dump, family, new_asset, new_set, new_store, session,
};

/// Calls a closure with what every method of a hook is asked about.
struct Every<F>(F);

/// What a hook is asked about.
#[derive(Debug, Clone, PartialEq)]
enum Asked {
    Created(EntityId, String),
    Changed(EntityId, u64),
    Deleted(EntityId, u64),
}

macro_rules! asked {
    ($change:expr) => {
        match $change.old_version {
            None => Asked::Created($change.id.into(), $change.new.technical_name.clone()),
            Some(version) => Asked::Changed($change.id.into(), version),
        }
    };
}

impl<F: Fn(&HookView<'_>, Asked, &mut Vec<String>) -> std::result::Result<(), Veto> + Send + Sync> Hook
    for Every<F>
{
    fn name(&self) -> &str {
        "every"
    }

    fn store(
        &self,
        view: &HookView<'_>,
        change: &mut Proposal<'_, DataStore>,
    ) -> std::result::Result<(), Veto> {
        (self.0)(view, asked!(change), &mut change.new.tags)
    }

    fn asset(
        &self,
        view: &HookView<'_>,
        change: &mut Proposal<'_, DataAsset>,
    ) -> std::result::Result<(), Veto> {
        (self.0)(view, asked!(change), &mut change.new.tags)
    }

    fn set(&self, view: &HookView<'_>, change: &mut Proposal<'_, DataSet>) -> std::result::Result<(), Veto> {
        (self.0)(view, asked!(change), &mut change.new.tags)
    }

    fn delete(&self, view: &HookView<'_>, deletion: &Deletion) -> std::result::Result<(), Veto> {
        (self.0)(
            view,
            Asked::Deleted(deletion.id, deletion.descendants),
            &mut Vec::new(),
        )
    }
}

fn hooked(bed: &Bed, hook: impl Hook + 'static) -> Catalog {
    let options = Options::new().hook(Arc::new(hook));
    options.on_backend(bed.backend.clone()).expect("a catalog")
}

/// Records everything, and refuses nothing.
fn recording(bed: &Bed) -> (Catalog, Arc<Mutex<Vec<Asked>>>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let noted = log.clone();
    let hook = Every(move |_: &HookView<'_>, asked, _: &mut Vec<String>| {
        let mut noted = noted.lock().expect("the log");
        // A plan that is tried again asks again.
        if noted.last() != Some(&asked) {
            noted.push(asked);
        }
        Ok(())
    });
    (hooked(bed, hook), log)
}

fn taken(log: &Mutex<Vec<Asked>>) -> Vec<Asked> {
    std::mem::take(&mut log.lock().expect("the log"))
}

/// Beds whose plans run once.
fn beds() -> Vec<Bed> {
    Bed::all()
        .into_iter()
        .filter(|bed| !bed.name.contains("retried"))
        .collect()
}

#[test]
fn a_hook_is_asked_once_for_each_entity_named_and_not_about_what_changes_nothing() {
    for bed in beds() {
        let (catalog, log) = recording(&bed);
        let session = session(&catalog, "acme");
        let family = family(&session);
        let (store, asset, set): (EntityId, EntityId, EntityId) =
            (family.store.into(), family.asset.into(), family.set.into());
        let created = |id: EntityId, name: &str| Asked::Created(id, name.to_owned());
        assert_eq!(
            taken(&log),
            [
                created(store, "warehouse"),
                created(asset, "sales"),
                created(set, "orders")
            ]
        );
        // Nothing changes, nothing is there, nothing is as expected, a value has a wrong type.
        let current = session.update(family.store, 0, |_| {}).unwrap();
        assert_eq!(current.version, 0);
        session.patch(family.set, 0, &Patch::new()).unwrap();
        assert!(
            session
                .update(family.store, 7, |store| store.name = None)
                .is_err()
        );
        let wrong = Patch::new().add("/name", 7).unwrap();
        assert_eq!(
            session.patch(family.store, 0, &wrong).unwrap_err().kind(),
            ErrorKind::Invalid
        );
        assert_eq!(taken(&log), [], "{}", bed.name);
        session
            .update(family.store, 0, |store| store.name = None)
            .unwrap();
        let patch = Patch::new().add("/name", "patched").unwrap();
        session.patch(family.set, 0, &patch).unwrap();
        assert_eq!(taken(&log), [Asked::Changed(store, 0), Asked::Changed(set, 0)]);
        // A cascade is its root, with its count.
        let more = session
            .create_all((0..3).map(|n| new_set(family.asset, &format!("s{n}"))))
            .unwrap();
        taken(&log);
        assert_eq!(
            session
                .would_delete([(family.asset, Expectation::Any)])
                .unwrap()
                .sets,
            4
        );
        session
            .delete_all([(more[0], Expectation::Any), (more[0], Expectation::Any)])
            .unwrap();
        session.delete(family.asset, Expectation::Any).unwrap();
        let gone: EntityId = more[0].into();
        assert_eq!(
            taken(&log),
            [
                Asked::Deleted(asset, 4),
                Asked::Deleted(gone, 0),
                Asked::Deleted(asset, 3)
            ]
        );
        session.delete(family.store, Expectation::Any).unwrap();
        assert_eq!(taken(&log), [Asked::Deleted(store, 0)]);
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn a_selection_names_each_entity_that_it_holds() {
    for bed in beds() {
        let (catalog, log) = recording(&bed);
        let session = session(&catalog, "acme");
        let family = family(&session);
        session.create(new_set(family.asset, "more")).unwrap();
        taken(&log);
        session.delete_selected::<DataSet>(family.asset).unwrap();
        let asked = taken(&log);
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(
            asked
                .iter()
                .all(|asked| matches!(asked, Asked::Deleted(EntityId::Set(_), 0)))
        );
    }
}

/// A hook with a name of its own: amends tags, or vetoes, or panics where a tag says so.
struct Tagger(&'static str);

impl Tagger {
    fn tag(&self, tags: &mut Vec<String>) -> std::result::Result<(), Veto> {
        for tag in tags.clone() {
            match tag.as_str() {
                "veto" => return Err(Veto::new("no such tag").at("/tags")),
                "panic" => std::panic::resume_unwind(Box::new("the hook's own")),
                "twice" => tags.push("twice".to_owned()),
                _ => {}
            }
        }
        tags.push(format!("{} saw {}", self.0, tags.len()));
        Ok(())
    }
}

impl Hook for Tagger {
    fn name(&self) -> &str {
        self.0
    }

    fn store(&self, _: &HookView<'_>, change: &mut Proposal<'_, DataStore>) -> std::result::Result<(), Veto> {
        self.tag(&mut change.new.tags)
    }
}

fn tagged(tag: &str) -> NewDataStore {
    NewDataStore {
        tags: vec![tag.to_owned()],
        ..new_store("tagged")
    }
}

#[test]
fn hooks_are_asked_in_order_and_what_they_amend_is_validated() {
    for bed in Bed::all() {
        let options = Options::new()
            .hook(Arc::new(Tagger("one")))
            .hook(Arc::new(Tagger("two")));
        let catalog = options.on_backend(bed.backend.clone()).unwrap();
        let session = session(&catalog, "acme");
        let store = session.create(tagged("a")).unwrap();
        assert_eq!(store.tags, ["a", "one saw 1", "two saw 2"], "{}", bed.name);
        let before = dump(&*bed.backend);
        let error = session.create(tagged("twice")).unwrap_err();
        assert_eq!(
            (error.kind(), error.violations()[0].pointer.as_str()),
            (ErrorKind::Invalid, "/tags/1")
        );
        let error = session
            .update(store.id, 0, |store| store.tags = vec!["twice".into()])
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(dump(&*bed.backend), before, "{}", bed.name);
    }
}

#[test]
fn a_veto_or_a_panic_fails_that_operation_only() {
    for bed in Bed::all() {
        let catalog = hooked(&bed, Tagger("tagger"));
        let session = session(&catalog, "acme");
        let store = session.create(tagged("a")).unwrap();
        let before = dump(&*bed.backend);
        for (tag, kind) in [("veto", ErrorKind::Vetoed), ("panic", ErrorKind::HookPanicked)] {
            let refused = |outcome: Result<()>, index: Option<u64>| {
                let error = outcome.expect_err("a refusal");
                assert_eq!(error.kind(), kind, "{}: {error}", bed.name);
                assert!(error.to_string().contains("\"tagger\""), "{error}");
                let pointers: Vec<&str> = error
                    .violations()
                    .iter()
                    .map(|one| one.pointer.as_str())
                    .collect();
                assert_eq!(pointers, if tag == "veto" { vec!["/tags"] } else { vec![] });
                assert_eq!(error.bulk().and_then(|bulk| bulk.index), index, "{error}");
                assert_eq!(dump(&*bed.backend), before, "{}: {error}", bed.name);
            };
            let patch = Patch::new().add("/tags", [tag]).unwrap();
            let set = |store: &mut NewDataStore| store.tags = vec![tag.to_owned()];
            let any = Expectation::Any;
            refused(session.create(tagged(tag)).map(drop), None);
            refused(session.create_all([tagged("b"), tagged(tag)]).map(drop), Some(1));
            refused(
                session
                    .create_batched([tagged("b"), tagged(tag)], Batched::new())
                    .map(drop),
                Some(1),
            );
            refused(session.replace(store.id, 0, tagged(tag)).map(drop), None);
            refused(
                session
                    .replace_all([(store.id, any, tagged("c")), (store.id, any, tagged(tag))])
                    .map(drop),
                Some(1),
            );
            refused(session.update(store.id, any, set).map(drop), None);
            refused(
                session
                    .update_all([(store.id, any)], |_, store| set(store))
                    .map(drop),
                Some(0),
            );
            refused(session.patch(store.id, any, &patch).map(drop), None);
            refused(
                session.patch_all([(store.id, any, patch.clone())]).map(drop),
                Some(0),
            );
            refused(session.transact(|tx| tx.create(tagged(tag)).map(drop)), None);
        }
        // In chunks, those before stay; in a transaction, what else it does.
        let members = [tagged("b"), tagged("c"), tagged("d"), tagged("veto")];
        let error = session
            .create_batched(members, Batched::new().chunk_entities(2))
            .unwrap_err();
        let bulk = error.bulk().unwrap();
        assert_eq!(
            (error.kind(), bulk.index, bulk.stored),
            (ErrorKind::Vetoed, Some(3), 2)
        );
        let kept = session
            .transact(|tx| {
                let kept = tx.create(tagged("e"))?;
                assert_eq!(tx.create(tagged("veto")).unwrap_err().kind(), ErrorKind::Vetoed);
                let panicked = tx.update(kept.id, 0, |store| store.tags = vec!["panic".into()]);
                assert_eq!(panicked.unwrap_err().kind(), ErrorKind::HookPanicked);
                Ok(kept)
            })
            .unwrap();
        assert_eq!(session.get(kept.id).unwrap(), Some(kept), "{}", bed.name);
        assert_eq!(session.count::<DataStore>(shelfmark::AllStores).unwrap(), 4);
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn in_a_group_the_others_go_on() {
    let bed = Bed::in_memory();
    let catalog = hooked(&bed, Tagger("tagger"));
    let session = session(&catalog, "acme");
    let created: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12)
            .map(|thread| {
                let session = &session;
                scope.spawn(move || {
                    let tag = ["fine", "veto", "panic"][thread % 3];
                    (0..30).filter(|_| session.create(tagged(tag)).is_ok()).count() as u64
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread"))
            .sum()
    });
    assert_eq!(created, 4 * 30);
    assert_eq!(session.count::<DataStore>(shelfmark::AllStores).unwrap(), created);
    assert_clean(&catalog, bed.name);
}

#[test]
fn a_hook_sees_what_the_transaction_has_done_before() {
    for bed in Bed::all() {
        let count = |view: &HookView<'_>, asked: Asked, tags: &mut Vec<String>| {
            assert_eq!((view.tenant(), view.actor()), ("acme", "ann"));
            if !matches!(asked, Asked::Deleted(..)) {
                tags.clear();
                tags.push(view.count::<DataStore>(shelfmark::AllStores)?.to_string());
            }
            Ok(())
        };
        let catalog = hooked(&bed, Every(count));
        let session = session(&catalog, "acme");
        let tags = session
            .transact(|tx| {
                let first = tx.create(new_store("first"))?;
                let second = tx.create(new_store("second"))?;
                tx.delete(first.id, Expectation::Any)?;
                Ok([first.tags, second.tags, tx.create(new_store("third"))?.tags])
            })
            .unwrap();
        assert_eq!(tags, [["0"], ["1"], ["1"]], "{}", bed.name);
        // Members of one call see those before them.
        let ids = session.create_all([new_store("a"), new_store("b")]).unwrap();
        let tags: Vec<_> = ids
            .iter()
            .map(|&id| session.get(id).unwrap().unwrap().tags)
            .collect();
        assert_eq!(tags, [["2"], ["3"]], "{}", bed.name);
    }
}

/// Looks at what a proposal shows.
struct Shown(Mutex<Vec<String>>);

impl Hook for Shown {
    fn name(&self) -> &str {
        "shown"
    }

    fn asset(&self, _: &HookView<'_>, asset: &mut Proposal<'_, DataAsset>) -> std::result::Result<(), Veto> {
        let owner = |owner: &Option<String>| owner.clone().unwrap_or_default();
        let (old, new) = (
            asset.old.map(|old| (old.store, owner(&old.owner_id))),
            &*asset.new,
        );
        let mut shown = self.0.lock().expect("the list");
        let kept = old.as_ref().is_none_or(|(store, _)| *store == new.store);
        shown.push(format!(
            "{kept} {:?} {}",
            old.map(|(_, owner)| owner),
            owner(&new.owner_id)
        ));
        Ok(())
    }
}

#[test]
fn a_proposal_names_parent_and_owner_whether_or_not_the_caller_did() {
    let bed = Bed::in_memory();
    let shown = Arc::new(Shown(Mutex::default()));
    let options = Options::new().hook(shown.clone());
    let session = session(&options.on_backend(bed.backend.clone()).unwrap(), "acme");
    let store = session.create(new_store("warehouse")).unwrap().id;
    let given = shelfmark::NewDataAsset {
        owner_id: Some("ignored".into()),
        ..new_asset(store, "sales")
    };
    let asset = session.create(given.clone()).unwrap();
    let replaced = shelfmark::NewDataAsset {
        store: None,
        owner_id: None,
        ..given
    };
    session
        .replace(
            asset.id,
            0,
            shelfmark::NewDataAsset {
                name: Some("a".into()),
                ..replaced.clone()
            },
        )
        .unwrap();
    let passed_on = shelfmark::NewDataAsset {
        owner_id: Some("carol".into()),
        ..replaced
    };
    assert_eq!(session.replace(asset.id, 1, passed_on).unwrap().owner_id, "carol");
    let shown = shown.0.lock().unwrap();
    assert_eq!(
        *shown,
        [
            "true None ann",
            "true Some(\"ann\") ann",
            "true Some(\"ann\") carol"
        ]
    );
}

#[test]
fn a_veto_of_a_deletion_keeps_everything_and_names_what_it_is_about() {
    for bed in Bed::all() {
        let keep = |view: &HookView<'_>, asked: Asked, _: &mut Vec<String>| match asked {
            // What a hook wants to know itself no hook is asked about.
            Asked::Deleted(EntityId::Asset(id), sets) => {
                let would = view.would_delete([(id, Expectation::Any)])?;
                assert_eq!(would.sets, sets);
                Err(Veto::new("it is on legal hold"))
            }
            _ => Ok(()),
        };
        let catalog = hooked(&bed, Every(keep));
        let session = session(&catalog, "acme");
        let family = family(&session);
        let before = dump(&*bed.backend);
        for refused in [
            session.delete(family.asset, Expectation::Any),
            session.would_delete([(family.asset, Expectation::Any)]),
            session.delete_selected::<DataAsset>(family.store),
            session.transact(|tx| {
                tx.delete(family.set, Expectation::Any)?;
                tx.delete(family.asset, Expectation::Any)
            }),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Vetoed);
            assert!(error.to_string().contains(&family.asset.to_string()), "{error}");
        }
        assert_eq!(dump(&*bed.backend), before, "{}", bed.name);
    }
}

#[test]
fn an_error_of_what_a_hook_reads_is_the_operation_s() {
    let bed = Bed::in_memory();
    let lost = |view: &HookView<'_>, _: Asked, _: &mut Vec<String>| {
        let query = shelfmark::Query::<DataStore>::new().sort("no such field");
        view.list(&query)?;
        Ok(())
    };
    let session = session(&hooked(&bed, Every(lost)), "acme");
    let error = session.create(new_store("a")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

/// Holds a catalog, and tries to write while it is asked.
#[derive(Default)]
struct Entering {
    catalog: Mutex<Option<Catalog>>,
    tried: Mutex<u64>,
}

impl Entering {
    fn enter(&self) -> std::result::Result<(), Veto> {
        let catalog = self.catalog.lock().expect("the catalog").clone();
        let Some(catalog) = catalog else { return Ok(()) };
        let session = session(&catalog, "acme");
        let store = session.list_names(&shelfmark::Query::<DataStore>::new())?.items[0].id;
        assert_no_write_enters(&catalog, &session, store);
        let newest = session.newest_change()?;
        session.watch(newest, 10, Duration::MAX)?;
        *self.tried.lock().expect("the count") += 1;
        Ok(())
    }
}

impl Hook for Entering {
    fn name(&self) -> &str {
        "entering"
    }

    fn store(&self, _: &HookView<'_>, _: &mut Proposal<'_, DataStore>) -> std::result::Result<(), Veto> {
        self.enter()
    }

    fn delete(&self, _: &HookView<'_>, _: &Deletion) -> std::result::Result<(), Veto> {
        self.enter()
    }

    fn restore(&self, _: &HookView<'_>, _: &Restoration) -> std::result::Result<(), Veto> {
        self.enter()
    }
}

#[test]
fn a_write_from_inside_a_hook_is_refused_and_never_waits_for_itself() {
    let _watchdog = Watchdog::new("a write from inside a hook");
    for bed in Bed::all() {
        let hook = Arc::new(Entering::default());
        let catalog = Options::new()
            .hook(hook.clone())
            .change_feed(true)
            .undrop(Duration::from_secs(3_600))
            .on_backend(bed.backend.clone())
            .unwrap();
        let session = session(&catalog, "acme");
        let family = family(&session);
        *hook.catalog.lock().unwrap() = Some(catalog.clone());
        let any = Expectation::Any;
        let rename = |store: &mut NewDataStore| store.name = Some(format!("{:?}", store.name));
        session.create(new_store("more")).unwrap();
        session.create_all([new_store("more")]).unwrap();
        session
            .create_batched([new_store("more")], Batched::new())
            .unwrap();
        session.update(family.store, any, rename).unwrap();
        session.delete(family.set, any).unwrap();
        session.restore(family.set).unwrap();
        let mut batch = Batch::new();
        let store = batch.create(new_store("more"));
        batch.delete(store, 0);
        session.batch(&batch).unwrap();
        let key = |text| IdempotencyKey::new(text).unwrap();
        session.batch_once(&key("one"), &batch).unwrap();
        session.create_once(&key("two"), new_store("more")).unwrap();
        session.would_delete([(family.asset, any)]).unwrap();
        session
            .transact(|tx| {
                tx.update(family.store, any, rename)?;
                tx.delete(family.asset, any)
            })
            .unwrap();
        assert!(*hook.tried.lock().unwrap() >= 14, "{}", bed.name);
        // The hook holds the catalog that holds the hook.
        hook.catalog.lock().unwrap().take();
        session.create(new_store("after")).unwrap();
        assert_clean(&catalog, bed.name);
    }
}

#[test]
fn a_hook_that_says_nothing_changes_nothing() {
    let stored = |hooks: bool| {
        let bed = Bed::in_memory();
        let options = Options::new().environment(TestEnvironment::new(3).environment());
        let options = if hooks {
            options.hook(Arc::new(Every(|_: &HookView<'_>, _, _: &mut Vec<String>| Ok(()))))
        } else {
            options
        };
        let session = session(
            &options.on_backend(bed.backend.clone()).expect("a catalog"),
            "acme",
        );
        let family = family(&session);
        session
            .update(family.set, 0, |set| set.schema = None)
            .expect("a change");
        let sets = (0..3).map(|n| new_set(family.asset, &format!("s{n}")));
        let sets = session.create_all(sets).expect("sets");
        session.delete(sets[0], 0).expect("a deletion");
        let mut stored = dump(&*bed.backend);
        // Random, and not of the work.
        stored.remove(&Keyspace::Meta);
        stored
    };
    assert_eq!(stored(true), stored(false));
}
