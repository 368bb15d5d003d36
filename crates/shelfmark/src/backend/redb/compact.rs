//! Compaction: rows that lie loosely are packed into full pages, and the pages are moved to the front of the file.
//!
//! redb moves pages alone, and a page that split under inserts in no order stays half empty for good. So a loose table is written anew, in key order, under
//! another name, which takes the old one's place in the same transaction: whatever state a crash leaves has each row once.

use std::ops::Bound;

use ::redb::{
    CursorError, Database, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, Table, TableDefinition,
};

use super::failure::from_redb;
use super::packed::{self, is_packed};
use super::snapshot::tables::{self, definition};
use crate::backend::Keyspace;
use crate::error::Result;

type Rows<'txn> = Table<'txn, &'static [u8], &'static [u8]>;

/// Each pass ends when it makes no progress; more passes than this have never been of use.
const PASSES: usize = 8;
/// A table is loose where at least this part of its pages is empty: one in so many bytes.
const LOOSE: u64 = 8;
/// Where less than this is empty, there is nothing to be had.
const LEAST: u64 = 8 << 10;
/// Where a table is written anew. No keyspace has the name, and no committed state has the table.
const PACKED: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("packed");

/// Gives back what is free first, so that a full medium has room for what follows.
pub(super) fn compact(database: &mut Database) -> Result<()> {
    move_pages(database)?;
    let mut packed = false;
    for &space in Keyspace::ALL {
        if is_loose(database, space)? {
            pack(database, space)?;
            packed = true;
        }
    }
    if packed {
        move_pages(database)?;
    }
    Ok(())
}

fn move_pages(database: &mut Database) -> Result<()> {
    for _ in 0..PASSES {
        if !database.compact().map_err(from_redb)? {
            break;
        }
    }
    Ok(())
}

fn is_loose(database: &Database, space: Keyspace) -> Result<bool> {
    let transaction = database.begin_read().map_err(from_redb)?;
    let Some(table) = tables::open(&transaction, space)? else {
        return Ok(false);
    };
    let stats = table.stats().map_err(from_redb)?;
    let paged = stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
    let empty = paged.saturating_sub(packed_bytes(&table, space)?);
    Ok(empty >= LEAST.max(paged / LOOSE))
}

/// Bytes of the rows of a table, and what full pages and full blocks take besides.
pub(super) fn packed_bytes(
    table: &ReadOnlyTable<&'static [u8], &'static [u8]>,
    space: Keyspace,
) -> Result<u64> {
    let stats = table.stats().map_err(from_redb)?;
    let packed = stats.stored_bytes() + stats.metadata_bytes();
    if !is_packed(space) {
        return Ok(packed);
    }
    let rows = table.len().map_err(from_redb)?;
    Ok(packed.saturating_sub(packed::slack(rows, stats.stored_bytes())))
}

fn pack(database: &Database, space: Keyspace) -> Result<()> {
    let transaction = database.begin_write().map_err(from_redb)?;
    {
        let loose = transaction.open_table(definition(space)).map_err(from_redb)?;
        let mut packed = transaction.open_table(PACKED).map_err(from_redb)?;
        if is_packed(space) {
            packed::pack(&loose, &mut packed, space)?;
        } else {
            copy(&loose, &mut packed)?;
        }
    }
    transaction.delete_table(definition(space)).map_err(from_redb)?;
    transaction
        .rename_table(PACKED, definition(space))
        .map_err(from_redb)?;
    transaction.commit().map_err(from_redb)
}

fn copy(loose: &Rows<'_>, packed: &mut Rows<'_>) -> Result<()> {
    let mut end = packed
        .upper_bound_mut(Bound::<&[u8]>::Unbounded)
        .map_err(from_redb)?;
    for row in loose.iter().map_err(from_redb)? {
        let (key, value) = row.map_err(from_redb)?;
        end.insert_before(key.value(), value.value())
            .map_err(|error| match error {
                CursorError::Storage(error) => from_redb(error),
                // Keys of a table come in order, each once.
                error => from_redb(::redb::Error::Corrupted(error.to_string())),
            })?;
    }
    end.close().map_err(from_redb)
}
