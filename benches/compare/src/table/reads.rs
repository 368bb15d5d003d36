//! Rows 7, 14 and 17: getting, counting, bytes on disk.

use std::collections::BTreeMap;

use shelfmark::backend::Keyspace;
use shelfmark::{DataAsset, DataSet, Read as _, Session, SetId};

use super::fixture::{Contents, Pair, open};
use super::lists;
use super::{Measured, Settings, micros, per_second, repeat};
use crate::measure::{Turn, by_turns, storm, timed};
use crate::peers::lmdb::Lmdb;
use crate::peers::native::StoredSet;
use crate::peers::sqlite::{self, Sqlite};
use crate::report::{Line, Target};
use crate::rows::{Row, Template};
use crate::systems::assets;
use crate::{CACHE_BYTES, Result, scratch};
use shelfmark_benches::data;

/// Few enough that a turn is short against the time that others take the processor for.
pub const GETS: usize = 5_000;
/// Entities of a page.
pub const PAGE: usize = 100;

pub fn run(settings: &Settings, measured: &mut Measured) -> Result<()> {
    if settings.wants_any(&["7", "8", "9", "10", "14", "15", "17"]) {
        one_large_asset(settings, measured)?;
    }
    if settings.wants("11") {
        lists::small_cache(settings, measured)?;
    }
    if settings.wants("21") {
        lists::many_parents(settings, measured)?;
    }
    Ok(())
}

/// Random positions below `len`, the same for every system.
pub fn positions(len: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count as u64).map(move |n| (data::mix(n) % len as u64) as usize)
}

pub fn get_shelf(session: &Session, id: SetId) -> Result<()> {
    let set = session.get(id)?.ok_or("a set is gone")?;
    if set.id != id || set.data_asset_info.data_store_info.name.is_none() {
        return Err("another set, or without its store".into());
    }
    Ok(())
}

fn one_large_asset(settings: &Settings, measured: &mut Measured) -> Result<()> {
    let (_directory, path) = scratch()?;
    let (pair, contents) = Pair::create(&path, (1, &[0]), settings.sets, 0, |_| 0)?;
    let (catalog, session) = open(&pair.shelf, CACHE_BYTES)?;
    let peer = Sqlite::open(&pair.sqlite)?;
    if settings.wants("7") {
        gets(settings, measured, &pair, &session, &contents)?;
    }
    if settings.wants_any(&["8", "9", "10", "15"]) {
        lists::pages(settings, measured, &session, &peer, &contents)?;
    }
    if settings.wants("14") {
        counts(settings, measured, &session, &contents)?;
    }
    if settings.wants("17") {
        drop(session);
        catalog.compact()?;
        drop(catalog);
        bytes_on_disk(settings, measured, &pair, &peer)?;
    }
    Ok(())
}

/// Row 17: of the compacted catalog, and of SQLite with all its indexes, then without those by technical name and time.
fn bytes_on_disk(settings: &Settings, measured: &mut Measured, pair: &Pair, peer: &Sqlite) -> Result<()> {
    let bytes = |path| -> Result<f64> { Ok(std::fs::metadata(path)?.len() as f64 / settings.sets as f64) };
    let own = bytes(&pair.shelf)?;
    let rows = bytes_by_keyspace()?;
    let mut line = |with: &str, target| -> Result<()> {
        peer.connection
            .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
        let other = bytes(&pair.sqlite)?;
        measured.lines.push(Line {
            row: "17",
            name: format!(
                "bytes on disk a set, at {} sets, after compact; {with} after VACUUM",
                settings.sets
            ),
            figure: own / other,
            target,
            medians: format!(
                "shelfmark {own:.0} (keys and values before they are packed: {rows}), {with} {other:.0}"
            ),
        });
        Ok(())
    };
    line("SQLite", Target::AtMost(0.85))?;
    peer.leave_two_indexes()?;
    line("SQLite with two indexes", Target::Shown)
}

