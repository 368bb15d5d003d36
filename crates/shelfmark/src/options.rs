//! How a catalog file is created and opened.

/// How much of a file is verified when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Integrity {
    /// Trust a file that was closed cleanly; a file that was not is recovered, with its checksums verified. The default.
    #[default]
    Trust,
    /// Read the whole file and verify the checksum of every page. O(file).
    Verify,
}

/// How processes may share the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Concurrency {
    /// One process has the file to itself. The fastest, and the default.
    #[default]
    Exclusive,
    /// One process writes, others may have the file open read-only and follow its commits. [`Durability::Deferred`](crate::Durability::Deferred) is
    /// not supported.
    SingleWriter,
    /// Several processes may write, one transaction at a time. `Durability::Deferred` is not supported.
    MultiWriter,
}
