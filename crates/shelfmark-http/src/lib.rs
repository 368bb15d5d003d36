//! The REST API of data stores over a [`shelfmark::Catalog`], as an [`axum::Router`] to mount in any service, or to [`serve`].
//!
//! ```
//! use shelfmark::Catalog;
//! use shelfmark_http::{Authentication, Config, Principal, router};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let authentication = Authentication::new().with_static_token("a token for tests", Principal::with_all_scopes("acme", "ann"));
//! let config = Config::new(authentication).body_limit(1 << 20);
//! let app: axum::Router = router(Catalog::in_memory()?, config);
//! # Ok(())
//! # }
//! ```
//!
//! - [`Config`] has what can be chosen: who may call ([`Authentication`]), how often ([`RateLimits`]), how much and how long.
//! - [`serve`] runs a router on a listener, with deadlines for headers, until told to stop, and then lets what began finish.
//! - `docs/http.md` lists the routes, their statuses, the codes of errors and every option.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::expect_used, clippy::panic, clippy::unwrap_used))]

mod admission;
mod answers;
mod app;
mod auth;
mod blocking;
mod config;
mod drain;
mod error;
mod etag;
mod followers;
mod handlers;
mod idempotency;
mod metrics;
mod observe;
mod openapi;
mod paging;
mod precondition;
mod rate;
mod request;
mod routes;
mod server;
mod stall;

pub use auth::{Algorithm, Authentication, AuthenticationError, Claims, Jwt, Principal, Scope};
pub use config::{Config, RateLimits};
pub use error::status_of;
pub use openapi::openapi;
pub use routes::router;
pub use server::serve;
