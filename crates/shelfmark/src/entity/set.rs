//! Data sets. One thing in one file: each field stands once in what is given, stored and shown, and where one becomes another.

use std::borrow::Cow;
use std::mem;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wincode::{SchemaRead, SchemaWrite};

use super::asset::{StoreInfo, store_bytes};
use super::operational::{self, Operational, OperationalRecord};
use super::reader::Reader;
use super::rules::Checker;
use super::schema::{self, Schema};
use super::shown::{self, Around};
use super::skim;
use super::{Head, Inherited, JsonObject, Lineage, Meta, State, Stored, stamps::Stamps};
use crate::codec::{self, json_text, owned, parse_json_text};
use crate::error::Result;
use crate::ids::{AssetId, EntityId, EntityKind, SetId, StoreId, created_time};
use crate::index::Indexed;
use crate::sortkey::Scalar;
use crate::time::Timestamp;

/// A data set, inside a data asset.
///
/// Field meanings and JSON names are those of the published REST API of data stores. The schemas of a set lie apart from the rest: where a
/// call does not read them ([`Read::get_head`](crate::Read::get_head), lists that do not ask for them), `schema` is `None` and `additional_schemas` empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DataSet {
    /// Made by the catalog; carries the creation time.
    pub id: SetId,
    /// At least four non-empty parts joined by `:`.
    pub qri: String,
    /// Its name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its tags, without duplicates.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What kind of set it is.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub set_type: Option<String>,
    /// The primary schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
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
    /// The secure form of `qri`. Several sets may have the same.
    pub secure_qri: String,
    /// Free name-value pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<JsonObject>,
    /// When it was created.
    pub created_time: Timestamp,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How its loads go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operational: Option<Operational>,
    /// The asset it lies in.
    pub data_asset_info: AssetInfo,
    /// Its name for programs.
    pub technical_name: String,
    /// Who changed it last.
    pub last_modified_by: String,
    /// Overrides the asset's `appType`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_type_override: Option<String>,
    /// When it was changed last; never goes back.
    pub last_modified_time: Timestamp,
    /// Further tables or sheets of the same source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_schemas: Vec<Schema>,
    /// What it is, technically.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technical_description: Option<String>,
    /// The connection that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by_connection_id: Option<String>,
}

/// A data asset as its sets show it: names are read from asset and store at read time, so a rename shows at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AssetInfo {
    /// The id of the asset.
    pub id: AssetId,
    /// The name of the asset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The store that the asset lies in.
    pub data_store_info: StoreInfo,
}

/// What a caller sets on a data set, to create, replace or update one.
///
/// ```
/// # use shelfmark::{AssetId, DataField, FieldType, NewDataSet, Schema};
/// # fn set(asset: AssetId) -> NewDataSet {
/// let mut set = NewDataSet::new(asset, "orders", "qdf:qix-datafiles:acme:sid@7:orders.qvd", "qri:qdf:orders");
/// set.schema = Some(Schema {
///     data_fields: vec![DataField::new("order_id", FieldType::Integer), DataField::new("placed", FieldType::Date)],
///     ..Schema::default()
/// });
/// # set }
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewDataSet {
    /// Required: 8 to 1,024 characters, at least four non-empty parts joined by `:`.
    pub qri: String,
    /// Its name for people: at most 255 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its tags, without duplicates.
    pub tags: Vec<String>,
    /// 1 to 64 characters.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub set_type: Option<String>,
    /// The primary schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
    /// Ignored on create, where the actor becomes the owner; kept when `None` on replace, else 1 to 255 bytes, not blank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<String>,
    /// The space it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space_id: Option<String>,
    /// Required: 1 to 1,024 characters, not blank. Need not be unique.
    pub secure_qri: String,
    /// Free name-value pairs, at most 64 levels deep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<JsonObject>,
    /// At most 1,024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How its loads go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operational: Option<Operational>,
    /// The asset it lies in. Required on create; on replace `None` means unchanged, and another asset is refused.
    #[serde(
        rename = "dataAssetInfo",
        skip_serializing_if = "Option::is_none",
        serialize_with = "codec::parent_reference"
    )]
    pub asset: Option<AssetId>,
    /// Required: 1 to 255 characters, not blank.
    pub technical_name: String,
    /// Overrides the asset's `appType`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_type_override: Option<String>,
    /// Further tables or sheets of the same source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_schemas: Vec<Schema>,
    /// At most 1,024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub technical_description: Option<String>,
    /// The connection that created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by_connection_id: Option<String>,
}

