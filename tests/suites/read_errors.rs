//! Reads of a storage that fails: the same read of a catalog that was just opened again and again, with a fault at each of its first calls, and at some of
//! those behind them. The answer is the right one, or an error of the storage; an entity that is not found and a list that ends early would be others.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use shelfmark::backend::Keyspace;
use shelfmark::{
    AllStores, AssetId, AssetSelection, Catalog, DataAsset, DataSet, DataStore, DroppedQuery, ErrorKind,
    Expectation, Filter, JsonText, NewDataAsset, NewDataSet, NewDataStore, Options, Position, Projection,
    Query, Read, Result, Session, SetId, SetSelection, StoreId, Write,
};
use shelfmark_testkit::TestEnvironment;
use shelfmark_testkit::storage::{Call, Image, RecordingStorage, StorageFault, rows_of};

use crate::support::{figures, long_version, new_asset, new_set, new_store, schema, session};

/// Sets, most of them in the first assets.
const SETS: usize = 1_000;
const STORES: usize = 40;
const ASSETS: usize = 40;
/// So many assets hold most of the sets.
const LARGE: usize = 5;
/// How many sets are dropped one by one, and how many go with an asset of theirs.
const DROPPED: usize = 60;

/// A reading fails at each of its first calls.
const EACH: u64 = 150;
/// Of those that come behind, about so many fail.
const BEHIND: u64 = 50;
/// Behind one of so many faults the catalog is reopened.
const REOPENED: u64 = 16;

/// A closed catalog whose larger tables have many pages, and what is in it.
struct Large {
    image: Image,
    stores: Vec<StoreId>,
    assets: Vec<AssetId>,
    sets: Vec<SetId>,
    dropped: Vec<SetId>,
    dropped_asset: AssetId,
    position: Position,
}

/// Nothing is cached: every page is read from the storage, each time.
fn options() -> Options {
    Options::new()
        .cache_bytes(0)
        .change_feed(true)
        .undrop(Duration::from_secs(3_600))
        .environment(TestEnvironment::new(7).environment())
}

impl Large {
    fn new() -> Self {
        let storage = RecordingStorage::new();
        let options = options().cache_bytes(64 << 20);
        let backend = options
            .create_backend_on(Arc::new(storage.clone()))
            .expect("a backend");
        let catalog = options.on_backend(backend).expect("a catalog");
        let session = session(&catalog, "acme");
        let text = "of the last quarter, by region and product. ".repeat(6);
        let stores = (0..STORES).map(|n| NewDataStore {
            name: Some(format!("Store {n:02}")),
            description: Some(text.clone()),
            ..new_store(&format!("store {n}"))
        });
        let stores = session.create_all(stores).expect("stores");
        let assets = (0..ASSETS).map(|n| NewDataAsset {
            name: Some(format!("Asset {n:02}")),
            description: Some(text.clone()),
            ..new_asset(stores[n % 4], &format!("asset {n}"))
        });
        let assets = session.create_all(assets).expect("assets");
        let set = |n: usize, asset: AssetId| NewDataSet {
            name: Some(format!("Set {:04}", n * 7_919 % 10_007)),
            description: Some(format!("{:04} {text}", n * 389 % 10_007)),
            tags: vec![format!("tag {}", n % 7)],
            space_id: Some(format!("space {}", n % 3)),
            set_type: Some(if n.is_multiple_of(5) { "view" } else { "table" }.to_owned()),
            schema: n.is_multiple_of(4).then(schema),
            ..new_set(asset, &format!("{n:04}"))
        };
        let place = |n: usize| {
            assets[if n.is_multiple_of(10) {
                n % ASSETS
            } else {
                n % LARGE
            }]
        };
        let sets = (0..SETS).map(|n| set(n, place(n)));
        let sets = session.create_all(sets).expect("sets");
        let doomed = session
            .create(new_asset(stores[0], "doomed"))
            .expect("an asset")
            .id;
        let going = (0..DROPPED).map(|n| set(SETS + n, if n < 20 { doomed } else { assets[0] }));
        let going = session.create_all(going).expect("sets");
        let position = session.newest_change().expect("a position");
        let dropped = going[20..].to_vec();
        session
            .delete_all(dropped.iter().map(|&id| (id, Expectation::Any)))
            .expect("a deletion");
        session.delete(doomed, Expectation::Any).expect("a deletion");
        drop((session, catalog));
        Self {
            image: storage.bytes(),
            stores,
            assets,
            sets,
            dropped,
            dropped_asset: doomed,
            position,
        }
    }

