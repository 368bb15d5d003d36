//! Rows 1 to 5: many creates in a transaction.

use std::path::{Path, PathBuf};

use shelfmark::{
    AssetId, Batched, DataSet, Environment, NewDataSet, Options, Read as _, Session, SetSelection, Write as _,
};

use super::{Measured, Settings};
use crate::measure::{Times, Turn, by_turns, timed};
use crate::peers::bare::Bare;
use crate::peers::fjall::Fjall;
use crate::peers::lmdb::Lmdb;
use crate::peers::native::Native;
use crate::peers::sqlite::{self, Sqlite, TWO_INDEXES};
use crate::report::{Line, Target};
use crate::rows::{Row, Template};
use crate::systems::{ASSETS, assets, fill_sqlite, stamp};
use crate::{CACHE_BYTES, Result, scratch};
use shelfmark_benches::data;

/// redb with one table of the heads.
const HEADS: &str = "raw redb, heads";
/// redb with one table of everything that the catalog writes but counters, as it comes in.
const ALL_ARRIVING: &str = "raw redb, all rows";
/// The same in the order of keys, sorted before.
const ALL_SORTED: &str = "raw redb, all rows sorted";

/// A bulk load: this many sets, so many in a transaction.
#[derive(Clone, Copy)]
pub struct Load {
    /// How many sets.
    pub sets: u64,
    /// How many of them in a transaction.
    pub in_one: usize,
}

pub fn run(settings: &Settings, measured: &mut Measured) -> Result<()> {
    let sets = settings.sets;
    let loads = [
        (
            "1",
            "bulk create, all in one transaction",
            Load {
                sets,
                in_one: sets as usize,
            },
        ),
        (
            "2",
            "bulk create, 10k a transaction",
            Load { sets, in_one: 10_000 },
        ),
        (
            "3",
            "bulk create, 1k a transaction",
            Load {
                sets: (sets / 5).max(1_000),
                in_one: 1_000,
            },
        ),
        (
            "4",
            "bulk create, 100 a transaction",
            Load {
                sets: (sets / 20).max(100),
                in_one: 100,
            },
        ),
    ];
    for (row, name, load) in loads {
        if !settings.wants(row) {
            continue;
        }
        eprintln!("  {name}");
        let times = load_everywhere(settings.rounds_of(load.sets), load, matches!(row, "1" | "2"))?;
        let medians = times.medians(|seconds| format!("{:.0}/s", load.sets as f64 / seconds));
        let mut line = |what: &str, figure, target| {
            measured.lines.push(Line {
                row,
                name: format!("{name}: against {what}"),
                figure,
                target,
                medians: medians.clone(),
            });
        };
        let against = |other| times.speed("shelfmark", other);
        // In whichever order redb is faster.
        let all_rows = against(ALL_ARRIVING).min(against(ALL_SORTED));
        let best = ["SQLite", "LMDB", "fjall", "native_db"]
            .into_iter()
            .map(against)
            .fold(f64::INFINITY, f64::min);
        match row {
            "1" => {
                line("SQLite", against("SQLite"), Target::AtLeast(3.0));
                line(
                    "all rows in one table of raw redb",
                    all_rows,
                    Target::AtLeast(0.5),
                );
                line(
                    "heads alone in one table of raw redb",
                    against(HEADS),
                    Target::AtLeast(0.5),
                );
                line("LMDB", against("LMDB"), Target::AtLeast(1.2));
                line("fjall", against("fjall"), Target::Shown);
                line("native_db", against("native_db"), Target::Shown);
            }
            "2" => {
                line("SQLite", against("SQLite"), Target::AtLeast(2.5));
                line(
                    "all rows in one table of raw redb",
                    all_rows,
                    Target::AtLeast(0.37),
                );
                line(
                    "heads alone in one table of raw redb",
                    against(HEADS),
                    Target::AtLeast(0.37),
                );
            }
            "3" => {
                line("SQLite", against("SQLite"), Target::AtLeast(1.8));
                line("the best peer", best, Target::AtLeast(0.9));
            }
            _ => line("SQLite", against("SQLite"), Target::AtLeast(1.0)),
        }
        line("SQLite with two indexes", against(TWO_INDEXES), Target::Shown);
    }
    if settings.wants("5") {
        onto_existing(settings, measured)?;
    }
    Ok(())
}

fn new_sets(assets: &[AssetId], numbers: std::ops::Range<u64>) -> Vec<NewDataSet> {
    numbers
        .map(|n| data::set(assets[n as usize % assets.len()], n, 0))
        .collect()
}

fn create(session: &Session, new: Vec<NewDataSet>, in_one: usize) -> Result<()> {
    if new.len() <= in_one {
        session.create_all(new)?;
    } else {
        session.create_batched(new, Batched::new().chunk_entities(in_one))?;
    }
    Ok(())
}

fn options() -> Options {
    Options::new().cache_bytes(CACHE_BYTES).atomic_bulk_bytes(4 << 30)
}

