//! Losses of power: at every sync of a script the file is rebuilt as the medium may have it, opened, checked and compared.

use std::sync::Arc;

use shelfmark::backend::{Backend, CommitOptions, Keyspace, WriteBatch};
use shelfmark::{Options, Write};
use shelfmark_testkit::storage::{
    Crash, RecordingStorage, Reference, Rows, Survivors, judge, judge_copy, judge_creation, rows_of, script,
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::support::{family, figures, long_version, new_asset, new_set, session};

/// How many images of each moment besides none and all.
const OTHERS: usize = 12;

/// Of so many images of a run one is crashed again while it recovers.
const RECOVERY_STRIDE: u64 = 40;

/// How many images each of two tests opens: they run side by side.
const HALF: u64 = 10_000;

/// The most operations of a script.
const MOST: usize = 150;

#[derive(Default)]
struct Tally {
    points: u64,
    images: u64,
    recoveries: u64,
    tasks: usize,
    states: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        let Self {
            points,
            images,
            recoveries,
            tasks,
            states,
        } = other;
        self.points += points;
        self.images += images;
        self.recoveries += recoveries;
        self.tasks += tasks;
        self.states += states;
    }
}

/// Which images it makes depends on the seed alone, so that a seed replays what failed.
fn crash_everywhere(seed: u64, most: usize) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut visit = |crash: &Crash<'_>| {
        tally.points += 1;
        let at = |what: &str, survivors: Survivors, wrong: String| {
            format!("task {}, {what} that left {survivors:?}: {wrong}", crash.task)
        };
        for (survivors, image) in crash.point.images(OTHERS, seed ^ tally.points) {
            tally.images += 1;
            let recovered = judge(image, crash.allowed).map_err(|wrong| at("a crash", survivors, wrong))?;
            // From where in the stride on it counts differs between the seeds.
            if !(seed + tally.images).is_multiple_of(RECOVERY_STRIDE) {
                continue;
            }
            for point in recovered.take_points() {
                for (survivors, image) in point.images(3, tally.images) {
                    tally.recoveries += 1;
                    judge(image, crash.allowed)
                        .map_err(|wrong| at("a crash during recovery", survivors, wrong))?;
                }
            }
        }
        Ok(())
    };
    let reference = Reference::run(script(seed, most), &mut visit)?;
    tally.tasks += reference.tasks.len();
    tally.states += reference.states.len();
    if tally.recoveries == 0 {
        return Err(format!("{} images, and none crashed again", tally.images));
    }
    Ok(tally)
}

/// Seed after seed until there are enough images. `SHELFMARK_CRASH_SEED` replays one.
fn crash_until(name: &str, first: u64, enough: u64) {
    let mut tally = Tally::default();
    let replay: Option<u64> = std::env::var("SHELFMARK_CRASH_SEED")
        .ok()
        .map(|seed| seed.parse().expect("a number"));
    let enough = if long_version() { enough * 20 } else { enough };
    let mut seeds = replay.map_or(first..u64::MAX, |seed| seed..seed + 1);
    while tally.images + tally.recoveries < enough
        && let Some(seed) = seeds.next()
    {
        match crash_everywhere(seed, MOST) {
            Ok(of_seed) => tally.add(&of_seed),
            Err(wrong) => panic!("SHELFMARK_CRASH_SEED={seed}: {wrong}"),
        }
    }
    figures(
        name,
        &format!(
            "{} tasks, {} states, {} syncs, {} images, {} images of recoveries, 0 losses",
            tally.tasks, tally.states, tally.points, tally.images, tally.recoveries
        ),
    );
}

#[test]
fn every_crash_leaves_what_was_acknowledged_first_half() {
    crash_until("crash images, first half", 1_000, HALF);
}

#[test]
fn every_crash_leaves_what_was_acknowledged_second_half() {
    crash_until("crash images, second half", 1_000_000, HALF);
}

#[test]
fn a_crash_during_creation_leaves_a_catalog_or_says_that_there_is_none() {
    let (mut images, mut opened) = (0, 0);
    for seed in 0..10 {
        let storage = RecordingStorage::new().recording();
        let backend = Options::new()
            .create_backend_on(Arc::new(storage.clone()))
            .unwrap();
        drop(Options::new().on_backend(backend).unwrap());
        for point in storage.take_points() {
            for (survivors, image) in point.images(OTHERS, seed) {
                images += 1;
                match judge_creation(image) {
                    Ok(whole) => opened += u64::from(whole),
                    Err(wrong) => panic!("seed {seed}, {survivors:?}: {wrong}"),
                }
            }
        }
    }
    figures(
        "crash images of a creation",
        &format!("{images} images, {opened} open, the others are refused as unfinished"),
    );
    assert!(opened > 0 && opened < images);
}

