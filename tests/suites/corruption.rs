//! Decay: flipped bytes, cut files, swapped pages. What is answered is judged against answers from before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use shelfmark::backend::Keyspace;
use shelfmark::{
    AssetId, Catalog, DataAsset, DataSet, DataStore, DroppedQuery, Entity, EntityId, EntityKind, Error,
    ErrorKind, Expectation, IdempotencyKey, Integrity, NewDataAsset, NewDataSet, Options, Query, Read,
    Session, SetSelection, TypedId, Uuid, Write,
};
use shelfmark_testkit::TestEnvironment;
use shelfmark_testkit::storage::RecordingStorage;

use crate::support::{
    Random, family, figures, long_version, new_asset, new_set, new_store, quietly, schema, session,
};

const PAGE: usize = 4_096;
const TENANTS: [&str; 2] = ["acme", "globex"];

/// The most rows of a page.
const MOST: usize = 1_000;

/// A closed catalog, and what it answers.
struct Sound {
    bytes: Vec<u8>,
    answers: Answers,
}

/// What every entity is, what the catalog tells of the past, and what lists, counts and finds give.
#[derive(Default, PartialEq)]
struct Answers {
    entities: BTreeMap<(&'static str, EntityKind, Uuid), String>,
    /// Changes, what was dropped, answers to requests.
    past: BTreeMap<(&'static str, String), String>,
    lists: BTreeMap<(&'static str, String), Vec<String>>,
    /// The parent, gone since, of a set that was created with an idempotency key.
    gone: BTreeMap<&'static str, AssetId>,
}

/// How the answers of a damaged file differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// An entity, a change, an answer with contents that were never stored.
    Value,
    /// Some are missing, too many, miscounted, or in another order.
    Structure,
}

/// What reading a damaged file came to.
#[derive(Default)]
struct Reading {
    refused: u64,
    wrong: Vec<(Wrong, String)>,
}

fn text<T: Debug>(value: &T) -> String {
    format!("{value:?}")
}

/// A catalog that keeps what it can of the past, at the time of its making: nothing has expired.
fn options(seed: u64) -> Options {
    Options::new()
        .environment(TestEnvironment::new(seed).environment())
        .change_feed(true)
        .undrop(Duration::from_secs(86_400))
}

/// A request that is answered once only: its parent is dropped afterwards.
fn request(asset: AssetId) -> (IdempotencyKey, NewDataSet) {
    let set = NewDataSet {
        description: Some("Asked for once".into()),
        schema: Some(schema()),
        ..new_set(asset, "asked")
    };
    (IdempotencyKey::new("once").expect("a key"), set)
}

impl Answers {
    /// Reads everything; a refusal is noted, and the rest read on.
    fn read(
        catalog: &Catalog,
        known: Option<&Answers>,
        gone: BTreeMap<&'static str, AssetId>,
        reading: &mut Reading,
    ) -> Self {
        let mut answers = Self {
            gone,
            ..Self::default()
        };
        for tenant in TENANTS {
            let session = session(catalog, tenant);
            answers.read_kind::<DataStore>(tenant, &session, known, reading);
            answers.read_kind::<DataAsset>(tenant, &session, known, reading);
            answers.read_kind::<DataSet>(tenant, &session, known, reading);
            answers.read_past(tenant, &session, known, reading);
            let found = session.find_by_secure_qri("qri:orders");
            answers.note(tenant, "by secure qri", found, reading, |set| text(&set.id));
            let found = session.find_by_name::<DataSet>(SetSelection::All, "orders");
            answers.note(tenant, "by name", found, reading, |set| text(&set.id));
        }
        answers.note("", "tenants", catalog.tenants(), reading, String::clone);
        answers
    }

    fn read_kind<E: Entity>(
        &mut self,
        tenant: &'static str,
        session: &Session,
        known: Option<&Answers>,
        reading: &mut Reading,
    ) {
        let kind = E::KIND;
        let count = session.count::<E>(E::Selection::default());
        self.note(
            tenant,
            &format!("{kind:?}: count"),
            count.map(|n| vec![n]),
            reading,
            text,
        );
        for sort in ["", "-description"] {
            let page = session.list(&Query::<E>::new().sort(sort).limit(MOST).with_schemas());
            let items = page.map(|page| page.items);
            for entity in items.iter().flatten() {
                let key = (tenant, kind, entity.id().uuid());
                match known {
                    None => drop(self.entities.insert(key, text(entity))),
                    Some(known) => reading.judge(&known.entities, &key, text(entity)),
                }
            }
            let what = format!("{kind:?}: list by {sort}");
            self.note(tenant, &what, items, reading, |entity| text(&entity.id().uuid()));
        }
        for sort in ["name", "-technicalName", "lastModifiedTime"] {
            let names = session.list_names(&Query::<E>::new().sort(sort).limit(MOST));
            let what = format!("{kind:?}: names by {sort}");
            self.note(tenant, &what, names.map(|page| page.items), reading, text);
        }
        let Some(known) = known else { return };
        for key in known
            .entities
            .keys()
            .filter(|key| (key.0, key.1) == (tenant, kind))
        {
            match session.get(E::Id::from_uuid(key.2)) {
                Ok(Some(entity)) => reading.judge(&known.entities, key, text(&entity)),
                Ok(None) => reading.miss(format!("no {key:?}")),
                Err(error) => reading.refuse(&error),
            }
        }
    }

    /// The change feed, what was dropped, and what a request that is sent again is answered.
    fn read_past(
        &mut self,
        tenant: &'static str,
        session: &Session,
        known: Option<&Answers>,
        reading: &mut Reading,
    ) {
        let tell = |answers: &mut Self, what: String, shown: String, reading: &mut Reading| {
            let key = (tenant, what);
            match known {
                None => drop(answers.past.insert(key, shown)),
                Some(known) => reading.judge(&known.past, &key, shown),
            }
        };
        let changes = session.changes(None, MOST).map(|page| page.items);
        // Nothing was trimmed: the oldest ones are missing.
        let changes = changes.or_else(|error| match error.kind() {
            ErrorKind::ChangesTrimmed => Ok(Vec::new()),
            _ => Err(error),
        });
        for change in changes.iter().flatten() {
            tell(self, format!("change {}", change.sequence), text(change), reading);
        }
        self.note(tenant, "changes", changes, reading, |change| {
            text(&change.sequence)
        });

        let listed = session.list_dropped(&DroppedQuery::new().limit(MOST));
        let listed = listed.map(|page| page.items);
        for dropped in listed.iter().flatten() {
            tell(self, text(&dropped.id), text(dropped), reading);
        }
        self.note(tenant, "dropped", listed, reading, |dropped| text(&dropped.id));
        if let Some(asset) = self.gone.get(tenant).copied() {
            match session.dropped(asset) {
                Ok(Some(dropped)) => tell(self, text(&EntityId::from(asset)), text(&dropped), reading),
                Ok(None) => reading.miss(format!("{tenant}: {asset:?} was not dropped")),
                Err(error) => reading.refuse(&error),
            }
            let (key, set) = request(asset);
            match session.create_once(&key, set) {
                Ok(once) => tell(self, "an answer".into(), text(&once), reading),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    reading.miss(format!("{tenant}: the request is not known"));
                }
                Err(error) => reading.refuse(&error),
            }
        }
    }

    fn note<T>(
        &mut self,
        tenant: &'static str,
        what: &str,
        answer: shelfmark::Result<Vec<T>>,
        reading: &mut Reading,
        show: impl Fn(&T) -> String,
    ) {
        match answer {
            Ok(items) => {
                let shown = items.iter().map(show).collect();
                self.lists.insert((tenant, what.to_owned()), shown);
            }
            Err(error) => reading.refuse(&error),
        }
    }
}

impl Reading {
    /// That `shown` is what was stored under the key.
    fn judge<K: Ord + Debug>(&mut self, known: &BTreeMap<K, String>, key: &K, shown: String) {
        if known.get(key) != Some(&shown) {
            self.wrong.push((Wrong::Value, format!("{key:?}: {shown}")));
        }
    }

