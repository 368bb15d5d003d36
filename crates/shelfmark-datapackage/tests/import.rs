//! Imports: what becomes of descriptors, what is refused, and that nothing is lost.

#[path = "import/bundled.rs"]
mod bundled;
#[path = "import/mapping.rs"]
mod mapping;
#[path = "import/owid.rs"]
mod owid;
#[path = "import/properties.rs"]
mod properties;
#[path = "import/refusals.rs"]
mod refusals;

use serde_json::Value;
use shelfmark::{
    AllStores, AssetSelection, Catalog, DataAsset, DataSet, DataStore, Query, Read, Session, SetSelection,
};
use shelfmark_datapackage::{ImportError, ImportReport, Importer};

/// A catalog in memory and a session on it.
#[expect(clippy::expect_used, reason = "a test cannot go on without")]
fn catalog() -> (Catalog, Session) {
    let catalog = Catalog::in_memory().expect("a catalog");
    let session = catalog.session("acme", "ann").expect("a session");
    (catalog, session)
}

/// Imports one document a line.
fn import(session: &Session, documents: &[Value]) -> Result<ImportReport, ImportError> {
    let lines: Vec<String> = documents.iter().map(Value::to_string).collect();
    Importer::new(session).import_reader(lines.join("\n").as_bytes())
}

/// How many stores, assets and sets there are.
#[expect(clippy::expect_used, reason = "a test cannot go on without")]
fn counts(session: &Session) -> (u64, u64, u64) {
    (
        session.count::<DataStore>(AllStores).expect("a count"),
        session.count::<DataAsset>(AssetSelection::All).expect("a count"),
        session.count::<DataSet>(SetSelection::All).expect("a count"),
    )
}

/// All assets, in creation order.
#[expect(clippy::expect_used, reason = "a test cannot go on without")]
fn assets(session: &Session) -> Vec<DataAsset> {
    let stream = session.stream(&Query::<DataAsset>::new()).expect("a stream");
    stream.map(|asset| asset.expect("an asset")).collect()
}

/// All sets with their schemas, in creation order.
#[expect(clippy::expect_used, reason = "a test cannot go on without")]
fn sets(session: &Session) -> Vec<DataSet> {
    let query = Query::<DataSet>::new().with_schemas();
    let stream = session.stream(&query).expect("a stream");
    stream.map(|set| set.expect("a set")).collect()
}
