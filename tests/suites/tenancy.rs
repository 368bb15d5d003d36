//! Tenants are apart: every public call is tried across tenants, with the other's ids, parents, cursors, names and patches.
//!
//! One file: the list of all public calls is held against the sources that declare them.

mod names;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shelfmark::backend::{
    Backend, BackendStats, CommitOptions, Health, Keyspace, Limits, Maintenance, MaintenanceReport, Snapshot,
    WriteBatch,
};
use shelfmark::{
    AllStores, AssetId, AssetSelection, Batch, Batched, Catalog, Cursor, DataAsset, DataSet, DataStore,
    DroppedQuery, EntityId, ErrorKind, Expectation, Filter, Hook, HookView, IdempotencyKey, JsonText,
    NewDataAsset, NewDataStore, Options, Patch, Position, Projection, Proposal, Query, Read, Result, Session,
    SetId, SetSelection, StoreId, Veto, Write,
};
use shelfmark_testkit::CountingBackend;

use crate::support::{
    Bed, Family, assert_clean, catalog_on, dump, family, new_asset, new_set, new_store, rows, schema, session,
};

/// What only the other tenant's data holds.
const SECRET: &str = "Xylophone";

/// The other tenant: its data, what it has dropped, and a cursor of each kind of list.
struct Other {
    family: Family,
    dropped: Family,
    cursors: [Cursor; 3],
}

impl Other {
    fn new(catalog: &Catalog) -> Self {
        let session = session(catalog, "other");
        let family = family(&session);
        let name = Some(SECRET.to_owned());
        let rename = |store: &mut NewDataStore| store.name.clone_from(&name);
        session.update(family.store, 0, rename).expect("a rename");
        session
            .update(family.asset, 0, |asset| asset.name.clone_from(&name))
            .expect("a rename");
        let set = session.update(family.set, 0, |set| {
            set.name.clone_from(&name);
            set.secure_qri = SECRET.into();
        });
        set.expect("a rename");
        let key = IdempotencyKey::new(SECRET).expect("a key");
        session.create_once(&key, new_store(SECRET)).expect("a store");
        session.create(new_asset(family.store, SECRET)).expect("an asset");
        session.create(new_set(family.asset, SECRET)).expect("a set");
        let dropped = dropped_family(&session);
        fn cursor<E: shelfmark::Entity>(session: &Session) -> Cursor {
            let page = session.list(&Query::<E>::new().limit(1)).expect("a page");
            page.next.expect("another page")
        }
        Self {
            family,
            dropped,
            cursors: [
                cursor::<DataStore>(&session),
                cursor::<DataAsset>(&session),
                cursor::<DataSet>(&session),
            ],
        }
    }
}

/// A catalog that keeps what is deleted.
fn keeping(backend: &Arc<dyn Backend>) -> Catalog {
    let options = Options::new().undrop(Duration::from_secs(86_400));
    options.on_backend(backend.clone()).expect("a catalog")
}

/// A family that was dropped, each of it alone.
fn dropped_family(session: &Session) -> Family {
    let dropped = family(session);
    let Family { store, asset, set } = dropped;
    let name = Some(SECRET.to_owned());
    session
        .update(set, 0, |set| set.name.clone_from(&name))
        .expect("a rename");
    session.delete(set, Expectation::Any).expect("a deletion");
    session.delete(asset, Expectation::Any).expect("a deletion");
    session.delete(store, Expectation::Any).expect("a deletion");
    session
        .dropped(store)
        .expect("an answer")
        .expect("something dropped");
    dropped
}

/// Ids that no catalog ever gave.
fn nowhere() -> Family {
    let id = |text: &str| text.parse().expect("an id");
    Family {
        store: StoreId::from_uuid(id("01900000-0000-7000-8000-0000000000a1")),
        asset: AssetId::from_uuid(id("01900000-0000-7000-8000-0000000000a2")),
        set: SetId::from_uuid(id("01900000-0000-7000-8000-0000000000a3")),
    }
}

