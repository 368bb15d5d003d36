//! What is read: rows, seeks and counters of each kind of read, over a parent with 100,000 children.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use shelfmark::backend::{Backend, Keyspace};
use shelfmark::{
    AllStores, AssetId, AssetSelection, Batched, DataSet, Durability, Expectation, NewDataSet, Options, Page,
    Projection, Query, Read, Session, SetId, SetSelection, StoreId, Write,
};
use shelfmark_testkit::{CountingBackend, Counts, MemoryBackend};

use crate::support::{catalog_on, new_asset, new_set, new_store, schema, session};

const SETS: u64 = 100_000;
const PARENTS: u64 = 50;
const SETS_OF_EACH: u64 = 30;
const WITH_SCHEMA: u64 = 25;
/// Pages of 20 before the deep one.
const DEEP: u64 = 4_500;

/// One large catalog on a backend that counts.
struct Large {
    name: &'static str,
    counting: CountingBackend,
    session: Session,
    store: StoreId,
    /// Holds `SETS` sets.
    asset: AssetId,
    /// Each holds `SETS_OF_EACH`.
    small: Vec<AssetId>,
    /// Holds sets with a schema.
    with_schema: AssetId,
    of_schema: Vec<SetId>,
}

impl Large {
    fn new(name: &'static str, backend: Arc<dyn Backend>) -> Mutex<Self> {
        let counting = CountingBackend::new(backend);
        let backend: Arc<dyn Backend> = Arc::new(counting.clone());
        let session = session(&catalog_on(&backend), "acme").with_durability(Durability::Deferred);
        let store = session.create(new_store("store")).expect("a store").id;
        let asset = |name: &str| session.create(new_asset(store, name)).expect("an asset").id;
        let large = asset("large");
        let sets = (0..SETS).map(|n| named_set(large, (n * 7_919) % 100_003));
        session.create_batched(sets, Batched::new()).expect("many sets");
        let small: Vec<AssetId> = (0..PARENTS).map(|n| asset(&format!("small {n}"))).collect();
        let sets = (0..PARENTS * SETS_OF_EACH).map(|n| named_set(small[(n % PARENTS) as usize], n));
        session.create_batched(sets, Batched::new()).expect("sets");
        let with_schema = asset("with schema");
        let sets = (0..WITH_SCHEMA).map(|n| NewDataSet {
            schema: Some(schema()),
            ..named_set(with_schema, n)
        });
        let of_schema = session
            .create_batched(sets, Batched::new())
            .expect("sets with schemas");
        // From now on the tenant's number is known.
        session.count::<DataSet>(SetSelection::All).expect("a count");
        Mutex::new(Self {
            name,
            counting,
            session,
            store,
            asset: large,
            small,
            with_schema,
            of_schema,
        })
    }

    /// What `read` asks of the backend.
    fn measure<R>(&self, read: impl FnOnce(&Session) -> shelfmark::Result<R>) -> (R, Counts) {
        self.counting.reset();
        let result = read(&self.session).expect(self.name);
        (result, self.counting.counts())
    }

    fn names(&self, query: &Query<DataSet>) -> (Page<shelfmark::Named<SetId>>, Counts) {
        self.measure(|session| session.list_names(query))
    }

    /// A query that begins at depth 90,000, by cursor.
    fn deep(&self, query: &Query<DataSet>) -> Query<DataSet> {
        let page = self
            .session
            .list_names(&query.clone().page(DEEP - 1))
            .expect("a page");
        query.clone().cursor(page.next.expect("a next page"))
    }
}

fn named_set(asset: AssetId, n: u64) -> NewDataSet {
    NewDataSet {
        name: Some(format!("set {n:06}")),
        ..new_set(asset, &format!("{n:06}"))
    }
}

/// The catalogs, made once for all tests here; one test at a time counts.
fn each(test: impl Fn(&Large)) {
    static REDB: OnceLock<Mutex<Large>> = OnceLock::new();
    static MEMORY: OnceLock<Mutex<Large>> = OnceLock::new();
    let redb = || {
        let options = Options::new().cache_bytes(256 << 20);
        Large::new("redb", options.in_memory_backend().expect("a backend in memory"))
    };
    let memory = || Large::new("memory", Arc::new(MemoryBackend::new()));
    for large in [MEMORY.get_or_init(memory), REDB.get_or_init(redb)] {
        let large: MutexGuard<'_, Large> = large.lock().unwrap_or_else(PoisonError::into_inner);
        test(&large);
    }
}

