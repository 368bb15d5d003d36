//! Running a declarative batch: each operation on a stage of its own over what those before it staged.
//!
//! A batch is *planned* on the caller's thread: placeholders become the ids that creations get, inputs are checked and encoded, changes of what exists
//! already are worked out on the newest view. Running the plan does the rest, and may be done again.

use std::collections::HashMap;
use std::fmt;

use uuid::Uuid;

use super::change::{Change, Source, Worked};
use super::create::{self, Parents, Prepared};
use super::idempotency::Fingerprint;
use super::{Settings, Stage, TenantView, delete};
use crate::batch::{Batch, BatchFailure, BatchOutcome, placeholder, position};
use crate::entity::{Entity, Lineage};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::EntityId;
use crate::{Expectation, TypedId as _};

/// The most failures that an error tells: an operation behind that many is not tried.
pub(crate) const MAX_FAILURES: usize = 100;

/// One operation as it was asked for, of any kind of entity.
pub(crate) trait Operation: fmt::Debug + Send + Sync {
    /// The target and the parent, either of which may be a placeholder.
    fn named(&self) -> [Option<EntityId>; 2];

    /// What can be done without a view, with ids in the place of placeholders.
    fn prepare(&self, settings: &Settings, actor: &str, names: &Names) -> Result<Box<dyn Task>>;

    /// What makes it the same request as another one.
    fn fingerprint(&self, names: &Names, fingerprint: &mut Fingerprint) -> Result<()>;

    fn creates(&self) -> bool {
        false
    }

    fn changes(&self) -> bool {
        false
    }
}

/// One operation, prepared. May be staged again.
pub(crate) trait Task: Send {
    /// The entity that it creates.
    fn created(&self) -> Option<Uuid> {
        None
    }

    /// Bytes of the rows that it creates.
    fn bytes(&self) -> usize {
        0
    }

    /// Works out what can be worked out on the newest view, and tells how many encoded bytes it holds for that. What fails there may rest on what the batch
    /// does before, and is worked out again in its place.
    fn work_ahead(&mut self, _settings: &Settings, _actor: &str, _view: &TenantView<'_>) -> usize {
        0
    }

    /// Stages it, and gives the encoded bytes of the entity that it changes: all of it, since all of it is in the outcome.
    fn stage(&self, stage: &mut Stage<'_>) -> Result<(BatchOutcome, usize)>;
}

/// What the placeholders of a batch stand for.
pub(crate) struct Names {
    batch: u64,
    /// By position; `None` for what creates nothing, or nothing any more.
    made: Vec<Option<Uuid>>,
}

impl Names {
    /// Names that do not depend on which batch it is.
    pub(crate) fn canonical(batch: &Batch) -> Self {
        let operations = batch.operations().iter().enumerate();
        let made = operations.map(|(at, operation)| operation.creates().then(|| placeholder(0, at)));
        Self {
            batch: batch.number(),
            made: made.collect(),
        }
    }

    /// What an id stands for: itself, unless it is a placeholder of this batch.
    fn real(&self, id: Uuid) -> Uuid {
        position(self.batch, id)
            .and_then(|at| self.made.get(at).copied().flatten())
            .unwrap_or(id)
    }

    fn real_entity(&self, id: EntityId) -> EntityId {
        EntityId::new(id.kind(), self.real(id.uuid()))
    }

    /// The same input with the parent that its placeholder stands for.
    fn in_input<E: Entity>(&self, new: &E::New) -> E::New {
        let Some(parent) = E::named_parent(new) else {
            return new.clone();
        };
        let lineage = Lineage::naming(Some(self.real_entity(parent)));
        let owner = E::named_owner(new).map(str::to_owned);
        E::with_parent_and_owner(new.clone(), lineage, owner)
    }
}

/// A creation, as asked for.
#[derive(Debug)]
pub(crate) struct Creation<E: Entity> {
    pub(crate) new: E::New,
}

/// A replacement or a patch, as asked for.
#[derive(Debug)]
pub(crate) struct Replacement<E: Entity> {
    pub(crate) id: E::Id,
    pub(crate) expectation: Expectation,
    pub(crate) source: Source<E>,
}

/// A deletion, as asked for and as it is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deletion {
    pub(crate) id: EntityId,
    pub(crate) expectation: Expectation,
}

impl<E: Entity> Operation for Creation<E> {
    fn named(&self) -> [Option<EntityId>; 2] {
        [None, E::named_parent(&self.new)]
    }

    fn prepare(&self, settings: &Settings, actor: &str, names: &Names) -> Result<Box<dyn Task>> {
        let new = names.in_input::<E>(&self.new);
        Ok(Box::new(create::prepare::<E>(settings, actor, new)?))
    }