    fn miss(&mut self, what: String) {
        self.wrong.push((Wrong::Structure, what));
    }

    fn refuse(&mut self, error: &Error) {
        assert_typed(error);
        self.refused += 1;
    }
}

fn assert_typed(error: &Error) {
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Corrupt
                | ErrorKind::NotACatalog
                | ErrorKind::FormatTooNew
                | ErrorKind::FormatTooOld
                | ErrorKind::FileMissing
                | ErrorKind::Io
                | ErrorKind::Unavailable
                | ErrorKind::CommitUnknown
        ),
        "{}: {error}",
        error.kind()
    );
}

impl Sound {
    fn new() -> Self {
        let storage = RecordingStorage::new();
        let options = options(4);
        let backend = options
            .create_backend_on(Arc::new(storage.clone()))
            .expect("a backend");
        let catalog = options.on_backend(backend).expect("a catalog");
        let mut gone = BTreeMap::new();
        for tenant in TENANTS {
            let session = session(&catalog, tenant);
            let family = family(&session);
            for n in 0..2 {
                let store = session.create(new_store(&format!("store {n}"))).expect("a store");
                for m in 0..2 {
                    let asset = session
                        .create(NewDataAsset {
                            name: Some(format!("Asset {m} of {n}")),
                            ..new_asset(store.id, &format!("asset {m}"))
                        })
                        .expect("an asset");
                    for l in 0..2 {
                        let set = NewDataSet {
                            name: Some(format!("Set {l}")),
                            description: Some(format!("Orders of the {l}. quarter")),
                            schema: (l % 2 == 0).then(schema),
                            ..new_set(asset.id, &format!("set {l}"))
                        };
                        session.create(set).expect("a set");
                    }
                }
            }
            let asset = session.create(new_asset(family.store, "gone")).expect("an asset");
            // So that the change feed has more than one page.
            for change in 0..40 {
                let text = format!("changed {change} times");
                let updated = session.update(family.store, Expectation::Any, |store| {
                    store.description = Some(text.clone());
                });
                updated.expect("an update");
            }
            let (key, set) = request(asset.id);
            let set = session.create_once(&key, set).expect("a set").value;
            session.create(new_set(asset.id, "with it")).expect("a set");
            session.delete(set.id, Expectation::Any).expect("a deletion");
            session.delete(asset.id, Expectation::Any).expect("a deletion");
            gone.insert(tenant, asset.id);
        }
        // So that what lies in the file is in use.
        catalog.compact().expect("a smaller file");
        let mut reading = Reading::default();
        let answers = Answers::read(&catalog, None, gone, &mut reading);
        assert_eq!((reading.refused, reading.wrong.as_slice()), (0, &[][..]));
        drop(catalog);
        Self {
            bytes: storage.bytes().file,
            answers,
        }
    }