/// What is left of the counts without these keyspaces.
#[track_caller]
fn assert_only(counts: &Counts, spaces: &[Keyspace]) {
    for (space, of_space) in counts.spaces().filter(|(space, _)| !spaces.contains(space)) {
        assert_eq!(of_space.rows_read() + of_space.scans, 0, "{space:?} in {counts}");
    }
}

#[test]
fn an_indexed_page_reads_the_same_rows_at_any_depth() {
    each(|large| {
        for (sort, space) in [
            ("name", Keyspace::SetByName),
            ("-name", Keyspace::SetByName),
            ("technicalName", Keyspace::SetByTechnicalName),
            ("-lastModifiedTime", Keyspace::SetByModified),
            ("", Keyspace::SetByAsset),
            ("-createdTime", Keyspace::SetByAsset),
            ("id", Keyspace::SetByAsset),
        ] {
            let query = Query::<DataSet>::of(large.asset).sort(sort);
            let (first, shallow) = large.names(&query);
            let (page, deep) = large.names(&large.deep(&query));
            assert_eq!((first.items.len(), page.items.len()), (20, 20));
            assert_eq!((page.page, page.total), (DEEP, Some(SETS)));
            assert_eq!(shallow, deep, "{} by {sort:?}", large.name);
            let index = deep.space(space);
            assert_eq!(index.scans, 1, "{deep}");
            assert!(index.visited <= 21, "{deep}");
            // Names are in the name index; in other orders each comes from its record.
            let records = if space == Keyspace::SetByName { 0 } else { 20 };
            assert_eq!(deep.space(Keyspace::Set).got, records, "{deep}");
            assert!(deep.total().rows_read() - records <= 25, "{deep}");
            assert_only(&deep, &[space, Keyspace::Set, Keyspace::Asset]);

            // And back again.
            let (back, backwards) = large.names(&query.clone().cursor(page.prev.expect("a page before")));
            assert_eq!(back.page, DEEP - 1);
            assert_eq!(backwards, deep, "{} by {sort:?}", large.name);
        }
    });
}

#[test]
fn ids_and_names_alone_read_no_record() {
    each(|large| {
        let query = Query::<DataSet>::of(large.asset).sort("name");
        for query in [query.clone(), large.deep(&query)] {
            let names = Projection::of(["id", "name"]);
            let (page, counts) = large.measure(|session| session.list_projected(&query, &names));
            let members: Vec<&str> = page.items[0].keys().map(String::as_str).collect();
            assert_eq!(members, ["id", "name"]);
            assert!(counts.total().rows_read() <= 25, "{counts}");
            assert_only(&counts, &[Keyspace::SetByName, Keyspace::Asset]);
        }
    });
}

#[test]
fn a_page_of_whole_entities_reads_one_record_for_each() {
    each(|large| {
        for (sort, space) in [("name", Keyspace::SetByName), ("", Keyspace::SetByAsset)] {
            let query = Query::<DataSet>::of(large.asset).sort(sort);
            let (_, shallow) = large.measure(|session| session.list(&query));
            let query = large.deep(&query);
            let (page, deep) = large.measure(|session| session.list(&query));
            assert_eq!(page.items.len(), 20);
            assert_eq!(shallow, deep, "{} by {sort:?}", large.name);
            assert!(deep.space(space).visited <= 25, "{deep}");
            let records = deep.space(Keyspace::Set);
            assert_eq!(
                (records.got, records.lookups, records.visited),
                (20, 1, 0),
                "{deep}"
            );
            // The parent is looked up, then each ancestor is read once for the page.
            assert_eq!(deep.space(Keyspace::Asset).got, 2, "{deep}");
            assert_eq!(deep.space(Keyspace::Store).got, 1, "{deep}");
            assert_only(&deep, &[space, Keyspace::Set, Keyspace::Asset, Keyspace::Store]);
        }
    });
}

