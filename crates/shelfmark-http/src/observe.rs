//! Around every request: trace id, span, log line, metrics, and the envelope of whatever went wrong, panics included.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::app::App;
use crate::error::{self, Failure};

/// The route of a request that matches none, in metrics and logs.
const UNMATCHED: &str = "unmatched";

/// The outermost layer of the router.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let trace_id = trace_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| UNMATCHED.to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!(
        "request", trace_id, %method, route, tenant = Empty, subject = Empty, status = Empty, duration_ms = Empty
    );
    let response = next.run(request).instrument(span.clone()).await;
    let (response, failure) = error::seal(response, &path, &trace_id);
    let status = response.status().as_u16();
    let duration = began.elapsed();
    app.metrics
        .request(&route, method_label(&method), status, duration);
    span.record("status", status);
    span.record("duration_ms", duration.as_secs_f64() * 1000.0);
    span.in_scope(
        || match failure.as_ref().and_then(|failure| failure.private.as_deref()) {
            Some(private) => tracing::error!(private, "request failed"),
            None => tracing::info!("request"),
        },
    );
    response
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

/// Notes who calls in the span of the request.
pub(crate) fn caller(tenant: &str, subject: &str) {
    let span = Span::current();
    span.record("tenant", tenant);
    span.record("subject", subject);
}

/// What a panic of a handler becomes. The payload may hold anything, so not even the log has it: the panic hook has told it.
pub(crate) fn panicked(_payload: Box<dyn Any + Send + 'static>) -> Response {
    Failure::internal("a handler panicked").into_response()
}

/// The trace id of a W3C `traceparent`, or a new one: 32 lower-case hexadecimal digits.
fn trace_id(headers: &HeaderMap) -> String {
    headers
        .get("traceparent")
        .and_then(|header| header.to_str().ok())
        .and_then(trace_id_of)
        .map_or_else(new_trace_id, str::to_owned)
}

fn new_trace_id() -> String {
    // Zero is not a trace id.
    format!("{:032x}", fastrand::u128(1..))
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
        assert_eq!(new_trace_id().len(), 32);
        assert_ne!(new_trace_id(), new_trace_id());
    }
}
