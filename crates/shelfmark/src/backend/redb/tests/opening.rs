use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use ::redb::TableDefinition;

use super::*;
use crate::Catalog;
use crate::backend::redb::snapshot::tables::definition;
use crate::envelope;
use crate::format::FORMAT;
use crate::keyspace::keys;

const CHILD_PATH: &str = "SHELFMARK_TEST_CHILD_PATH";

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("catalog")
    }

    fn files(&self) -> usize {
        fs::read_dir(self.0.path()).unwrap().count()
    }

    /// A catalog with one row, closed.
    fn with_catalog() -> Self {
        let dir = Self::new();
        drop(dir.create());
        dir
    }

    fn create(&self) -> RedbBackend {
        RedbBackend::create(&self.path(), options(), |backend| put(backend, b"k", b"v")).unwrap()
    }
}

fn open_error(path: &Path, options: RedbOptions) -> Error {
    let error = RedbBackend::open(path, options).err().expect("the file opened");
    assert!(error.to_string().contains(": "), "no advice in: {error}");
    error
}

fn open_kind(path: &Path) -> ErrorKind {
    let kind = open_error(path, options()).kind();
    assert_eq!(
        open_error(path, read_only_options()).kind(),
        kind,
        "writable and read-only differ"
    );
    kind
}

#[test]
fn a_created_file_opens_again_and_stands_alone() {
    let dir = Dir::new();
    let backend = dir.create();
    assert_eq!(dir.files(), 1);
    put(&backend, b"l", b"w").unwrap();
    backend.reopen().unwrap();
    drop(backend);
    let backend = RedbBackend::open(&dir.path(), options()).unwrap();
    assert_eq!(get_now(&backend, b"k"), Some(b"v".to_vec()));
    assert_eq!(get_now(&backend, b"l"), Some(b"w".to_vec()));
}

#[test]
fn creating_replaces_nothing_and_leaves_nothing_behind() {
    let dir = Dir::new();
    fs::write(dir.path(), "mine").unwrap();
    let error = RedbBackend::create(&dir.path(), options(), |_| Ok(()))
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::FileExists);
    fs::remove_file(dir.path()).unwrap();

    let fails = |_: &RedbBackend| Err(Error::new(ErrorKind::TooLarge, "no"));
    let error = RedbBackend::create(&dir.path(), options(), fails).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let panics =
        catch_unwind(|| RedbBackend::create(&dir.path(), options(), |_| panic!("in the middle")).map(drop));
    assert!(panics.is_err());
    assert_eq!(dir.files(), 0);

    // Another process is first, while this one still fills its file.
    let error = RedbBackend::create(&dir.path(), options(), |_| {
        fs::write(dir.path(), "theirs").unwrap();
        Ok(())
    });
    assert_eq!(error.err().unwrap().kind(), ErrorKind::FileExists);
    assert_eq!(fs::read(dir.path()).unwrap(), b"theirs");
    assert_eq!(dir.files(), 1);

    let lost = dir.0.path().join("no/such/catalog");
    let error = RedbBackend::create(&lost, options(), |_| Ok(())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::FileMissing);
}

#[test]
fn what_is_missing_or_no_catalog_is_told_apart() {
    let dir = Dir::new();
    assert_eq!(open_kind(&dir.path()), ErrorKind::FileMissing);
    assert_eq!(open_kind(&dir.path().join("deeper")), ErrorKind::FileMissing);
    assert_eq!(open_kind(dir.0.path()), ErrorKind::NotACatalog);
    // Opening a pipe would wait for somebody to write to it.
    let pipe = dir.0.path().join("pipe");
    if Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .is_ok_and(|status| status.success())
    {
        assert_eq!(open_kind(&pipe), ErrorKind::NotACatalog);
    }
    for contents in ["", "x", "redb", &"not a catalog, but long. ".repeat(400)] {
        fs::write(dir.path(), contents).unwrap();
        assert_eq!(open_kind(&dir.path()), ErrorKind::NotACatalog, "{contents:.20}");
        assert_eq!(
            fs::read(dir.path()).unwrap(),
            contents.as_bytes(),
            "the file was changed"
        );
    }
    assert_eq!(
        open_kind(&dir.path().join("below a file")),
        ErrorKind::FileMissing
    );
}

