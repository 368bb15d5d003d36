//! The fields of the three kinds of entity, with the reference's JSON names: the one table that sorts, projections and patches
//! are checked against.

use crate::ids::EntityKind;

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// One text, number, truth value or date-time: what a list can sort by.
    Scalar,
    /// A list of things of one shape.
    List(&'static Shape),
    /// An object with these fields and no others.
    Object(&'static [Field]),
    /// Free JSON: any members, down to 64 levels.
    Free,
}

/// One field of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
}

const fn scalar(name: &'static str) -> Field {
    Field {
        name,
        shape: Shape::Scalar,
    }
}

const fn free(name: &'static str) -> Field {
    Field {
        name,
        shape: Shape::Free,
    }
}

const fn texts(name: &'static str) -> Field {
    Field {
        name,
        shape: Shape::List(&Shape::Scalar),
    }
}

const fn object(name: &'static str, fields: &'static [Field]) -> Field {
    Field {
        name,
        shape: Shape::Object(fields),
    }
}

const STORE_INFO: &[Field] = &[scalar("id"), scalar("name"), scalar("type")];
const ASSET_INFO: &[Field] = &[scalar("id"), scalar("name"), object("dataStoreInfo", STORE_INFO)];
const TABLE_CONNECTION_INFO: &[Field] = &[
    scalar("tableName"),
    scalar("selectionScript"),
    free("additionalProperties"),
];
const OPERATIONAL: &[Field] = &[
    scalar("size"),
    scalar("status"),
    scalar("endDate"),
    scalar("location"),
    scalar("rowCount"),
    scalar("startDate"),
    scalar("logMessage"),
    scalar("tableOwner"),
    scalar("lastLoadTime"),
    scalar("contentUpdated"),
    scalar("lastUpdateTime"),
    object("tableConnectionInfo", TABLE_CONNECTION_INFO),
];
const USER_TAG: &[Field] = &[scalar("id"), scalar("name")];
const DATA_TYPE: &[Field] = &[scalar("type"), free("properties"), scalar("originalType")];
const DATA_FIELD: &[Field] = &[
    scalar("name"),
    texts("tags"),
    scalar("alias"),
    scalar("index"),
    scalar("orphan"),
    object("dataType", DATA_TYPE),
    scalar("nullable"),
    Field {
        name: "userTags",
        shape: Shape::List(&Shape::Object(USER_TAG)),
    },
    scalar("encrypted"),
    scalar("sensitive"),
    scalar("primaryKey"),
    free("properties"),
    scalar("description"),
    scalar("ordinalPositionInKey"),
];
const SCHEMA: &[Field] = &[
    texts("anomalies"),
    Field {
        name: "dataFields",
        shape: Shape::List(&Shape::Object(DATA_FIELD)),
    },
    scalar("schemaName"),
    free("loadOptions"),
    scalar("effectiveDate"),
    scalar("overrideSchemaAnomalies"),
];

const STORE: &[Field] = &[
    scalar("id"),
    scalar("uri"),
    scalar("name"),
    texts("tags"),
    scalar("type"),
    scalar("ownerId"),
    scalar("spaceId"),
    scalar("version"),
    scalar("tenantId"),
    scalar("createdBy"),
    free("properties"),
    scalar("createdTime"),
    scalar("description"),
    scalar("technicalName"),
    scalar("lastModifiedBy"),
    scalar("lastModifiedTime"),
    scalar("technicalDescription"),
];

const ASSET: &[Field] = &[
    scalar("id"),
    scalar("name"),
    texts("tags"),
    scalar("appId"),
    scalar("appType"),
    scalar("ownerId"),
    scalar("spaceId"),
    scalar("version"),
    scalar("tenantId"),
    scalar("createdBy"),
    free("properties"),
    scalar("createdTime"),
    scalar("description"),
    scalar("dataFreshness"),
    object("dataStoreInfo", STORE_INFO),
    scalar("technicalName"),
    scalar("lastModifiedBy"),
    scalar("lastModifiedTime"),
    scalar("technicalDescription"),
];

const SET: &[Field] = &[
    scalar("id"),
    scalar("qri"),
    scalar("name"),
    texts("tags"),
    scalar("type"),
    object("schema", SCHEMA),
    scalar("ownerId"),
    scalar("spaceId"),
    scalar("version"),
    scalar("tenantId"),
    scalar("createdBy"),
    scalar("secureQri"),
    free("properties"),
    scalar("createdTime"),
    scalar("description"),
    object("operational", OPERATIONAL),
    object("dataAssetInfo", ASSET_INFO),
    scalar("technicalName"),
    scalar("lastModifiedBy"),
    scalar("appTypeOverride"),
    scalar("lastModifiedTime"),
    Field {
        name: "additionalSchemas",
        shape: Shape::List(&Shape::Object(SCHEMA)),
    },
    scalar("technicalDescription"),
    scalar("createdByConnectionId"),
];

/// The shape of an entity of this kind.
pub(crate) const fn entity(kind: EntityKind) -> Shape {
    match kind {
        EntityKind::Store => Shape::Object(STORE),
        EntityKind::Asset => Shape::Object(ASSET),
        EntityKind::Set => Shape::Object(SET),
    }
}

impl Shape {
    /// The shape below `self` under `name`: a field of an object or anything within free JSON. Lists are entered by index, not by name.
    pub(crate) fn member(self, name: &str) -> Option<Shape> {
        match self {
            Shape::Scalar | Shape::List(_) => None,
            Shape::Object(fields) => fields
                .iter()
                .find(|field| field.name == name)
                .map(|field| field.shape),
            Shape::Free => Some(Shape::Free),
        }
    }

    /// The dotted path of every scalar outside lists and free JSON.
    #[cfg(test)]
    pub(crate) fn scalar_paths(self) -> Vec<String> {
        let Shape::Object(fields) = self else {
            return Vec::new();
        };
        let mut paths = Vec::new();
        for field in fields {
            match field.shape {
                Shape::Scalar => paths.push(field.name.to_owned()),
                nested @ Shape::Object(_) => {
                    paths.extend(
                        nested
                            .scalar_paths()
                            .iter()
                            .map(|path| format!("{}.{path}", field.name)),
                    );
                }
                Shape::List(_) | Shape::Free => {}
            }
        }
        paths
    }
}
