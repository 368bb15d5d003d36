//! A file of every format, in `tests/golden`: `format_N.shelf` as that format wrote it, `format_N.rows` every row of it, `format_N.json` what it answers.
//!
//! Files of a released format are never changed. Until the first release of a format its files may be made anew, when what it writes changes:
//! `SHELFMARK_WRITE_GOLDEN=1 cargo test -p shelfmark-tests formats::`. After it, a change of what is written needs a new format, with a migration in the
//! engine's `format.rs`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shelfmark::backend::Keyspace;
use shelfmark::{
    Catalog, DataAsset, DataSet, DataStore, Durability, Entity, Expectation, IdempotencyKey, NewDataSet,
    NewDataStore, Options, Query, Read, Session, SetSelection, Write,
};
use shelfmark_testkit::TestEnvironment;
use shelfmark_testkit::storage::{RecordingStorage, Rows, rows_of};

use crate::support::{assert_clean, family, new_asset, new_set, number, schema, session};

/// The formats that a released version has written. Add the number when a version is released, never take one away.
const RELEASED: &[u32] = &[];

const TENANTS: [&str; 2] = ["acme", "Globex"];

fn golden(format: u32, ending: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/format_{format}.{ending}"))
}

fn options() -> Options {
    Options::new()
        .environment(TestEnvironment::new(42).environment())
        .unique_technical_names(true)
        .change_feed(true)
        .undrop(Duration::from_secs(7 * 24 * 3_600))
}

/// What this version writes of a little of everything.
fn written_now() -> RecordingStorage {
    let storage = RecordingStorage::new();
    let environment = TestEnvironment::new(42);
    let options = options().environment(environment.environment());
    let backend = options
        .create_backend_on(Arc::new(storage.clone()))
        .expect("a backend");
    let catalog = options.on_backend(backend).expect("a catalog");
    for tenant in TENANTS {
        let session = session(&catalog, tenant).with_durability(Durability::Immediate);
        let family = family(&session);
        environment.advance(1_500);
        // Escaped, folded to more, and cut.
        let long = format!("Straße \u{0}\u{1} {}", "漢".repeat(240));
        let set = session
            .create(NewDataSet {
                name: Some(long),
                properties: number(i64::MIN),
                tags: vec!["gold".into(), "Öl".into()],
                secure_qri: "qri:orders".into(),
                ..new_set(family.asset, "long")
            })
            .expect("a set");
        environment.advance(-700);
        session
            .update(set.id, Expectation::Exactly(0), |set| {
                set.description = Some("later".into());
            })
            .expect("an update");
        session
            .create(NewDataStore {
                description: Some("empty".into()),
                ..NewDataStore::new("other", "s3")
            })
            .expect("a store");
        let key = IdempotencyKey::new("once").expect("a key");
        session
            .create_once(&key, NewDataStore::new("keyed", "s3"))
            .expect("a store");
        let gone = session.create(new_set(family.asset, "gone")).expect("a set");
        session.delete(gone.id, Expectation::Any).expect("a deletion");
        // With a set that has schemas.
        let gone = session
            .create(new_asset(family.store, "dropped"))
            .expect("an asset");
        session
            .create(NewDataSet {
                schema: Some(schema()),
                ..new_set(gone.id, "dropped along")
            })
            .expect("a set");
        session.delete(gone.id, Expectation::Any).expect("a deletion");
    }
    catalog.compact().expect("a smaller file");
    drop(catalog);
    storage
}

fn rows(storage: &RecordingStorage) -> Rows {
    let backend = options()
        .open_backend_on(Arc::new(storage.clone()))
        .expect("a closed file");
    rows_of(&*backend).expect("rows")
}

/// One row a line: keyspace, key, value.
fn text_of(rows: &Rows) -> String {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    let lines = rows
        .iter()
        .map(|((space, key), value)| format!("{} {} {}\n", space.name(), hex(key), hex(value)));
    lines.collect()
}

fn listed<E: Entity>(session: &Session) -> Value {
    let query = Query::<E>::new().limit(1_000).with_schemas();
    let page = session.list(&query).expect("a list");
    json!({ "total": page.total, "items": page.items })
}

fn answers_of(catalog: &Catalog) -> Value {
    let mut answers = json!({});
    for tenant in TENANTS {
        let session = session(catalog, tenant);
        let found = session.find_by_secure_qri("qri:orders").expect("a find");
        let named = session
            .find_by_name::<DataSet>(SetSelection::All, "orders")
            .expect("a find");
        answers[tenant] = json!({
            "stores": listed::<DataStore>(&session),
            "assets": listed::<DataAsset>(&session),
            "sets": listed::<DataSet>(&session),
            "by qri": found.iter().map(|set| set.id.to_string()).collect::<Vec<_>>(),
            "by name": named.iter().map(|set| set.id.to_string()).collect::<Vec<_>>(),
            "changes": session.changes(None, 1_000).expect("changes").items.len(),
        });
    }
    answers
}

