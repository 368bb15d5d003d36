//! Lists: what they cost, how deep they go, and how one gets back.

use std::sync::Arc;

use proptest::prelude::*;
use shelfmark::backend::{Backend, Keyspace};
use shelfmark::{
    AssetId, Catalog, Cursor, DataAsset, DataSet, DataStore, Expectation, Filter, NewDataSet, NewDataStore,
    Options, Page, Query, Read, Session, StoreId, Timestamp, Write,
};
use shelfmark_testkit::{CountingBackend, Counts, MemoryBackend};

use crate::support::{Bed, catalog_on, new_asset, new_set, new_store, schema, session};

/// Sets spread over many assets, on a backend that counts.
struct Spread {
    counting: CountingBackend,
    session: Session,
    store: StoreId,
    sets: u64,
}

const ASSETS: u64 = 40;

impl Spread {
    /// Every second set is tagged and has a schema.
    fn new(sets: u64) -> Self {
        let memory: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
        let counting = CountingBackend::new(memory);
        let backend: Arc<dyn Backend> = Arc::new(counting.clone());
        let session = session(&catalog_on(&backend), "acme");
        let store = session.create(new_store("warehouse")).expect("a store").id;
        let assets: Vec<AssetId> = (0..ASSETS)
            .map(|n| {
                session
                    .create(new_asset(store, &format!("asset {n}")))
                    .expect("an asset")
                    .id
            })
            .collect();
        session
            .transact(|transaction| {
                for n in 0..sets {
                    let odd = n % 2 == 1;
                    transaction.create(NewDataSet {
                        name: Some(format!("{:05}", n * 7_919 % 100_003)),
                        tags: if odd { vec!["odd".into()] } else { Vec::new() },
                        schema: odd.then(schema),
                        ..new_set(assets[(n % ASSETS) as usize], &format!("set {n}"))
                    })?;
                }
                Ok(())
            })
            .expect("sets");
        Self {
            counting,
            session,
            store,
            sets,
        }
    }

    /// What `read` asks of the backend.
    fn measure<R>(&self, read: impl FnOnce(&Session) -> R) -> (R, Counts) {
        self.counting.reset();
        let result = read(&self.session);
        (result, self.counting.counts())
    }
}

fn odd() -> Filter {
    Filter::new().tag("odd")
}

#[test]
fn a_sort_without_an_index_reads_no_view_from_inside_its_own_visitor() {
    // The memory backend panics where one does.
    let spread = Spread::new(1_500);
    for sort in [
        "qri",
        "-description",
        "dataAssetInfo.name",
        "schema.schemaName",
        "-schema.schemaName,dataAssetInfo.dataStoreInfo.type",
    ] {
        for filter in [Filter::new(), odd()] {
            let matching = if filter == odd() { 750 } else { 1_500 };
            for query in [Query::<DataSet>::new(), Query::of(spread.store)] {
                let query = query.sort(sort).filter(filter.clone()).limit(2_000);
                let page = spread.session.list(&query).unwrap();
                assert_eq!((page.items.len(), page.total), (matching, Some(matching as u64)));
            }
        }
    }
}

#[test]
fn several_parents_are_sought_once_a_list_whatever_its_length() {
    let spread = Spread::new(2_000);
    let query = Query::<DataSet>::of(spread.store);
    let page = |query: Query<DataSet>| move |session: &Session| session.list(&query).unwrap().items.len();
    let stream = |query: Query<DataSet>| {
        move |session: &Session| session.stream(&query).unwrap().filter(|set| set.is_ok()).count()
    };
    let scans = |counts: &Counts, space| counts.space(space).scans;

    let (found, counts) = spread.measure(page(query.clone().sort("name").filter(odd()).limit(3_000)));
    assert_eq!(found, 1_000);
    // One row of each parent, then runs of 16.
    let runs = ASSETS * (2 + spread.sets / ASSETS / 16);
    assert!(scans(&counts, Keyspace::SetByName) <= runs, "{counts}");
    assert!(counts.space(Keyspace::Set).got <= spread.sets + 1_000, "{counts}");

    let (found, counts) = spread.measure(page(query.clone().sort("qri").limit(3_000)));
    assert_eq!(found, 2_000);
    // Another is of the store's assets.
    assert!(scans(&counts, Keyspace::SetByAsset) <= 2 * ASSETS, "{counts}");

    for query in [query.clone().sort("-name"), query.sort("name").filter(odd())] {
        let matching = if query == query.clone().filter(odd()) {
            1_000
        } else {
            2_000
        };
        let (found, counts) = spread.measure(stream(query));
        assert_eq!(found, matching);
        assert!(scans(&counts, Keyspace::SetByName) <= runs, "{counts}");
    }
}

