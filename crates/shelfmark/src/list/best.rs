//! The first so many of what is seen in any order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::backend::Direction;

use super::source::Candidate;

/// The candidates that come first in a direction, the last of them on top of the heap.
pub(super) struct Best {
    heap: BinaryHeap<Ranked>,
    held: usize,
    direction: Direction,
}

impl Best {
    /// Holds at most `held`.
    pub(super) fn new(held: usize, direction: Direction) -> Self {
        Self {
            heap: BinaryHeap::new(),
            held,
            direction,
        }
    }

    /// Holds the candidate of this sort key, if it is among the first, and says whether it is. Only then is it made. Keys end with ids, so none
    /// is offered twice.
    pub(super) fn offer(&mut self, sort_key: &[u8], make: impl FnOnce() -> Candidate) -> bool {
        let direction = self.direction;
        let ranked = |candidate| Ranked { candidate, direction };
        if self.heap.len() < self.held {
            self.heap.push(ranked(make()));
            return true;
        }
        // Most are not, and a look costs less than a place to change.
        let comes_before =
            |last: &Ranked| in_direction(sort_key, last.candidate.sort_key(), direction) == Ordering::Less;
        if !self.heap.peek().is_some_and(comes_before) {
            return false;
        }
        if let Some(mut last) = self.heap.peek_mut() {
            *last = ranked(make());
        }
        true
    }

    /// The sort key of the last that is held, where no more are held than are.
    pub(super) fn last(&self) -> Option<&[u8]> {
        let last = self.heap.peek().filter(|_| self.heap.len() == self.held)?;
        Some(last.candidate.sort_key())
    }

    /// What is held, the first first.
    pub(super) fn into_sorted(self) -> Vec<Candidate> {
        let sorted = self.heap.into_sorted_vec().into_iter();
        sorted.map(|ranked| ranked.candidate).collect()
    }
}

fn in_direction(one: &[u8], two: &[u8], direction: Direction) -> Ordering {
    match direction {
        Direction::Forward => one.cmp(two),
        Direction::Reverse => two.cmp(one),
    }
}

struct Ranked {
    candidate: Candidate,
    direction: Direction,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    /// The greatest is the one that comes last.
    fn cmp(&self, other: &Self) -> Ordering {
        in_direction(
            self.candidate.sort_key(),
            other.candidate.sort_key(),
            self.direction,
        )
    }
}
