//! The record of a deletion, as it is stored.

use std::borrow::Cow;

use uuid::Uuid;
use wincode::{SchemaRead, SchemaWrite};

use crate::backend::Keyspace;
use crate::engine::create::encoding_failed;
use crate::engine::feed::Subject;
use crate::entity::Lineage;
use crate::error::{Error, Result};
use crate::ids::{AssetId, EntityId, EntityKind, StoreId};
use crate::time::Timestamp;
use crate::undrop::Dropped;
use crate::{codec, envelope};

/// What is kept of a deletion itself. A field here is a field of the file format.
#[derive(Debug, SchemaWrite, SchemaRead)]
struct RootRecord<'a> {
    /// As [`EntityKind::code`] gives it.
    kind: u8,
    time: i64,
    actor: Cow<'a, str>,
    version: u64,
    store: Option<[u8; 16]>,
    asset: Option<[u8; 16]>,
    name: Option<Cow<'a, str>>,
    technical_name: Cow<'a, str>,
    descendants: u64,
    /// Whether a purge has begun: it cannot be restored any more.
    purging: bool,
}

/// A decoded [`RootRecord`].
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) id: EntityId,
    pub(crate) time: Timestamp,
    pub(super) actor: String,
    pub(super) version: u64,
    pub(super) lineage: Lineage,
    pub(super) name: Option<String>,
    pub(super) technical_name: String,
    pub(crate) descendants: u64,
    pub(crate) purging: bool,
}

impl Kept {
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let Self {
            id,
            time,
            actor,
            version,
            lineage: Lineage { store, asset },
            name,
            technical_name,
            descendants,
            purging,
        } = self;
        let record = RootRecord {
            kind: id.kind().code(),
            time: time.millis(),
            actor: actor.into(),
            version: *version,
            store: store.map(|store| store.uuid().into_bytes()),
            asset: asset.map(|asset| asset.uuid().into_bytes()),
            name: name.as_deref().map(Cow::Borrowed),
            technical_name: technical_name.into(),
            descendants: *descendants,
            purging: *purging,
        };
        codec::encode(&record).map_err(encoding_failed)
    }

    /// From a stored row.
    pub(crate) fn decode(root: Uuid, key: &[u8], value: &[u8]) -> Result<Self> {
        let corrupt = |what: String| Error::corrupt(Keyspace::DroppedRow, key, what);
        let RootRecord {
            kind,
            time,
            actor,
            version,
            store,
            asset,
            name,
            technical_name,
            descendants,
            purging,
        } = codec::decode(envelope::open(Keyspace::DroppedRow, key, value)?).map_err(corrupt)?;
        let kind =
            EntityKind::from_code(kind).ok_or_else(|| corrupt(format!("unknown kind {kind} of entity")))?;
        Ok(Self {
            id: EntityId::new(kind, root),
            time: Timestamp::from_millis_lossy(time),
            actor: actor.into_owned(),
            version,
            lineage: Lineage {
                store: store.map(|id| StoreId::from_uuid(Uuid::from_bytes(id))),
                asset: asset.map(|id| AssetId::from_uuid(Uuid::from_bytes(id))),
            },
            name: name.map(Cow::into_owned),
            technical_name: technical_name.into_owned(),
            descendants,
            purging,
        })
    }

    pub(super) fn subject(&self) -> Subject {
        Subject {
            id: self.id,
            lineage: self.lineage,
            version: self.version,
        }
    }

    pub(super) fn shown(self, retention: i64) -> Dropped {
        let Self {
            id,
            time,
            actor,
            version,
            lineage: Lineage { store, asset },
            name,
            technical_name,
            descendants,
            purging: _,
        } = self;
        Dropped {
            id,
            name,
            technical_name,
            store,
            asset,
            version,
            dropped_at: time,
            dropped_by: actor,
            descendants,
            expires_at: Timestamp::from_millis_lossy(time.millis().saturating_add(retention)),
        }
    }
}
