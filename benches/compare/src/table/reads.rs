//! Rows 7 to 11, 14, 15, 17 and 21: getting, listing, counting, and bytes on disk.

use redb::{Builder, Database, ReadableDatabase as _, TableDefinition};
use rusqlite::params;
use shelfmark::backend::Keyspace;
use shelfmark::{DataAsset, DataSet, Query, Read as _, Session, SetId, Write as _};

use super::fixture::{Contents, Pair, open};
use super::{Measured, Settings};
use crate::group_commit::assets;
use crate::measure::{Times, Turn, by_turns, growth, storm, timed};
use crate::peers::lmdb::Lmdb;
use crate::peers::sqlite::{self, Sqlite};
use crate::report::{Line, Target};
use crate::rows::{Row, Template};
use crate::{CACHE_BYTES, Result, data, scratch};

const GETS: usize = 20_000;
const PAGE: usize = 100;

pub fn run(settings: &Settings, measured: &mut Measured) -> Result<()> {
    if settings.wants_any(&["7", "8", "9", "10", "14", "15", "17"]) {
        one_large_asset(settings, measured)?;
    }
    if settings.wants("11") {
        small_cache(settings, measured)?;
    }
    if settings.wants("21") {
        many_parents(settings, measured)?;
    }
    Ok(())
}

fn per_second(count: usize) -> impl Fn(f64) -> String {
    move |seconds| format!("{:.0}/s", count as f64 / seconds)
}

fn micros(count: usize) -> impl Fn(f64) -> String {
    move |seconds| format!("{:.1} µs", seconds * 1e6 / count as f64)
}

/// Random positions below `len`, the same for every system.
fn positions(len: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count as u64).map(move |n| (data::mix(n) % len as u64) as usize)
}

fn large_asset(
    settings: &Settings,
    directory: &dyn Fn(&str) -> std::path::PathBuf,
    sets: u64,
) -> Result<(Pair, Contents)> {
    let _ = settings;
    Pair::create(directory, (1, &[0]), sets, 0, |_| 0)
}

fn get_shelf(session: &Session, id: SetId) -> Result<()> {
    let set = session.get(id)?.ok_or("a set is gone")?;
    if set.id != id || set.data_asset_info.data_store_info.name.is_none() {
        return Err("another set, or without its store".into());
    }
    Ok(())
}

