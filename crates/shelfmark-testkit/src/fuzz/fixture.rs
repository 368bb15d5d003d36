//! A small catalog with a row in every keyspace, the same each time, and reading all of one.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shelfmark::backend::{Backend, CommitOptions, Keyspace, WriteBatch};
use shelfmark::{
    AllStores, AssetId, AssetSelection, Catalog, DataAsset, DataField, DataSet, DataStore, DroppedQuery,
    Entity, Error, ErrorKind, Expectation, FieldType, IdempotencyKey, JsonObject, NewDataAsset, NewDataSet,
    NewDataStore, Options, Patch, Projection, Query, Read, Schema, Session, SetId, StoreId, Write,
};

use super::sure;
use crate::environment::TestEnvironment;
use crate::memory::MemoryBackend;
use crate::storage::{Rows, rows_of};

/// The tenant whose entities a [`Fixture`] names.
pub const TENANT: &str = "acme";
const KEY: &str = "request-1";

/// A small catalog with a row in every keyspace, the same each time.
pub struct Fixture {
    /// A store that holds an asset.
    pub store: StoreId,
    /// A store that holds nothing.
    pub empty: StoreId,
    /// An asset that holds sets.
    pub asset: AssetId,
    /// One of those.
    pub set: SetId,
    /// An asset that was deleted, and is kept.
    pub dropped: AssetId,
    /// All of its rows.
    pub rows: Rows,
}

/// Each environment gives ids of its own.
const MADE_IN: u64 = 1;
const OPENED_IN: u64 = 2;

fn options(environment: u64) -> Options {
    Options::new()
        .change_feed(true)
        .undrop(Duration::from_secs(3_600))
        .environment(TestEnvironment::new(environment).environment())
}

pub(super) fn session(catalog: &Catalog) -> Session {
    sure(catalog.session(TENANT, "ann"))
}

