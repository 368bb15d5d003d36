//! Entities as JSON text straight from their stored heads, for answers that nobody looks into: the same text that serializing the entity gives, without making it.

use std::borrow::Cow;
use std::fmt::Display;

use serde::Serialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::asset::AssetHead;
use super::operational;
use super::schema;
use super::set::SetHead;
use super::stamps::Stamps;
use super::store::StoreHead;
use super::{Head as _, Inherited, Lineage, StoreId};
use crate::ids::created_time;
use crate::time::Timestamp;

/// What an entity shows that its head does not hold.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    pub id: Uuid,
    pub tenant: &'a str,
    pub inherited: &'a Inherited,
    /// The body of the schema row, where there is one and it is shown.
    pub schemas: Option<&'a [u8]>,
}

/// The name of a member, with the comma before it and the colon behind: one piece, since copying many small ones is what writing costs.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// Writes one JSON object, which begins with an id. The first thing that is wrong stays, and is told at the end.
struct Object<'a> {
    text: &'a mut Vec<u8>,
    wrong: Option<String>,
}

impl<'a> Object<'a> {
    fn begin(text: &'a mut Vec<u8>, id: Uuid) -> Self {
        text.extend_from_slice(b"{\"id\":\"");
        let mut buffer = Uuid::encode_buffer();
        text.extend_from_slice(id.hyphenated().encode_lower(&mut buffer).as_bytes());
        text.push(b'"');
        Self { text, wrong: None }
    }

    fn end(self) -> Result<(), String> {
        self.text.push(b'}');
        self.wrong.map_or(Ok(()), Err)
    }

    fn failed(&mut self, what: impl Display) {
        self.wrong.get_or_insert_with(|| what.to_string());
    }

    fn value<T: Serialize + ?Sized>(&mut self, member: &'static str, value: &T) {
        self.text.extend_from_slice(member.as_bytes());
        self.json(value);
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) {
        if let Err(error) = serde_json::to_writer(&mut *self.text, value) {
            self.failed(error);
        }
    }

    fn text(&mut self, member: &'static str, text: &str) {
        self.text.extend_from_slice(member.as_bytes());
        self.quoted(text);
    }

    fn quoted(&mut self, text: &str) {
        let escaped = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
        // Without a branch a byte, since most texts have nothing to escape.
        if text.bytes().fold(false, |any, byte| any | escaped(byte)) {
            return self.json(text);
        }
        self.text.push(b'"');
        self.text.extend_from_slice(text.as_bytes());
        self.text.push(b'"');
    }

    fn text_if_any(&mut self, member: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(member, text);
        }
    }

    fn texts(&mut self, member: &'static str, texts: &[Cow<'_, str>]) {
        self.text.extend_from_slice(member.as_bytes());
        self.text.push(b'[');
        for (at, text) in texts.iter().enumerate() {
            if at > 0 {
                self.text.push(b',');
            }
            self.quoted(text);
        }
        self.text.push(b']');
    }

    fn time(&mut self, member: &'static str, time: Timestamp) {
        self.text.extend_from_slice(member.as_bytes());
        self.text.push(b'"');
        self.text.extend_from_slice(time.text().as_bytes());
        self.text.push(b'"');
    }

    /// Free JSON, which is stored as the very text that shows it.
    fn free(&mut self, member: &'static str, json: Option<&str>) {
        let Some(json) = json else { return };
        match serde_json::from_str::<IgnoredAny>(json) {
            Ok(IgnoredAny) if json.starts_with('{') => {
                self.text.extend_from_slice(member.as_bytes());
                self.text.extend_from_slice(json.as_bytes());
            }
            Ok(IgnoredAny) => self.failed("free JSON that is not an object"),
            Err(error) => self.failed(error),
        }
    }

    fn within(&mut self, member: &'static str, id: Uuid, write: impl FnOnce(&mut Object<'_>)) {
        self.text.extend_from_slice(member.as_bytes());
        let mut inner = Object::begin(self.text, id);
        write(&mut inner);
        if let Err(what) = inner.end() {
            self.failed(what);
        }
    }

    fn store_info(&mut self, lineage: Lineage, inherited: &Inherited) {
        let Inherited {
            asset_name: _,
            store_name,
            store_type,
        } = inherited;
        let id = lineage.store.map_or(Uuid::nil(), StoreId::uuid);
        self.within(member!("dataStoreInfo"), id, |info| {
            info.text_if_any(member!("name"), store_name.as_deref());
            info.text(member!("type"), store_type);
        });
    }

    fn created(&mut self, around: &Around<'_>, stamps: &Stamps<'_>) {
        self.value(member!("version"), &stamps.version());
        self.text(member!("tenantId"), around.tenant);
        self.text(member!("createdBy"), stamps.created_by());
    }
}

