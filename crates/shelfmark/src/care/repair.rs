//! Mending what can be derived again.

use super::check::{Fix, walk};
use super::{Finding, RepairReport};
use crate::backend::{Direction, KeyRange, Keyspace, Snapshot, WriteBatch};
use crate::engine::view::{decode_head, state_of};
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::keyspace::{entities, keys};
use crate::{DataAsset, DataSet, DataStore};
use std::ops::ControlFlow;

/// What mends everything that a check of `snapshot` finds and that can be derived.
pub(crate) fn repair(snapshot: &dyn Snapshot) -> Result<(WriteBatch, RepairReport)> {
    let mut batch = WriteBatch::new();
    let mut report = RepairReport::default();
    let mut unreadable = Vec::new();
    walk(snapshot, &mut |finding, fix| match fix {
        None => report.left.push(finding),
        Some(fix) => {
            stage(&mut batch, &finding, fix, &mut unreadable);
            report.mended.push(finding);
        }
    })?;
    if !unreadable.is_empty() {
        // What an entity that cannot be read had in them is lost with it; the entity is a finding of its own.
        rebuild(snapshot, &unreadable, &mut batch, |_| Ok(()))?;
    }
    Ok((batch, report))
}

fn stage(batch: &mut WriteBatch, finding: &Finding, fix: Fix, unreadable: &mut Vec<Keyspace>) {
    match fix {
        Fix::Put(entry) => batch.put(entry.space, entry.key, entry.value),
        Fix::Delete => batch.delete(finding.keyspace, finding.key.clone()),
        Fix::Rebuild => unreadable.push(finding.keyspace),
        Fix::Count { space, prefix, count } => {
            // Deltas are added when the row is gone.
            batch.delete(Keyspace::Counter, finding.key.clone());
            batch.count(space, prefix, count);
        }
    }
}

/// What makes every index anew from the entities, as another version of Unicode asks for.
pub(crate) fn rebuild_indexes(snapshot: &dyn Snapshot) -> Result<WriteBatch> {
    let mut batch = WriteBatch::new();
    let indexes = Keyspace::ALL.iter().copied().filter(|space| space.is_index());
    rebuild(snapshot, &indexes.collect::<Vec<_>>(), &mut batch, Err)?;
    Ok(batch)
}

/// Makes these indexes anew. `unreadable` says what becomes of an entity that cannot be read.
fn rebuild(
    snapshot: &dyn Snapshot,
    indexes: &[Keyspace],
    batch: &mut WriteBatch,
    unreadable: fn(Error) -> Result<()>,
) -> Result<()> {
    for &space in indexes {
        batch.delete_range(space, KeyRange::all());
    }
    index_entities::<DataStore>(snapshot, indexes, batch, unreadable)?;
    index_entities::<DataAsset>(snapshot, indexes, batch, unreadable)?;
    index_entities::<DataSet>(snapshot, indexes, batch, unreadable)
}

fn index_entities<E: Entity>(
    snapshot: &dyn Snapshot,
    indexes: &[Keyspace],
    batch: &mut WriteBatch,
    unreadable: fn(Error) -> Result<()>,
) -> Result<()> {
    let mut outcome = Ok(());
    snapshot.scan(
        entities(E::KIND),
        &KeyRange::all(),
        Direction::Forward,
        &mut |key, value| {
            let state = decode_head::<E>(key, value).and_then(|head| state_of::<E>(key, head));
            match (state, keys::tenant_of(key), keys::id_at_end(key)) {
                (Ok(state), Some(tenant), Some(id)) => {
                    let entries = E::indexed(id, &state).entries(tenant);
                    for entry in entries.into_iter().filter(|entry| indexes.contains(&entry.space)) {
                        batch.put(entry.space, entry.key, entry.value);
                    }
                    ControlFlow::Continue(())
                }
                (Err(error), ..) => {
                    outcome = unreadable(error);
                    if outcome.is_err() {
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Continue(()),
            }
        },
    )?;
    outcome
}