/// What a call answered, without the ids that it was asked for.
type Answer = (&'static str, String);

struct Answers {
    of: Family,
    answers: Vec<Answer>,
}

impl Answers {
    fn new(of: Family) -> Self {
        Self {
            of,
            answers: Vec::new(),
        }
    }

    fn note<T: Debug>(&mut self, call: &'static str, outcome: Result<T>) {
        let mut answer = match outcome {
            Ok(value) => format!("{value:?}"),
            Err(error) => format!("{}: {error}", error.kind()),
        };
        let Family { store, asset, set } = self.of;
        for (id, name) in [
            (store.uuid(), "STORE"),
            (asset.uuid(), "ASSET"),
            (set.uuid(), "SET"),
        ] {
            answer = answer.replace(&id.to_string(), name);
        }
        self.answers.push((call, answer));
    }
}

/// Every method of `Read`, asked for these ids, cursors and names.
fn reads(at: &impl Read, ids: Family, cursors: &[Cursor; 3], text: &str) -> Vec<Answer> {
    let Family { store, asset, set } = ids;
    let mut answers = Answers::new(ids);
    macro_rules! note {
        ($method:ident $(::<$entity:ty>)? ($($argument:expr),*)) => {
            answers.note(stringify!($method), at.$method$(::<$entity>)?($($argument),*))
        };
    }
    note!(get(store));
    note!(get(asset));
    note!(get(set));
    macro_rules! note_json {
        ($method:ident ($($argument:expr),*)) => {{
            let mut text = JsonText::new();
            let outcome = at.$method($($argument,)* &mut text);
            let shown = outcome.map(|told| (told, String::from_utf8(text.into_bytes()).expect("JSON")));
            answers.note(stringify!($method), shown)
        }};
    }
    note_json!(get_json(store, true));
    note_json!(get_json(asset, true));
    note_json!(get_json(set, true));
    note!(get_head(set));
    note!(remembered::<String>(text.as_bytes()));
    note!(get_many(&[store]));
    note!(get_many(&[asset]));
    note!(get_many(&[set]));
    note!(exists(store));
    note!(exists(asset));
    note!(exists(set));
    let within = SetSelection::Within {
        stores: vec![store],
        assets: vec![asset],
    };
    let selections = [asset.into(), store.into(), within];
    note!(count::<DataAsset>(store));
    note!(list(&Query::<DataAsset>::of(store)));
    for selection in selections {
        note!(count::<DataSet>(selection.clone()));
        let query = Query::<DataSet>::of(selection.clone()).with_schemas();
        note!(list(&query));
        note_json!(list_json(&query));
        note_json!(list_json(&query.clone().filter(Filter::new().name_prefix(text))));
        note!(list(&query.clone().sort("name")));
        note!(list(&query.clone().sort("dataAssetInfo.name")));
        note!(list(&query.clone().filter(Filter::new().name_prefix(text))));
        note!(list_names(&query));
        note!(list_projected(&query, &Projection::of(["dataAssetInfo.name"])));
        note!(find_by_name::<DataSet>(selection.clone(), text));
        note!(find_by_technical_name::<DataSet>(selection.clone(), text));
        note!(would_delete_selected::<DataSet>(selection));
    }
    note!(would_delete_selected::<DataAsset>(store));
    let [stores, assets, sets] = cursors.clone();
    note!(list(&Query::<DataStore>::new().limit(1).cursor(stores.clone())));
    note!(list(&Query::<DataAsset>::new().limit(1).cursor(assets)));
    note!(list(&Query::<DataSet>::new().limit(1).cursor(sets.clone())));
    note!(list_names(
        &Query::<DataStore>::new().limit(1).cursor(stores.clone())
    ));
    note_json!(list_json(&Query::<DataStore>::new().limit(1).cursor(stores)));
    note!(list_projected(
        &Query::<DataSet>::new().limit(1).cursor(sets),
        &Projection::all()
    ));
    for filter in [
        Filter::new().name_prefix(text),
        Filter::new().type_name(text),
        Filter::new().tag(text),
    ] {
        note!(list(&Query::<DataStore>::new().filter(filter)));
    }
    note!(find_by_name::<DataStore>(AllStores, text));
    note!(find_by_name::<DataAsset>(AssetSelection::All, text));
    note!(find_by_name::<DataSet>(SetSelection::All, text));
    note!(find_by_technical_name::<DataStore>(AllStores, text));
    note!(find_by_technical_name::<DataAsset>(AssetSelection::All, text));
    note!(find_by_technical_name::<DataSet>(SetSelection::All, text));
    note!(find_by_secure_qri(text));
    for expectation in [Expectation::Any, Expectation::Exactly(0), Expectation::Exactly(1)] {
        note!(would_delete([(store, expectation)]));
        note!(would_delete([(asset, expectation)]));
        note!(would_delete([(set, expectation)]));
    }
    note!(dropped(store));
    note!(dropped(asset));
    note!(dropped(set));
    note!(list_dropped(&DroppedQuery::new()));
    let position = format!("253402300799999-{}", set.uuid().simple());
    let position = position.parse().expect("a position");
    note!(list_dropped(&DroppedQuery::new().after(position)));
    answers.answers
}

/// Every method of `Write`, asked for these ids; all of them are refused.
fn writes(at: &impl Write, ids: Family) -> Vec<Answer> {
    let Family { store, asset, set } = ids;
    let mut answers = Answers::new(ids);
    macro_rules! note {
        ($method:ident $(::<$entity:ty>)? ($($argument:expr),*)) => {{
            let outcome = at.$method$(::<$entity>)?($($argument),*);
            assert!(outcome.is_err(), "{} succeeded: {outcome:?}", stringify!($method));
            answers.note(stringify!($method), outcome);
        }};
    }
    note!(create(new_asset(store, "intruder")));
    note!(create(new_set(asset, "intruder")));
    note!(create_all([new_asset(store, "intruder")]));
    note!(create_all([new_set(asset, "intruder")]));
    let patch = Patch::new()
        .test("/name", SECRET)
        .and_then(|patch| patch.remove("/name"))
        .expect("a patch");
    for expectation in [Expectation::Any, Expectation::Exactly(1), Expectation::Exactly(9)] {
        note!(replace(store, expectation, new_store("intruder")));
        note!(replace(asset, expectation, new_asset(store, "intruder")));
        note!(replace(set, expectation, new_set(asset, "intruder")));
        note!(replace_all([(set, expectation, new_set(asset, "intruder"))]));
        note!(patch(store, expectation, &patch));
        note!(patch(asset, expectation, &patch));
        note!(patch(set, expectation, &patch));
        note!(patch_all([(set, expectation, patch.clone())]));
        note!(update(store, expectation, |_| panic!("shown to another tenant")));
        note!(update(asset, expectation, |_| panic!("shown to another tenant")));
        note!(update(set, expectation, |_| panic!("shown to another tenant")));
        note!(update_all([(set, expectation)], |_, _| panic!(
            "shown to another tenant"
        )));
        note!(delete(store, expectation));
        note!(delete(asset, expectation));
        note!(delete(set, expectation));
        note!(delete_all([(store, expectation)]));
        note!(delete_all([(set, expectation)]));
        note!(delete_all([(set, expectation), (set, Expectation::Any)]));
    }
    note!(restore(store));
    note!(restore(asset));
    note!(restore(set));
    note!(purge(store));
    note!(purge(asset));
    note!(purge(set));
    note!(delete_selected::<DataAsset>(store));
    note!(delete_selected::<DataSet>(asset));
    note!(delete_selected::<DataSet>(store));
    // A key that the other tenant has used, for the same request.
    let key = IdempotencyKey::new(SECRET).expect("a key");
    note!(create_once(&key, new_asset(store, "intruder")));
    note!(create_once(&key, new_set(asset, "intruder")));
    let operations: [fn(&mut Batch, Family); 5] = [
        |batch, of| _ = batch.create(new_asset(of.store, "intruder")),
        |batch, of| _ = batch.create(new_set(of.asset, "intruder")),
        |batch, of| batch.replace(of.set, 1, new_set(of.asset, "intruder")),
        |batch, of| batch.patch(of.store, 1, Patch::new()),
        |batch, of| batch.delete(of.set, Expectation::Any),
    ];
    let mut all = Batch::new();
    for operation in operations {
        let mut batch = Batch::new();
        operation(&mut batch, ids);
        operation(&mut all, ids);
        note!(batch(&batch));
        note!(batch_once(&key, &batch));
    }
    note!(batch(&all));
    answers.answers
}

/// With own entities: the other's id where a parent is named.
fn writes_to_own(at: &Session, own: Family, ids: Family) -> Vec<Answer> {
    let mut answers = Answers::new(ids);
    answers.note("replace", at.replace(own.asset, 0, new_asset(ids.store, "moved")));
    answers.note("replace", at.replace(own.set, 0, new_set(ids.asset, "moved")));
    for (path, id) in [
        ("/dataAssetInfo/id", ids.asset.uuid()),
        ("/dataAssetInfo/id", ids.store.uuid()),
    ] {
        let patch = Patch::new().replace(path, id.to_string()).expect("a patch");
        answers.note("patch", at.patch(own.set, 0, &patch));
    }
    answers.note(
        "update",
        at.update(own.asset, 0, |asset| asset.store = Some(ids.store)),
    );
    let selections = [
        SetSelection::InAssets(vec![own.asset, ids.asset]),
        SetSelection::InStores(vec![own.store, ids.store]),
        SetSelection::Within {
            stores: vec![own.store],
            assets: vec![ids.asset],
        },
        SetSelection::Within {
            stores: vec![own.store, ids.store],
            assets: vec![own.asset],
        },
    ];
    for selection in selections {
        answers.note("list", at.list(&Query::<DataSet>::of(selection.clone())));
        answers.note("delete_selected", at.delete_selected::<DataSet>(selection));
    }
    answers.note(
        "delete_all",
        at.delete_all([(own.set, Expectation::Any), (ids.set, Expectation::Any)]),
    );
    answers.note(
        "create_batched",
        at.create_batched([new_set(ids.asset, "intruder")], Batched::new()),
    );
    answers.note("stream", at.stream(&Query::<DataSet>::of(ids.asset)));
    for (call, answer) in &answers.answers {
        let refused = ErrorKind::ALL.iter().any(|kind| answer.starts_with(kind.code()));
        assert!(refused, "{call} succeeded: {answer}");
    }
    answers.answers
}

fn assert_same(mine: &[Answer], never: &[Answer]) {
    assert_eq!(mine.len(), never.len());
    for (mine, never) in mine.iter().zip(never) {
        assert_eq!(mine, never);
        assert!(!mine.1.contains(SECRET), "{mine:?}");
    }
}

#[test]
fn nothing_of_another_tenant_is_read_changed_or_detected() {
    for bed in Bed::all() {
        let catalog = keeping(&bed.backend);
        let other = Other::new(&catalog);
        let own = family(&session(&catalog, "own"));
        let before = dump(&*bed.backend);
        let garbage: Cursor = "c29tZXRoaW5n".parse().unwrap();
        let garbage = [garbage.clone(), garbage.clone(), garbage];
        let tenants = ["own", "unknown"].into_iter();
        let tries = tenants.flat_map(|tenant| [(tenant, other.family), (tenant, other.dropped)]);
        for (tenant, ids) in tries {
            let session = session(&catalog, tenant);
            let mine = reads(&session, ids, &other.cursors, SECRET);
            let never = reads(&session, nowhere(), &garbage, "Zeppelin");
            assert_same(&mine, &never);
            let snapshot = session.snapshot().unwrap();
            assert_same(&reads(&snapshot, ids, &other.cursors, SECRET), &never);
            let whole = catalog.snapshot().unwrap().tenant(tenant).unwrap();
            assert_same(&reads(&whole, ids, &other.cursors, SECRET), &never);
            session
                .transact(|tx| {
                    assert_same(&reads(tx, ids, &other.cursors, SECRET), &never);
                    assert_same(&writes(tx, ids), &writes(tx, nowhere()));
                    Ok(())
                })
                .unwrap();
            let tried: Result<()> = session.try_transact(|tx| {
                assert_same(&writes(tx, ids), &writes(tx, nowhere()));
                Ok(())
            });
            tried.unwrap();
            assert_same(&writes(&session, ids), &writes(&session, nowhere()));
            assert!(dump(&*bed.backend) == before, "{}: {tenant} wrote", bed.name);
        }
        let session = session(&catalog, "own");
        assert_same(
            &writes_to_own(&session, own, other.family),
            &writes_to_own(&session, own, nowhere()),
        );
        assert!(dump(&*bed.backend) == before, "{}", bed.name);
    }
}

/// The names of the functions of a source text whose line begins with `start`.
fn functions(source: &str, start: &str) -> BTreeSet<String> {
    source
        .lines()
        .filter_map(|line| line.strip_prefix(start))
        .map(|rest| {
            let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
            rest[..end.unwrap_or(rest.len())].to_owned()
        })
        .collect()
}

/// The block that begins with the line `head`.
fn block<'s>(source: &'s str, head: &str) -> &'s str {
    let start = source.find(head).unwrap_or_else(|| panic!("no {head:?}"));
    let end = source[start..].find("\n}").expect("the end of the block");
    &source[start..start + end]
}

