//! Declarative batches and requests with an idempotency key.

use serde_json::{Value, json};
use shelfmark::{Batch, BatchOutcome, EntityKind, IdempotencyKey, TypedId, Write};

use super::{Answer, Executor, Modelled, by_kind};
use crate::operation::{BatchStep, Draft, OnceKey};
use crate::outcome::Failure;

impl Executor<'_> {
    pub(super) fn batch<W: Write>(&self, to: &W, steps: &[BatchStep]) -> Answer {
        self.with_batch(steps, |batch| {
            let outcomes = self.fail(to.batch(batch))?;
            self.bind_created(steps, &outcomes);
            Ok(self.outcomes(&outcomes))
        })
    }

    pub(super) fn batch_once<W: Write>(&self, to: &W, key: OnceKey, steps: &[BatchStep]) -> Answer {
        let key = self.fail(IdempotencyKey::new(key.text()))?;
        self.with_batch(steps, |batch| {
            let once = self.fail(to.batch_once(&key, batch))?;
            if !once.replayed {
                self.bind_created(steps, &once.value);
            }
            Ok(json!({ "replayed": once.replayed, "value": self.outcomes(&once.value) }))
        })
    }

    pub(super) fn create_once<E: Modelled, W: Write>(&self, to: &W, key: OnceKey, draft: &Draft) -> Answer {
        let Some(new) = self.input::<E>(draft) else {
            return Ok(Value::Null);
        };
        let key = self.fail(IdempotencyKey::new(key.text()))?;
        let once = self.fail(to.create_once(&key, new))?;
        if !once.replayed {
            self.ids.borrow_mut().bind(once.value.id().uuid());
        }
        Ok(json!({ "replayed": once.replayed, "value": self.shown(&once.value) }))
    }

    /// Builds a batch, whose placeholders the oracle's stand for while `work` runs.
    fn with_batch(&self, steps: &[BatchStep], work: impl FnOnce(&Batch) -> Answer) -> Answer {
        let answer = self.build(steps).and_then(|batch| work(&batch));
        self.ids.borrow_mut().forget_aliases();
        answer
    }

    fn build(&self, steps: &[BatchStep]) -> Result<Batch, Failure> {
        let mut batch = Batch::new();
        for (position, step) in steps.iter().enumerate() {
            match step {
                BatchStep::Create(draft) => by_kind!(draft.kind(), E => {
                    let id = batch.create(self.input::<E>(draft).unwrap_or_default());
                    let canonical = BatchStep::placeholder(position);
                    self.ids.borrow_mut().alias(id.uuid(), canonical);
                }),
                BatchStep::Replace(target, draft) => by_kind!(draft.kind(), E => {
                    let (id, expectation) = self.target::<E>(target);
                    batch.replace(id, expectation, self.input::<E>(draft).unwrap_or_default());
                }),
                BatchStep::Patch(kind, target, patch) => by_kind!(kind, E => {
                    let (id, expectation) = self.target::<E>(target);
                    batch.patch(id, expectation, self.patch(patch)?);
                }),
                BatchStep::Delete(kind, target) => by_kind!(kind, E => {
                    let (id, expectation) = self.target::<E>(target);
                    batch.delete(id, expectation);
                }),
            }
        }
        Ok(batch)
    }

    fn bind_created(&self, steps: &[BatchStep], outcomes: &[BatchOutcome]) {
        for (step, outcome) in steps.iter().zip(outcomes) {
            if let (BatchStep::Create(_), Some(id)) = (step, outcome.id()) {
                self.ids.borrow_mut().bind(id.uuid());
            }
        }
    }

    fn outcomes(&self, outcomes: &[BatchOutcome]) -> Value {
        let shown = |outcome: &BatchOutcome| match outcome {
            BatchOutcome::Store(store) => self.shown(store),
            BatchOutcome::Asset(asset) => self.shown(asset),
            BatchOutcome::Set(set) => self.shown(set),
            BatchOutcome::Deleted(deleted) => self.deleted(Ok(*deleted)).unwrap_or_default(),
            other => json!(format!("{other:?}")),
        };
        outcomes.iter().map(shown).collect()
    }
}