#[test]
fn the_whole_tenant_in_creation_order_is_read_from_the_records_alone() {
    each(|large| {
        let query = Query::<DataSet>::new();
        let deep = large.deep(&query);
        for query in [query, deep] {
            let (page, counts) = large.measure(|session| session.list(&query));
            assert_eq!(page.items.len(), 20);
            let records = counts.space(Keyspace::Set);
            assert_eq!((records.visited, records.got), (21, 0), "{counts}");
            assert_only(&counts, &[Keyspace::Set, Keyspace::Asset, Keyspace::Store]);
        }
    });
}

#[test]
fn schemas_are_read_only_where_they_are_asked_for() {
    each(|large| {
        let of = large.with_schema;
        let query = Query::<DataSet>::of(of).sort("name");
        let schemas = |counts: &Counts| counts.space(Keyspace::SetSchema).rows_read();
        let (page, counts) = large.measure(|session| session.list(&query));
        assert_eq!((page.items[0].schema.is_some(), schemas(&counts)), (false, 0));
        let (page, counts) = large.measure(|session| session.list(&query.clone().with_schemas()));
        assert_eq!((page.items[0].schema.is_some(), schemas(&counts)), (true, 20));
        for (fields, rows) in [
            (vec!["name", "tags", "dataAssetInfo.name"], 0),
            (vec!["schema"], 20),
            (vec!["name", "schema.dataFields.name"], 20),
            (vec!["additionalSchemas"], 20),
        ] {
            let projection = Projection::of(fields.clone());
            let (_, counts) = large.measure(|session| session.list_projected(&query, &projection));
            assert_eq!(schemas(&counts), rows, "{fields:?}");
        }
        let (_, counts) = large.measure(|session| session.list_projected(&query, &Projection::all()));
        assert_eq!(schemas(&counts), 20);
        let (_, counts) = large.measure(|session| session.find_by_name::<DataSet>(of, "set 000003"));
        assert_eq!(schemas(&counts), 1);
    });
}

#[test]
fn one_entity_is_one_row_its_schemas_and_its_parents() {
    each(|large| {
        let rows = |counts: &Counts, space| counts.space(space).got;
        let set = large.of_schema[7];
        let (_, counts) = large.measure(|session| session.get(large.store));
        assert_eq!(counts.total().rows_read(), 1, "{counts}");
        let (_, counts) = large.measure(|session| session.get(large.asset));
        assert_eq!(rows(&counts, Keyspace::Asset), 1, "{counts}");
        assert_eq!(rows(&counts, Keyspace::Store), 1, "{counts}");
        assert_eq!(counts.total().rows_read(), 2, "{counts}");
        for (with_schemas, expected) in [(true, 4), (false, 3)] {
            let (found, counts) = large.measure(|session| {
                if with_schemas {
                    session.get(set)
                } else {
                    session.get_head(set)
                }
            });
            assert_eq!(found.map(|set| set.schema.is_some()), Some(with_schemas));
            for space in [Keyspace::Set, Keyspace::Asset, Keyspace::Store] {
                assert_eq!(rows(&counts, space), 1, "{counts}");
            }
            assert_eq!(rows(&counts, Keyspace::SetSchema), u64::from(with_schemas));
            assert_eq!(counts.total().rows_read(), expected, "{counts}");
            assert_eq!((counts.snapshots, counts.total().scans), (1, 0), "{counts}");
        }
        let (_, counts) = large.measure(|session| session.get_many(&large.of_schema));
        assert_eq!(counts.space(Keyspace::Set).lookups, 1, "{counts}");
        assert_eq!(rows(&counts, Keyspace::Asset), 1, "{counts}");
        assert_eq!(counts.total().rows_read(), 2 * WITH_SCHEMA + 2, "{counts}");
        for exists in [
            large.measure(|session| session.exists(large.store)),
            large.measure(|session| session.exists(large.asset)),
            large.measure(|session| session.exists(set)),
        ] {
            let (found, counts) = exists;
            assert!(found);
            assert_eq!(counts.total().rows_read(), 1, "{counts}");
        }
    });
}