    /// The pages whose damage a verification finds: the others hold what was before, or nothing yet.
    fn live_pages(&self) -> Vec<usize> {
        let options = Options::new().integrity(Integrity::Verify);
        let refuses = |page: &usize| {
            let mut damaged = self.bytes.clone();
            damaged[page * PAGE] ^= 0xFF;
            options
                .open_backend_on(Arc::new(RecordingStorage::holding(damaged)))
                .is_err()
        };
        quietly(|| self.pages().into_iter().filter(refuses).collect())
    }

    /// The pages that hold anything.
    fn pages(&self) -> Vec<usize> {
        let used = |page: &[u8]| page.iter().any(|&byte| byte != 0);
        let pages = self.bytes.chunks(PAGE).enumerate();
        pages.filter(|(_, page)| used(page)).map(|(at, _)| at).collect()
    }
}

/// Past the capture of a test's output, and of panics.
fn tell(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// What came of many damaged files.
#[derive(Debug, Default)]
struct Tally {
    files: u64,
    refused_at_open: u64,
    refused_while_reading: u64,
    right: u64,
    wrong_values: u64,
    wrong_structure: u64,
    found_by_check: u64,
    not_found: u64,
    panics: u64,
}

impl Tally {
    /// Opens a damaged file and reads all of it, then writes, then closes.
    fn add(&mut self, sound: &Sound, bytes: Vec<u8>, integrity: Integrity, what: &str) {
        self.files += 1;
        let worked = catch_unwind(AssertUnwindSafe(|| self.open(sound, bytes, integrity, what)));
        if let Err(panic) = worked {
            self.panics += 1;
            let said = panic.downcast_ref::<String>().map_or("", String::as_str);
            tell(&format!("a panic, {what}: {said}"));
        }
    }

    fn open(&mut self, sound: &Sound, bytes: Vec<u8>, integrity: Integrity, what: &str) {
        let options = options(5).cache_bytes(1 << 20).integrity(integrity);
        let storage = RecordingStorage::holding(bytes);
        let catalog = options
            .open_backend_on(Arc::new(storage))
            .and_then(|backend| options.on_backend(backend));
        let catalog = match catalog {
            Ok(catalog) => catalog,
            Err(error) => {
                assert_typed(&error);
                self.refused_at_open += 1;
                return;
            }
        };
        let mut reading = Reading::default();
        let answers = Answers::read(
            &catalog,
            Some(&sound.answers),
            sound.answers.gone.clone(),
            &mut reading,
        );
        for (question, answer) in &answers.lists {
            if sound.answers.lists.get(question) != Some(answer) {
                reading
                    .wrong
                    .push((Wrong::Structure, format!("{question:?}: {answer:?}")));
            }
        }
        if let Some(value) = reading.wrong.iter().find(|(wrong, _)| *wrong == Wrong::Value) {
            self.wrong_values += 1;
            tell(&format!("a wrong value, {what}: {value:?}"));
        }
        if !reading.wrong.is_empty() {
            self.wrong_structure += 1;
            let checked = catalog.check();
            if checked.as_ref().map_or(true, |report| !report.is_clean()) {
                self.found_by_check += 1;
            } else {
                self.not_found += 1;
                tell(&format!("a check finds nothing, {what}: {:?}", reading.wrong));
            }
        } else if reading.refused > 0 {
            self.refused_while_reading += 1;
        } else {
            self.right += 1;
        }
        // Whatever comes of it, it comes as a result.
        let session = session(&catalog, "acme");
        if let Err(error) = session.create(new_store("more")) {
            assert_typed(&error);
        }
        if let Err(error) = catalog.check() {
            assert_typed(&error);
        }
    }

    #[track_caller]
    fn report(&self, what: &str) {
        figures(what, &format!("{self:?}"));
        assert_eq!((self.panics, self.wrong_values, self.not_found), (0, 0, 0));
    }
}

/// Flips one bit of each of many bytes: of every byte of the used pages in the long version; else mostly of bytes that hold something.
fn flips(sound: &Sound, integrity: Integrity, name: &str) -> Tally {
    let bytes_of = |pages: &[usize]| -> Vec<usize> {
        let bytes = pages.iter().flat_map(|page| page * PAGE..(page + 1) * PAGE);
        bytes.collect()
    };
    let used = bytes_of(&sound.pages());
    let (set, count) = if long_version() {
        (used.clone(), used.len())
    } else {
        let mut live = bytes_of(&sound.live_pages());
        // Without the room that pages have left, which the engine fills so in builds for tests.
        live.retain(|&at| !matches!(sound.bytes[at], 0 | 0xFF));
        (live, 2_000)
    };
    let mut random = Random::new(11);
    let mut tally = Tally::default();
    for flip in 0..count {
        // One in each stretch of the same length, wherever in it.
        let from = if flip % 8 == 7 { &used } else { &set };
        let (start, end) = (flip * from.len() / count, (flip + 1) * from.len() / count);
        let at = from[start + random.below((end - start).max(1) as u64) as usize];
        let mut damaged = sound.bytes.clone();
        let mask = 1 << random.below(8);
        damaged[at] ^= mask;
        quietly(|| {
            tally.add(
                sound,
                damaged,
                integrity,
                &format!("{name}: bit {mask:#x} at {at}"),
            );
        });
    }
    tally
}

#[test]
fn flipped_bytes_give_no_wrong_answer_from_a_verified_file() {
    let tally = flips(&Sound::new(), Integrity::Verify, "verified");
    tally.report("flips, verified");
    assert!(tally.files >= 2_000);
    assert_eq!(tally.wrong_structure, 0);
}

#[test]
fn flipped_bytes_give_no_wrong_value_from_a_trusted_file() {
    let tally = flips(&Sound::new(), Integrity::Trust, "trusted");
    tally.report("flips, trusted");
    assert!(tally.files >= 2_000);
}

#[test]
fn a_table_whose_name_decayed_is_noticed_when_the_file_is_opened() {
    let sound = Sound::new();
    let mut names = BTreeSet::new();
    for page in sound.live_pages() {
        let bytes = &sound.bytes[page * PAGE..(page + 1) * PAGE];
        let has = |name: &str| bytes.windows(name.len()).any(|at| at == name.as_bytes());
        // Those of all tables lie in one page.
        if !Keyspace::ALL.iter().all(|space| has(space.name())) {
            continue;
        }
        for name in Keyspace::ALL.iter().map(|space| space.name()) {
            let found = bytes.windows(name.len()).enumerate();
            let found = found.filter(|(_, at)| *at == name.as_bytes());
            names.extend(found.flat_map(|(at, _)| page * PAGE + at..page * PAGE + at + name.len()));
        }
    }
    let mut tally = Tally::default();
    for (&at, bit) in names.iter().flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut damaged = sound.bytes.clone();
        damaged[at] ^= 1 << bit;
        let what = format!("bit {bit} of a name at {at}");
        quietly(|| tally.add(&sound, damaged, Integrity::Trust, &what));
    }
    tally.report("names of tables");
    let letters: usize = Keyspace::ALL.iter().map(|space| space.name().len()).sum();
    assert_eq!((names.len(), tally.refused_at_open), (letters, tally.files));
}

