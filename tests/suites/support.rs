//! What the suites share: backends to run on, small entities, dumps, child processes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use shelfmark::backend::{Backend, CommitOptions, Direction, KeyRange, Keyspace, WriteBatch};
use shelfmark::{
    AssetId, Batch, Batched, Catalog, DataField, DataSet, ErrorKind, Expectation, FieldType, IdempotencyKey,
    JsonObject, NewDataAsset, NewDataSet, NewDataStore, Options, Patch, Result, Schema, Session, SetId,
    SetSelection, StoreId, Write,
};
use shelfmark_testkit::MemoryBackend;

/// A blank backend to run a suite on, with the directory its file lies in.
pub struct Bed {
    pub name: &'static str,
    pub backend: Arc<dyn Backend>,
    _directory: Option<tempfile::TempDir>,
}

impl Bed {
    pub fn new(name: &'static str, backend: Arc<dyn Backend>) -> Self {
        Self {
            name,
            backend,
            _directory: None,
        }
    }

    pub fn in_memory() -> Self {
        let backend = Options::new().in_memory_backend().expect("a backend in memory");
        Self::new("redb in memory", backend)
    }

    pub fn in_a_file() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let backend = Options::new()
            .create_backend(directory.path().join("catalog.shelf"))
            .expect("a new file");
        Self {
            name: "redb in a file",
            backend,
            _directory: Some(directory),
        }
    }

    /// Every kind of backend that a suite must hold on.
    pub fn all() -> Vec<Self> {
        vec![
            Self::in_memory(),
            Self::in_a_file(),
            Self::new("memory", Arc::new(MemoryBackend::new())),
            Self::new(
                "memory, plans retried",
                Arc::new(MemoryBackend::new().retry_plans(2)),
            ),
            Self::new(
                "memory, shared, plans retried",
                Arc::new(MemoryBackend::shared().retry_plans(3)),
            ),
        ]
    }

    pub fn catalog(&self) -> Catalog {
        catalog_on(&self.backend)
    }
}

pub fn catalog_on(backend: &Arc<dyn Backend>) -> Catalog {
    Options::new().on_backend(backend.clone()).expect("a catalog")
}

pub fn session(catalog: &Catalog, tenant: &str) -> Session {
    catalog.session(tenant, "ann").expect("a session")
}

/// A store, an asset in it and a set in that.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    pub store: StoreId,
    pub asset: AssetId,
    pub set: SetId,
}

pub fn family(session: &Session) -> Family {
    let store = session
        .create(NewDataStore {
            name: Some("Warehouse".into()),
            ..new_store("warehouse")
        })
        .expect("a store")
        .id;
    let asset = session
        .create(NewDataAsset {
            name: Some("Sales".into()),
            ..new_asset(store, "sales")
        })
        .expect("an asset")
        .id;
    let set = session
        .create(NewDataSet {
            name: Some("Orders".into()),
            schema: Some(schema()),
            ..new_set(asset, "orders")
        })
        .expect("a set")
        .id;
    Family { store, asset, set }
}

/// The outcome of every call that writes, by name, about a store that is there.
pub fn every_write(catalog: &Catalog, session: &Session, store: StoreId) -> Vec<(&'static str, Result<()>)> {
    let any = Expectation::Any;
    let key = IdempotencyKey::new("inner").expect("a key");
    let mut batch = Batch::new();
    batch.create(new_store("inner"));
    vec![
        ("create", session.create(new_store("inner")).map(drop)),
        ("create_all", session.create_all([new_store("inner")]).map(drop)),
        (
            "create_batched",
            session
                .create_batched([new_store("inner")], Batched::new())
                .map(drop),
        ),
        (
            "replace",
            session.replace(store, any, new_store("inner")).map(drop),
        ),
        (
            "replace_all",
            session.replace_all([(store, any, new_store("inner"))]).map(drop),
        ),
        ("patch", session.patch(store, any, &Patch::new()).map(drop)),
        (
            "patch_all",
            session.patch_all([(store, any, Patch::new())]).map(drop),
        ),
        ("update", session.update(store, any, |_| {}).map(drop)),
        (
            "update_all",
            session.update_all([(store, any)], |_, _| {}).map(drop),
        ),
        ("delete", session.delete(store, any).map(drop)),
        ("delete_all", session.delete_all([(store, any)]).map(drop)),
        (
            "delete_selected",
            session.delete_selected::<DataSet>(SetSelection::All).map(drop),
        ),
        ("batch", session.batch(&batch).map(drop)),
        ("an empty batch", session.batch(&Batch::new()).map(drop)),
        (
            "create_once",
            session.create_once(&key, new_store("inner")).map(drop),
        ),
        ("batch_once", session.batch_once(&key, &batch).map(drop)),
        ("restore", session.restore(store).map(drop)),
        ("purge", session.purge(store).map(drop)),
        ("transact", session.transact(|_| Ok(()))),
        ("drop_tenant", catalog.drop_tenant(session.tenant()).map(drop)),
        ("sweep", catalog.sweep().map(drop)),
        ("sync", catalog.sync()),
        ("reopen", catalog.reopen()),
        ("compact", catalog.compact().map(drop)),
        ("verify", catalog.verify().map(drop)),
        ("repair", catalog.repair().map(drop)),
    ]
}

