//! Who may go on to a handler of the API: authenticated, with the scope, within the rate tier.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

use crate::app::App;
use crate::auth::{Principal, Scope};
use crate::error::Failure;

/// What came of asking to be let in. Without a caller and without a refusal: nobody had to ask.
#[derive(Default)]
pub(crate) struct Admission {
    /// Who calls, as far as that is known, refused or not.
    pub(crate) caller: Option<Caller>,
    pub(crate) refusal: Option<Failure>,
}

/// Lets a request in or not.
pub(crate) async fn admit(app: &App, method: &Method, headers: &HeaderMap) -> Admission {
    if app.is_stopping() {
        return Admission {
            caller: None,
            refusal: Some(Failure::stopping()),
        };
    }
    match app.config.authentication.authenticate(headers).await {
        Ok(principal) => Admission {
            refusal: refusal(app, method, &principal),
            caller: Some(Caller(principal)),
        },
        Err(failure) => Admission {
            caller: None,
            refusal: Some(failure),
        },
    }
}

pub(crate) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn refusal(app: &App, method: &Method, principal: &Principal) -> Option<Failure> {
    let is_read = is_read(method);
    let scope = if is_read { Scope::Read } else { Scope::Write };
    if !principal.has(scope) {
        return Some(Failure::forbidden(scope.name()));
    }
    let limiter = app.limiter.as_ref()?;
    limiter
        .check(principal, is_read)
        .map_err(Failure::rate_limited)
        .err()
}

/// Who calls.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Arc<Principal>);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| Failure::internal("a route of the API is not behind the layer that admits"))
    }
}
