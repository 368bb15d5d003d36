//! What the operating system refuses: no room, no permission, no directory, no descriptor, no trust in the clock. Every refusal is typed, and what
//! was acknowledged stays.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shelfmark::{
    Catalog, DataSet, DataStore, ErrorKind, Expectation, Health, Options, Query, Read, SetSelection, Write,
};
use shelfmark_testkit::TestEnvironment;

use crate::support::{assert_clean, child, child_path, family, figures, new_set, new_store, session};

fn limit(resource: Resource, to: Option<u64>) {
    let limits = Rlimit {
        current: to,
        ..getrlimit(resource)
    };
    setrlimit(resource, limits).expect("a limit below the hard one");
}

/// A child that ignores the signal of a file that may not grow, so that it hears of it as an error.
fn without_signal(test: &str, path: &Path) -> Output {
    let inner = child(test, path);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.output().expect("a child")
}

#[track_caller]
fn assert_passed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{errors}"
    );
    text
}

/// Every name in a directory.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_full_medium_is_told_and_a_delete_works_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    assert_passed(&without_signal("medium::child_fills", directory.path()));
    let path = directory.path().join("catalog.shelf");
    let stored: u64 = fs::read_to_string(directory.path().join("stored"))
        .unwrap()
        .parse()
        .unwrap();
    let catalog = Catalog::open(&path).unwrap();
    assert_clean(&catalog, "opened by another process");
    let sets = session(&catalog, "acme")
        .count::<DataSet>(SetSelection::All)
        .unwrap();
    assert_eq!(sets, 1, "the delete stayed, and what came after it");
    figures(
        "a full medium",
        &format!("{stored} sets stored until it was full, all of them read again"),
    );
    assert!(stored > 10);
}

#[test]
fn child_fills() {
    let Some(directory) = child_path() else { return };
    let path = directory.join("catalog.shelf");
    limit(Resource::Fsize, Some(16 << 10));
    let error = Catalog::create(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert_eq!(names(&directory), [""; 0], "left by a creation");

    limit(Resource::Fsize, Some(6 << 20));
    let catalog = Catalog::create(&path).unwrap();
    let session = session(&catalog, "acme");
    let family = family(&session);
    let mut ids = Vec::new();
    let error = loop {
        let mut set = new_set(family.asset, &format!("set {}", ids.len()));
        // Incompressible or not, redb stores it as it is.
        set.schema = Some(crate::support::schema());
        set.description = Some("y".repeat(1_000));
        set.properties = Some(shelfmark::JsonObject::from_iter([(
            "text".to_owned(),
            "z".repeat(100_000).into(),
        )]));
        match session.create(set) {
            Ok(set) => ids.push(set.id),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::CommitUnknown),
        "{error}"
    );
    assert!(matches!(catalog.health(), Health::Latched { .. }));
    let kind = session.delete(ids[0], Expectation::Any).unwrap_err().kind();
    assert_eq!(kind, ErrorKind::Unavailable);
    // Reads go on where the pages are at hand, and never give anything else.
    for &id in &ids {
        match session.get(id) {
            Ok(set) => assert_eq!(set.map(|set| set.id), Some(id)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
    }
    // There is room for the file as it is, but not for a second one.
    limit(Resource::Fsize, Some(1 << 20));
    let backup = directory.join("backup.shelf");
    let refused = catalog.backup(&backup).unwrap_err();
    assert!(
        matches!(
            refused.kind(),
            ErrorKind::StorageFull | ErrorKind::Unavailable | ErrorKind::CommitUnknown
        ),
        "{refused}"
    );
    assert_eq!(
        names(&directory),
        ["catalog.shelf", "catalog.shelf-log"],
        "left by a backup"
    );

    limit(Resource::Fsize, None);
    catalog.reopen().unwrap();
    for &id in &ids {
        assert!(session.get(id).unwrap().is_some(), "{id} was acknowledged");
    }
    let stored = session.count::<DataSet>(SetSelection::All).unwrap();
    session.delete(family.asset, Expectation::Any).unwrap();
    let again = crate::support::family(&session);
    assert!(session.get(again.set).unwrap().is_some());
    assert_clean(&catalog, "after the medium was full");
    fs::write(directory.join("stored"), stored.to_string()).unwrap();
}

#[test]
fn without_descriptors_what_is_open_serves_and_what_is_not_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert_passed(&without_signal(
        "medium::child_runs_out_of_descriptors",
        directory.path(),
    ));
}

#[test]
fn child_runs_out_of_descriptors() {
    let Some(directory) = child_path() else { return };
    let path = directory.join("catalog.shelf");
    let catalog = Catalog::create(&path).unwrap();
    let session = session(&catalog, "acme");
    let family = family(&session);
    limit(Resource::Nofile, Some(64));
    let mut taken = Vec::new();
    while let Ok(file) = File::open(&path) {
        taken.push(file);
    }
    assert!(!taken.is_empty());
    // One handle has its descriptor already.
    let more = session.create(new_store("more")).unwrap();
    assert!(session.get(family.set).unwrap().is_some());
    let other = directory.join("other.shelf");
    for refused in [
        Catalog::create(&other).map(drop),
        Catalog::open(&path).map(drop),
        catalog.backup(&other),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(std::error::Error::source(&error).is_some(), "{error}");
    }
    // Reopening gives its own descriptor back first; somebody else may be faster.
    let spare = taken.pop();
    drop(spare);
    let thief = File::open(&path).unwrap();
    drop(taken);
    catalog.reopen().unwrap();
    assert_eq!(catalog.health(), Health::Healthy);
    assert!(session.get(more.id).unwrap().is_some());
    session.create(new_store("again")).unwrap();
    drop(thief);
    assert_eq!(names(&directory), ["catalog.shelf"]);
    assert_clean(&catalog, "with descriptors again");
}

#[test]
fn a_directory_that_is_missing_or_goes_away_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("catalog.shelf");
    let catalog = Catalog::create(&path).unwrap();
    let session = session(&catalog, "acme");
    let family = family(&session);
    let error = catalog
        .backup(directory.path().join("no/such/backup"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileMissing, "{error}");

    fs::rename(&inner, directory.path().join("moved")).unwrap();
    // The file is open, wherever it is.
    assert!(session.get(family.set).unwrap().is_some());
    session.create(new_store("more")).unwrap();
    let error = catalog.reopen().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileMissing, "{error}");
    assert!(matches!(catalog.health(), Health::Latched { .. }));
    let error = session.get(family.set).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");

    fs::rename(directory.path().join("moved"), &inner).unwrap();
    catalog.reopen().unwrap();
    let stores = session.count::<DataStore>(shelfmark::AllStores).unwrap();
    assert_eq!(stores, 2);
}

/// Permissions do not bind the superuser, who gets a read-only mount in place of them, where the system lets a test make one.
#[test]
fn a_medium_that_cannot_be_written_is_read_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.shelf");
    family(&session(&Catalog::create(&path).unwrap(), "acme"));
    if !rustix::process::geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt as _;
        let allow = |mode, path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a file of one's own");
        };
        allow(0o444, &path);
        allow(0o555, directory.path());
        assert_read_only(directory.path());
        allow(0o755, directory.path());
        figures("a medium that cannot be written", "by permissions");
        return;
    }
    let inner = child("medium::child_meets_a_read_only_medium", directory.path());
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "sh",
        "-c",
        "mount --bind \"$SHELFMARK_SUITE_CHILD_PATH\" \"$SHELFMARK_SUITE_CHILD_PATH\" \
         && mount -o remount,ro,bind \"$SHELFMARK_SUITE_CHILD_PATH\" || exit 99; exec \"$0\" \"$@\"",
    ]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.env("SHELFMARK_SUITE_CHILD_PATH", directory.path());
    match command.output() {
        Ok(output) if output.status.success() => {
            assert_passed(&output);
            figures("a medium that cannot be written", "by a read-only mount");
        }
        Ok(output) if ![Some(1), Some(99)].contains(&output.status.code()) => {
            assert_passed(&output);
        }
        refused => {
            // 1 is what `unshare` ends with where it may not; a test that fails ends with 101.
            let why = refused.map_or_else(
                |error| error.to_string(),
                |output| String::from_utf8_lossy(&output.stderr).into_owned(),
            );
            figures(
                "a medium that cannot be written",
                &format!("LEFT OUT: the superuser needs no permission, and may not mount here: {why}"),
            );
        }
    }
}

