//! Data assets.

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
use crate::ids::{AssetId, EntityId, EntityKind, StoreId, created_time};
use crate::index::Indexed;
use crate::sortkey::Scalar;
use crate::time::Timestamp;

/// A data asset: what holds data sets, inside a data store.
///
/// Field meanings and JSON names are those of the published REST API of data stores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DataAsset {
    /// Made by the catalog; carries the creation time.
    pub id: AssetId,
    /// Its name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its tags, without duplicates.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The app behind the asset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// What kind of asset it is.
    pub app_type: String,
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
    /// When the source data was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_freshness: Option<Timestamp>,
    /// The store it lies in.
    pub data_store_info: StoreInfo,
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

/// A data store as its assets show it: its name and type are read from the store at read time, so a rename shows at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StoreInfo {
    /// The id of the store.
    pub id: StoreId,
    /// The name of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The type of the store.
    #[serde(rename = "type")]
    pub store_type: String,
}

/// What a caller sets on a data asset, to create, replace or update one.
///
/// ```
/// # use shelfmark::{Catalog, NewDataAsset, NewDataStore, Write};
/// # fn main() -> shelfmark::Result<()> {
/// # let session = Catalog::in_memory()?.session("acme", "ann")?;
/// let store = session.create(NewDataStore::new("warehouse", "postgres"))?;
/// let mut asset = NewDataAsset::new(store.id, "orders", "qix-df");
/// asset.data_freshness = Some("2018-10-30T07:06:22Z".parse().expect("a date-time"));
/// assert_eq!(session.create(asset)?.data_store_info.store_type, "postgres");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewDataAsset {
    /// The store it lies in. Required on create; on replace `None` means unchanged, and another store is refused.
    #[serde(
        rename = "dataStoreInfo",
        skip_serializing_if = "Option::is_none",
        serialize_with = "codec::parent_reference"
    )]
    pub store: Option<StoreId>,
    /// Its name for people: at most 255 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its tags, without duplicates.
    pub tags: Vec<String>,
    /// The app behind the asset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Required: 1 to 64 characters, not blank.
    pub app_type: String,
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
    /// When the source data was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_freshness: Option<Timestamp>,
    /// Required: 1 to 255 characters, not blank.
    pub technical_name: String,
    /// At most 1,024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub technical_description: Option<String>,
}

impl NewDataAsset {
    /// A data asset of `store` with the two fields that are required.
    pub fn new(store: StoreId, technical_name: impl Into<String>, app_type: impl Into<String>) -> Self {
        Self {
            store: Some(store),
            technical_name: technical_name.into(),
            app_type: app_type.into(),
            ..Self::default()
        }
    }
}

impl StoreInfo {
    pub(super) fn new(lineage: Lineage, name: Option<String>, store_type: String) -> Self {
        Self {
            id: StoreId(Uuid::from_bytes(store_bytes(&lineage))),
            name,
            store_type,
        }
    }

    pub(super) fn inherit(&mut self, name: Option<String>, store_type: String) {
        self.name = name;
        self.store_type = store_type;
    }
}

/// The store's id as a record holds it; nil while it is not known yet.
pub(super) fn store_bytes(lineage: &Lineage) -> [u8; 16] {
    lineage.store.map_or(Uuid::nil(), StoreId::uuid).into_bytes()
}

/// The stored record. A field here is a field of the file format.
#[doc(hidden)]
#[derive(Debug, SchemaWrite, SchemaRead)]
#[cfg_attr(test, derive(bincode::Encode))]
pub struct AssetHead<'a> {
    pub(super) store: [u8; 16],
    pub(super) stamps: Stamps<'a>,
    pub(super) technical_name: Cow<'a, str>,
    pub(super) app_type: Cow<'a, str>,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) app_id: Option<Cow<'a, str>>,
    pub(super) data_freshness: Option<i64>,
    pub(super) space_id: Option<Cow<'a, str>>,
    pub(super) description: Option<Cow<'a, str>>,
    pub(super) technical_description: Option<Cow<'a, str>>,
    pub(super) tags: Vec<Cow<'a, str>>,
    /// JSON text.
    pub(super) properties: Option<Cow<'a, str>>,
}

impl<'a> Head<'a> for AssetHead<'a> {
    fn stamps(&self) -> &Stamps<'_> {
        &self.stamps
    }

    fn lineage(&self) -> Lineage {
        Lineage {
            store: Some(StoreId(Uuid::from_bytes(self.store))),
            asset: None,
        }
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn space_id(&self) -> Option<&str> {
        self.space_id.as_deref()
    }

    fn type_name(&self) -> Option<&str> {
        Some(&self.app_type)
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|have| have == tag)
    }

    fn scalar(&self, path: &str) -> Scalar<'_> {
        match path {
            "appId" => Scalar::text(self.app_id.as_deref()),
            "dataFreshness" => Scalar::integer(self.data_freshness),
            "dataStoreInfo.id" => Scalar::Id(Uuid::from_bytes(self.store)),
            "name" => Scalar::text(self.name.as_deref()),
            "appType" => Scalar::Text(&self.app_type),
            "spaceId" => Scalar::text(self.space_id.as_deref()),
            "description" => Scalar::text(self.description.as_deref()),
            "technicalName" => Scalar::Text(&self.technical_name),
            "technicalDescription" => Scalar::text(self.technical_description.as_deref()),
            _ => self.stamps.scalar(path),
        }
    }
}

impl Stored for DataAsset {
    type Head<'a> = AssetHead<'a>;

    const LAYOUT: &'static skim::Layout = skim::ASSET;

