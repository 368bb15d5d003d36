//! Many threads at once over a backend that fails: what failed before its commit was not done, what is in doubt was done or not, and the change feed tells
//! which. Its order, replayed one by one, explains every answer, and leads to what the catalog holds in the end.
//!
//! `SHELFMARK_LINEAR_SEEDS`, `SHELFMARK_LINEAR_SEED` and `SHELFMARK_LINEAR_OPERATIONS` are as for the suite without faults.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use shelfmark::backend::Backend;
use shelfmark::{Catalog, ChangeEvent, Durability, EntityKind, ErrorKind, Options, Uuid};
use shelfmark_testkit::operation::{FilterSpec, Operation, QuerySpec, Selection, Tenant};
use shelfmark_testkit::{
    CatalogSetup, Failure, Fault, Faults, FaultyBackend, MemoryBackend, Outcome, System, TestEnvironment,
};

use crate::linear::{Done, Pool, THREADS, in_doubt, number, replay};
use crate::support::{Random, assert_clean, figures};

/// Every how many operations of a thread it arms a fault.
const EVERY: u64 = 12;

/// What came of the faults.
#[derive(Debug, Default)]
struct Tally {
    effects: usize,
    without: usize,
    struck: u64,
    failed_before: usize,
    refused_while_latched: usize,
    in_doubt_done: usize,
    in_doubt_not_done: usize,
}

#[test]
fn with_faults_too_what_many_did_at_once_one_could_have_done_one_after_the_other() {
    let seeds = number("SHELFMARK_LINEAR_SEEDS", 3);
    let first = number("SHELFMARK_LINEAR_SEED", 1);
    let operations = number("SHELFMARK_LINEAR_OPERATIONS", 500) as usize;
    let mut tally = Tally::default();
    for seed in first..first + seeds {
        run(seed, operations, &mut tally);
    }
    figures("threads with faults", &format!("{tally:?}"));
    assert!(
        tally.failed_before > 0 && tally.refused_while_latched > 0 && tally.in_doubt_done > 0,
        "{tally:?}"
    );
    assert!(tally.effects > operations, "hardly anything happened: {tally:?}");
}

fn run(seed: u64, operations: usize, tally: &mut Tally) {
    let setup = CatalogSetup {
        unique_technical_names: seed.is_multiple_of(2),
        change_feed: true,
        ..CatalogSetup::default()
    };
    let options = Options::new()
        .unique_technical_names(setup.unique_technical_names)
        .change_feed(true)
        .durability(Durability::Deferred)
        .environment(TestEnvironment::new(1).environment());
    let below: Arc<dyn Backend> = match seed % 3 {
        0 => Arc::new(MemoryBackend::new().retry_plans(5)),
        1 => options.in_memory_backend().expect("a backend"),
        // Nothing may be remembered from one snapshot to the next.
        _ => Arc::new(MemoryBackend::shared()),
    };
    let backend = FaultyBackend::new(below);
    let faults = backend.faults();
    let catalog = options.on_backend(Arc::new(backend)).expect("a catalog");
    let mut done = work(&catalog, setup, &faults, seed, operations);
    faults.disarm();
    catalog.reopen().expect("a healthy backend");
    assert_clean(&catalog, &format!("seed {seed}"));

    let (order, created) = fed(&catalog);
    done.retain_mut(|one| {
        let told = created.get(&one.actor);
        if in_doubt(&one.outcome) {
            let Some(told) = told else {
                tally.in_doubt_not_done += 1;
                return false;
            };
            tally.in_doubt_done += 1;
            if !matches!(one.operation, Operation::Transact(..)) {
                one.created.clone_from(told);
            }
            return true;
        }
        match failed(&one.outcome) {
            None => true,
            Some(kind) => {
                assert!(
                    told.is_none(),
                    "seed {seed}: {} failed with {kind}, and was done all the same: {:?}",
                    one.actor,
                    one.operation
                );
                match kind {
                    ErrorKind::Unavailable => tally.refused_while_latched += 1,
                    _ => tally.failed_before += 1,
                }
                false
            }
        }
    });
    let (effects, without, mut oracle) = replay(seed, setup, &order, &done);
    tally.effects += effects;
    tally.without += without;
    tally.struck += faults.struck();

    let mut system = System::beside(catalog, setup);
    for kind in EntityKind::ALL {
        let everything = Operation::Stream(
            Tenant::One,
            QuerySpec {
                kind,
                selection: Selection::All,
                filter: FilterSpec::default(),
                sort: String::new(),
                limit: 1,
                page: 0,
                schemas: true,
                total: true,
            },
        );
        let (found, _) = system.run_as("reader", &everything);
        let expected = oracle.apply_as("reader", &[], &everything);
        assert!(
            found.agrees_with(&expected),
            "seed {seed}: in the end\n  expected: {expected:?}\n  found: {found:?}"
        );
    }
}

