//! `kill -9` while eight threads write through group commit: whatever was acknowledged is there afterwards, in the change feed
//! too, and nothing is half there.
//!
//! Ten rounds run on one file, in the long version 200; `SHELFMARK_KILLS` says how many instead, `SHELFMARK_KILL_SEED` what their moments depend on.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use shelfmark::{
    AssetId, ChangeEvent, DataSet, EntityId, Expectation, Options, Read, Result, Session, SetId,
    SetSelection, Write,
};

use crate::support::{
    Random, assert_clean, child, child_path, figures, long_version, new_asset, new_set, new_store, session,
};

const THREADS: u64 = 8;
const ROUND: &str = "SHELFMARK_KILL_ROUND";

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Quick recovery in every other round.
fn options(round: u64) -> Options {
    Options::new().quick_recovery(round.is_multiple_of(2))
}

/// What the parent knows of a data set from the log.
struct Known {
    asset: AssetId,
    version: u64,
    /// Whether its deletion has been begun, and whether it has been acknowledged.
    going: bool,
    gone: bool,
}

/// What the children said, in the order of each of their threads.
#[derive(Default)]
struct Log {
    sets: HashMap<SetId, Known>,
    acknowledged: u64,
    rounds: u64,
}

impl Log {
    fn read(&mut self, line: &str) {
        // Whole lines only: the last one may have been cut off.
        let Some(line) = line
            .split_once("log ")
            .and_then(|(_, rest)| rest.strip_suffix(" ."))
        else {
            return;
        };
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["created", set, asset] => {
                let asset = asset.parse().expect("an id");
                let known = Known {
                    asset,
                    version: 0,
                    going: false,
                    gone: false,
                };
                self.sets.insert(set.parse().expect("an id"), known);
            }
            ["changed", set, version] => self.set(set).version = version.parse().expect("a version"),
            ["deleting", set] => self.set(set).going = true,
            ["deleted", set] => self.set(set).gone = true,
            ["cascading", asset] => self.of(asset, |known| known.going = true),
            ["cascaded", asset] => self.of(asset, |known| known.gone = true),
            _ => panic!("a child said {line:?}"),
        }
        if !words[0].ends_with("ing") {
            self.acknowledged += 1;
        }
    }

    fn set(&mut self, id: &str) -> &mut Known {
        let id = id.parse().expect("an id");
        self.sets.get_mut(&id).expect("a set that was created")
    }

    fn of(&mut self, asset: &str, change: impl Fn(&mut Known)) {
        let asset: AssetId = asset.parse().expect("an id");
        self.sets
            .values_mut()
            .filter(|known| known.asset == asset)
            .for_each(change);
    }

    /// Compares with what is there and with what the change feed tells, and forgets what it has no more to say about.
    fn check(&mut self, session: &Session, context: &str) {
        self.rounds += 1;
        let told = told(session, context);
        let mut there = 0;
        for (&id, known) in &mut self.sets {
            let found = session.get_head(id).expect("a read").map(|set| set.version);
            match found {
                Some(version) => {
                    assert!(!known.gone, "{context}: {id} is back");
                    // One change may have been under way.
                    let expected = known.version..=known.version + 1;
                    assert!(
                        expected.contains(&version),
                        "{context}: {id} has version {version} of {expected:?}"
                    );
                    known.version = version;
                    known.going = false;
                    there += 1;
                    assert_eq!(
                        told.get(&id),
                        Some(&Told { version, gone: false }),
                        "{context}: {id}"
                    );
                }
                None => {
                    assert!(known.going || known.gone, "{context}: {id} is lost");
                    let told = told.get(&id).expect("a set that the feed tells of");
                    assert!(told.gone && told.version >= known.version, "{context}: {id}");
                }
            }
        }
        self.sets.retain(|_, known| !known.gone && !known.going);
        // What no log tells of was under way: one creation of each thread of each round.
        let count = session.count::<DataSet>(SetSelection::All).expect("a count");
        let most = there + THREADS * self.rounds;
        assert!(
            (there..=most).contains(&count),
            "{context}: {count} sets, {there} of them known"
        );
    }
}

/// What the change feed tells of a data set.
#[derive(Debug, PartialEq)]
struct Told {
    version: u64,
    gone: bool,
}

/// Reads the whole feed, which has no gap and tells every version of every set once.
fn told(session: &Session, context: &str) -> HashMap<SetId, Told> {
    let mut told: HashMap<SetId, Told> = HashMap::new();
    let (mut after, mut sequence) = (None, 0);
    loop {
        let page = session.changes(after, 1_000).expect("changes");
        for change in page.items {
            sequence += 1;
            assert_eq!(change.sequence, sequence, "{context}");
            for went in &change.descendants {
                if let EntityId::Set(id) = went.id {
                    let known = told.get_mut(&id).expect("a set that was created");
                    assert_eq!(
                        (known.version, known.gone),
                        (went.version, false),
                        "{context}: {id}"
                    );
                    known.gone = true;
                }
            }
            let EntityId::Set(id) = change.id else { continue };
            let version = change.version;
            let before = match change.event {
                ChangeEvent::Created => told
                    .insert(id, Told { version, gone: false })
                    .map(|known| known.version),
                ChangeEvent::Deleted => {
                    let known = told.get_mut(&id).expect("a set that was created");
                    known.gone = true;
                    assert_eq!(known.version, version, "{context}: {id}");
                    continue;
                }
                _ => {
                    let known = told.get_mut(&id).expect("a set that was created");
                    Some(std::mem::replace(&mut known.version, version))
                }
            };
            assert_eq!(before, version.checked_sub(1), "{context}: {id}");
        }
        if !page.more {
            return told;
        }
        after = Some(page.position);
    }
}