fn expect(system: &str, found: u64, expected: u64) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{system} has {found} sets, not {expected}").into())
    }
}

/// Seconds that the catalog takes, with or without the change feed.
pub fn load_shelf(load: Load, feed: bool) -> Result<f64> {
    let (_directory, path) = scratch()?;
    let catalog = options().change_feed(feed).create(path("catalog"))?;
    let session = catalog.session("acme", "ann")?;
    let assets = assets(&session)?;
    let new = new_sets(&assets, 0..load.sets);
    let (seconds, ()) = timed(|| create(&session, new, load.in_one))?;
    expect(
        "shelfmark",
        session.count::<DataSet>(SetSelection::All)?,
        load.sets,
    )?;
    Ok(seconds)
}

fn insert(sqlite: &mut Sqlite, environment: &Environment, new: &[NewDataSet], in_one: usize) -> Result<()> {
    for chunk in new.chunks(in_one) {
        let transaction = sqlite.begin()?;
        for new in chunk {
            sqlite::create_set(&transaction, stamp(environment), new)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

fn load_sqlite(load: Load, open: fn(&Path) -> Result<Sqlite>) -> Result<f64> {
    let (_directory, path) = scratch()?;
    let mut sqlite = open(&path("sqlite"))?;
    let assets = fill_sqlite(&mut sqlite, 0)?;
    let new = new_sets(&assets, 0..load.sets);
    let environment = Environment::default();
    let (seconds, ()) = timed(|| insert(&mut sqlite, &environment, &new, load.in_one))?;
    expect("SQLite", sqlite::sets(&sqlite.connection)?, load.sets)?;
    Ok(seconds)
}

fn load_rows(load: Load, rows: &[Vec<Row>], mut put: impl FnMut(&[Vec<Row>]) -> Result<()>) -> Result<f64> {
    Ok(timed(|| rows.chunks(load.in_one).try_for_each(&mut put))?.0)
}

/// Every system's turns; with `all_rows` redb's one table of all rows too.
fn load_everywhere(rounds: usize, load: Load, all_rows: bool) -> Result<Times> {
    let template = Template::new()?;
    let assets = assets(template.session())?;
    let rows = template.create_sets(&assets, 0..load.sets, 0)?;
    drop(template);
    let heads: Vec<Vec<Row>> = rows
        .iter()
        .map(|rows| {
            rows.iter()
                .filter(|row| row.space == shelfmark::backend::Keyspace::Set)
                .cloned()
                .collect()
        })
        .collect();
    let new = new_sets(&assets, 0..load.sets);
    let environment = Environment::default();
    let mut turns: Vec<Turn<'_>> = vec![
        ("shelfmark", Box::new(|| load_shelf(load, false))),
        ("SQLite", Box::new(|| load_sqlite(load, Sqlite::open))),
        (
            TWO_INDEXES,
            Box::new(|| load_sqlite(load, Sqlite::open_with_two_indexes)),
        ),
        (
            HEADS,
            Box::new(|| {
                let (_directory, path) = scratch()?;
                let bare = Bare::create(&path("redb"))?;
                let seconds = load_rows(load, &heads, |sets| bare.create_heads(sets))?;
                expect("raw redb", bare.sets()?, load.sets)?;
                Ok(seconds)
            }),
        ),
        (
            "LMDB",
            Box::new(|| {
                let (_directory, path) = scratch()?;
                let lmdb = Lmdb::create(&path("lmdb"))?;
                let seconds = load_rows(load, &rows, |sets| lmdb.create_sets(sets))?;
                expect("LMDB", lmdb.sets()?, load.sets)?;
                Ok(seconds)
            }),
        ),
        (
            "fjall",
            Box::new(|| {
                let (_directory, path) = scratch()?;
                let fjall = Fjall::create(&path("fjall"))?;
                let seconds = load_rows(load, &rows, |sets| fjall.create_sets(sets))?;
                expect("fjall", fjall.sets()?, load.sets)?;
                Ok(seconds)
            }),
        ),
        (
            "native_db",
            Box::new(|| {
                let (_directory, path) = scratch()?;
                let native = Native::create(&path("native"))?;
                let (seconds, ()) = timed(|| {
                    new.chunks(load.in_one).try_for_each(|chunk| {
                        native.create_sets(chunk.iter().map(|new| {
                            let (id, now) = stamp(&environment);
                            (id, now.millis(), new)
                        }))
                    })
                })?;
                expect("native_db", native.sets()?, load.sets)?;
                Ok(seconds)
            }),
        ),
    ];
    if all_rows {
        let chunks = rows.chunks(load.in_one);
        let arriving: Vec<Vec<Keyed<'_>>> = chunks.map(|sets| keyed(sets)).collect();
        let mut sorted = arriving.clone();
        sorted.iter_mut().for_each(|rows| rows.sort());
        for (name, transactions) in [(ALL_ARRIVING, arriving), (ALL_SORTED, sorted)] {
            let count = rows.iter().map(Vec::len).sum::<usize>() as u64;
            turns.push((
                name,
                Box::new(move || {
                    let (_directory, path) = scratch()?;
                    let bare = Bare::create(&path("redb"))?;
                    let (seconds, ()) = timed(|| {
                        transactions.iter().try_for_each(|rows| {
                            bare.create_in_one_table(rows.iter().map(|(key, value)| (key.as_slice(), *value)))
                        })
                    })?;
                    expect(name, bare.sets()?, count)?;
                    Ok(seconds)
                }),
            ));
        }
    }
    by_turns(rounds, turns)
}

/// A key behind its keyspace's number, and its value.
type Keyed<'r> = (Vec<u8>, &'r [u8]);

fn keyed(sets: &[Vec<Row>]) -> Vec<Keyed<'_>> {
    let key = |row: &Row| [&[row.space as u8], row.key.as_slice()].concat();
    sets.iter()
        .flatten()
        .map(|row| (key(row), row.value.as_slice()))
        .collect()
}

