//! Opening and creating files: each refusal is typed, says what to do and changes nothing; a crash at any moment loses nothing that
//! was acknowledged.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use shelfmark::backend::Keyspace;
use shelfmark::{
    Catalog, Concurrency, DataSet, DataStore, Durability, ErrorKind, Expectation, Integrity, Options, Query,
    Read, Result, SetId, SetSelection, Write,
};
use shelfmark_testkit::storage::RecordingStorage;

use crate::support::{
    Random, Rows, assert_clean, child, child_path, dump, family, new_asset, new_set, new_store, session,
};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("catalog.shelf")
    }

    /// A closed catalog with a little in it.
    fn with_catalog() -> Self {
        let dir = Self::new();
        let catalog = Catalog::create(dir.path()).expect("a new file");
        family(&session(&catalog, "acme"));
        dir
    }

    /// Every file with its bytes.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fs::read_dir(self.0.path())
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), fs::read(path).expect("a file")))
            .collect()
    }

    /// Every row of the closed catalog.
    fn rows(&self) -> BTreeMap<Keyspace, Rows> {
        let backend = Options::new().read_only(true).open_backend(self.path());
        dump(&*backend.expect("a closed file"))
    }

    /// That `path` is refused, with advice, and that nothing changes.
    #[track_caller]
    fn refuses(&self, path: &Path, open: impl Fn(&Path) -> Result<Catalog>, kind: ErrorKind) {
        let before = self.contents();
        let error = open(path).expect_err("the file opened");
        assert_eq!(error.kind(), kind, "{error}");
        let message = error.to_string();
        let name = path.file_name().expect("a name").to_string_lossy();
        assert!(message.contains(&*name), "which file? {message}");
        let advice = message.rsplit_once(": ").expect("advice").1;
        assert!(advice.split(' ').count() >= 2, "{message}");
        assert!(self.contents() == before, "something changed: {message}");
    }

    /// As [`Dir::refuses`], writable, read-only and by `open_or_create` alike.
    #[track_caller]
    fn refuses_always(&self, path: &Path, kind: ErrorKind) {
        self.refuses(path, |path| Catalog::open(path), kind);
        self.refuses(path, read_only, kind);
        if kind != ErrorKind::FileMissing {
            self.refuses(path, |path| Catalog::open_or_create(path), kind);
        }
    }
}

fn read_only(path: &Path) -> Result<Catalog> {
    Options::new().read_only(true).open(path)
}

fn verified(path: &Path) -> Result<Catalog> {
    Options::new().integrity(Integrity::Verify).open(path)
}

#[test]
fn what_is_not_there_or_no_file_is_told_apart() {
    let dir = Dir::new();
    dir.refuses_always(&dir.path(), ErrorKind::FileMissing);
    dir.refuses_always(&dir.0.path().join("no/such/catalog"), ErrorKind::FileMissing);
    let create = |path: &Path| Catalog::create(path);
    dir.refuses(
        &dir.0.path().join("no/such/catalog"),
        create,
        ErrorKind::FileMissing,
    );
    let below = dir.0.path().join("folder");
    fs::create_dir(&below).unwrap();
    dir.refuses_always(&below, ErrorKind::NotACatalog);
    dir.refuses(&below, create, ErrorKind::FileExists);
}

#[test]
fn a_file_that_is_no_catalog_is_left_as_it_is() {
    let dir = Dir::new();
    let text = "not a catalog, but a text that goes on and on. ".repeat(400);
    for contents in ["", "x", &text] {
        fs::write(dir.path(), contents).unwrap();
        dir.refuses_always(&dir.path(), ErrorKind::NotACatalog);
        dir.refuses(&dir.path(), |path| Catalog::create(path), ErrorKind::FileExists);
    }
}

