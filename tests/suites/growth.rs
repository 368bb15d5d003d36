//! Load without growth: after mixed work with readers coming and going, file and memory are as large as they were long before. A snapshot that
//! somebody forgot shows in the figures.
//!
//! The work runs in a process of its own, whose memory nothing else uses. `SHELFMARK_LONG=1` lets it work for ten minutes.

use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use shelfmark::{
    AllStores, Catalog, CatalogSnapshot, ChangeRetention, DataAsset, DataSet, DataStore, Durability,
    Expectation, Options, Query, Read, SetSelection, Write,
};
use shelfmark_testkit::operation::Tenant;
use shelfmark_testkit::{CatalogSetup, System, TestEnvironment};

use crate::linear::Pool;
use crate::support::{
    Random, assert_clean, child, child_path, family, figures, long_version, new_set, session,
};

/// Threads that work at once.
const WRITERS: usize = 3;
/// Operations of each in one round.
const OPERATIONS: usize = 200;
/// After so many operations they wait for one another.
const TOGETHER: usize = 50;
/// Rounds of the bounded version. The first third is warming up.
const ROUNDS: usize = 12;
const LONG: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
struct Round {
    file: u64,
    stored: u64,
    memory: u64,
    entities: u64,
}

#[test]
fn file_and_memory_flatten_under_load() {
    flatten("growth::file_and_memory_flatten_under_load", Durability::Deferred);
}

#[test]
fn file_and_memory_flatten_under_durable_load() {
    flatten(
        "growth::file_and_memory_flatten_under_durable_load",
        Durability::Immediate,
    );
}

fn flatten(test: &str, durability: Durability) {
    if let Some(path) = child_path() {
        load(&path, durability);
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = child(test, &directory.path().join("catalog.shelf"));
    let status = child.status().expect("a child");
    assert!(status.success(), "the child: {status}");
}

/// Works in rounds, and compares the last of them with the first.
fn load(path: &std::path::Path, durability: Durability) {
    let environment = TestEnvironment::new(1);
    let catalog = Options::new()
        .cache_bytes(4 << 20)
        .durability(durability)
        .change_feed(true)
        .change_retention(ChangeRetention::keep_all().count(500))
        .undrop(Duration::from_secs(60))
        .environment(environment.environment())
        .create(path)
        .expect("a catalog");
    let pool = Mutex::new(Pool::default());
    let began = Instant::now();
    let mut rounds: Vec<Round> = Vec::new();
    while rounds.len() < ROUNDS || (long_version() && began.elapsed() < LONG) {
        work(&catalog, &pool, rounds.len() as u64);
        remove_forgotten(&catalog, &pool.lock().expect("the pool"));
        // What was dropped in this round is purged in the next one.
        environment.advance(61_000);
        catalog.sweep().expect("a sweep");
        catalog.sync().expect("a sync");
        let stats = catalog.stats().expect("figures");
        assert_eq!(stats.backend.open_snapshots, 0, "every reader is gone");
        rounds.push(Round {
            file: std::fs::metadata(path).expect("the file").len(),
            stored: stats.backend.stored_bytes.expect("what is stored"),
            memory: resident(),
            entities: stats.stores + stats.assets + stats.sets,
        });
    }
    assert_clean(&catalog, "after the load");
    let warm = rounds.len() / 3;
    let most = |rounds: &[Round], of: fn(&Round) -> u64| rounds.iter().map(of).max().unwrap_or(0);
    let (early, late) = rounds.split_at(warm);
    let file = (most(early, |round| round.file), most(late, |round| round.file));
    let memory = (
        most(early, |round| round.memory),
        most(late, |round| round.memory),
    );
    figures(
        &format!("load without growth, {durability:?}"),
        &format!(
            "{} operations in {} rounds; largest in the first third, then: file {} KiB, {} KiB; memory {} KiB, {} KiB; at most {} entities",
            rounds.len() * WRITERS * OPERATIONS,
            rounds.len(),
            file.0 >> 10,
            file.1 >> 10,
            memory.0 >> 10,
            memory.1 >> 10,
            most(&rounds, |round| round.entities),
        ),
    );
    let stored = (
        most(early, |round| round.stored),
        most(late, |round| round.stored),
    );
    // Keys and values leave nothing behind; pages of the engine vary with who held a snapshot when. What leaks grows with the rounds, of which there are
    // twice as many behind the warming up.
    assert!(
        stored.1 <= stored.0 + stored.0 / 2,
        "rows are left behind: {rounds:?}"
    );
    assert!(file.1 <= 2 * file.0 + (4 << 20), "the file grows: {rounds:?}");
    assert!(
        memory.1 <= memory.0 + memory.0 / 4 + (4 << 20),
        "the memory grows: {rounds:?}"
    );
}

/// One round: threads that write and read, and hold a snapshot for half of the time. They wait for one another now and then, so that what a snapshot keeps
/// is bounded by operations, not by how the threads are scheduled.
fn work(catalog: &Catalog, pool: &Mutex<Pool>, round: u64) {
    let together = Barrier::new(WRITERS);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let together = &together;
            scope.spawn(move || {
                let mut system = System::beside(catalog.clone(), CatalogSetup::default());
                let mut random = Random::new(round << 8 | writer as u64);
                let mut snapshot = None;
                for n in 0..OPERATIONS {
                    match n % TOGETHER {
                        0 => {
                            if together.wait().is_leader() {
                                catalog.sync().expect("a sync");
                            }
                            snapshot = Some(catalog.snapshot().expect("a snapshot"));
                        }
                        at if at == TOGETHER / 2 => read_all(snapshot.take().as_ref()),
                        _ => {}
                    }
                    let operation = pool.lock().expect("the pool").operation(&mut random);
                    let (outcome, _) = system.run_as("ann", &operation);
                    pool.lock().expect("the pool").note(&operation, &outcome);
                }
            });
        }
    });
}