macro_rules! source {
    ($file:literal) => {
        include_str!(concat!("../../crates/shelfmark/src/", $file))
    };
}

#[test]
fn every_public_call_is_tried() {
    let catalog = Catalog::in_memory().unwrap();
    let session = session(&catalog, "own");
    let cursor: Cursor = "c29tZXRoaW5n".parse().unwrap();
    let cursors = [cursor.clone(), cursor.clone(), cursor];
    let names = |answers: Vec<Answer>| answers.into_iter().map(|(name, _)| name.to_owned()).collect();

    let mut reading: BTreeSet<String> = names(reads(&session, nowhere(), &cursors, ""));
    // Not for callers.
    reading.extend(["with_view", "context"].map(String::from));
    assert_eq!(
        functions(block(source!("read.rs"), "pub trait Read"), "    fn "),
        reading
    );

    let mut writing: BTreeSet<String> = names(writes(&session, nowhere()));
    writing.extend(["run", "ahead", "outside_of_writes"].map(String::from));
    assert_eq!(
        functions(block(source!("write.rs"), "pub trait Write"), "    fn "),
        writing
    );

    // Handles: each of these either stays with its tenant and is tried above, or is about the whole catalog.
    for (source, calls) in [
        (
            source!("session.rs"),
            vec![
                "with_durability",
                "tenant",
                "actor",
                "snapshot",
                "stream",
                "transact",
                "try_transact",
                "create_batched",
            ],
        ),
        (
            source!("snapshot.rs"),
            vec!["tenant", "tenants", "remember", "stream"],
        ),
        (
            source!("catalog.rs"),
            vec![
                "create",
                "open",
                "open_or_create",
                "in_memory",
                "session",
                "snapshot",
                "tenants",
                "drop_tenant",
                "sync",
                "health",
                "is_exclusive",
                "reopen",
            ],
        ),
        (source!("transaction.rs"), vec![]),
        // Tried in `changes_and_positions_stay_with_their_tenant`; the setters are about the whole catalog.
        (
            source!("changes.rs"),
            vec![
                "changes",
                "newest_change",
                "watch",
                "name",
                "new",
                "keep_all",
                "count",
                "age",
            ],
        ),
        (source!("sweep.rs"), vec!["sweep"]),
    ] {
        let expected: BTreeSet<String> = calls.into_iter().map(String::from).collect();
        assert_eq!(functions(source, "    pub fn "), expected);
    }
}

