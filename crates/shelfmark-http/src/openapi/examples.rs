//! One example of everything that goes over the wire.

use serde_json::{Value, json};

const STORE: &str = "0199c2a4-7d3e-7b10-9c55-2f1f4c9a0001";
const ASSET: &str = "0199c2a4-7d3e-7b10-9c55-2f1f4c9a0002";
const SET: &str = "0199c2a4-7d3e-7b10-9c55-2f1f4c9a0003";

/// The example of a schema, by its name.
pub(super) fn of(schema: &str) -> Option<Value> {
    Some(match schema {
        "NewDataStore" => new_store(),
        "DataStoreReplacement" => with(new_store(), json!({ "version": 0 })),
        "DataStore" => shown(new_store(), STORE),
        "DataStorePage" => page(of("DataStore")?, "/api/v1/data-stores"),
        "NewDataAsset" => new_asset(),
        "DataAssetReplacement" => with(new_asset(), json!({ "version": 0 })),
        "DataAsset" => with(
            shown(new_asset(), ASSET),
            json!({ "dataStoreInfo": store_info() }),
        ),
        "DataAssetPage" => page(of("DataAsset")?, "/api/v1/data-stores/*/data-assets"),
        "NewDataSet" => new_set(),
        "DataSetReplacement" => with(new_set(), json!({ "version": 0 })),
        "DataSet" => with(
            shown(new_set(), SET),
            json!({ "dataAssetInfo": { "id": ASSET, "name": "Sales", "dataStoreInfo": store_info() } }),
        ),
        "DataSetPage" => page(of("DataSet")?, "/api/v1/data-stores/*/data-assets/*/data-sets"),
        "ChangePage" => json!({
            "data": [{
                "position": "AAAAAAAAAAEAAAAAAAAAAQ", "sequence": 1, "time": "2025-10-08T09:30:00.000Z", "actor": "ann",
                "event": "created", "kind": "store", "id": STORE, "version": 0
            }],
            "position": "AAAAAAAAAAEAAAAAAAAAAQ", "more": false
        }),
        "Batch" => json!({
            "operations": [
                { "op": "create", "kind": "store", "as": "warehouse", "value": new_store() },
                {
                    "op": "create", "kind": "asset",
                    "value": { "technicalName": "sales", "appType": "qix-df", "dataStoreInfo": { "id": "$warehouse" } }
                },
                { "op": "patch", "kind": "store", "id": "$warehouse", "version": 0, "patch": of("Patch")? }
            ]
        }),
        "BatchResults" => json!({
            "results": [{ "status": 201, "entity": of("DataStore")? }, { "status": 204, "deleted": { "stores": 0, "assets": 1, "sets": 3 } }]
        }),
        "Patch" => json!([{ "op": "replace", "path": "/name", "value": "Renamed" }]),
        "Ids" => json!({ "ids": [STORE] }),
        _ => return None,
    })
}

/// An envelope with this status.
pub(super) fn errors(status: u16) -> Value {
    let (code, title, detail) = match status {
        400 => (
            "INVALID",
            "Invalid input",
            "/technicalName: is required and may not be blank",
        ),
        401 => (
            "UNAUTHORIZED",
            "Not authenticated",
            "send a token: Authorization: Bearer <access_token>",
        ),
        403 => (
            "FORBIDDEN",
            "Not allowed",
            "the token does not have the scope catalog:write",
        ),
        404 => (
            "NOT_FOUND",
            "Not found",
            "there is no data store 0199c2a4-7d3e-7b10-9c55-2f1f4c9a0001 in this tenant",
        ),
        408 => (
            "BODY_TIMEOUT",
            "Body too slow",
            "the body did not arrive within 30000 ms",
        ),
        409 => (
            "VERSION_CONFLICT",
            "Version conflict",
            "data store 0199c2a4-7d3e-7b10-9c55-2f1f4c9a0001 is at version 2, not at the expected 1: read it again and redo the change",
        ),
        410 => (
            "CHANGES_TRIMMED",
            "Changes trimmed",
            "retention has removed changes behind this position: read everything again, then follow from the newest position",
        ),
        501 => ("UNSUPPORTED", "Not supported", "the catalog keeps no change feed"),
        412 => (
            "PRECONDITION_FAILED",
            "Precondition failed",
            "the entity is at version 2, which If-Match does not name: read it again and redo the change",
        ),
        413 => (
            "BODY_TOO_LARGE",
            "Body too large",
            "a body may have at most 8388608 bytes",
        ),
        415 => (
            "UNSUPPORTED_MEDIA_TYPE",
            "Unsupported media type",
            "the Content-Type must be application/json",
        ),
        429 => (
            "RATE_LIMITED",
            "Too many requests",
            "the rate tier is spent: try again in 1 s",
        ),
        503 => (
            "OVERLOADED",
            "Overloaded",
            "too many requests wait already: try again later",
        ),
        _ => (
            "INTERNAL",
            "Internal server error",
            "the server has a fault; its log tells more under this traceId",
        ),
    };
    json!({
        "errors": [{ "code": code, "title": title, "detail": detail, "status": status.to_string() }],
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736"
    })
}

fn new_store() -> Value {
    json!({ "technicalName": "warehouse", "type": "postgres", "name": "Warehouse", "tags": ["gold"] })
}

fn new_asset() -> Value {
    json!({
        "technicalName": "sales", "appType": "qix-df", "name": "Sales", "tags": [],
        "dataStoreInfo": { "id": STORE }
    })
}

fn new_set() -> Value {
    json!({
        "technicalName": "orders", "qri": "qdf:files:acme:orders", "secureQri": "qri:orders", "tags": [],
        "schema": { "dataFields": [{ "name": "amount", "dataType": { "type": "DECIMAL", "properties": { "precision": 10, "scale": 2 } } }] },
        "dataAssetInfo": { "id": ASSET }
    })
}

fn store_info() -> Value {
    json!({ "id": STORE, "name": "Warehouse", "type": "postgres" })
}

fn with(mut entity: Value, more: Value) -> Value {
    if let (Value::Object(entity), Value::Object(more)) = (&mut entity, more) {
        entity.extend(more);
    }
    entity
}

fn shown(new: Value, id: &str) -> Value {
    with(
        new,
        json!({
            "id": id, "version": 0, "ownerId": "ann", "tenantId": "acme", "createdBy": "ann", "lastModifiedBy": "ann",
            "createdTime": "2025-10-08T09:30:00.000Z", "lastModifiedTime": "2025-10-08T09:30:00.000Z"
        }),
    )
}

fn page(entity: Value, path: &str) -> Value {
    let href = |query: &str| json!({ "href": format!("https://catalog.example.org{path}{query}") });
    json!({
        "data": [entity], "page": 0, "limit": 20,
        "links": {
            "first": href("?page=0"), "prev": null, "self": href(""), "next": null, "last": href("?page=0")
        },
        "pages": 1, "total": 1
    })
}
