//! What a request can fail with, as the reference's envelope shows it. One place gives every kind of catalog error its status.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shelfmark::{Error, ErrorKind};

/// The status that a request answers with when the catalog gives an error of this kind.
///
/// ```
/// use axum::http::StatusCode;
/// use shelfmark::ErrorKind;
///
/// assert_eq!(shelfmark_http::status_of(ErrorKind::NotEmpty), StatusCode::CONFLICT);
/// ```
pub fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid | ErrorKind::BadCursor | ErrorKind::OffsetTooDeep | ErrorKind::Vetoed => {
            StatusCode::BAD_REQUEST
        }
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::VersionConflict
        | ErrorKind::PatchTestFailed
        | ErrorKind::NotEmpty
        | ErrorKind::NameTaken
        | ErrorKind::KeyReused => StatusCode::CONFLICT,
        ErrorKind::ChangesTrimmed | ErrorKind::ChangesRewound => StatusCode::GONE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::ReadOnly
        | ErrorKind::StorageFull
        | ErrorKind::Io
        | ErrorKind::Unavailable
        | ErrorKind::Closed
        | ErrorKind::Busy
        | ErrorKind::Contended
        | ErrorKind::InUse
        | ErrorKind::FileMissing
        | ErrorKind::NeedsRepair => StatusCode::SERVICE_UNAVAILABLE,
        // Not 503, which asks for a retry: whether the write happened cannot be told.
        ErrorKind::CommitUnknown => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a kind of error is called.
fn title_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "Invalid input",
        ErrorKind::NotFound => "Not found",
        ErrorKind::VersionConflict => "Version conflict",
        ErrorKind::PatchTestFailed => "Patch test failed",
        ErrorKind::NotEmpty => "Not empty",
        ErrorKind::NameTaken => "Name taken",
        ErrorKind::BadCursor => "Bad cursor",
        ErrorKind::OffsetTooDeep => "Offset too deep",
        ErrorKind::TooLarge => "Too large",
        ErrorKind::Vetoed => "Refused by a rule of this server",
        ErrorKind::KeyReused => "Idempotency key reused",
        ErrorKind::ChangesTrimmed => "Changes trimmed",
        ErrorKind::ChangesRewound => "Changes rewound",
        ErrorKind::Unsupported => "Not supported",
        ErrorKind::ReadOnly => "Read-only",
        ErrorKind::StorageFull => "Storage full",
        ErrorKind::CommitUnknown => "Commit unknown",
        ErrorKind::Contended => "Contended",
        _ if status_of(kind) == StatusCode::SERVICE_UNAVAILABLE => "Service unavailable",
        _ => "Internal server error",
    }
}

/// One member of the envelope's `errors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    pub(crate) code: Cow<'static, str>,
    pub(crate) title: Cow<'static, str>,
    pub(crate) detail: String,
    pub(crate) status: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    errors: &'a [Entry],
    trace_id: &'a str,
}

/// Why a request failed. As a response it has no body yet: that is written where the trace id is known.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) entries: Vec<Entry>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What only the log shows.
    pub(crate) private: Option<String>,
}

