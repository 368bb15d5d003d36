//! What a query says of its cost before it is run.

use std::sync::Arc;

use shelfmark::backend::Backend;
use shelfmark::{
    AssetId, AssetSelection, DataAsset, DataSet, DataStore, Entity, ErrorKind, Filter, JsonText, NewDataSet,
    Query, Read, Session, SetSelection, StoreId, Write,
};
use shelfmark_testkit::{CountingBackend, MemoryBackend};

use crate::support::{catalog_on, new_asset, new_set, new_store, schema, session};

const STORES: usize = 3;
const ASSETS: usize = 12;
const SETS: usize = 240;

struct Bed {
    counting: CountingBackend,
    session: Session,
    stores: Vec<StoreId>,
    assets: Vec<AssetId>,
}

/// Sets with schemas, in turn under assets, in turn under stores.
fn bed() -> Bed {
    let memory: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let counting = CountingBackend::new(memory);
    let backend: Arc<dyn Backend> = Arc::new(counting.clone());
    let session = session(&catalog_on(&backend), "acme");
    let made = session.transact(|transaction| {
        let mut stores = Vec::new();
        for n in 0..STORES {
            stores.push(transaction.create(new_store(&format!("store {n}")))?.id);
        }
        let mut assets = Vec::new();
        for n in 0..ASSETS {
            let asset = new_asset(stores[n % STORES], &format!("asset {n}"));
            assets.push(transaction.create(asset)?.id);
        }
        for n in 0..SETS {
            transaction.create(NewDataSet {
                schema: Some(schema()),
                ..new_set(assets[n % ASSETS], &format!("set {n}"))
            })?;
        }
        Ok((stores, assets))
    });
    let (stores, assets) = made.expect("entities");
    // The tenant's number is looked up once.
    session.count::<DataStore>(shelfmark::AllStores).expect("a count");
    Bed {
        counting,
        session,
        stores,
        assets,
    }
}

/// Pages by number and by cursor: each must stay within what its query says.
fn check<E: Entity>(bed: &Bed, selection: &E::Selection) {
    for sort in ["", "-createdTime", "name", "-technicalName", "lastModifiedTime"] {
        for (limit, schemas) in [(1, false), (7, true), (100, true)] {
            let mut query = Query::<E>::of(selection.clone()).sort(sort).limit(limit);
            if schemas {
                query = query.with_schemas();
            }
            let at = |page| query.clone().page(page);
            let mut queries = vec![at(0), at(2), at(1_000)];
            let mut followed = 0;
            while let Some(query) = queries.pop() {
                let Some(most) = query.most_rows() else { continue };
                bed.counting.reset();
                let page = bed
                    .session
                    .list_json(&query, &mut JsonText::new())
                    .expect("a page");
                let read = bed.counting.counts().total().rows_read();
                assert!(read <= most, "{read} rows, not {most}: {query:?}");
                if followed < 3 {
                    followed += 1;
                    queries.extend(page.next.map(|next| query.clone().cursor(next)));
                }
            }
        }
    }
}

#[test]
fn a_page_reads_no_more_rows_than_its_query_says() {
    let bed = bed();
    let Bed { stores, assets, .. } = &bed;
    check::<DataStore>(&bed, &shelfmark::AllStores);
    check::<DataAsset>(&bed, &AssetSelection::All);
    check::<DataAsset>(&bed, &AssetSelection::InStores(stores.clone()));
    check::<DataAsset>(&bed, &stores[0].into());
    check::<DataSet>(&bed, &SetSelection::All);
    check::<DataSet>(&bed, &SetSelection::InAssets(assets.clone()));
    check::<DataSet>(&bed, &assets[0].into());
    let (stores, assets) = (stores.clone(), assets.clone());
    check::<DataSet>(&bed, &SetSelection::Within { stores, assets });
}

#[test]
fn what_only_the_catalog_could_tell_is_not_said() {
    let Bed { stores, .. } = bed();
    assert_eq!(Query::<DataSet>::of(stores[0]).most_rows(), None);
    assert_eq!(Query::<DataSet>::new().sort("name").most_rows(), None);
    assert_eq!(Query::<DataStore>::new().sort("type").most_rows(), None);
    let filtered = Query::<DataStore>::new().filter(Filter::new().tag("gold"));
    assert_eq!(filtered.most_rows(), None);
    let unknown = Query::<DataStore>::new().sort("nothing");
    assert_eq!(unknown.most_rows(), None);
    // A page is as short as an offset is not.
    let most = |page| Query::<DataStore>::new().limit(20).page(page).most_rows();
    assert!(most(0).is_some_and(|rows| rows < 100));
    assert!(most(1_000).is_some_and(|rows| rows > 20_000));
    assert_eq!(most(u64::MAX), Some(u64::MAX));
}

#[test]
fn a_bounded_text_is_given_up_soon_after_its_bound() {
    let bed = bed();
    let (session, store) = (&bed.session, bed.stores[0]);
    for sort in ["", "name"] {
        let query = Query::<DataSet>::of(bed.assets[0]).sort(sort).with_schemas();
        let mut whole = JsonText::new();
        session.list_json(&query, &mut whole).unwrap();
        let whole = whole.into_bytes();
        for most in [0, 100, whole.len() / 2, whole.len() - 2] {
            let mut text = JsonText::at_most(most);
            let error = session.list_json(&query, &mut text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{most}");
            let behind = text.into_bytes().len().saturating_sub(most);
            assert!(behind < 2_000, "{behind} bytes behind {most}");
        }
        let mut text = JsonText::at_most(whole.len());
        session.list_json(&query, &mut text).unwrap();
        assert_eq!(text.into_bytes(), whole);
    }
    let mut text = JsonText::at_most(100);
    let error = session.get_json(store, true, &mut text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}
