//! Group commit: writers that come together share one commit.
//!
//! Every single-shot write is a member in a queue. Whoever finds nobody leading leads: takes what has gathered, runs each member on a stage over the
//! group's growing batch, commits once, and hands the lead to the first who came meanwhile. There is no background thread. A member that fails its
//! checks, or panics, leaves nothing in the batch and gets its own outcome; if the commit itself fails, all of the group get that error, since what any
//! of them saw may rest on another's change.
//!
//! Fairness: the queue is first come, first served, a group is bounded, and a leader leads one group. So a caller waits behind no more groups than those ahead of it in
//! the queue fill.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use crate::backend::{Durability, Keyspace, Overlay, Snapshot, WriteBatch};
use crate::catalog::Inner;
use crate::engine::Stage;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::TenantNumber;

/// The most members of one group.
const MAX_MEMBERS: usize = 512;
/// A group whose batch has this many bytes takes no further member.
const MAX_BYTES: usize = 8 << 20;
/// How often a leader lets others run before it takes a group smaller than the last one.
const GATHER_YIELDS: usize = 16;

type Operation = Box<dyn FnMut(&mut Stage<'_>) -> Result<()> + Send>;

/// One write in the queue.
struct Member {
    operation: Operation,
    tenant: Arc<str>,
    actor: Arc<str>,
    durability: Durability,
    waiter: Arc<Waiter>,
    outcome: Outcome,
}

/// What became of a member.
enum Outcome {
    Staged,
    Refused(Error),
    Panicked(Box<dyn Any + Send>),
}

/// Where a caller waits for its outcome, or for its turn to lead.
struct Waiter {
    thread: Thread,
    signal: Mutex<Option<Signal>>,
}

enum Signal {
    Lead,
    Done(Outcome),
}

impl Waiter {
    fn send(&self, signal: Signal) {
        *lock(&self.signal) = Some(signal);
        self.thread.unpark();
    }

    fn wait(&self) -> Signal {
        loop {
            if let Some(signal) = lock(&self.signal).take() {
                return signal;
            }
            thread::park();
        }
    }
}

/// The queue of one catalog.
#[derive(Default)]
pub(crate) struct GroupCommit {
    queue: Mutex<Queue>,
    groups: AtomicU64,
    members: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Member>,
    led: bool,
    /// How many members the last group had.
    last: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GroupCommit {
    /// How many groups came through, those with nothing to write included, and how many writes were in them.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.groups.load(Ordering::Relaxed),
            self.members.load(Ordering::Relaxed),
        )
    }

    /// How many writes wait for the next group.
    pub(crate) fn queued(&self) -> usize {
        lock(&self.queue).waiting.len()
    }

    /// Runs `operation` in the next group, and returns once that is committed.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        inner: &Inner,
        (tenant, actor): (&Arc<str>, &Arc<str>),
        durability: Durability,
        mut operation: impl FnMut(&mut Stage<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let value = Arc::new(Mutex::new(None));
        let waiter = Arc::new(Waiter {
            thread: thread::current(),
            signal: Mutex::new(None),
        });
        let made = value.clone();
        let lead = self.enqueue(Member {
            operation: Box::new(move |stage| {
                *lock(&made) = Some(operation(stage)?);
                Ok(())
            }),
            tenant: tenant.clone(),
            actor: actor.clone(),
            durability,
            waiter: waiter.clone(),
            outcome: Outcome::Staged,
        });
        if lead {
            self.lead(inner);
        }
        let outcome = loop {
            match waiter.wait() {
                Signal::Lead => self.lead(inner),
                Signal::Done(outcome) => break outcome,
            }
        };
        match outcome {
            Outcome::Staged => lock(&value).take().ok_or_else(never_ran),
            Outcome::Refused(error) => Err(error),
            Outcome::Panicked(payload) => resume_unwind(payload),
        }
    }

    /// Adds a member, and tells whether its caller is to lead.
    fn enqueue(&self, member: Member) -> bool {
        let mut queue = lock(&self.queue);
        queue.waiting.push_back(member);
        !std::mem::replace(&mut queue.led, true)
    }

    /// Commits one group, whose first member is the leader's own, and passes the lead on.
    fn lead(&self, inner: &Inner) {
        self.gather();
        let mut group: Vec<Member> = {
            let mut queue = lock(&self.queue);
            let size = queue.waiting.len().min(MAX_MEMBERS);
            queue.waiting.drain(..size).collect()
        };
        let committed = catch_unwind(AssertUnwindSafe(|| commit(inner, &mut group)));
        let ran = match &committed {
            Ok((ran, _)) => *ran,
            Err(_) => group.len(),
        };
        let left = group.split_off(ran);
        self.pass_on(left, ran);
        if matches!(committed, Ok((_, Ok(())))) {
            self.groups.fetch_add(1, Ordering::Relaxed);
            self.members.fetch_add(ran as u64, Ordering::Relaxed);
        }
        deliver(group, committed);
    }

    /// Lets those who are about to come come, as long as fewer are waiting than made up the last group.
    fn gather(&self) {
        for _ in 0..GATHER_YIELDS {
            let queue = lock(&self.queue);
            if queue.waiting.len() >= queue.last.min(MAX_MEMBERS) {
                return;
            }
            drop(queue);
            thread::yield_now();
        }
    }

    /// Puts back who found no room, and lets the first in the queue lead.
    fn pass_on(&self, left: Vec<Member>, last: usize) {
        let mut queue = lock(&self.queue);
        queue.last = last;
        for member in left.into_iter().rev() {
            queue.waiting.push_front(member);
        }
        match queue.waiting.front() {
            Some(next) => next.waiter.send(Signal::Lead),
            None => queue.led = false,
        }
    }
}

