//! Where time, ids and randomness come from: injected, so that a test replays by its seed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::timestamp::context::ContextV7;
use uuid::{ClockSequence as _, Uuid};

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
    context: ContextV7,
    /// The system's random bytes, asked for many ids at a time: a call for each would cost more than the rest of an id.
    random: Vec<u8>,
}

/// How many ids random bytes are asked for at a time.
const RANDOM_IDS: usize = 256;
/// Random bytes of an id, behind its time and the counter.
const RANDOM: usize = 4;

impl IdState {
    fn fresh(&mut self, millis: u64) -> Uuid {
        let (counter, seconds, nanos) = self
            .context
            .generate_timestamp_sequence(millis / 1000, (millis % 1000) as u32 * 1_000_000);
        if self.random.is_empty() {
            self.random.resize(RANDOM_IDS * RANDOM, 0);
            // Without any, the counter, which begins at random in each millisecond, tells ids apart.
            let _ = fill_from_system(&mut self.random);
        }
        let rest = self.random.len() - RANDOM;
        let mut bytes = [0; 10];
        // 12 bits of the counter's 42 lie before the variant, 30 behind it.
        bytes[..2].copy_from_slice(&((counter >> 30) as u16).to_be_bytes());
        bytes[2..6].copy_from_slice(&(counter as u32 & (u32::MAX >> 2)).to_be_bytes());
        bytes[6..].copy_from_slice(&self.random[rest..]);
        self.random.truncate(rest);
        let millis = seconds * 1000 + u64::from(nanos / 1_000_000);
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
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
        let fresh = state.fresh(millis);
        // The context counts within a millisecond and holds the time when the clock steps back; this guards the rest.
        let id = if fresh.as_u128() > state.last {
            fresh
        } else {
            Uuid::from_u128(state.last + 1)
        };
        state.last = id.as_u128();
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
        let mut tails = std::collections::BTreeSet::new();
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
            tails.insert(id.as_u128() as u32);
        }
        assert!(tails.len() > 19_000, "{} different random parts", tails.len());
    }
}
