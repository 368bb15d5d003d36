//! What operations need to know of the catalog they run in.

use crate::environment::Environment;

/// The same for every operation of an open catalog.
#[doc(hidden)]
pub struct Settings {
    pub(crate) environment: Environment,
    pub(crate) unique_technical_names: bool,
    /// The most bytes that an all-or-nothing creation holds.
    pub(crate) atomic_bulk_bytes: usize,
    /// What cursors are authenticated with.
    pub(crate) cursor_key: [u8; 32],
}