#[test]
fn a_file_cut_anywhere_is_refused_or_answers_right() {
    let sound = Sound::new();
    let stride = if long_version() { 512 } else { 3 * PAGE };
    let cuts: BTreeSet<usize> = (0..sound.bytes.len())
        .step_by(stride)
        .flat_map(|at| [at, at + 1, at + 320])
        .chain([1, 9, 64, 319, sound.bytes.len() - 1])
        .filter(|&at| at < sound.bytes.len())
        .collect();
    for integrity in [Integrity::Trust, Integrity::Verify] {
        let mut tally = Tally::default();
        for &cut in &cuts {
            let damaged = sound.bytes[..cut].to_vec();
            quietly(|| tally.add(&sound, damaged, integrity, &format!("cut at {cut}")));
        }
        tally.report(&format!("cut files, {integrity:?}"));
        assert_eq!(tally.refused_at_open, tally.files);
    }
}

#[test]
fn swapped_and_repeated_pages_give_no_wrong_value() {
    let sound = Sound::new();
    let used = sound.pages();
    let count = if long_version() { 20_000 } else { 200 };
    for integrity in [Integrity::Trust, Integrity::Verify] {
        let mut random = Random::new(17);
        let mut tally = Tally::default();
        for swap in 0..count {
            let mut pick = || used[random.below(used.len() as u64) as usize] * PAGE;
            let (one, other) = (pick(), pick());
            if sound.bytes[one..one + PAGE] == sound.bytes[other..other + PAGE] {
                continue;
            }
            let mut damaged = sound.bytes.clone();
            damaged[one..one + PAGE].copy_from_slice(&sound.bytes[other..other + PAGE]);
            if swap % 2 == 0 {
                damaged[other..other + PAGE].copy_from_slice(&sound.bytes[one..one + PAGE]);
            }
            quietly(|| tally.add(&sound, damaged, integrity, &format!("{one} and {other}, {swap}")));
        }
        tally.report(&format!("swapped pages, {integrity:?}"));
        assert!(integrity == Integrity::Trust || tally.wrong_structure == 0);
    }
}

