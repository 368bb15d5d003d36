//! Names of one parent's children in creation order by their own rows, where these lie together, as those of a bulk creation do. By the index
//! each costs half as much again: a row there and a row of its own.

use std::ops::ControlFlow;

use uuid::Uuid;

use crate::Entity;
use crate::backend::{Direction, KeyRange, Keyspace};
use crate::engine::TenantView;
use crate::engine::view::{name_in_body, opened, parent_in_body};
use crate::error::Result;
use crate::keyspace::{Parent, entities, keys};

use super::page::IdAndName;

/// How many children must be asked for: the ends of the range are sought first.
pub(super) const WORTH: usize = 64;
/// So many rows of others may lie between them, and one more for every four children.
const STRAY: usize = 4;

/// Adds the first `take` children that the range of the index has, or fewer: it stops where too much of others lies between.
pub(super) fn names<E: Entity>(
    view: &TenantView<'_>,
    (index, range): (Keyspace, &KeyRange),
    direction: Direction,
    parent: Parent,
    take: usize,
    named: &mut Vec<IdAndName>,
) -> Result<()> {
    let end = |direction| end_of(view, index, range, direction);
    let (Some(first), Some(last)) = (end(Direction::Forward)?, end(Direction::Reverse)?) else {
        return Ok(());
    };
    let mut behind = keys::entity(parent.tenant, last).to_vec();
    behind.push(0);
    let rows = KeyRange::new(keys::entity(parent.tenant, first).to_vec(), Some(behind));
    let space = entities(E::KIND);
    let begun = named.len();
    let mut others = 0;
    let mut outcome = Ok(());
    view.snapshot.scan(space, &rows, direction, &mut |key, value| {
        outcome = opened::<E>(key, value).and_then(|(id, body)| {
            if parent_in_body::<E>(key, body)? == parent.id {
                named.push((id, name_in_body::<E>(key, body)?));
            } else {
                others += 1;
            }
            Ok(())
        });
        let found = named.len() - begun;
        if outcome.is_err() || found == take || others > STRAY + found / 4 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    outcome
}

/// The id of the entry at one end of a range.
fn end_of(
    view: &TenantView<'_>,
    index: Keyspace,
    range: &KeyRange,
    direction: Direction,
) -> Result<Option<Uuid>> {
    let mut id = None;
    view.snapshot.scan(index, range, direction, &mut |key, _| {
        id = keys::id_at_end(key);
        ControlFlow::Break(())
    })?;
    Ok(id)
}
