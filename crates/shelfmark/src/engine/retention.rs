//! How long changes are kept: what goes, in bounded steps.

use std::ops::ControlFlow;

use super::Stage;
use super::feed::{first_sequence, last_sequence, sequence_in};
use super::follow::record;
use crate::backend::{Direction, Keyspace};
use crate::changes::ChangeRetention;
use crate::error::Result;
use crate::keyspace::{TenantNumber, bounds, keys};

/// The most records that one step takes.
const STEP: u64 = 1_024;
/// With every so-manieth record a step is made: four records may go for each that comes.
const EVERY: u64 = 256;

/// Takes a step with every 256th record; `newest` is the number of the one that has just been staged.
pub(crate) fn trim_as_it_goes(stage: &mut Stage<'_>, tenant: TenantNumber, newest: u64) -> Result<()> {
    if newest.is_multiple_of(EVERY) {
        trim(stage, tenant, newest)?;
    }
    Ok(())
}

/// Takes a step, and tells how many records it took; 0 where nothing is left to do.
pub(crate) fn sweep(stage: &mut Stage<'_>) -> Result<u64> {
    let Some(tenant) = stage.tenant() else {
        return Ok(0);
    };
    let newest = last_sequence(stage.base(), tenant)?;
    trim(stage, tenant, newest)
}

/// Stages one step. Never the newest record: the next number comes from it. One seek; with an age, also a read of what goes.
///
/// Reads below the stage, and removes record by record: a bulk write's own records are not looked through, nor put in order, before they are committed.
fn trim(stage: &mut Stage<'_>, tenant: TenantNumber, newest: u64) -> Result<u64> {
    let ChangeRetention { count, age } = stage.settings.change_retention;
    if count.is_none() && age.is_none() {
        return Ok(0);
    }
    let first = match stage.oldest_change {
        Some(first) => first,
        // The stage's own are the first ever.
        None => first_sequence(stage.base(), tenant)?.unwrap_or(1),
    };
    let most = newest.min(first.saturating_add(STEP)).max(first);
    let mut end = count
        .map_or(first, |count| (newest + 1).saturating_sub(count))
        .clamp(first, most);
    if let Some(age) = age {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let since = stage.now().millis().saturating_sub(age);
        let mut bad = None;
        stage.base().scan(
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
    for sequence in first..end {
        let key = keys::change(tenant, sequence).to_vec();
        stage.batch.delete(Keyspace::Change, key);
    }
    stage.oldest_change = Some(end);
    Ok(end - first)
}
