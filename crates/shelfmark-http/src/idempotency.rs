//! `Idempotency-Key`: the header, and what makes a request the same one.

use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use shelfmark::IdempotencyKey;

use crate::error::Failure;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Whether the request has a key at all.
pub(crate) fn is_given(headers: &HeaderMap) -> bool {
    headers.contains_key(KEY)
}

/// The key of a request to `route`, if it has one. Method, route and body make the fingerprint; both base paths are one route.
pub(crate) fn key(
    headers: &HeaderMap,
    method: &str,
    route: &str,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Failure> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .ok()
        .filter(|_| values.next().is_none())
        .ok_or_else(|| {
            Failure::invalid("the header Idempotency-Key must be one text of 1 to 255 visible characters")
        })?;
    let mut fingerprint = blake3::Hasher::new();
    for part in [method.as_bytes(), route.as_bytes(), body] {
        fingerprint.update(&(part.len() as u64).to_be_bytes());
        fingerprint.update(part);
    }
    let key = IdempotencyKey::new(text)?;
    Ok(Some(key.fingerprint(*fingerprint.finalize().as_bytes())))
}

/// The same answer, with the header that tells it is an earlier request's.
pub(crate) fn marked(mut response: Response, replayed: bool) -> Response {
    if replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
