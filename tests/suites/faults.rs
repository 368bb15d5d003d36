//! Storages that fail: the same script again and again, with a fault one call later each time, until a run passes untouched.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Barrier, Mutex};

use shelfmark::{Catalog, DataStore, ErrorKind, Health, NewDataStore, Options, Query, Read, StoreId, Write};
use shelfmark_testkit::storage::{
    Call, Commits, RecordingStorage, Reference, Setting, StorageFault, Survivors, Sweep, Task, judge_copy,
    judge_creation, script, sweep,
};

use crate::support::{assert_clean, family, figures, long_version, new_set, new_store, session};

/// Of scripts with and without a change feed, undrop and unique names.
const SEEDS: [u64; 4] = [1, 3, 4, 6];

fn fault(call: Call, error: io::ErrorKind) -> StorageFault {
    StorageFault {
        call,
        nth: 1,
        error,
        short: false,
        lasts: false,
    }
}

/// The script of a seed, run undisturbed, with durable commits.
fn reference(seed: u64, most: usize, cache_bytes: usize) -> Reference {
    let (setting, tasks) = script(seed, most);
    let setting = Setting {
        commits: Commits::Durable,
        cache_bytes,
        ..setting
    };
    reference_of(setting, tasks, seed)
}

fn reference_of(setting: Setting, tasks: Vec<Task>, seed: u64) -> Reference {
    Reference::run((setting, tasks), &mut |_| Ok(()))
        .unwrap_or_else(|wrong| panic!("undisturbed, seed {seed}: {wrong}"))
}

/// Sweeps over each of these faults. `SHELFMARK_FAULT_SEED` replays one seed.
fn sweep_all(name: &str, seeds: &[u64], most: usize, cache_bytes: usize, faults: &[StorageFault]) {
    let mut tally = Sweep::default();
    let replay: Option<u64> = std::env::var("SHELFMARK_FAULT_SEED")
        .ok()
        .map(|seed| seed.parse().expect("a number"));
    let more = if long_version() { 10 } else { 1 };
    let seeds: Vec<u64> = match replay {
        Some(seed) => vec![seed],
        None => (0..more)
            .flat_map(|round| seeds.iter().map(move |seed| seed + round * 100))
            .collect(),
    };
    for seed in seeds {
        let reference = reference(seed, most, cache_bytes);
        for &fault in faults {
            if let Err(wrong) = sweep(&reference, fault, &mut tally) {
                panic!("SHELFMARK_FAULT_SEED={seed}: {wrong}");
            }
        }
    }
    figures(name, &format!("{tally:?}"));
    assert!(tally.faults > 0 && tally.images > 0, "{tally:?}");
}

#[test]
fn after_any_failing_write_the_state_is_the_one_before_or_after() {
    let refused = fault(Call::Write, io::ErrorKind::Other);
    let short = StorageFault {
        error: io::ErrorKind::StorageFull,
        short: true,
        lasts: true,
        ..refused
    };
    sweep_all("failing writes", &SEEDS, 60, 4 << 20, &[refused, short]);
}

#[test]
fn after_any_failing_sync_the_state_is_the_one_before_or_after() {
    let once = fault(Call::Sync, io::ErrorKind::Other);
    let lasting = StorageFault { lasts: true, ..once };
    sweep_all("failing syncs", &SEEDS, 60, 4 << 20, &[once, lasting]);
}

#[test]
fn after_any_failing_growth_the_state_is_the_one_before_or_after() {
    let once = fault(Call::SetLen, io::ErrorKind::StorageFull);
    let lasting = StorageFault { lasts: true, ..once };
    sweep_all(
        "failing changes of the length",
        &SEEDS,
        60,
        4 << 20,
        &[once, lasting],
    );
}

#[test]
fn after_any_failing_read_the_state_is_the_one_before_or_after() {
    let once = fault(Call::Read, io::ErrorKind::Other);
    let lasting = StorageFault { lasts: true, ..once };
    // Without a cache every page is read from the storage each time.
    sweep_all("failing reads", &[1], 40, 0, &[once, lasting]);
}

#[test]
fn a_backup_to_a_failing_storage_harms_nothing() {
    let reference = reference(1, 60, 4 << 20);
    let rows = reference.states.last().expect("a state").clone();
    let storage = RecordingStorage::new();
    let mut run =
        shelfmark_testkit::storage::Run::create(reference.setting, &storage, None).expect("a catalog");
    for task in &reference.tasks {
        run.perform(task);
    }
    let catalog = run.catalog().expect("an open catalog");
    let mut refused = 0;
    for call in [Call::Write, Call::SetLen, Call::Sync, Call::Read] {
        for nth in 1.. {
            let to = RecordingStorage::new();
            to.arm(StorageFault {
                nth,
                ..fault(call, io::ErrorKind::StorageFull)
            });
            let outcome = catalog.backup_on(Arc::new(to.clone()));
            if !to.struck() {
                outcome.expect("an undisturbed backup");
                judge_copy(to.crash_point().image(Survivors::None), &rows).expect("a backup");
                break;
            }
            to.mend();
            if let Err(error) = outcome {
                refused += 1;
                assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::StorageFull | ErrorKind::CommitUnknown | ErrorKind::Unavailable
                    ),
                    "{call:?} {nth}: {error}"
                );
                judge_creation(to.bytes()).unwrap_or_else(|wrong| panic!("{call:?} {nth}: {wrong}"));
            } else {
                // It struck behind the last sync that matters.
                judge_copy(to.crash_point().image(Survivors::None), &rows)
                    .unwrap_or_else(|wrong| panic!("{call:?} {nth}: {wrong}"));
            }
            assert_eq!(catalog.health(), Health::Healthy);
        }
    }
    figures("backups to a failing storage", &format!("{refused} refused"));
    assert!(refused > 0);
    assert!(run.rows().expect("a backend").expect("rows") == rows);
}