#[test]
fn tables_of_another_program_are_no_catalog() {
    let dir = Dir::new();
    let database = ::redb::Database::create(dir.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(::redb::TableDefinition::<u64, &str>::new("meta"))
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(open_kind(&dir.path()), ErrorKind::NotACatalog);

    // Without any of our tables it opens, and reads as empty.
    let other = Dir::new();
    drop(::redb::Database::create(other.path()).unwrap());
    let backend = RedbBackend::open(&other.path(), options()).unwrap();
    assert_eq!(get_now(&backend, b"k"), None);
}

fn definition_of(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

/// Changes the tables of a closed file, and gives the names of those that are there then.
fn tables(path: &Path, change: impl FnOnce(&::redb::WriteTransaction)) -> BTreeSet<String> {
    use ::redb::TableHandle as _;
    let database = ::redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    let names = transaction.list_tables().unwrap();
    let names = names.map(|table| table.name().to_owned()).collect();
    transaction.commit().unwrap();
    names
}

#[test]
fn a_file_that_lacks_a_table_is_refused_by_its_name() {
    let dir = Dir::new();
    drop(Catalog::create(dir.path()).unwrap());
    let every: BTreeSet<String> = Keyspace::ALL
        .iter()
        .map(|space| space.name().to_owned())
        .collect();
    assert_eq!(tables(&dir.path(), |_| ()), every);
    let shared = RedbOptions {
        concurrency: Concurrency::MultiWriter,
        ..options()
    };
    let without_its_log = RedbOptions {
        discard_log: true,
        ..options()
    };
    for &space in Keyspace::ALL {
        let other = definition_of("a name that decayed");
        tables(&dir.path(), |transaction| {
            transaction.rename_table(definition(space), other).unwrap();
        });
        for options in [options(), read_only_options(), shared, without_its_log] {
            let error = open_error(&dir.path(), options);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            let named = format!("lacks the table {}: restore", space.name());
            assert!(error.to_string().contains(&named), "{error}");
        }
        tables(&dir.path(), |transaction| {
            transaction.rename_table(other, definition(space)).unwrap();
        });
    }
    assert!(Catalog::open(dir.path()).unwrap().check().unwrap().is_clean());
    let copy = dir.0.path().join("copy");
    Catalog::open(dir.path()).unwrap().backup(&copy).unwrap();
    assert_eq!(tables(&copy, |_| ()), every);
}

#[test]
fn a_table_of_an_unknown_name_is_refused_but_where_the_format_is_newer() {
    let dir = Dir::new();
    drop(Catalog::create(dir.path()).unwrap());
    tables(&dir.path(), |transaction| {
        transaction.open_table(definition_of("things")).unwrap();
    });
    let error = open_error(&dir.path(), options());
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("\"things\""), "{error}");

    tables(&dir.path(), |transaction| {
        let key = keys::META_FORMAT;
        let newer = envelope::seal(Keyspace::Meta, key, &(FORMAT + 1).to_be_bytes());
        let mut meta = transaction.open_table(definition(Keyspace::Meta)).unwrap();
        meta.insert(key, newer.as_slice()).unwrap();
    });
    let error = Catalog::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FormatTooNew, "{error}");
}

#[test]
fn a_second_open_finds_the_file_in_use() {
    let dir = Dir::new();
    let backend = dir.create();
    assert_eq!(open_kind(&dir.path()), ErrorKind::InUse);
    assert_eq!(open_in_child(&dir.path()), "IN_USE");
    drop(backend);
    assert_eq!(open_in_child(&dir.path()), "OPENED");

    let reader = RedbBackend::open(&dir.path(), read_only_options()).unwrap();
    assert_eq!(open_error(&dir.path(), options()).kind(), ErrorKind::InUse);
    drop(RedbBackend::open(&dir.path(), read_only_options()).unwrap());
    drop(reader);
}

fn open_in_child(path: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "backend::redb::tests::opening::child_opens",
        ])
        .env(CHILD_PATH, path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.split_once("child: "))
        .expect(&text)
        .1
        .trim()
        .to_owned()
}

#[test]
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn child_opens() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    let opened = RedbBackend::open(Path::new(&path), options());
    println!(
        "child: {}",
        opened.map_or_else(|error| error.kind().code(), |_| "OPENED")
    );
}

#[test]
fn formats_of_the_future_and_of_the_past_are_refused() {
    let dir = Dir::with_catalog();
    let whole = fs::read(dir.path()).unwrap();
    for (version, kind) in [(4, ErrorKind::FormatTooNew), (2, ErrorKind::NotACatalog)] {
        let mut bytes = whole.clone();
        (bytes[64], bytes[192]) = (version, version);
        fs::write(dir.path(), bytes).unwrap();
        assert_eq!(open_kind(&dir.path()), kind);
    }
    // One slot alone is damage.
    let mut bytes = whole;
    bytes[64] = 200;
    fs::write(dir.path(), bytes).unwrap();
    assert_eq!(open_kind(&dir.path()), ErrorKind::Corrupt);
}