/// Runs a child on the file, kills it when it has written for this long, and reads all that it said.
fn write_and_kill(path: &Path, round: u64, writing: Duration, log: &mut Log) {
    let mut child = child("kill::child_writes_in_groups", path)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let mut errors = child.stderr.take().expect("its errors");
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        errors
            .read_to_end(&mut text)
            .map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let (begun, begins) = std::sync::mpsc::channel();
    // Read as it comes: a child whose pipe is full would wait.
    let reader = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for line in output.lines().map_while(std::io::Result::ok) {
            if line.contains("log ") {
                let _ = begun.send(());
            }
            lines.push(line);
        }
        lines
    });
    let started = begins.recv_timeout(Duration::from_secs(60));
    std::thread::sleep(writing);
    child.kill().expect("a kill");
    let status = child.wait().expect("its end");
    let errors = errors.join().expect("the reader").expect("its errors");
    let lines = reader.join().expect("the reader");
    assert!(
        started.is_ok(),
        "round {round}: the child did not begin: {lines:?}, {errors}"
    );
    assert!(was_killed(status), "round {round}: the child: {status}: {errors}");
    // The others work on where a thread panicked.
    assert!(!errors.contains("panicked at"), "round {round}: {errors}");
    for line in &lines {
        log.read(line);
    }
}

/// It works until it is killed.
fn was_killed(status: ExitStatus) -> bool {
    #[cfg(unix)]
    return std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    #[cfg(not(unix))]
    return !status.success();
}

#[test]
fn what_groups_acknowledged_survives_a_kill() {
    let (rounds, seed) = (
        number("SHELFMARK_KILLS", if long_version() { 200 } else { 10 }),
        number("SHELFMARK_KILL_SEED", 1),
    );
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("catalog.shelf");
    {
        let catalog = Options::new()
            .change_feed(true)
            .create(&path)
            .expect("a new file");
        session(&catalog, "acme")
            .create(new_store("warehouse"))
            .expect("a store");
    }
    let mut random = Random::new(seed);
    let mut log = Log::default();
    for round in 0..rounds {
        let writing = Duration::from_micros(random.below(250_000));
        write_and_kill(&path, round, writing, &mut log);
        let context = format!("seed {seed}, round {round}");
        let catalog = options(round).open(&path).expect("a recovery");
        log.check(&session(&catalog, "acme"), &context);
        assert_clean(&catalog, &context);
    }
    figures(
        "kill -9 under groups of writers",
        &format!(
            "{rounds} kills, {} acknowledged writes, 0 losses",
            log.acknowledged
        ),
    );
    assert!(
        log.acknowledged > rounds * THREADS,
        "seed {seed}: hardly anything was written"
    );
}

/// One write to a pipe is whole or not there.
fn say(what: &str) {
    let line = format!("log {what} .\n");
    std::io::stdout()
        .lock()
        .write_all(line.as_bytes())
        .expect("a parent that listens");
}

#[test]
fn child_writes_in_groups() {
    let Some(path) = child_path() else { return };
    let round = number(ROUND, 0);
    let catalog = options(round).open(path).unwrap();
    let session = session(&catalog, "acme");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let session = &session;
            scope.spawn(move || work(session, Random::new(round * THREADS + thread)).expect("writes"));
        }
    });
}

/// Creates, changes and deletes sets in an asset of its own, and now and then all of it.
fn work(session: &Session, mut random: Random) -> Result<()> {
    let store = session
        .list_names(&shelfmark::Query::<shelfmark::DataStore>::new())?
        .items[0]
        .id;
    loop {
        let asset = session.create(new_asset(store, "asset"))?.id;
        let mut sets: Vec<SetId> = Vec::new();
        for n in 0..10 + random.below(20) {
            let at = random.below(sets.len().max(1) as u64) as usize;
            match random.below(10) {
                0..3 if !sets.is_empty() => {
                    let name = Some(format!("renamed {n}"));
                    let set = session.update(sets[at], Expectation::Any, |set| set.name.clone_from(&name))?;
                    say(&format!("changed {} {}", set.id, set.version));
                }
                3 if !sets.is_empty() => {
                    let id = sets.swap_remove(at);
                    say(&format!("deleting {id}"));
                    session.delete(id, Expectation::Any)?;
                    say(&format!("deleted {id}"));
                }
                _ => {
                    let id = session.create(new_set(asset, "set"))?.id;
                    say(&format!("created {id} {asset}"));
                    sets.push(id);
                }
            }
        }
        if random.below(3) > 0 {
            say(&format!("cascading {asset}"));
            session.delete(asset, Expectation::Any)?;
            say(&format!("cascaded {asset}"));
        }
    }
}