#[test]
fn a_total_with_a_filter_is_counted_in_the_pass_that_finds_the_page() {
    let spread = Spread::new(1_000);
    for query in [
        Query::<DataSet>::new(),
        Query::new().sort("-name"),
        Query::of(spread.store),
    ] {
        let query = query.filter(odd()).limit(20);
        let (first, counts) = spread.measure(|session| session.list(&query).unwrap());
        assert_eq!((first.items.len(), first.total), (20, Some(500)));
        assert!(
            counts.space(Keyspace::Set).rows_read() <= spread.sets + 20,
            "{counts}"
        );

        let next = query.clone().cursor(first.next.clone().unwrap());
        let (second, counts) = spread.measure(|session| session.list(&next).unwrap());
        assert_eq!(
            (second.items.len(), second.total, second.page),
            (20, Some(500), 1)
        );
        assert!(
            counts.space(Keyspace::Set).rows_read() <= spread.sets + 20,
            "{counts}"
        );
        assert_eq!(
            second.items,
            spread.session.list(&query.clone().page(1)).unwrap().items
        );
        assert_eq!(
            second.items,
            spread.session.list(&next.clone().without_total()).unwrap().items
        );

        let (back, _) =
            spread.measure(|session| session.list(&query.clone().cursor(second.prev.unwrap())).unwrap());
        assert_eq!((back.items, back.total), (first.items, Some(500)));

        let (_, counts) = spread.measure(|session| session.list(&query.clone().without_total()).unwrap());
        assert!(counts.space(Keyspace::Set).rows_read() <= 256 + 20, "{counts}");
    }
}

#[test]
fn a_cursor_leads_on_whichever_index_is_walked() {
    let spread = Spread::new(1_500);
    let since = Timestamp::from_millis(0).unwrap();
    let filters = [
        // Of this a tenth comes through, of the others more than is sorted for a page alone.
        Filter::new().name_prefix("0"),
        Filter::new().name_prefix(""),
        Filter::new().modified_since(since).tag("odd"),
    ];
    for (filter, sort) in filters.iter().flat_map(|filter| {
        [
            "-technicalName",
            "createdTime",
            "-lastModifiedTime",
            "name",
            "-id",
        ]
        .map(|sort| (filter, sort))
    }) {
        let query = Query::<DataSet>::of(spread.store)
            .sort(sort)
            .filter(filter.clone());
        let all = spread.session.list(&query.clone().limit(2_000)).unwrap();
        let other = format!("{sort},{}id", if sort.starts_with('-') { '+' } else { '-' });
        let unindexed = spread
            .session
            .list(&query.clone().sort(other).limit(2_000))
            .unwrap();
        assert_eq!(
            (all.total, all.items.len()),
            (unindexed.total, unindexed.items.len()),
            "{sort}"
        );
        assert_eq!(all.total, Some(all.items.len() as u64));
        let (mut page, mut found) = (spread.session.list(&query.clone().limit(70)).unwrap(), Vec::new());
        loop {
            found.extend(page.items);
            let Some(next) = page.next else { break };
            let mut query = query.clone().limit(70).cursor(next);
            if page.page % 2 == 0 {
                query = query.without_total();
            }
            page = spread.session.list(&query).unwrap();
            assert!(page.total.is_none_or(|total| Some(total) == all.total));
        }
        assert!(found == all.items, "{sort} {filter:?}");
        let (mut back, mut pages) = (page.prev, 0);
        while let Some(prev) = back {
            pages += 1;
            let mut query = query.clone().limit(70).cursor(prev);
            if pages % 2 == 0 {
                query = query.without_total();
            }
            let page = spread.session.list(&query).unwrap();
            let start = usize::try_from(page.page).unwrap() * 70;
            assert!(page.items == all.items[start..start + 70], "{sort} {filter:?}");
            back = page.prev;
        }
        assert_eq!(pages, (all.items.len() - 1) / 70);
        let streamed: Vec<DataSet> = spread
            .session
            .stream(&query)
            .unwrap()
            .map(|set| set.unwrap())
            .collect();
        assert!(streamed == all.items, "{sort} {filter:?}");
    }
}

