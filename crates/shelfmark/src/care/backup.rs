//! A copy of everything in one snapshot.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::backend::{
    Backend, ByteStorage, CommitOptions, Direction, Durability, KeyRange, Keyspace, Snapshot, WriteBatch,
    successor,
};
use crate::environment::Environment;
use crate::error::Result;
use crate::format::another_feed_id;
use crate::index::counters_of_row;
use crate::options::{new_file, new_on};

/// The most bytes that one commit of a copy holds.
const CHUNK_BYTES: usize = 16 << 20;

/// Copies every row of a snapshot to a new file, but for the id of its change feed: original and copy go on apart.
pub(crate) fn copy(from: &dyn Snapshot, path: &Path, environment: &Environment) -> Result<()> {
    new_file(path, |to| copy_all(from, to, environment))
}

/// As [`copy`], to an empty storage.
pub(crate) fn copy_on(
    from: &dyn Snapshot,
    storage: Arc<dyn ByteStorage>,
    environment: &Environment,
) -> Result<()> {
    new_on(storage, |to| copy_all(from, to, environment))
}

fn copy_all(from: &dyn Snapshot, to: &dyn Backend, environment: &Environment) -> Result<()> {
    let feed_id = another_feed_id(from, environment)?;
    for &space in Keyspace::ALL {
        // The copy counts for itself, whether the original keeps counters or not.
        if space != Keyspace::Counter {
            copy_space(from, to, space)?;
        }
    }
    if let Some((key, value)) = &feed_id {
        to.commit(CommitOptions::new(Durability::Deferred, 0), &mut |_| {
            let mut batch = WriteBatch::new();
            batch.put(Keyspace::Meta, key, value.clone());
            Ok(batch)
        })?;
    }
    Ok(())
}

fn copy_space(from: &dyn Snapshot, to: &dyn Backend, space: Keyspace) -> Result<()> {
    let mut range = KeyRange::all();
    loop {
        let mut batch = WriteBatch::new();
        let mut last = None;
        from.scan(space, &range, Direction::Forward, &mut |key, value| {
            batch.put(space, key, value);
            for (counted, prefix) in counters_of_row(space, key) {
                batch.count(counted, prefix, 1);
            }
            if batch.bytes() < CHUNK_BYTES {
                return ControlFlow::Continue(());
            }
            last = Some(key.to_vec());
            ControlFlow::Break(())
        })?;
        if !batch.is_empty() {
            let mut batch = Some(batch);
            // Durable all at once when the file is finished.
            to.commit(CommitOptions::new(Durability::Deferred, 0), &mut |_| {
                Ok(batch.take().unwrap_or_default())
            })?;
        }
        match last.as_deref().and_then(successor) {
            Some(next) => range.start = next,
            None => return Ok(()),
        }
    }
}
