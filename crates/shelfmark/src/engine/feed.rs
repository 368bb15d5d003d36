//! The change feed's records: one place that writes them, in the transaction of the change itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use wincode::{SchemaRead, SchemaWrite};

use super::create::encoding_failed;
use super::{Stage, retention};
use crate::backend::{Direction, Keyspace, Snapshot};
use crate::codec;
use crate::entity::{Entity, Lineage, State};
use crate::envelope;
use crate::error::{Error, Result};
use crate::ids::EntityId;
use crate::keyspace::{TenantNumber, bounds, keys};

/// The most descendants of one record.
pub(crate) const DESCENDANTS: usize = 4_096;

/// What happened to an entity.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event<'a> {
    Created,
    /// With the members that changed.
    Updated {
        fields: &'a [String],
    },
    Deleted,
    Restored,
    Purged {
        by_retention: bool,
    },
}

/// What it happened to, at the version that it has after it; after a deletion the last one it had.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) id: EntityId,
    pub(crate) lineage: Lineage,
    pub(crate) version: u64,
}

impl Subject {
    pub(crate) fn of<E: Entity>(id: Uuid, state: &State<E>) -> Self {
        Self {
            id: EntityId::new(E::KIND, id),
            lineage: state.lineage,
            version: state.meta.version,
        }
    }
}

/// A data set that went or came with its asset.
#[derive(Debug, Clone, Copy, SchemaWrite, SchemaRead)]
pub(crate) struct DescendantRecord {
    pub(crate) id: [u8; 16],
    pub(crate) version: u64,
}

/// A stored record. A field here is a field of the file format.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(crate) struct ChangeRecord<'a> {
    pub(crate) time: i64,
    /// `None`: the catalog itself, as retention says.
    pub(crate) actor: Option<Cow<'a, str>>,
    /// As [`Event::code`] gives it.
    pub(crate) event: u8,
    /// As [`EntityKind::code`](crate::EntityKind::code) gives it.
    pub(crate) kind: u8,
    pub(crate) id: [u8; 16],
    pub(crate) store: Option<[u8; 16]>,
    pub(crate) asset: Option<[u8; 16]>,
    pub(crate) version: u64,
    pub(crate) fields: Vec<Cow<'a, str>>,
    /// Not empty in the records that follow that of a root: what went or came with it.
    pub(crate) descendants: Vec<DescendantRecord>,
}

impl Event<'_> {
    /// How a record says it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Event::Created => 0,
            Event::Updated { .. } => 1,
            Event::Deleted => 2,
            Event::Restored => 3,
            Event::Purged { .. } => 4,
        }
    }
}

/// Stages the record of what happened to an entity, where the catalog keeps a change feed.
pub(crate) fn record(stage: &mut Stage<'_>, event: Event<'_>, subject: &Subject) -> Result<()> {
    append(stage, event, subject, Vec::new())
}

/// Stages a record of at most [`DESCENDANTS`] entities that went or came with the root.
pub(crate) fn record_descendants(
    stage: &mut Stage<'_>,
    event: Event<'_>,
    root: &Subject,
    descendants: Vec<DescendantRecord>,
) -> Result<()> {
    append(stage, event, root, descendants)
}

fn append(
    stage: &mut Stage<'_>,
    event: Event<'_>,
    subject: &Subject,
    descendants: Vec<DescendantRecord>,
) -> Result<()> {
    if !stage.settings.change_feed {
        return Ok(());
    }
    let tenant = stage.tenant_for_write()?;
    let sequence = match stage.next_change {
        Some(sequence) => sequence,
        None => stage.read(|view| last_sequence(view.snapshot, tenant))? + 1,
    };
    let Subject { id, lineage, version } = *subject;
    let fields = match event {
        Event::Updated { fields } => fields.iter().map(|field| Cow::Borrowed(field.as_str())).collect(),
        _ => Vec::new(),
    };
    let actor = match event {
        Event::Purged { by_retention: true } => None,
        _ => Some(Cow::Borrowed(stage.actor)),
    };
    let record = ChangeRecord {
        time: stage.now().millis(),
        actor,
        event: event.code(),
        kind: id.kind().code(),
        id: id.uuid().into_bytes(),
        store: lineage.store.map(|store| store.uuid().into_bytes()),
        asset: lineage.asset.map(|asset| asset.uuid().into_bytes()),
        version,
        fields,
        descendants,
    };
    let key = keys::change(tenant, sequence);
    let body = codec::encode(&record).map_err(encoding_failed)?;
    let value = envelope::seal(Keyspace::Change, &key, &body);
    stage.batch.put(Keyspace::Change, key, value);
    stage.next_change = Some(sequence + 1);
    retention::trim_as_it_goes(stage, tenant, sequence)
}

/// The sequence number of a tenant's newest record, which retention never takes; 0 where there is none.
pub(crate) fn last_sequence(snapshot: &dyn Snapshot, tenant: TenantNumber) -> Result<u64> {
    Ok(outermost_sequence(snapshot, tenant, Direction::Reverse)?.unwrap_or(0))
}

/// The sequence number of the oldest record that is still there.
pub(crate) fn first_sequence(snapshot: &dyn Snapshot, tenant: TenantNumber) -> Result<Option<u64>> {
    outermost_sequence(snapshot, tenant, Direction::Forward)
}

fn outermost_sequence(
    snapshot: &dyn Snapshot,
    tenant: TenantNumber,
    direction: Direction,
) -> Result<Option<u64>> {
    let mut found = Ok(None);
    snapshot.scan(
        Keyspace::Change,
        &bounds::tenant(tenant),
        direction,
        &mut |key, _| {
            found = sequence_in(key).map(Some);
            ControlFlow::Break(())
        },
    )?;
    found
}

pub(crate) fn sequence_in(key: &[u8]) -> Result<u64> {
    keys::sequence_of(key).ok_or_else(|| Error::corrupt(Keyspace::Change, key, "not a key of a change"))
}

/// The members, by their JSON names, that differ between two states of an entity.
pub(crate) fn changed_members<E: Entity>(old: &State<E>, new: &State<E>) -> Result<Vec<String>> {
    let (before, after) = (members(&old.fields)?, members(&new.fields)?);
    let names = before
        .keys()
        .chain(after.keys().filter(|name| !before.contains_key(*name)));
    let mut changed: Vec<String> = names
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect();
    if old.meta.owner_id != new.meta.owner_id {
        changed.push("ownerId".to_owned());
    }
    Ok(changed)
}

/// Each member as text: members of free JSON in another order are a change.
fn members(fields: &impl Serialize) -> Result<BTreeMap<String, String>> {
    match serde_json::to_value(fields) {
        Ok(Value::Object(members)) => Ok(members
            .into_iter()
            .map(|(name, value)| (name, value.to_string()))
            .collect()),
        Ok(_) => Ok(BTreeMap::new()),
        Err(error) => Err(encoding_failed(error.to_string())),
    }
}