    fn decode_head(body: &[u8]) -> Result<AssetHead<'_>, String> {
        codec::decode(body)
    }

    fn encode_head(state: &State<Self>) -> Result<Vec<u8>, String> {
        let State {
            meta,
            lineage,
            fields,
            schema_row: _,
        } = state;
        let NewDataAsset {
            store: _,
            name,
            tags,
            app_id,
            app_type,
            owner_id: _,
            space_id,
            properties,
            description,
            data_freshness,
            technical_name,
            technical_description,
        } = fields;
        codec::encode(&AssetHead {
            store: store_bytes(lineage),
            stamps: Stamps::of(meta),
            technical_name: technical_name.into(),
            app_type: app_type.into(),
            name: name.as_deref().map(Cow::Borrowed),
            app_id: app_id.as_deref().map(Cow::Borrowed),
            data_freshness: data_freshness.map(Timestamp::millis),
            space_id: space_id.as_deref().map(Cow::Borrowed),
            description: description.as_deref().map(Cow::Borrowed),
            technical_description: technical_description.as_deref().map(Cow::Borrowed),
            tags: tags.iter().map(Cow::from).collect(),
            properties: json_text(properties.as_ref())?,
        })
    }

    fn state(head: AssetHead<'_>) -> Result<State<Self>, String> {
        let AssetHead {
            store,
            stamps,
            technical_name,
            app_type,
            name,
            app_id,
            data_freshness,
            space_id,
            description,
            technical_description,
            tags,
            properties,
        } = head;
        let store = StoreId(Uuid::from_bytes(store));
        let fields = NewDataAsset {
            store: Some(store),
            name: name.map(Cow::into_owned),
            tags: tags.into_iter().map(Cow::into_owned).collect(),
            app_id: app_id.map(Cow::into_owned),
            app_type: app_type.into_owned(),
            owner_id: None,
            space_id: space_id.map(Cow::into_owned),
            properties: parse_json_text(properties.as_deref())?,
            description: description.map(Cow::into_owned),
            data_freshness: data_freshness.map(Timestamp::from_millis_lossy),
            technical_name: technical_name.into_owned(),
            technical_description: technical_description.map(Cow::into_owned),
        };
        Ok(State {
            meta: stamps.into_meta(),
            lineage: Lineage {
                store: Some(store),
                asset: None,
            },
            fields,
            schema_row: false,
        })
    }

    fn show(head: AssetHead<'_>, around: &Around<'_>, text: &mut Vec<u8>) -> Result<(), String> {
        shown::asset(&head, around, text)
    }

    fn assemble(id: Uuid, tenant: &str, state: State<Self>, inherited: Inherited) -> Self {
        let State {
            meta,
            lineage,
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
        let NewDataAsset {
            store: _,
            name,
            tags,
            app_id,
            app_type,
            owner_id: _,
            space_id,
            properties,
            description,
            data_freshness,
            technical_name,
            technical_description,
        } = fields;
        DataAsset {
            id: AssetId(id),
            name,
            tags,
            app_id,
            app_type,
            owner_id,
            space_id,
            version,
            tenant_id: tenant.to_owned(),
            created_by,
            properties,
            created_time: created_time(id),
            description,
            data_freshness,
            data_store_info: StoreInfo::new(lineage, inherited.store_name, inherited.store_type),
            technical_name,
            last_modified_by,
            last_modified_time,
            technical_description,
        }
    }

    fn lineage(&self) -> Lineage {
        Lineage {
            store: Some(self.data_store_info.id),
            asset: None,
        }
    }

    fn inherit(&mut self, inherited: Inherited) {
        self.data_store_info
            .inherit(inherited.store_name, inherited.store_type);
    }

    fn named_parent(fields: &NewDataAsset) -> Option<EntityId> {
        fields.store.map(EntityId::Store)
    }

    fn named_owner(fields: &NewDataAsset) -> Option<&str> {
        fields.owner_id.as_deref()
    }

    fn with_parent_and_owner(
        fields: NewDataAsset,
        lineage: Lineage,
        owner_id: Option<String>,
    ) -> NewDataAsset {
        NewDataAsset {
            store: lineage.store,
            owner_id,
            ..fields
        }
    }

    fn indexed(id: Uuid, state: &State<Self>) -> Indexed<'_> {
        Indexed {
            kind: EntityKind::Asset,
            id,
            parent: state.lineage.store.map(StoreId::uuid),
            name: state.fields.name.as_deref(),
            technical_name: &state.fields.technical_name,
            last_modified_time: state.meta.last_modified_time,
            secure_qri: None,
        }
    }

    fn read(object: &mut Reader<'_>) -> NewDataAsset {
        NewDataAsset {
            store: object.parent("dataStoreInfo").map(StoreId),
            name: object.text("name"),
            tags: object.texts("tags"),
            app_id: object.text("appId"),
            app_type: object.required_text("appType"),
            owner_id: object.text("ownerId"),
            space_id: object.text("spaceId"),
            properties: object.free("properties"),
            description: object.text("description"),
            data_freshness: object.timestamp("dataFreshness"),
            technical_name: object.required_text("technicalName"),
            technical_description: object.text("technicalDescription"),
        }
    }

    fn check(fields: &NewDataAsset, checker: &mut Checker<'_>) {
        let NewDataAsset {
            store: _,
            name,
            tags,
            app_id: _,
            app_type,
            owner_id: _,
            space_id: _,
            properties,
            description,
            data_freshness: _,
            technical_name,
            technical_description,
        } = fields;
        checker.length("name", name.as_deref(), 255);
        checker.tags("tags", tags);
        checker.required("appType", app_type, 1, 64);
        checker.free("properties", properties.as_ref());
        checker.length("description", description.as_deref(), 1024);
        checker.required("technicalName", technical_name, 1, 255);
        checker.length("technicalDescription", technical_description.as_deref(), 1024);
    }
}
