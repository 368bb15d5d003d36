//! Rate tiers: so many reads and so many writes a minute for each subject.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter as Governor};

use crate::auth::Principal;
use crate::config::RateLimits;

/// How many checks pass between two sweeps of subjects that did not call for long.
const SWEEP_EVERY: u64 = 10_000;

/// The limiter of one router.
pub(crate) struct RateLimiter {
    reads: DefaultKeyedRateLimiter<(String, String)>,
    writes: DefaultKeyedRateLimiter<(String, String)>,
    clock: DefaultClock,
    checks: AtomicU64,
}

impl RateLimiter {
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self {
            reads: Governor::keyed(Quota::per_minute(limits.reads_per_minute)),
            writes: Governor::keyed(Quota::per_minute(limits.writes_per_minute)),
            clock: DefaultClock::default(),
            checks: AtomicU64::new(0),
        }
    }

    /// Takes one from the caller's tier; the error is how long until there is one again.
    pub(crate) fn check(&self, caller: &Principal, is_read: bool) -> Result<(), Duration> {
        let tier = if is_read { &self.reads } else { &self.writes };
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.reads.retain_recent();
            self.writes.retain_recent();
        }
        let key = (caller.tenant.clone(), caller.subject.clone());
        tier.check_key(&key)
            .map_err(|denied| denied.wait_time_from(self.clock.now()))
    }
}
