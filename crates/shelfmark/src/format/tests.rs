use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::{
    DataSet, DataStore, NewDataAsset, NewDataSet, NewDataStore, Query, Read as _, SetSelection, Write as _,
};

/// A file with a little in it, closed.
struct File(tempfile::TempDir);

impl File {
    fn new() -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        let catalog = Catalog::create(file.path()).unwrap();
        let session = catalog.session("acme", "ann").unwrap();
        let store = session
            .create(NewDataStore::new("warehouse", "postgres"))
            .unwrap();
        let asset = session
            .create(NewDataAsset::new(store.id, "sales", "qix-df"))
            .unwrap();
        for name in ["Straße", "orders", "Customers"] {
            let set = NewDataSet::new(asset.id, name, "qdf:files:acme:set", "qri:set");
            let name = Some(name.to_owned());
            session.create(NewDataSet { name, ..set }).unwrap();
        }
        file
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("catalog.shelf")
    }

    fn backup(&self) -> PathBuf {
        self.0.path().join("backup.shelf")
    }

    fn backend(&self) -> Arc<dyn Backend> {
        Options::new().open_backend(self.path()).unwrap()
    }

    /// Changes a row of the meta keyspace; `None` takes it away.
    fn set_meta(&self, key: &[u8], body: Option<&[u8]>) {
        change(&*self.backend(), |batch| match body {
            Some(body) => put(batch, key, body),
            None => batch.delete(Keyspace::Meta, key),
        });
    }

    fn rows(&self) -> Rows {
        rows(&self.path())
    }
}

type Rows = BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>;

fn rows(path: &Path) -> Rows {
    let backend = Options::new().read_only(true).open_backend(path).unwrap();
    rows_of(&*backend)
}

fn rows_of(backend: &dyn Backend) -> Rows {
    let snapshot = backend.snapshot().unwrap();
    let mut rows = Rows::new();
    for &space in Keyspace::ALL {
        let mut row = |key: &[u8], value: &[u8]| {
            rows.insert((space, key.to_vec()), value.to_vec());
            ControlFlow::Continue(())
        };
        snapshot
            .scan(space, &KeyRange::all(), Direction::Forward, &mut row)
            .unwrap();
    }
    rows
}

fn change(backend: &dyn Backend, fill: impl Fn(&mut WriteBatch)) {
    let mut plan = |_: &dyn Snapshot| {
        let mut batch = WriteBatch::new();
        fill(&mut batch);
        Ok(batch)
    };
    backend.commit(CommitOptions::default(), &mut plan).unwrap();
}

fn format_in(path: &Path) -> u32 {
    let backend = Options::new().read_only(true).open_backend(path).unwrap();
    format_of(&*backend.snapshot().unwrap()).unwrap()
}

/// That the file is refused with advice, and keeps every row.
#[track_caller]
fn refused(file: &File, options: &Options, kind: ErrorKind, advice: &str) {
    let before = file.rows();
    let error = options.open(file.path()).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(advice), "{error}");
    assert!(file.rows() == before, "the rows changed");
}

#[test]
fn newer_and_older_formats_are_refused_untouched() {
    let (writable, read_only) = (Options::new(), Options::new().read_only(true));
    let file = File::new();
    for newer in [FORMAT + 1, u32::MAX] {
        file.set_meta(keys::META_FORMAT, Some(&newer.to_be_bytes()));
        refused(&file, &writable, ErrorKind::FormatTooNew, "upgrade");
        refused(&file, &read_only, ErrorKind::FormatTooNew, &newer.to_string());
    }
    // A format that no migration leads from.
    file.set_meta(keys::META_FORMAT, Some(&0_u32.to_be_bytes()));
    refused(
        &file,
        &writable,
        ErrorKind::FormatTooOld,
        "open the catalog with an older version first",
    );
    refused(
        &file,
        &read_only,
        ErrorKind::FormatTooOld,
        "open it writable once",
    );
    file.set_meta(keys::META_FORMAT, Some(&FORMAT.to_be_bytes()));
    assert!(Catalog::open(file.path()).unwrap().check().unwrap().is_clean());
}

#[test]
fn damage_to_what_a_catalog_says_of_itself_is_typed() {
    let options = Options::new();
    for (key, body, kind) in [
        (keys::META_FORMAT, None, ErrorKind::NotACatalog),
        (keys::META_FORMAT, Some(&b"1"[..]), ErrorKind::Corrupt),
        (keys::META_UNICODE, None, ErrorKind::Corrupt),
        (keys::META_OPTIONS, None, ErrorKind::Corrupt),
        (keys::META_CURSOR_KEY, None, ErrorKind::Corrupt),
        (keys::META_CURSOR_KEY, Some(b"short"), ErrorKind::Corrupt),
    ] {
        let file = File::new();
        file.set_meta(key, body);
        refused(&file, &options, kind, ": ");
    }
    let file = File::new();
    change(&*file.backend(), |batch| {
        batch.put(Keyspace::Meta, keys::META_OPTIONS, b"not an envelope");
    });
    refused(&file, &options, ErrorKind::Corrupt, "meta");
}

const RUNS: &[u8] = b"runs";

/// Counts how often it was applied, in the catalog itself.
fn count_a_run(snapshot: &dyn Snapshot, batch: &mut WriteBatch) -> Result<()> {
    let runs = read(snapshot, RUNS)?.map_or(0, |runs| runs[0]);
    put(batch, RUNS, &[runs + 1]);
    Ok(())
}

fn fail(_: &dyn Snapshot, batch: &mut WriteBatch) -> Result<()> {
    batch.delete_range(Keyspace::Set, KeyRange::all());
    Err(Error::new(ErrorKind::Internal, "a migration that fails"))
}