pub(super) fn store(head: &StoreHead<'_>, around: &Around<'_>, text: &mut Vec<u8>) -> Result<(), String> {
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
    let mut object = Object::begin(text, around.id);
    object.text_if_any(member!("uri"), uri.as_deref());
    object.text_if_any(member!("name"), name.as_deref());
    object.texts(member!("tags"), tags);
    object.text(member!("type"), store_type);
    object.text(member!("ownerId"), stamps.owner_id());
    object.text_if_any(member!("spaceId"), space_id.as_deref());
    object.created(around, stamps);
    object.free(member!("properties"), properties.as_deref());
    object.time(member!("createdTime"), created_time(around.id));
    object.text_if_any(member!("description"), description.as_deref());
    object.text(member!("technicalName"), technical_name);
    object.text(member!("lastModifiedBy"), stamps.last_modified_by());
    object.time(member!("lastModifiedTime"), stamps.last_modified_time());
    object.text_if_any(member!("technicalDescription"), technical_description.as_deref());
    object.end()
}

pub(super) fn asset(head: &AssetHead<'_>, around: &Around<'_>, text: &mut Vec<u8>) -> Result<(), String> {
    let AssetHead {
        store: _,
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
    let mut object = Object::begin(text, around.id);
    object.text_if_any(member!("name"), name.as_deref());
    object.texts(member!("tags"), tags);
    object.text_if_any(member!("appId"), app_id.as_deref());
    object.text(member!("appType"), app_type);
    object.text(member!("ownerId"), stamps.owner_id());
    object.text_if_any(member!("spaceId"), space_id.as_deref());
    object.created(around, stamps);
    object.free(member!("properties"), properties.as_deref());
    object.time(member!("createdTime"), created_time(around.id));
    object.text_if_any(member!("description"), description.as_deref());
    if let Some(millis) = data_freshness {
        object.time(member!("dataFreshness"), Timestamp::from_millis_lossy(*millis));
    }
    object.store_info(head.lineage(), around.inherited);
    object.text(member!("technicalName"), technical_name);
    object.text(member!("lastModifiedBy"), stamps.last_modified_by());
    object.time(member!("lastModifiedTime"), stamps.last_modified_time());
    object.text_if_any(member!("technicalDescription"), technical_description.as_deref());
    object.end()
}

pub(super) fn set(head: SetHead<'_>, around: &Around<'_>, text: &mut Vec<u8>) -> Result<(), String> {
    let lineage = head.lineage();
    let SetHead {
        store: _,
        asset,
        schema_row: _,
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
    let (schema, additional_schemas) = around.schemas.map_or(Ok((None, Vec::new())), schema::decode)?;
    let operational = operational.as_ref().map(operational::from_record).transpose()?;
    let mut object = Object::begin(text, around.id);
    object.text(member!("qri"), &qri);
    object.text_if_any(member!("name"), name.as_deref());
    object.texts(member!("tags"), &tags);
    object.text_if_any(member!("type"), set_type.as_deref());
    if let Some(schema) = schema {
        object.value(member!("schema"), &schema);
    }
    object.text(member!("ownerId"), stamps.owner_id());
    object.text_if_any(member!("spaceId"), space_id.as_deref());
    object.created(around, &stamps);
    object.text(member!("secureQri"), secure_qri.as_deref().unwrap_or(&qri));
    object.free(member!("properties"), properties.as_deref());
    object.time(member!("createdTime"), created_time(around.id));
    object.text_if_any(member!("description"), description.as_deref());
    if let Some(operational) = operational {
        object.value(member!("operational"), &operational);
    }
    object.within(member!("dataAssetInfo"), Uuid::from_bytes(asset), |info| {
        info.text_if_any(member!("name"), around.inherited.asset_name.as_deref());
        info.store_info(lineage, around.inherited);
    });
    object.text(member!("technicalName"), &technical_name);
    object.text(member!("lastModifiedBy"), stamps.last_modified_by());
    object.text_if_any(member!("appTypeOverride"), app_type_override.as_deref());
    object.time(member!("lastModifiedTime"), stamps.last_modified_time());
    if !additional_schemas.is_empty() {
        object.value(member!("additionalSchemas"), &additional_schemas);
    }
    object.text_if_any(member!("technicalDescription"), technical_description.as_deref());
    object.text_if_any(
        member!("createdByConnectionId"),
        created_by_connection_id.as_deref(),
    );
    object.end()
}
