//! The log beside the file: what a crash leaves of the two is what was acknowledged.

use super::damage::{ENTRIES, SPACE, fill, flip, key, numbers, rows};
use super::*;

/// A file and its log, which lose power together.
#[derive(Clone, Default)]
struct Pair {
    file: Flaky,
    log: Flaky,
}

impl Pair {
    fn open_with(&self, options: RedbOptions) -> Result<RedbBackend> {
        let (file, log): (Arc<dyn ByteStorage>, Arc<dyn ByteStorage>) =
            (Arc::new(self.file.clone()), Arc::new(self.log.clone()));
        if self.file.is_empty().unwrap() {
            return RedbBackend::create_on(file, Some(log), options, |_| Ok(()));
        }
        RedbBackend::open_on(file, Some(log), options)
    }

    fn open(&self) -> RedbBackend {
        self.open_with(options()).unwrap()
    }

    fn after_power_loss(&self) -> Self {
        Self {
            file: self.file.after_power_loss(),
            log: self.log.after_power_loss(),
        }
    }

    /// The kind of the error that opening gives.
    fn refusal(&self) -> ErrorKind {
        self.open_with(options()).map(|_| ()).unwrap_err().kind()
    }
}

fn numbered(backend: &RedbBackend, numbers: std::ops::Range<u32>) {
    for number in numbers {
        put(backend, &number.to_be_bytes(), &[7; 100]).unwrap();
    }
}

fn count(backend: &RedbBackend) -> usize {
    all(&*backend.snapshot().unwrap(), Keyspace::Set, Direction::Forward).len()
}

fn bytes(storage: &Flaky) -> MutexGuard<'_, Vec<u8>> {
    storage.0.bytes.lock().unwrap()
}

#[test]
fn what_is_logged_survives_without_the_file() {
    let pair = Pair::default();
    let backend = pair.open();
    numbered(&backend, 0..3);
    numbered(&backend, 3..40);
    let discarding = RedbOptions {
        discard_log: true,
        ..options()
    };
    let without = pair.after_power_loss();
    bytes(&without.log).clear();
    let without = without.open_with(discarding).unwrap();
    assert_eq!(count(&without), 2, "the others are in the log alone");
    let left = pair.after_power_loss();
    assert_eq!(count(&left.open()), 40);
    // Opening took over what was in the log.
    assert!(bytes(&left.log).is_empty());
    assert_eq!(count(&left.file.backend()), 40);
}

#[test]
fn a_closed_file_is_whole_alone_and_a_log_beside_it_stale() {
    let pair = Pair::default();
    let backend = pair.open();
    numbered(&backend, 0..9);
    let stale = bytes(&pair.log).clone();
    assert!(!stale.is_empty());
    drop(backend);
    assert!(bytes(&pair.log).is_empty());
    assert_eq!(count(&pair.file.after_power_loss().backend()), 9);
    *bytes(&pair.log) = stale;
    put(&pair.open(), b"\0\0\0\0", b"changed").unwrap();
    assert_eq!(get_now(&pair.open(), b"\0\0\0\0"), Some(b"changed".to_vec()));
}

#[test]
fn a_log_that_begins_anew_loses_nothing() {
    let pair = Pair::default();
    let backend = pair.open();
    for number in 0..500_u32 {
        put(&backend, &number.to_be_bytes(), &vec![number as u8; 60_000]).unwrap();
        if number % 80 == 7 {
            let left = pair.after_power_loss().open();
            assert_eq!(count(&left), number as usize + 1);
            assert_eq!(get_now(&left, &number.to_be_bytes()).unwrap()[0], number as u8);
        }
    }
    let len = bytes(&pair.log).len();
    assert!((8 << 20..=16 << 20).contains(&len), "{len}");
}