fn one_large_asset(settings: &Settings, measured: &mut Measured) -> Result<()> {
    let (_directory, path) = scratch()?;
    let (pair, contents) = large_asset(settings, &path, settings.sets)?;
    let (catalog, session) = open(&pair.shelf, CACHE_BYTES)?;
    let peer = Sqlite::open(&pair.sqlite)?;
    if settings.wants("7") {
        gets(settings, measured, &pair, &session, &contents)?;
    }
    if settings.wants_any(&["8", "9", "10", "15"]) {
        pages(settings, measured, &session, &peer, &contents)?;
    }
    if settings.wants("14") {
        counts(settings, measured, &session, &contents)?;
    }
    if settings.wants_any(&["7", "8"]) {
        grow(settings, measured)?;
    }
    if settings.wants("17") {
        drop(session);
        catalog.compact()?;
        drop(catalog);
        peer.connection
            .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
        let bytes =
            |path| -> Result<f64> { Ok(std::fs::metadata(path)?.len() as f64 / settings.sets as f64) };
        let (own, other) = (bytes(&pair.shelf)?, bytes(&pair.sqlite)?);
        measured.lines.push(Line {
            row: "17",
            name: format!(
                "bytes on disk a set, at {} sets, after compact; SQLite after VACUUM",
                settings.sets
            ),
            figure: own / other,
            target: Target::AtMost(0.85),
            medians: format!("shelfmark {own:.0}, SQLite {other:.0}"),
        });
    }
    Ok(())
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
    raw.create_sets(&rows)?;
    let lmdb = Lmdb::create(&path("lmdb"))?;
    lmdb.create_sets(&rows)?;
    drop(rows);

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
    measured.lines.push(Line {
        row: "7",
        name: "get by id on a held snapshot, decoded with its parents' names, against LMDB's bytes alone"
            .to_owned(),
        figure: times.speed("shelfmark", "LMDB, bytes alone"),
        target: Target::AtLeast(1.2),
        medians: times.medians(per_second(GETS)),
    });
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

const FIRST_PAGE: &str =
    "SELECT id, name FROM data_set WHERE asset_id = ?1 ORDER BY name, id LIMIT 100 OFFSET ?2";
const NEXT_PAGE: &str = "SELECT id, name FROM data_set WHERE asset_id = ?1 AND (name, id) > (?2, ?3)
    ORDER BY name, id LIMIT 100";
const UNINDEXED_PAGE: &str =
    "SELECT id, name FROM data_set WHERE asset_id = ?1 ORDER BY description, id LIMIT 20";

type Named = Vec<(Vec<u8>, Option<String>)>;

fn named(statement: &mut rusqlite::CachedStatement<'_>, parameters: impl rusqlite::Params) -> Result<Named> {
    let rows = statement.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}

fn same(page: &[shelfmark::Uuid], other: &Named) -> Result<()> {
    if page.len() == other.len()
        && page
            .iter()
            .zip(other)
            .all(|(id, (other, _))| id.as_bytes()[..] == other[..])
    {
        Ok(())
    } else {
        Err("two pages differ".into())
    }
}

fn repeat(count: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    Ok(timed(|| (0..count).try_for_each(|_| work()))?.0)
}

fn pages(
    settings: &Settings,
    measured: &mut Measured,
    session: &Session,
    peer: &Sqlite,
    contents: &Contents,
) -> Result<()> {
    let asset = contents.assets[0];
    let asset_bytes = asset.uuid().into_bytes();
    let connection = &peer.connection;
    let depth = settings.sets as usize / 2;
    let by_name = Query::<DataSet>::of(asset).sort("name").limit(PAGE);
    let ids = |page: &shelfmark::Page<shelfmark::Named<SetId>>| -> Vec<_> {
        page.items.iter().map(|set| set.id.uuid()).collect()
    };

    let before = session.list_names(&by_name.clone().page((depth / PAGE) as u64 - 1))?;
    let cursor = before.next.clone().ok_or("no page behind the middle")?;
    let last = before.items.last().ok_or("an empty page")?;
    let (last_name, last_id) = (last.name.clone(), last.id.uuid().into_bytes());
    let at_cursor = by_name.clone().cursor(cursor);
    let at_offset = by_name.clone().page((depth / PAGE) as u64);

    same(
        &ids(&session.list_names(&by_name)?),
        &named(
            &mut connection.prepare_cached(FIRST_PAGE)?,
            params![asset_bytes, 0],
        )?,
    )?;
    let middle = named(
        &mut connection.prepare_cached(NEXT_PAGE)?,
        params![asset_bytes, last_name, last_id],
    )?;
    same(&ids(&session.list_names(&at_cursor)?), &middle)?;
    same(&ids(&session.list_names(&at_offset)?), &middle)?;
    let unindexed = Query::<DataSet>::of(asset).sort("description").limit(20);
    same(
        &ids(&session.list_names(&unindexed)?),
        &named(
            &mut connection.prepare_cached(UNINDEXED_PAGE)?,
            params![asset_bytes],
        )?,
    )?;

    let mut line = |row, name: &str, times: Times, count, target| {
        let (figure, medians) = (times.speed("shelfmark", "SQLite"), times.medians(micros(count)));
        measured.lines.push(Line {
            row,
            name: name.to_owned(),
            figure,
            target,
            medians,
        });
    };
    let list = |query: &Query<DataSet>| -> Result<()> {
        if session.list_names(query)?.items.is_empty() {
            Err("an empty page".into())
        } else {
            Ok(())
        }
    };
    if settings.wants("8") {
        let times = by_turns(
            settings.rounds,
            vec![
                ("shelfmark", Box::new(|| repeat(500, || list(&by_name)))),
                (
                    "SQLite",
                    Box::new(|| {
                        repeat(500, || {
                            named(
                                &mut connection.prepare_cached(FIRST_PAGE)?,
                                params![asset_bytes, 0],
                            )
                            .map(drop)
                        })
                    }),
                ),
            ],
        )?;
        line(
            "8",
            "page of 100 by name, id and name, first page",
            times,
            500,
            Target::AtLeast(2.0),
        );
        let times = by_turns(
            settings.rounds,
            vec![
                ("shelfmark", Box::new(|| repeat(500, || list(&at_cursor)))),
                (
                    "SQLite",
                    Box::new(|| {
                        repeat(500, || {
                            named(
                                &mut connection.prepare_cached(NEXT_PAGE)?,
                                params![asset_bytes, last_name, last_id],
                            )
                            .map(drop)
                        })
                    }),
                ),
            ],
        )?;
        line(
            "8",
            &format!("the same by cursor, in the middle of {}", settings.sets),
            times,
            500,
            Target::AtLeast(2.5),
        );
    }
    if settings.wants("9") {
        let times = by_turns(
            settings.rounds,
            vec![
                ("shelfmark", Box::new(|| repeat(20, || list(&at_offset)))),
                (
                    "SQLite",
                    Box::new(|| {
                        repeat(20, || {
                            named(
                                &mut connection.prepare_cached(FIRST_PAGE)?,
                                params![asset_bytes, depth as i64],
                            )
                            .map(drop)
                        })
                    }),
                ),
            ],
        )?;
        line(
            "9",
            &format!("the same by offset {depth}"),
            times,
            20,
            Target::AtLeast(1.0),
        );
    }
    if settings.wants("10") {
        let times = by_turns(
            settings.rounds,
            vec![
                (
                    "shelfmark",
                    Box::new(|| {
                        repeat(200, || {
                            let page = session.list(&by_name)?;
                            if page.items.len() == PAGE.min(settings.sets as usize) {
                                Ok(())
                            } else {
                                Err("a short page".into())
                            }
                        })
                    }),
                ),
                (
                    "SQLite",
                    Box::new(|| {
                        repeat(200, || {
                            let page = sqlite::page_of_bodies(connection, asset.uuid(), PAGE)?;
                            if page.len() == PAGE.min(settings.sets as usize) {
                                Ok(())
                            } else {
                                Err("a short page".into())
                            }
                        })
                    }),
                ),
            ],
        )?;
        line(
            "10",
            "page of 100 by name with bodies",
            times,
            200,
            Target::AtLeast(1.2),
        );
    }
    if settings.wants("15") {
        let times = by_turns(
            settings.rounds,
            vec![
                ("shelfmark", Box::new(|| repeat(3, || list(&unindexed)))),
                (
                    "SQLite",
                    Box::new(|| {
                        repeat(3, || {
                            named(
                                &mut connection.prepare_cached(UNINDEXED_PAGE)?,
                                params![asset_bytes],
                            )
                            .map(drop)
                        })
                    }),
                ),
            ],
        )?;
        line(
            "15",
            &format!(
                "page of 20 sorted by a field without an index, of {}",
                settings.sets
            ),
            times,
            3,
            Target::AtLeast(1.0),
        );
    }
    Ok(())
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

/// Rows 7 and 8 at a tenth, a third and all of the size.
fn grow(settings: &Settings, measured: &mut Measured) -> Result<()> {
    let (mut gets, mut lists) = (Vec::new(), Vec::new());
    for sets in [settings.sets / 10, settings.sets * 3 / 10, settings.sets] {
        let (_directory, path) = scratch()?;
        let (pair, contents) = Pair::create(&path, (1, &[0]), sets, 0, |_| 0)?;
        let (_catalog, session) = open(&pair.shelf, CACHE_BYTES)?;
        let ids = &contents.sets;
        let query = Query::<DataSet>::of(contents.assets[0]).sort("name").limit(PAGE);
        let times = by_turns(
            settings.rounds,
            vec![
                (
                    "get",
                    Box::new(|| {
                        Ok(timed(|| {
                            positions(ids.len(), GETS).try_for_each(|at| get_shelf(&session, ids[at]))
                        })?
                        .0)
                    }),
                ),
                (
                    "list",
                    Box::new(|| repeat(200, || Ok(drop(session.list_names(&query)?)))),
                ),
            ],
        )?;
        gets.push((sets as f64, times.median("get")));
        lists.push((sets as f64, times.median("list")));
    }
    measured.growth.push(("7, get by id", growth(&gets)));
    measured.growth.push(("8, first page by name", growth(&lists)));
    Ok(())
}

/// Row 11: heads and schemas apart, against one row for both, and against no schemas.
fn small_cache(settings: &Settings, measured: &mut Measured) -> Result<()> {
    const SMALL_CACHE: usize = 4 << 20;
    const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("set");
    let sets = settings.sets.min(10_000);
    let (_directory, path) = scratch()?;
    let mut fixtures = Vec::new();
    for fields in [200, 0] {
        let file = path(&format!("shelf-{fields}"));
        let catalog = shelfmark::Options::new().cache_bytes(CACHE_BYTES).create(&file)?;
        let session = catalog.session("acme", "ann")?;
        let store = session.create(data::store(0))?;
        let asset = session.create(data::asset(store.id, 0))?.id;
        session.create_batched((0..sets).map(|n| data::set(asset, n, fields)), Default::default())?;
        drop((session, catalog));
        fixtures.push((open(&file, SMALL_CACHE)?, asset));
    }
    // One row: the name's length, the name, and the rest of head and schemas.
    let one_row = {
        let template = Template::new()?;
        let assets = assets(template.session())?;
        let rows = template.create_sets(&assets, 0..sets, 200)?;
        let database = Builder::new()
            .set_cache_size(SMALL_CACHE)
            .create(path("one-row"))?;
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (n, rows) in rows.iter().enumerate() {
                let name = data::set(assets[0], n as u64, 0).name.unwrap_or_default();
                let mut value = vec![name.len() as u8];
                value.extend_from_slice(name.as_bytes());
                let of = |space| rows.iter().find(|row| row.space == space);
                for row in [of(Keyspace::Set), of(Keyspace::SetSchema)].into_iter().flatten() {
                    value.extend_from_slice(&row.value);
                }
                let key = of(Keyspace::Set).ok_or("a set without a head")?.key.as_slice();
                table.insert(key, value.as_slice())?;
            }
        }
        transaction.commit()?;
        database
    };
    let list = |at: usize| -> Result<()> {
        let ((_, session), asset) = &fixtures[at];
        let page = session.list_names(&Query::<DataSet>::of(*asset).limit(sets as usize))?;
        let named = page.items.iter().filter(|set| set.name.is_some()).count() as u64;
        if named == sets {
            Ok(())
        } else {
            Err(format!("{named} of {sets}").into())
        }
    };
    let scan = |database: &Database| -> Result<()> {
        let transaction = database.begin_read()?;
        let mut named = Vec::new();
        for row in transaction.open_table(TABLE)?.range::<&[u8]>(..)? {
            let (key, value) = row?;
            let value = value.value();
            let name = value
                .split_first()
                .and_then(|(len, rest)| rest.get(..usize::from(*len)))
                .unwrap_or_default();
            named.push((key.value().to_vec(), String::from_utf8_lossy(name).into_owned()));
        }
        if named.len() as u64 == sets {
            Ok(())
        } else {
            Err("rows are gone".into())
        }
    };
    let times = by_turns(
        settings.rounds,
        vec![
            ("with schemas of 200 fields", Box::new(|| repeat(1, || list(0)))),
            ("without schemas", Box::new(|| repeat(1, || list(1)))),
            (
                "heads and schemas in one row",
                Box::new(|| repeat(1, || scan(&one_row))),
            ),
        ],
    )?;
    let medians = times.medians(|seconds| format!("{:.1} ms", seconds * 1e3));
    measured.lines.push(Line {
        row: "11",
        name: format!("{sets} sets, id and name, cache of 4 MB: against heads and schemas in one row"),
        figure: times.speed("with schemas of 200 fields", "heads and schemas in one row"),
        target: Target::AtLeast(9.0),
        medians: medians.clone(),
    });
    measured.lines.push(Line {
        row: "11",
        name: "the same: time against the one without schemas".to_owned(),
        figure: times.speed("without schemas", "with schemas of 200 fields"),
        target: Target::AtMost(1.15),
        medians,
    });
    Ok(())
}

/// Row 21: lists over many parents.
fn many_parents(settings: &Settings, measured: &mut Measured) -> Result<()> {
    let (_directory, path) = scratch()?;
    // 1,000 stores of assets, and one more with 1,000 assets of 10 sets each.
    let stores = (settings.sets / 100).clamp(10, 1_000);
    let mut parents: Vec<usize> = (0..settings.sets.min(100_000))
        .map(|n| (n % stores) as usize)
        .collect();
    let first = parents.len();
    parents.extend(std::iter::repeat_n(stores as usize, 1_000));
    let (pair, contents) = Pair::create(&path, (stores + 1, &parents), 10_000, 0, |n| {
        first + n as usize % 1_000
    })?;
    let (_catalog, session) = open(&pair.shelf, CACHE_BYTES)?;
    let peer = Sqlite::open(&pair.sqlite)?;
    let connection = &peer.connection;
    let store = contents.stores[stores as usize];
    let store_bytes = store.uuid().into_bytes();
    const OF_STORE: &str =
        "SELECT d.id, d.name FROM data_set d JOIN asset a ON a.id = d.asset_id WHERE a.store_id = ?1
        ORDER BY d.name, d.id LIMIT 20";
    const OF_ALL: &str = "SELECT id, name FROM asset ORDER BY name, id LIMIT 20";
    let of_stores = Query::<DataAsset>::of(contents.stores.clone())
        .sort("name")
        .limit(20);
    let of_store = Query::<DataSet>::of(store).sort("name").limit(20);
    let found: Vec<_> = session
        .list_names(&of_store)?
        .items
        .iter()
        .map(|set| set.id.uuid())
        .collect();
    same(
        &found,
        &named(&mut connection.prepare_cached(OF_STORE)?, params![store_bytes])?,
    )?;
    let found: Vec<_> = session
        .list_names(&of_stores)?
        .items
        .iter()
        .map(|asset| asset.id.uuid())
        .collect();
    same(&found, &named(&mut connection.prepare_cached(OF_ALL)?, [])?)?;
    let times = by_turns(
        settings.rounds,
        vec![
            (
                "shelfmark",
                Box::new(|| repeat(5, || Ok(drop(session.list_names(&of_stores)?)))),
            ),
            (
                "SQLite",
                Box::new(|| repeat(5, || named(&mut connection.prepare_cached(OF_ALL)?, []).map(drop))),
            ),
        ],
    )?;
    measured.lines.push(Line {
        row: "21",
        name: format!(
            "page of 20 assets by name over all of {} stores with {} assets",
            stores + 1,
            parents.len()
        ),
        figure: times.median("shelfmark") * 1e3 / 5.0,
        target: Target::Millis(5.0),
        medians: times.medians(micros(5)),
    });
    let times = by_turns(
        settings.rounds,
        vec![
            (
                "shelfmark",
                Box::new(|| repeat(5, || Ok(drop(session.list_names(&of_store)?)))),
            ),
            (
                "SQLite",
                Box::new(|| {
                    repeat(5, || {
                        named(&mut connection.prepare_cached(OF_STORE)?, params![store_bytes]).map(drop)
                    })
                }),
            ),
        ],
    )?;
    measured.lines.push(Line {
        row: "21",
        name: "page of 20 sets by name over one store's 1,000 assets".to_owned(),
        figure: times.speed("shelfmark", "SQLite"),
        target: Target::AtLeast(1.0),
        medians: times.medians(micros(5)),
    });
    Ok(())
}
