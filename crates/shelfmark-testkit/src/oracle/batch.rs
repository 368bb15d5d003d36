//! Declarative batches and requests with an idempotency key.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
use shelfmark::{EntityKind, ErrorKind};
use uuid::Uuid;

use super::list::exact;
use super::resolve::above;
use super::state::Request;
use super::{Answer, Before, Oracle, outcome};
use crate::operation::{
    Actor, BatchStep, Draft, OnceKey, PatchStep, PatchValue, Ref, Target, Tenant, WriteOp,
};
use crate::outcome::{Failure, Outcome};

/// How long answers are kept unless the catalog is opened with another value: 24 hours.
const DEFAULT_EXPIRY: u64 = 24 * 60 * 60 * 1_000;

/// The last request of each form with each key, answered or not, to be sent again.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    creations: BTreeMap<u8, Draft>,
    batches: BTreeMap<u8, Vec<BatchStep>>,
}

/// What became of the creation at a position of a batch.
#[derive(Debug, Clone, Copy)]
enum Made {
    /// There is none.
    Nothing,
    /// It created this.
    Entity(EntityKind, Uuid),
    /// It was refused, or rested on one that was.
    Failed(EntityKind),
}

/// The creations of a batch so far, by position.
#[derive(Debug, Default)]
struct Locals(Vec<Made>);

impl Locals {
    /// The placeholders of one kind.
    fn of(&self, kind: EntityKind) -> Vec<Uuid> {
        let of_kind = |made: &Made| match made {
            Made::Entity(of, _) | Made::Failed(of) => *of == kind,
            Made::Nothing => false,
        };
        let positions = self.0.iter().enumerate().filter(|(_, made)| of_kind(made));
        positions
            .map(|(position, _)| BatchStep::placeholder(position))
            .collect()
    }

    fn made(&self, placeholder: Uuid) -> Made {
        let at = self
            .0
            .iter()
            .enumerate()
            .find(|(position, _)| BatchStep::placeholder(*position) == placeholder);
        at.map_or(Made::Nothing, |(_, made)| *made)
    }

    /// The placeholder of an entity that the batch created; other ids are their own.
    fn named(&self, id: Uuid) -> Uuid {
        let created = |made: &Made| matches!(made, Made::Entity(_, entity) if *entity == id);
        self.0.iter().position(created).map_or(id, BatchStep::placeholder)
    }

    /// What a resolved reference stands for; `None` where its creation was refused.
    fn stands_for(&self, reference: Ref) -> Option<Ref> {
        match self.made(exact(&reference)) {
            Made::Nothing => Some(reference),
            Made::Entity(_, id) => Some(Ref::Exact(id)),
            Made::Failed(_) => None,
        }
    }

    /// The same failure, about placeholders.
    fn named_in(&self, failure: Failure) -> Failure {
        Failure {
            missing: failure.missing.iter().map(|&id| self.named(id)).collect(),
            conflict: failure.conflict.map(|conflict| {
                let (id, expected, found) = *conflict;
                Box::new((self.named(id), expected, found))
            }),
            not_empty: failure
                .not_empty
                .iter()
                .map(|(&id, &assets)| (self.named(id), assets))
                .collect(),
            name_taken: failure.name_taken.map(|by| Box::new(self.named(*by))),
            ..failure
        }
    }
}

/// One operation, resolved: as a system is to run it, and as it runs here; `None` where it rests on a creation that was refused.
type Resolved = (BatchStep, Option<WriteOp>);