const ONE_STEP: &[Migration] = &[Migration {
    from: 1,
    run: count_a_run,
}];
const TWO_STEPS: &[Migration] = &[
    Migration {
        from: 1,
        run: count_a_run,
    },
    Migration {
        from: 2,
        run: count_a_run,
    },
];
const FAILING_STEP: &[Migration] = &[
    Migration {
        from: 1,
        run: count_a_run,
    },
    Migration { from: 2, run: fail },
];

fn runs(backend: &dyn Backend) -> Option<Vec<u8>> {
    read(&*backend.snapshot().unwrap(), RUNS).unwrap()
}

#[test]
fn a_migration_is_applied_once() {
    let file = File::new();
    let backend = file.backend();
    let options = Options::new();
    for _ in 0..2 {
        migrate(&*backend, &options, ONE_STEP, 2).unwrap();
        assert_eq!(runs(&*backend), Some(vec![1]));
    }
    drop(backend);
    assert_eq!(format_in(&file.path()), 2);
    // What this version's `open` says to it.
    refused(&file, &options, ErrorKind::FormatTooNew, "upgrade");
}

#[test]
fn each_step_sees_what_the_step_before_it_staged() {
    let file = File::new();
    let backend = file.backend();
    migrate(&*backend, &Options::new(), TWO_STEPS, 3).unwrap();
    assert_eq!(runs(&*backend), Some(vec![2]));
    // From the middle.
    let file = File::new();
    file.set_meta(keys::META_FORMAT, Some(&2_u32.to_be_bytes()));
    let backend = file.backend();
    migrate(&*backend, &Options::new(), TWO_STEPS, 3).unwrap();
    assert_eq!(runs(&*backend), Some(vec![1]));
}

#[test]
fn a_migration_that_fails_leaves_everything_and_its_backup() {
    let file = File::new();
    let before = file.rows();
    let backend = file.backend();
    let options = Options::new().backup_before_migration(file.backup());
    let error = migrate(&*backend, &options, FAILING_STEP, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    drop(backend);
    assert!(file.rows() == before, "the rows changed");
    assert!(rows(&file.backup()) == before, "the backup differs");
    assert!(Catalog::open(file.backup()).unwrap().check().unwrap().is_clean());
}

#[test]
fn a_backup_comes_before_the_migration_and_replaces_nothing() {
    let file = File::new();
    let before = file.rows();
    std::fs::write(file.backup(), "mine").unwrap();
    let options = Options::new().backup_before_migration(file.backup());
    let backend = file.backend();
    let error = migrate(&*backend, &options, ONE_STEP, 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileExists);
    assert_eq!(std::fs::read(file.backup()).unwrap(), b"mine");
    assert!(rows_of(&*backend) == before, "the rows changed");

    std::fs::remove_file(file.backup()).unwrap();
    migrate(&*backend, &options, ONE_STEP, 2).unwrap();
    assert!(rows(&file.backup()) == before, "the backup differs");
    assert_eq!(format_in(&file.backup()), 1);
    // Nothing to migrate, so nothing to back up.
    std::fs::remove_file(file.backup()).unwrap();
    migrate(&*backend, &options, ONE_STEP, 2).unwrap();
    assert!(!file.backup().exists());
}

#[test]
fn a_read_only_open_does_not_migrate() {
    let file = File::new();
    let before = std::fs::read(file.path()).unwrap();
    let options = Options::new()
        .read_only(true)
        .backup_before_migration(file.backup());
    let backend = options.open_backend(file.path()).unwrap();
    let error = migrate(&*backend, &options, ONE_STEP, 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FormatTooOld);
    assert!(error.to_string().contains("open it writable once"), "{error}");
    assert!(!file.backup().exists());
    drop(backend);
    assert!(std::fs::read(file.path()).unwrap() == before, "the file changed");
}

#[test]
fn another_version_of_unicode_rebuilds_the_indexes() {
    let file = File::new();
    let before = file.rows();
    // What another folding would have left: entries elsewhere, and none where they should be.
    change(&*file.backend(), |batch| {
        put(batch, keys::META_UNICODE, b"1.0.0");
        for ((space, key), value) in &before {
            if space.is_index() {
                batch.delete(*space, key.clone());
                let mut other = key.clone();
                other[4] ^= 0x55;
                batch.put(*space, other, value.clone());
            }
        }
    });
    let damaged = file.rows();
    assert!(damaged != before);
    let read_only = Options::new().read_only(true);
    refused(
        &file,
        &read_only,
        ErrorKind::FormatTooOld,
        "open it writable once",
    );

    let catalog = Options::new()
        .backup_before_migration(file.backup())
        .open(file.path())
        .unwrap();
    assert!(catalog.check().unwrap().is_clean());
    let session = catalog.session("acme", "ann").unwrap();
    let page = session.list_names(&Query::<DataSet>::new().sort("name")).unwrap();
    let names: Vec<_> = page
        .items
        .iter()
        .filter_map(|named| named.name.as_deref())
        .collect();
    assert_eq!(names, ["Customers", "orders", "Straße"]);
    let found: Vec<DataSet> = session.find_by_name(SetSelection::All, "STRASSE").unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(session.count::<DataStore>(crate::AllStores).unwrap(), 1);
    drop((session, catalog));
    assert!(file.rows() == before, "the rows are not as they were");
    // A backup counts for itself what it holds.
    let counted_anew = |mut rows: Rows| {
        rows.retain(|(space, _), _| *space != Keyspace::Counter);
        rows
    };
    assert!(counted_anew(rows(&file.backup())) == counted_anew(damaged));
}
