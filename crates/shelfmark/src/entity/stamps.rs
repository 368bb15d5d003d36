//! What the application sets on every entity beside its id, as it is stored.

use std::borrow::Cow;

use wincode::{SchemaRead, SchemaWrite};

use super::Meta;
use crate::sortkey::Scalar;
use crate::time::Timestamp;

/// Part of every stored record. A field here is a field of the file format.
#[doc(hidden)]
#[derive(Debug, SchemaWrite, SchemaRead)]
#[cfg_attr(test, derive(bincode::Encode))]
pub struct Stamps<'a> {
    version: u64,
    last_modified_time: i64,
    created_by: Cow<'a, str>,
    /// `None`: as `created_by`, so that a name that recurs is stored once.
    owner_id: Option<Cow<'a, str>>,
    /// `None`: as `created_by`.
    last_modified_by: Option<Cow<'a, str>>,
}

impl<'a> Stamps<'a> {
    pub(super) fn of(meta: &'a Meta) -> Self {
        let Meta {
            version,
            owner_id,
            created_by,
            last_modified_by,
            last_modified_time,
        } = meta;
        let unless_creator = |name: &'a str| (name != created_by).then_some(Cow::Borrowed(name));
        Stamps {
            version: *version,
            last_modified_time: last_modified_time.millis(),
            created_by: created_by.into(),
            owner_id: unless_creator(owner_id),
            last_modified_by: unless_creator(last_modified_by),
        }
    }

    pub(super) fn into_meta(self) -> Meta {
        let Stamps {
            version,
            last_modified_time,
            created_by,
            owner_id,
            last_modified_by,
        } = self;
        Meta {
            version,
            owner_id: owner_id.unwrap_or_else(|| created_by.clone()).into_owned(),
            last_modified_by: last_modified_by
                .unwrap_or_else(|| created_by.clone())
                .into_owned(),
            created_by: created_by.into_owned(),
            last_modified_time: Timestamp::from_millis_lossy(last_modified_time),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn created_by(&self) -> &str {
        &self.created_by
    }

    pub(super) fn last_modified_by(&self) -> &str {
        self.last_modified_by.as_deref().unwrap_or(&self.created_by)
    }

    pub(crate) fn owner_id(&self) -> &str {
        self.owner_id.as_deref().unwrap_or(&self.created_by)
    }

    pub(crate) fn last_modified_time(&self) -> Timestamp {
        Timestamp::from_millis_lossy(self.last_modified_time)
    }

    /// The value at a path that every kind of entity has.
    pub(super) fn scalar(&self, path: &str) -> Scalar<'_> {
        match path {
            "ownerId" => Scalar::Text(self.owner_id()),
            "version" => Scalar::unsigned(self.version),
            "createdBy" => Scalar::Text(&self.created_by),
            "lastModifiedBy" => Scalar::Text(self.last_modified_by()),
            "lastModifiedTime" => Scalar::Integer(self.last_modified_time),
            _ => Scalar::Missing,
        }
    }
}
