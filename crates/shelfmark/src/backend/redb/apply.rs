//! Writes a batch into redb's tables: per keyspace first the ranges, then the deletes, then the puts, each in key order, so that
//! every page is touched once; large batches two keyspaces at a time.

use std::ops::Bound;

use ::redb::{CursorError, ReadableTable, StorageError, Table, WriteTransaction};

use super::failure::{from_redb, guard};
use super::packed::{self, is_packed};
use super::snapshot::bounds;
use super::snapshot::tables::{self, definition};
use crate::backend::two_threads::in_two;
use crate::backend::{Keyspace, SpaceBatch, WriteOp};
use crate::envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::keys;

type Rows<'txn> = Table<'txn, &'static [u8], &'static [u8]>;
type Put<'a> = (&'a [u8], &'a [u8]);

/// Up to as many puts are inserted one by one: a cursor costs a little to set up and to close.
const FEW_PUTS: usize = 4;
/// A run through a cursor that ends sooner than this did not pay for seeking.
const SHORT_RUN: usize = 4;
/// After a short run so many puts are inserted one by one before a cursor is tried again, and twice as many after each further one.
const FIRST_PATIENCE: usize = 64;
const MOST_PATIENCE: usize = 256;
/// Up to as many deletes are removed one by one.
const FEW_DELETES: usize = 8;
/// Deletes are looked at in chunks of this size, so that a list with dense and sparse parts does well.
const DELETE_CHUNK: usize = 1_024;
/// Reading past one row costs about a twelfth of removing one key by point: up to so many rows per delete a merge is cheaper, and finding
/// out that it is not costs no more than the removal itself.
const ROWS_PER_DELETE: usize = 12;
/// What becomes of a change where what it changes is stored but cannot be read: a counter, or the block that an entry of an index lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It fails, and all others with it.
    Refused,
    /// What cannot be read stays as it is, for a check to find and a repair to make anew, and all other changes are made.
    Left,
}

impl Unreadable {
    /// What was read; `None` where it is to be left.
    pub(super) fn check<T>(self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Err(error) if self == Self::Left && error.kind() == ErrorKind::Corrupt => Ok(None),
            read => read.map(Some),
        }
    }
}

/// What one thread does to one keyspace.
struct Job {
    space: Keyspace,
    batch: SpaceBatch,
    /// Only for the keyspace of the counters.
    deltas: Vec<(Keyspace, Vec<u8>, i64)>,
}

impl Job {
    fn work(&self) -> usize {
        self.batch.entries.len() + self.batch.ranges.len() + self.deltas.len()
    }
}

/// Applies the whole batch to the transaction; after an error the transaction must be aborted.
pub(super) fn apply(
    transaction: &WriteTransaction,
    spaces: Vec<(Keyspace, SpaceBatch)>,
    deltas: Vec<(Keyspace, Vec<u8>, i64)>,
    unreadable: Unreadable,
) -> Result<()> {
    // Whatever makes a file a catalog, or one of another format, says so there: with it come all tables.
    if spaces.iter().any(|(space, _)| *space == Keyspace::Meta) {
        guard(|| tables::make(transaction))?;
    }
    let mut jobs: Vec<Job> = spaces
        .into_iter()
        .map(|(space, batch)| Job {
            space,
            batch,
            deltas: Vec::new(),
        })
        .collect();
    if !deltas.is_empty() {
        match jobs.iter_mut().find(|job| job.space == Keyspace::Counter) {
            Some(job) => job.deltas = deltas,
            None => jobs.push(Job {
                space: Keyspace::Counter,
                batch: SpaceBatch::default(),
                deltas,
            }),
        }
    }
    let run = |jobs| guard(|| run(transaction, jobs, unreadable));
    let (here, there) = in_two(jobs, Job::work, run);
    here.and(there.unwrap_or(Ok(())))
}

fn run(transaction: &WriteTransaction, jobs: Vec<Job>, unreadable: Unreadable) -> Result<()> {
    for Job { space, batch, deltas } in jobs {
        let mut table = transaction.open_table(definition(space)).map_err(from_redb)?;
        if is_packed(space) {
            packed::apply(&mut table, space, &batch, unreadable)?;
        } else {
            apply_space(&mut table, &batch).map_err(from_redb)?;
        }
        apply_deltas(&mut table, deltas, unreadable)?;
    }
    Ok(())
}

fn apply_space(table: &mut Rows<'_>, batch: &SpaceBatch) -> Result<(), StorageError> {
    for range in batch.ranges.iter().filter(|range| !range.is_empty()) {
        table.retain_in::<&[u8], _>(bounds(range), |_, _| false)?;
    }
    let mut deletes: Vec<&[u8]> = Vec::new();
    let mut puts: Vec<Put<'_>> = Vec::with_capacity(batch.entries.len());
    for (key, op) in batch.entries.iter() {
        match op {
            WriteOp::Put(value) => puts.push((key, value)),
            WriteOp::Delete => deletes.push(key),
        }
    }
    for chunk in deletes.chunks(DELETE_CHUNK) {
        delete_sorted(table, chunk)?;
    }
    put_sorted(table, &puts)
}

/// Removes `doomed`, sorted and without duplicates, at a cost within a constant times their number.
fn delete_sorted(table: &mut Rows<'_>, doomed: &[&[u8]]) -> Result<(), StorageError> {
    if doomed.len() > FEW_DELETES && lie_densely(table, doomed)? {
        let span = (
            Bound::Included(doomed[0]),
            Bound::Included(doomed[doomed.len() - 1]),
        );
        let mut next = doomed.iter().copied().peekable();
        // Rows come in key order; the predicate must not panic, or redb poisons the transaction.
        return table.retain_in::<&[u8], _>(span, |key, _| {
            while next.next_if(|doomed| *doomed < key).is_some() {}
            next.next_if_eq(&key).is_none()
        });
    }
    for key in doomed {
        table.remove(key)?;
    }
    Ok(())
}

