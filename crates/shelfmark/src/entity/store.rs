//! Data stores.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wincode::{SchemaRead, SchemaWrite};

use super::reader::Reader;
use super::rules::Checker;
use super::shown::{self, Around};
use super::skim;
use super::{Head, Inherited, JsonObject, Lineage, Meta, State, Stored, stamps::Stamps};
use crate::codec::{self, json_text, parse_json_text};
use crate::error::Result;
use crate::ids::{EntityId, EntityKind, StoreId, created_time};
use crate::index::Indexed;
use crate::sortkey::Scalar;
use crate::time::Timestamp;

/// A data store: what holds data assets.
///
/// Field meanings and JSON names are those of the published REST API of data stores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DataStore {
    /// Made by the catalog; carries the creation time.
    pub id: StoreId,
    /// Where the store is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Its name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its tags, without duplicates.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What kind of store it is, such as `postgres`.
    #[serde(rename = "type")]
    pub store_type: String,
    /// Who owns it: its creator, until changed.
    pub owner_id: String,
    /// The space it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space_id: Option<String>,
    /// 0 after creation, one more at each change.
    pub version: u64,
    /// The tenant it lives in.
    pub tenant_id: String,
    /// Who created it.
    pub created_by: String,
    /// Free name-value pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<JsonObject>,
    /// When it was created.
    pub created_time: Timestamp,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its name for programs.
    pub technical_name: String,
    /// Who changed it last.
    pub last_modified_by: String,
    /// When it was changed last; never goes back.
    pub last_modified_time: Timestamp,
    /// What it is, technically.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technical_description: Option<String>,
}

/// What a caller sets on a data store, to create, replace or update one.
///
/// ```
/// let mut store = shelfmark::NewDataStore::new("warehouse", "postgres");
/// store.name = Some("Warehouse".into());
/// store.tags = vec!["gold".into()];
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewDataStore {
    /// Where the store is: at most 512 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Its name for people: at most 255 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its tags, without duplicates.
    pub tags: Vec<String>,
    /// Required: 1 to 64 characters, not blank.
    #[serde(rename = "type")]
    pub store_type: String,
    /// Ignored on create, where the actor becomes the owner; kept when `None` on replace, else 1 to 255 bytes, not blank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<String>,
    /// The space it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space_id: Option<String>,
    /// Free name-value pairs, at most 64 levels deep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<JsonObject>,
    /// At most 1,024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Required: 1 to 255 characters, not blank.
    pub technical_name: String,
    /// At most 1,024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub technical_description: Option<String>,
}

impl NewDataStore {
    /// A data store with the two fields that are required.
    pub fn new(technical_name: impl Into<String>, store_type: impl Into<String>) -> Self {
        Self {
            technical_name: technical_name.into(),
            store_type: store_type.into(),
            ..Self::default()
        }
    }
}

/// The stored record. A field here is a field of the file format.
#[doc(hidden)]
#[derive(Debug, SchemaWrite, SchemaRead)]
#[cfg_attr(test, derive(bincode::Encode))]
pub struct StoreHead<'a> {
    pub(super) stamps: Stamps<'a>,
    pub(super) technical_name: Cow<'a, str>,
    pub(super) store_type: Cow<'a, str>,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) uri: Option<Cow<'a, str>>,
    pub(super) space_id: Option<Cow<'a, str>>,
    pub(super) description: Option<Cow<'a, str>>,
    pub(super) technical_description: Option<Cow<'a, str>>,
    pub(super) tags: Vec<Cow<'a, str>>,
    /// JSON text.
    pub(super) properties: Option<Cow<'a, str>>,
}

impl<'a> Head<'a> for StoreHead<'a> {
    fn stamps(&self) -> &Stamps<'_> {
        &self.stamps
    }

    fn lineage(&self) -> Lineage {
        Lineage::default()
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn space_id(&self) -> Option<&str> {
        self.space_id.as_deref()
    }

    fn type_name(&self) -> Option<&str> {
        Some(&self.store_type)
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|have| have == tag)
    }

    fn scalar(&self, path: &str) -> Scalar<'_> {
        match path {
            "uri" => Scalar::text(self.uri.as_deref()),
            "name" => Scalar::text(self.name.as_deref()),
            "type" => Scalar::Text(&self.store_type),
            "spaceId" => Scalar::text(self.space_id.as_deref()),
            "description" => Scalar::text(self.description.as_deref()),
            "technicalName" => Scalar::Text(&self.technical_name),
            "technicalDescription" => Scalar::text(self.technical_description.as_deref()),
            _ => self.stamps.scalar(path),
        }
    }
}

impl Stored for DataStore {
    type Head<'a> = StoreHead<'a>;

    const LAYOUT: &'static skim::Layout = skim::STORE;