impl Oracle {
    /// Those writes whose references are resolved as they run.
    pub(super) fn batched(
        &mut self,
        tenant: Tenant,
        actor: Actor,
        write: &WriteOp,
    ) -> Option<(WriteOp, Outcome)> {
        let before = self.before();
        let (resolved, answer) = match write {
            WriteOp::Batch(steps) => {
                let (steps, answer) = self.batch(tenant, actor, steps);
                (WriteOp::Batch(steps), answer)
            }
            WriteOp::CreateOnce(key, draft) => {
                let last = self.asked.creations.get(&key.key).filter(|_| key.again);
                let draft = last.cloned().unwrap_or_else(|| self.draft(tenant, draft));
                self.asked.creations.insert(key.key, draft.clone());
                let answer = self
                    .run_write(tenant, actor, &WriteOp::Create(draft.clone()))
                    .map_err(|failure| self.undo(before.clone(), failure));
                let asked = format!("create {draft:?}");
                let answer = self.once(tenant, actor, *key, asked, before, answer);
                (WriteOp::CreateOnce(*key, draft), answer)
            }
            WriteOp::BatchOnce(key, steps) => {
                let last = self.asked.batches.get(&key.key).filter(|_| key.again);
                let steps = last.unwrap_or(steps).clone();
                let (steps, answer) = self.batch(tenant, actor, &steps);
                self.asked.batches.insert(key.key, steps.clone());
                let asked = format!("batch {steps:?}");
                let answer = self.once(tenant, actor, *key, asked, before, answer);
                (WriteOp::BatchOnce(*key, steps), answer)
            }
            _ => return None,
        };
        Some((resolved, outcome(answer)))
    }

    /// What becomes of a request that would give `answer`, had it not been answered before.
    fn once(
        &mut self,
        tenant: Tenant,
        actor: Actor,
        key: OnceKey,
        asked: String,
        (before, born, to_come): Before,
        answer: Answer,
    ) -> Answer {
        let now = self.environment.now();
        let id = (tenant.name(), self.actor(actor), key.key);
        if let Some(request) = before.requests.get(&id).filter(|request| request.expiry > now) {
            let answer = if request.asked == asked {
                Ok(json!({ "replayed": true, "value": request.answer }))
            } else {
                Err(Failure::new(ErrorKind::KeyReused))
            };
            self.born.truncate(born);
            self.state = before;
            self.to_come = to_come;
            return answer;
        }
        let answer = answer?;
        let lasts = self.setup.idempotency_expiry.unwrap_or(DEFAULT_EXPIRY) as i64;
        let request = Request {
            asked,
            expiry: now + lasts,
            answer: answer.clone(),
        };
        // A recording sweeps what has expired, which is never more here than it takes: so it stays away when the clock goes back.
        let requests = Rc::make_mut(&mut self.state.requests);
        requests.retain(|(of, ..), request| *of != tenant.name() || request.expiry > now);
        requests.insert(id, Rc::new(request));
        // The record is a write: where nothing else makes the tenant, it does.
        self.state.tenants.entry(tenant.name()).or_default();
        Ok(json!({ "replayed": false, "value": answer }))
    }

    /// Runs a batch, or takes all of it back.
    fn batch(&mut self, tenant: Tenant, actor: Actor, steps: &[BatchStep]) -> (Vec<BatchStep>, Answer) {
        let before = self.before();
        let mut locals = Locals::default();
        let mut resolved = Vec::new();
        let mut values = Vec::new();
        let mut failures: Vec<(u64, Failure)> = Vec::new();
        for (position, step) in steps.iter().enumerate() {
            let (step, write) = self.batch_step(tenant, step, &locals);
            let start = self.before();
            let outcome = write.map(|write| self.run_write(tenant, actor, &write));
            let made = match (&step, &outcome) {
                (BatchStep::Create(draft), Some(Ok(value))) => {
                    let id = value["id"].as_str().and_then(|id| id.parse().ok());
                    Made::Entity(draft.kind(), id.unwrap_or_default())
                }
                (BatchStep::Create(draft), _) => Made::Failed(draft.kind()),
                _ => Made::Nothing,
            };
            match outcome {
                Some(Ok(value)) => values.push(value),
                Some(Err(failure)) => {
                    (self.state, self.to_come) = (start.0, start.2);
                    self.born.truncate(start.1);
                    failures.push((position as u64, locals.named_in(failure)));
                }
                None => {}
            }
            locals.0.push(made);
            resolved.push(step);
        }
        let answer = match failures.first() {
            None => Ok(Value::Array(values)),
            Some((index, first)) => {
                self.born.truncate(before.1);
                (self.state, self.to_come) = (before.0, before.2);
                Err(Failure {
                    failures: failures.clone().into(),
                    ..first.clone().at(*index as usize, 0)
                })
            }
        };
        (resolved, answer)
    }