/// The kind that the backend failed with before it committed anything, if it did.
fn failed(outcome: &Outcome) -> Option<ErrorKind> {
    let of_backend = |failure: &Failure| {
        failure.kind.filter(|kind| {
            matches!(
                kind,
                ErrorKind::Io | ErrorKind::StorageFull | ErrorKind::Unavailable
            )
        })
    };
    match outcome {
        Outcome::Failed(failure) | Outcome::Transaction(_, Some(failure)) => of_backend(failure),
        _ => None,
    }
}

fn fault(random: &mut Random) -> Fault {
    let fault = match random.below(3) {
        0 => Fault::before_commit(ErrorKind::StorageFull),
        1 => Fault::before_commit(ErrorKind::Io),
        _ => Fault::after_commit(),
    };
    let fault = fault.nth(1 + random.below(4));
    match random.below(4) {
        0 => fault.latching(),
        _ => fault,
    }
}

/// Lets the threads work, and gives what they did. Whoever meets a latched backend reopens it.
fn work(catalog: &Catalog, setup: CatalogSetup, faults: &Faults, seed: u64, operations: usize) -> Vec<Done> {
    let (pool, clock) = (Mutex::new(Pool::default()), AtomicU64::new(0));
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (pool, tick) = (&pool, &tick);
                scope.spawn(move || {
                    let mut system = System::beside(catalog.clone(), setup);
                    let mut random = Random::new(seed << 8 | thread as u64);
                    let mut done = Vec::with_capacity(operations);
                    for n in 0..operations {
                        let operation = pool.lock().expect("the pool").operation(&mut random);
                        if random.below(EVERY) == 0 {
                            faults.arm(fault(&mut random));
                        }
                        let actor = format!("t{thread}-{n:04}");
                        let began = tick();
                        let (outcome, created) = system.run_as(&actor, &operation);
                        let returned = tick();
                        pool.lock().expect("the pool").note(&operation, &outcome);
                        if failed(&outcome) == Some(ErrorKind::Unavailable) {
                            catalog.reopen().expect("a backend that reopens");
                        }
                        done.push(Done {
                            actor,
                            operation,
                            outcome,
                            created,
                            began,
                            returned,
                        });
                    }
                    done
                })
            })
            .collect();
        let done = threads.into_iter().map(|thread| thread.join().expect("a thread"));
        done.flatten().collect()
    })
}

/// Whom each change is made by, in the order of the change feed, and what each of them created.
fn fed(catalog: &Catalog) -> (Vec<String>, HashMap<String, Vec<Uuid>>) {
    // The feed shows what is durable.
    catalog.sync().expect("a sync");
    let session = catalog.session(Tenant::One.name(), "reader").expect("a session");
    let (mut actors, mut created, mut after) = (Vec::new(), HashMap::<_, Vec<Uuid>>::new(), None);
    loop {
        let page = session.changes(after, 1_000).expect("changes");
        for change in page.items {
            let Some(actor) = change.actor else { continue };
            let of_actor = created.entry(actor.clone()).or_default();
            if change.event == ChangeEvent::Created {
                of_actor.push(change.id.uuid());
            }
            actors.push(actor);
        }
        after = Some(page.position);
        if !page.more {
            return (actors, created);
        }
    }
}
