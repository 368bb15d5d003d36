//! What operators and newcomers ask for: whether it lives, whether it serves, its figures, its description.

use axum::extract::{OriginalUri, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use shelfmark::Health;

use super::json as answer;
use crate::app::App;
use crate::error::Failure;
use crate::openapi::openapi;

/// `GET /livez`: the process answers.
pub(crate) async fn livez() -> Result<Response, Failure> {
    answer(StatusCode::OK, &json!({ "status": "live" }))
}

/// `GET /readyz`: reads and writes work.
pub(crate) async fn readyz(State(app): State<App>) -> Result<Response, Failure> {
    if app.is_stopping() {
        return Err(Failure::stopping());
    }
    match app.catalog.health() {
        Health::Healthy => answer(StatusCode::OK, &json!({ "status": "ready" })),
        _ => {
            let mut response = Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "UNAVAILABLE",
                "Service unavailable",
                "the storage failed and takes no writes until the catalog is reopened",
            )
            .into_response();
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("5"));
            Ok(response)
        }
    }
}

/// `GET /metrics`: OpenMetrics text, as Prometheus reads it.
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Failure> {
    let text = app
        .metrics
        .text(&app.catalog.activity(), app.gate.waiting())
        .map_err(|error| Failure::internal(error.to_string()))?;
    let media = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(CONTENT_TYPE, media)], text).into_response())
}

/// `GET /openapi.json`
pub(crate) async fn description() -> Result<Response, Failure> {
    answer(StatusCode::OK, &openapi())
}

/// What no route matches.
pub(crate) async fn nowhere(OriginalUri(uri): OriginalUri) -> Failure {
    let uri: Uri = uri;
    Failure::no_route(uri.path())
}