/// What a group of writers was told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<StoreId>,
    attempted: BTreeSet<String>,
    kinds: BTreeSet<&'static str>,
}

fn write_in_groups(catalog: &Catalog, threads: usize, each: usize) -> Told {
    let told = Mutex::new(Told::default());
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (told, start, session) = (&told, &start, session(catalog, "acme"));
            scope.spawn(move || {
                start.wait();
                for n in 0..each {
                    let name = format!("store {thread} {n}");
                    let outcome = session.create(new_store(&name));
                    let mut told = told.lock().expect("a thread that did not panic");
                    told.attempted.insert(name);
                    match outcome {
                        Ok(store) => told.acknowledged.push(store.id),
                        Err(error) => {
                            told.kinds.insert(error.kind().code());
                        }
                    }
                }
            });
        }
    });
    told.into_inner().expect("threads that did not panic")
}

#[test]
fn a_group_of_writers_keeps_what_it_was_told_through_any_fault() {
    let (mut faults, mut kinds, mut doubted) = (0_u64, BTreeSet::new(), 0_usize);
    for call in [Call::Write, Call::Sync, Call::SetLen] {
        for nth in 1.. {
            let storage = RecordingStorage::new();
            let backend = Options::new()
                .create_backend_on(Arc::new(storage.clone()))
                .unwrap();
            let catalog = Options::new().on_backend(backend).unwrap();
            storage.arm(StorageFault {
                nth,
                ..fault(call, io::ErrorKind::Other)
            });
            let told = write_in_groups(&catalog, 4, 4);
            if !storage.struck() {
                assert_eq!(told.acknowledged.len(), 16);
                break;
            }
            faults += 1;
            storage.mend();
            if catalog.health() != Health::Healthy {
                catalog.reopen().unwrap();
            }
            let session = session(&catalog, "acme");
            let page = session.list(&Query::<DataStore>::new().limit(100)).unwrap();
            for id in &told.acknowledged {
                assert!(
                    session.get(*id).unwrap().is_some(),
                    "{call:?} {nth}: {id} is lost"
                );
            }
            for store in &page.items {
                let name = store.technical_name.as_str();
                assert!(told.attempted.contains(name), "{call:?} {nth}: {name}");
            }
            let unknown = page.items.len() - told.acknowledged.len();
            assert!(
                unknown == 0 || told.kinds.contains("COMMIT_UNKNOWN"),
                "{call:?} {nth}: {:?}",
                told.kinds
            );
            doubted += unknown;
            kinds.extend(told.kinds);
            assert_clean(&catalog, &format!("{call:?} {nth}"));
        }
    }
    figures(
        "faults under groups of writers",
        &format!("{faults} faults, {doubted} writes in doubt were done, errors {kinds:?}"),
    );
    assert!(faults > 10, "{faults}");
}

#[test]
fn deletes_work_again_once_there_is_room() {
    let storage = RecordingStorage::new();
    let backend = Options::new()
        .create_backend_on(Arc::new(storage.clone()))
        .unwrap();
    let catalog = Options::new().on_backend(backend).unwrap();
    let session = session(&catalog, "acme");
    let family = family(&session);
    storage.arm(StorageFault {
        lasts: true,
        ..fault(Call::SetLen, io::ErrorKind::StorageFull)
    });
    let text = "x".repeat(1_000);
    let mut stored = 0;
    let error = loop {
        let mut set = new_set(family.asset, &format!("set {stored}"));
        set.description = Some(text.clone());
        match session.create(set) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::CommitUnknown),
        "{error}"
    );
    assert!(
        error.to_string().contains("no storage space") || error.to_string().contains("full"),
        "{error}"
    );
    assert_eq!(
        session
            .create(NewDataStore::new("more", "none"))
            .unwrap_err()
            .kind(),
        ErrorKind::Unavailable
    );
    storage.mend();
    catalog.reopen().unwrap();
    let deleted = session.delete(family.asset, shelfmark::Expectation::Any).unwrap();
    // Of the one that failed the outcome may be in doubt.
    assert!(
        (stored + 1..=stored + 2).contains(&deleted.sets),
        "{deleted:?} of {stored}"
    );
    assert_clean(&catalog, "after the storage was full");
}