/// Bytes of keys and values that a set takes in each keyspace, before index entries are packed into blocks.
fn bytes_by_keyspace() -> Result<String> {
    const SETS: u64 = 1_000;
    let template = Template::new()?;
    let assets = assets(template.session())?;
    let mut bytes: BTreeMap<Keyspace, usize> = BTreeMap::new();
    for row in template.create_sets(&assets, 0..SETS, 0)?.iter().flatten() {
        *bytes.entry(row.space).or_default() += row.key.len() + row.value.len();
    }
    let shown = bytes
        .iter()
        .map(|(space, bytes)| format!("{} {}", space.name(), bytes / SETS as usize));
    Ok(shown.collect::<Vec<_>>().join(", "))
}

fn gets(
    settings: &Settings,
    measured: &mut Measured,
    pair: &Pair,
    session: &Session,
    contents: &Contents,
) -> Result<()> {
    let ids = &contents.sets;
    let (_directory, path) = scratch()?;
    // The same rows for the engines below.
    let rows = head_rows(ids.len() as u64)?;
    let keys: Vec<Vec<u8>> = rows.iter().map(|rows| rows[0].key.clone()).collect();
    let raw = crate::peers::bare::Bare::create(&path("redb"))?;
    raw.create_heads(&rows)?;
    let lmdb = Lmdb::create(&path("lmdb"))?;
    lmdb.create_sets(&rows)?;
    drop(rows);
    let records = Lmdb::create(&path("records"))?;
    let stored = ids
        .iter()
        .zip(0..)
        .map(|(id, n)| StoredSet::new(id.uuid(), 0, &data::set(contents.assets[0], n, 0)));
    records.put_records(
        &stored.collect::<Result<Vec<_>>>()?,
        ["EMEA Orders 0", "EMEA warehouse 0"],
    )?;

    for threads in [1_usize, 2] {
        let each = GETS / threads;
        let at = |n: u64| (data::mix(n) % ids.len() as u64) as usize;
        let turns: Vec<Turn<'_>> = vec![
            (
                "shelfmark",
                Box::new(|| {
                    let storm = storm(
                        threads,
                        each,
                        0,
                        || Ok(()),
                        |(), n| get_shelf(session, ids[at(n)]),
                    )?;
                    Ok(storm.elapsed.as_secs_f64())
                }),
            ),
            (
                "SQLite",
                Box::new(|| {
                    let storm = storm(
                        threads,
                        each,
                        0,
                        || Sqlite::open(&pair.sqlite),
                        |peer, n| {
                            let body = sqlite::get(&peer.connection, ids[at(n)].uuid())?;
                            if body.id == ids[at(n)].uuid() {
                                Ok(())
                            } else {
                                Err("another set".into())
                            }
                        },
                    )?;
                    Ok(storm.elapsed.as_secs_f64())
                }),
            ),
            (
                "raw redb",
                Box::new(|| {
                    let storm = storm(
                        threads,
                        each,
                        0,
                        || Ok(()),
                        |(), n| raw.get(&keys[at(n)]).map(drop),
                    )?;
                    Ok(storm.elapsed.as_secs_f64())
                }),
            ),
        ];
        let times = by_turns(settings.rounds, turns)?;
        let medians = times.medians(per_second(each * threads));
        let mut line = |other, target| {
            let name = format!("get by id, a transaction each, {threads} thread(s), against {other}");
            measured.lines.push(Line {
                row: "7",
                name,
                figure: times.speed("shelfmark", other),
                target,
                medians: medians.clone(),
            });
        };
        line("SQLite", Target::AtLeast(if threads == 1 { 2.3 } else { 3.0 }));
        line(
            "raw redb",
            if threads == 1 {
                Target::AtLeast(0.85)
            } else {
                Target::Shown
            },
        );
    }
    let turns: Vec<Turn<'_>> = vec![
        (
            "shelfmark",
            Box::new(|| {
                let snapshot = session.snapshot()?;
                let work = || {
                    positions(ids.len(), GETS).try_for_each(|at| {
                        snapshot
                            .get(ids[at])?
                            .map(drop)
                            .ok_or_else(|| "a set is gone".into())
                    })
                };
                Ok(timed(work)?.0)
            }),
        ),
        (
            "LMDB",
            Box::new(|| {
                let snapshot = records.snapshot()?;
                let work = || {
                    positions(ids.len(), GETS).try_for_each(|at| {
                        let (set, [_, store]) = records.get_record(&snapshot, ids[at].uuid().as_bytes())?;
                        if set.by_id() != ids[at].uuid().as_bytes() || store.is_none() {
                            return Err("another set, or without its store".into());
                        }
                        Ok(())
                    })
                };
                Ok(timed(work)?.0)
            }),
        ),
        (
            "LMDB, bytes alone",
            Box::new(|| {
                let snapshot = lmdb.snapshot()?;
                let work = || {
                    positions(ids.len(), GETS).try_for_each(|at| {
                        let found = lmdb.get(&snapshot, Keyspace::Set, &keys[at])?;
                        found
                            .map(|bytes| drop(std::hint::black_box(bytes.to_vec())))
                            .ok_or_else(|| "a row is gone".into())
                    })
                };
                Ok(timed(work)?.0)
            }),
        ),
    ];
    let times = by_turns(settings.rounds, turns)?;
    let medians = times.medians(per_second(GETS));
    for (other, what, target) in [
        ("LMDB", "LMDB with records of a user's own", Target::AtLeast(1.2)),
        (
            "LMDB, bytes alone",
            "LMDB's bytes, neither decoded nor with parents",
            Target::Shown,
        ),
    ] {
        measured.lines.push(Line {
            row: "7",
            name: format!("get by id on a held snapshot, decoded, with its parents' names, against {what}"),
            figure: times.speed("shelfmark", other),
            target,
            medians: medians.clone(),
        });
    }
    Ok(())
}

