//! redb alone, given the rows that the catalog would write: the limit of the engine below.

use std::collections::BTreeMap;
use std::path::Path;

use redb::{Builder, Database, ReadableTable as _, TableDefinition};
use shelfmark::backend::Keyspace;

use crate::rows::Row;
use crate::{CACHE_BYTES, Result};

type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// A file of redb with the catalog's tables.
pub struct Bare {
    database: Database,
}

fn table(space: Keyspace) -> Rows {
    TableDefinition::new(space.name())
}

impl Bare {
    /// A new file.
    pub fn create(path: &Path) -> Result<Self> {
        let database = Builder::new().set_cache_size(CACHE_BYTES).create(path)?;
        Ok(Self { database })
    }

    /// Puts all rows in one durable transaction.
    pub fn load(&self, rows: &[Row]) -> Result<()> {
        let transaction = self.database.begin_write()?;
        let mut by_space: BTreeMap<Keyspace, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            by_space.entry(row.space).or_default().push(row);
        }
        for (space, rows) in by_space {
            let mut table = transaction.open_table(table(space))?;
            for row in rows {
                table.insert(row.key.as_slice(), row.value.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Puts the heads of these sets in one table, in one durable transaction.
    pub fn create_heads(&self, sets: &[Vec<Row>]) -> Result<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(table(Keyspace::Set))?;
            for row in sets.iter().flatten().filter(|row| row.space == Keyspace::Set) {
                table.insert(row.key.as_slice(), row.value.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Puts rows of any keyspace in one table, in one durable transaction, in the order they come in.
    pub fn create_in_one_table<'r>(&self, rows: impl Iterator<Item = (&'r [u8], &'r [u8])>) -> Result<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(table(Keyspace::Set))?;
            for (key, value) in rows {
                table.insert(key, value)?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Puts the rows of one set, and adds one to each of `counters`, in one durable transaction.
    pub fn create_set(&self, rows: &[Row], counters: &[Vec<u8>]) -> Result<()> {
        let transaction = self.database.begin_write()?;
        for row in rows {
            transaction
                .open_table(table(row.space))?
                .insert(row.key.as_slice(), row.value.as_slice())?;
        }
        let mut table = transaction.open_table(table(Keyspace::Counter))?;
        for key in counters {
            let mut value = [0; 13];
            if let Some(old) = table.get(key.as_slice())? {
                value.copy_from_slice(old.value());
            }
            if let Some(number) = value.last_chunk_mut::<8>() {
                *number = (u64::from_be_bytes(*number) + 1).to_be_bytes();
            }
            table.insert(key.as_slice(), value.as_slice())?;
        }
        drop(table);
        transaction.commit()?;
        Ok(())
    }

    /// Puts rows and removes one, in one durable transaction.
    pub fn update(&self, puts: &[(Keyspace, &[u8], &[u8])], gone: (Keyspace, &[u8])) -> Result<()> {
        let transaction = self.database.begin_write()?;
        if transaction.open_table(table(gone.0))?.remove(gone.1)?.is_none() {
            return Err("the row to remove is not there".into());
        }
        for (space, key, value) in puts {
            transaction.open_table(table(*space))?.insert(*key, *value)?;
        }
        Ok(transaction.commit()?)
    }

    /// The bytes of a set, in a transaction of its own.
    pub fn get(&self, key: &[u8]) -> Result<Vec<u8>> {
        use redb::ReadableDatabase as _;
        let table = self.database.begin_read()?.open_table(table(Keyspace::Set))?;
        Ok(table.get(key)?.ok_or("a row is gone")?.value().to_vec())
    }

    /// How many rows the table of the sets has.
    pub fn sets(&self) -> Result<u64> {
        use redb::{ReadableDatabase as _, ReadableTableMetadata as _};
        Ok(self
            .database
            .begin_read()?
            .open_table(table(Keyspace::Set))?
            .len()?)
    }
}

/// The counters that count a set: of the tenant's sets, and of its asset's.
pub fn counters_of(rows: &[Row]) -> Vec<Vec<u8>> {
    let mut counters = Vec::new();
    for row in rows {
        let prefix = match row.space {
            Keyspace::Set => row.key.get(..4),
            Keyspace::SetByAsset => row.key.get(..20),
            _ => None,
        };
        counters.extend(prefix.map(|prefix| [prefix, &[row.space as u8]].concat()));
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Template;
    use crate::systems::assets;

    #[test]
    fn a_set_is_given_the_rows_and_counters_that_the_catalog_writes() {
        let template = Template::new().unwrap();
        let assets = assets(template.session()).unwrap();
        let sets = template.create_sets(&assets, 0..5, 3).unwrap();
        let all = template.all().unwrap();
        for rows in &sets {
            let mut spaces: Vec<&str> = rows.iter().map(|row| row.space.name()).collect();
            spaces.sort();
            let expected = [
                "set",
                "set_by_asset",
                "set_by_modified",
                "set_by_name",
                "set_by_secure_qri",
                "set_by_technical_name",
                "set_schema",
            ];
            assert_eq!(spaces, expected);
            let counters = counters_of(rows);
            assert_eq!(counters.len(), 2);
            for counter in counters {
                assert!(
                    all.iter()
                        .any(|row| row.space == Keyspace::Counter && row.key == counter)
                );
            }
        }
    }
}
