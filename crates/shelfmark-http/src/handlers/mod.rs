//! What each route does.

pub(crate) mod batch;
pub(crate) mod care;
pub(crate) mod changes;
pub(crate) mod entities;
pub(crate) mod lists;
pub(crate) mod selections;
pub(crate) mod stream;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::error::Failure;

/// A JSON answer. Made on the blocking side: a large entity takes its time.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Response, Failure> {
    let body = serde_json::to_vec(value).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(of_json(status, body))
}

/// The answer with this JSON for a body.
pub(crate) fn of_json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The same answer with an entity tag.
pub(crate) fn tagged(mut response: Response, tag: &str) -> Response {
    if let Ok(tag) = tag.parse() {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}
