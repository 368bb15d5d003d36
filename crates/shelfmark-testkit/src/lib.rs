//! What the tests of shelfmark share: backends that keep everything in memory, count what they are asked, or fail when told to;
//! [`conformance`], the suite that every backend must pass; operations with an oracle; and [storages](storage) that fail and lose power.
//!
//! An [`operation::Operation`] is data. [`strategy`] makes sequences of them, as proptest wants them, from a seed, or from a fuzzer's bytes.
//! The [`Oracle`] predicts the [`Outcome`] of each, a [`System`] runs it on a catalog, and [`run`](run::run) does both and compares.
//!
//! ```
//! use std::sync::Arc;
//! use shelfmark_testkit::{CountingBackend, MemoryBackend, conformance};
//!
//! conformance::run(&|| Arc::new(CountingBackend::new(Arc::new(MemoryBackend::new()))));
//! ```

pub mod conformance;
mod counting;
mod environment;
mod execute;
mod faulty;
mod hooks;
mod memory;
pub mod operation;
mod oracle;
mod outcome;
pub mod replay;
pub mod run;
pub mod storage;
pub mod strategy;
mod system;
mod undrop;

pub use counting::{CountingBackend, Counts, SpaceCounts};
pub use environment::TestEnvironment;
pub use faulty::{Fault, Faults, FaultyBackend, HeldCommits};
pub use memory::MemoryBackend;
pub use oracle::Oracle;
pub use outcome::{Failure, Ids, Outcome};
pub use system::{CatalogSetup, Storage, System};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whether or not a thread panicked with the lock held: what the locks here guard is whole at every point that can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
