//! The paths: each operation with its parameters, body, answers and links.

use serde_json::{Value, json};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{SchemaFormat, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    ArrayBuilder, Content, ContentBuilder, HttpMethod, ObjectBuilder, Paths, Ref, Required, Response,
    ResponseBuilder,
};

use super::operations::{Input, Operation, Output, Parameters, operations};
use super::{BEARER, examples};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// `*`, or strong tags as ETag gives them.
const IF_MATCH: &str = r#"^(\*|"[0-9]{1,19}(\.[\t !#-~]*)?"([\t ]*,[\t ]*"[0-9]{1,19}(\.[\t !#-~]*)?")*)$"#;
/// `*`, or any tags.
const IF_NONE_MATCH: &str = r#"^(\*|(W/)?"[\t !#-~]*"([\t ]*,[\t ]*(W/)?"[\t !#-~]*")*)$"#;

/// All paths.
pub(super) fn paths() -> Paths {
    let mut paths = Paths::new();
    for operation in operations() {
        paths.add_path_operation(
            operation.path,
            vec![operation.method.clone()],
            describe(&operation),
        );
    }
    for (path, id, summary, media) in [
        ("/livez", "livez", "Whether the process answers", JSON),
        ("/readyz", "readyz", "Whether reads and writes work", JSON),
        (
            "/metrics",
            "metrics",
            "Figures for Prometheus",
            "application/openmetrics-text",
        ),
    ] {
        let described = OperationBuilder::new()
            .operation_id(Some(id))
            .tag("Care")
            .summary(Some(summary))
            .securities(Some([SecurityRequirement::default()]));
        let fine = ResponseBuilder::new()
            .description("It does.")
            .content(media, Content::new(None::<utoipa::openapi::Schema>))
            .build();
        let mut described = described.response("200", fine).response("500", failure(500));
        if id == "readyz" {
            described = described.response("503", failure(503));
        }
        paths.add_path_operation(path, vec![HttpMethod::Get], described);
    }
    paths
}

fn describe(operation: &Operation) -> OperationBuilder {
    let mut described = OperationBuilder::new()
        .operation_id(Some(operation.id))
        .tag(operation.tag)
        .summary(Some(operation.summary))
        .security(SecurityRequirement::new(BEARER, Vec::<String>::new()));
    for parameter in parameters(operation) {
        described = described.parameter(parameter);
    }
    described = described.request_body(body(operation.input));
    for status in operation.statuses() {
        described = if status < 400 {
            described.response(status.to_string(), success(operation, status))
        } else {
            described.response(status.to_string(), failure(status))
        };
    }
    described
}

fn parameter(name: &str, place: ParameterIn, description: &str) -> ParameterBuilder {
    let required = if place == ParameterIn::Path {
        Required::True
    } else {
        Required::False
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
}

fn texts() -> ArrayBuilder {
    ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String))
}

