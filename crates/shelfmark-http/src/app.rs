//! What all handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shelfmark::{Catalog, Session};
use tokio::sync::watch;

use crate::admission::Caller;
use crate::auth::Principal;
use crate::blocking::Gate;
use crate::config::Config;
use crate::error::Failure;
use crate::followers::Followers;
use crate::metrics::Metrics;
use crate::rate::RateLimiter;

/// The state of a router. A clone is the same state.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    /// That of the router in this process: others may share the catalog.
    pub(crate) number: u64,
    pub(crate) catalog: Catalog,
    pub(crate) config: Config,
    pub(crate) gate: Gate,
    pub(crate) limiter: Option<RateLimiter>,
    pub(crate) metrics: Metrics,
    pub(crate) followers: Arc<Followers>,
    /// Grows with each request that may have written.
    pub(crate) written: watch::Sender<u64>,
    /// Whether the server is going down.
    pub(crate) stopping: watch::Sender<bool>,
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    pub(crate) fn new(catalog: Catalog, config: Config) -> Self {
        static ROUTERS: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Inner {
            number: ROUTERS.fetch_add(1, Ordering::Relaxed),
            gate: Gate::new(&config, catalog.is_exclusive()),
            limiter: config.rate_limits.map(RateLimiter::new),
            metrics: Metrics::new(),
            followers: Followers::new(config.max_followers),
            written: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            catalog,
            config,
        }))
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// The session of whoever calls.
    pub(crate) fn session(&self, Caller(principal): &Caller) -> Result<Session, Failure> {
        let Principal { tenant, subject, .. } = &**principal;
        Ok(self.catalog.session(tenant.as_str(), subject.as_str())?)
    }
}
