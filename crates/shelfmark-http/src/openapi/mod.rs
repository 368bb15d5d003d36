//! The OpenAPI 3.1 description of the facade, made of two tables: operations, and fields of entities.

mod examples;
mod fields;
mod operations;
mod paths;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, ServerBuilder,
};

/// The security scheme of the API.
const BEARER: &str = "bearer";

/// The OpenAPI document, as `/openapi.json` serves it.
///
/// ```
/// let document = shelfmark_http::openapi();
/// assert!(document.paths.get_path_item("/api/v1/data-stores/{id}").is_some());
/// ```
pub fn openapi() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Data stores")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "A catalog of data stores, data assets and data sets. Every path under `/api/v1` is there under `/v1` too.",
        ))
        .license(Some(
            LicenseBuilder::new()
                .name("MIT OR Apache-2.0")
                .identifier(Some("MIT OR Apache-2.0"))
                .build(),
        ))
        .build();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "Scopes: `catalog:read` for GET, `catalog:write` for the rest, `catalog:admin` for both.",
        ))
        .build();
    let components = fields::schemas()
        .into_iter()
        .fold(ComponentsBuilder::new(), |components, (name, schema)| {
            components.schema(name, schema)
        })
        .security_scheme(BEARER, SecurityScheme::Http(scheme))
        .build();
    let components = paths::failures()
        .into_iter()
        .fold(components, |mut components, (name, response)| {
            components.responses.insert(name, response.into());
            components
        });
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .paths(paths::paths())
        .components(Some(components))
        .build()
}