#[test]
fn a_database_of_another_program_is_left_as_it_is() {
    for table in ["things", "meta"] {
        let dir = Dir::new();
        let database = redb::Database::create(dir.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        let definition = redb::TableDefinition::<&str, u64>::new(table);
        transaction
            .open_table(definition)
            .unwrap()
            .insert("one", 1)
            .unwrap();
        transaction.commit().unwrap();
        drop(database);
        let before = dir.contents();
        assert_eq!(read_only(&dir.path()).unwrap_err().kind(), ErrorKind::NotACatalog);
        assert!(dir.contents() == before, "a read-only open changed the file");
        for open in [
            |path: &Path| Catalog::open(path),
            |path: &Path| Catalog::open_or_create(path),
        ] {
            let error = open(&dir.path()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotACatalog, "{error}");
            assert!(error.to_string().contains("correct the path"), "{error}");
        }
        let database = redb::ReadOnlyDatabase::open(dir.path()).unwrap();
        let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
        let tables: Vec<String> = transaction
            .list_tables()
            .unwrap()
            .map(|table| redb::TableHandle::name(&table).to_owned())
            .collect();
        assert_eq!(tables, [table]);
        let rows = transaction.open_table(definition).unwrap();
        assert_eq!(rows.get("one").unwrap().map(|value| value.value()), Some(1));
    }
}

#[test]
fn a_truncated_file_is_corrupt() {
    let dir = Dir::with_catalog();
    let whole = fs::read(dir.path()).unwrap();
    for keep in [320, 4_096, whole.len() / 2, whole.len() - 4_096, whole.len() - 1] {
        fs::write(dir.path(), &whole[..keep]).unwrap();
        dir.refuses(&dir.path(), |path| Catalog::open(path), ErrorKind::Corrupt);
        dir.refuses(&dir.path(), verified, ErrorKind::Corrupt);
        let kind = read_only(&dir.path()).unwrap_err().kind();
        assert!(
            matches!(kind, ErrorKind::Corrupt | ErrorKind::NeedsRepair),
            "{kind}"
        );
    }
}

#[test]
fn garbage_in_the_middle_is_found_when_verifying() {
    let dir = Dir::new();
    let catalog = Catalog::create(dir.path()).unwrap();
    let session = session(&catalog, "acme").with_durability(Durability::Deferred);
    let family = family(&session);
    session
        .create_all((0..500).map(|n| new_set(family.asset, &format!("a longer name of a set {n}"))))
        .unwrap();
    drop((session, catalog));
    let whole = fs::read(dir.path()).unwrap();
    let mut found = 0;
    for at in (8_192..whole.len() - 64).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        for (offset, byte) in bytes[at..at + 64].iter_mut().enumerate() {
            *byte ^= 0x5A ^ offset as u8;
        }
        fs::write(dir.path(), &bytes).unwrap();
        match verified(&dir.path()) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(error.to_string().contains("restore a backup"), "{error}");
                found += 1;
            }
            // The page was not in use.
            Ok(catalog) => assert_clean(&catalog, "unused bytes were damaged"),
        }
    }
    assert!(found > 3, "only {found} were found");
}

#[test]
fn a_stored_option_cannot_be_changed() {
    for stored in [true, false] {
        let dir = Dir::new();
        let options = Options::new().unique_technical_names(stored);
        drop(options.create(dir.path()).unwrap());
        let other = Options::new().unique_technical_names(!stored);
        let (before, rows) = (dir.contents(), dir.rows());
        let refuse = |outcome: Result<Catalog>| {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OptionMismatch);
            let expected = format!("unique_technical_names({stored})");
            assert!(error.to_string().contains(&expected), "{error}");
        };
        refuse(other.clone().read_only(true).open(dir.path()));
        assert!(read_only(&dir.path()).is_ok() && options.clone().read_only(true).open(dir.path()).is_ok());
        assert!(dir.contents() == before, "a read-only open changed the file");
        // Opened writable, the engine keeps its own books in the file; what it holds is the same.
        refuse(other.open(dir.path()));
        refuse(other.open_or_create(dir.path()));
        assert!(dir.rows() == rows);
        assert!(Catalog::open(dir.path()).is_ok() && options.open(dir.path()).is_ok());
    }
}

#[test]
fn a_file_is_open_once() {
    let dir = Dir::with_catalog();
    let catalog = Catalog::open(dir.path()).unwrap();
    for open in [
        |path: &Path| Catalog::open(path),
        read_only,
        |path: &Path| Catalog::open_or_create(path),
    ] {
        assert_eq!(open(&dir.path()).unwrap_err().kind(), ErrorKind::InUse);
    }
    dir.refuses(&dir.path(), |path| Catalog::create(path), ErrorKind::FileExists);
    assert_eq!(opened_by_child(&dir.path()), "IN_USE");
    // The handle that has it goes on.
    session(&catalog, "acme").create(new_store("more")).unwrap();
    let held = session(&catalog, "acme").snapshot().unwrap();
    drop(catalog);
    assert_eq!(
        opened_by_child(&dir.path()),
        "IN_USE",
        "a snapshot keeps the file open"
    );
    assert_eq!(held.count::<DataStore>(shelfmark::AllStores).unwrap(), 2);
    drop(held);
    assert_eq!(opened_by_child(&dir.path()), "OPENED");
}

fn opened_by_child(path: &Path) -> String {
    let output = child("opening::child_opens", path).output().expect("a child");
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().find_map(|line| line.split_once("child: "));
    said.expect("an answer").1.trim().to_owned()
}