/// A backup is made by the same means as a new file, so what one that was cut off leaves is the whole copy, or says that it is none.
#[test]
fn a_crash_during_a_backup_leaves_the_whole_copy_or_says_that_there_is_none() {
    let (mut images, mut whole) = (0, 0);
    for seed in 0..4_u64 {
        let options = Options::new().change_feed(seed.is_multiple_of(2));
        let from = options.in_memory_backend().unwrap();
        let catalog = options.on_backend(from.clone()).unwrap();
        let session = session(&catalog, "acme");
        let family = family(&session);
        session
            .create_all((0..150 * seed).map(|n| new_set(family.asset, &format!("set {n}"))))
            .unwrap();
        let rows = rows_of(&*from).unwrap();
        let to = RecordingStorage::new().recording();
        catalog.backup_on(Arc::new(to.clone())).unwrap();
        let last = to.crash_point();
        for point in to.take_points().iter().chain([&last]) {
            for (survivors, image) in point.images(if long_version() { 500 } else { OTHERS }, seed) {
                images += 1;
                let opens = judge_creation(image.clone())
                    .unwrap_or_else(|wrong| panic!("seed {seed}, {survivors:?}: {wrong}"));
                if opens {
                    whole += 1;
                    judge_copy(image, &rows)
                        .unwrap_or_else(|wrong| panic!("seed {seed}, {survivors:?}: {wrong}"));
                }
            }
        }
        let returned = last.image(Survivors::None);
        judge_copy(returned, &rows).unwrap_or_else(|wrong| panic!("seed {seed}, returned: {wrong}"));
    }
    figures(
        "crash images of a backup",
        &format!("{images} images, {whole} are the whole copy, the others are refused as unfinished"),
    );
    assert!(whole > 0 && whole < images);
}

/// A value as the engine would store it: see the envelope in `docs/design.md`.
fn sealed(space: Keyspace, key: &[u8], body: &[u8]) -> Vec<u8> {
    let seed = xxh3_64_with_seed(key, 1 << 8 | space.index() as u64);
    let checksum = xxh3_64_with_seed(body, seed) as u32;
    [&[1][..], &checksum.to_be_bytes(), body].concat()
}

/// Makes the index entries those of another version of Unicode, so that opening rebuilds them.
fn make_old(backend: &dyn Backend, rows: &Rows) {
    let mut plan = |_: &dyn shelfmark::backend::Snapshot| {
        let mut batch = WriteBatch::new();
        for ((space, key), value) in rows {
            if space.is_index() {
                let mut other = key.clone();
                other[4] ^= 0x55;
                batch.delete(*space, key.clone());
                batch.put(*space, other, value.clone());
            }
        }
        let unicode = sealed(Keyspace::Meta, b"unicode", b"1.0.0");
        batch.put(Keyspace::Meta, b"unicode", unicode);
        Ok(batch)
    };
    backend
        .commit(CommitOptions::default(), &mut plan)
        .expect("a commit");
}

#[test]
fn a_crash_during_a_migration_leaves_the_old_state_or_the_new() {
    let options = Options::new();
    let storage = RecordingStorage::new();
    let backend = options.create_backend_on(Arc::new(storage.clone())).unwrap();
    let catalog = options.on_backend(backend.clone()).unwrap();
    let session = session(&catalog, "acme");
    let family = family(&session);
    for n in 0..6 {
        let asset = session
            .create(new_asset(family.store, &format!("asset {n}")))
            .unwrap();
        session
            .create_all((0..20).map(|m| new_set(asset.id, &format!("set {m}"))))
            .unwrap();
    }
    let new = rows_of(&*backend).unwrap();
    make_old(&*backend, &new);
    let old = rows_of(&*backend).unwrap();
    assert_ne!(old, new);
    drop((session, catalog, backend));

    let storage = RecordingStorage::holding(storage.bytes()).recording();
    let backend = options.open_backend_on(Arc::new(storage.clone())).unwrap();
    drop(options.on_backend(backend.clone()).unwrap());
    assert!(
        rows_of(&*backend).unwrap() == new,
        "migrated, the rows are not those of this version"
    );
    drop(backend);
    let (mut images, mut migrated) = (0, 0);
    for (seed, point) in storage.take_points().iter().enumerate() {
        for (survivors, image) in point.images(if long_version() { 2_000 } else { 60 }, seed as u64) {
            images += 1;
            let left = Arc::new(RecordingStorage::holding(image.clone()));
            let rows = rows_of(&*options.open_backend_on(left).unwrap()).unwrap();
            assert!(
                rows == old || rows == new,
                "{survivors:?} of sync {seed}: a mixture"
            );
            migrated += u64::from(rows == new);
            // Opened as a catalog it is migrated, at last.
            judge(image, std::slice::from_ref(&new))
                .unwrap_or_else(|wrong| panic!("{survivors:?} of sync {seed}: {wrong}"));
        }
    }
    figures(
        "crash images of a migration",
        &format!("{images} images, {migrated} migrated, the others as before"),
    );
    assert!(migrated > 0 && migrated < images);
}
