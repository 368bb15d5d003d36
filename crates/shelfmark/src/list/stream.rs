//! Iterating over a list of any length.

use std::collections::VecDeque;
use std::fmt;

use crate::Entity;
use crate::error::Result;
use crate::snapshot::TenantSnapshot;

use super::Query;
use super::page;
use super::plan::{Plan, Slice};
use super::source::Edge;
use super::topk::MAX_HELD;
use super::walk::Walker;

/// How many entities are read at a time.
const CHUNK: usize = 256;

/// Everything that a query selects, one by one, on one snapshot. It holds the snapshot for as long as it lives.
pub struct Stream<E: Entity> {
    snapshot: TenantSnapshot,
    plan: Plan,
    /// Where the plan's source is in order.
    walker: Option<Walker>,
    schemas: bool,
    /// Candidates not read yet, in order.
    ahead: VecDeque<super::source::Candidate>,
    ready: VecDeque<E>,
    /// The last key of an unindexed order's last pass.
    after: Option<Edge>,
    more: bool,
}

impl<E: Entity> fmt::Debug for Stream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}

impl<E: Entity> Stream<E> {
    pub(crate) fn new(snapshot: TenantSnapshot, query: &Query<E>) -> Result<Self> {
        let plan = Plan::new(&snapshot.view(), query)?;
        let walker = plan.walker();
        Ok(Self {
            snapshot,
            plan,
            walker,
            schemas: query.schemas,
            ahead: VecDeque::new(),
            ready: VecDeque::new(),
            after: None,
            more: true,
        })
    }

    fn refill(&mut self) -> Result<()> {
        let view = self.snapshot.view();
        if self.ahead.is_empty() && self.more {
            if let Some(walker) = &mut self.walker {
                let admitted = self.plan.admitted::<E>(&view, walker)?;
                self.more = admitted.is_some();
                self.ahead = admitted.unwrap_or_default().into();
            } else {
                // A pass over an unindexed order looks at everything: so it takes as much as may be held.
                let slice = Slice {
                    edge: self.after.take(),
                    backwards: false,
                    skip: 0,
                    take: MAX_HELD,
                    bytes: usize::MAX,
                    count: false,
                };
                let found = self.plan.find::<E>(&view, &slice)?;
                self.more = found.candidates.len() == slice.take;
                self.ahead = found.candidates.into();
                self.after = self.ahead.back().map(|last| Edge {
                    key: last.sort_key().to_vec(),
                    inclusive: false,
                });
            }
        }
        let chunk: Vec<_> = self.ahead.drain(..CHUNK.min(self.ahead.len())).collect();
        self.ready = page::entities::<E>(&view, &self.plan, &chunk, self.schemas)?.into();
        Ok(())
    }
}

impl<E: Entity> Iterator for Stream<E> {
    type Item = Result<E>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && (self.more || !self.ahead.is_empty()) {
            if let Err(error) = self.refill() {
                self.more = false;
                self.ahead.clear();
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}