/// Reads a snapshot that much has been written since.
fn read_all(snapshot: Option<&CatalogSnapshot>) {
    let snapshot = snapshot.expect("a snapshot");
    let tenant = snapshot.tenant(Tenant::One.name()).expect("a tenant");
    let count = tenant.count::<DataSet>(SetSelection::All).expect("a count");
    let sets = tenant.stream(&Query::<DataSet>::new()).expect("a stream");
    assert_eq!(sets.count() as u64, count, "one snapshot says two things");
}

/// Removes what no operation will name again: a deletion that was refused, or of the children alone, leaves something behind, and the load would grow by it.
fn remove_forgotten(catalog: &Catalog, pool: &Pool) {
    let session = catalog.session(Tenant::One.name(), "ann").expect("a session");
    let sets = session.stream(&Query::<DataSet>::new()).expect("a stream");
    for set in sets {
        let id = set.expect("a set").id;
        if !pool.knows(id.uuid()) {
            session.delete(id, Expectation::Any).expect("a deletion");
        }
    }
    let assets = session.stream(&Query::<DataAsset>::new()).expect("a stream");
    for asset in assets {
        let id = asset.expect("an asset").id;
        if !pool.knows(id.uuid()) {
            session.delete(id, Expectation::Any).expect("a deletion");
        }
    }
    let stores = session.stream(&Query::<DataStore>::new()).expect("a stream");
    for store in stores {
        let id = store.expect("a store").id;
        if session.count::<DataAsset>(id).expect("a count") == 0 {
            session.delete(id, Expectation::Any).expect("a deletion");
        }
    }
}

/// The memory of this process that is in use, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the figures of this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.expect("a number of kibibytes") << 10
}

#[test]
fn a_forgotten_snapshot_shows_in_the_figures() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("catalog.shelf");
    let catalog = Catalog::create(&path).expect("a catalog");
    let acme = session(&catalog, "acme");
    let family = family(&acme);
    let figures_now = || catalog.stats().expect("figures").backend;
    assert_eq!(figures_now().open_snapshots, 0);
    assert_eq!(figures_now().oldest_snapshot, None);

    let overwrite = || {
        let ids = acme
            .create_all((0..300).map(|n| new_set(family.asset, &format!("set {n}"))))
            .expect("sets");
        let doomed = ids.into_iter().map(|id| (id, Expectation::Any));
        acme.delete_all(doomed).expect("a deletion");
    };
    (0..3).for_each(|_| overwrite());
    let before = figures_now().size_bytes.expect("a size");
    (0..3).for_each(|_| overwrite());
    assert!(
        figures_now().size_bytes <= Some(before),
        "without a reader it stays"
    );

    let forgotten = catalog.snapshot().expect("a snapshot");
    let younger = catalog.snapshot().expect("a snapshot");
    let seen = figures_now();
    assert_eq!(seen.open_snapshots, 2);
    let age = seen.oldest_snapshot.expect("an age");
    (0..12).for_each(|_| overwrite());
    drop(younger);
    let later = figures_now();
    assert_eq!(later.open_snapshots, 1);
    assert!(later.oldest_snapshot > Some(age), "its age goes on");
    assert!(
        later.size_bytes > Some(before),
        "it keeps space from being used again"
    );
    let busy = catalog.compact().expect_err("a snapshot is held");
    assert_eq!(busy.kind(), shelfmark::ErrorKind::Busy);
    let held = forgotten.tenant("acme").expect("a tenant");
    assert_eq!(held.count::<DataStore>(AllStores).expect("a count"), 1);

    drop((held, forgotten));
    assert_eq!(figures_now().open_snapshots, 0);
    assert_eq!(figures_now().oldest_snapshot, None);
    catalog.compact().expect("a smaller file");
    assert!(
        figures_now().size_bytes <= Some(before),
        "what it kept is given back"
    );
    figures(
        "a forgotten snapshot",
        &format!(
            "{} KiB before, {} KiB with it, {} KiB compacted after it",
            before >> 10,
            later.size_bytes.unwrap_or(0) >> 10,
            figures_now().size_bytes.unwrap_or(0) >> 10
        ),
    );
}