/// The head of each of so many sets, as the catalog stores them.
fn head_rows(sets: u64) -> Result<Vec<Vec<Row>>> {
    let template = Template::new()?;
    let assets = assets(template.session())?;
    let mut rows = template.create_sets(&assets, 0..sets, 0)?;
    for rows in &mut rows {
        rows.retain(|row| row.space == Keyspace::Set);
    }
    Ok(rows)
}

fn counts(
    settings: &Settings,
    measured: &mut Measured,
    session: &Session,
    contents: &Contents,
) -> Result<()> {
    let (asset, store, ids) = (contents.assets[0], contents.stores[0], &contents.sets);
    let snapshot = session.snapshot()?;
    let check = |holds: bool| -> Result<()> {
        if holds {
            Ok(())
        } else {
            Err("a wrong count".into())
        }
    };
    let times = by_turns(
        settings.rounds,
        vec![
            (
                "total of the asset's sets",
                Box::new(|| repeat(GETS, || check(snapshot.count::<DataSet>(asset)? == settings.sets))),
            ),
            (
                "store has assets?",
                Box::new(|| repeat(GETS, || check(snapshot.count::<DataAsset>(store)? > 0))),
            ),
            (
                "exists",
                Box::new(|| {
                    Ok(timed(|| {
                        positions(ids.len(), GETS).try_for_each(|at| check(snapshot.exists(ids[at])?))
                    })?
                    .0)
                }),
            ),
            (
                "total, a transaction each",
                Box::new(|| repeat(GETS, || check(session.count::<DataSet>(asset)? == settings.sets))),
            ),
        ],
    )?;
    for (name, seconds) in times.absolute() {
        let target = if name.ends_with("each") {
            Target::Shown
        } else {
            Target::Micros(1.0)
        };
        if matches!(target, Target::Shown) {
            continue;
        }
        measured.lines.push(Line {
            row: "14",
            name: format!("{name}, at {} sets", settings.sets),
            figure: seconds * 1e6 / GETS as f64,
            target,
            medians: times.medians(micros(GETS)),
        });
    }
    Ok(())
}
