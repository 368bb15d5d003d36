//! Nothing is shown that a crash could take back.

use std::sync::Mutex;

use super::*;
use shelfmark::backend::{
    BackendStats, CommitOptions, Direction, Health, KeyRange, Limits, Maintenance, MaintenanceReport,
    Snapshot, WriteBatch,
};
use shelfmark::{Durability, Result};
use shelfmark_testkit::{Fault, FaultyBackend};

use crate::opening::{Writer, acknowledge};
use crate::support::child_path;

/// Beds whose backend defers commits.
fn deferring() -> impl Iterator<Item = Bed> {
    Bed::all()
        .into_iter()
        .filter(|bed| bed.backend.limits().deferred_durability)
}

#[test]
fn deferred_changes_show_when_they_are_durable() {
    let _watchdog = Watchdog::new("a sync that does not wake");
    for bed in deferring() {
        let catalog = catalog_on(&bed.backend);
        let durable = session(&catalog, "acme");
        let deferred = durable.clone().with_durability(Durability::Deferred);
        let other = session(&catalog, "other");
        let shown = || follow(&durable, None, 3).0.len();

        deferred.create(new_store("one")).unwrap();
        deferred.create(new_store("two")).unwrap();
        assert_eq!(shown(), 0, "{}", bed.name);
        let start = durable.newest_change().unwrap();
        assert!(durable.watch(start, 10, Duration::ZERO).unwrap().items.is_empty());
        // What changes nothing writes nothing, so it need not make anything durable.
        durable.create_all(Vec::<NewDataStore>::new()).unwrap();
        assert_eq!(shown(), 0, "{}", bed.name);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| durable.watch(start, 10, Duration::MAX));
            std::thread::sleep(Duration::from_millis(2));
            catalog.sync().unwrap();
            assert_eq!(watcher.join().expect("a watcher").unwrap().items.len(), 2);
        });
        assert_eq!(shown(), 2);

        // A durable commit takes along what was deferred before it, whosever it was.
        deferred.create(new_store("three")).unwrap();
        assert_eq!(shown(), 2);
        assert_eq!(durable.newest_change().unwrap(), follow(&durable, None, 1).1);
        other.create(new_store("theirs")).unwrap();
        assert_eq!(shown(), 3, "{}", bed.name);
        deferred.create(new_store("four")).unwrap();
        durable.create(new_store("five")).unwrap();
        assert_eq!(shown(), 5);
        deferred.create(new_store("six")).unwrap();
        catalog.reopen().unwrap();
        assert_eq!(
            follow(&durable, None, 1).0.len(),
            replay::held(&durable).unwrap().len()
        );
    }
}

#[test]
fn a_commit_that_fails_shows_nothing_of_what_is_deferred() {
    let faulty = FaultyBackend::new(Arc::new(MemoryBackend::new()));
    let faults = faulty.faults();
    let catalog = catalog_on(&(Arc::new(faulty) as Arc<dyn Backend>));
    let durable = session(&catalog, "acme");
    let deferred = durable.clone().with_durability(Durability::Deferred);
    let shown = || follow(&durable, None, 3).0.len();
    durable.create(new_store("one")).unwrap();
    faults.arm(Fault::before_commit(ErrorKind::Io));
    deferred.create(new_store("failed")).unwrap_err();
    assert_eq!(shown(), 1);
    deferred.create(new_store("two")).unwrap();
    for fault in [Fault::before_commit(ErrorKind::Io), Fault::after_commit()] {
        faults.arm(fault);
        durable.create(new_store("failed")).unwrap_err();
        assert_eq!(shown(), 1);
    }
    faults.arm(Fault::sync(ErrorKind::Io));
    catalog.sync().unwrap_err();
    assert_eq!(shown(), 1);
    catalog.sync().unwrap();
    // The one in doubt had happened.
    assert_eq!(shown(), 3);
}

/// Remembers which state would be there after a crash, and goes back to it when it is reopened.
struct Crashable {
    inner: MemoryBackend,
    /// Held over each commit with what it makes durable.
    durable: Mutex<Box<dyn Snapshot>>,
    /// Whether a durable commit that is through gives the next one time to overtake its caller.
    lingers: AtomicBool,
    lingering: AtomicBool,
    /// What happens just before, and just after, the next snapshot is taken.
    before_snapshot: Mutex<Option<Meanwhile>>,
    after_snapshot: Mutex<Option<Meanwhile>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

fn happen(meanwhile: &Mutex<Option<Meanwhile>>) {
    let meanwhile = meanwhile.lock().expect("nobody panics").take();
    if let Some(meanwhile) = meanwhile {
        meanwhile();
    }
}

impl Crashable {
    fn new() -> Self {
        let inner = MemoryBackend::new();
        let durable = Mutex::new(inner.snapshot().expect("a snapshot"));
        Self {
            inner,
            durable,
            lingers: AtomicBool::new(false),
            lingering: AtomicBool::new(false),
            before_snapshot: Mutex::default(),
            after_snapshot: Mutex::default(),
        }
    }