#[test]
fn damaged_files_are_corrupt_and_never_panic() {
    let dir = Dir::with_catalog();
    let whole = fs::read(dir.path()).unwrap();
    for keep in [9, 100, 319, 320, 4_096, whole.len() / 2, whole.len() - 1] {
        fs::write(dir.path(), &whole[..keep]).unwrap();
        let kind = open_error(&dir.path(), options()).kind();
        assert_eq!(kind, ErrorKind::Corrupt, "cut to {keep}");
        let kind = open_error(&dir.path(), read_only_options()).kind();
        assert!(
            matches!(kind, ErrorKind::Corrupt | ErrorKind::NeedsRepair),
            "cut to {keep}: {kind}"
        );
    }
    let verify = RedbOptions {
        integrity: Integrity::Verify,
        ..options()
    };
    for (seed, options) in (0..48_u32).flat_map(|seed| [(seed, options()), (seed, verify)]) {
        let mut bytes = whole.clone();
        let from = [9, 320, 4_096][seed as usize % 3];
        for (position, byte) in bytes.iter_mut().enumerate().skip(from) {
            *byte = (position as u32 ^ seed).wrapping_mul(2_654_435_761).to_be_bytes()[0];
        }
        fs::write(dir.path(), bytes).unwrap();
        let opened = RedbBackend::open(&dir.path(), options);
        assert_eq!(
            opened.err().expect("garbage opened").kind(),
            ErrorKind::Corrupt,
            "seed {seed}"
        );
    }
}

#[test]
fn flipped_bytes_never_panic_and_verifying_finds_them() {
    let dir = Dir::with_catalog();
    let whole = fs::read(dir.path()).unwrap();
    let verify = RedbOptions {
        integrity: Integrity::Verify,
        ..options()
    };
    for position in (9..whole.len()).step_by(whole.len() / 150) {
        for options in [options(), verify] {
            let mut bytes = whole.clone();
            bytes[position] ^= 0xFF;
            fs::write(dir.path(), bytes).unwrap();
            let Ok(backend) = RedbBackend::open(&dir.path(), options) else {
                continue;
            };
            // Without verifying, a wrong value is what the envelope's checksum is for.
            let read = backend.snapshot().and_then(|snapshot| get(&*snapshot, b"k"));
            let _ = put(&backend, b"more", b"v");
            if options.integrity == Integrity::Verify {
                assert_eq!(read.unwrap(), Some(b"v".to_vec()), "flipped at {position}");
            }
        }
    }
}

#[test]
fn an_unclean_file_is_recovered_writable_and_refused_read_only() {
    let dir = Dir::new();
    let backend = dir.create();
    let copy = dir.0.path().join("copy");
    fs::copy(dir.path(), &copy).unwrap();
    drop(backend);
    assert_eq!(
        open_error(&copy, read_only_options()).kind(),
        ErrorKind::NeedsRepair
    );
    let backend = RedbBackend::open(&copy, options()).unwrap();
    assert_eq!(get_now(&backend, b"k"), Some(b"v".to_vec()));
    drop(backend);
    drop(RedbBackend::open(&copy, read_only_options()).unwrap());
}

#[test]
fn a_panic_in_a_plan_leaves_nothing_to_repair() {
    let dir = Dir::new();
    let backend = dir.create();
    let planned = catch_unwind(AssertUnwindSafe(|| {
        backend.commit(CommitOptions::default(), &mut |_| panic!("in the plan"))
    }));
    assert!(planned.is_err());
    drop(backend);
    drop(RedbBackend::open(&dir.path(), read_only_options()).unwrap());
}

#[test]
fn what_a_creation_deferred_is_durable_when_it_returns() {
    let dir = Dir::new();
    let backend = RedbBackend::create(&dir.path(), options(), |backend| {
        commit_as(backend, Durability::Deferred, |batch| {
            batch.put(Keyspace::Set, b"k", b"v");
        })
    })
    .unwrap();
    let copy = dir.0.path().join("copy");
    fs::copy(dir.path(), &copy).unwrap();
    assert_eq!(
        get_now(&RedbBackend::open(&copy, options()).unwrap(), b"k"),
        Some(b"v".to_vec())
    );
    drop(backend);
}

#[test]
fn a_read_only_open_refuses_writes() {
    let dir = Dir::with_catalog();
    let before = fs::read(dir.path()).unwrap();
    let backend = RedbBackend::open(&dir.path(), read_only_options()).unwrap();
    assert!(!backend.limits().writable);
    assert_eq!(put(&backend, b"k", b"w").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(
        backend.maintain(Maintenance::Compact).unwrap_err().kind(),
        ErrorKind::ReadOnly
    );
    assert_eq!(get_now(&backend, b"k"), Some(b"v".to_vec()));
    assert!(backend.stats().unwrap().stored_bytes > Some(0));
    backend.reopen().unwrap();
    drop(backend);
    assert_eq!(fs::read(dir.path()).unwrap(), before);
    let verify = RedbOptions {
        integrity: Integrity::Verify,
        ..read_only_options()
    };
    assert_eq!(open_error(&dir.path(), verify).kind(), ErrorKind::Unsupported);
}
