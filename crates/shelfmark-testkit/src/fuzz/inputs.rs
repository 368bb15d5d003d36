//! What callers hand in as text: patches, cursors, sorts, projections, positions, names, descriptors.

use shelfmark::{
    Catalog, Cursor, DataAsset, DataSet, DataStore, DroppedPosition, DroppedQuery, Entity, Expectation,
    Filter, IdempotencyKey, NewDataStore, Patch, Position, Projection, Query, Read, Session, Timestamp,
    TypedId, Write,
};
use shelfmark_datapackage::Importer;

use super::fixture::{Fixture, session, typed};
use super::sure;

/// A JSON patch, applied to a store, an asset and a set: all of it or nothing.
pub fn patch(bytes: &[u8]) {
    let Some(patch) = typed(Patch::from_json(bytes)) else {
        return;
    };
    let again = sure(serde_json::to_vec(&patch));
    assert!(
        sure(Patch::from_json(&again)) == patch,
        "as text it is another patch"
    );
    let fixture = Fixture::get();
    let catalog = sure(Fixture::open(&fixture.rows));
    let session = session(&catalog);
    patch_one(&session, fixture.store, &patch);
    patch_one(&session, fixture.asset, &patch);
    patch_one(&session, fixture.set, &patch);
    clean(&catalog);
}

fn patch_one<I: TypedId>(session: &Session, id: I, patch: &Patch)
where
    I::Entity: PartialEq,
{
    let before = sure(session.get(id));
    let version = |entity: &Option<I::Entity>| entity.as_ref().map(shown);
    match typed(session.patch(id, Expectation::Any, patch)) {
        Some(after) => {
            let now = sure(session.get(id));
            assert!(now.as_ref() == Some(&after), "it is not what the patch gave");
            let changed = version(&now) != version(&before);
            assert_eq!(
                changed,
                now != before,
                "a change of the version alone, or of all but the version"
            );
        }
        None => assert!(
            sure(session.get(id)) == before,
            "a refused patch changed something"
        ),
    }
}

/// The version as JSON has it.
fn shown<E: Entity>(entity: &E) -> serde_json::Value {
    sure(serde_json::to_value(entity))["version"].clone()
}

/// What a caller passes on as text: the first byte says as what.
pub fn text(bytes: &[u8]) {
    let Some((&kind, rest)) = bytes.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let fixture = Fixture::get();
    let catalog = sure(Fixture::open(&fixture.rows));
    let session = session(&catalog);
    match kind % 8 {
        0 => queries(
            &session,
            |query| query.sort(text),
            |query| query.sort(text),
            |query| query.sort(text),
        ),
        1 => {
            let projection = Projection::of(text.split(','));
            typed(session.list_projected(&Query::<DataStore>::new(), &projection));
            typed(session.list_projected(&Query::<DataAsset>::new(), &projection));
            typed(session.list_projected(&Query::<DataSet>::new(), &projection));
        }
        2 => {
            if let Some(cursor) = typed(text.parse::<Cursor>()) {
                assert!(sure(cursor.to_string().parse::<Cursor>()) == cursor);
                let with = cursor.clone();
                queries(
                    &session,
                    |query| query.sort("name").cursor(with),
                    |query| query.cursor(cursor.clone()),
                    |query| query.sort("-technicalName").limit(1).cursor(cursor.clone()),
                );
            }
        }
        3 => {
            if let Some(position) = typed(text.parse::<Position>()) {
                assert_eq!(sure(position.to_string().parse::<Position>()), position);
                typed(session.changes(position, 3));
            }
        }
        4 => {
            if let Some(position) = typed(text.parse::<DroppedPosition>()) {
                assert_eq!(sure(position.to_string().parse::<DroppedPosition>()), position);
                typed(session.list_dropped(&DroppedQuery::new().after(position)));
            }
        }
        5 => names(&catalog, text),
        6 => {
            let filter = Filter::new().name_prefix(text).tag(text);
            typed(session.list(&Query::<DataSet>::new().filter(filter)));
            typed(session.find_by_name::<DataSet>(fixture.asset, text));
            typed(session.find_by_technical_name::<DataSet>(fixture.asset, text));
            typed(session.find_by_secure_qri(text));
        }
        _ => {
            if let Ok(time) = text.parse::<Timestamp>() {
                assert_eq!(time.to_string().parse::<Timestamp>().ok(), Some(time), "{time}");
                typed(session.list(&Query::<DataSet>::new().filter(Filter::new().modified_since(time))));
            }
            if let Some(key) = typed(IdempotencyKey::new(text)) {
                typed(session.create_once(&key, NewDataStore::new("keyed", "postgres")));
                typed(session.create_once(&key, NewDataStore::new("keyed", "postgres")));
                clean(&catalog);
            }
        }
    }
}

fn queries(
    session: &Session,
    stores: impl FnOnce(Query<DataStore>) -> Query<DataStore>,
    assets: impl FnOnce(Query<DataAsset>) -> Query<DataAsset>,
    sets: impl FnOnce(Query<DataSet>) -> Query<DataSet>,
) {
    walk(session, stores(Query::new()));
    walk(session, assets(Query::new()));
    walk(session, sets(Query::new()));
}

fn walk<E: Entity>(session: &Session, query: Query<E>) {
    if let Some(page) = typed(session.list(&query))
        && let Some(next) = page.next
    {
        sure(session.list(&query.cursor(next)));
    }
}

/// A tenant, an actor, and a name of every kind: what was taken is found again.
fn names(catalog: &Catalog, text: &str) {
    let Some(session) = typed(catalog.session(text, text)) else {
        return;
    };
    let new = NewDataStore {
        name: Some(text.to_owned()),
        description: Some(text.to_owned()),
        tags: vec![text.to_owned()],
        ..NewDataStore::new(text, text)
    };
    if let Some(store) = typed(session.create(new)) {
        let all = shelfmark::AllStores;
        let found = sure(session.find_by_name::<DataStore>(all, text));
        assert!(found.contains(&store), "not found by its name {text:?}");
        let found = sure(session.find_by_technical_name::<DataStore>(all, text));
        assert!(found.contains(&store), "not found by its technical name {text:?}");
        let filter = Filter::new().name_prefix(text).tag(text).type_name(text);
        let found = sure(session.list(&Query::<DataStore>::new().filter(filter).limit(100)));
        assert!(found.items.contains(&store), "not found by a filter on {text:?}");
        sure(session.delete(store.id, store.version));
    }
    clean(catalog);
}

/// Descriptors of data packages, one a line. What the report says is stored is there, and nothing else.
pub fn data_package(bytes: &[u8]) {
    let catalog = sure(Catalog::in_memory());
    let session = session(&catalog);
    let stored = match Importer::new(&session).chunk(2).import_reader(bytes) {
        Ok(report) => report,
        Err(error) => {
            error.catalog().map(|error| typed::<()>(Err(copy(error))));
            error.stored().clone()
        }
    };
    let stats = sure(catalog.stats());
    let told = (stored.stores_created, stored.packages, stored.resources);
    assert_eq!((stats.stores, stats.assets, stats.sets), told, "{stored:?}");
    clean(&catalog);
}

/// An error of the same kind: errors cannot be cloned.
fn copy(error: &shelfmark::Error) -> shelfmark::Error {
    shelfmark::Error::new(error.kind(), error.to_string())
}

#[track_caller]
fn clean(catalog: &Catalog) {
    let report = sure(catalog.check());
    assert!(report.is_clean(), "{:?}", report.findings);
}