#[test]
fn a_page_in_use_over_another_is_noticed() {
    let sound = Sound::new();
    let live = sound.live_pages();
    let mut tally = Tally::default();
    for (&one, &other) in live
        .iter()
        .flat_map(|one| live.iter().map(move |other| (one, other)))
    {
        let (from, to) = (one * PAGE, other * PAGE);
        let mut damaged = sound.bytes.clone();
        damaged.copy_within(from..from + PAGE, to);
        if damaged != sound.bytes {
            let what = format!("{from} over {to}");
            quietly(|| tally.add(&sound, damaged, Integrity::Trust, &what));
        }
    }
    tally.report("pages in use over others");
    assert!(tally.files >= 200);
}

/// A branch is the way to a row; a walk over all of them does not need what its keys say.
#[test]
fn a_flipped_bit_of_a_branch_is_noticed() {
    const BRANCH: u8 = 2;
    let sound = Sound::new();
    let mut tally = Tally::default();
    for page in sound.live_pages() {
        let bytes = page * PAGE..(page + 1) * PAGE;
        if sound.bytes[bytes.start] != BRANCH {
            continue;
        }
        // Room that is left is zero, or filled so by the engine in builds for tests.
        for at in bytes.filter(|&at| !matches!(sound.bytes[at], 0 | 0xFF)) {
            let mut damaged = sound.bytes.clone();
            let mask = 1 << (at % 8);
            damaged[at] ^= mask;
            let what = format!("bit {mask:#x} of a branch at {at}");
            quietly(|| tally.add(&sound, damaged, Integrity::Trust, &what));
        }
    }
    tally.report("flips in branches");
    assert!(tally.files > 20, "{tally:?}");
}
