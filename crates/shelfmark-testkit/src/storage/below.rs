//! Below the built-in backend: the tables of a file that is not open, as the storage engine has them.

use std::io;

use redb::{Builder, StorageBackend, Table, TableDefinition};
use shelfmark::backend::{ByteStorage as _, Keyspace};

use super::recording::RecordingStorage;

/// Bytes as redb takes them.
#[derive(Debug)]
struct Bytes(RecordingStorage);

impl StorageBackend for Bytes {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Changes the table of a keyspace while nothing has the storage open, and gives what `change` gives. The rows of an index there are its blocks.
///
/// # Errors
///
/// What the storage engine says.
pub fn below<T>(
    storage: &RecordingStorage,
    space: Keyspace,
    change: impl FnOnce(&mut Table<'_, &'static [u8], &'static [u8]>) -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    let database = Builder::new().create_with_backend(Bytes(storage.clone()))?;
    let transaction = database.begin_write()?;
    let changed = change(&mut transaction.open_table(TableDefinition::new(space.name()))?)?;
    transaction.commit()?;
    Ok(changed)
}