/// Row 5: more onto what is there. Each turn works on a copy of a file made before.
fn onto_existing(settings: &Settings, measured: &mut Measured) -> Result<()> {
    let (_directory, path) = scratch()?;
    let more = (settings.sets / 5).min(20_000);
    let small = 10_000.min(settings.sets);
    let shelves: Vec<(u64, PathBuf)> = [small, settings.sets]
        .into_iter()
        .zip(["small", "large"])
        .map(|(sets, name)| {
            let file = path(name);
            let catalog = options().create(&file)?;
            let session = catalog.session("acme", "ann")?;
            create(&session, new_sets(&assets(&session)?, 0..sets), 10_000)?;
            Ok((sets, file))
        })
        .collect::<Result<_>>()?;
    let sqlite_file = path("sqlite");
    let sqlite_assets = {
        let mut sqlite = Sqlite::open(&sqlite_file)?;
        let assets = fill_sqlite(&mut sqlite, settings.sets)?;
        sqlite
            .connection
            .pragma_update(None, "wal_checkpoint", "TRUNCATE")?;
        assets
    };
    let shelf = |(sets, file): &(u64, PathBuf), in_one: usize| -> Result<f64> {
        let copy = path("copy");
        std::fs::copy(file, &copy)?;
        let catalog = options().open(&copy)?;
        let session = catalog.session("acme", "ann")?;
        let assets: Vec<AssetId> = session
            .list(&shelfmark::Query::<shelfmark::DataAsset>::new().limit(ASSETS as usize))?
            .items
            .iter()
            .map(|asset| asset.id)
            .collect();
        let new = new_sets(&assets, *sets..sets + more);
        let (seconds, ()) = timed(|| create(&session, new, in_one))?;
        expect(
            "shelfmark",
            session.count::<DataSet>(SetSelection::All)?,
            sets + more,
        )?;
        Ok(seconds)
    };
    let environment = Environment::default();
    let sqlite = |in_one: usize, two_indexes: bool| -> Result<f64> {
        let copy = path("sqlite-copy");
        std::fs::copy(&sqlite_file, &copy)?;
        let mut sqlite = Sqlite::open(&copy)?;
        if two_indexes {
            sqlite.leave_two_indexes()?;
        }
        let new = new_sets(&sqlite_assets, settings.sets..settings.sets + more);
        let (seconds, ()) = timed(|| insert(&mut sqlite, &environment, &new, in_one))?;
        expect("SQLite", sqlite::sets(&sqlite.connection)?, settings.sets + more)?;
        Ok(seconds)
    };
    for (how, in_one, target) in [("one transaction", more as usize, 2.4), ("1k each", 1_000, 1.8)] {
        let turns: Vec<Turn<'_>> = vec![
            ("shelfmark", Box::new(|| shelf(&shelves[1], in_one))),
            ("shelfmark onto 10k", Box::new(|| shelf(&shelves[0], in_one))),
            ("SQLite", Box::new(|| sqlite(in_one, false))),
            (TWO_INDEXES, Box::new(|| sqlite(in_one, true))),
        ];
        let times = by_turns(settings.rounds, turns)?;
        let medians = times.medians(|seconds| format!("{:.0}/s", more as f64 / seconds));
        let name = |what: &str| format!("{more} more onto {} existing, {how}: {what}", settings.sets);
        measured.lines.push(Line {
            row: "5",
            name: name("against SQLite"),
            figure: times.speed("shelfmark", "SQLite"),
            target: Target::AtLeast(target),
            medians: medians.clone(),
        });
        measured.lines.push(Line {
            row: "5",
            name: name("against SQLite with two indexes"),
            figure: times.speed("shelfmark", TWO_INDEXES),
            target: Target::Shown,
            medians: medians.clone(),
        });
        measured.lines.push(Line {
            row: "5",
            name: name("against our own onto 10k"),
            figure: times.speed("shelfmark", "shelfmark onto 10k"),
            target: Target::AtLeast(0.35),
            medians,
        });
    }
    Ok(())
}