/// What a hook reads of another tenant, beside what it reads of nobody.
struct Prying(Mutex<Vec<(Vec<Answer>, Vec<Answer>)>>, Family, [Cursor; 3]);

impl Hook for Prying {
    fn name(&self) -> &str {
        "prying"
    }

    fn store(&self, view: &HookView<'_>, _: &mut Proposal<'_, DataStore>) -> std::result::Result<(), Veto> {
        let of_other = reads(view, self.1, &self.2, SECRET);
        let of_nobody = reads(view, nowhere(), &self.2, "Zeppelin");
        self.0.lock().expect("the answers").push((of_other, of_nobody));
        Ok(())
    }
}

#[test]
fn a_hook_sees_nothing_of_another_tenant() {
    for bed in Bed::all() {
        let other = Other::new(&keeping(&bed.backend));
        let hook = Arc::new(Prying(Mutex::default(), other.family, other.cursors));
        let options = Options::new()
            .undrop(Duration::from_secs(3_600))
            .hook(hook.clone());
        let catalog = options.on_backend(bed.backend.clone()).expect("a catalog");
        let session = session(&catalog, "mine");
        session.create(new_store("mine")).expect("a store");
        session.create(new_store("another")).expect("a store");
        let answers = hook.0.lock().expect("the answers");
        assert!(answers.len() >= 2, "{}", bed.name);
        for (of_other, of_nobody) in answers.iter() {
            assert_same(of_other, of_nobody);
        }
    }
}