/// The format that the rows name.
fn format_of(rows: &Rows) -> u32 {
    let value = &rows[&(Keyspace::Meta, b"format".to_vec())];
    // Behind the envelope's header.
    u32::from_be_bytes(value[5..].try_into().expect("four bytes"))
}

/// Every member that was there is there still, with its value; a later format may add others.
fn contains(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => old
            .iter()
            .all(|(name, old)| new.get(name).is_some_and(|new| contains(new, old))),
        (Value::Array(new), Value::Array(old)) => {
            new.len() == old.len() && new.iter().zip(old).all(|(new, old)| contains(new, old))
        }
        _ => new == old,
    }
}

#[test]
fn what_is_written_now_is_what_the_golden_file_says() {
    let storage = written_now();
    let rows = rows(&storage);
    let (format, text) = (format_of(&rows), text_of(&rows));
    if std::env::var_os("SHELFMARK_WRITE_GOLDEN").is_some() {
        assert!(
            !RELEASED.contains(&format),
            "format {format} is released: its files stay. Raise the format and write a migration"
        );
        let catalog = options()
            .on_backend(options().open_backend_on(Arc::new(storage)).expect("a backend"))
            .expect("a catalog");
        let answers = serde_json::to_string_pretty(&answers_of(&catalog)).expect("text");
        drop(catalog);
        fs::create_dir_all(golden(format, "rows").parent().expect("a folder")).expect("a folder");
        fs::write(golden(format, "shelf"), written_now().bytes().file).expect("a file");
        fs::write(golden(format, "rows"), &text).expect("a file");
        fs::write(golden(format, "json"), answers + "\n").expect("a file");
    }
    let known = fs::read_to_string(golden(format, "rows")).unwrap_or_default();
    let differing: Vec<(&str, &str)> = known
        .lines()
        .zip(text.lines())
        .filter(|(known, now)| known != now)
        .collect();
    assert!(
        known == text,
        "format {format} writes other rows than it did, {} of {} at first {:?}: raise the format and write a migration, or, while no version with \
         this format is released, make the golden files anew (SHELFMARK_WRITE_GOLDEN=1)",
        differing
            .len()
            .max(known.lines().count().abs_diff(text.lines().count())),
        text.lines().count(),
        differing.first(),
    );
}

#[test]
fn a_file_of_every_format_opens_and_holds_what_it_held() {
    let current = format_of(&rows(&written_now()));
    let formats: BTreeSet<u32> = RELEASED.iter().copied().chain([current]).collect();
    for &format in &formats {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.shelf");
        fs::copy(golden(format, "shelf"), &path).unwrap_or_else(|error| panic!("format {format}: {error}"));
        let text = fs::read_to_string(golden(format, "rows")).unwrap();
        let answers: Value = serde_json::from_slice(&fs::read(golden(format, "json")).unwrap()).unwrap();
        if format == current {
            let before = fs::read(&path).unwrap();
            let backend = Options::new().read_only(true).open_backend(&path).unwrap();
            assert!(
                text_of(&rows_of(&*backend).unwrap()) == text,
                "format {format}: other rows"
            );
            drop(backend);
            assert!(fs::read(&path).unwrap() == before, "reading changed it");
        }
        let catalog = Catalog::open(&path).unwrap();
        assert_clean(&catalog, &format!("format {format}"));
        let now = answers_of(&catalog);
        assert!(
            contains(&now, &answers),
            "format {format}: {now:#} in place of {answers:#}"
        );
        let session = session(&catalog, TENANTS[0]);
        let before = session.list(&Query::<DataSet>::new().limit(1)).unwrap().items[0].clone();
        let after = session
            .update(before.id, before.version, |set| set.name = Some("renamed".into()))
            .unwrap();
        assert_eq!(after.version, before.version + 1);
        assert_clean(&catalog, &format!("format {format}, changed"));
        drop((session, catalog));
        let rows = rows_of(&*Options::new().read_only(true).open_backend(&path).unwrap()).unwrap();
        assert_eq!(
            format_of(&rows),
            current,
            "format {format} was brought up to date"
        );
    }
}

#[test]
fn the_golden_file_has_rows_of_every_keyspace() {
    let rows = rows(&written_now());
    let filled: BTreeSet<Keyspace> = rows.keys().map(|(space, _)| *space).collect();
    for &space in Keyspace::ALL {
        assert!(
            filled.contains(&space),
            "{}: a format is as well known as its file shows it",
            space.name()
        );
    }
}

#[test]
fn a_difference_of_one_bit_is_a_difference() {
    // That the comparison can fail: the rows are the whole of what is compared.
    let mut rows = rows(&written_now());
    let text = text_of(&rows);
    let value = rows.values_mut().find(|value| !value.is_empty()).unwrap();
    value[0] ^= 1;
    assert_ne!(text_of(&rows), text);
}
