//! Reading the change feed: where a position lies, a page behind it.

use std::ops::ControlFlow;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::feed::{ChangeRecord, DescendantRecord, first_sequence, last_sequence, sequence_in};
use super::{Settings, TenantView};
use crate::backend::{Direction, Keyspace};
use crate::changes::{Change, ChangeEvent, Changes, Descendant, Position};
use crate::codec;
use crate::envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{AssetId, EntityId, EntityKind, StoreId};
use crate::keyspace::{TenantNumber, bounds};
use crate::time::Timestamp;

/// A page that has this many bytes takes no further record.
const PAGE_BYTES: usize = 4 << 20;

/// What stands for a feed in positions: another one in another catalog, in a copy of it, and for another tenant, also one of the same name.
fn feed_of(settings: &Settings, tenant: TenantNumber) -> u64 {
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(&settings.feed_id);
    bytes[16..].copy_from_slice(&tenant.0.to_be_bytes());
    xxh3_64(&bytes)
}

/// Where the feed of a tenant begins that does not exist yet: before the first change of whichever tenant gets the name. No tenant has the number 0.
fn before_any(settings: &Settings) -> Position {
    Position {
        feed: feed_of(settings, TenantNumber(0)),
        sequence: 0,
    }
}

/// The end of what may be shown.
pub(crate) fn newest(settings: &Settings, view: &TenantView<'_>, durable: Option<u64>) -> Result<Position> {
    let Some(tenant) = view.number else {
        return Ok(before_any(settings));
    };
    let last = last_sequence(view.snapshot, tenant)?;
    Ok(Position {
        feed: feed_of(settings, tenant),
        sequence: durable.map_or(last, |durable| durable.min(last)),
    })
}

/// The page behind `after`. `durable`: the last record that may be shown, where not all may.
pub(crate) fn page(
    settings: &Settings,
    view: &TenantView<'_>,
    durable: Option<u64>,
    after: Option<Position>,
    limit: usize,
) -> Result<Changes> {
    let before_any = before_any(settings);
    let Some(tenant) = view.number else {
        return match after {
            None => Ok(nothing(before_any)),
            Some(after) if after == before_any => Ok(nothing(before_any)),
            Some(_) => Err(rewound()),
        };
    };
    let feed = feed_of(settings, tenant);
    let start = match after {
        Some(after) if after.feed == feed => after.sequence,
        Some(after) if after != before_any => return Err(rewound()),
        _ => 0,
    };
    let last = last_sequence(view.snapshot, tenant)?;
    if start > last {
        return Err(rewound());
    }
    let shown = durable.map_or(last, |durable| durable.min(last));
    // Of this feed, whichever way the caller came to the beginning.
    let here = Position {
        feed,
        sequence: start,
    };
    if start < last {
        let first = first_sequence(view.snapshot, tenant)?.unwrap_or(last);
        if start + 1 < first {
            return Err(Error::changes_trimmed(Position {
                feed,
                sequence: first - 1,
            }));
        }
    }
    if start >= shown {
        return Ok(nothing(here));
    }
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut bad = None;
    let mut expected = start + 1;
    view.snapshot.scan(
        Keyspace::Change,
        &bounds::changes(tenant, expected, shown.saturating_add(1)),
        Direction::Forward,
        &mut |key, value| {
            match read(key, value, feed) {
                Ok(change) if change.sequence == expected => items.push(change),
                Ok(_) => bad = Some(Error::corrupt(Keyspace::Change, key, "a gap before the change")),
                Err(error) => bad = Some(error),
            }
            bytes += value.len();
            expected += 1;
            if bad.is_some() || items.len() >= limit || bytes >= PAGE_BYTES {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    )?;
    if let Some(bad) = bad {
        return Err(bad);
    }
    let position = items.last().map_or(here, |change: &Change| change.position);
    Ok(Changes {
        more: position.sequence < shown,
        items,
        position,
    })
}

fn nothing(position: Position) -> Changes {
    Changes {
        items: Vec::new(),
        position,
        more: false,
    }
}

fn rewound() -> Error {
    Error::new(
        ErrorKind::ChangesRewound,
        "the position belongs to another change feed: the catalog was restored from a backup, or the tenant dropped and made anew; read everything \
         again, then follow from the newest position",
    )
}

/// Decodes a stored record.
pub(crate) fn record<'a>(key: &[u8], value: &'a [u8]) -> Result<ChangeRecord<'a>> {
    codec::decode(envelope::open(Keyspace::Change, key, value)?)
        .map_err(|what| Error::corrupt(Keyspace::Change, key, what))
}

/// The change in a stored row.
pub(crate) fn read(key: &[u8], value: &[u8], feed: u64) -> Result<Change> {
    let sequence = sequence_in(key)?;
    let corrupt = |what: &str| Error::corrupt(Keyspace::Change, key, what);
    let ChangeRecord {
        time,
        actor,
        event,
        kind,
        id,
        store,
        asset,
        version,
        fields,
        descendants,
    } = record(key, value)?;
    let kind = EntityKind::from_code(kind).ok_or_else(|| corrupt("an unknown kind of entity"))?;
    let event = match event {
        0 => ChangeEvent::Created,
        1 => ChangeEvent::Updated {
            fields: fields.into_iter().map(String::from).collect(),
        },
        2 => ChangeEvent::Deleted,
        3 => ChangeEvent::Restored,
        4 => ChangeEvent::Purged,
        _ => return Err(corrupt("an unknown event")),
    };
    let id = EntityId::new(kind, Uuid::from_bytes(id));
    let (has_store, has_asset) = (kind != EntityKind::Store, kind == EntityKind::Set);
    if store.is_some() != has_store || asset.is_some() != has_asset {
        return Err(corrupt("other ancestors than the kind of entity has"));
    }
    if !descendants.is_empty() && kind != EntityKind::Asset {
        return Err(corrupt("descendants of what has none"));
    }
    let descendants = descendants.into_iter().map(|descendant| {
        let DescendantRecord { id: of, version } = descendant;
        Descendant {
            id: EntityId::new(EntityKind::Set, Uuid::from_bytes(of)),
            parent: id,
            version,
        }
    });
    Ok(Change {
        position: Position { feed, sequence },
        sequence,
        time: Timestamp::from_millis(time).map_err(|error| Error::corrupt(Keyspace::Change, key, error))?,
        actor: actor.map(String::from),
        event,
        id,
        store: store.map(|store| StoreId::from_uuid(Uuid::from_bytes(store))),
        asset: asset.map(|asset| AssetId::from_uuid(Uuid::from_bytes(asset))),
        version,
        descendants: descendants.collect(),
    })
}
