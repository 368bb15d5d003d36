//! Who may go on to a handler of the API: authenticated, with the scope, within the rate tier.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::auth::{Principal, Scope};
use crate::error::Failure;
use crate::observe;

/// Lets a request through with its [`Principal`], or answers it.
pub(crate) async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match principal(&app, request.method(), request.headers()).await {
        Ok(principal) => {
            let writes = !is_read(request.method());
            request.extensions_mut().insert(principal);
            let response = next.run(request).await;
            if writes {
                app.written.send_modify(|written| *written += 1);
            }
            response
        }
        Err(failure) => failure.into_response(),
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

async fn principal(app: &App, method: &Method, headers: &HeaderMap) -> Result<Principal, Failure> {
    if app.is_stopping() {
        return Err(Failure::stopping());
    }
    let principal = app.config.authentication.authenticate(headers).await?;
    observe::caller(&principal.tenant, &principal.subject);
    let is_read = is_read(method);
    let scope = if is_read { Scope::Read } else { Scope::Write };
    if !principal.has(scope) {
        return Err(Failure::forbidden(scope.name()));
    }
    if let Some(limiter) = &app.limiter {
        limiter
            .check(&principal, is_read)
            .map_err(Failure::rate_limited)?;
    }
    Ok(principal)
}

/// Who calls.
pub(crate) struct Caller(pub(crate) Principal);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        parts
            .extensions
            .get::<Principal>()
            .cloned()
            .map(Caller)
            .ok_or_else(|| Failure::internal("a route of the API is not behind the admission layer"))
    }
}