#[test]
fn reading_an_unknown_tenant_writes_nothing() {
    for bed in Bed::all() {
        let counting = CountingBackend::new(bed.backend.clone());
        let backend: Arc<dyn Backend> = Arc::new(counting.clone());
        let catalog = keeping(&backend);
        let other = Other::new(&catalog);
        let session = session(&catalog, "nobody");
        counting.reset();
        for answer in reads(&session, nowhere(), &other.cursors, SECRET) {
            assert!(!answer.1.contains(SECRET), "{answer:?}");
        }
        assert_eq!(session.stream(&Query::<DataSet>::new()).unwrap().count(), 0);
        assert_eq!(counting.counts().commits, 0, "{}", bed.name);
        // What is refused, or has nothing to do, makes no tenant either.
        writes(&session, nowhere());
        session.delete_selected::<DataStore>(AllStores).unwrap();
        session.create_all(Vec::<NewDataStore>::new()).unwrap();
        session
            .create_batched(Vec::<NewDataAsset>::new(), Batched::new())
            .unwrap();
        assert!(!catalog.drop_tenant("nobody").unwrap());
        let total = counting.counts().total();
        assert_eq!(
            (total.rows_written(), total.range_deletes, total.deltas),
            (0, 0, 0),
            "{}",
            bed.name
        );
        assert_eq!(catalog.tenants().unwrap(), ["other"]);
    }
}