#[test]
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn child_opens() {
    let Some(path) = child_path() else { return };
    let said = Catalog::open(path).map_or_else(|error| error.kind().code(), |_| "OPENED");
    println!("child: {said}");
}

#[test]
fn read_only_serves_reads_and_leaves_the_file_untouched() {
    let dir = Dir::with_catalog();
    let before = dir.contents();
    let catalog = read_only(&dir.path()).unwrap();
    let session = session(&catalog, "acme");
    let page = session.list(&Query::<DataSet>::new().with_schemas()).unwrap();
    let set = page.items[0].clone();
    assert_eq!(page.total, Some(1));
    assert_eq!(session.get(set.id).unwrap(), Some(set.clone()));
    assert_eq!(
        session.would_delete([(set.id, Expectation::Any)]).unwrap().sets,
        1
    );
    assert_eq!(
        session
            .snapshot()
            .unwrap()
            .find_by_secure_qri("qri:orders")
            .unwrap()
            .len(),
        1
    );
    assert_clean(&catalog, "read-only");
    catalog.sync().unwrap();
    let backup = Dir::new();
    catalog.backup(backup.path()).unwrap();
    assert!(Catalog::open(backup.path()).is_ok());

    let refusals = [
        session.create(new_store("new")).map(drop),
        session
            .create_batched([new_store("new")], shelfmark::Batched::new())
            .map(drop),
        session
            .update(set.id, Expectation::Any, |set| set.name = None)
            .map(drop),
        session.delete(set.id, Expectation::Any).map(drop),
        session.delete_selected::<DataSet>(SetSelection::All).map(drop),
        session
            .transact(|tx| tx.delete(set.id, Expectation::Any))
            .map(drop),
        catalog.drop_tenant("acme").map(drop),
        catalog.repair().map(drop),
        catalog.compact().map(drop),
        Options::new()
            .read_only(true)
            .create(dir.0.path().join("new"))
            .map(drop),
    ];
    for (way, refused) in refusals.into_iter().enumerate() {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{way}: {error}");
        assert!(error.to_string().contains("open it writable"), "{error}");
    }
    drop((session, catalog));
    assert!(dir.contents() == before, "the file changed");
}