/// Whether the span of `doomed` holds few enough rows to walk all of it.
fn lie_densely(table: &Rows<'_>, doomed: &[&[u8]]) -> Result<bool, StorageError> {
    let (Some(&first), Some(&last)) = (doomed.first(), doomed.last()) else {
        return Ok(false);
    };
    let mut rows = table.range::<&[u8]>((Bound::Included(first), Bound::Included(last)))?;
    for _ in 0..doomed.len() * ROWS_PER_DELETE {
        match rows.next() {
            None => return Ok(true),
            Some(row) => drop(row?),
        }
    }
    Ok(false)
}

/// Puts `puts`, sorted and without duplicates. Runs that fall between two stored keys go through one cursor; where runs are short, plain
/// inserts are faster, so after a short run ever more keys are inserted plainly before a cursor is tried again.
fn put_sorted(table: &mut Rows<'_>, puts: &[Put<'_>]) -> Result<(), StorageError> {
    let mut rest = puts;
    let mut plain = 0;
    if rest.len() <= FEW_PUTS {
        plain = rest.len();
    }
    let mut patience = FIRST_PATIENCE / 2;
    loop {
        let (now, later) = rest.split_at(plain.min(rest.len()));
        for (key, value) in now {
            table.insert(key, value)?;
        }
        rest = later;
        let Some((first, _)) = rest.first() else {
            return Ok(());
        };
        let mut cursor = table.lower_bound_mut(Bound::Included(first))?;
        let mut run = 0;
        for (key, value) in rest {
            match cursor.insert_before(key, value) {
                Ok(()) => run += 1,
                // The key is stored already, or the cursor's next key has been passed.
                Err(CursorError::UnorderedKey) => break,
                Err(CursorError::Storage(error)) => return Err(error),
                Err(_) => break,
            }
        }
        cursor.close()?;
        rest = &rest[run..];
        patience = if run < SHORT_RUN {
            (patience * 2).clamp(FIRST_PATIENCE, MOST_PATIENCE)
        } else {
            1
        };
        plain = patience;
    }
}

/// Adds the deltas to their counters; a counter that reaches 0 goes.
fn apply_deltas(
    table: &mut Rows<'_>,
    deltas: Vec<(Keyspace, Vec<u8>, i64)>,
    unreadable: Unreadable,
) -> Result<()> {
    // Two keyspaces may count under one prefix, so keys are not in order yet; each is there once.
    let mut by_key: Vec<(Vec<u8>, i64)> = deltas
        .into_iter()
        .map(|(space, prefix, delta)| (keys::counter(space, &prefix), delta))
        .collect();
    by_key.sort();
    for (key, delta) in by_key {
        let added = |old: u64| {
            old.checked_add_signed(delta).ok_or_else(|| {
                let what = format!("a counter of {old} that should change by {delta}");
                Error::corrupt(Keyspace::Counter, &key, what)
            })
        };
        let seal = |new| envelope::seal_u64(Keyspace::Counter, &key, new);
        // Changed in place: a value of the same length moves nothing.
        let changed = match table.get_mut(key.as_slice()).map_err(from_redb)? {
            Some(mut row) => {
                let old = envelope::open_u64(Keyspace::Counter, &key, row.value());
                let Some(new) = unreadable.check(old.and_then(added))? else {
                    continue;
                };
                if new > 0 {
                    row.insert(seal(new).as_slice()).map_err(from_redb)?;
                }
                Some(new)
            }
            None => None,
        };
        match changed {
            Some(0) => drop(table.remove(key.as_slice()).map_err(from_redb)?),
            Some(_) => {}
            None => {
                let first = seal(added(0)?);
                table
                    .insert(key.as_slice(), first.as_slice())
                    .map_err(from_redb)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::WriteBatch;

    #[test]
    fn density_is_rows_of_the_span_per_delete() {
        let database = ::redb::Builder::new()
            .create_with_backend(::redb::backends::InMemoryBackend::new())
            .unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(definition(Keyspace::Set)).unwrap();
        let keys: Vec<[u8; 4]> = (0..10_000_u32).map(u32::to_be_bytes).collect();
        for key in &keys {
            table.insert(key.as_slice(), b"v".as_slice()).unwrap();
        }
        for (stride, dense) in [(1, true), (10, true), (20, false), (100, false)] {
            let doomed: Vec<&[u8]> = keys
                .iter()
                .step_by(stride)
                .take(100)
                .map(<[u8; 4]>::as_slice)
                .collect();
            assert_eq!(lie_densely(&table, &doomed).unwrap(), dense, "every {stride}th");
        }
    }

    #[test]
    fn a_failure_on_either_thread_is_one_of_the_batch() {
        let database = ::redb::Builder::new()
            .create_with_backend(::redb::backends::InMemoryBackend::new())
            .unwrap();
        for broken in [Keyspace::Set, Keyspace::Asset] {
            let transaction = database.begin_write().unwrap();
            // A table can be open but once.
            let _open = transaction.open_table(definition(broken)).unwrap();
            let mut batch = WriteBatch::new();
            for row in 0..2_000_u32 {
                batch.put(Keyspace::Set, row.to_be_bytes(), Vec::new());
                batch.put(Keyspace::Asset, row.to_be_bytes(), Vec::new());
            }
            let (spaces, deltas) = batch.into_spaces();
            assert!(
                apply(&transaction, spaces, deltas, Unreadable::Refused).is_err(),
                "{broken:?}"
            );
        }
    }
}