impl Failure {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let mut failure = Self {
            status,
            entries: Vec::new(),
            headers: Vec::new(),
            private: None,
        };
        failure.push(code, title, detail.into());
        failure
    }

    /// What these entries come to, with the status of the first; `None` where there are none.
    pub(crate) fn of_entries(entries: Vec<Entry>) -> Option<Self> {
        let status = entries.first()?.status.parse().ok()?;
        Some(Self {
            status,
            entries,
            headers: Vec::new(),
            private: None,
        })
    }

    /// The same failure with the status, and the headers, of an error of this kind.
    pub(crate) fn with_status_of(self, kind: ErrorKind) -> Self {
        let of_kind = Self::from(Error::new(kind, "an operation of a batch failed"));
        Self {
            entries: self.entries,
            ..of_kind
        }
    }

    fn push(&mut self, code: &'static str, title: &'static str, detail: String) {
        self.entries.push(Entry {
            code: code.into(),
            title: title.into(),
            detail,
            status: self.status.as_str().to_owned(),
        });
    }

    fn with(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    /// A rule of the request itself that is broken; a JSON pointer goes first in `detail`.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        let kind = ErrorKind::Invalid;
        Self::new(status_of(kind), kind.code(), title_of(kind), detail)
    }

    /// An id that is no UUID names nothing.
    pub(crate) fn not_found(kind_of_entity: shelfmark::EntityKind, id: &str) -> Self {
        let kind = ErrorKind::NotFound;
        let detail = format!("there is no {kind_of_entity} {} in this tenant", shortened(id));
        Self::new(status_of(kind), kind.code(), title_of(kind), detail)
    }

    pub(crate) fn no_route(path: &str) -> Self {
        let detail = format!("there is nothing at {}: see /openapi.json", shortened(path));
        Self::new(StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND", "No such route", detail)
    }

    pub(crate) fn unauthorized(challenge: &'static str, detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "Not authenticated",
            detail,
        )
        .with(WWW_AUTHENTICATE, challenge)
    }

    pub(crate) fn forbidden(scope: &str) -> Self {
        let detail = format!("the token does not have the scope {scope}");
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", "Not allowed", detail).with(
            WWW_AUTHENTICATE,
            format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""),
        )
    }

    pub(crate) fn precondition(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "PRECONDITION_FAILED",
            "Precondition failed",
            detail,
        )
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("a body may have at most {limit} bytes");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "BODY_TOO_LARGE",
            "Body too large",
            detail,
        )
    }

    pub(crate) fn uri_too_long(limit: usize) -> Self {
        let detail = format!("a path and its query may have at most {limit} bytes: name fewer ids at once");
        Self::new(StatusCode::URI_TOO_LONG, "URI_TOO_LONG", "URI too long", detail)
    }

    pub(crate) fn media_type(wanted: &str) -> Self {
        let detail = format!("the Content-Type must be {wanted}");
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "Unsupported media type",
            detail,
        )
    }

    pub(crate) fn body_deadline(deadline: Duration) -> Self {
        let detail = format!("the body did not arrive within {} ms", deadline.as_millis());
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "BODY_TIMEOUT",
            "Body too slow",
            detail,
        )
    }

    pub(crate) fn rate_limited(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "RATE_LIMITED",
            "Too many requests",
            format!("the rate tier is spent: try again in {seconds} s"),
        )
        .with(RETRY_AFTER, seconds)
    }

    pub(crate) fn overloaded(detail: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "OVERLOADED",
            "Overloaded",
            detail,
        )
        .with(RETRY_AFTER, 1)
    }

    pub(crate) fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "SHUTTING_DOWN",
            "Shutting down",
            "the server is shutting down: try again later",
        )
        .with(RETRY_AFTER, 5)
    }

    /// A bug: the details are for the log.
    pub(crate) fn internal(private: impl Into<String>) -> Self {
        let kind = ErrorKind::Internal;
        let mut failure = Self::new(
            status_of(kind),
            kind.code(),
            title_of(kind),
            "the server has a fault; its log tells more under this traceId",
        );
        failure.private = Some(private.into());
        failure
    }

    /// What stands for a response that has no envelope of its own: those that the router itself makes.
    pub(crate) fn of_router(status: StatusCode, path: &str) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::no_route(path),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                "METHOD_NOT_ALLOWED",
                "Method not allowed",
                "this route does not have this method: the Allow header has those it has",
            ),
            status if status.is_client_error() => {
                Self::new(status, "BAD_REQUEST", "Bad request", "the request cannot be read")
            }
            status => Self {
                status,
                ..Self::internal(format!("a response with status {status} and without an envelope"))
            },
        }
    }

    /// The response, with the envelope for a body.
    pub(crate) fn envelope(&self, trace_id: &str) -> Body {
        let envelope = Envelope {
            errors: &self.entries,
            trace_id,
        };
        // Texts alone cannot fail to become JSON.
        Body::from(serde_json::to_vec(&envelope).unwrap_or_default())
    }
}

