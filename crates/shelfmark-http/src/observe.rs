//! The one layer around every route: admission, trace id, span, log line, figures, and the envelope of whatever went wrong, panics included.
//!
//! One layer, and not one for each of these: every layer costs every request a boxed call and clones of all that lies within.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::admission::{self, Admission, Caller};
use crate::answers;
use crate::app::App;
use crate::drain::drain;
use crate::error::{self, Failure};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The route of a request that matches none, in metrics and logs.
const UNMATCHED: &str = "unmatched";

/// The most bytes of a path and a query. Below the 65,534 of the HTTP library, whose refusal has no envelope; a selector of 1,000 ids has 37,000.
const MAX_URI: usize = 60_000;

/// Around what is open to all.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    answer(&app, Instant::now(), Admission::default(), request, next).await
}

/// Around the API.
pub(crate) async fn admit_and_observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let admission = admission::admit(&app, request.method(), request.headers()).await;
    answer(&app, began, admission, request, next).await
}

async fn answer(app: &App, began: Instant, admission: Admission, request: Request, next: Next) -> Response {
    let Admission { caller, refusal } = admission;
    let trace_id = TraceId::of(request.headers());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        trace_id = trace_id.as_str(),
        method = method.as_str(),
        route,
        tenant = caller.as_ref().map(|caller| caller.0.tenant.as_str()),
        subject = caller.as_ref().map(|caller| caller.0.subject.as_str()),
        status = Empty,
        duration_ms = Empty
    );
    let may_write = caller.is_some() && !admission::is_read(&method);
    let too_long = uri
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > MAX_URI);
    let refusal = if too_long {
        Some(Failure::uri_too_long(MAX_URI))
    } else {
        refusal
    };
    let respond = async |request| match refusal {
        Some(refusal) => refusal.into_response(),
        None => AssertUnwindSafe(handled(app, caller, request, next))
            .catch_unwind()
            .await
            // The payload may hold anything, so not even the log has it: the panic hook has told it.
            .unwrap_or_else(|_| Failure::internal("a handler panicked").into_response()),
    };
    let response = drain(request, respond).instrument(span.clone()).await;
    if may_write {
        app.written.send_modify(|written| *written += 1);
    }
    let (mut response, failure) = error::seal(response, uri.path(), trace_id.as_str());
    private(response.headers_mut());
    let status = response.status().as_u16();
    let duration = began.elapsed();
    app.metrics
        .request(route, method_label(&method), status, duration);
    // In one call, since whoever writes logs puts the fields together anew with each.
    tracing::record_all!(
        span,
        status = status,
        duration_ms = duration.as_secs_f64() * 1000.0
    );
    span.in_scope(
        || match failure.as_ref().and_then(|failure| failure.private.as_deref()) {
            Some(private) => tracing::error!(private, "request failed"),
            None => tracing::info!("request"),
        },
    );
    response
}

/// What is remembered as the answer, or that of the route.
async fn handled(app: &App, caller: Option<Caller>, mut request: Request, next: Next) -> Response {
    if let Some(caller) = caller {
        if admission::is_read(request.method()) {
            match answers::known(app, &caller, &request) {
                Ok(None) => {}
                Ok(Some(known)) => return known,
                Err(failure) => return failure.into_response(),
            }
        }
        request.extensions_mut().insert(caller);
    }
    next.run(request).await
}

/// Answers are for who asked: no cache in between keeps them, and one at the end asks again.
fn private(headers: &mut HeaderMap) {
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-cache"));
    headers
        .entry(X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
}

/// Any text can be a method: those that no route has share a label.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// The trace id of a W3C `traceparent`, or a new one: 32 lower-case hexadecimal digits.
struct TraceId([u8; 32]);

impl TraceId {
    fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(TRACEPARENT).and_then(|header| header.to_str().ok());
        match sent.and_then(trace_id_of).map(|id| id.as_bytes().try_into()) {
            Some(Ok(id)) => Self(id),
            _ => Self::new(),
        }
    }

    fn new() -> Self {
        // Zero is not a trace id.
        let mut rest = fastrand::u128(1..);
        let mut id = [0; 32];
        for digit in id.iter_mut().rev() {
            *digit = b"0123456789abcdef"[(rest & 15) as usize];
            rest >>= 4;
        }
        Self(id)
    }

    fn as_str(&self) -> &str {
        // Digits and letters alone.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The id in `version-traceid-parentid-flags`. Later versions may append more, version 00 may not, and ff is none.
fn trace_id_of(header: &str) -> Option<&str> {
    let mut parts = header.split('-');
    let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let nonzero = |text: &str| text.bytes().any(|byte| byte != b'0');
    let whole = hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && hex(trace_id, 32)
        && nonzero(trace_id)
        && hex(parent_id, 16)
        && nonzero(parent_id)
        && hex(flags, 2);
    whole.then_some(trace_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_comes_from_a_whole_traceparent_only() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = "00f067aa0ba902b7";
        for (header, expected) in [
            (format!("00-{id}-{parent}-01"), Some(id)),
            (format!("cc-{id}-{parent}-01-what-the-future-brings"), Some(id)),
            (format!("00-{id}-{parent}-01-more"), None),
            (format!("ff-{id}-{parent}-01"), None),
            (format!("00-{}-{parent}-01", id.to_uppercase()), None),
            (format!("00-{}-{parent}-01", "0".repeat(32)), None),
            (format!("00-{id}-{}-01", "0".repeat(16)), None),
            (format!("00-{id}-{parent}"), None),
            (String::new(), None),
        ] {
            assert_eq!(trace_id_of(&header), expected, "{header}");
        }
        let new = TraceId::new();
        assert_eq!(
            trace_id_of(&format!("00-{}-{parent}-01", new.as_str())),
            Some(new.as_str())
        );
        assert_ne!(new.as_str(), TraceId::new().as_str());
    }
}
