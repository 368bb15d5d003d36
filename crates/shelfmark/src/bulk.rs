//! Bulk creation in bounded chunks.

use std::fmt;

/// The most entities of one chunk.
const CHUNK_ENTITIES: usize = 10_000;
/// The most encoded bytes of one chunk.
const CHUNK_BYTES: usize = 16 << 20;

/// How [`Session::create_batched`](crate::Session::create_batched) goes about it.
pub struct Batched<'a> {
    pub(crate) chunk_entities: usize,
    pub(crate) chunk_bytes: usize,
    pub(crate) on_progress: Option<Box<dyn FnMut(&BulkProgress) + 'a>>,
}

impl fmt::Debug for Batched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batched")
            .field("chunk_entities", &self.chunk_entities)
            .field("chunk_bytes", &self.chunk_bytes)
            .finish_non_exhaustive()
    }
}

impl Default for Batched<'_> {
    fn default() -> Self {
        Self {
            chunk_entities: CHUNK_ENTITIES,
            chunk_bytes: CHUNK_BYTES,
            on_progress: None,
        }
    }
}

impl<'a> Batched<'a> {
    /// Chunks of at most 10,000 entities or 16 MiB, no report.
    pub fn new() -> Self {
        Self::default()
    }

    /// At most this many entities in a chunk, from 1 to 10,000. Fewer mean less memory, more commits.
    #[must_use]
    pub fn chunk_entities(mut self, entities: usize) -> Self {
        self.chunk_entities = entities.clamp(1, CHUNK_ENTITIES);
        self
    }

    /// Calls `report` after each chunk has been committed.
    #[must_use]
    pub fn on_progress(mut self, report: impl FnMut(&BulkProgress) + 'a) -> Self {
        self.on_progress = Some(Box::new(report));
        self
    }
}

/// How far a bulk creation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkProgress {
    /// How many entities are stored and stay.
    pub stored: u64,
}