#[test]
fn a_durable_commit_takes_deferred_ones_with_it() {
    let pair = Pair::default();
    let backend = pair.open();
    numbered(&backend, 0..4);
    commit_as(&backend, Durability::Deferred, |batch| {
        batch.put(Keyspace::Set, b"deferred", Vec::new());
    })
    .unwrap();
    assert_eq!(get_now(&pair.after_power_loss().open(), b"deferred"), None);
    numbered(&backend, 4..5);
    numbered(&backend, 5..6);
    let left = pair.after_power_loss().open();
    assert_eq!(get_now(&left, b"deferred"), Some(Vec::new()));
    assert_eq!(count(&left), 7);
}

#[test]
fn a_missing_log_is_noticed_and_can_be_given_up() {
    let pair = Pair::default();
    let backend = pair.open();
    numbered(&backend, 0..5);
    let left = pair.after_power_loss();
    bytes(&left.log).clear();
    assert_eq!(left.refusal(), ErrorKind::Corrupt);
    let file = bytes(&left.file).clone();
    let without = RedbBackend::open_on(Arc::new(Flaky::default()), None, options());
    assert_eq!(without.map(|_| ()).unwrap_err().kind(), ErrorKind::FileMissing);
    assert_eq!(bytes(&left.file).len(), file.len());
    let discarding = RedbOptions {
        discard_log: true,
        ..options()
    };
    assert_eq!(
        count(&left.open_with(discarding).unwrap()),
        2,
        "as of the last durable commit"
    );
    assert_eq!(count(&left.open()), 2);
}

/// Its header is durable before the file says that it has a log, and it never becomes shorter.
#[test]
fn a_log_that_is_not_the_files_own_is_refused_and_left() {
    let pair = Pair::default();
    let backend = pair.open();
    numbered(&backend, 0..30);
    let other = Pair::default();
    let of_other = other.open();
    numbered(&of_other, 0..30);
    let sound = bytes(&pair.log.after_power_loss()).clone();
    let zeroed = |range: std::ops::Range<usize>| {
        let mut log = sound.clone();
        log[range].fill(0);
        log
    };
    for (what, log) in [
        ("of another file", bytes(&other.log.after_power_loss()).clone()),
        ("cut behind its header", sound[..512].to_vec()),
        ("cut between records", sound[..512 * 20].to_vec()),
        ("zeros", zeroed(0..sound.len())),
        ("without its header", zeroed(0..512)),
        ("of another version", {
            let mut log = sound.clone();
            log[14] ^= 3;
            log
        }),
        ("somebody's text", b"a diary".to_vec()),
    ] {
        let left = pair.after_power_loss();
        bytes(&left.log).clone_from(&log);
        assert_eq!(left.refusal(), ErrorKind::Corrupt, "{what}");
        assert!(*bytes(&left.log) == log, "{what}: it is gone");
        bytes(&left.log).clone_from(&sound);
        assert_eq!(count(&left.open()), 30, "{what}: its own log afterwards");
    }
}

#[test]
fn an_older_file_does_not_take_a_newer_log() {
    let pair = Pair::default();
    let backend = pair.open();
    numbered(&backend, 0..5);
    let older = pair.file.after_power_loss();
    // A commit over the limit of a record: file and log begin anew.
    put(&backend, b"large", &vec![1; 5 << 20]).unwrap();
    numbered(&backend, 5..9);
    let left = pair.after_power_loss();
    assert_eq!(count(&left.open()), 10);
    let mixed = Pair {
        file: older,
        log: pair.log.after_power_loss(),
    };
    assert_eq!(mixed.refusal(), ErrorKind::Corrupt);
}

#[test]
fn a_torn_record_ends_the_log_and_damage_before_another_is_damage() {
    let pair = Pair::default();
    let backend = pair.open();
    numbered(&backend, 0..10);
    let left = pair.after_power_loss();
    // The first two commits went to the file; each record takes one sector, behind the header.
    for sector in 0..8 {
        let torn = left.after_power_loss();
        bytes(&torn.log)[(1 + sector) * 512 + 60] ^= 1;
        if sector == 7 {
            assert_eq!(count(&torn.open()), 9);
        } else {
            assert_eq!(torn.refusal(), ErrorKind::Corrupt, "sector {sector}");
        }
    }
}

