//! Where time, ids and randomness come from: injected, so that a test replays by its seed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// Tells the time. The catalog copes with a clock that jumps back: no entity's `lastModifiedTime` ever does.
pub trait Clock: Send + Sync {
    /// The present time.
    fn now(&self) -> Timestamp;
}

/// Makes ids.
pub trait IdSource: Send + Sync {
    /// A UUID of version 7, greater than every id this source gave before, that carries `now` or a later time.
    fn next_id(&self, now: Timestamp) -> Uuid;
}

/// Where a catalog takes time, ids and randomness from.
#[derive(Clone)]
pub struct Environment {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
    /// Fills a key with random bytes when a catalog is created, gets a change feed, or is copied.
    pub fill_random: Arc<dyn Fn(&mut [u8]) -> Result<()> + Send + Sync>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl Default for Environment {
    /// The system's clock, monotonic version 7 ids, the system's randomness.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(MonotonicIds::new()),
            fill_random: Arc::new(fill_from_system),
        }
    }
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    fn now(&self) -> Timestamp {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map(|since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            .map(Timestamp::from_millis_lossy)
            .unwrap_or_default()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system's randomness"
)]
fn fill_from_system(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| Error::new(ErrorKind::Io, "the system gave no random bytes").because(error))
}

/// Version 7 ids that never go back within a process, whatever the clock does.
#[derive(Debug, Default)]
pub struct MonotonicIds {
    state: Mutex<IdState>,
}

#[derive(Debug, Default)]
struct IdState {
    last: u128,
    context: uuid::ContextV7,
}

impl MonotonicIds {
    /// A source that has given no id yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl IdSource for MonotonicIds {
    fn next_id(&self, now: Timestamp) -> Uuid {
        let millis = u64::try_from(now.millis()).unwrap_or(0);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let IdState { last, context } = &mut *state;
        let stamp = uuid::Timestamp::from_unix(&*context, millis / 1000, (millis % 1000) as u32 * 1_000_000);
        let fresh = Uuid::new_v7(stamp);
        // The context counts within a millisecond and holds the time when the clock steps back; this guards the rest.
        let id = if fresh.as_u128() > *last {
            fresh
        } else {
            Uuid::from_u128(*last + 1)
        };
        *last = id.as_u128();
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_when_the_clock_stands_still_or_jumps_back() {
        let ids = MonotonicIds::new();
        let mut last = Uuid::nil();
        for step in 0..20_000 {
            let millis = if step < 10_000 {
                1_800_000_000_000
            } else {
                1_700_000_000_000
            };
            let id = ids.next_id(Timestamp::from_millis(millis).unwrap());
            assert!(id > last, "{id} after {last}");
            assert_eq!(id.get_version_num(), 7);
            assert!(crate::ids::created_time(id).millis() >= millis);
            last = id;
        }
    }
}