impl Fixture {
    /// The one that all executions share.
    pub fn get() -> &'static Self {
        static FIXTURE: OnceLock<Fixture> = OnceLock::new();
        FIXTURE.get_or_init(|| sure(Self::make_on(Arc::new(MemoryBackend::new()))))
    }

    /// One of its own, on a blank backend: the same entities, under the same ids.
    ///
    /// # Errors
    ///
    /// What the backend says.
    pub(super) fn make_on(backend: Arc<dyn Backend>) -> Result<Self, Error> {
        let catalog = options(MADE_IN).on_backend(Arc::clone(&backend))?;
        let session = session(&catalog);
        let store = session.create(NewDataStore {
            name: Some("Warehouse".to_owned()),
            ..NewDataStore::new("warehouse", "postgres")
        })?;
        let assets = ["sales", "gone"].map(|name| NewDataAsset::new(store.id, name, "qix-df"));
        let assets = session.create_all(assets)?;
        let set = |asset: AssetId, name: &str| NewDataSet {
            name: Some(format!("Set {name}")),
            tags: vec!["gold".to_owned()],
            properties: Some(JsonObject::from_iter([("n".to_owned(), 1.into())])),
            schema: Some(Schema {
                data_fields: vec![
                    DataField::new("order_id", FieldType::Integer),
                    DataField::new("placed", FieldType::Date),
                ],
                ..Schema::default()
            }),
            ..NewDataSet::new(
                asset,
                name,
                format!("qdf:files:acme:{name}"),
                format!("qri:{name}"),
            )
        };
        let (kept, dropped) = (assets[0], assets[1]);
        let sets = session.create_all([set(kept, "orders"), set(kept, "Ledger"), set(dropped, "old")])?;
        let once = session.create_once(
            &sure(IdempotencyKey::new(KEY)),
            NewDataStore::new("once", "postgres"),
        )?;
        session.delete(dropped, Expectation::Any)?;
        catalog
            .session("globex", "bob")?
            .create(NewDataStore::new("other", "postgres"))?;
        Ok(Self {
            store: store.id,
            empty: once.value.id,
            asset: kept,
            set: sets[0],
            dropped,
            rows: rows_of(&*backend)?,
        })
    }

    /// A catalog with these rows and no others.
    ///
    /// # Errors
    ///
    /// What opening one gives.
    pub(super) fn open(rows: &Rows) -> Result<Catalog, Error> {
        Self::open_on(on_memory(rows)?)
    }

    /// The catalog that a backend has.
    ///
    /// # Errors
    ///
    /// What opening it gives.
    pub(super) fn open_on(backend: Arc<dyn Backend>) -> Result<Catalog, Error> {
        options(OPENED_IN).on_backend(backend)
    }

    /// A catalog of its own with the fixture's rows, and the backend that it is on.
    pub fn restored(&self) -> (Catalog, Arc<dyn Backend>) {
        let backend = sure(on_memory(&self.rows));
        (sure(Self::open_on(Arc::clone(&backend))), backend)
    }

    /// The keyspaces that have rows.
    pub(super) fn spaces(&self) -> Vec<Keyspace> {
        let has_rows = |space: &Keyspace| self.rows.keys().any(|(of, _)| of == space);
        Keyspace::ALL.iter().copied().filter(has_rows).collect()
    }

    /// Reads everything in every way, writes, checks and repairs. Whatever the rows hold, each call returns, and says what it was.
    pub(super) fn consult(&self, catalog: &Catalog) {
        typed(catalog.tenants());
        let session = session(catalog);
        lists::<DataStore>(&session);
        lists::<DataAsset>(&session);
        lists::<DataSet>(&session);
        typed(session.get_many(&[self.store]));
        typed(session.get_many(&[self.asset, self.dropped]));
        typed(session.get_many(&[self.set]));
        typed(session.find_by_secure_qri("qri:orders"));
        typed(session.list(&Query::<DataSet>::of(self.asset).sort("name")));
        typed(session.count::<DataAsset>(AssetSelection::InStores(vec![self.store])));
        typed(session.would_delete([(self.asset, Expectation::Any)]));
        typed(session.list_dropped(&DroppedQuery::new()));
        typed(session.dropped(self.dropped));
        typed(session.changes(None, 100));
        typed(catalog.check());
        self.write(catalog, &session);
        typed(catalog.sweep());
        // What a repair says that it mends is mended.
        if let Some(repaired) = typed(catalog.repair())
            && let Some(report) = typed(catalog.check())
        {
            let left = report.findings.iter().find(|one| one.kind.is_repairable());
            assert!(left.is_none(), "after {repaired:?}: {left:?}");
        }
        typed(catalog.drop_tenant(TENANT));
    }

    fn write(&self, catalog: &Catalog, session: &Session) {
        let patch = sure(Patch::new().add("/description", "words"));
        typed(session.patch(self.set, Expectation::Any, &patch));
        typed(session.patch(self.store, Expectation::Any, &patch));
        typed(session.create_once(
            &sure(IdempotencyKey::new(KEY)),
            NewDataStore::new("once", "postgres"),
        ));
        typed(session.create(NewDataAsset::new(self.store, "more", "qix-df")));
        typed(session.restore(self.dropped));
        typed(session.delete(self.asset, Expectation::Any));
        typed(session.delete_selected::<DataStore>(AllStores));
        if let Ok(other) = catalog.session("initech", "eve") {
            typed(other.create(NewDataStore::new("new", "postgres")));
        }
    }
}

fn on_memory(rows: &Rows) -> Result<Arc<dyn Backend>, Error> {
    let backend = MemoryBackend::new();
    backend.commit(CommitOptions::default(), &mut |_| {
        let mut batch = WriteBatch::new();
        for ((space, key), value) in rows {
            batch.put(*space, key.clone(), value.clone());
        }
        Ok(batch)
    })?;
    Ok(Arc::new(backend))
}

fn lists<E: Entity>(session: &Session) {
    for sort in ["", "-name", "technicalName", "-lastModifiedTime", "description"] {
        typed(session.list_names(&Query::<E>::new().sort(sort)));
        let mut query = Query::<E>::new().sort(sort).limit(2).with_schemas();
        // As many pages as a sound catalog can have, and some.
        for _ in 0..8 {
            let Some(next) = typed(session.list(&query)).and_then(|page| page.next) else {
                break;
            };
            query = query.cursor(next);
        }
    }
    typed(session.list_projected(&Query::<E>::new(), &Projection::all()));
    typed(session.count::<E>(E::Selection::default()));
    typed(session.find_by_name::<E>(E::Selection::default(), "orders"));
    typed(session.find_by_technical_name::<E>(E::Selection::default(), "orders"));
    if let Some(stream) = typed(session.stream(&Query::<E>::new().sort("technicalName"))) {
        for entity in stream {
            if typed(entity).is_none() {
                break;
            }
        }
    }
}

/// What it gave, where it was not refused. That the engine contradicts itself, or that a caller's closure panicked, is no refusal.
#[track_caller]
pub(super) fn typed<T>(result: shelfmark::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(
                !matches!(error.kind(), ErrorKind::Internal | ErrorKind::HookPanicked),
                "{error}"
            );
            None
        }
    }
}
