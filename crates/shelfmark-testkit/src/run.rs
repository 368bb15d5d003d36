//! One sequence through the oracle and every system at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use shelfmark::EntityKind;

use crate::memory::MemoryBackend;
use crate::operation::{FilterSpec, Operation, QuerySpec, ReadOp, Selection, Step, Tenant, WriteOp};
use crate::oracle::Oracle;
use crate::outcome::{Failure, Outcome};
use crate::storage::RecordingStorage;
use crate::system::{CatalogSetup, Storage, System};

/// How often the catalogs are checked in the course of a sequence: after each so many operations.
const CHECK_EVERY: usize = 20;

/// With what a sequence runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// How the catalogs are opened.
    pub catalog: CatalogSetup,
    /// Whether commits to the file are deferred.
    pub deferred: bool,
    /// Whether the backend in memory says that others may commit too.
    pub shared: bool,
    /// Every how many commits the backend in memory plans twice; 0 is never.
    pub retry_plans: u64,
}

/// How often what came up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of each operation, also inside of others, by name: how many did what they were asked, and how many were refused.
    pub operations: BTreeMap<&'static str, (u64, u64)>,
    /// Of each kind of error, by code.
    pub errors: BTreeMap<&'static str, u64>,
    /// The most entities that there were at the end of a sequence.
    pub most_entities: usize,
}

impl Tally {
    /// The operations that never did what they were asked, by name.
    pub fn never_done(&self) -> Vec<&'static str> {
        let done = |name: &&str| self.operations.get(*name).is_some_and(|(done, _)| *done > 0);
        [ReadOp::NAMES, WriteOp::NAMES, Step::NAMES, Operation::NAMES]
            .concat()
            .into_iter()
            // Refused by nature.
            .filter(|name| !["reenter", "transact in vain"].contains(name))
            .filter(|name| !done(name))
            .collect()
    }

    fn count(&mut self, name: &'static str, failure: Option<&Failure>) {
        let (done, refused) = self.operations.entry(name).or_default();
        match failure {
            None => *done += 1,
            Some(failure) => {
                *refused += 1;
                if let Some(kind) = failure.kind {
                    *self.errors.entry(kind.code()).or_default() += 1;
                }
            }
        }
    }

    fn note(&mut self, operation: &Operation, outcome: &Outcome) {
        let failure = |outcome: &'_ Outcome| match outcome {
            Outcome::Done(_) => None,
            Outcome::Failed(failure) => Some(failure.clone()),
            Outcome::Transaction(_, failure) => failure.clone(),
        };
        let failed = failure(outcome);
        match operation {
            Operation::Write(_, _, write) => self.count(write.name(), failed.as_ref()),
            Operation::Read(_, read) | Operation::ReadHeld(_, read) => {
                self.count(read.name(), failed.as_ref());
            }
            _ => {}
        }
        self.count(operation.name(), failed.as_ref());
        if let (Operation::Transact(_, _, steps, _), Outcome::Transaction(outcomes, _)) = (operation, outcome)
        {
            for (step, outcome) in steps.iter().zip(outcomes) {
                let failed = failure(outcome);
                match step {
                    Step::Write(write) => self.count(write.name(), failed.as_ref()),
                    Step::Read(read) | Step::ReadOutside(read) => self.count(read.name(), failed.as_ref()),
                    Step::Reenter => {}
                }
                self.count(step.name(), failed.as_ref());
            }
        }
    }
}

/// Runs a sequence through the oracle, a catalog in a file and one in memory.
///
/// # Errors
///
/// What came of an operation where it was not what the oracle says, what a check found, which bytes of a deleted entity are left.
pub fn run(setup: Setup, operations: &[Operation], tally: &mut Tally) -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = Storage::File {
        directory,
        deferred: setup.deferred,
    };
    run_with(file, setup, operations, tally)
}