/// That every call that writes is refused here, since the thread is inside a write.
#[track_caller]
pub fn assert_no_write_enters(catalog: &Catalog, session: &Session, store: StoreId) {
    for (call, outcome) in every_write(catalog, session, store) {
        let error = outcome.expect_err(call);
        assert_eq!(error.kind(), ErrorKind::ReentrantWrite, "{call}: {error}");
    }
}

pub fn new_store(name: &str) -> NewDataStore {
    NewDataStore::new(name, "postgres")
}

pub fn new_asset(store: StoreId, name: &str) -> NewDataAsset {
    NewDataAsset::new(store, name, "qix-df")
}

pub fn new_set(asset: AssetId, name: &str) -> NewDataSet {
    NewDataSet::new(
        asset,
        name,
        format!("qdf:files:acme:{name}"),
        format!("qri:{name}"),
    )
}

pub fn schema() -> Schema {
    Schema {
        data_fields: vec![
            DataField::new("order_id", FieldType::Integer),
            DataField::new("placed", FieldType::Date),
        ],
        ..Schema::default()
    }
}

/// `properties` with one integer.
pub fn number(value: i64) -> Option<JsonObject> {
    Some(JsonObject::from_iter([("n".to_owned(), value.into())]))
}

pub fn number_in(properties: &Option<JsonObject>) -> i64 {
    properties
        .as_ref()
        .and_then(|properties| properties.get("n"))
        .and_then(serde_json::Value::as_i64)
        .expect("a number in the properties")
}

pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Every row of one keyspace.
pub fn rows(backend: &dyn Backend, space: Keyspace) -> Rows {
    let mut rows = Rows::new();
    backend
        .snapshot()
        .expect("a snapshot")
        .scan(space, &KeyRange::all(), Direction::Forward, &mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })
        .expect("a walk over the keyspace");
    rows
}

/// Every row of every keyspace.
pub fn dump(backend: &dyn Backend) -> BTreeMap<Keyspace, Rows> {
    Keyspace::ALL
        .iter()
        .map(|&space| (space, rows(backend, space)))
        .collect()
}

/// Commits below the catalog, as damage does.
pub fn damage(backend: &dyn Backend, fill: impl Fn(&mut WriteBatch)) {
    backend
        .commit(CommitOptions::default(), &mut |_| {
            let mut batch = WriteBatch::new();
            fill(&mut batch);
            Ok(batch)
        })
        .expect("a commit");
}

#[track_caller]
pub fn assert_clean(catalog: &Catalog, context: &str) {
    let report = catalog.check().expect("a check");
    let findings: Vec<String> = report.findings.iter().take(10).map(ToString::to_string).collect();
    assert!(report.is_clean(), "{context}: {findings:#?}");
}

/// Ends the whole process where a test waits for itself for ever.
pub struct Watchdog {
    _alive: std::sync::mpsc::Sender<()>,
}

impl Watchdog {
    pub fn new(what: &'static str) -> Self {
        let (alive, watched) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let outcome = watched.recv_timeout(Duration::from_secs(60));
            if outcome == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // Past the capture of a test's output, which an abort would lose.
                let _ = writeln!(std::io::stderr(), "{what} has been stuck for 60 s");
                std::process::abort();
            }
        });
        Self { _alive: alive }
    }
}

const CHILD_PATH: &str = "SHELFMARK_SUITE_CHILD_PATH";

/// This binary again, running one test in the role of a child.
pub fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this binary"));
    command
        .args(["--exact", "--nocapture", test])
        .env(CHILD_PATH, path);
    command
}

/// The path a child works on; `None` where the test was not started as a child.
pub fn child_path() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD_PATH).map(Into::into)
}

/// A small generator of numbers; the seed is in the message of a failure.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Whether the long versions of the suites are asked for.
pub fn long_version() -> bool {
    std::env::var_os("SHELFMARK_LONG").is_some()
}

/// Prints the figures of a run, past the capture of a test's output, for `docs/reliability.md`.
pub fn figures(what: &str, figures: &str) {
    let _ = writeln!(std::io::stderr(), "figures: {what}: {figures}");
}

thread_local! {
    static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `work` without the messages of panics that something catches: redb panics on some damaged pages, thousands of times.
pub fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static HOOKED: std::sync::Once = std::sync::Once::new();
    HOOKED.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                told(panic);
            }
        }));
    });
    QUIET.set(true);
    let outcome = work();
    QUIET.set(false);
    outcome
}
