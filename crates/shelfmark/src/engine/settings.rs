//! What operations need to know of the catalog they run in.

use std::fmt;
use std::sync::Arc;

use crate::changes::ChangeRetention;
use crate::environment::Environment;
use crate::hooks::Hook;

/// The same for every operation of an open catalog.
#[doc(hidden)]
pub struct Settings {
    pub(crate) environment: Environment,
    pub(crate) unique_technical_names: bool,
    /// The most bytes that an all-or-nothing creation holds.
    pub(crate) atomic_bulk_bytes: usize,
    /// What cursors are authenticated with.
    pub(crate) cursor_key: [u8; 32],
    /// Whether changes are recorded.
    pub(crate) change_feed: bool,
    /// Tells this catalog's feeds from those of every other; zeros where there is none.
    pub(crate) feed_id: [u8; 16],
    pub(crate) change_retention: ChangeRetention,
    /// How long answers to requests with an idempotency key are kept, in milliseconds.
    pub(crate) idempotency_expiry: i64,
    /// For how many milliseconds what is deleted can be restored; `None`: not at all.
    pub(crate) undrop: Option<i64>,
    /// Asked before every change, in this order.
    pub(crate) hooks: Vec<Arc<dyn Hook>>,
}

impl Settings {
    /// Whether anybody wants to know which entities a deletion takes.
    pub(crate) fn heeds_deletions(&self) -> bool {
        self.change_feed || self.undrop.is_some() || !self.hooks.is_empty()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}