    fn batch_step(&self, tenant: Tenant, step: &BatchStep, locals: &Locals) -> Resolved {
        match step {
            BatchStep::Create(draft) => {
                let (draft, own) = self.batch_draft(tenant, draft, locals);
                (BatchStep::Create(draft), own.map(WriteOp::Create))
            }
            BatchStep::Replace(target, draft) => {
                let (target, own_target) = self.batch_target(tenant, draft.kind(), *target, locals);
                let (draft, own_draft) = self.batch_draft(tenant, draft, locals);
                let own = own_target
                    .zip(own_draft)
                    .map(|(target, draft)| WriteOp::Replace(target, draft));
                (BatchStep::Replace(target, draft), own)
            }
            BatchStep::Patch(kind, target, patch) => {
                let (target, own) = self.batch_target(tenant, *kind, *target, locals);
                let patch = self.patch(tenant, *kind, own.unwrap_or(target), patch);
                let patch: Vec<PatchStep> = patch.into_iter().map(|step| in_patch(step, locals)).collect();
                let own = own.map(|target| WriteOp::Patch(*kind, target, patch.clone()));
                (BatchStep::Patch(*kind, target, patch), own)
            }
            BatchStep::Delete(kind, target) => {
                let (target, own) = self.batch_target(tenant, *kind, *target, locals);
                (
                    BatchStep::Delete(*kind, target),
                    own.map(|target| WriteOp::Delete(*kind, target)),
                )
            }
        }
    }

    /// A reference resolved: what the batch creates is told by its placeholder, by whatever reference it was found.
    fn batch_reference(&self, tenant: Tenant, kind: EntityKind, reference: Ref, locals: &Locals) -> Ref {
        let placeholders = locals.of(kind);
        match (reference, placeholders.len()) {
            (Ref::Local(n), len @ 1..) => Ref::Exact(placeholders[len - 1 - usize::from(n) % len]),
            _ => Ref::Exact(locals.named(exact(&self.reference(tenant, kind, reference)))),
        }
    }

    fn batch_target(
        &self,
        tenant: Tenant,
        kind: EntityKind,
        target: Target,
        locals: &Locals,
    ) -> (Target, Option<Target>) {
        let id = self.batch_reference(tenant, kind, target.id, locals);
        let own = locals.stands_for(id);
        let Target { expect, .. } = self.target(
            tenant,
            kind,
            Target {
                id: own.unwrap_or(id),
                ..target
            },
        );
        (Target { id, expect }, own.map(|id| Target { id, expect }))
    }

    fn batch_draft(&self, tenant: Tenant, draft: &Draft, locals: &Locals) -> (Draft, Option<Draft>) {
        let above = above(draft.kind());
        let with = |parent| Draft {
            parent,
            input: draft.input.clone(),
        };
        let parent = draft
            .parent
            .filter(|_| draft.kind() != EntityKind::Store)
            .map(|parent| self.batch_reference(tenant, above, parent, locals));
        let own = match parent {
            None => Some(with(None)),
            Some(parent) => locals.stands_for(parent).map(|parent| with(Some(parent))),
        };
        (with(parent), own)
    }
}

/// Placeholders within a patch are values like any other.
fn in_patch(step: PatchStep, locals: &Locals) -> PatchStep {
    let named = |value: PatchValue| match value {
        PatchValue::Id(kind, id) => PatchValue::Id(kind, Ref::Exact(locals.named(exact(&id)))),
        other => other,
    };
    match step {
        PatchStep::Add(path, value) => PatchStep::Add(path, named(value)),
        PatchStep::Replace(path, value) => PatchStep::Replace(path, named(value)),
        PatchStep::Test(path, value) => PatchStep::Test(path, named(value)),
        other => other,
    }
}
