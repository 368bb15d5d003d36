//! A catalog in a file of its own.

use shelfmark::{AssetId, Batched, Catalog, Session, SetId, StoreId, Write as _};
use shelfmark_benches::data;
use tempfile::TempDir;

/// How many sets a filled catalog has.
pub const SETS: u64 = 10_000;

/// A catalog with one store and one asset.
pub struct Fixture {
    // Before the folder, so that the file is closed before it goes.
    pub session: Session,
    pub catalog: Catalog,
    pub store: StoreId,
    pub asset: AssetId,
    pub sets: Vec<SetId>,
    _folder: TempDir,
}

impl Fixture {
    /// One with so many sets, each with a schema of `fields` fields.
    pub fn filled(sets: u64, fields: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let catalog = Catalog::create(folder.path().join("catalog.shelf")).expect("a new file");
        let session = catalog.session("acme", "ann").expect("a session");
        let store = session.create(data::store(0)).expect("a store").id;
        let asset = session.create(data::asset(store, 0)).expect("an asset").id;
        let new = (0..sets).map(|n| data::set(asset, n, fields));
        let sets = session.create_batched(new, Batched::new()).expect("sets");
        Self {
            session,
            catalog,
            store,
            asset,
            sets,
            _folder: folder,
        }
    }

    /// One without sets.
    pub fn empty() -> Self {
        Self::filled(0, 0)
    }
}
