//! Mending what can be derived again.

use super::check::{Fix, walk};
use super::{Finding, RepairReport};
use crate::backend::{Direction, KeyRange, Keyspace, Snapshot, WriteBatch};
use crate::engine::view::{decode_head, state_of};
use crate::entity::Entity;
use crate::error::Result;
use crate::keyspace::{entities, keys};
use crate::{DataAsset, DataSet, DataStore};
use std::ops::ControlFlow;

/// What mends everything that a check of `snapshot` finds and that can be derived.
pub(crate) fn repair(snapshot: &dyn Snapshot) -> Result<(WriteBatch, RepairReport)> {
    let mut batch = WriteBatch::new();
    let mut report = RepairReport::default();
    walk(snapshot, &mut |finding, fix| match fix {
        None => report.left.push(finding),
        Some(fix) => {
            stage(&mut batch, &finding, fix);
            report.mended.push(finding);
        }
    })?;
    Ok((batch, report))
}

fn stage(batch: &mut WriteBatch, finding: &Finding, fix: Fix) {
    match fix {
        Fix::Put(entry) => batch.put(entry.space, entry.key, entry.value),
        Fix::Delete => batch.delete(finding.keyspace, finding.key.clone()),
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
    for &space in Keyspace::ALL {
        // What is counted does not depend on how texts fold.
        if space.is_index() {
            batch.delete_range(space, KeyRange::all());
        }
    }
    index_entities::<DataStore>(snapshot, &mut batch)?;
    index_entities::<DataAsset>(snapshot, &mut batch)?;
    index_entities::<DataSet>(snapshot, &mut batch)?;
    Ok(batch)
}

fn index_entities<E: Entity>(snapshot: &dyn Snapshot, batch: &mut WriteBatch) -> Result<()> {
    let mut outcome = Ok(());
    snapshot.scan(
        entities(E::KIND),
        &KeyRange::all(),
        Direction::Forward,
        &mut |key, value| {
            let state = decode_head::<E>(key, value).and_then(|head| state_of::<E>(key, head));
            match (state, keys::tenant_of(key), keys::id_at_end(key)) {
                (Ok(state), Some(tenant), Some(id)) => {
                    for entry in E::indexed(id, &state).entries(tenant) {
                        batch.put(entry.space, entry.key, entry.value);
                    }
                    ControlFlow::Continue(())
                }
                (Err(error), ..) => {
                    outcome = Err(error);
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        },
    )?;
    outcome
}