#[test]
fn a_log_that_cannot_be_begun_is_done_without() {
    let pair = Pair::default();
    let backend = pair.open();
    pair.log.fail_write(1, io::ErrorKind::StorageFull);
    numbered(&backend, 0..10);
    assert_eq!(backend.health(), Health::Healthy);
    assert_eq!(count(&pair.file.after_power_loss().backend()), 10);
    drop(backend);
    pair.log.mend();
    let backend = pair.open();
    numbered(&backend, 10..20);
    assert_eq!(count(&pair.after_power_loss().open()), 20);
}

#[test]
fn a_log_that_cannot_grow_is_given_up() {
    let pair = Pair::default();
    let backend = pair.open();
    numbered(&backend, 0..4);
    for number in 4..9_u32 {
        put(&backend, &number.to_be_bytes(), &[3; 10_000]).unwrap();
    }
    pair.log.fail_write(1, io::ErrorKind::StorageFull);
    put(&backend, &9_u32.to_be_bytes(), &[3; 20_000]).unwrap();
    numbered(&backend, 10..15);
    assert_eq!(backend.health(), Health::Healthy);
    assert_eq!(count(&pair.file.after_power_loss().backend()), 15);
    assert_eq!(count(&pair.after_power_loss().open()), 15);
}

#[test]
fn a_record_that_cannot_be_written_latches_and_leaves_the_commit_in_doubt() {
    for (nth, durable) in [(1, false), (2, true)] {
        let pair = Pair::default();
        let backend = pair.open();
        numbered(&backend, 0..5);
        pair.log.fail_write(nth, io::ErrorKind::Other);
        let error = put(&backend, b"doubt", b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}");
        assert_eq!(get_now(&backend, b"doubt"), None);
        assert_eq!(
            put(&backend, b"after", b"x").unwrap_err().kind(),
            ErrorKind::Unavailable
        );
        pair.log.mend();
        backend.reopen().unwrap();
        // Written whole, it was only not synced.
        assert_eq!(get_now(&backend, b"doubt").is_some(), durable, "call {nth}");
        put(&backend, b"after", b"x").unwrap();
        assert_eq!(count(&pair.after_power_loss().open()), 6 + usize::from(durable));
    }
}

#[test]
fn a_panic_of_the_logs_storage_latches_and_leaves_the_commit_in_doubt() {
    let pair = Pair::default();
    let backend = pair.open();
    numbered(&backend, 0..5);
    pair.log.0.panic_on_syncs.store(true, Ordering::SeqCst);
    let error = put(&backend, b"doubt", b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}");
    assert!(matches!(backend.health(), Health::Latched { .. }));
    assert_eq!(get_now(&backend, b"doubt"), None);
    pair.log.mend();
    backend.reopen().unwrap();
    put(&backend, b"after", b"x").unwrap();
    let there = usize::from(get_now(&backend, b"doubt").is_some());
    assert_eq!(count(&pair.after_power_loss().open()), 6 + there);
}

#[test]
fn every_setting_recovers_a_log_but_a_reader_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let backend = RedbBackend::create(&path("one"), options(), |_| Ok(())).unwrap();
    numbered(&backend, 0..20);
    assert!(path("one-log").exists());
    let copy = |name: &str| {
        std::fs::copy(path("one"), path(name)).unwrap();
        std::fs::copy(path("one-log"), path(&format!("{name}-log"))).unwrap();
    };
    let shared = RedbOptions {
        concurrency: Concurrency::MultiWriter,
        ..options()
    };
    let without = RedbOptions {
        commit_log: false,
        ..options()
    };
    for (name, options) in [("two", shared), ("three", without)] {
        copy(name);
        let error = RedbBackend::open(&path(name), read_only_options())
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NeedsRepair);
        let opened = RedbBackend::open(&path(name), options).unwrap();
        assert_eq!(count(&opened), 20);
        numbered(&opened, 20..30);
        assert!(!path(&format!("{name}-log")).exists());
    }
    drop(backend);
    assert!(!path("one-log").exists());
    assert_eq!(
        count(&RedbBackend::open(&path("one"), read_only_options()).unwrap()),
        20
    );
}

