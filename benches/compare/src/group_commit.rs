//! Single durable creates from 1, 8 and 64 threads.

use std::collections::BTreeMap;

use shelfmark::Options;

use crate::measure::{median, ratio};
use crate::plot::Curve;
use crate::report::{Line, Target, markdown};
use crate::systems::{BareCreates, FjallCreates, SeveralSqlites, SharedSqlite, Shelf, System};
use crate::{CACHE_BYTES, Result, crash, machine, scratch};

/// Threads, and creates of each thread in a round.
const SIZES: [(usize, usize); 3] = [(1, 400), (8, 200), (64, 100)];

/// How to measure.
pub struct Settings {
    /// How often each system has its turn.
    pub rounds: usize,
    /// Sets that are there before.
    pub base: u64,
    /// The size of the file that is opened after a crash.
    pub file_mb: u64,
}

/// Measures and prints.
pub fn run(settings: &Settings) -> Result<()> {
    for line in machine::describe() {
        println!("- {line}");
    }
    println!(
        "- {} rounds by turns, {} sets to begin with\n",
        settings.rounds, settings.base
    );
    let (mut lines, _) = creates(settings)?;
    if settings.file_mb > 0 {
        lines.extend(recovery(settings)?);
    }
    println!("{}", markdown(&lines));
    println!("load after the run: {}", machine::load());
    Ok(())
}

fn options() -> Options {
    Options::new().cache_bytes(CACHE_BYTES)
}

/// The catalog's creates alone.
pub fn storm_alone(threads: usize, each: usize, base: u64) -> Result<()> {
    let (_directory, path) = scratch()?;
    let shelf = Shelf::new(&path("catalog"), base, &options(), "shelfmark", false)?;
    let before = shelf.catalog.stats()?.backend.commits;
    let storm = shelf.create(threads, each, base)?;
    let commits = shelf.catalog.stats()?.backend.commits - before;
    println!(
        "{threads} threads, {} creates, {commits} commits: {:.0}/s, median {:.2} ms, 99th percentile {:.2} ms",
        storm.latencies.len(),
        storm.rate(),
        storm.quantile(0.5).as_secs_f64() * 1e3,
        storm.quantile(0.99).as_secs_f64() * 1e3,
    );
    Ok(())
}

/// Rates and 99th percentiles of one system, by round.
#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    p99: Vec<f64>,
}

