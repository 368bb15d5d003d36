//! Answers to reads, remembered beside the state of the catalog that they were made from.
//!
//! Who asks again for what was answered from the newest state gets the same bytes, before a handler looks at the request. So nothing may come into an answer that is remembered
//! but that state of the tenant and what the key has; what admits a request, counts it and logs it comes before.

use std::sync::Arc;

use axum::extract::{OriginalUri, Request};
use axum::http::header::{ETAG, HOST};
use axum::http::uri::Authority;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use shelfmark::{Read as _, TenantSnapshot};

use crate::admission::Caller;
use crate::app::App;
use crate::blocking::MOST_BYTES;
use crate::error::Failure;
use crate::etag;
use crate::handlers::{empty, of_json};

/// What a read found: JSON, and of one entity its tag.
#[derive(Clone)]
pub(crate) struct Answer {
    text: Bytes,
    tag: Option<HeaderValue>,
}

impl Answer {
    pub(crate) fn new(mut text: Vec<u8>, tag: Option<&str>) -> Self {
        text.shrink_to_fit();
        Self {
            text: text.into(),
            tag: tag.and_then(|tag| tag.parse().ok()),
        }
    }

    /// The response to a request with these headers.
    pub(crate) fn response(&self, headers: &HeaderMap) -> Result<Response, Failure> {
        let Some(tag) = &self.tag else {
            return Ok(of_json(StatusCode::OK, self.text.clone()));
        };
        let known = match tag.to_str() {
            Ok(tag) => etag::is_known(headers, tag)?,
            Err(_) => false,
        };
        let mut response = if known {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            of_json(StatusCode::OK, self.text.clone())
        };
        response.headers_mut().insert(ETAG, tag.clone());
        Ok(response)
    }
}

/// What a remembered answer depends on beside the state: the router with its options, and of the request the host, which links begin with, path and query,
/// as they were sent and as they were routed.
pub(crate) struct Key(Vec<u8>);

impl Key {
    /// That of a GET.
    pub(crate) fn of(app: &App, uri: &Uri, headers: &HeaderMap, extensions: &Extensions) -> Self {
        // As it was sent, which links show; and as a service around this router may have made of it, which chooses the answer.
        let sent = extensions.get().map_or(uri, |OriginalUri(sent)| sent);
        let host = headers.get(HOST).map_or(&[][..], HeaderValue::as_bytes);
        let authority = sent.authority().map_or("", Authority::as_str);
        let target = target_of(sent);
        let routed = target_of(uri);
        let mut key = Vec::with_capacity(24 + host.len() + authority.len() + target.len());
        key.extend_from_slice(b"http\n");
        key.extend_from_slice(&app.number.to_be_bytes());
        // None of them can have a line end.
        for part in [host, authority.as_bytes()] {
            key.extend_from_slice(part);
            key.push(b'\n');
        }
        key.extend_from_slice(target.as_bytes());
        if routed != target {
            key.push(b'\n');
            key.extend_from_slice(routed.as_bytes());
        }
        Self(key)
    }

    /// Remembers the answer that was made from `state`, if it is one of a short read.
    pub(crate) fn keep(&self, state: &TenantSnapshot, app: &App, answer: &Answer) {
        if app.gate.has_short_reads() && answer.text.len() <= MOST_BYTES {
            state.remember(&self.0, answer.text.len(), Arc::new(answer.clone()));
        }
    }
}

fn target_of(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", |target| target.as_str())
}

/// What is remembered as the answer to this GET, made from the newest state.
pub(crate) fn known(app: &App, caller: &Caller, request: &Request) -> Result<Option<Response>, Failure> {
    // Otherwise to learn what the newest state is may take a while.
    if !app.gate.has_short_reads() {
        return Ok(None);
    }
    let key = Key::of(app, request.uri(), request.headers(), request.extensions());
    let answer = app.session(caller)?.remembered::<Answer>(&key.0)?;
    answer
        .map(|answer| answer.response(request.headers()))
        .transpose()
}