/// A child that prints lines, killed when it is dropped.
pub struct Writer {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Writer {
    pub fn start(test: &str, path: &Path) -> Self {
        let mut child = child(test, path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self { child, lines }
    }

    /// The next line that the child acknowledges something with.
    pub fn acknowledged(&mut self) -> Option<String> {
        self.lines
            .by_ref()
            .map_while(std::io::Result::ok)
            .find_map(|line| line.split_once("ack ").map(|(_, rest)| rest.to_owned()))
    }

    /// Kills it, and gives what it had acknowledged until then.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("a kill");
        self.child.wait().expect("its end");
        std::iter::from_fn(|| self.acknowledged()).collect()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Dead already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
pub fn acknowledge(what: &str) {
    println!("ack {what}");
    std::io::stdout().flush().expect("a parent that listens");
}

#[test]
fn a_crash_during_creation_leaves_no_file_or_a_whole_one() {
    for seed in 0..12 {
        let dir = Dir::new();
        let mut random = Random::new(seed);
        let mut writer = Writer::start("opening::child_creates", dir.0.path());
        assert!(writer.acknowledged().is_some(), "the child did not begin");
        std::thread::sleep(Duration::from_micros(random.below(40_000)));
        let created: Vec<String> = writer.kill();
        let mut whole = 0;
        for n in 0..=created.len() + 2 {
            let path = dir.0.path().join(format!("{n}.shelf"));
            match Catalog::open(&path) {
                Ok(catalog) => {
                    assert_clean(&catalog, &format!("seed {seed}"));
                    whole += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::FileMissing, "seed {seed}: {error}");
                    Catalog::create(&path).expect("what a crash left is in nobody's way");
                }
            }
        }
        assert!(
            whole >= created.len(),
            "seed {seed}: {whole} of {}",
            created.len()
        );
    }
}

#[test]
fn child_creates() {
    let Some(directory) = child_path() else { return };
    acknowledge("begun");
    for n in 0.. {
        drop(Catalog::create(directory.join(format!("{n}.shelf"))).unwrap());
        acknowledge(&n.to_string());
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let dir = Dir::new();
    let mut acknowledged = Vec::new();
    for seed in 100..112 {
        let mut random = Random::new(seed);
        let mut writer = Writer::start("opening::child_writes", &dir.path());
        for _ in 0..=random.below(12) {
            acknowledged.push(writer.acknowledged().expect("an acknowledgement"));
        }
        std::thread::sleep(Duration::from_micros(random.below(2_000)));
        acknowledged.extend(writer.kill());
        let error = read_only(&dir.path()).err();
        if let Some(error) = error {
            // How a kill leaves the file, unless it struck before the first write after opening.
            assert_eq!(error.kind(), ErrorKind::NeedsRepair, "seed {seed}: {error}");
            assert!(error.to_string().contains("open it writable once"), "{error}");
        }
        let catalog = Catalog::open(dir.path()).expect("a recovery");
        let session = session(&catalog, "acme");
        for set in &acknowledged {
            let id: SetId = set.parse().expect("an id");
            assert!(session.get(id).unwrap().is_some(), "seed {seed}: {id} is lost");
        }
        let sets = session.count::<DataSet>(SetSelection::All).unwrap();
        assert_eq!(sets % 3, 0, "seed {seed}: half a transaction");
        assert!(sets >= acknowledged.len() as u64);
        assert_clean(&catalog, &format!("seed {seed}"));
        drop((session, catalog));
        // Recovered and closed: it opens read-only again.
        read_only(&dir.path()).expect("a clean file");
    }
}

#[test]
fn child_writes() {
    let Some(path) = child_path() else { return };
    let catalog = Catalog::open_or_create(path).unwrap();
    let session = session(&catalog, "acme");
    loop {
        let sets = session.transact(|tx| {
            let store = tx.create(new_store("store"))?;
            let asset = tx.create(new_asset(store.id, "asset"))?;
            tx.create_all((0..3).map(|n| new_set(asset.id, &format!("set {n}"))))
        });
        for set in sets.unwrap() {
            acknowledge(&set.to_string());
        }
    }
}

#[test]
fn a_file_that_was_not_closed_needs_a_writable_open_first() {
    let dir = Dir::new();
    let mut writer = Writer::start("opening::child_writes", &dir.path());
    writer.acknowledged().unwrap();
    writer.kill();
    dir.refuses(&dir.path(), read_only, ErrorKind::NeedsRepair);
    drop(Catalog::open(dir.path()).unwrap());
    assert_clean(&read_only(&dir.path()).unwrap(), "recovered");
}

#[test]
fn a_storage_that_is_empty_or_is_not_or_holds_something_else_is_told_apart() {
    let refused = |outcome: Result<std::sync::Arc<dyn shelfmark::backend::Backend>>, kind: ErrorKind| {
        let error = outcome.expect_err("it opened");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains("storage"), "{error}");
    };
    let on = |storage: &RecordingStorage| std::sync::Arc::new(storage.clone());
    let options = Options::new();
    let storage = RecordingStorage::new();
    refused(options.open_backend_on(on(&storage)), ErrorKind::FileMissing);
    for shared in [
        options.clone().read_only(true),
        options.clone().concurrency(Concurrency::SingleWriter),
        options.clone().concurrency(Concurrency::MultiWriter),
    ] {
        refused(shared.create_backend_on(on(&storage)), ErrorKind::Unsupported);
        refused(shared.open_backend_on(on(&storage)), ErrorKind::Unsupported);
    }
    assert!(storage.bytes().file.is_empty(), "a refusal wrote something");

    let backend = options.create_backend_on(on(&storage)).unwrap();
    let family = family(&session(&options.on_backend(backend).unwrap(), "acme"));
    let before = storage.bytes();
    refused(options.create_backend_on(on(&storage)), ErrorKind::FileExists);
    assert!(storage.bytes() == before, "a refusal wrote something");
    let catalog = options
        .on_backend(options.open_backend_on(on(&storage)).unwrap())
        .unwrap();
    assert!(session(&catalog, "acme").get(family.set).unwrap().is_some());

    let to = RecordingStorage::new();
    catalog.backup_on(on(&to)).unwrap();
    assert_eq!(
        catalog.backup_on(on(&to)).unwrap_err().kind(),
        ErrorKind::FileExists
    );
    let copy = options
        .on_backend(options.open_backend_on(on(&to)).unwrap())
        .unwrap();
    assert!(session(&copy, "acme").get(family.set).unwrap().is_some());
    assert_clean(&copy, "a backup");

    let text = RecordingStorage::holding(vec![b'x'; 20_000]);
    refused(options.open_backend_on(on(&text)), ErrorKind::NotACatalog);
    let cut = RecordingStorage::holding(before.file[..before.file.len() / 2].to_vec());
    refused(options.open_backend_on(on(&cut)), ErrorKind::Corrupt);
}
