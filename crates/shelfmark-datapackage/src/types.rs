//! The types of a Table Schema, as the catalog's eleven.

use shelfmark::FieldType;

/// Each published type with the type it becomes. The table in the crate's documentation says why.
const TYPES: [(&str, FieldType); 16] = [
    ("any", FieldType::Custom),
    ("array", FieldType::Custom),
    ("boolean", FieldType::Boolean),
    ("date", FieldType::Date),
    ("datetime", FieldType::DateTime),
    ("duration", FieldType::String),
    ("geojson", FieldType::Custom),
    ("geopoint", FieldType::Custom),
    ("integer", FieldType::Integer),
    ("list", FieldType::Custom),
    ("number", FieldType::Double),
    ("object", FieldType::Custom),
    ("string", FieldType::String),
    ("time", FieldType::Time),
    ("year", FieldType::Integer),
    ("yearmonth", FieldType::String),
];

const BINARY: (&str, FieldType) = ("string (binary)", FieldType::Binary);
const UNKNOWN: (&str, FieldType) = ("(another)", FieldType::Custom);

/// The name that the type is counted under, and what it becomes. A field without a type has the type `any`.
pub(crate) fn mapped(name: Option<&str>, format: Option<&str>) -> (&'static str, FieldType) {
    let name = name.unwrap_or("any");
    if name == "string" && format == Some("binary") {
        return BINARY;
    }
    TYPES
        .into_iter()
        .find(|(published, _)| *published == name)
        .unwrap_or(UNKNOWN)
}
