//! Sequences of operations that the bytes decide about: undisturbed, over a storage that fails, over a backend that fails.

use std::io;
use std::sync::Arc;

use shelfmark::ErrorKind;
use shelfmark::backend::Backend;

use super::{sure, take};
use crate::execute::OF_STORAGE;
use crate::faulty::{Fault, FaultyBackend};
use crate::memory::MemoryBackend;
use crate::operation::Operation;
use crate::oracle::Oracle;
use crate::outcome::Outcome;
use crate::run::{self, Tally};
use crate::storage::{Call, Commits, Reference, Rows, Setting, StorageFault, Sweep, rows_of, strike, tasks};
use crate::strategy;
use crate::system::{CatalogSetup, Storage, System};

/// The most operations of one execution: more would make it slow, and find little.
const MOST: usize = 48;

fn sequence(bytes: &[u8]) -> (run::Setup, Vec<Operation>) {
    strategy::from_bytes(&bytes[..bytes.len().min(4 + 4 * MOST)])
}

/// Four bytes for the setup, four for each operation: each catalog does what the oracle says.
pub fn operations(bytes: &[u8]) {
    let (setup, operations) = sequence(bytes);
    if let Err(wrong) = run::run_in_memory(setup, &operations, &mut Tally::default()) {
        panic!("{setup:?}: {wrong}");
    }
}

/// Four bytes for the fault, then as [`operations`]: after one fault of the storage, the state is the one before or after the operation in flight.
pub fn storage_faults(bytes: &[u8]) {
    storage_fault(bytes);
}

/// Whether the fault struck.
fn storage_fault(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let [how, error, low, high] = take(&mut rest);
    let (setup, operations) = sequence(rest);
    let setting = Setting {
        catalog: setup.catalog,
        commits: Commits::Durable,
        quick_recovery: how & 32 != 0,
        // Without a cache every page is read from the storage each time.
        cache_bytes: if how & 4 == 0 { 4 << 20 } else { 0 },
    };
    let fault = StorageFault {
        call: Call::ALL[usize::from(how & 3)],
        nth: u64::from(u16::from_le_bytes([low, high])) + 1,
        error: [io::ErrorKind::Other, io::ErrorKind::StorageFull][usize::from(error & 1)],
        short: how & 8 != 0,
        lasts: how & 16 != 0,
    };
    let reference = sure(Reference::run((setting, tasks(operations)), &mut |_| Ok(())));
    match strike(&reference, fault, &mut Sweep::default()) {
        Ok(struck) => struck,
        Err(wrong) => panic!("{setting:?}, {fault:?}: {wrong}"),
    }
}

/// Four bytes for the fault, then as [`operations`]: after one fault of the backend, its rows are those of a twin without faults, before or after the
/// operation in flight; after, only where the outcome was said to be unknown.
pub fn backend_faults(bytes: &[u8]) {
    backend_fault(bytes);
}

/// What kinds of errors the fault that struck brought about; `None` where none struck.
fn backend_fault(bytes: &[u8]) -> Option<Vec<ErrorKind>> {
    let mut rest = bytes;
    let [point, kind, nth, latches] = take(&mut rest);
    let kind = [ErrorKind::Io, ErrorKind::StorageFull][usize::from(kind & 1)];
    let fault = match point % 5 {
        0 => Fault::before_commit(kind),
        1 => Fault::after_commit(),
        2 => Fault::read(kind),
        3 => Fault::snapshot(kind),
        _ => Fault::sync(kind),
    };
    let fault = match latches & 1 {
        0 => fault,
        _ => fault.latching(),
    };
    let (setup, operations) = sequence(rest);
    let backend = FaultyBackend::new(Arc::new(MemoryBackend::new()));
    let mut oracle = Oracle::new(setup.catalog);
    let mut twin = Trial::new(setup.catalog, Arc::new(MemoryBackend::new()));
    let mut trial = Trial::new(setup.catalog, Arc::new(backend.clone()));
    let faults = backend.faults();
    faults.arm(fault.nth(u64::from(nth) + 1));
    for operation in operations {
        let before = twin.rows();
        let (resolved, expected) = oracle.apply(&operation);
        let undisturbed = twin.system.run(&resolved);
        assert!(
            undisturbed.agrees_with(&expected),
            "{resolved:?}: expected {expected:?}, found {undisturbed:?}"
        );
        let found = trial.system.run(&resolved);
        if faults.struck() == 0 {
            continue;
        }
        faults.disarm();
        let after = twin.rows();
        trial.recover();
        let rows = trial.rows();
        let told = kinds(&found);
        let agrees = found.agrees_with(&expected);
        assert!(
            agrees || told.iter().any(|kind| OF_STORAGE.contains(kind)),
            "{resolved:?} with {fault:?}: {found:?} in place of {expected:?}"
        );
        let right = if agrees {
            rows == after
        } else if told.contains(&ErrorKind::CommitUnknown) {
            rows == before || rows == after
        } else {
            rows == before
        };
        assert!(
            right || in_steps(&resolved),
            "{resolved:?} with {fault:?}: {found:?}, and other rows than before and after"
        );
        return Some(told);
    }
    None
}

/// Whether it commits more than once, or goes on after a step that failed.
fn in_steps(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::CreateBatched(..) | Operation::Transact(..) | Operation::DropTenant(..) | Operation::Sweep
    )
}

struct Trial {
    system: System,
    backend: Arc<dyn Backend>,
}

impl Trial {
    fn new(setup: CatalogSetup, backend: Arc<dyn Backend>) -> Self {
        let system = sure(System::create(
            "backend",
            Storage::Backend(Arc::clone(&backend)),
            setup,
        ));
        Self { system, backend }
    }

    fn rows(&self) -> Rows {
        sure(rows_of(&*self.backend))
    }

    /// After a fault: reopened where it latched, it is clean.
    fn recover(&self) {
        if let Some(catalog) = self.system.catalog() {
            sure(catalog.reopen());
            let report = sure(catalog.check());
            assert!(report.is_clean(), "{:?}", report.findings);
        }
    }
}

fn kinds(outcome: &Outcome) -> Vec<ErrorKind> {
    match outcome {
        Outcome::Done(_) => Vec::new(),
        Outcome::Failed(failure) => failure.kind.into_iter().collect(),
        Outcome::Transaction(steps, end) => {
            let own = end.iter().filter_map(|failure| failure.kind);
            steps.iter().flat_map(kinds).chain(own).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::seeds;

    #[test]
    fn the_faults_of_the_seeds_strike() {
        let seeds = seeds();
        let of = |target| seeds.iter().filter(move |seed| seed.target == target);
        let struck = of("storage_faults")
            .filter(|seed| storage_fault(&seed.bytes))
            .count();
        assert!(struck >= 10, "{struck}");
        let told: Vec<ErrorKind> = of("backend_faults")
            .filter_map(|seed| backend_fault(&seed.bytes))
            .flatten()
            .collect();
        for kind in [ErrorKind::Io, ErrorKind::StorageFull, ErrorKind::CommitUnknown] {
            assert!(told.contains(&kind), "{kind}: {told:?}");
        }
    }
}
