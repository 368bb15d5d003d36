//! The schemas: the fields of the three kinds of entity as they are shown, and as they are taken, and what else goes over the wire.
//!
//! One file, though a long one: it is one table, and is read beside the reference from top to bottom.

use serde_json::Value;
use shelfmark::Batch;
use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{ArrayBuilder, Object, ObjectBuilder, Ref, RefOr, Schema};

/// Whether a schema is of what is shown, or of what a creation or a replacement takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Shown,
    Create,
    Replace,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    /// At most so many characters.
    Upto(usize),
    /// Not blank, and between so many characters.
    Between(usize, usize),
    Qri,
    Uuid,
    DateTime,
    Integer,
    Boolean,
    Free,
    /// Texts without duplicates.
    Tags,
    Texts,
    Object(&'static str),
    Objects(&'static str),
}

fn typed(types: Type, null: bool) -> ObjectBuilder {
    let schema_type = if null {
        SchemaType::Array(vec![types, Type::Null])
    } else {
        SchemaType::Type(types)
    };
    ObjectBuilder::new().schema_type(schema_type)
}

fn reference(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

/// The schema of a field; `null` where it may be left out by saying so.
fn schema(kind: Kind, null: bool, description: &str) -> RefOr<Schema> {
    let text = || typed(Type::String, null);
    let format = |name: &str| text().format(Some(SchemaFormat::Custom(name.to_owned())));
    let list = |items: RefOr<Schema>, unique: bool| {
        let list_type = if null {
            SchemaType::Array(vec![Type::Array, Type::Null])
        } else {
            SchemaType::Type(Type::Array)
        };
        let list = ArrayBuilder::new()
            .items(items)
            .schema_type(list_type)
            .unique_items(unique);
        RefOr::from(list.description(Some(description)))
    };
    let object = match kind {
        Kind::Text => text(),
        Kind::Upto(max) => text().max_length(Some(max)),
        Kind::Between(min, max) => text()
            .min_length(Some(min))
            .max_length(Some(max))
            .pattern(Some("\\S")),
        Kind::Qri => text()
            .min_length(Some(8))
            .max_length(Some(1024))
            .pattern(Some("^[^:]+(:[^:]+){3,}$")),
        Kind::Uuid => format("uuid"),
        Kind::DateTime => format("date-time"),
        Kind::Integer => typed(Type::Integer, null)
            .format(Some(SchemaFormat::Custom("int64".to_owned())))
            .minimum(Some(i64::MIN))
            .maximum(Some(i64::MAX)),
        Kind::Boolean => typed(Type::Boolean, null),
        Kind::Free => {
            typed(Type::Object, null).additional_properties(Some(AdditionalProperties::FreeForm(true)))
        }
        Kind::Tags => return list(RefOr::from(typed(Type::String, false)), true),
        Kind::Texts => return list(RefOr::from(typed(Type::String, false)), false),
        Kind::Objects(name) => return list(reference(name), false),
        Kind::Object(name) if null => {
            let either = AnyOfBuilder::new()
                .item(reference(name))
                .item(typed(Type::Null, false));
            return RefOr::T(Schema::AnyOf(either.description(Some(description)).build()));
        }
        Kind::Object(name) => return reference(name),
    };
    RefOr::from(object.description(Some(description)))
}

/// An object being described.
struct Fields {
    role: Role,
    object: ObjectBuilder,
}

impl Fields {
    fn new(role: Role) -> Self {
        Self {
            role,
            object: ObjectBuilder::new(),
        }
    }

    /// A field that must be given. What is shown may be a projection, so it need not be there.
    fn required(mut self, name: &str, kind: Kind, description: &str) -> Self {
        self.object = self.object.property(name, schema(kind, false, description));
        if self.role != Role::Shown {
            self.object = self.object.required(name);
        }
        self
    }

    /// A field that may be left out, or null where it is taken.
    fn optional(mut self, name: &str, kind: Kind, description: &str) -> Self {
        let null = self.role != Role::Shown;
        self.object = self.object.property(name, schema(kind, null, description));
        self
    }

    /// A field that only the application sets. Whatever is given, of whatever type, is ignored.
    fn application(mut self, name: &str, kind: Kind, description: &str) -> Self {
        let field = if self.role == Role::Shown {
            schema(kind, false, description)
        } else {
            let ignored = format!("{description} Set by the application: what is given is ignored.");
            RefOr::from(
                ObjectBuilder::new()
                    .schema_type(SchemaType::AnyValue)
                    .read_only(true)
                    .description(Some(ignored)),
            )
        };
        self.object = self.object.property(name, field);
        self
    }

    /// `id`, `version` and `ownerId`, which each role has in a way of its own.
    fn identity(mut self) -> Self {
        let null = |description: &str| RefOr::from(typed(Type::Null, false).description(Some(description)));
        let counted = |null| {
            RefOr::from(
                typed(Type::Integer, null)
                    .minimum(Some(0))
                    .description(Some("0 after creation, one more at each change.")),
            )
        };
        let made = "Made by the application.";
        let (id, version) = match self.role {
            Role::Shown => (schema(Kind::Uuid, false, made), counted(false)),
            Role::Create => (
                null("Made by the application: null, or left out."),
                null("Made by the application: null, or left out."),
            ),
            Role::Replace => (
                schema(Kind::Uuid, true, "That of the path, or left out."),
                counted(true),
            ),
        };
        self.object = self.object.property("id", id).property("version", version);
        if self.role == Role::Shown {
            self.object = self.object.required("id");
        }
        let owner = "Who owns it: its creator, until changed.";
        match self.role {
            Role::Create => self.application("ownerId", Kind::Text, owner),
            _ => self.optional("ownerId", Kind::Between(1, 255), owner),
        }
    }

    fn stamps(self) -> Self {
        self.application("tenantId", Kind::Text, "The tenant it lives in.")
            .application("createdBy", Kind::Text, "Who created it.")
            .application("createdTime", Kind::DateTime, "When it was created.")
            .application("lastModifiedBy", Kind::Text, "Who changed it last.")
            .application("lastModifiedTime", Kind::DateTime, "When it was changed last.")
    }

    /// What all three kinds have.
    fn common(self) -> Self {
        self.identity()
            .optional("name", Kind::Upto(255), "Its name for people.")
            .optional("tags", Kind::Tags, "Its tags.")
            .optional("spaceId", Kind::Text, "The space it belongs to.")
            .optional(
                "properties",
                Kind::Free,
                "Free name-value pairs, at most 64 levels deep.",
            )
            .optional("description", Kind::Upto(1024), "What it is, for people.")
            .required("technicalName", Kind::Between(1, 255), "Its name for programs.")
            .optional(
                "technicalDescription",
                Kind::Upto(1024),
                "What it is, technically.",
            )
            .stamps()
    }

    fn build(self) -> Object {
        self.object.build()
    }
}

fn store(role: Role) -> Object {
    Fields::new(role)
        .common()
        .optional("uri", Kind::Upto(512), "Where the store is.")
        .required("type", Kind::Between(1, 64), "What kind of store it is.")
        .build()
}

fn asset(role: Role) -> Object {
    Fields::new(role)
        .common()
        .optional("appId", Kind::Text, "The application it comes from.")
        .required(
            "appType",
            Kind::Between(1, 64),
            "What kind of application that is.",
        )
        .optional(
            "dataFreshness",
            Kind::DateTime,
            "When the source data was last changed.",
        )
        .parent("dataStoreInfo", info(role, "StoreInfo"))
        .build()
}

fn set(role: Role) -> Object {
    Fields::new(role)
        .common()
        .required("qri", Kind::Qri, "At least 4 parts joined by colons.")
        .required("secureQri", Kind::Between(1, 1024), "Its identifier.")
        .optional("type", Kind::Between(1, 64), "What kind of data set it is.")
        .optional("schema", Kind::Object(own(role, "Schema")), "Its primary schema.")
        .optional(
            "additionalSchemas",
            Kind::Objects(own(role, "Schema")),
            "Its other schemas, where it has several tables or sheets.",
        )
        .optional(
            "operational",
            Kind::Object(own(role, "Operational")),
            "How it was loaded.",
        )
        .parent("dataAssetInfo", info(role, "AssetInfo"))
        .optional(
            "appTypeOverride",
            Kind::Text,
            "Instead of the data asset's appType.",
        )
        .optional(
            "createdByConnectionId",
            Kind::Text,
            "The connection that created it.",
        )
        .build()
}

/// The name of a nested schema in this role: shown, or taken.
fn own(role: Role, name: &'static str) -> &'static str {
    match (role, name) {
        (Role::Shown, name) => name,
        (_, "Schema") => "NewSchema",
        (_, "DataField") => "NewDataField",
        (_, "DataType") => "NewDataType",
        (_, "UserTag") => "NewUserTag",
        (_, "Operational") => "NewOperational",
        (_, "TableConnectionInfo") => "NewTableConnectionInfo",
        (_, name) => name,
    }
}

/// The name of a parent reference in this role.
fn info(role: Role, name: &'static str) -> (&'static str, bool) {
    match (role, name) {
        (Role::Shown, name) => (name, false),
        (Role::Create, "StoreInfo") => ("NewStoreInfo", true),
        (Role::Create, _) => ("NewAssetInfo", true),
        // A replacement may leave the parent out: it never changes.
        (Role::Replace, "StoreInfo") => ("NewStoreInfo", false),
        (Role::Replace, _) => ("NewAssetInfo", false),
    }
}

impl Fields {
    fn parent(self, name: &str, (schema, required): (&'static str, bool)) -> Self {
        let description = "Its parent, which never changes.";
        if required {
            self.required(name, Kind::Object(schema), description)
        } else {
            self.optional(name, Kind::Object(schema), description)
        }
    }
}

fn store_info(role: Role) -> Object {
    Fields::new(role)
        .required("id", Kind::Uuid, "The data store.")
        .application("name", Kind::Text, "Its name now.")
        .application("type", Kind::Text, "Its type now.")
        .build()
}

fn asset_info(role: Role) -> Object {
    let fields = Fields::new(role)
        .required("id", Kind::Uuid, "The data asset.")
        .application("name", Kind::Text, "Its name now.");
    match role {
        Role::Shown => fields.optional(
            "dataStoreInfo",
            Kind::Object("StoreInfo"),
            "The data store it lies in.",
        ),
        _ => fields.application("dataStoreInfo", Kind::Free, "The data store it lies in."),
    }
    .build()
}

fn schema_of_data(role: Role) -> Object {
    Fields::new(role)
        .optional("anomalies", Kind::Texts, "What is odd about it.")
        .required(
            "dataFields",
            Kind::Objects(own(role, "DataField")),
            "Its fields, in order; no alias occurs twice.",
        )
        .optional("schemaName", Kind::Text, "Its name.")
        .optional("loadOptions", Kind::Free, "How files are loaded.")
        .application("effectiveDate", Kind::DateTime, "When it was changed last.")
        .optional(
            "overrideSchemaAnomalies",
            Kind::Boolean,
            "Whether its anomalies are accepted.",
        )
        .build()
}

fn data_field(role: Role) -> Object {
    Fields::new(role)
        .required("name", Kind::Between(1, 1024), "Its name.")
        .optional("tags", Kind::Tags, "System tags.")
        .optional("alias", Kind::Text, "Another name, unique in its schema.")
        .application("index", Kind::Integer, "Its position.")
        .optional("orphan", Kind::Boolean, "Whether the source has lost it.")
        .required("dataType", Kind::Object(own(role, "DataType")), "What it holds.")
        .optional("nullable", Kind::Boolean, "Whether it may be null.")
        .optional("userTags", Kind::Objects(own(role, "UserTag")), "Tags of users.")
        .optional("encrypted", Kind::Boolean, "Whether it is encrypted.")
        .optional("sensitive", Kind::Boolean, "Whether it is sensitive.")
        .optional(
            "primaryKey",
            Kind::Boolean,
            "Whether it is part of the primary key.",
        )
        .optional("properties", Kind::Free, "Free name-value pairs.")
        .optional("description", Kind::Text, "What it is, for people.")
        .optional(
            "ordinalPositionInKey",
            Kind::Integer,
            "Its place in the primary key.",
        )
        .build()
}

const TYPES: [&str; 10] = [
    "DATE",
    "TIME",
    "DATETIME",
    "TIMESTAMP",
    "STRING",
    "DOUBLE",
    "INTEGER",
    "BOOLEAN",
    "BINARY",
    "CUSTOM",
];

/// A DECIMAL needs its precision and scale; that the scale is not above the precision, no schema can say.
fn data_type(role: Role) -> Schema {
    let any = Fields::new(role)
        .optional("properties", Kind::Free, "Free name-value pairs.")
        .optional("originalType", Kind::Text, "What the source calls it.")
        .object
        .property(
            "type",
            ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(TYPES)),
        );
    let bound = |min: i64| {
        typed(Type::Integer, false)
            .minimum(Some(min as f64))
            .maximum(Some(i32::MAX as f64))
    };
    let properties = ObjectBuilder::new()
        .property("precision", bound(1))
        .property("scale", bound(0))
        .required("precision")
        .required("scale")
        .additional_properties(Some(AdditionalProperties::FreeForm(true)));
    let decimal = Fields::new(role)
        .optional("originalType", Kind::Text, "What the source calls it.")
        .object
        .property(
            "type",
            ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(["DECIMAL"])),
        )
        .property("properties", properties)
        .required("properties");
    let either = AnyOfBuilder::new()
        .item(any.required("type"))
        .item(decimal.required("type"));
    Schema::AnyOf(either.build())
}

fn user_tag(role: Role) -> Object {
    Fields::new(role)
        .optional("id", Kind::Text, "Its id.")
        .optional("name", Kind::Text, "Its name.")
        .build()
}

fn operational(role: Role) -> Object {
    Fields::new(role)
        .optional("size", Kind::Integer, "Bytes.")
        .optional("status", Kind::Text, "How the load ended.")
        .optional("endDate", Kind::DateTime, "When it ended.")
        .optional("location", Kind::Text, "Where it lies.")
        .optional("rowCount", Kind::Integer, "Rows.")
        .optional("startDate", Kind::DateTime, "When the load began.")
        .optional("logMessage", Kind::Text, "What the load said.")
        .optional("tableOwner", Kind::Text, "Who owns the table.")
        .optional("lastLoadTime", Kind::DateTime, "When it was loaded last.")
        .optional("contentUpdated", Kind::Boolean, "Whether the content changed.")
        .optional("lastUpdateTime", Kind::DateTime, "When it was updated last.")
        .optional(
            "tableConnectionInfo",
            Kind::Object(own(role, "TableConnectionInfo")),
            "Where the table is.",
        )
        .build()
}

fn table_connection_info(role: Role) -> Object {
    Fields::new(role)
        .optional("tableName", Kind::Text, "The table.")
        .optional("selectionScript", Kind::Text, "What selects its rows.")
        .optional("additionalProperties", Kind::Free, "Free name-value pairs.")
        .build()
}

fn page(entity: &str) -> Object {
    let count = || typed(Type::Integer, false).minimum(Some(0));
    let link = || {
        AnyOfBuilder::new()
            .item(reference("Link"))
            .item(typed(Type::Null, false))
            .build()
    };
    let mut links = ObjectBuilder::new();
    for name in ["first", "prev", "self", "next", "last"] {
        links = links.property(name, Schema::AnyOf(link())).required(name);
    }
    let mut page = ObjectBuilder::new()
        .property("data", ArrayBuilder::new().items(reference(entity)))
        .property("page", count())
        .property("limit", count())
        .property("links", links)
        .property("pages", count())
        .property("total", count());
    for name in ["data", "page", "limit", "links", "pages", "total"] {
        page = page.required(name);
    }
    page.build()
}

fn errors() -> Object {
    let texts = |names: &[&str]| {
        names.iter().fold(ObjectBuilder::new(), |object, name| {
            object.property(*name, typed(Type::String, false)).required(*name)
        })
    };
    let entry = texts(&["code", "title", "detail", "status"]);
    texts(&["traceId"])
        .property("errors", ArrayBuilder::new().items(entry).min_items(Some(1)))
        .required("errors")
        .build()
}

fn patch() -> Schema {
    let pointer = || typed(Type::String, false).pattern(Some("^(/([^~/]|~[01])*)*$"));
    let member = |names: &[&str]| {
        let names: Vec<Value> = names.iter().map(|&name| name.into()).collect();
        ObjectBuilder::new()
            .property(
                "op",
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some(names)),
            )
            .property("path", pointer())
            .required("op")
            .required("path")
    };
    let valued = member(&["add", "replace", "test"])
        .property("value", ObjectBuilder::new().schema_type(SchemaType::AnyValue))
        .required("value");
    let moved = member(&["move", "copy"])
        .property("from", pointer())
        .required("from");
    let either = AnyOfBuilder::new()
        .item(valued)
        .item(member(&["remove"]))
        .item(moved);
    let list = ArrayBuilder::new()
        .items(either)
        .max_items(Some(1000))
        .description(Some("A JSON Patch (RFC 6902) of the entity as GET shows it."));
    Schema::Array(list.build())
}

fn line() -> Object {
    ObjectBuilder::new()
        .property("line", typed(Type::Integer, false).minimum(Some(0)))
        .property("status", typed(Type::Integer, false))
        .property("id", typed(Type::String, false))
        .property("version", typed(Type::Integer, false))
        .property("errors", ArrayBuilder::new().items(ObjectBuilder::new()))
        .required("line")
        .required("status")
        .description(Some(
            "The answer to one line: 201 with id and version, or what is wrong with it.",
        ))
        .build()
}

fn change() -> Object {
    let text = || typed(Type::String, false);
    let uuid = || text().format(Some(SchemaFormat::Custom("uuid".to_owned())));
    let kind = || text().enum_values(Some(["store", "asset", "set"]));
    let count = || typed(Type::Integer, false).minimum(Some(0));
    let descendant = ObjectBuilder::new()
        .property("kind", kind())
        .property("id", uuid())
        .property("parentId", uuid())
        .property("version", count());
    let mut change = ObjectBuilder::new()
        .property("position", text())
        .property("sequence", count())
        .property(
            "time",
            text().format(Some(SchemaFormat::Custom("date-time".to_owned()))),
        )
        .property("actor", typed(Type::String, true))
        .property(
            "event",
            text().enum_values(Some(["created", "updated", "deleted", "restored", "purged"])),
        )
        .property("fields", ArrayBuilder::new().items(text()))
        .property("kind", kind())
        .property("id", uuid())
        .property("storeId", uuid())
        .property("assetId", uuid())
        .property("version", count())
        .property("descendants", ArrayBuilder::new().items(descendant));
    for name in [
        "position", "sequence", "time", "actor", "event", "kind", "id", "version",
    ] {
        change = change.required(name);
    }
    change.build()
}

fn change_page() -> Object {
    ObjectBuilder::new()
        .property("data", ArrayBuilder::new().items(reference("Change")))
        .property("position", typed(Type::String, false))
        .property("more", typed(Type::Boolean, false))
        .required("data")
        .required("position")
        .required("more")
        .build()
}

fn batch() -> Object {
    let text = || typed(Type::String, false);
    let one_of = |names: &[&'static str]| text().enum_values(Some(names.to_vec()));
    let operation = |op: &'static str, kind: &[&'static str]| {
        ObjectBuilder::new()
            .property("op", one_of(&[op]))
            .property("kind", one_of(kind))
            .required("op")
            .required("kind")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
    };
    let expecting = |operation: ObjectBuilder| {
        let id = text().description(Some("A UUID, or `$` and the name of an earlier creation."));
        let version = typed(Type::Integer, true).minimum(Some(0));
        operation
            .property("id", id)
            .property("version", version)
            .required("id")
    };
    let kinds = ["store", "asset", "set"];
    let mut either = AnyOfBuilder::new();
    for (kind, new, replacement) in [
        ("store", "NewDataStore", "DataStoreReplacement"),
        ("asset", "NewDataAsset", "DataAssetReplacement"),
        ("set", "NewDataSet", "DataSetReplacement"),
    ] {
        let name = typed(Type::String, true)
            .min_length(Some(1))
            .description(Some("What later operations call it, behind a `$`."));
        let create = operation("create", &[kind]).property("as", name);
        let create = create.property("value", reference(new)).required("value");
        let replace = expecting(operation("replace", &[kind])).property("value", reference(replacement));
        either = either.item(create).item(replace.required("value"));
    }
    let patch = expecting(operation("patch", &kinds)).property("patch", reference("Patch"));
    either = either
        .item(patch.required("patch"))
        .item(expecting(operation("delete", &kinds)));
    ObjectBuilder::new()
        .property(
            "operations",
            ArrayBuilder::new()
                .items(either)
                .max_items(Some(Batch::MAX_OPERATIONS)),
        )
        .required("operations")
        .build()
}

fn batch_results() -> Object {
    let count = || typed(Type::Integer, false).minimum(Some(0));
    let deleted = ObjectBuilder::new()
        .property("stores", count())
        .property("assets", count())
        .property("sets", count());
    let result = ObjectBuilder::new()
        .property("status", count())
        .property(
            "entity",
            ObjectBuilder::new().description(Some("The entity as the operation left it.")),
        )
        .property("deleted", deleted)
        .required("status");
    ObjectBuilder::new()
        .property("results", ArrayBuilder::new().items(result))
        .required("results")
        .build()
}

/// Every schema, by name.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let ids = ObjectBuilder::new()
        .property(
            "ids",
            ArrayBuilder::new()
                .items(typed(Type::String, false))
                .max_items(Some(1000)),
        )
        .required("ids")
        .build();
    let link = ObjectBuilder::new()
        .property("href", typed(Type::String, false))
        .required("href")
        .build();
    let (shown, create, replace) = (Role::Shown, Role::Create, Role::Replace);
    let mut schemas = vec![
        ("DataStore", store(shown).into()),
        ("NewDataStore", store(create).into()),
        ("DataStoreReplacement", store(replace).into()),
        ("DataStorePage", page("DataStore").into()),
        ("DataAsset", asset(shown).into()),
        ("NewDataAsset", asset(create).into()),
        ("DataAssetReplacement", asset(replace).into()),
        ("DataAssetPage", page("DataAsset").into()),
        ("DataSet", set(shown).into()),
        ("NewDataSet", set(create).into()),
        ("DataSetReplacement", set(replace).into()),
        ("DataSetPage", page("DataSet").into()),
    ];
    for (role, names) in [
        (
            shown,
            [
                "StoreInfo",
                "AssetInfo",
                "Schema",
                "DataField",
                "DataType",
                "UserTag",
                "Operational",
                "TableConnectionInfo",
            ],
        ),
        (
            create,
            [
                "NewStoreInfo",
                "NewAssetInfo",
                "NewSchema",
                "NewDataField",
                "NewDataType",
                "NewUserTag",
                "NewOperational",
                "NewTableConnectionInfo",
            ],
        ),
    ] {
        schemas.extend([
            (names[0], store_info(role).into()),
            (names[1], asset_info(role).into()),
            (names[2], schema_of_data(role).into()),
            (names[3], data_field(role).into()),
            (names[4], data_type(role)),
            (names[5], user_tag(role).into()),
            (names[6], operational(role).into()),
            (names[7], table_connection_info(role).into()),
        ]);
    }
    schemas.extend([
        ("Patch", patch()),
        ("Ids", ids.into()),
        ("Link", link.into()),
        ("Line", line().into()),
        ("Errors", errors().into()),
        ("Batch", batch().into()),
        ("BatchResults", batch_results().into()),
        ("Change", change().into()),
        ("ChangePage", change_page().into()),
    ]);
    schemas
}