#[test]
fn counts_and_totals_come_from_counters() {
    each(|large| {
        let all = SETS + PARENTS * SETS_OF_EACH + WITH_SCHEMA;
        let counts: [(u64, Counts, u64); 6] = {
            let stores = large.measure(|session| session.count::<shelfmark::DataStore>(AllStores));
            let assets = large.measure(|session| session.count::<shelfmark::DataAsset>(AssetSelection::All));
            let of_store = large.measure(|session| session.count::<shelfmark::DataAsset>(large.store));
            let sets = large.measure(|session| session.count::<DataSet>(SetSelection::All));
            let of_asset = large.measure(|session| session.count::<DataSet>(large.asset));
            let of_many = large.measure(|session| session.count::<DataSet>(large.small.clone()));
            [
                (stores.0, stores.1, 1),
                (assets.0, assets.1, PARENTS + 2),
                (of_store.0, of_store.1, PARENTS + 2),
                (sets.0, sets.1, all),
                (of_asset.0, of_asset.1, SETS),
                (of_many.0, of_many.1, PARENTS * SETS_OF_EACH),
            ]
        };
        for (found, counts, expected) in counts {
            assert_eq!(found, expected);
            assert_eq!(
                (counts.total().counts, counts.total().visited),
                (1, 0),
                "{counts}"
            );
            assert!(counts.total().got <= PARENTS, "{counts}");
        }
        let (page, counts) = large.names(&Query::of(large.asset).sort("name"));
        assert_eq!((page.total, counts.total().counts), (Some(SETS), 1));
        let (page, counts) = large.names(&Query::of(large.asset).sort("name").without_total());
        assert_eq!((page.total, counts.total().counts), (None, 0));
        let (page, counts) = large.names(&Query::of(large.asset).limit(0));
        assert_eq!((page.total, counts.total().visited <= 1), (Some(SETS), true));
    });
}

#[test]
fn a_list_over_several_parents_seeks_once_for_each_that_has_nothing_to_add() {
    each(|large| {
        for selection in [
            SetSelection::InAssets(large.small.clone()),
            SetSelection::InStores(vec![large.store]),
        ] {
            let parents = match &selection {
                SetSelection::InAssets(assets) => assets.len() as u64,
                _ => PARENTS + 2,
            };
            let query = Query::<DataSet>::of(selection).sort("name");
            let shallow = large.names(&query);
            let deep = {
                let page = large.session.list_names(&query.clone().page(60));
                let cursor = page.expect("a page").next.expect("a next page");
                large.names(&query.clone().cursor(cursor))
            };
            for (page, counts) in [&shallow, &deep] {
                assert_eq!(page.items.len(), 20);
                let index = counts.space(Keyspace::SetByName);
                // One more for each parent that gave a row, to read ahead.
                assert!(index.scans >= parents, "{counts}");
                assert!(index.scans <= parents + 21, "{counts}");
                assert!(index.visited <= parents + 21 * 16, "{counts}");
                assert_eq!(counts.space(Keyspace::Set).rows_read(), 0, "{counts}");
            }
        }
    });
}

#[test]
fn a_cascade_reads_and_writes_in_proportion_to_the_children() {
    each(|large| {
        let cost = |children: u64| {
            let session = &large.session;
            let asset = session
                .create(new_asset(large.store, "doomed"))
                .expect("an asset");
            let sets = (0..children).map(|n| named_set(asset.id, n));
            session.create_batched(sets, Batched::new()).expect("sets");
            let (deleted, counts) = large.measure(|session| session.delete(asset.id, Expectation::Any));
            assert_eq!((deleted.assets, deleted.sets), (1, children));
            assert_eq!(counts.commits, 1);
            counts.total()
        };
        let (few, many) = (cost(100), cost(1_000));
        // The index row, the head; the head, the schema, and what lies apart from the parent.
        let per_child = |one: u64, other: u64| (other - one).div_ceil(900);
        assert!(per_child(few.rows_read(), many.rows_read()) <= 2, "{few}; {many}");
        assert!(
            per_child(few.rows_written(), many.rows_written()) <= 3,
            "{few}; {many}"
        );
        assert!(few.rows_read() <= 2 * 100 + 10, "{few}");
        assert_eq!(few.range_deletes, many.range_deletes);
        // By the same code as far as reading goes, and nothing is written.
        let (would, counts) =
            large.measure(|session| session.would_delete([(large.small[0], Expectation::Any)]));
        assert_eq!((would.assets, would.sets), (1, SETS_OF_EACH));
        assert_eq!((counts.commits, counts.total().rows_written()), (0, 0));
    });
}
