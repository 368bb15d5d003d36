//! Bulk creation in bounded chunks.

use std::fmt;

use crate::Entity;
use crate::engine::create::Prepared;
use crate::error::{Error, Result};

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

/// Cuts `members`, prepared one by one, into chunks. A member that cannot be prepared ends it with its position.
pub(crate) fn chunks<N, E: Entity>(
    members: impl IntoIterator<Item = N>,
    entities: usize,
    bytes: usize,
    mut prepare: impl FnMut(N) -> Result<Prepared<E>>,
) -> impl Iterator<Item = Result<Vec<Prepared<E>>, (u64, Error)>> {
    let mut members = members.into_iter();
    let mut position = 0;
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let mut chunk = Vec::new();
        let mut held = 0;
        while chunk.len() < entities && held < bytes {
            let Some(member) = members.next() else {
                done = true;
                break;
            };
            match prepare(member) {
                Ok(prepared) => {
                    held += prepared.bytes();
                    chunk.push(prepared);
                }
                Err(error) => {
                    done = true;
                    return Some(Err((position, error)));
                }
            }
            position += 1;
        }
        (!chunk.is_empty()).then_some(Ok(chunk))
    })
}