fn parameters(operation: &Operation) -> Vec<Parameter> {
    let mut all = Vec::new();
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let uuid = || text().format(Some(SchemaFormat::Custom("uuid".to_owned())));
    if operation.path.contains("{id}") {
        let id = parameter("id", ParameterIn::Path, "The id of the entity.").schema(Some(uuid()));
        all.push(id.build());
    }
    for (name, what) in [("store_ids", "data stores"), ("asset_ids", "data assets")] {
        if operation.path.contains(name) {
            let description = format!("Comma-separated ids of {what}, or `*` for all.");
            let ids = parameter(name, ParameterIn::Path, &description)
                .style(Some(ParameterStyle::Simple))
                .schema(Some(texts().min_items(Some(1)).max_items(Some(1000))))
                .example(Some(json!(["*"])));
            all.push(ids.build());
        }
    }
    let list = |name: &str, description: &str| {
        parameter(name, ParameterIn::Query, description)
            .style(Some(ParameterStyle::Form))
            .explode(Some(false))
            .schema(Some(texts()))
            .build()
    };
    if operation.parameters == Parameters::List {
        let whole = |min: f64| ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(min));
        let limit = whole(1.0).maximum(Some(100.0)).default(Some(json!(20)));
        let page = whole(0.0).default(Some(json!(0)));
        all.extend([
            parameter("limit", ParameterIn::Query, "How many entities a page has.")
                .schema(Some(limit))
                .build(),
            parameter(
                "page",
                ParameterIn::Query,
                "Which page, from 0. Goes by offset: links go by cursor.",
            )
            .schema(Some(page))
            .build(),
            parameter(
                "cursor",
                ParameterIn::Query,
                "Opaque, from a link: excludes `page`.",
            )
            .schema(Some(text()))
            .build(),
            list(
                "sort",
                "Fields to sort by, each with `-` for descending. Creation order without.",
            ),
        ]);
    }
    if operation.parameters == Parameters::Changes {
        let limit = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1.0));
        let limit = limit.maximum(Some(1000.0)).default(Some(json!(100)));
        all.extend([
            parameter(
                "after",
                ParameterIn::Query,
                "A position, as an answer gave it; `newest` for where the feed ends now. From the first change on without.",
            )
            .schema(Some(text()))
            .build(),
            parameter("limit", ParameterIn::Query, "How many changes a page has.")
                .schema(Some(limit))
                .build(),
            parameter(
                "Last-Event-ID",
                ParameterIn::Header,
                "Instead of `after`, where events are followed.",
            )
            .schema(Some(text()))
            .build(),
        ]);
    }
    if matches!(operation.parameters, Parameters::Projections | Parameters::List) {
        all.push(list(
            "projections",
            "Fields to show; `id` always comes. All without.",
        ));
    }
    if operation.takes_if_match() {
        let header = parameter(
            "If-Match",
            ParameterIn::Header,
            "Entity tags, one of whose versions the entity must have, or `*`. With a DELETE: of exactly one id only.",
        );
        let tags = text().pattern(Some(IF_MATCH)).examples([json!("\"0\"")]);
        all.push(header.schema(Some(tags)).build());
    }
    if operation.takes_key() {
        let header = parameter(
            "Idempotency-Key",
            ParameterIn::Header,
            "The same request with the same key gets its first answer for 24 hours, and does nothing again.",
        );
        let key = text().min_length(Some(1)).max_length(Some(255));
        all.push(header.schema(Some(key)).build());
    }
    if operation.also.contains(&304) {
        let header = parameter(
            "If-None-Match",
            ParameterIn::Header,
            "Entity tags that are known already.",
        );
        let tags = text().pattern(Some(IF_NONE_MATCH)).examples([json!("\"0\"")]);
        all.push(header.schema(Some(tags)).build());
    }
    if operation.input == Input::Patch {
        let header = parameter("Prefer", ParameterIn::Header, "`return=minimal` asks for 204.");
        all.push(header.schema(Some(text())).build());
    }
    all
}

fn content(schema: &str, example: Option<Value>) -> Content {
    ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(schema)))
        .example(example)
        .build()
}

fn body(input: Input) -> Option<RequestBody> {
    let of = |schema: &str| {
        RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content(JSON, content(schema, examples::of(schema)))
    };
    Some(match input {
        Input::None => return None,
        Input::Json(schema) => of(schema).build(),
        Input::JsonOrLines(schema) => of(schema).content(NDJSON, content(schema, None)).build(),
        Input::Patch => of("Patch")
            .content(
                "application/json-patch+json",
                content("Patch", examples::of("Patch")),
            )
            .build(),
    })
}

/// The answer with this error status, which all operations share.
fn failure(status: u16) -> Ref {
    Ref::from_response_name(failure_name(status))
}

fn failure_name(status: u16) -> String {
    format!("Error{status}")
}

/// The answers with an error status, by name.
pub(super) fn failures() -> Vec<(String, Response)> {
    let mut statuses: Vec<u16> = operations().iter().flat_map(Operation::statuses).collect();
    statuses.retain(|status| *status >= 400);
    statuses.sort_unstable();
    statuses.dedup();
    statuses
        .into_iter()
        .map(|status| (failure_name(status), described_failure(status)))
        .collect()
}