impl NewDataSet {
    /// A data set of `asset` with the three fields that are required.
    pub fn new(
        asset: AssetId,
        technical_name: impl Into<String>,
        qri: impl Into<String>,
        secure_qri: impl Into<String>,
    ) -> Self {
        Self {
            asset: Some(asset),
            technical_name: technical_name.into(),
            qri: qri.into(),
            secure_qri: secure_qri.into(),
            ..Self::default()
        }
    }
}

/// The stored head. A field here is a field of the file format.
#[doc(hidden)]
#[derive(Debug, SchemaWrite, SchemaRead)]
#[cfg_attr(test, derive(bincode::Encode))]
pub struct SetHead<'a> {
    // First and of fixed size: filled in when the asset has been read.
    pub(super) store: [u8; 16],
    pub(super) asset: [u8; 16],
    /// Whether there is a schema row.
    pub(super) schema_row: bool,
    pub(super) stamps: Stamps<'a>,
    pub(super) technical_name: Cow<'a, str>,
    pub(super) qri: Cow<'a, str>,
    /// `None`: as `qri`.
    pub(super) secure_qri: Option<Cow<'a, str>>,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) set_type: Option<Cow<'a, str>>,
    pub(super) space_id: Option<Cow<'a, str>>,
    pub(super) description: Option<Cow<'a, str>>,
    pub(super) technical_description: Option<Cow<'a, str>>,
    pub(super) app_type_override: Option<Cow<'a, str>>,
    pub(super) created_by_connection_id: Option<Cow<'a, str>>,
    pub(super) tags: Vec<Cow<'a, str>>,
    /// JSON text.
    pub(super) properties: Option<Cow<'a, str>>,
    pub(super) operational: Option<OperationalRecord<'a>>,
}

impl SetHead<'_> {
    pub(crate) fn secure_qri(&self) -> &str {
        self.secure_qri.as_deref().unwrap_or(&self.qri)
    }
}

impl<'a> Head<'a> for SetHead<'a> {
    fn stamps(&self) -> &Stamps<'_> {
        &self.stamps
    }

    fn lineage(&self) -> Lineage {
        Lineage {
            store: Some(StoreId(Uuid::from_bytes(self.store))),
            asset: Some(AssetId(Uuid::from_bytes(self.asset))),
        }
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn space_id(&self) -> Option<&str> {
        self.space_id.as_deref()
    }

    fn type_name(&self) -> Option<&str> {
        self.set_type.as_deref()
    }

    fn has_schema_row(&self) -> bool {
        self.schema_row
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|have| have == tag)
    }

    fn scalar(&self, path: &str) -> Scalar<'_> {
        match path {
            "qri" => Scalar::Text(&self.qri),
            "name" => Scalar::text(self.name.as_deref()),
            "type" => Scalar::text(self.set_type.as_deref()),
            "spaceId" => Scalar::text(self.space_id.as_deref()),
            "secureQri" => Scalar::Text(self.secure_qri()),
            "description" => Scalar::text(self.description.as_deref()),
            "dataAssetInfo.id" => Scalar::Id(Uuid::from_bytes(self.asset)),
            "dataAssetInfo.dataStoreInfo.id" => Scalar::Id(Uuid::from_bytes(self.store)),
            "technicalName" => Scalar::Text(&self.technical_name),
            "appTypeOverride" => Scalar::text(self.app_type_override.as_deref()),
            "technicalDescription" => Scalar::text(self.technical_description.as_deref()),
            "createdByConnectionId" => Scalar::text(self.created_by_connection_id.as_deref()),
            _ => match (path.strip_prefix("operational."), &self.operational) {
                (Some(path), Some(operational)) => operational::scalar(operational, path),
                _ => self.stamps.scalar(path),
            },
        }
    }
}