/// As [`run`], but that the file and its log are bytes in memory: what a disk takes for its syncs is ten times what all the rest takes.
///
/// # Errors
///
/// As [`run`].
pub fn run_in_memory(setup: Setup, operations: &[Operation], tally: &mut Tally) -> Result<(), String> {
    let bytes = RecordingStorage::new();
    let file = Storage::Bytes {
        log: Some(bytes.log()),
        storage: Arc::new(bytes),
        deferred: setup.deferred,
        quick_recovery: false,
        cache_bytes: 4 << 20,
        history: None,
    };
    run_with(file, setup, operations, tally)
}

fn run_with(file: Storage, setup: Setup, operations: &[Operation], tally: &mut Tally) -> Result<(), String> {
    let memory = if setup.shared {
        MemoryBackend::shared()
    } else {
        MemoryBackend::new()
    };
    let memory = Storage::Memory(memory.retry_plans(setup.retry_plans));
    let systems = [("file", file), ("memory", memory)]
        .into_iter()
        .map(|(name, storage)| System::create(name, storage, setup.catalog))
        .collect::<shelfmark::Result<Vec<_>>>()
        .map_err(|error| error.to_string())?;
    let mut trial = Trial {
        oracle: Oracle::new(setup.catalog),
        systems,
        gone: 0,
    };
    for (index, operation) in operations.iter().enumerate() {
        let (resolved, outcome) = trial
            .step(operation)
            .map_err(|mismatch| format!("operation {index}: {mismatch}"))?;
        tally.note(&resolved, &outcome);
        if (index + 1) % CHECK_EVERY == 0 {
            trial.step(&Operation::Check)?;
        }
    }
    tally.most_entities = tally.most_entities.max(trial.oracle.len());
    trial.compare_all()?;
    trial.step(&Operation::Reopen)?;
    trial.compare_all()?;
    // The feeds have been followed: what follows them now belongs to a tenant that is gone.
    for operation in [
        Operation::DropTenant(Tenant::One),
        Operation::FollowChanges(Tenant::One, 10),
    ] {
        let (resolved, outcome) = trial.step(&operation)?;
        tally.note(&resolved, &outcome);
    }
    Ok(())
}

struct Trial {
    oracle: Oracle,
    systems: Vec<System>,
    /// How many entities were gone when their traces were looked for last.
    gone: usize,
}

impl Trial {
    fn step(&mut self, operation: &Operation) -> Result<(Operation, Outcome), String> {
        let (resolved, expected) = self.oracle.apply(operation);
        for system in &mut self.systems {
            let found = system.run(&resolved);
            if !found.agrees_with(&expected) {
                return Err(format!(
                    "{} in the {}\n  asked:    {operation:?}\n  resolved: {resolved:?}\n  expected: {expected:?}\n  found:    {found:?}",
                    operation.name(),
                    system.name()
                ));
            }
        }
        let gone = self.oracle.gone().count();
        if gone != self.gone {
            self.gone = gone;
            for system in &self.systems {
                let traces = system
                    .traces_of(self.oracle.gone())
                    .map_err(|error| error.to_string())?;
                if !traces.is_empty() {
                    return Err(format!(
                        "after {resolved:?} the {} still holds {traces:?}",
                        system.name()
                    ));
                }
            }
        }
        Ok((resolved, expected))
    }

    /// Everything of everybody, and a check.
    fn compare_all(&mut self) -> Result<(), String> {
        for tenant in Tenant::ALL {
            for kind in EntityKind::ALL {
                let everything = QuerySpec {
                    kind,
                    selection: Selection::All,
                    filter: FilterSpec::default(),
                    sort: String::new(),
                    limit: 1,
                    page: 0,
                    schemas: true,
                    total: true,
                };
                self.step(&Operation::Stream(tenant, everything))?;
            }
        }
        self.step(&Operation::Check)?;
        for system in &self.systems {
            system
                .replay_all()
                .map_err(|what| format!("{}: {what}", system.name()))?;
        }
        for tenant in Tenant::ALL {
            self.step(&Operation::FollowChanges(tenant, 10))?;
        }
        Ok(())
    }
}
