//! Time, ids and randomness that a test decides about.

use std::fmt;
use std::sync::{Arc, Mutex};

use shelfmark::{Clock, Environment, IdSource, Timestamp};
use uuid::{Builder, Uuid};

use crate::lock;

/// A clock that stands still unless it is moved, version 7 ids that depend on nothing but it and a seed, and randomness that depends on
/// nothing but the seed and what was drawn before. A clone is another handle on the same.
#[derive(Clone)]
pub struct TestEnvironment(Arc<Mutex<State>>);

struct State {
    now: i64,
    /// The latest time there ever was: what ids carry, so that they never go back.
    latest: i64,
    ids: u64,
    seed: u64,
    random: u64,
}

impl fmt::Debug for TestEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { now, ids, seed, .. } = &*lock(&self.0);
        write!(f, "TestEnvironment {{ now: {now}, ids: {ids}, seed: {seed} }}")
    }
}

impl TestEnvironment {
    /// Where the clock of every new environment stands, in milliseconds: 2023-11-14T22:13:20Z.
    pub const START: i64 = 1_700_000_000_000;

    /// An environment that stands at [`TestEnvironment::START`].
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: Self::START,
            latest: Self::START,
            ids: 0,
            seed,
            random: seed,
        })))
    }

    /// Moves the clock by `millis`, back where that is negative.
    pub fn advance(&self, millis: i64) {
        let mut state = lock(&self.0);
        state.now += millis;
        state.latest = state.latest.max(state.now);
    }

    /// Sets the clock.
    pub fn set(&self, millis: i64) {
        let now = lock(&self.0).now;
        self.advance(millis - now);
    }

    /// The time, in milliseconds.
    pub fn now(&self) -> i64 {
        lock(&self.0).now
    }

    /// The latest time there ever was, in milliseconds: what the next id will carry.
    pub fn latest(&self) -> i64 {
        lock(&self.0).latest
    }

    /// What to give to [`shelfmark::Options::environment`].
    pub fn environment(&self) -> Environment {
        let random = self.clone();
        Environment {
            clock: Arc::new(self.clone()),
            ids: Arc::new(self.clone()),
            fill_random: Arc::new(move |bytes| {
                let state = &mut lock(&random.0).random;
                for byte in bytes {
                    *byte = (split_mix(state) >> 56) as u8;
                }
                Ok(())
            }),
        }
    }
}

impl Clock for TestEnvironment {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(TestEnvironment::now(self)).unwrap_or_default()
    }
}

impl IdSource for TestEnvironment {
    fn next_id(&self, now: Timestamp) -> Uuid {
        let mut state = lock(&self.0);
        state.latest = state.latest.max(now.millis());
        state.ids += 1;
        // The seed above the counter: ids of one environment grow, and those of two differ.
        let mut rest = [0; 10];
        rest[..4].copy_from_slice(&(state.seed as u32).to_be_bytes());
        rest[4..].copy_from_slice(&state.ids.to_be_bytes()[2..]);
        Builder::from_unix_timestamp_millis(u64::try_from(state.latest).unwrap_or(0), &rest).into_uuid()
    }
}

/// The next number of the SplitMix64 sequence.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_whatever_the_clock_does_and_repeat_with_the_seed() {
        let ids = |seed| {
            let handle = TestEnvironment::new(seed);
            [0, 0, 5, -90_000, 0, 100_000].map(|millis| {
                handle.advance(millis);
                handle.next_id(Clock::now(&handle))
            })
        };
        let one = ids(7);
        assert!(one.is_sorted_by(|before, after| before < after), "{one:?}");
        assert!(one.iter().all(|id| id.get_version_num() == 7));
        assert_eq!(one, ids(7));
        assert_ne!(one, ids(8));
    }
}