/// At most 100 characters of what somebody sent.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = error.kind();
        let status = status_of(kind);
        let mut failure = Self {
            status,
            entries: Vec::new(),
            headers: Vec::new(),
            private: None,
        };
        for violation in error.violations() {
            failure.push(kind.code(), title_of(kind), violation.to_string());
        }
        if failure.entries.is_empty() {
            let detail = match kind {
                // Says what the client must do, and nothing of the inside.
                ErrorKind::CommitUnknown => {
                    "whether the write happened cannot be told: read before you retry".into()
                }
                _ if status == StatusCode::INTERNAL_SERVER_ERROR => {
                    "the server has a fault; its log tells more under this traceId".into()
                }
                ErrorKind::Io | ErrorKind::Unavailable => {
                    "the storage does not answer; reads may still work".into()
                }
                _ => error.to_string(),
            };
            failure.push(kind.code(), title_of(kind), detail);
        }
        if status.is_server_error() {
            let mut told = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                told.push_str(": ");
                told.push_str(&cause.to_string());
                source = cause.source();
            }
            failure.private = Some(told);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            failure = failure.with(RETRY_AFTER, 5);
        }
        failure
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every response with an error status the envelope, and keeps its headers.
pub(crate) fn seal(mut response: Response, path: &str, trace_id: &str) -> (Response, Option<Failure>) {
    let status = response.status();
    let failure = match response.extensions_mut().remove::<Failure>() {
        Some(failure) => failure,
        None if status.is_client_error() || status.is_server_error() => Failure::of_router(status, path),
        None => return (response, None),
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = failure.envelope(trace_id);
    (Response::from_parts(parts, body), Some(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kind that somebody adds to the engine has to be thought about here.
    #[test]
    fn every_kind_of_error_has_its_status() {
        let expected = |kind| match kind {
            ErrorKind::Invalid | ErrorKind::BadCursor | ErrorKind::OffsetTooDeep | ErrorKind::Vetoed => 400,
            ErrorKind::NotFound => 404,
            ErrorKind::VersionConflict
            | ErrorKind::PatchTestFailed
            | ErrorKind::NotEmpty
            | ErrorKind::NameTaken
            | ErrorKind::KeyReused => 409,
            ErrorKind::ChangesTrimmed | ErrorKind::ChangesRewound => 410,
            ErrorKind::Unsupported => 501,
            ErrorKind::TooLarge => 413,
            ErrorKind::ReentrantWrite
            | ErrorKind::HookPanicked
            | ErrorKind::FileExists
            | ErrorKind::NotACatalog
            | ErrorKind::FormatTooOld
            | ErrorKind::FormatTooNew
            | ErrorKind::OptionMismatch
            | ErrorKind::Corrupt
            | ErrorKind::CommitUnknown
            | ErrorKind::Internal => 500,
            ErrorKind::FileMissing
            | ErrorKind::InUse
            | ErrorKind::ReadOnly
            | ErrorKind::NeedsRepair
            | ErrorKind::StorageFull
            | ErrorKind::Io
            | ErrorKind::Unavailable
            | ErrorKind::Closed
            | ErrorKind::Busy
            | ErrorKind::Contended => 503,
            other => panic!("{other:?} has no expected status"),
        };
        for &kind in ErrorKind::ALL {
            assert_eq!(status_of(kind).as_u16(), expected(kind), "{kind:?}");
            let failure = Failure::from(Error::new(kind, "a secret of the file"));
            assert_eq!(failure.entries.len(), 1);
            assert_eq!(failure.entries[0].code, kind.code());
            assert_eq!(failure.entries[0].status, expected(kind).to_string());
            // A fault of the server keeps its details to the log.
            assert_eq!(failure.private.is_some(), expected(kind) >= 500);
            assert!(expected(kind) != 500 || !failure.entries[0].detail.contains("secret"));
        }
    }
}