    fn open(&self) -> (RecordingStorage, Catalog) {
        let storage = RecordingStorage::holding(self.image.clone());
        let options = options();
        let catalog = options
            .open_backend_on(Arc::new(storage.clone()))
            .and_then(|backend| options.on_backend(backend))
            .expect("a catalog");
        (storage, catalog)
    }
}

type Reading = fn(&Catalog, &Large) -> Result<String>;

fn acme(catalog: &Catalog) -> Session {
    session(catalog, "acme")
}

fn shown<T: Debug>(answer: Result<T>) -> Result<String> {
    answer.map(|answer| format!("{answer:?}"))
}

fn sets() -> Query<DataSet> {
    Query::new().limit(20)
}

/// Every kind of read.
const READINGS: &[(&str, Reading)] = &[
    ("get", |catalog, large| shown(acme(catalog).get(large.sets[500]))),
    ("get, of none", |catalog, large| {
        shown(acme(catalog).get(large.dropped[0]))
    }),
    ("get_head", |catalog, large| {
        shown(acme(catalog).get_head(large.sets[501]))
    }),
    ("get_json", |catalog, large| {
        let mut text = JsonText::new();
        let written = acme(catalog).get_json(large.sets[500], true, &mut text)?;
        shown(Ok((written, text.into_bytes())))
    }),
    ("get, of an asset", |catalog, large| {
        shown(acme(catalog).get(large.assets[30]))
    }),
    ("get_many, few", |catalog, large| {
        shown(acme(catalog).get_many(&large.sets[10..13]))
    }),
    ("get_many, in order", |catalog, large| {
        shown(acme(catalog).get_many(&large.sets[200..260]))
    }),
    ("get_many, here and there", |catalog, large| {
        let ids = large.sets.iter().rev().step_by(23).chain(&large.dropped[..2]);
        shown(acme(catalog).get_many(&ids.copied().collect::<Vec<_>>()))
    }),
    ("exists", |catalog, large| {
        let session = acme(catalog);
        shown(Ok((
            session.exists(large.sets[700])?,
            session.exists(large.dropped[1])?,
        )))
    }),
    ("count", |catalog, large| {
        let session = acme(catalog);
        shown(Ok((
            session.count::<DataStore>(AllStores)?,
            session.count::<DataAsset>(AssetSelection::All)?,
            session.count::<DataSet>(SetSelection::All)?,
            session.count::<DataSet>(large.stores[1])?,
            session.count::<DataSet>(large.assets.clone())?,
        )))
    }),
    ("list", |catalog, _| shown(acme(catalog).list(&sets()))),
    ("list, all with schemas", |catalog, _| {
        shown(acme(catalog).list(&sets().limit(1_000).with_schemas()))
    }),
    ("list, deep", |catalog, _| {
        shown(acme(catalog).list(&sets().page(30).without_total()))
    }),
    ("list, next by cursor", |catalog, _| {
        let session = acme(catalog);
        let next = session.list(&sets().sort("name").without_total())?.next;
        shown(session.list(&sets().sort("name").cursor(next.expect("a next page"))))
    }),
    ("list by name", |catalog, _| {
        shown(acme(catalog).list(&sets().sort("name")))
    }),
    ("list by name, deep, backwards", |catalog, _| {
        shown(acme(catalog).list(&sets().sort("-name").page(30)))
    }),
    ("list by technical name", |catalog, _| {
        shown(acme(catalog).list(&sets().sort("technicalName").without_total()))
    }),
    ("list by time", |catalog, _| {
        shown(acme(catalog).list(&sets().sort("-lastModifiedTime")))
    }),
    ("list by description", |catalog, _| {
        shown(acme(catalog).list(&sets().sort("description")))
    }),
    ("list of a parent by description", |catalog, large| {
        let query = Query::<DataSet>::of(large.assets[2]).sort("-description");
        shown(acme(catalog).list(&query.without_total()))
    }),
    ("list of many parents by name", |catalog, large| {
        let query = Query::<DataSet>::of(large.assets.clone()).sort("name").limit(100);
        shown(acme(catalog).list(&query))
    }),
    ("list of stores", |catalog, _| {
        shown(acme(catalog).list(&Query::<DataStore>::new().sort("-name").limit(1_000)))
    }),
    ("list of the assets of a store", |catalog, large| {
        let query = Query::<DataAsset>::of(large.stores[3]).sort("name");
        shown(acme(catalog).list(&query))
    }),
    ("list by a prefix", |catalog, _| {
        let filter = Filter::new().name_prefix("set 01");
        shown(acme(catalog).list(&sets().filter(filter).sort("-lastModifiedTime")))
    }),
    ("list by a tag", |catalog, _| {
        let filter = Filter::new().tag("tag 3");
        shown(acme(catalog).list(&sets().filter(filter).sort("name")))
    }),
    ("list by owner, space and type", |catalog, _| {
        let filter = Filter::new()
            .owner_id("ann")
            .space_id("space 1")
            .type_name("view");
        shown(acme(catalog).list(&sets().filter(filter).without_total()))
    }),
    ("list_json", |catalog, _| {
        let mut text = JsonText::new();
        let page = acme(catalog).list_json(&sets().sort("name").with_schemas(), &mut text)?;
        shown(Ok((page, text.into_bytes())))
    }),
    ("list_names", |catalog, _| {
        shown(acme(catalog).list_names(&sets().sort("name").limit(1_000)))
    }),
    ("list_names, deep", |catalog, _| {
        shown(acme(catalog).list_names(&sets().sort("name").page(40).without_total()))
    }),
    ("list_projected", |catalog, _| {
        let projection = Projection::of(["id", "name", "description"]);
        shown(acme(catalog).list_projected(&sets().sort("-name"), &projection))
    }),
    ("find_by_name", |catalog, large| {
        shown(acme(catalog).find_by_name::<DataSet>(large.assets.clone(), "set 7919"))
    }),
    ("find_by_technical_name", |catalog, large| {
        shown(acme(catalog).find_by_technical_name::<DataSet>(large.assets[1], "0501"))
    }),
    ("find_by_secure_qri", |catalog, _| {
        shown(acme(catalog).find_by_secure_qri("qri:0777"))
    }),
    ("stream", |catalog, _| {
        shown(acme(catalog).stream(&sets())?.collect::<Result<Vec<_>>>())
    }),
    ("stream by name", |catalog, large| {
        let query = Query::<DataSet>::of(large.assets[3]).sort("name");
        shown(acme(catalog).stream(&query)?.collect::<Result<Vec<_>>>())
    }),
    ("changes", |catalog, _| shown(acme(catalog).changes(None, 200))),
    ("changes behind a position", |catalog, large| {
        let session = acme(catalog);
        shown(Ok((
            session.changes(large.position, 1_000)?,
            session.newest_change()?,
        )))
    }),
    ("list_dropped", |catalog, _| {
        shown(acme(catalog).list_dropped(&DroppedQuery::new().limit(100)))
    }),
    ("dropped", |catalog, large| {
        let session = acme(catalog);
        shown(Ok((
            session.dropped(large.dropped[7])?,
            session.dropped(large.dropped_asset)?,
            session.dropped(large.sets[0])?,
        )))
    }),
    ("would_delete", |catalog, large| {
        shown(acme(catalog).would_delete([(large.assets[4], Expectation::Any)]))
    }),
    ("would_delete_selected", |catalog, large| {
        shown(acme(catalog).would_delete_selected::<DataSet>(large.stores[2]))
    }),
    ("a snapshot", |catalog, large| {
        let snapshot = catalog.snapshot()?;
        let tenant = snapshot.tenant("acme")?;
        shown(Ok((
            snapshot.tenants()?,
            tenant.get(large.sets[9])?,
            tenant.list(&sets().sort("technicalName"))?,
            tenant
                .stream(&Query::<DataAsset>::new())?
                .collect::<Result<Vec<_>>>()?,
        )))
    }),
    ("tenants", |catalog, _| shown(catalog.tenants())),
    ("stats", |catalog, _| {
        let stats = catalog.stats()?;
        shown(Ok((
            stats.stores,
            stats.assets,
            stats.sets,
            stats.backend.stored_bytes,
        )))
    }),
    ("check", |catalog, _| shown(catalog.check())),
    ("verify", |catalog, _| {
        shown(catalog.verify().map(|report| report.intact))
    }),
    ("backup", |catalog, _| {
        let to = RecordingStorage::new();
        catalog.backup_on(Arc::new(to.clone()))?;
        let mut rows = rows_of(&*options().open_backend_on(Arc::new(to))?)?;
        // A copy has a feed id of its own.
        rows.retain(|(space, _), _| *space != Keyspace::Meta);
        shown(Ok(rows))
    }),
];