fn described_failure(status: u16) -> Response {
    let response = ResponseBuilder::new().description(meaning(status));
    if status == 414 {
        // With the envelope or without a body, as its description says.
        return response.build();
    }
    let mut response = response.content(JSON, content("Errors", Some(examples::errors(status))));
    let text = || ObjectBuilder::new().schema_type(Type::String);
    match status {
        401 => {
            response = response.header(
                "WWW-Authenticate",
                HeaderBuilder::new().schema(Some(text())).build(),
            );
        }
        429 | 503 => {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer);
            let header = HeaderBuilder::new()
                .schema(Some(seconds))
                .description(Some("Seconds until it is worth trying again."));
            response = response.header("Retry-After", header.build());
        }
        _ => {}
    }
    response.build()
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "Malformed, an unknown parameter, or a broken rule.",
        401 => "No valid bearer token.",
        403 => "The token lacks the scope.",
        404 => "No such entity in this tenant.",
        408 => "The body took too long to arrive.",
        409 => "In conflict with what is there.",
        410 => "What followed the position is no longer there.",
        501 => "The catalog keeps no change feed.",
        412 => "`If-Match` names another version.",
        413 => "The body is too large.",
        414 => {
            "The path and the query have more than 60,000 bytes. With the errors of the other statuses, but without a body from 65,535 bytes on."
        }
        415 => "The body is not of a known media type.",
        429 => "The rate tier is spent.",
        503 => "Not now: overloaded, not writable, or shutting down.",
        _ => "A fault of the server.",
    }
}

fn success(operation: &Operation, status: u16) -> Response {
    let tag = || {
        let text = ObjectBuilder::new().schema_type(Type::String);
        HeaderBuilder::new()
            .schema(Some(text))
            .description(Some("The version of the entity, for If-Match."))
            .build()
    };
    let plain = ResponseBuilder::new();
    let response = match (operation.output, status) {
        (Output::Created(entity), 201) => {
            let text = ObjectBuilder::new().schema_type(Type::String);
            let location = HeaderBuilder::new()
                .schema(Some(text))
                .description(Some("Where it is."));
            links(entity, plain)
                .description("Created.")
                .content(JSON, content(entity, examples::of(entity)))
                .header("ETag", tag())
                .header("Location", location.build())
        }
        (Output::Created(_), _) => plain
            .description("One answer a line, in order, each sent once its commit is durable.")
            .content(NDJSON, content("Line", None)),
        (_, 304) => plain.description("Known already.").header("ETag", tag()),
        (Output::One(entity) | Output::Changed(entity), 200) => plain
            .description("The entity.")
            .content(JSON, content(entity, examples::of(entity)))
            .header("ETag", tag()),
        (Output::Changes(page), 200) => plain
            .description(
                "One page; or with `Accept: text/event-stream` each change as an event, without end.",
            )
            .content(JSON, content(page, examples::of(page)))
            .content(
                "text/event-stream",
                ContentBuilder::new()
                    .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
                    .build(),
            ),
        (Output::Results(results), 200) => plain
            .description("What each operation came to, in order.")
            .content(JSON, content(results, examples::of(results))),
        (Output::Page(page), 200) => plain
            .description("One page.")
            .content(JSON, content(page, examples::of(page))),
        _ => plain.description("Done."),
    };
    response.build()
}

/// What can be done with an entity that was created.
fn links(entity: &str, response: ResponseBuilder) -> ResponseBuilder {
    const ID: &str = "$response.body#/id";
    let mut response = response;
    for verb in ["read", "replace", "patch"] {
        let operation = format!("{verb}{entity}");
        let link = LinkBuilder::new().operation_id(&operation).parameter("id", ID);
        response = response.link(operation, link.build());
    }
    let delete = format!("delete{entity}s");
    let link = LinkBuilder::new()
        .operation_id(&delete)
        .request_body(Some(json!({ "ids": [ID] })));
    response = response.link(delete, link.build());
    let below = match entity {
        "DataStore" => Some(("createDataAsset", "NewDataAsset", "dataStoreInfo")),
        "DataAsset" => Some(("createDataSet", "NewDataSet", "dataAssetInfo")),
        _ => None,
    };
    if let Some((operation, schema, parent)) = below
        && let Some(Value::Object(mut body)) = examples::of(schema)
    {
        body.insert(parent.to_owned(), json!({ "id": ID }));
        let link = LinkBuilder::new()
            .operation_id(operation)
            .request_body(Some(body));
        response = response.link(operation, link.build());
    }
    response
}
