//! How the loads of a data set go.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use super::JsonObject;
use super::reader::Reader;
use super::rules::Checker;
use crate::codec::{json_text, owned, parse_json_text};
use crate::sortkey::Scalar;
use crate::time::Timestamp;

/// How the loads of a data set go.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operational {
    /// Size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// State of the last load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Timestamp>,
    /// Where the data lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Number of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_count: Option<i64>,
    /// When the last load began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// What the last load said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_message: Option<String>,
    /// Who owns the table in its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_owner: Option<String>,
    /// When it was loaded last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_load_time: Option<Timestamp>,
    /// Whether the last load changed the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_updated: Option<bool>,
    /// When the content was updated last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Timestamp>,
    /// The table behind the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_connection_info: Option<TableConnectionInfo>,
}

/// The table behind a data set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableConnectionInfo {
    /// The name of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_name: Option<String>,
    /// The script that selects its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection_script: Option<String>,
    /// Free name-value pairs, at most 64 levels deep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_properties: Option<JsonObject>,
}

#[derive(Debug, SchemaWrite, SchemaRead)]
#[cfg_attr(test, derive(bincode::Encode))]
pub(super) struct OperationalRecord<'a> {
    size: Option<i64>,
    row_count: Option<i64>,
    start_date: Option<i64>,
    end_date: Option<i64>,
    last_load_time: Option<i64>,
    last_update_time: Option<i64>,
    content_updated: Option<bool>,
    status: Option<Cow<'a, str>>,
    location: Option<Cow<'a, str>>,
    log_message: Option<Cow<'a, str>>,
    table_owner: Option<Cow<'a, str>>,
    table_connection_info: Option<TableConnectionRecord<'a>>,
}

#[derive(Debug, SchemaWrite, SchemaRead)]
#[cfg_attr(test, derive(bincode::Encode))]
struct TableConnectionRecord<'a> {
    table_name: Option<Cow<'a, str>>,
    selection_script: Option<Cow<'a, str>>,
    /// JSON text.
    additional_properties: Option<Cow<'a, str>>,
}

pub(super) fn record(operational: &Operational) -> Result<OperationalRecord<'_>, String> {
    let Operational {
        size,
        status,
        end_date,
        location,
        row_count,
        start_date,
        log_message,
        table_owner,
        last_load_time,
        content_updated,
        last_update_time,
        table_connection_info,
    } = operational;
    let table_connection_info = match table_connection_info {
        None => None,
        Some(TableConnectionInfo {
            table_name,
            selection_script,
            additional_properties,
        }) => Some(TableConnectionRecord {
            table_name: table_name.as_deref().map(Cow::Borrowed),
            selection_script: selection_script.as_deref().map(Cow::Borrowed),
            additional_properties: json_text(additional_properties.as_ref())?,
        }),
    };
    Ok(OperationalRecord {
        size: *size,
        row_count: *row_count,
        start_date: start_date.map(Timestamp::millis),
        end_date: end_date.map(Timestamp::millis),
        last_load_time: last_load_time.map(Timestamp::millis),
        last_update_time: last_update_time.map(Timestamp::millis),
        content_updated: *content_updated,
        status: status.as_deref().map(Cow::Borrowed),
        location: location.as_deref().map(Cow::Borrowed),
        log_message: log_message.as_deref().map(Cow::Borrowed),
        table_owner: table_owner.as_deref().map(Cow::Borrowed),
        table_connection_info,
    })
}

pub(super) fn from_record(record: &OperationalRecord<'_>) -> Result<Operational, String> {
    let OperationalRecord {
        size,
        row_count,
        start_date,
        end_date,
        last_load_time,
        last_update_time,
        content_updated,
        status,
        location,
        log_message,
        table_owner,
        table_connection_info,
    } = record;
    let table_connection_info = match table_connection_info {
        None => None,
        Some(TableConnectionRecord {
            table_name,
            selection_script,
            additional_properties,
        }) => Some(TableConnectionInfo {
            table_name: owned(table_name),
            selection_script: owned(selection_script),
            additional_properties: parse_json_text(additional_properties.as_deref())?,
        }),
    };
    Ok(Operational {
        size: *size,
        status: owned(status),
        end_date: end_date.map(Timestamp::from_millis_lossy),
        location: owned(location),
        row_count: *row_count,
        start_date: start_date.map(Timestamp::from_millis_lossy),
        log_message: owned(log_message),
        table_owner: owned(table_owner),
        last_load_time: last_load_time.map(Timestamp::from_millis_lossy),
        content_updated: *content_updated,
        last_update_time: last_update_time.map(Timestamp::from_millis_lossy),
        table_connection_info,
    })
}

pub(super) fn scalar<'a>(operational: &'a OperationalRecord<'_>, path: &str) -> Scalar<'a> {
    match path {
        "size" => Scalar::integer(operational.size),
        "status" => Scalar::text(operational.status.as_deref()),
        "endDate" => Scalar::integer(operational.end_date),
        "location" => Scalar::text(operational.location.as_deref()),
        "rowCount" => Scalar::integer(operational.row_count),
        "startDate" => Scalar::integer(operational.start_date),
        "logMessage" => Scalar::text(operational.log_message.as_deref()),
        "tableOwner" => Scalar::text(operational.table_owner.as_deref()),
        "lastLoadTime" => Scalar::integer(operational.last_load_time),
        "contentUpdated" => Scalar::boolean(operational.content_updated),
        "lastUpdateTime" => Scalar::integer(operational.last_update_time),
        _ => {
            let Some(table) = &operational.table_connection_info else {
                return Scalar::Missing;
            };
            match path {
                "tableConnectionInfo.tableName" => Scalar::text(table.table_name.as_deref()),
                "tableConnectionInfo.selectionScript" => Scalar::text(table.selection_script.as_deref()),
                _ => Scalar::Missing,
            }
        }
    }
}

pub(super) fn read(object: &mut Reader<'_>) -> Operational {
    Operational {
        size: object.integer("size"),
        status: object.text("status"),
        end_date: object.timestamp("endDate"),
        location: object.text("location"),
        row_count: object.integer("rowCount"),
        start_date: object.timestamp("startDate"),
        log_message: object.text("logMessage"),
        table_owner: object.text("tableOwner"),
        last_load_time: object.timestamp("lastLoadTime"),
        content_updated: object.boolean("contentUpdated"),
        last_update_time: object.timestamp("lastUpdateTime"),
        table_connection_info: object.object("tableConnectionInfo", |table| TableConnectionInfo {
            table_name: table.text("tableName"),
            selection_script: table.text("selectionScript"),
            additional_properties: table.free("additionalProperties"),
        }),
    }
}

pub(super) fn check(operational: &Operational, checker: &mut Checker<'_>) {
    if let Some(table) = &operational.table_connection_info {
        checker.within("tableConnectionInfo", |checker| {
            checker.free("additionalProperties", table.additional_properties.as_ref());
        });
    }
}