/// What came of the faults.
#[derive(Debug, Default)]
struct Tally {
    readings: usize,
    reads: u64,
    faults: u64,
    right: u64,
    errors: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// The right answer, or an error of the storage.
    fn judge(&mut self, found: Result<String>, right: &str, context: &str) {
        match found {
            Ok(found) => {
                assert!(
                    found == right,
                    "{context}: {found:.1000} in place of {right:.1000}"
                );
                self.right += 1;
            }
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Io | ErrorKind::Unavailable),
                    "{context}: {}: {error}",
                    error.kind()
                );
                *self.errors.entry(error.kind().code()).or_default() += 1;
            }
        }
    }
}

/// Which of so many calls fail.
fn calls_to_fail(calls: u64) -> impl Iterator<Item = u64> {
    let behind = if long_version() { 20 * BEHIND } else { BEHIND };
    let stride = calls.saturating_sub(EACH).div_ceil(behind).max(1);
    (1..=calls.min(EACH)).chain((EACH + 1..=calls).step_by(stride as usize))
}

#[test]
fn a_read_that_fails_is_never_another_answer() {
    let large = Large::new();
    let mut tally = Tally::default();
    for (name, reading) in READINGS {
        let (storage, catalog) = large.open();
        let before = storage.calls().of(Call::Read);
        let right = reading(&catalog, &large).expect(name);
        let calls = storage.calls().of(Call::Read) - before;
        drop(catalog);
        tally.readings += 1;
        tally.reads += calls;
        for nth in calls_to_fail(calls) {
            let (storage, catalog) = large.open();
            storage.arm(StorageFault {
                call: Call::Read,
                nth,
                error: io::ErrorKind::Other,
                short: false,
                lasts: false,
            });
            let found = reading(&catalog, &large);
            assert!(storage.struck(), "{name}: of {calls} calls there is no {nth}.");
            tally.faults += 1;
            tally.judge(found, &right, &format!("{name}, call {nth} of {calls} failed"));
            // Nothing wrong is remembered.
            let context = format!("{name}, once more after call {nth} of {calls}");
            tally.judge(reading(&catalog, &large), &right, &context);
            if nth % REOPENED == 1 {
                catalog.reopen().expect("a storage that was mended");
                let found = reading(&catalog, &large).expect(name);
                assert!(found == right, "{name}, reopened after call {nth} of {calls}");
            }
        }
    }
    figures("failing reads of a larger catalog", &format!("{tally:?}"));
    assert!(tally.errors["IO"] > tally.faults / 2, "{tally:?}");
}