    fn fingerprint(&self, names: &Names, fingerprint: &mut Fingerprint) -> Result<()> {
        fingerprint.creation(&names.in_input::<E>(&self.new))
    }

    fn creates(&self) -> bool {
        true
    }
}

impl<E: Entity> Task for Prepared<E> {
    fn created(&self) -> Option<Uuid> {
        Some(self.id)
    }

    fn bytes(&self) -> usize {
        Prepared::bytes(self)
    }

    fn stage(&self, stage: &mut Stage<'_>) -> Result<(BatchOutcome, usize)> {
        let created = create::create_one(stage, self, &mut Parents::default())?;
        let entity = created.entity(self.id, stage.tenant_name());
        Ok((entity.into(), 0))
    }
}

impl<E: Entity> Operation for Replacement<E> {
    fn named(&self) -> [Option<EntityId>; 2] {
        let parent = match &self.source {
            Source::Fields(new) => E::named_parent(new),
            Source::Patch(_) => None,
        };
        [Some(self.id.into()), parent]
    }

    fn prepare(&self, _settings: &Settings, _actor: &str, names: &Names) -> Result<Box<dyn Task>> {
        let source = match &self.source {
            Source::Fields(new) => Source::Fields(names.in_input::<E>(new)),
            Source::Patch(patch) => Source::Patch(patch.clone()),
        };
        let id = names.real(self.id.uuid());
        Ok(Box::new(PlannedChange {
            change: Change::<E> {
                id: E::Id::from_uuid(id),
                expectation: self.expectation,
                source,
            },
            ahead: None,
        }))
    }

    fn fingerprint(&self, names: &Names, fingerprint: &mut Fingerprint) -> Result<()> {
        let id = names.real_entity(self.id.into());
        match &self.source {
            Source::Fields(new) => {
                fingerprint.change(b"replace", id, self.expectation, &names.in_input::<E>(new))
            }
            Source::Patch(patch) => fingerprint.change(b"patch", id, self.expectation, patch),
        }
    }

    fn changes(&self) -> bool {
        true
    }
}

/// A change, with what it comes to on the view that was newest when it was planned.
struct PlannedChange<E: Entity> {
    change: Change<E>,
    ahead: Option<Worked<E>>,
}

impl<E: Entity> Task for PlannedChange<E> {
    fn work_ahead(&mut self, settings: &Settings, actor: &str, view: &TenantView<'_>) -> usize {
        self.ahead = self.change.work_out(settings, actor, view).ok();
        self.ahead.as_ref().map_or(0, Worked::bytes)
    }

    fn stage(&self, stage: &mut Stage<'_>) -> Result<(BatchOutcome, usize)> {
        let (entity, bytes) = self.change.stage_sized(stage, self.ahead.as_ref())?;
        Ok((entity.into(), bytes))
    }
}

impl Operation for Deletion {
    fn named(&self) -> [Option<EntityId>; 2] {
        [Some(self.id), None]
    }

    fn prepare(&self, _settings: &Settings, _actor: &str, names: &Names) -> Result<Box<dyn Task>> {
        Ok(Box::new(Deletion {
            id: names.real_entity(self.id),
            expectation: self.expectation,
        }))
    }

    fn fingerprint(&self, names: &Names, fingerprint: &mut Fingerprint) -> Result<()> {
        fingerprint.change(b"delete", names.real_entity(self.id), self.expectation, &())
    }
}

impl Task for Deletion {
    fn stage(&self, stage: &mut Stage<'_>) -> Result<(BatchOutcome, usize)> {
        let deleted = delete::delete(stage, &[(self.id, self.expectation)])?;
        Ok((BatchOutcome::Deleted(deleted), 0))
    }
}

/// A batch, ready to be run.
pub(crate) struct Plan {
    names: Names,
    members: Vec<Member>,
    /// Encoded bytes of what it creates.
    bytes: usize,
}

struct Member {
    /// The positions of the creations that it names.
    rests_on: [Option<usize>; 2],
    changes: bool,
    /// `None` where it rests on what could not be prepared.
    task: Option<Result<Box<dyn Task>>>,
}