#[test]
fn child_meets_a_read_only_medium() {
    let Some(directory) = child_path() else { return };
    assert_read_only(&directory);
}

fn assert_read_only(directory: &Path) {
    let path = directory.join("catalog.shelf");
    let before = names(directory);
    for refused in [
        Catalog::open(&path).map(drop),
        Catalog::create(directory.join("other.shelf")).map(drop),
        Catalog::open_or_create(&path).map(drop),
    ] {
        let error = refused.expect_err("a refusal");
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    }
    let catalog = Options::new()
        .read_only(true)
        .open(&path)
        .expect("a file to read");
    let session = session(&catalog, "acme");
    assert_eq!(
        session
            .list(&Query::<DataSet>::new())
            .expect("a list")
            .items
            .len(),
        1
    );
    let error = catalog
        .backup(directory.join("backup.shelf"))
        .expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    assert_clean(&catalog, "on a medium that cannot be written");
    assert_eq!(names(directory), before);
}

#[test]
fn a_clock_that_jumps_back_takes_no_time_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.shelf");
    let environment = TestEnvironment::new(1);
    let options = Options::new().environment(environment.environment());
    let catalog = options.create(&path).unwrap();
    let family = family(&session(&catalog, "acme"));
    environment.advance(5_000);
    let set = session(&catalog, "acme")
        .update(family.set, Expectation::Any, |set| set.name = Some("one".into()))
        .unwrap();
    drop(catalog);

    // Another process, whose clock has never been there, and whose ids have not either.
    let behind = TestEnvironment::new(2);
    behind.advance(-86_400_000);
    let options = Options::new().environment(behind.environment());
    let catalog = options.open(&path).unwrap();
    let session = session(&catalog, "acme");
    let later = session
        .update(family.set, Expectation::Any, |set| set.name = Some("two".into()))
        .unwrap();
    assert_eq!(later.version, set.version + 1);
    assert!(later.last_modified_time >= set.last_modified_time);
    let fresh = session.create(new_set(family.asset, "fresh")).unwrap();
    assert!(fresh.last_modified_time >= fresh.created_time);
    for step in [-1_000, 10_000, -100_000, 500_000] {
        behind.advance(step);
        let next = session
            .update(fresh.id, Expectation::Any, |set| {
                set.name = Some(format!("step {step}"));
            })
            .unwrap();
        let before = session.get(family.set).unwrap().unwrap();
        assert!(next.last_modified_time >= fresh.last_modified_time && before == later);
    }
    assert_clean(&catalog, "a clock that jumped");
}
