//! The tables of a file: one for each keyspace, made all at once, since redb's own pages have no checksum that is looked at where a file is trusted, and a table with a
//! damaged name would otherwise pass for an empty keyspace.

use ::redb::{ReadTransaction, TableDefinition, TableError, TableHandle as _, WriteTransaction};

use super::Rows;
use crate::backend::Keyspace;
use crate::backend::redb::failure::from_redb;
use crate::backend::redb::log::TABLE_NAME;
use crate::error::{Error, ErrorKind, Result};

/// The table of a keyspace.
pub(in crate::backend::redb) const fn definition(
    space: Keyspace,
) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(space.name())
}

/// The table of a keyspace; `None` where there is none of its name.
pub(in crate::backend::redb) fn open(transaction: &ReadTransaction, space: Keyspace) -> Result<Option<Rows>> {
    match transaction.open_table(definition(space)) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(from_redb(error)),
    }
}

/// Makes every table that is not there yet.
pub(in crate::backend::redb) fn make(transaction: &WriteTransaction) -> Result<()> {
    let names: Vec<String> = transaction
        .list_tables()
        .map_err(from_redb)?
        .map(|table| table.name().to_owned())
        .collect();
    for &space in Keyspace::ALL {
        if !names.iter().any(|name| name == space.name()) {
            transaction.open_table(definition(space)).map_err(from_redb)?;
        }
    }
    Ok(())
}

/// Refuses a table of a name that no table of this format has.
pub(super) fn check_names(transaction: &ReadTransaction) -> Result<()> {
    let mut tables = transaction.list_tables().map_err(from_redb)?;
    // A file has that of the log while it has a log.
    let is_known = |name: &str| name == TABLE_NAME || Keyspace::ALL.iter().any(|space| space.name() == name);
    match tables.find(|table| !is_known(table.name())) {
        None => Ok(()),
        Some(table) => Err(damaged(&format!(
            "the file has a table {:?}, which no catalog has",
            table.name()
        ))),
    }
}

/// That the file should have the table of the keyspace.
pub(super) fn missing(space: Keyspace) -> Error {
    damaged(&format!("the file lacks the table {}", space.name()))
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what}: restore a backup"))
}