/// Does what needs no view.
pub(crate) fn plan(settings: &Settings, actor: &str, batch: &Batch) -> Result<Plan> {
    let operations = batch.operations();
    if operations.len() > Batch::MAX_OPERATIONS {
        let message = format!(
            "a batch has at most {} operations, and this one has {}: split it",
            Batch::MAX_OPERATIONS,
            operations.len()
        );
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    let mut plan = Plan {
        names: Names {
            batch: batch.number(),
            made: Vec::with_capacity(operations.len()),
        },
        members: Vec::with_capacity(operations.len()),
        bytes: 0,
    };
    for (index, operation) in operations.iter().enumerate() {
        let names = &plan.names;
        // What does not come before it and create something is no creation it could rest on.
        let before = |id: EntityId| {
            position(names.batch, id.uuid()).filter(|&at| at < index && operations[at].creates())
        };
        let rests_on = operation.named().map(|id| id.and_then(before));
        let on_nothing = rests_on.iter().flatten().any(|&at| names.made[at].is_none());
        let task = (!on_nothing).then(|| operation.prepare(settings, actor, names));
        let created = task
            .as_ref()
            .and_then(|task| task.as_ref().ok())
            .and_then(|task| task.created());
        plan.names.made.push(created);
        if let Some(Ok(task)) = &task {
            plan.bytes = plan.bytes.saturating_add(task.bytes());
            check_bytes(settings, plan.bytes, index)?;
        }
        plan.members.push(Member {
            rests_on,
            changes: operation.changes(),
            task,
        });
    }
    Ok(plan)
}

fn check_bytes(settings: &Settings, bytes: usize, index: usize) -> Result<()> {
    let limit = settings.atomic_bulk_bytes;
    if bytes <= limit {
        return Ok(());
    }
    let message = format!("a batch creates and changes at most {limit} bytes: split it, or raise the limit");
    Err(Error::new(ErrorKind::TooLarge, message).at_bulk_index(Some(index as u64), 0))
}

impl Plan {
    /// Whether anything could be worked out ahead.
    pub(crate) fn changes_something(&self) -> bool {
        self.members.iter().any(|member| member.changes)
    }

    /// Works out on the newest view what changes an entity that the batch does not create, as far as a batch may go.
    pub(crate) fn work_ahead(&mut self, settings: &Settings, actor: &str, view: &TenantView<'_>) {
        let mut bytes = self.bytes;
        for member in &mut self.members {
            if bytes > settings.atomic_bulk_bytes {
                break;
            }
            if let (Some(Ok(task)), [None, _]) = (&mut member.task, member.rests_on) {
                bytes = bytes.saturating_add(task.work_ahead(settings, actor, view));
            }
        }
    }

    /// Stages all of it, or gives every operation that is refused; a fault ends it at once. Shows each outcome to `note`, as long as none has failed.
    pub(crate) fn run(
        &self,
        stage: &mut Stage<'_>,
        mut note: impl FnMut(&Stage<'_>, &BatchOutcome) -> Result<()>,
    ) -> Result<Vec<BatchOutcome>> {
        let mut outcomes = Vec::with_capacity(self.members.len());
        let mut failures = Vec::new();
        let mut failed = vec![false; self.members.len()];
        let mut bytes = self.bytes;
        for (index, member) in self.members.iter().enumerate() {
            failed[index] = member.rests_on.iter().flatten().any(|&at| failed[at]);
            let Some(task) = member.task.as_ref().filter(|_| !failed[index]) else {
                continue;
            };
            let outcome = match task {
                Ok(task) => stage.nested(|stage| task.stage(stage)),
                Err(error) => Err(error.clone()),
            };
            match outcome {
                Ok((outcome, changed)) => {
                    bytes = bytes.saturating_add(changed);
                    check_bytes(stage.settings, bytes, index)?;
                    if failures.is_empty() {
                        note(stage, &outcome)?;
                        outcomes.push(outcome);
                    }
                }
                // No refusal, and nothing to note beside any: those would hide it, and the operations behind would ask a failing storage again.
                Err(error) if error.kind().is_fault() => {
                    return Err(error.at_bulk_index(Some(index as u64), 0));
                }
                Err(error) => {
                    failed[index] = true;
                    failures.push(BatchFailure {
                        index: index as u64,
                        error,
                    });
                    if failures.len() == MAX_FAILURES {
                        break;
                    }
                }
            }
        }
        match failures.is_empty() {
            true => Ok(outcomes),
            false => Err(self.refused(failures)),
        }
    }

    /// The error of the batch: ids of what it would have created are told as placeholders.
    fn refused(&self, failures: Vec<BatchFailure>) -> Error {
        let made = self.names.made.iter().enumerate();
        let placeholders: HashMap<Uuid, Uuid> = made
            .filter_map(|(at, made)| Some(((*made)?, placeholder(self.names.batch, at))))
            .collect();
        let rename = |id: EntityId| match placeholders.get(&id.uuid()) {
            Some(&placeholder) => EntityId::new(id.kind(), placeholder),
            None => id,
        };
        let named = |BatchFailure { index, error }: BatchFailure| BatchFailure {
            index,
            error: error.with_ids(&rename),
        };
        Error::of_batch(failures.into_iter().map(named).collect())
    }
}
