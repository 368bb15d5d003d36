//! fjall, given the rows that the catalog would write, every commit durable (`SyncAll`).

use std::collections::HashMap;
use std::path::Path;

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use shelfmark::backend::Keyspace;

use crate::rows::Row;
use crate::{CACHE_BYTES, Result};

/// A database with the catalog's keyspaces.
pub struct Fjall {
    database: Database,
    spaces: HashMap<Keyspace, fjall::Keyspace>,
}

impl Fjall {
    /// A new database in the folder `path`.
    pub fn create(path: &Path) -> Result<Self> {
        let database = Database::builder(path).cache_size(CACHE_BYTES as u64).open()?;
        let mut spaces = HashMap::new();
        for &space in Keyspace::ALL {
            spaces.insert(
                space,
                database.keyspace(space.name(), KeyspaceCreateOptions::default)?,
            );
        }
        Ok(Self { database, spaces })
    }

    /// Puts the rows of these sets in one durable batch.
    pub fn create_sets(&self, sets: &[Vec<Row>]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for row in sets.iter().flatten() {
            batch.insert(&self.spaces[&row.space], row.key.as_slice(), row.value.as_slice());
        }
        Ok(batch.commit()?)
    }

    /// How many sets there are.
    pub fn sets(&self) -> Result<u64> {
        Ok(self.spaces[&Keyspace::Set].len()? as u64)
    }
}
