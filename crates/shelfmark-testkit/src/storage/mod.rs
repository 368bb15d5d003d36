//! Storages below the built-in backend, to see what becomes of a catalog when they fail, lose power or decay.
//!
//! A [`RecordingStorage`] keeps bytes in memory, fails the n-th call of a kind ([`StorageFault`]) and gives a [`CrashPoint`] for each sync. A point
//! knows what was durable and what was pending, and makes [images](CrashPoint::images) of what a loss of power at that moment may leave. A
//! [`Reference`] is a script of [`Task`]s that ran undisturbed, with the oracle beside it, and the rows after each of its commits: what every image, and
//! every run with a fault, is compared with.

mod below;
mod history;
mod image;
mod recording;
mod reference;
mod sweep;

pub use below::below;
pub use history::{History, Rows, rows_of};
pub use image::{Change, CrashPoint, Image, Part, Survivors};
pub use recording::{Call, Calls, RecordingStorage, StorageFault};
pub use reference::{Commits, Crash, Reference, Run, Setting, Task, judge, judge_copy, script, tasks};
pub use sweep::{Openings, Sweep, judge_creation, strike, sweep, sweep_opening};