/// Runs the members over one view and commits what they staged. Gives how many of them ran.
fn commit(inner: &Inner, group: &mut [Member]) -> (usize, Result<()>) {
    let durability = group
        .iter()
        .map(|member| member.durability)
        .max()
        .unwrap_or_default();
    let mut ran = 0;
    let committed = inner.backend_commit(inner.commit_options(durability), &mut |snapshot| {
        let mut batch = WriteBatch::new();
        let mut known = None;
        ran = 0;
        for member in group.iter_mut() {
            if ran > 0 && batch.bytes() >= MAX_BYTES {
                break;
            }
            ran += 1;
            if let Some(staged) = stage(inner, snapshot, &batch, &mut known, member) {
                batch.absorb(staged);
            }
        }
        Ok(batch)
    });
    // A backend that failed before its plan ran failed all of them.
    if ran == 0 {
        ran = group.len();
    }
    (ran, committed)
}

/// What one member stages over the batch of those before it; nothing where it fails, which its outcome then says.
fn stage(
    inner: &Inner,
    snapshot: &dyn Snapshot,
    before: &WriteBatch,
    known: &mut Option<(Arc<str>, TenantNumber)>,
    member: &mut Member,
) -> Option<WriteBatch> {
    let overlay = Overlay {
        base: snapshot,
        staged: before,
    };
    let Member {
        operation,
        tenant,
        actor,
        outcome,
        ..
    } = member;
    let run = AssertUnwindSafe(|| -> Result<WriteBatch> {
        let same = known.as_ref().filter(|(name, _)| name == tenant);
        let mut stage = match same {
            Some(&(_, number)) if !before.touches(Keyspace::Tenant) => {
                Stage::of_tenant(&inner.settings, &overlay, (tenant, Some(number)), actor)
            }
            _ => Stage::new(&inner.settings, &overlay, tenant, actor)?,
        };
        *known = stage.tenant().map(|number| (tenant.clone(), number));
        operation(&mut stage)?;
        Ok(stage.batch)
    });
    match catch_unwind(run) {
        Ok(Ok(staged)) => {
            *outcome = Outcome::Staged;
            Some(staged)
        }
        Ok(Err(error)) => {
            *outcome = Outcome::Refused(error);
            None
        }
        Err(payload) => {
            *outcome = Outcome::Panicked(payload);
            None
        }
    }
}

/// Wakes every member of a group with its outcome.
fn deliver(group: Vec<Member>, committed: thread::Result<(usize, Result<()>)>) {
    let failure = match committed {
        Ok((_, Ok(()))) => None,
        Ok((_, Err(error))) => Some(error),
        Err(_) => Some(Error::new(
            ErrorKind::Internal,
            "the backend panicked while it committed: reopen the catalog and read before you retry",
        )),
    };
    for Member { waiter, outcome, .. } in group {
        let outcome = match (outcome, &failure) {
            // Its own doing, whatever became of the others.
            (Outcome::Panicked(payload), _) => Outcome::Panicked(payload),
            (_, Some(error)) => Outcome::Refused(error.clone()),
            (outcome, None) => outcome,
        };
        waiter.send(Signal::Done(outcome));
    }
}

fn never_ran() -> Error {
    Error::new(ErrorKind::Internal, "the backend committed without a plan")
}