    fn decode_head(body: &[u8]) -> Result<StoreHead<'_>, String> {
        codec::decode(body)
    }

    fn encode_head(state: &State<Self>) -> Result<Vec<u8>, String> {
        let State {
            meta,
            lineage: _,
            fields,
            schema_row: _,
        } = state;
        let NewDataStore {
            uri,
            name,
            tags,
            store_type,
            owner_id: _,
            space_id,
            properties,
            description,
            technical_name,
            technical_description,
        } = fields;
        codec::encode(&StoreHead {
            stamps: Stamps::of(meta),
            technical_name: technical_name.into(),
            store_type: store_type.into(),
            name: name.as_deref().map(Cow::Borrowed),
            uri: uri.as_deref().map(Cow::Borrowed),
            space_id: space_id.as_deref().map(Cow::Borrowed),
            description: description.as_deref().map(Cow::Borrowed),
            technical_description: technical_description.as_deref().map(Cow::Borrowed),
            tags: tags.iter().map(Cow::from).collect(),
            properties: json_text(properties.as_ref())?,
        })
    }

    fn state(head: StoreHead<'_>) -> Result<State<Self>, String> {
        let StoreHead {
            stamps,
            technical_name,
            store_type,
            name,
            uri,
            space_id,
            description,
            technical_description,
            tags,
            properties,
        } = head;
        let fields = NewDataStore {
            uri: uri.map(Cow::into_owned),
            name: name.map(Cow::into_owned),
            tags: tags.into_iter().map(Cow::into_owned).collect(),
            store_type: store_type.into_owned(),
            owner_id: None,
            space_id: space_id.map(Cow::into_owned),
            properties: parse_json_text(properties.as_deref())?,
            description: description.map(Cow::into_owned),
            technical_name: technical_name.into_owned(),
            technical_description: technical_description.map(Cow::into_owned),
        };
        Ok(State {
            meta: stamps.into_meta(),
            lineage: Lineage::default(),
            fields,
            schema_row: false,
        })
    }

    fn show(head: StoreHead<'_>, around: &Around<'_>, text: &mut Vec<u8>) -> Result<(), String> {
        shown::store(&head, around, text)
    }

    fn assemble(id: Uuid, tenant: &str, state: State<Self>, _inherited: Inherited) -> Self {
        let State {
            meta,
            lineage: _,
            fields,
            schema_row: _,
        } = state;
        let Meta {
            version,
            owner_id,
            created_by,
            last_modified_by,
            last_modified_time,
        } = meta;
        let NewDataStore {
            uri,
            name,
            tags,
            store_type,
            owner_id: _,
            space_id,
            properties,
            description,
            technical_name,
            technical_description,
        } = fields;
        DataStore {
            id: StoreId(id),
            uri,
            name,
            tags,
            store_type,
            owner_id,
            space_id,
            version,
            tenant_id: tenant.to_owned(),
            created_by,
            properties,
            created_time: created_time(id),
            description,
            technical_name,
            last_modified_by,
            last_modified_time,
            technical_description,
        }
    }

    fn named_parent(_fields: &NewDataStore) -> Option<EntityId> {
        None
    }

    fn named_owner(fields: &NewDataStore) -> Option<&str> {
        fields.owner_id.as_deref()
    }

    fn with_parent_and_owner(
        fields: NewDataStore,
        _lineage: Lineage,
        owner_id: Option<String>,
    ) -> NewDataStore {
        NewDataStore { owner_id, ..fields }
    }

    fn indexed(id: Uuid, state: &State<Self>) -> Indexed<'_> {
        Indexed {
            kind: EntityKind::Store,
            id,
            parent: None,
            name: state.fields.name.as_deref(),
            technical_name: &state.fields.technical_name,
            last_modified_time: state.meta.last_modified_time,
            secure_qri: None,
        }
    }

    fn read(object: &mut Reader<'_>) -> NewDataStore {
        NewDataStore {
            uri: object.text("uri"),
            name: object.text("name"),
            tags: object.texts("tags"),
            store_type: object.required_text("type"),
            owner_id: object.text("ownerId"),
            space_id: object.text("spaceId"),
            properties: object.free("properties"),
            description: object.text("description"),
            technical_name: object.required_text("technicalName"),
            technical_description: object.text("technicalDescription"),
        }
    }

    fn check(fields: &NewDataStore, checker: &mut Checker<'_>) {
        let NewDataStore {
            uri,
            name,
            tags,
            store_type,
            owner_id: _,
            space_id: _,
            properties,
            description,
            technical_name,
            technical_description,
        } = fields;
        checker.length("uri", uri.as_deref(), 512);
        checker.length("name", name.as_deref(), 255);
        checker.tags("tags", tags);
        checker.required("type", store_type, 1, 64);
        checker.free("properties", properties.as_ref());
        checker.length("description", description.as_deref(), 1024);
        checker.required("technicalName", technical_name, 1, 255);
        checker.length("technicalDescription", technical_description.as_deref(), 1024);
    }
}