#[test]
fn a_counter_that_is_written_itself_is_the_same_after_recovery() {
    let pair = Pair::default();
    let backend = pair.open();
    let key = crate::keyspace::keys::counter(Keyspace::Set, b"p");
    let counted = |backend: &RedbBackend| {
        let mut found = None;
        let snapshot = backend.snapshot().unwrap();
        snapshot
            .get(Keyspace::Counter, &key, &mut |value| found = Some(value.to_vec()))
            .unwrap();
        found
    };
    let count = |delta: i64| {
        commit_as(&backend, Durability::Immediate, |batch| {
            batch.count(Keyspace::Set, b"p", delta);
        })
        .unwrap();
    };
    count(12);
    count(1);
    for (delta, mended) in [(-4, 6), (-5, 9)] {
        count(delta);
        // As a repair does.
        commit_as(&backend, Durability::Immediate, |batch| {
            batch.delete(Keyspace::Counter, key.clone());
            batch.count(Keyspace::Set, b"p", mended);
        })
        .unwrap();
        assert_eq!(counted(&pair.after_power_loss().open()), counted(&backend));
    }
}

#[test]
fn giving_up_a_log_does_not_give_up_a_sound_one() {
    let discarding = RedbOptions {
        discard_log: true,
        ..options()
    };
    let pair = Pair::default();
    let backend = pair.open_with(discarding).unwrap();
    numbered(&backend, 0..20);
    assert_eq!(count(&pair.after_power_loss().open_with(discarding).unwrap()), 20);
    // What is before the damage is kept.
    let left = pair.after_power_loss();
    bytes(&left.log)[(1 + 9) * 512 + 60] ^= 1;
    assert_eq!(left.refusal(), ErrorKind::Corrupt);
    assert_eq!(count(&left.open_with(discarding).unwrap()), 11);
    // A write to the file fails, and it is opened again.
    pair.file.fail_write(1, io::ErrorKind::StorageFull);
    put(&backend, b"large", &vec![1; 5 << 20]).unwrap_err();
    pair.file.mend();
    backend.reopen().unwrap();
    assert!(count(&backend) >= 20);
}

#[test]
fn what_is_no_log_and_a_log_in_use_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one");
    let log = directory.path().join("one-log");
    let filled = |path: &Path| {
        let backend = RedbBackend::create(path, options(), |_| Ok(())).unwrap();
        numbered(&backend, 0..10);
        backend
    };
    std::fs::write(&log, "a diary of someone else's").unwrap();
    let backend = filled(&path);
    assert_eq!(std::fs::read(&log).unwrap(), b"a diary of someone else's");
    drop(backend);
    assert!(log.exists());
    std::fs::remove_file(&log).unwrap();
    std::fs::remove_file(&path).unwrap();

    let first = filled(&path);
    // Its file is moved away, and another takes its place.
    std::fs::rename(&path, directory.path().join("two")).unwrap();
    let second = filled(&path);
    let held = std::fs::read(&log).unwrap();
    drop(second);
    assert_eq!(std::fs::read(&log).unwrap(), held, "the log of another");
    drop(first);
    assert!(!log.exists());
}

