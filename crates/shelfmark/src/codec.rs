//! Bodies of stored values: the bincode format (standard configuration: little-endian, varint), written and read through wincode.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use wincode::config::{Configuration, PREALLOCATION_SIZE_LIMIT_DISABLED};
use wincode::int_encoding::{LittleEndian, VarInt};
use wincode::len::BincodeLen;

use crate::entity::JsonObject;
use crate::entity::rules::MAX_ENTITY_BYTES;

/// The most bytes that decoding may preallocate for one sequence: no element of a legal body takes more than 256 bytes in memory for each byte
/// that it has encoded.
const PREALLOCATION: usize = MAX_ENTITY_BYTES * 256;

type Encode = Configuration<true, PREALLOCATION_SIZE_LIMIT_DISABLED, BincodeLen, LittleEndian, VarInt>;
type Decode = Configuration<true, PREALLOCATION, BincodeLen, LittleEndian, VarInt>;

const ENCODE: Encode = Encode::new();
const DECODE: Decode = Decode::new();

/// Encodes a body.
pub(crate) fn encode<T>(body: &T) -> Result<Vec<u8>, String>
where
    T: wincode::SchemaWrite<Encode, Src = T>,
{
    wincode::config::serialize(body, ENCODE).map_err(|error| error.to_string())
}

/// Decodes a body exactly: trailing bytes are an error.
pub(crate) fn decode<'a, T>(body: &'a [u8]) -> Result<T, String>
where
    T: wincode::SchemaRead<'a, Decode, Dst = T>,
{
    if body.len() > MAX_ENTITY_BYTES {
        return Err(format!(
            "a body of {} bytes, more than any entity has",
            body.len()
        ));
    }
    wincode::config::deserialize_exact(body, DECODE).map_err(|error| error.to_string())
}

/// A text of a decoded body as an entity has it.
pub(crate) fn owned(text: &Option<Cow<'_, str>>) -> Option<String> {
    text.as_deref().map(str::to_owned)
}

/// Free JSON as it is stored: compact text.
pub(crate) fn json_text(object: Option<&JsonObject>) -> Result<Option<Cow<'static, str>>, String> {
    let text = object
        .map(serde_json::to_string)
        .transpose()
        .map_err(|error| error.to_string())?;
    Ok(text.map(Cow::Owned))
}

/// Free JSON from its stored text.
pub(crate) fn parse_json_text(text: Option<&str>) -> Result<Option<JsonObject>, String> {
    text.map(serde_json::from_str)
        .transpose()
        .map_err(|error| error.to_string())
}

/// Serializes the id of a parent the way the reference names one: `{"id": …}`.
pub(crate) fn parent_reference<S: Serializer, I: Serialize>(
    id: &Option<I>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(Some(1))?;
    object.serialize_entry("id", id)?;
    object.end()
}
