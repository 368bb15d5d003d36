//! The OpenAPI description of the facade.

use utoipa::openapi::OpenApi;

/// The OpenAPI document, as `/openapi.json` serves it.
pub fn openapi() -> OpenApi {
    OpenApi::default()
}
