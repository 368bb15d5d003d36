//! A catalog and the same entities in SQLite, under the same ids, to read from and to change copies of.

use std::path::{Path, PathBuf};

use shelfmark::{
    AssetId, Batched, Catalog, NewDataSet, Options, Session, SetId, StoreId, Timestamp, Write as _,
};
use uuid::Uuid;

use crate::peers::sqlite::{self, Sqlite};
use crate::{CACHE_BYTES, Result};
use shelfmark_benches::data;

/// Where both lie.
#[derive(Clone)]
pub struct Pair {
    /// The file of the catalog.
    pub shelf: PathBuf,
    /// The file of SQLite.
    pub sqlite: PathBuf,
}

/// What was put in, parents first.
pub struct Contents {
    /// The stores.
    pub stores: Vec<StoreId>,
    /// The assets, in the order they were asked for.
    pub assets: Vec<AssetId>,
    /// The sets.
    pub sets: Vec<SetId>,
}

/// Opens the catalog with a cache of so many bytes.
pub fn open(path: &Path, cache_bytes: usize) -> Result<(Catalog, Session)> {
    let catalog = Options::new().cache_bytes(cache_bytes).open(path)?;
    let session = catalog.session("acme", "ann")?;
    Ok((catalog, session))
}

fn stamp(id: Uuid) -> Result<(Uuid, Timestamp)> {
    Ok((id, Timestamp::from_millis((id.as_u128() >> 80) as i64)?))
}

impl Pair {
    /// Fills both: `stores` stores, an asset in `parents[n]` for each `n`, and sets in the assets that `asset_of` names, with `fields` fields.
    pub fn create(
        directory: &dyn Fn(&str) -> PathBuf,
        (stores, parents): (u64, &[usize]),
        sets: u64,
        fields: usize,
        asset_of: impl Fn(u64) -> usize,
    ) -> Result<(Self, Contents)> {
        let pair = Self {
            shelf: directory("shelf"),
            sqlite: directory("sqlite"),
        };
        let new_stores: Vec<_> = (0..stores).map(data::store).collect();
        let catalog = Options::new().cache_bytes(CACHE_BYTES).create(&pair.shelf)?;
        let session = catalog.session("acme", "ann")?;
        let store_ids = session.create_all(new_stores.clone())?;
        let new_assets: Vec<_> = parents
            .iter()
            .enumerate()
            .map(|(n, &parent)| data::asset(store_ids[parent], n as u64))
            .collect();
        let asset_ids = session.create_all(new_assets.clone())?;
        let new_set = |n: u64| -> NewDataSet { data::set(asset_ids[asset_of(n)], n, fields) };
        let set_ids = session.create_batched((0..sets).map(new_set), Batched::new())?;

        let mut peer = Sqlite::open(&pair.sqlite)?;
        let transaction = peer.begin()?;
        for (id, new) in store_ids.iter().zip(&new_stores) {
            sqlite::create_store(&transaction, stamp(id.uuid())?, new)?;
        }
        for (id, new) in asset_ids.iter().zip(&new_assets) {
            sqlite::create_asset(&transaction, stamp(id.uuid())?, new)?;
        }
        for (id, n) in set_ids.iter().zip(0..) {
            sqlite::create_set(&transaction, stamp(id.uuid())?, &new_set(n))?;
        }
        transaction.commit()?;
        peer.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        let contents = Contents {
            stores: store_ids,
            assets: asset_ids,
            sets: set_ids,
        };
        Ok((pair, contents))
    }

    /// Copies of both, to be changed. Nobody may have either open.
    pub fn copy(&self, directory: &dyn Fn(&str) -> PathBuf) -> Result<Self> {
        let copy = Self {
            shelf: directory("shelf-copy"),
            sqlite: directory("sqlite-copy"),
        };
        std::fs::copy(&self.shelf, &copy.shelf)?;
        for end in ["-wal", "-shm"] {
            let mut beside = copy.sqlite.clone().into_os_string();
            beside.push(end);
            let _ = std::fs::remove_file(beside);
        }
        std::fs::copy(&self.sqlite, &copy.sqlite)?;
        Ok(copy)
    }
}