/// Single durable creates of every system, and their rates by round at 64 threads.
pub fn creates(settings: &Settings) -> Result<(Vec<Line>, Vec<Curve>)> {
    let (_directory, path) = scratch()?;
    let base = settings.base;
    let options = options();
    let shelf = Shelf::new(&path("grouped"), base, &options, "shelfmark", false)?;
    let alone = Shelf::new(&path("alone"), base, &options, "one by one", true)?;
    // What one commit a write was before there was a log: the file itself is made durable each time.
    let unlogged = options.clone().commit_log(false);
    let file = Shelf::new(&path("file"), base, &unlogged, "one by one in the file", true)?;
    let grouped_file = Shelf::new(
        &path("grouped-file"),
        base,
        &unlogged,
        "groups without the log",
        false,
    )?;
    let quick = Shelf::new(
        &path("quick"),
        base,
        &options.clone().quick_recovery(true),
        "quick recovery",
        false,
    )?;
    let shared = SharedSqlite::new(&path("sqlite"), base)?;
    let several = SeveralSqlites::new(&path("sqlites"), base)?;
    let lsm = FjallCreates::new(&path("fjall"), base, settings.rounds * SIZES[2].0 * SIZES[2].1)?;
    let bare = BareCreates::new(&path("bare"), base, settings.rounds * SIZES[0].1)?;

    let mut measured: BTreeMap<(&'static str, usize), Rounds> = BTreeMap::new();
    let mut next = base;
    let mut created: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut groups_of_64 = (0, 0);
    for round in 0..settings.rounds {
        for (threads, each) in SIZES {
            let mut systems: Vec<&dyn System> = vec![&shelf, &quick, &shared, &several];
            match threads {
                1 => systems.push(&bare),
                64 => systems.extend([&alone as &dyn System, &file, &grouped_file, &lsm]),
                _ => systems.push(&alone),
            }
            let turn = round % systems.len();
            systems.rotate_left(turn);
            for system in systems {
                let before = shelf.catalog.stats()?;
                let storm = system.create(threads, each, next)?;
                let rounds = measured.entry((system.name(), threads)).or_default();
                rounds.rates.push(storm.rate());
                rounds.p99.push(storm.quantile(0.99).as_secs_f64() * 1e3);
                *created.entry(system.name()).or_default() += (threads * each) as u64;
                if threads == 64 && system.name() == shelf.name() {
                    let after = shelf.catalog.stats()?;
                    groups_of_64.0 += after.backend.commits - before.backend.commits;
                    groups_of_64.1 += (threads * each) as u64;
                }
            }
            next += (threads * each) as u64;
        }
    }
    for system in [
        &shelf as &dyn System,
        &alone,
        &file,
        &grouped_file,
        &quick,
        &shared,
        &several,
        &bare,
        &lsm,
    ] {
        let expected = base + created.get(system.name()).copied().unwrap_or_default();
        let found = system.sets()?;
        if found != expected {
            return Err(format!("{} has {found} sets, not {expected}", system.name()).into());
        }
    }
    for catalog in [&shelf, &alone, &file, &grouped_file, &quick].map(|shelf| &shelf.catalog) {
        let check = catalog.check()?;
        if !check.is_clean() {
            return Err(format!("a catalog is damaged: {:?}", check.findings.first()).into());
        }
    }

    let of = |system: &dyn System, threads: usize| &measured[&(system.name(), threads)];
    let rate = |system: &dyn System, threads: usize| median(of(system, threads).rates.clone());
    let faster_sqlite = |threads| {
        let (one, other) = (&shared as &dyn System, &several as &dyn System);
        if rate(one, threads) >= rate(other, threads) {
            one
        } else {
            other
        }
    };
    let line = |name: &str, threads, over: &dyn System, under: &dyn System, target| Line {
        row: "6",
        name: name.to_owned(),
        figure: ratio(&of(over, threads).rates, &of(under, threads).rates),
        target,
        medians: format!(
            "{} {:.0}/s, {} {:.0}/s",
            over.name(),
            rate(over, threads),
            under.name(),
            rate(under, threads)
        ),
    };
    let shelf_64 = of(&shelf, 64);
    let curve = |system: &dyn System| Curve {
        name: system.name().to_owned(),
        points: (1..)
            .map(f64::from)
            .zip(of(system, 64).rates.iter().copied())
            .collect(),
    };
    let curves = vec![
        curve(&shelf),
        curve(&alone),
        curve(&file),
        curve(&grouped_file),
        curve(&quick),
        curve(&shared),
        curve(&several),
        curve(&lsm),
    ];
    let lines = vec![
        line(
            "64 threads, against one by one in the file",
            64,
            &shelf,
            &file,
            Target::AtLeast(8.0),
        ),
        line(
            "64 threads, against one by one in the log",
            64,
            &shelf,
            &alone,
            Target::Shown,
        ),
        line(
            "64 threads, the log on against off",
            64,
            &shelf,
            &grouped_file,
            Target::Shown,
        ),
        line(
            "64 threads, against SQLite",
            64,
            &shelf,
            faster_sqlite(64),
            Target::AtLeast(6.0),
        ),
        line(
            "64 threads, against fjall",
            64,
            &shelf,
            &lsm,
            Target::AtLeast(2.5),
        ),
        Line {
            row: "6",
            name: "64 threads, 99th percentile".to_owned(),
            figure: median(shelf_64.p99.clone()),
            target: Target::Millis(10.0),
            medians: format!(
                "one by one {:.1} ms, SQLite {:.1} ms",
                median(of(&alone, 64).p99.clone()),
                median(of(faster_sqlite(64), 64).p99.clone())
            ),
        },
        line(
            "8 threads, against SQLite",
            8,
            &shelf,
            faster_sqlite(8),
            Target::AtLeast(2.0),
        ),
        line("8 threads, against one by one", 8, &shelf, &alone, Target::Shown),
        line(
            "1 thread, against bare redb",
            1,
            &shelf,
            &bare,
            Target::AtLeast(0.95),
        ),
        line(
            "1 thread, against SQLite",
            1,
            &shelf,
            faster_sqlite(1),
            Target::Shown,
        ),
        Line {
            row: "6",
            name: "commits ÷ creates, 64 threads".to_owned(),
            figure: groups_of_64.0 as f64 / groups_of_64.1 as f64,
            target: Target::AtMost(0.125),
            medians: format!("{} commits for {} creates", groups_of_64.0, groups_of_64.1),
        },
        line(
            "quick recovery on against off, 1 thread",
            1,
            &quick,
            &shelf,
            Target::Shown,
        ),
        line(
            "quick recovery on against off, 8 threads",
            8,
            &quick,
            &shelf,
            Target::Shown,
        ),
        line(
            "quick recovery on against off, 64 threads",
            64,
            &quick,
            &shelf,
            Target::Shown,
        ),
    ];
    Ok((lines, curves))
}

/// Opening after a crash.
pub fn recovery(settings: &Settings) -> Result<Vec<Line>> {
    let (_directory, path) = scratch()?;
    let (mut quick, mut plain) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for _ in 0..settings.rounds {
        for (is_quick, took) in [(true, &mut quick), (false, &mut plain)] {
            let file = path(if is_quick { "quick" } else { "plain" });
            let reopened = crash::kill_and_reopen(&file, is_quick, settings.file_mb)?;
            took.push(reopened.took.as_secs_f64() * 1e3);
            bytes = reopened.bytes;
        }
    }
    let size = format!("{:.2} GB", bytes as f64 / 1e9);
    Ok(vec![
        Line {
            row: "19",
            name: format!("opening {size} after kill -9, quick recovery on"),
            figure: median(quick),
            target: Target::Millis(20.0),
            medians: "every acknowledged write there".to_owned(),
        },
        Line {
            row: "19",
            name: format!("opening {size} after kill -9, quick recovery off"),
            figure: median(plain),
            target: Target::ShownMillis,
            medians: "every acknowledged write there".to_owned(),
        },
    ])
}