#[test]
fn changes_and_positions_stay_with_their_tenant() {
    for bed in Bed::all() {
        let options = Options::new()
            .change_feed(true)
            .undrop(Duration::from_secs(3_600));
        let catalog = options.on_backend(bed.backend.clone()).unwrap();
        Other::new(&catalog);
        let other = session(&catalog, "other");
        let theirs = [
            other.newest_change().unwrap(),
            other.changes(None, 2).unwrap().position,
        ];
        let own = family(&session(&catalog, "own"));
        let before = dump(&*bed.backend);
        for tenant in ["own", "unknown"] {
            let session = session(&catalog, tenant);
            let mut answers = Answers::new(own);
            for position in theirs {
                answers.note("changes", session.changes(position, 10));
                answers.note("watch", session.watch(position, 10, Duration::MAX));
            }
            for (call, answer) in &answers.answers {
                assert!(
                    answer.starts_with(ErrorKind::ChangesRewound.code()),
                    "{call}: {answer}"
                );
                // As for a place in no feed at all.
                let nowhere = "AAAAAAAAAAAAAAAAAAAABw".parse::<Position>().unwrap();
                let never = session.changes(nowhere, 10).unwrap_err();
                assert_eq!(*answer, format!("{}: {never}", never.kind()));
            }
            let page = session.changes(None, 100).unwrap();
            let ids: Vec<EntityId> = page.items.iter().map(|change| change.id).collect();
            match tenant {
                "own" => assert_eq!(ids, [own.store.into(), own.asset.into(), own.set.into()]),
                _ => assert!(ids.is_empty()),
            }
            assert!(!theirs.contains(&session.newest_change().unwrap()));
            assert!(!theirs.contains(&page.position));
        }
        assert!(dump(&*bed.backend) == before, "{}: somebody wrote", bed.name);
        // What one tenant writes wakes, and shows, nobody else.
        let session = session(&catalog, "own");
        let end = session.newest_change().unwrap();
        other.create(new_store(SECRET)).unwrap();
        assert!(session.watch(end, 10, Duration::ZERO).unwrap().items.is_empty());
        catalog.drop_tenant("other").unwrap();
        assert_eq!(session.changes(None, 100).unwrap().items.len(), 3);
    }
}
