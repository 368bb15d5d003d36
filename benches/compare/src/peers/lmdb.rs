//! LMDB through heed, given the rows that the catalog would write, every commit durable.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvOpenOptions, RoTxn};
use shelfmark::backend::Keyspace;

use crate::Result;
use crate::rows::Row;

/// An environment with the catalog's tables.
pub struct Lmdb {
    env: Env,
    tables: HashMap<Keyspace, Database<Bytes, Bytes>>,
}

impl Lmdb {
    /// A new environment in the folder `path`.
    #[expect(
        unsafe_code,
        reason = "a memory map is unsafe where another process cuts the file; ours is in a folder of its own"
    )]
    pub fn create(path: &Path) -> Result<Self> {
        fs::create_dir_all(path)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(8 << 30).max_dbs(Keyspace::ALL.len() as u32);
        let env = unsafe { options.open(path)? };
        let mut transaction = env.write_txn()?;
        let mut tables = HashMap::new();
        for &space in Keyspace::ALL {
            tables.insert(space, env.create_database(&mut transaction, Some(space.name()))?);
        }
        transaction.commit()?;
        Ok(Self { env, tables })
    }

    /// Puts the rows of these sets in one durable transaction.
    pub fn create_sets(&self, sets: &[Vec<Row>]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for row in sets.iter().flatten() {
            self.tables[&row.space].put(&mut transaction, &row.key, &row.value)?;
        }
        Ok(transaction.commit()?)
    }

    /// How many sets there are.
    pub fn sets(&self) -> Result<u64> {
        let snapshot = self.env.read_txn()?;
        Ok(self.tables[&Keyspace::Set].len(&snapshot)?)
    }

    /// A view that stays as it is.
    pub fn snapshot(&self) -> Result<RoTxn<'_, heed::WithTls>> {
        Ok(self.env.read_txn()?)
    }

    /// The bytes of a row.
    pub fn get<'t>(
        &self,
        snapshot: &'t RoTxn<'_, heed::WithTls>,
        space: Keyspace,
        key: &[u8],
    ) -> Result<Option<&'t [u8]>> {
        Ok(self.tables[&space].get(snapshot, key)?)
    }
}
