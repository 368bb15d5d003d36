//! How long changes are kept: what goes, in bounded steps.

use std::ops::ControlFlow;

use super::Settings;
use super::feed::last_sequence;
use super::follow::{first_sequence, record, sequence_in};
use crate::backend::{Direction, Keyspace, Snapshot, WriteBatch};
use crate::changes::ChangeRetention;
use crate::error::Result;
use crate::keyspace::{TenantNumber, bounds};

/// The most records that one step takes.
pub(crate) const STEP: u64 = 1_024;
/// With every so-manieth record a step is made: four records may go for each that comes.
const EVERY: u64 = 256;

/// Whether a step is due with the record of this number.
pub(crate) fn is_due(sequence: u64) -> bool {
    sequence.is_multiple_of(EVERY)
}

/// Stages one step, and tells how many records it takes. Never the newest: the next number comes from it. One seek; with an age, also a read of what
/// goes.
pub(crate) fn trim(
    settings: &Settings,
    snapshot: &dyn Snapshot,
    tenant: TenantNumber,
    batch: &mut WriteBatch,
) -> Result<u64> {
    let ChangeRetention { count, age } = settings.change_retention;
    if count.is_none() && age.is_none() {
        return Ok(0);
    }
    let Some(first) = first_sequence(snapshot, tenant)? else {
        return Ok(0);
    };
    let newest = last_sequence(snapshot, tenant)?;
    let most = newest.min(first.saturating_add(STEP));
    let mut end = count
        .map_or(first, |count| (newest + 1).saturating_sub(count))
        .clamp(first, most);
    if let Some(age) = age {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let since = settings.environment.clock.now().millis().saturating_sub(age);
        let mut bad = None;
        snapshot.scan(
            Keyspace::Change,
            &bounds::changes(tenant, end, most),
            Direction::Forward,
            &mut |key, value| {
                let read = sequence_in(key).and_then(|sequence| Ok((sequence, record(key, value)?.time)));
                match read {
                    Ok((sequence, time)) if time < since => {
                        end = sequence + 1;
                        return ControlFlow::Continue(());
                    }
                    Ok(_) => {}
                    Err(error) => bad = Some(error),
                }
                ControlFlow::Break(())
            },
        )?;
        if let Some(bad) = bad {
            return Err(bad);
        }
    }
    if end > first {
        batch.delete_range(Keyspace::Change, bounds::changes(tenant, first, end));
    }
    Ok(end - first)
}