    /// How many changes of a tenant a crash would leave, once the commit under way is through.
    fn durable_changes(&self, tenant: u32) -> u64 {
        let mut changes = 0;
        self.durable
            .lock()
            .expect("nobody panics")
            .scan(
                Keyspace::Change,
                &KeyRange::prefix(&tenant.to_be_bytes()),
                Direction::Forward,
                &mut |_, _| {
                    changes += 1;
                    std::ops::ControlFlow::Continue(())
                },
            )
            .expect("a walk");
        changes
    }
}

impl Backend for Crashable {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        happen(&self.before_snapshot);
        let snapshot = self.inner.snapshot()?;
        happen(&self.after_snapshot);
        Ok(snapshot)
    }

    fn commit(
        &self,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()> {
        let mut durable = self.durable.lock().expect("nobody panics");
        let mut written = false;
        self.inner.commit(options, &mut |view| {
            let batch = plan(view)?;
            written = !batch.is_empty();
            Ok(batch)
        })?;
        if written && options.durability == Durability::Immediate {
            *durable = self.inner.snapshot()?;
            drop(durable);
            if self.lingers.load(Ordering::Acquire) {
                let commits = self.inner.stats()?.commits;
                self.lingering.store(true, Ordering::Release);
                for _ in 0..100 {
                    if self.inner.stats()?.commits > commits {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        *self.durable.lock().expect("nobody panics") = self.inner.snapshot()?;
        Ok(())
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn reopen(&self) -> Result<()> {
        let durable = self.durable.lock().expect("nobody panics");
        self.inner.commit(CommitOptions::default(), &mut |_| {
            let mut batch = WriteBatch::new();
            for &space in Keyspace::ALL {
                batch.delete_range(space, KeyRange::all());
                durable.scan(space, &KeyRange::all(), Direction::Forward, &mut |key, value| {
                    batch.put(space, key, value);
                    std::ops::ControlFlow::Continue(())
                })?;
            }
            Ok(batch)
        })
    }

    fn stats(&self) -> Result<BackendStats> {
        self.inner.stats()
    }

    fn maintain(&self, what: Maintenance) -> Result<MaintenanceReport> {
        self.inner.maintain(what)
    }
}

#[test]
fn a_deferred_commit_that_overtakes_a_durable_one_is_not_taken_for_durable() {
    let _watchdog = Watchdog::new("a commit that lingers");
    let crashable = Arc::new(Crashable::new());
    let catalog = catalog_on(&(crashable.clone() as Arc<dyn Backend>));
    let durable = session(&catalog, "acme");
    durable.create(new_store("first")).unwrap();
    crashable.lingers.store(true, Ordering::Release);
    std::thread::scope(|scope| {
        let (durable, crashable) = (&durable, &crashable);
        scope.spawn(|| {
            durable
                .transact(|tx| tx.create(new_store("durable")))
                .expect("a store")
        });
        while !crashable.lingering.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let deferred = durable.clone().with_durability(Durability::Deferred);
        scope.spawn(move || deferred.create(new_store("deferred")).expect("a store"));
    });
    assert_eq!(crashable.durable_changes(1), 2);
    assert_eq!(follow(&durable, None, 10).0.len(), 2);
    catalog.sync().unwrap();
    assert_eq!(follow(&durable, None, 10).0.len(), 3);
}

#[test]
fn what_happens_around_the_snapshot_of_a_reader_shows_it_nothing_too_early() {
    let crashable = Arc::new(Crashable::new());
    let catalog = catalog_on(&(crashable.clone() as Arc<dyn Backend>));
    let durable = session(&catalog, "acme");
    durable.create(new_store("first")).unwrap();
    let deferred = durable.clone().with_durability(Durability::Deferred);
    // A deferred commit that the snapshot has already.
    *crashable.before_snapshot.lock().unwrap() = Some(Box::new(move || {
        deferred.create(new_store("deferred")).expect("a store");
    }));
    assert_eq!(follow(&durable, None, 10).0.len(), 1);
    // A loss of what the snapshot still has.
    let reopened = catalog.clone();
    *crashable.after_snapshot.lock().unwrap() = Some(Box::new(move || {
        reopened.reopen().expect("a reopening");
    }));
    assert_eq!(follow(&durable, None, 10).0.len(), 1);
    assert_eq!(replay::held(&durable).unwrap().len(), 1, "nothing was lost");
    // A sync behind it: by then all of it is durable.
    let deferred = durable.clone().with_durability(Durability::Deferred);
    deferred.create(new_store("deferred")).unwrap();
    *crashable.after_snapshot.lock().unwrap() = Some(Box::new(move || catalog.sync().expect("a sync")));
    assert_eq!(follow(&durable, None, 10).0.len(), 2);
    assert_eq!(crashable.durable_changes(1), 2);
}

#[test]
fn no_race_shows_what_is_not_durable() {
    for seed in 0..4 {
        let crashable = Arc::new(Crashable::new());
        let catalog = catalog_on(&(crashable.clone() as Arc<dyn Backend>));
        let tenants = ["one", "two"];
        for tenant in tenants {
            session(&catalog, tenant).create(new_store("first")).unwrap();
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let catalog = &catalog;
                    scope.spawn(move || {
                        let mut random = Random::new(seed * 10 + writer);
                        for n in 0..150 {
                            let durability = match random.below(4) {
                                0 => Durability::Immediate,
                                _ => Durability::Deferred,
                            };
                            let session = session(catalog, tenants[random.below(2) as usize])
                                .with_durability(durability);
                            session.create(new_store(&n.to_string())).expect("a store");
                            match random.below(30) {
                                0..3 => catalog.sync().expect("a sync"),
                                3 => catalog.reopen().expect("a reopening"),
                                _ => {}
                            }
                        }
                    })
                })
                .collect();
            let readers: Vec<_> = tenants
                .into_iter()
                .zip(1..)
                .map(|(tenant, number)| {
                    let (catalog, crashable, done) = (&catalog, &crashable, &done);
                    scope.spawn(move || {
                        let session = session(catalog, tenant);
                        while !done.load(Ordering::Acquire) {
                            let shown = session.changes(None, usize::MAX).expect("a page").items.len();
                            let durable = crashable.durable_changes(number);
                            assert!(
                                shown as u64 <= durable,
                                "seed {seed}: {shown} shown where {durable} are durable"
                            );
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.join().expect("a writer");
            }
            done.store(true, Ordering::Release);
            for reader in readers {
                reader.join().expect("a reader");
            }
        });
        catalog.sync().unwrap();
        for tenant in tenants {
            let session = session(&catalog, tenant);
            assert_eq!(replay::replay(&session).unwrap(), replay::held(&session).unwrap());
        }
    }
}

#[test]
fn a_kill_takes_back_nothing_that_was_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.shelf");
    drop(options().create(&path).unwrap());
    let mut lost = 0;
    for seed in 0..8 {
        let mut random = Random::new(seed);
        let mut writer = Writer::start("feed::durable::child_defers", &path);
        let mut last = writer.acknowledged().expect("an acknowledgement");
        for _ in 0..random.below(10) {
            last = writer.acknowledged().expect("an acknowledgement");
        }
        std::thread::sleep(Duration::from_micros(random.below(3_000)));
        last = writer.kill().pop().unwrap_or(last);
        // What a reader in the child had been shown, and how many had been committed by then.
        let words: Vec<&str> = last.split(' ').collect();
        let [position, store, shown, committed] = words[..] else {
            panic!("{last}");
        };
        let position: Position = position.parse().unwrap();
        let shown: usize = shown.parse().unwrap();
        let catalog = Catalog::open(&path).unwrap();
        let session = session(&catalog, "acme");
        let (changes, end) = follow(&session, None, 100);
        let there = changes.get(shown - 1).expect("what was shown");
        assert_eq!(there.position, position, "seed {seed}");
        assert_eq!(there.id.uuid().to_string(), store, "seed {seed}");
        follow(&session, Some(position), 100);
        let committed: usize = committed.parse().unwrap();
        lost += usize::from(changes.len() < committed);
        assert_eq!(end, session.newest_change().unwrap());
        assert_eq!(replay::replay(&session).unwrap(), replay::held(&session).unwrap());
        assert_clean(&catalog, &format!("seed {seed}"));
    }
    assert!(lost > 0, "no kill lost anything that was not durable");
}

/// Commits that are deferred, a few at a time, with a sync now and then; tells what its own reader is shown.
#[test]
fn child_defers() {
    let Some(path) = child_path() else { return };
    let catalog = Catalog::open(path).unwrap();
    let session = session(&catalog, "acme").with_durability(Durability::Deferred);
    for n in 0_u64.. {
        for m in 0..5 {
            session.create(new_store(&format!("{n} {m}"))).unwrap();
        }
        if n.is_multiple_of(3) {
            catalog.sync().unwrap();
        }
        let (changes, position) = follow(&session, None, 1_000);
        let committed = replay::held(&session).unwrap().len();
        if let Some(last) = changes.last() {
            acknowledge(&format!(
                "{position} {} {} {committed}",
                last.id.uuid(),
                changes.len()
            ));
        }
    }
}