#[cfg(unix)]
#[test]
fn a_log_goes_by_the_files_own_name_and_mode() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    drop(RedbBackend::create(&path("one"), options(), |_| Ok(())).unwrap());
    std::fs::set_permissions(path("one"), std::fs::Permissions::from_mode(0o600)).unwrap();
    symlink(path("one"), path("current")).unwrap();
    let backend = RedbBackend::open(&path("current"), options()).unwrap();
    numbered(&backend, 0..10);
    assert!(!path("current-log").exists());
    let mode = std::fs::metadata(path("one-log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn of_two_who_recover_one_applies_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let backend = RedbBackend::create(&path("one"), options(), |_| Ok(())).unwrap();
    numbered(&backend, 0..10);
    commit_as(&backend, Durability::Immediate, |batch| {
        batch.count(Keyspace::Set, b"p", 5);
    })
    .unwrap();
    std::fs::copy(path("one"), path("two")).unwrap();
    std::fs::copy(path("one-log"), path("two-log")).unwrap();
    let shared = RedbOptions {
        concurrency: Concurrency::MultiWriter,
        ..options()
    };
    let opened: Vec<RedbBackend> = std::thread::scope(|scope| {
        let open = || RedbBackend::open(&path("two"), shared).unwrap();
        let others = [scope.spawn(open), scope.spawn(open), scope.spawn(open)];
        others.into_iter().map(|other| other.join().unwrap()).collect()
    });
    for backend in &opened {
        let snapshot = backend.snapshot().unwrap();
        assert_eq!(snapshot.count(Keyspace::Set, &[b"p"]).unwrap(), 5);
    }
}

/// A file that does not open cannot be repaired.
#[test]
fn a_log_is_applied_around_what_is_damaged() {
    let pair = Pair::default();
    let backend = pair.open();
    fill(&backend, 0..ENTRIES);
    let is_gone = |number: u32| matches!(number % 100, 50..70) || (200..310).contains(&number);
    let value = |number: u32| match number % 7 {
        0 => Some(vec![7]),
        _ => (!is_gone(number)).then(Vec::new),
    };
    let change = |batch: &mut WriteBatch| {
        batch.put(Keyspace::Set, b"logged", b"");
        batch.delete_range(SPACE, KeyRange::new(key(200), Some(key(310))));
        for number in (50..ENTRIES).step_by(100) {
            batch.delete_range(SPACE, KeyRange::new(key(number), Some(key(number + 20))));
        }
        for number in (0..ENTRIES).step_by(7) {
            batch.put(SPACE, key(number), [7]);
        }
        for prefix in [b"p", b"q"] {
            batch.count(Keyspace::Set, prefix, 1);
        }
    };
    let count_of =
        |backend: &RedbBackend, prefix: &[u8]| backend.snapshot().unwrap().count(Keyspace::Set, &[prefix]);
    // The first begins the log, the second is in it alone.
    commit_as(&backend, Durability::Immediate, |batch| {
        batch.count(Keyspace::Set, b"p", 1);
    })
    .unwrap();
    commit_as(&backend, Durability::Immediate, change).unwrap();
    let crashed = pair.after_power_loss();
    let blocks = numbers(&rows(&crashed.file, SPACE, |_| {}));
    let mut unread = 0;
    for (damaged, lost) in blocks.iter().enumerate() {
        let left = crashed.after_power_loss();
        rows(&left.file, SPACE, |rows| flip(&mut rows[damaged].1));
        rows(&left.file, Keyspace::Counter, |rows| flip(&mut rows[0].1));
        let backend = left.open();
        assert_eq!(get_now(&backend, b"logged"), Some(Vec::new()));
        assert_eq!(count_of(&backend, b"p").unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(count_of(&backend, b"q").unwrap(), 1);
        let snapshot = backend.snapshot().unwrap();
        for number in 0..ENTRIES {
            let mut found = None;
            match snapshot.get(SPACE, &key(number), &mut |value| found = Some(value.to_vec())) {
                Ok(_) => assert_eq!(found, value(number), "{number}"),
                Err(error) => {
                    // The place of a block that has gone is its predecessor's.
                    let is_lost = lost.contains(&number) || is_gone(number);
                    assert!(is_lost && error.kind() == ErrorKind::Corrupt, "{number}: {error}");
                    unread += 1;
                }
            }
        }
        assert_eq!(backend.health(), Health::Healthy);
    }
    assert!(unread > ENTRIES / 2, "{unread}");
}
