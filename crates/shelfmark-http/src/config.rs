//! What can be chosen about a facade.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::auth::Authentication;

/// How often one subject may call. A tier spent gives 429 with `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// GET requests a minute; as many at once.
    pub reads_per_minute: NonZeroU32,
    /// Other requests a minute; as many at once.
    pub writes_per_minute: NonZeroU32,
}

impl Default for RateLimits {
    /// 1,000 reads and 100 writes a minute, as the published API has it.
    fn default() -> Self {
        const READS: NonZeroU32 = NonZeroU32::new(1000).unwrap();
        const WRITES: NonZeroU32 = NonZeroU32::new(100).unwrap();
        Self {
            reads_per_minute: READS,
            writes_per_minute: WRITES,
        }
    }
}

/// The options of a [`router`](crate::router), each with a default that its method names.
///
/// ```
/// use std::time::Duration;
/// use shelfmark_http::{Authentication, Config};
///
/// let config = Config::new(Authentication::new())
///     .without_rate_limits()
///     .body_deadline(Duration::from_secs(10))
///     .public_url("https://catalog.example.org");
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) authentication: Authentication,
    pub(crate) rate_limits: Option<RateLimits>,
    pub(crate) body_limit: usize,
    pub(crate) body_deadline: Duration,
    pub(crate) header_deadline: Duration,
    pub(crate) write_deadline: Duration,
    pub(crate) max_ids: usize,
    pub(crate) max_running: usize,
    pub(crate) max_waiting: usize,
    pub(crate) max_followers: usize,
    pub(crate) wait_deadline: Duration,
    pub(crate) shutdown_deadline: Duration,
    pub(crate) public_url: Option<String>,
}

impl Config {
    /// The defaults, with this authentication.
    pub fn new(authentication: Authentication) -> Self {
        Self {
            authentication,
            rate_limits: Some(RateLimits::default()),
            body_limit: 8 << 20,
            body_deadline: Duration::from_secs(30),
            header_deadline: Duration::from_secs(10),
            write_deadline: Duration::from_secs(30),
            max_ids: 1000,
            max_running: 64,
            max_waiting: 1024,
            max_followers: 256,
            wait_deadline: Duration::from_secs(10),
            shutdown_deadline: Duration::from_secs(30),
            public_url: None,
        }
    }

    /// How often one subject may call. [`RateLimits::default`] by default.
    #[must_use]
    pub fn rate_limits(mut self, limits: RateLimits) -> Self {
        self.rate_limits = Some(limits);
        self
    }

    /// No limit on how often a subject calls.
    #[must_use]
    pub fn without_rate_limits(mut self) -> Self {
        self.rate_limits = None;
        self
    }

    /// The most bytes of a body, and of one line of a streamed one; more is 413. 8 MiB by default: an entity of 1 MiB whose JSON escapes every character fits.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// How long a body may take to arrive, and a streamed one between two pieces; longer is 408. 30 seconds by default.
    #[must_use]
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.body_deadline = deadline;
        self
    }

    /// How long the headers of a request may take to arrive before [`serve`](crate::serve) closes the connection. 10 seconds by default.
    #[must_use]
    pub fn header_deadline(mut self, deadline: Duration) -> Self {
        self.header_deadline = deadline;
        self
    }

    /// How long a client may take nothing of an answer, while there is more of it, before [`serve`](crate::serve) closes the connection. 30 seconds by default.
    #[must_use]
    pub fn write_deadline(mut self, deadline: Duration) -> Self {
        self.write_deadline = deadline;
        self
    }

    /// The most ids in a path selector or in the `ids` of a DELETE; more is 400. 1,000 by default.
    #[must_use]
    pub fn max_ids(mut self, ids: usize) -> Self {
        self.max_ids = ids;
        self
    }

    /// How many requests may be inside the catalog at once, each on a thread that may block, at least 1; reads that are known to be short are not among them, and take
    /// no such thread. 64 by default; writes that wait together share
    /// commits, so more of them cost little.
    #[must_use]
    pub fn max_running(mut self, requests: usize) -> Self {
        self.max_running = requests.max(1);
        self
    }

    /// How many requests may wait for those to finish; more is 503. 1,024 by default.
    #[must_use]
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.max_waiting = requests;
        self
    }

    /// How many clients may follow the change feed at once, and a quarter of them, rounded up, for one subject; more is 503. 256 by default.
    #[must_use]
    pub fn max_followers(mut self, clients: usize) -> Self {
        self.max_followers = clients;
        self
    }

    /// How long a request may wait before it is refused with 503. 10 seconds by default.
    #[must_use]
    pub fn wait_deadline(mut self, deadline: Duration) -> Self {
        self.wait_deadline = deadline;
        self
    }

    /// How long [`serve`](crate::serve) lets requests finish once it was told to stop. 30 seconds by default.
    #[must_use]
    pub fn shutdown_deadline(mut self, deadline: Duration) -> Self {
        self.shutdown_deadline = deadline;
        self
    }

    /// Scheme and authority of the links in answers, such as `https://catalog.example.org`: needed behind a proxy that ends TLS. By default `http://` and the
    /// request's `Host`.
    #[must_use]
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.public_url = Some(url.into().trim_end_matches('/').to_owned());
        self
    }
}