#[test]
fn a_page_without_a_total_reads_no_more_than_it_must() {
    let spread = Spread::new(2_000);
    let query = Query::<DataSet>::of(spread.store)
        .sort("technicalName")
        .without_total();
    let records = |filter: Filter| {
        let query = query.clone().filter(filter);
        let (page, counts) = spread.measure(|session| session.list(&query).unwrap());
        assert_eq!((page.items.len(), page.total), (20, None));
        counts.space(Keyspace::Set).got
    };
    // Wide filters: a chunk in the order of the sort.
    assert!(records(Filter::new().name_prefix("")) <= 256 + 20);
    assert!(records(Filter::new().modified_since(Timestamp::from_millis(0).unwrap())) <= 256 + 20);
    // A narrow one: what it lets through is sorted.
    let narrow = Filter::new().name_prefix("00");
    let matching = spread
        .session
        .list(&Query::<DataSet>::new().filter(narrow.clone()))
        .unwrap()
        .total;
    assert_eq!(records(narrow), matching.unwrap() + 20);
}

#[test]
fn names_come_as_entities_do_wherever_they_are_found() {
    let spread = Spread::new(240);
    let first = spread
        .session
        .list(&Query::<DataAsset>::of(spread.store))
        .unwrap()
        .items[0]
        .id;
    let selections = [
        (Query::<DataSet>::of(first).limit(4), "one parent"),
        (Query::of(spread.store).limit(29), "many parents"),
        (Query::new().limit(29), "all"),
    ];
    for (query, selected) in selections {
        for sort in ["name", "-name", "-technicalName", "description"] {
            for filter in [Filter::new(), Filter::new().name_prefix("0"), odd()] {
                let query = query.clone().sort(sort).filter(filter);
                let mut at = query.clone();
                let mut pages = 0;
                loop {
                    let whole = spread.session.list(&at).unwrap();
                    let named = spread.session.list_names(&at).unwrap();
                    let expected: Vec<_> = whole.items.iter().map(|set| (set.id, set.name.clone())).collect();
                    let found: Vec<_> = named.items.iter().map(|set| (set.id, set.name.clone())).collect();
                    assert_eq!(found, expected, "{selected} by {sort}, page {pages}");
                    assert_eq!(
                        (named.total, named.page, &named.next, &named.prev),
                        (whole.total, whole.page, &whole.next, &whole.prev)
                    );
                    // The same page by its number, and from behind.
                    let numbered = spread.session.list_names(&query.clone().page(pages)).unwrap();
                    assert_eq!(numbered.items, named.items);
                    let Some(next) = named.next else { break };
                    at = query.clone().cursor(next);
                    let behind = spread.session.list_names(&at).unwrap();
                    let back = query.clone().cursor(behind.prev.unwrap());
                    assert_eq!(spread.session.list_names(&back).unwrap().items, named.items);
                    pages += 1;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Records of one parent lie together, apart, or both.
    #[test]
    fn names_in_creation_order_come_as_entities_do_however_records_lie(
        runs in proptest::collection::vec((any::<bool>(), prop_oneof![1..4_usize, 1..120_usize]), 1..12),
        gone in 2..40_usize,
        limit in prop_oneof![Just(63_usize), Just(64), 65..200_usize],
    ) {
        let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
        let store = session.create(new_store("store")).unwrap().id;
        let assets = ["one", "two"].map(|name| session.create(new_asset(store, name)).unwrap().id);
        let parents = runs.iter().flat_map(|&(second, run)| std::iter::repeat_n(assets[usize::from(second)], run));
        let new = parents.enumerate().map(|(n, asset)| NewDataSet {
            name: (n % 7 > 0).then(|| format!("Set {n}")),
            ..new_set(asset, &format!("set {n}"))
        });
        let sets = session.create_all(new.collect::<Vec<_>>()).unwrap();
        for &set in sets.iter().step_by(gone) {
            session.delete(set, Expectation::Any).unwrap();
        }
        for asset in assets {
            for sort in ["createdTime", "-createdTime"] {
                let query = Query::<DataSet>::of(asset).sort(sort).limit(limit);
                let mut at = query.clone();
                loop {
                    let whole = session.list(&at).unwrap();
                    let named = session.list_names(&at).unwrap();
                    let expected: Vec<_> = whole.items.iter().map(|set| (set.id, set.name.clone())).collect();
                    let found: Vec<_> = named.items.iter().map(|set| (set.id, set.name.clone())).collect();
                    prop_assert_eq!(found, expected);
                    prop_assert_eq!(
                        (named.total, named.page, &named.next, &named.prev),
                        (whole.total, whole.page, &whole.next, &whole.prev)
                    );
                    let Some(next) = named.next else { break };
                    at = query.clone().cursor(next);
                    let back = query.clone().cursor(session.list_names(&at).unwrap().prev.unwrap());
                    prop_assert_eq!(session.list_names(&back).unwrap().items, named.items);
                }
            }
        }
    }
}

#[test]
fn names_of_children_that_lie_together_are_read_without_their_index() {
    let memory: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let counting = CountingBackend::new(memory);
    let backend: Arc<dyn Backend> = Arc::new(counting.clone());
    let session = session(&catalog_on(&backend), "acme");
    let store = session.create(new_store("warehouse")).unwrap().id;
    let asset = session.create(new_asset(store, "asset")).unwrap().id;
    let new = (0..300).map(|n| new_set(asset, &format!("set {n}")));
    session.create_all(new.collect::<Vec<_>>()).unwrap();
    let query = Query::<DataSet>::of(asset).limit(100).without_total();
    counting.reset();
    assert_eq!(session.list_names(&query).unwrap().items.len(), 100);
    let counts = counting.counts();
    // Both ends of the range, then the page and the one that tells of more.
    assert_eq!(counts.space(Keyspace::SetByAsset).visited, 2, "{counts}");
    assert_eq!(counts.space(Keyspace::Set).visited, 101, "{counts}");
}

#[test]
fn a_sort_over_most_of_a_kind_reads_its_rows_alone() {
    let spread = Spread::new(1_000);
    let all = Query::<DataSet>::of(spread.store).sort("description").limit(20);
    let (_, counts) = spread.measure(|session| session.list_names(&all).unwrap());
    assert_eq!(counts.space(Keyspace::SetByAsset).visited, 0, "{counts}");
    assert_eq!(counts.space(Keyspace::Set).scans, 1, "{counts}");
    // Of few, what the index tells of.
    let assets = spread
        .session
        .list(&Query::<DataAsset>::of(spread.store))
        .unwrap();
    let of_one = Query::<DataSet>::of(assets.items[0].id)
        .sort("description")
        .limit(20);
    let (page, counts) = spread.measure(|session| session.list(&of_one).unwrap());
    let children = page.total.unwrap();
    assert!(
        page.items
            .iter()
            .all(|set| set.data_asset_info.id == assets.items[0].id)
    );
    assert_eq!(counts.space(Keyspace::SetByAsset).visited, children, "{counts}");
    assert!(
        counts.space(Keyspace::Set).rows_read() <= children + 20,
        "{counts}"
    );
}

#[test]
fn sets_of_others_stay_out_of_what_reads_all_rows_and_out_of_a_cascade() {
    let memory: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    for backend in [
        memory,
        Options::new().in_memory_backend().expect("a backend in memory"),
    ] {
        let session = session(&catalog_on(&backend), "acme");
        let store = session.create(new_store("warehouse")).unwrap().id;
        let [large, small] =
            ["large", "small"].map(|name| session.create(new_asset(store, name)).unwrap().id);
        for n in 0..30 {
            let asset = if n % 3 == 1 { small } else { large };
            session
                .create(NewDataSet {
                    tags: vec![format!("tag {}", n % 2)],
                    description: Some(format!("{}", 99 - n)),
                    ..new_set(asset, &format!("set {n}"))
                })
                .unwrap();
        }
        for (asset, count) in [(large, 20), (small, 10)] {
            for sort in ["description", "-description", "qri,-name", "ownerId"] {
                let query = Query::<DataSet>::of(asset).sort(sort).limit(50);
                let page = session.list(&query).unwrap();
                assert_eq!(
                    (page.items.len() as u64, page.total),
                    (count, Some(count)),
                    "{sort}"
                );
                assert!(page.items.iter().all(|set| set.data_asset_info.id == asset));
                let tagged = session.list(&query.filter(Filter::new().tag("tag 1"))).unwrap();
                assert_eq!(tagged.total, Some(count / 2), "{sort}");
            }
        }
        session.delete(large, Expectation::Any).unwrap();
        let left = session.list(&Query::<DataSet>::new().limit(50)).unwrap();
        assert_eq!(left.total, Some(10));
        assert_eq!(left.items.len(), 10);
        assert!(left.items.iter().all(|set| set.data_asset_info.id == small));
        // Those that are left lie together.
        session.delete(small, Expectation::Any).unwrap();
        assert_eq!(session.list(&Query::<DataSet>::new()).unwrap().items, []);
    }
}

#[test]
fn an_emptied_page_has_a_way_back() {
    let sorts = ["", "-createdTime", "name", "-name", "type", "-type"];
    let filters = [Filter::new(), odd(), Filter::new().name_prefix("0")];
    for (sort, filter) in sorts
        .iter()
        .flat_map(|sort| filters.iter().map(move |filter| (*sort, filter)))
    {
        let catalog = Bed::in_memory().catalog();
        let session = session(&catalog, "acme");
        for n in 0..9 {
            let new = NewDataStore {
                name: Some(format!("0{n}")),
                tags: vec!["odd".into()],
                ..new_store(&format!("store {n}"))
            };
            session.create(new).unwrap();
        }
        let query = Query::<DataStore>::new()
            .sort(sort)
            .filter(filter.clone())
            .limit(3);
        let list = |query: &Query<DataStore>| session.list(query).unwrap();
        let follow = |cursor: &Option<Cursor>| list(&query.clone().cursor(cursor.clone().expect("a cursor")));
        let ids = |page: &Page<DataStore>| page.items.iter().map(|store| store.id).collect::<Vec<_>>();
        let all: Vec<StoreId> = ids(&list(&query.clone().limit(9)));
        let second = list(&query.clone().page(1));

        let delete = |ids: &[StoreId]| {
            let ids = ids.iter().map(|&id| (id, Expectation::Any));
            session.delete_all(ids).unwrap();
        };

        // All behind goes, so `next` is empty; its `prev` shows the second page, the one at the edge included.
        delete(&all[6..]);
        let empty = follow(&second.next);
        assert_eq!(
            (ids(&empty), empty.page, empty.total),
            (Vec::new(), 2, Some(6)),
            "{sort}"
        );
        assert_eq!(empty.next, None);
        let back = follow(&empty.prev);
        assert_eq!(
            (ids(&back), back.page),
            (all[3..6].to_vec(), 1),
            "{sort} {filter:?}"
        );
        // It leads on as any other.
        assert_eq!(ids(&follow(&back.prev)), all[..3], "{sort}");

        // All before goes, so `prev` is empty; its `next` shows the page that led to it.
        delete(&all[..3]);
        let empty = follow(&back.prev);
        assert_eq!(
            (ids(&empty), empty.page, &empty.prev),
            (Vec::new(), 0, &None),
            "{sort}"
        );
        let forth = follow(&empty.next);
        assert_eq!(
            (ids(&forth), forth.page),
            (all[3..6].to_vec(), 1),
            "{sort} {filter:?}"
        );

        // With nothing left either way, one is led back and forth, and no further.
        delete(&all[3..6]);
        let empty = follow(&second.next);
        let before = follow(&empty.prev);
        assert_eq!((ids(&before), &before.prev), (Vec::new(), &None));
        // What comes later at the end is found from there.
        assert!(follow(&before.next).prev.is_some());
        // By number there is no edge to turn round at.
        let past = list(&query.clone().page(2));
        assert_eq!((ids(&past), past.prev, past.next), (Vec::new(), None, None));
    }
}
