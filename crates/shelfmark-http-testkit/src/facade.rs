//! A router that is called without a socket.

use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::Value;
use shelfmark::Catalog;
use shelfmark_http::{Authentication, Config, Jwt, Principal, Scope, router};
use shelfmark_testkit::fuzz::{TENANT, sure};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

/// The most bytes of a body and of a streamed line: few, so that inputs reach the limit.
pub(crate) const BODY_LIMIT: usize = 1_500;
/// The most ids of a selector.
const MAX_IDS: usize = 4;

/// The router over one catalog.
pub(crate) struct Facade(Router);

/// A response whose body was read: whole, or the first piece of one that goes on for as long as somebody listens.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// One thread drives every call, so that an input runs the same way each time.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| sure(Builder::new_current_thread().enable_time().build()))
}

/// Whoever sends no token may do everything in [`TENANT`]; the tokens `r` and `w` allow reading or writing alone, `s` belongs to another tenant.
fn authentication() -> Authentication {
    let secret = b"as many bytes of noise as HS256 asks for";
    let jwt = Jwt::with_secret(secret, "https://issuer.example.org", "shelfmark");
    Authentication::new()
        .with_jwt(sure(jwt))
        .with_anonymous(Principal::with_all_scopes(TENANT, "ann"))
        .with_static_token("r", Principal::new(TENANT, "rita", [Scope::Read]))
        .with_static_token("w", Principal::new(TENANT, "walt", [Scope::Write]))
        .with_static_token("s", Principal::with_all_scopes("initech", "sue"))
}

impl Facade {
    pub(crate) fn new(catalog: Catalog) -> Self {
        let config = Config::new(authentication())
            .without_rate_limits()
            .body_limit(BODY_LIMIT)
            .max_ids(MAX_IDS);
        Self(router(catalog, config))
    }

    pub(crate) fn send(&self, request: Request<Body>) -> Reply {
        runtime().block_on(async {
            let response = sure(self.0.clone().oneshot(request).await);
            let (parts, mut body) = response.into_parts();
            let endless = parts
                .headers
                .get(CONTENT_TYPE)
                .is_some_and(|media| media == "text/event-stream");
            let body = if endless {
                let frame = body.frame().await.map(sure);
                frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default()
            } else {
                sure(body.collect().await).to_bytes()
            };
            Reply {
                status: parts.status,
                headers: parts.headers,
                body,
            }
        })
    }
}

impl Reply {
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn is(&self, media: &str) -> bool {
        self.header(CONTENT_TYPE) == Some(media)
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {self:?}"),
        }
    }
}
