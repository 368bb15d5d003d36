//! LMDB through heed, given the rows that the catalog would write, every commit durable.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvOpenOptions, RoTxn};
use shelfmark::backend::Keyspace;

use super::native::StoredSet;
use crate::Result;
use crate::rows::Row;

/// What a set shows of its parents: the name, and of an asset its store's id.
type Parent = (Option<String>, Vec<u8>);

fn encode(record: &impl serde::Serialize) -> Result<Vec<u8>> {
    Ok(bincode::serde::encode_to_vec(
        record,
        bincode::config::standard(),
    )?)
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    Ok(bincode::serde::decode_from_slice(bytes, bincode::config::standard())?.0)
}

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

    /// Puts sets as records of their own, with the names of their only asset and store.
    pub fn put_records(&self, sets: &[StoredSet], names: [&str; 2]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        let store: &[u8] = &[0; 16];
        for set in sets {
            self.tables[&Keyspace::Set].put(&mut transaction, &set.by_id(), &encode(set)?)?;
        }
        if let Some(set) = sets.first() {
            let asset: Parent = (Some(names[0].to_owned()), store.to_vec());
            self.tables[&Keyspace::Asset].put(&mut transaction, set.asset(), &encode(&asset)?)?;
            let of_store: Parent = (Some(names[1].to_owned()), Vec::new());
            self.tables[&Keyspace::Store].put(&mut transaction, store, &encode(&of_store)?)?;
        }
        Ok(transaction.commit()?)
    }

    /// A set that was put as a record, with the names of its asset and store.
    pub fn get_record(
        &self,
        snapshot: &RoTxn<'_, heed::WithTls>,
        id: &[u8],
    ) -> Result<(StoredSet, [Option<String>; 2])> {
        let find = |space, key: &[u8]| {
            self.get(snapshot, space, key)?
                .ok_or_else(|| crate::Error::from("a record is gone"))
        };
        let set: StoredSet = decode(find(Keyspace::Set, id)?)?;
        let asset: Parent = decode(find(Keyspace::Asset, set.asset())?)?;
        let store: Parent = decode(find(Keyspace::Store, &asset.1)?)?;
        Ok((set, [asset.0, store.0]))
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
