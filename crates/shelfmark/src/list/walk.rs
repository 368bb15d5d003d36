//! Walking ranges of an index chunk by chunk, one after the other or merged.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::ControlFlow;

use crate::backend::{Direction, KeyRange, Keyspace};
use crate::engine::TenantView;
use crate::error::Result;

use super::source::{Candidate, Row, beyond};

/// How many rows a merge reads ahead of each parent after the first.
pub(super) const READ_AHEAD: usize = 16;
/// How many bytes of keys and values a chunk holds, give or take its last row.
pub(super) const CHUNK_BYTES: usize = 4 << 20;

/// A walk over a source, which goes on where its last chunk ended. Chunks are collected, so that the view can be read between them.
pub(super) struct Walker {
    space: Keyspace,
    direction: Direction,
    /// Rows to pass over before the first chunk.
    skip: u64,
    /// Whether candidates carry the values of their rows.
    values: bool,
    way: Way,
}

enum Way {
    /// One range after the other.
    Queue(VecDeque<Part>),
    /// In the order of the sort keys, from whichever range has the next.
    Merge {
        unopened: VecDeque<Part>,
        runs: BinaryHeap<Run>,
    },
}

/// What is left of one range, and the bytes of its keys before the sort key.
struct Part {
    range: KeyRange,
    prefix: usize,
}

impl Walker {
    /// A walk in the order of the sort keys, which begin after `prefix` bytes of every key, without the first `skip` rows.
    pub(super) fn in_order(
        space: Keyspace,
        ranges: impl Iterator<Item = KeyRange>,
        prefix: usize,
        direction: Direction,
        skip: u64,
    ) -> Self {
        let mut parts: VecDeque<Part> = ranges.map(|range| Part { range, prefix }).collect();
        let way = if parts.len() > 1 {
            Way::Merge {
                unopened: std::mem::take(&mut parts),
                runs: BinaryHeap::new(),
            }
        } else {
            Way::Queue(parts)
        };
        Self {
            space,
            direction,
            skip,
            values: true,
            way,
        }
    }

    /// A walk over one range after the other, with the values of their rows or without.
    pub(super) fn one_by_one(
        space: Keyspace,
        ranges: impl Iterator<Item = KeyRange>,
        prefix: usize,
        values: bool,
    ) -> Self {
        Self {
            space,
            direction: Direction::Forward,
            skip: 0,
            values,
            way: Way::Queue(ranges.map(|range| Part { range, prefix }).collect()),
        }
    }

    /// The next candidates: at most `rows`, fewer where they are large, none only at the end.
    pub(super) fn chunk(&mut self, view: &TenantView<'_>, rows: usize) -> Result<Vec<Candidate>> {
        self.bounded(view, rows, CHUNK_BYTES)
    }

    /// The next `rows` candidates, however large.
    pub(super) fn rows(&mut self, view: &TenantView<'_>, rows: usize) -> Result<Vec<Candidate>> {
        self.bounded(view, rows, usize::MAX)
    }

    /// The next `rows` candidates, as long as they have less than `bytes` of keys and values.
    pub(super) fn bounded(
        &mut self,
        view: &TenantView<'_>,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<Candidate>> {
        let Self {
            space,
            direction,
            skip,
            values,
            way,
        } = self;
        let reader = Reader {
            view,
            space: *space,
            direction: *direction,
            values: *values,
        };
        let mut chunk = Chunk::new(rows, bytes);
        match way {
            Way::Queue(parts) => {
                while let Some(part) = parts.front_mut() {
                    if chunk.is_full() || reader.fill(part, skip, &mut chunk)? {
                        break;
                    }
                    parts.pop_front();
                }
            }
            Way::Merge { unopened, runs } => {
                while let Some(part) = unopened.pop_front() {
                    runs.extend(Run::open(part, &reader)?);
                }
                while !chunk.is_full()
                    && let Some(mut run) = runs.pop()
                {
                    let Some(next) = run.ahead.pop_front() else {
                        continue;
                    };
                    if run.ahead.is_empty() && run.more {
                        run.refill(&reader, READ_AHEAD)?;
                    }
                    if !run.ahead.is_empty() {
                        runs.push(run);
                    }
                    if *skip > 0 {
                        *skip -= 1;
                    } else {
                        chunk.push(next);
                    }
                }
            }
        }
        Ok(chunk.candidates.into())
    }
}

/// Candidates up to a bound.
struct Chunk {
    candidates: VecDeque<Candidate>,
    rows: usize,
    bytes: usize,
}

impl Chunk {
    fn new(rows: usize, bytes: usize) -> Self {
        Self {
            candidates: VecDeque::new(),
            rows,
            bytes,
        }
    }

    fn is_full(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    fn push(&mut self, candidate: Candidate) {
        self.rows -= 1;
        self.bytes = self
            .bytes
            .saturating_sub(candidate.key.len() + candidate.value.len());
        self.candidates.push_back(candidate);
    }
}

/// Reads candidates from ranges of one keyspace.
struct Reader<'a> {
    view: &'a TenantView<'a>,
    space: Keyspace,
    direction: Direction,
    values: bool,
}

impl Reader<'_> {
    /// Fills a chunk that is not full from a range, of which it leaves what comes behind. Says whether the chunk is full.
    fn fill(&self, part: &mut Part, skip: &mut u64, chunk: &mut Chunk) -> Result<bool> {
        let Part { range, prefix } = part;
        let mut bad = None;
        // Only a walk over one range skips, so what it lacks is nowhere.
        let skip = std::mem::take(skip);
        self.view
            .snapshot
            .scan_past(self.space, range, self.direction, skip, &mut |key, value| {
                let value = if self.values { value } else { &[] };
                match Row::new(self.space, key, value, *prefix) {
                    Ok(row) => chunk.push(row.to_candidate()),
                    Err(error) => bad = Some(error),
                }
                if chunk.is_full() || bad.is_some() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        if let Some(error) = bad {
            return Err(error);
        }
        if let Some(last) = chunk.candidates.back().filter(|_| chunk.is_full()) {
            *range = beyond(range, *prefix, last.sort_key(), false, self.direction);
        }
        Ok(chunk.is_full())
    }
}

/// One parent's part of a merge.
struct Run {
    part: Part,
    direction: Direction,
    ahead: VecDeque<Candidate>,
    more: bool,
}

impl Run {
    /// The run of a range that is not empty.
    fn open(part: Part, reader: &Reader<'_>) -> Result<Option<Self>> {
        let mut run = Run {
            part,
            direction: reader.direction,
            ahead: VecDeque::new(),
            more: true,
        };
        run.refill(reader, 1)?;
        Ok(Some(run).filter(|run| !run.ahead.is_empty()))
    }

    fn refill(&mut self, reader: &Reader<'_>, rows: usize) -> Result<()> {
        let mut chunk = Chunk::new(rows, CHUNK_BYTES);
        self.more = reader.fill(&mut self.part, &mut 0, &mut chunk)?;
        self.ahead = chunk.candidates;
        Ok(())
    }

    fn front(&self) -> Option<&[u8]> {
        self.ahead.front().map(Candidate::sort_key)
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Run {}

impl PartialOrd for Run {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Run {
    /// The greatest is the one that comes next.
    fn cmp(&self, other: &Self) -> Ordering {
        match self.direction {
            Direction::Forward => other.front().cmp(&self.front()),
            Direction::Reverse => self.front().cmp(&other.front()),
        }
    }
}
