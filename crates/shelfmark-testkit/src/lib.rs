//! What the tests of shelfmark share: backends that keep everything in memory, count what they are asked, or fail when told to,
//! and [`conformance`], the suite that every backend must pass.
//!
//! ```
//! use std::sync::Arc;
//! use shelfmark_testkit::{CountingBackend, MemoryBackend, conformance};
//!
//! conformance::run(&|| Arc::new(CountingBackend::new(Arc::new(MemoryBackend::new()))));
//! ```

pub mod conformance;
mod counting;
mod faulty;
mod memory;

pub use counting::{CountingBackend, Counts, SpaceCounts};
pub use faulty::{Fault, Faults, FaultyBackend, HeldCommits};
pub use memory::MemoryBackend;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whether or not a thread panicked with the lock held: what the locks here guard is whole at every point that can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
