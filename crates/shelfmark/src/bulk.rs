//! Bulk creation in bounded chunks, one of which is committed while the next one is made.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use uuid::Uuid;

use crate::backend::CommitOptions;
use crate::backend::two_threads::{are_two, be_one_of_two};
use crate::engine::many::Many;
use crate::entity::NewEntity;
use crate::error::{Error, Result};
use crate::session::Session;
use crate::write::Write;
use crate::{Entity, TypedId};

/// The most entities of one chunk.
const CHUNK_ENTITIES: usize = 10_000;
/// The most encoded bytes of one chunk, index entries apart. Two are held at a time.
const CHUNK_BYTES: usize = 8 << 20;

/// While a chunk of so many entities is committed the next one is made; for fewer a second thread does not pay.
const MADE_MEANWHILE: usize = 256;

/// Up to so many ids get their room at the beginning, where the iterator tells how many it gives.
const MOST_AT_ONCE: usize = 1 << 20;

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
    /// Chunks of at most 10,000 entities or 8 MiB of encoded records, no report.
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

/// See [`Session::create_batched`].
pub(crate) fn create<N: NewEntity>(
    session: &Session,
    members: impl Iterator<Item = N>,
    mut options: Batched<'_>,
) -> Result<Vec<<N::Entity as Entity>::Id>> {
    let most = (options.chunk_entities, options.chunk_bytes);
    let mut members = members.peekable();
    // In one piece: growing it would hold it twice, and leave holes.
    let mut ids = Vec::with_capacity(members.size_hint().0.min(MOST_AT_ONCE));
    thread::scope(|scope| {
        let mut committer = None;
        // Made while the one before it was committed.
        let mut ahead = None;
        loop {
            let stored = ids.len() as u64;
            let chunk = match ahead.take() {
                Some(chunk) => chunk,
                // Nothing is read for no member: what is stored has not failed.
                None if members.peek().is_none() => return Ok(ids),
                None => Many::<N::Entity>::take(session, &mut members, most, None),
            };
            let chunk =
                chunk.map_err(|(index, error)| error.at_bulk_index(Some(stored + index as u64), stored))?;
            // Here, where it is known what this thread is inside of, and what it gives replays.
            session
                .outside_of_writes(|| ())
                .map_err(|error| error.at_bulk_index(None, stored))?;
            let commit = session.inner.commit_options(session.durability);
            let more = members.peek().is_some();
            let pays = are_two() && chunk.ids().len() >= MADE_MEANWHILE;
            let (of_chunk, committed) = if pays && (more || committer.is_some()) {
                let running = committer
                    .take()
                    .unwrap_or_else(|| Committer::start(scope, session));
                let rooms = chunk.rooms();
                let running = running.begin(commit, chunk);
                if more {
                    ahead = Some(Many::take(session, &mut members, most, Some(rooms)));
                }
                let (running, outcome) = running.outcome();
                committer = Some(running);
                outcome
            } else {
                let committed = session.commit_chunk(commit, &chunk);
                (chunk.into_ids(), committed)
            };
            committed.map_err(|(position, error)| {
                error.at_bulk_index(position.map(|position| stored + position as u64), stored)
            })?;
            ids.extend(of_chunk.into_iter().map(<N::Entity as Entity>::Id::from_uuid));
            if let Some(report) = &mut options.on_progress {
                let stored = ids.len() as u64;
                report(&BulkProgress { stored });
            }
        }
    })
}

/// The ids of a chunk, and what became of it; an error of a member with its position.
type Outcome = (Vec<Uuid>, Result<(), (Option<usize>, Error)>);

/// A thread that commits chunks, one for a whole call, which applies each alone: what a thread frees stays in a part of the C allocator's memory that
/// another one does not take from, so pages made by turns on several threads take up their most on each of them.
struct Committer<'scope, E: Entity> {
    chunks: SyncSender<(CommitOptions, Many<E>)>,
    outcomes: Receiver<Outcome>,
    thread: ScopedJoinHandle<'scope, ()>,
}

impl<'scope, E: Entity> Committer<'scope, E> {
    fn start(scope: &'scope Scope<'scope, '_>, session: &'scope Session) -> Self {
        let (chunks, given) = sync_channel::<(CommitOptions, Many<E>)>(0);
        let (told, outcomes) = sync_channel(0);
        let thread = scope.spawn(move || {
            be_one_of_two();
            for (options, chunk) in given {
                let committed = session.commit_chunk(options, &chunk);
                if told.send((chunk.into_ids(), committed)).is_err() {
                    return;
                }
            }
        });
        Self {
            chunks,
            outcomes,
            thread,
        }
    }

    /// Gives it the next chunk.
    fn begin(self, options: CommitOptions, chunk: Many<E>) -> Self {
        // Only a panic ends it, which its outcome then tells.
        let _ = self.chunks.send((options, chunk));
        self
    }

    /// What became of the chunk that it was given last. A panic is one of the caller.
    fn outcome(self) -> (Self, Outcome) {
        match self.outcomes.recv() {
            Ok(outcome) => (self, outcome),
            // Only a panic ends it.
            Err(gone) => resume_unwind(self.thread.join().map_or_else(|panic| panic, |()| Box::new(gone))),
        }
    }
}
