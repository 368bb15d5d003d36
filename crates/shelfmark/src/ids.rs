//! Typed ids of the three kinds of entity.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Timestamp;

/// The three kinds of entity, parents first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EntityKind {
    /// A data store.
    Store,
    /// A data asset.
    Asset,
    /// A data set.
    Set,
}

impl EntityKind {
    /// The three kinds, parents first.
    pub const ALL: [EntityKind; 3] = [EntityKind::Store, EntityKind::Asset, EntityKind::Set];

    /// How records say it.
    pub(crate) const fn code(self) -> u8 {
        match self {
            EntityKind::Store => 0,
            EntityKind::Asset => 1,
            EntityKind::Set => 2,
        }
    }

    /// The kind of this code.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EntityKind::Store => "data store",
            EntityKind::Asset => "data asset",
            EntityKind::Set => "data set",
        })
    }
}

/// An id together with its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntityId {
    /// The id of a data store.
    Store(StoreId),
    /// The id of a data asset.
    Asset(AssetId),
    /// The id of a data set.
    Set(SetId),
}

impl EntityId {
    pub(crate) fn new(kind: EntityKind, id: Uuid) -> Self {
        match kind {
            EntityKind::Store => Self::Store(StoreId(id)),
            EntityKind::Asset => Self::Asset(AssetId(id)),
            EntityKind::Set => Self::Set(SetId(id)),
        }
    }

    /// The kind of entity.
    pub fn kind(self) -> EntityKind {
        match self {
            EntityId::Store(_) => EntityKind::Store,
            EntityId::Asset(_) => EntityKind::Asset,
            EntityId::Set(_) => EntityKind::Set,
        }
    }

    /// The bare id.
    pub fn uuid(self) -> Uuid {
        match self {
            EntityId::Store(id) => id.uuid(),
            EntityId::Asset(id) => id.uuid(),
            EntityId::Set(id) => id.uuid(),
        }
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.uuid())
    }
}

macro_rules! typed_id {
    ($(#[doc = $doc:literal])+ $name:ident, $variant:ident) => {
        $(#[doc = $doc])+
        ///
        /// A UUID version 7: ids sort by creation time. Displays and parses in the hyphenated lower-case form.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub(crate) Uuid);

        impl $name {
            /// Takes any UUID; one that no catalog made simply names nothing.
            pub fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The bare UUID.
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<$name> for EntityId {
            fn from(id: $name) -> Self {
                EntityId::$variant(id)
            }
        }
    };
}

typed_id! {
    /// The id of a data store.
    StoreId, Store
}
typed_id! {
    /// The id of a data asset.
    AssetId, Asset
}
typed_id! {
    /// The id of a data set.
    SetId, Set
}

/// The creation time that a version 7 id carries in its first 48 bits.
pub(crate) fn created_time(id: Uuid) -> Timestamp {
    let bytes = id.as_bytes();
    let mut wide = [0_u8; 8];
    wide[2..].copy_from_slice(&bytes[..6]);
    Timestamp::from_millis_lossy(i64::from_be_bytes(wide))
}
