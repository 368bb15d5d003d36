//! Rows 8 to 11, 15 and 21: lists.

use redb::{Builder, Database, ReadableDatabase as _, TableDefinition};
use rusqlite::params;
use shelfmark::backend::Keyspace;
use shelfmark::{DataAsset, DataSet, Entity, Query, Read as _, Session, SetId, Write as _};

use super::fixture::{Contents, Pair, open};
use super::reads::PAGE;
use super::{Measured, Settings, micros, repeat};
use crate::measure::{Times, by_turns, timed};
use crate::peers::sqlite::{self, Sqlite};
use crate::report::{Line, Target};
use crate::rows::Template;
use crate::systems::assets;
use crate::{CACHE_BYTES, Result, scratch};
use shelfmark_benches::data;

/// Lists, and refuses an empty page.
pub fn list_names<E: Entity>(session: &Session, query: &Query<E>) -> Result<()> {
    if session.list_names(query)?.items.is_empty() {
        return Err("an empty page".into());
    }
    Ok(())
}

const FIRST_PAGE: &str =
    "SELECT id, name FROM data_set WHERE asset_id = ?1 ORDER BY name, id LIMIT 100 OFFSET ?2";
const NEXT_PAGE: &str = "SELECT id, name FROM data_set WHERE asset_id = ?1 AND (name, id) > (?2, ?3)
    ORDER BY name, id LIMIT 100";
const UNINDEXED_PAGE: &str =
    "SELECT id, name FROM data_set WHERE asset_id = ?1 ORDER BY description, id LIMIT 20";

/// Seconds that so many repetitions take, each after a commit, which is not counted.
fn on_new_states(session: &Session, count: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut seconds = 0.0;
    for _ in 0..count {
        session.create(data::store(0))?;
        seconds += timed(&mut work)?.0;
    }
    Ok(seconds)
}

type Named = Vec<([u8; 16], Option<String>)>;

fn named(statement: &mut rusqlite::CachedStatement<'_>, parameters: impl rusqlite::Params) -> Result<Named> {
    let rows = statement.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}

fn same(page: &[shelfmark::Uuid], other: &Named) -> Result<()> {
    if page.len() == other.len()
        && page
            .iter()
            .zip(other)
            .all(|(id, (other, _))| id.as_bytes() == other)
    {
        Ok(())
    } else {
        Err("two pages differ".into())
    }
}

/// Rows 8, 9, 10 and 15, of one asset.
pub fn pages(
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
    // SQLite is not asked for a total either.
    let by_name = Query::<DataSet>::of(asset)
        .sort("name")
        .limit(PAGE)
        .without_total();
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
    let unindexed = Query::<DataSet>::of(asset)
        .sort("description")
        .limit(20)
        .without_total();
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
    let list = |query: &Query<DataSet>| list_names(session, query);
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
            &format!("the same by offset {depth}, again on the same state"),
            times,
            20,
            Target::AtLeast(1.0),
        );
        // What a state remembers goes with a commit.
        let pages: Vec<u64> = (1..=50).map(|n| n * depth as u64 / 50 / PAGE as u64).collect();
        let offset = |page: u64| by_name.clone().page(page);
        let row = |page: u64| {
            let offset = page as i64 * PAGE as i64;
            named(
                &mut connection.prepare_cached(FIRST_PAGE)?,
                params![asset_bytes, offset],
            )
            .map(drop)
        };
        let times = by_turns(
            settings.rounds,
            vec![
                (
                    "shelfmark",
                    Box::new(|| on_new_states(session, 10, || list(&at_offset))),
                ),
                ("SQLite", Box::new(|| repeat(10, || row((depth / PAGE) as u64)))),
            ],
        )?;
        line(
            "9",
            &format!("the same by offset {depth}, each after a commit"),
            times,
            10,
            Target::AtLeast(1.0),
        );
        let times = by_turns(
            settings.rounds,
            vec![
                (
                    "shelfmark",
                    Box::new(|| {
                        on_new_states(session, 1, || {
                            pages.iter().try_for_each(|&page| list(&offset(page)))
                        })
                    }),
                ),
                (
                    "SQLite",
                    Box::new(|| repeat(1, || pages.iter().try_for_each(|&page| row(page)))),
                ),
            ],
        )?;
        line(
            "9",
            &format!("50 such pages on the way to offset {depth}, after a commit"),
            times,
            50,
            Target::Shown,
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

/// Row 11: heads and schemas apart, against one row for both, and against no schemas.
pub fn small_cache(settings: &Settings, measured: &mut Measured) -> Result<()> {
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
pub fn many_parents(settings: &Settings, measured: &mut Measured) -> Result<()> {
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
        .limit(20)
        .without_total();
    let of_store = Query::<DataSet>::of(store).sort("name").limit(20).without_total();
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
                Box::new(|| repeat(5, || list_names(&session, &of_stores))),
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
                Box::new(|| repeat(5, || list_names(&session, &of_store))),
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
        name: "page of 20 sets by name over one store's 1,000 assets, again on the same state".to_owned(),
        figure: times.speed("shelfmark", "SQLite"),
        target: Target::AtLeast(1.0),
        medians: times.medians(micros(5)),
    });
    let times = by_turns(
        settings.rounds,
        vec![
            (
                "shelfmark",
                Box::new(|| on_new_states(&session, 5, || list_names(&session, &of_store))),
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
        name: "the same, each after a commit".to_owned(),
        figure: times.speed("shelfmark", "SQLite"),
        target: Target::AtLeast(1.0),
        medians: times.medians(micros(5)),
    });
    Ok(())
}