impl Stored for DataSet {
    type Head<'a> = SetHead<'a>;

    const LAYOUT: &'static skim::Layout = skim::SET;

    fn decode_head(body: &[u8]) -> Result<SetHead<'_>, String> {
        codec::decode(body)
    }

    fn encode_head(state: &State<Self>) -> Result<Vec<u8>, String> {
        let State {
            meta,
            lineage,
            fields,
            schema_row: _,
        } = state;
        let NewDataSet {
            qri,
            name,
            tags,
            set_type,
            schema: _,
            owner_id: _,
            space_id,
            secure_qri,
            properties,
            description,
            operational,
            asset: _,
            technical_name,
            app_type_override,
            additional_schemas: _,
            technical_description,
            created_by_connection_id,
        } = fields;
        codec::encode(&SetHead {
            store: store_bytes(lineage),
            asset: asset_bytes(lineage),
            schema_row: Self::has_schemas(fields),
            stamps: Stamps::of(meta),
            technical_name: technical_name.into(),
            qri: qri.into(),
            secure_qri: (secure_qri != qri).then_some(secure_qri.into()),
            name: name.as_deref().map(Cow::Borrowed),
            set_type: set_type.as_deref().map(Cow::Borrowed),
            space_id: space_id.as_deref().map(Cow::Borrowed),
            description: description.as_deref().map(Cow::Borrowed),
            technical_description: technical_description.as_deref().map(Cow::Borrowed),
            app_type_override: app_type_override.as_deref().map(Cow::Borrowed),
            created_by_connection_id: created_by_connection_id.as_deref().map(Cow::Borrowed),
            tags: tags.iter().map(Cow::from).collect(),
            properties: json_text(properties.as_ref())?,
            operational: operational.as_ref().map(operational::record).transpose()?,
        })
    }

    fn set_store(body: &mut [u8], store: StoreId) {
        if let Some(bytes) = body.first_chunk_mut::<16>() {
            *bytes = store.uuid().into_bytes();
        }
    }

    fn has_schemas(fields: &NewDataSet) -> bool {
        fields.schema.is_some() || !fields.additional_schemas.is_empty()
    }

    fn encode_schemas(fields: &NewDataSet) -> Result<Option<Vec<u8>>, String> {
        schema::encode(fields.schema.as_ref(), &fields.additional_schemas)
    }

    fn add_schemas(fields: &mut NewDataSet, body: &[u8]) -> Result<(), String> {
        (fields.schema, fields.additional_schemas) = schema::decode(body)?;
        Ok(())
    }

    fn state(head: SetHead<'_>) -> Result<State<Self>, String> {
        let lineage = head.lineage();
        let SetHead {
            store: _,
            asset: _,
            schema_row,
            stamps,
            technical_name,
            qri,
            secure_qri,
            name,
            set_type,
            space_id,
            description,
            technical_description,
            app_type_override,
            created_by_connection_id,
            tags,
            properties,
            operational,
        } = head;
        let fields = NewDataSet {
            secure_qri: secure_qri.unwrap_or_else(|| qri.clone()).into_owned(),
            qri: qri.into_owned(),
            name: name.map(Cow::into_owned),
            tags: tags.into_iter().map(Cow::into_owned).collect(),
            set_type: set_type.map(Cow::into_owned),
            schema: None,
            owner_id: None,
            space_id: space_id.map(Cow::into_owned),
            properties: parse_json_text(properties.as_deref())?,
            description: description.map(Cow::into_owned),
            operational: operational.as_ref().map(operational::from_record).transpose()?,
            asset: lineage.asset,
            technical_name: technical_name.into_owned(),
            app_type_override: app_type_override.map(Cow::into_owned),
            additional_schemas: Vec::new(),
            technical_description: technical_description.map(Cow::into_owned),
            created_by_connection_id: created_by_connection_id.map(Cow::into_owned),
        };
        Ok(State {
            meta: stamps.into_meta(),
            lineage,
            fields,
            schema_row,
        })
    }

    fn show(head: SetHead<'_>, around: &Around<'_>, text: &mut Vec<u8>) -> Result<(), String> {
        shown::set(head, around, text)
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
        let NewDataSet {
            qri,
            name,
            tags,
            set_type,
            schema,
            owner_id: _,
            space_id,
            secure_qri,
            properties,
            description,
            operational,
            asset: _,
            technical_name,
            app_type_override,
            additional_schemas,
            technical_description,
            created_by_connection_id,
        } = fields;
        let Inherited {
            asset_name,
            store_name,
            store_type,
        } = inherited;
        DataSet {
            id: SetId(id),
            qri,
            name,
            tags,
            set_type,
            schema,
            owner_id,
            space_id,
            version,
            tenant_id: tenant.to_owned(),
            created_by,
            secure_qri,
            properties,
            created_time: created_time(id),
            description,
            operational,
            data_asset_info: AssetInfo {
                id: AssetId(Uuid::from_bytes(asset_bytes(&lineage))),
                name: asset_name,
                data_store_info: StoreInfo::new(lineage, store_name, store_type),
            },
            technical_name,
            last_modified_by,
            app_type_override,
            last_modified_time,
            additional_schemas,
            technical_description,
            created_by_connection_id,
        }
    }

    /// At once, and from the head where it was decoded: by way of its state all would be moved three times more.
    fn place(body: &[u8], id: Uuid, tenant: &str, place: &mut Option<Self>) -> Result<bool, String> {
        let mut decoded = codec::decode::<SetHead<'_>>(body);
        let head = decoded.as_mut().map_err(mem::take)?;
        let lineage = head.lineage();
        let SetHead {
            store: _,
            asset,
            schema_row,
            stamps,
            technical_name,
            qri,
            secure_qri,
            name,
            set_type,
            space_id,
            description,
            technical_description,
            app_type_override,
            created_by_connection_id,
            tags,
            properties,
            operational,
        } = head;
        let properties = parse_json_text(properties.as_deref())?;
        let set = place.insert(DataSet {
            id: SetId(id),
            qri: str::to_owned(qri),
            name: owned(name),
            tags: mem::take(tags).into_iter().map(Cow::into_owned).collect(),
            set_type: owned(set_type),
            schema: None,
            owner_id: stamps.owner_id().to_owned(),
            space_id: owned(space_id),
            version: stamps.version(),
            tenant_id: tenant.to_owned(),
            created_by: stamps.created_by().to_owned(),
            secure_qri: secure_qri.as_deref().unwrap_or(qri).to_owned(),
            properties,
            created_time: created_time(id),
            description: owned(description),
            operational: None,
            data_asset_info: AssetInfo {
                id: AssetId(Uuid::from_bytes(*asset)),
                name: None,
                data_store_info: StoreInfo::new(lineage, None, String::new()),
            },
            technical_name: str::to_owned(technical_name),
            last_modified_by: stamps.last_modified_by().to_owned(),
            app_type_override: owned(app_type_override),
            last_modified_time: stamps.last_modified_time(),
            additional_schemas: Vec::new(),
            technical_description: owned(technical_description),
            created_by_connection_id: owned(created_by_connection_id),
        });
        if let Some(record) = operational {
            set.operational = Some(operational::from_record(record)?);
        }
        Ok(*schema_row)
    }

    fn lineage(&self) -> Lineage {
        let AssetInfo {
            id,
            name: _,
            data_store_info,
        } = &self.data_asset_info;
        Lineage {
            store: Some(data_store_info.id),
            asset: Some(*id),
        }
    }

    fn inherit(&mut self, inherited: Inherited) {
        let Inherited {
            asset_name,
            store_name,
            store_type,
        } = inherited;
        self.data_asset_info.name = asset_name;
        self.data_asset_info
            .data_store_info
            .inherit(store_name, store_type);
    }

    fn read_schemas(&mut self, body: &[u8]) -> Result<(), String> {
        (self.schema, self.additional_schemas) = schema::decode(body)?;
        Ok(())
    }

    fn named_parent(fields: &NewDataSet) -> Option<EntityId> {
        fields.asset.map(EntityId::Asset)
    }

    fn named_owner(fields: &NewDataSet) -> Option<&str> {
        fields.owner_id.as_deref()
    }

    fn with_parent_and_owner(fields: NewDataSet, lineage: Lineage, owner_id: Option<String>) -> NewDataSet {
        NewDataSet {
            asset: lineage.asset,
            owner_id,
            ..fields
        }
    }

    fn indexed(id: Uuid, state: &State<Self>) -> Indexed<'_> {
        Indexed {
            kind: EntityKind::Set,
            id,
            parent: state.lineage.asset.map(AssetId::uuid),
            name: state.fields.name.as_deref(),
            technical_name: &state.fields.technical_name,
            last_modified_time: state.meta.last_modified_time,
            secure_qri: Some(&state.fields.secure_qri),
        }
    }

    fn read(object: &mut Reader<'_>) -> NewDataSet {
        NewDataSet {
            qri: object.required_text("qri"),
            name: object.text("name"),
            tags: object.texts("tags"),
            set_type: object.text("type"),
            schema: object.object("schema", schema::read),
            owner_id: object.text("ownerId"),
            space_id: object.text("spaceId"),
            secure_qri: object.required_text("secureQri"),
            properties: object.free("properties"),
            description: object.text("description"),
            operational: object.object("operational", operational::read),
            asset: object.parent("dataAssetInfo").map(AssetId),
            technical_name: object.required_text("technicalName"),
            app_type_override: object.text("appTypeOverride"),
            additional_schemas: object.list("additionalSchemas", schema::read).unwrap_or_default(),
            technical_description: object.text("technicalDescription"),
            created_by_connection_id: object.text("createdByConnectionId"),
        }
    }

    fn check(fields: &NewDataSet, checker: &mut Checker<'_>) {
        let NewDataSet {
            qri,
            name,
            tags,
            set_type,
            schema,
            owner_id: _,
            space_id: _,
            secure_qri,
            properties,
            description,
            operational,
            asset: _,
            technical_name,
            app_type_override: _,
            additional_schemas,
            technical_description,
            created_by_connection_id: _,
        } = fields;
        checker.required("qri", qri, 8, 1024);
        let parts: Vec<&str> = qri.split(':').collect();
        if parts.len() < 4 || parts.iter().any(|part| part.is_empty()) {
            checker.refuse(
                "qri",
                "must have at least 4 parts joined by ':', none of them empty",
            );
        }
        checker.length("name", name.as_deref(), 255);
        checker.tags("tags", tags);
        if let Some(set_type) = set_type {
            checker.required("type", set_type, 1, 64);
        }
        if let Some(schema) = schema {
            checker.within("schema", |checker| schema::check(schema, checker));
        }
        checker.required("secureQri", secure_qri, 1, 1024);
        checker.free("properties", properties.as_ref());
        checker.length("description", description.as_deref(), 1024);
        checker.required("technicalName", technical_name, 1, 255);
        checker.each("additionalSchemas", additional_schemas, |_, schema, checker| {
            schema::check(schema, checker);
        });
        checker.length("technicalDescription", technical_description.as_deref(), 1024);
        if let Some(operational) = operational {
            checker.within("operational", |checker| operational::check(operational, checker));
        }
    }

    fn date_schemas(fields: &mut NewDataSet, old: Option<&NewDataSet>, now: Timestamp) {
        let new = fields.schema.iter_mut().chain(&mut fields.additional_schemas);
        let old = old
            .into_iter()
            .flat_map(|old| old.schema.iter().chain(&old.additional_schemas));
        schema::date(new, old, now);
    }

    fn schema_scalar<'a>(fields: &'a NewDataSet, path: &str) -> Scalar<'a> {
        match (&fields.schema, path.strip_prefix("schema.")) {
            (Some(schema), Some(path)) => schema::scalar(schema, path),
            _ => Scalar::Missing,
        }
    }
}

fn asset_bytes(lineage: &Lineage) -> [u8; 16] {
    lineage.asset.map_or(Uuid::nil(), AssetId::uuid).into_bytes()
}
