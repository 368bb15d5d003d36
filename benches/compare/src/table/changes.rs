//! Rows 12, 13 and 18: cascades, updates, patches.

use rusqlite::params;
use shelfmark::{DataSet, Environment, Expectation, Patch, Query, Read as _, Session, SetId, Write as _};

use super::fixture::{Contents, Pair, open};
use super::{Measured, Settings};
use crate::measure::{Times, by_turns, timed};
use crate::peers::sqlite::{Sqlite, TWO_INDEXES};
use crate::report::{Line, Target};
use crate::{CACHE_BYTES, Result, scratch};

pub fn run(settings: &Settings, measured: &mut Measured) -> Result<()> {
    if settings.wants("12") {
        cascades(settings, measured)?;
    }
    if settings.wants("13") {
        updates(settings, measured)?;
    }
    if settings.wants("18") {
        patches(settings, measured)?;
    }
    Ok(())
}

/// Deletes the asset at `at`, which has `sets` sets, in copies of both.
fn cascade(settings: &Settings, pair: &Pair, contents: &Contents, (at, sets): (usize, u64)) -> Result<Times> {
    let (_directory, path) = scratch()?;
    let asset = contents.assets[at];
    let peer = |two_indexes: bool| -> Result<f64> {
        let copy = pair.copy(&path)?;
        let peer = Sqlite::open(&copy.sqlite)?;
        if two_indexes {
            peer.leave_two_indexes()?;
        }
        let count = || crate::peers::sqlite::sets(&peer.connection);
        let before = count()?;
        let delete = || {
            Ok(peer.connection.execute(
                "DELETE FROM asset WHERE id = ?1",
                params![asset.uuid().as_bytes()],
            )?)
        };
        let (seconds, _) = timed(delete)?;
        let went = before - count()?;
        if went == sets {
            Ok(seconds)
        } else {
            Err(format!("{went} sets went, not {sets}").into())
        }
    };
    by_turns(
        settings.rounds_of(sets),
        vec![
            (
                "shelfmark",
                Box::new(|| {
                    let copy = pair.copy(&path)?;
                    let (_catalog, session) = open(&copy.shelf, CACHE_BYTES)?;
                    let (seconds, deleted) = timed(|| Ok(session.delete(asset, Expectation::Any)?))?;
                    if deleted.sets == sets {
                        Ok(seconds)
                    } else {
                        Err(format!("{} sets went, not {sets}", deleted.sets).into())
                    }
                }),
            ),
            ("SQLite", Box::new(|| peer(false))),
            (TWO_INDEXES, Box::new(|| peer(true))),
        ],
    )
}

fn cascades(settings: &Settings, measured: &mut Measured) -> Result<()> {
    let mut line = |name: String, sets: u64, times: &Times, target| {
        let medians = times.medians(|seconds| format!("{:.2} µs a set", seconds * 1e6 / sets as f64));
        for (peer, of, target) in [
            ("SQLite", "SQLite's", target),
            (TWO_INDEXES, "that of SQLite with two indexes", Target::Shown),
        ] {
            measured.lines.push(Line {
                row: "12",
                name: format!("{name}: time against {of}"),
                figure: times.speed(peer, "shelfmark"),
                target,
                medians: medians.clone(),
            });
        }
    };
    let sets = settings.sets;
    {
        // Ten sets of a second asset lie among those of the first.
        let (_directory, path) = scratch()?;
        let step = (sets / 10).max(1);
        let (pair, contents) = Pair::create(&path, (1, &[0, 0]), sets, 0, |n| {
            usize::from(n % step == step / 2)
        })?;
        let few = (0..sets).filter(|n| n % step == step / 2).count() as u64;
        let times = cascade(settings, &pair, &contents, (1, few))?;
        line(
            format!("cascade of {few} sets spread over {sets}"),
            few,
            &times,
            Target::AtMost(1.0),
        );
        let times = cascade(settings, &pair, &contents, (0, sets - few))?;
        line(
            format!("cascade of {} sets with contiguous ids", sets - few),
            sets - few,
            &times,
            Target::AtMost(0.15),
        );
    }
    {
        let (_directory, path) = scratch()?;
        let (pair, contents) = Pair::create(&path, (1, &[0, 0]), sets * 2, 0, |n| (n % 2) as usize)?;
        let times = cascade(settings, &pair, &contents, (0, sets))?;
        line(
            format!("cascade of {sets} sets with interleaved ids"),
            sets,
            &times,
            Target::AtMost(0.3),
        );
    }
    Ok(())
}

const READ_VERSION: &str = "SELECT version FROM data_set WHERE id = ?1";
const UPDATE: &str = "UPDATE data_set SET description = ?2, version = version + 1, modified = ?3, modified_by = ?4 WHERE id = ?1 AND version = ?5";

fn update_one(connection: &rusqlite::Connection, id: SetId, text: &str, now: i64) -> Result<()> {
    let id = id.uuid().into_bytes();
    let version: i64 = connection
        .prepare_cached(READ_VERSION)?
        .query_row(params![id], |row| row.get(0))?;
    let changed = connection
        .prepare_cached(UPDATE)?
        .execute(params![id, text, now, "ann", version])?;
    if changed == 1 {
        Ok(())
    } else {
        Err("a set was not updated".into())
    }
}

fn updates(settings: &Settings, measured: &mut Measured) -> Result<()> {
    const MANY: usize = 1_000;
    const SINGLE: usize = 200;
    let (_directory, path) = scratch()?;
    let sets = settings.sets.min(100_000);
    let (pair, contents) = Pair::create(&path, (1, &[0]), sets, 0, |_| 0)?;
    let (_catalog, session) = open(&pair.shelf, CACHE_BYTES)?;
    let second = path("sqlite-two-indexes");
    std::fs::copy(&pair.sqlite, &second)?;
    let mut peer = Sqlite::open(&pair.sqlite)?;
    let mut two_indexes = Sqlite::open(&second)?;
    two_indexes.leave_two_indexes()?;
    let clock = Environment::default().clock;
    let ids: Vec<SetId> = contents
        .sets
        .iter()
        .step_by(contents.sets.len() / MANY)
        .take(MANY)
        .copied()
        .collect();
    let mut round = 0;
    let mut text = || {
        round += 1;
        format!("Changed in round {round}.")
    };
    let texts: Vec<String> = (0..settings.rounds * 4).map(|_| text()).collect();
    let next = std::cell::Cell::new(0);
    let text = || {
        next.set(next.get() + 1);
        texts[(next.get() - 1) % texts.len()].clone()
    };
    let many_in_sqlite = |peer: &mut Sqlite| -> Result<f64> {
        let text = text();
        let (seconds, ()) = timed(|| {
            let transaction = peer.begin()?;
            for &id in &ids {
                update_one(&transaction, id, &text, clock.now().millis())?;
            }
            Ok(transaction.commit()?)
        })?;
        Ok(seconds)
    };
    let times = by_turns(
        settings.rounds,
        vec![
            (
                "shelfmark",
                Box::new(|| {
                    let text = text();
                    let members = ids.iter().map(|&id| (id, Expectation::Any));
                    let (seconds, updated) = timed(|| {
                        Ok(session.update_all(members, |_, set| set.description = Some(text.clone()))?)
                    })?;
                    if updated.len() == MANY
                        && updated.iter().all(|set| set.description.as_ref() == Some(&text))
                    {
                        Ok(seconds)
                    } else {
                        Err("not all were updated".into())
                    }
                }),
            ),
            ("SQLite", Box::new(|| many_in_sqlite(&mut peer))),
            (TWO_INDEXES, Box::new(|| many_in_sqlite(&mut two_indexes))),
        ],
    )?;
    for (peer, what, target) in [
        ("SQLite", "SQLite", Target::AtLeast(1.0)),
        (TWO_INDEXES, "SQLite with two indexes", Target::Shown),
    ] {
        measured.lines.push(Line {
            row: "13",
            name: format!("update of {MANY} in a transaction, of {sets}, against {what}"),
            figure: times.speed("shelfmark", peer),
            target,
            medians: times.medians(|seconds| format!("{:.0}/s", MANY as f64 / seconds)),
        });
    }
    // The engine alone: the same rows change, of sets that the catalog made.
    let bare = super::bare_updates::BareUpdates::new(&path("bare"), sets)?;
    let times = by_turns(
        settings.rounds,
        vec![
            (
                "shelfmark",
                Box::new(|| {
                    let text = text();
                    let work = || {
                        ids.iter().take(SINGLE).try_for_each(|&id| {
                            session
                                .update(id, Expectation::Any, |set| set.description = Some(text.clone()))?;
                            Ok(())
                        })
                    };
                    Ok(timed(work)?.0)
                }),
            ),
            ("bare redb", Box::new(|| Ok(timed(|| bare.update(SINGLE))?.0))),
        ],
    )?;
    measured.lines.push(Line {
        row: "13",
        name: "one durable update, against bare redb".to_owned(),
        figure: times.speed("shelfmark", "bare redb"),
        target: Target::AtLeast(0.95),
        medians: times.medians(|seconds| format!("{:.0}/s", SINGLE as f64 / seconds)),
    });
    Ok(())
}

/// Row 18: one field of a set whose schema has 200.
fn patches(settings: &Settings, measured: &mut Measured) -> Result<()> {
    const PATCHES: usize = 100;
    let (_directory, path) = scratch()?;
    let (pair, contents) = Pair::create(&path, (1, &[0]), 1_000, 200, |_| 0)?;
    let (_catalog, session) = open(&pair.shelf, CACHE_BYTES)?;
    let peer = Sqlite::open(&pair.sqlite)?;
    let clock = Environment::default().clock;
    let round = std::cell::Cell::new(0);
    let body = || {
        round.set(round.get() + 1);
        format!(
            r#"[{{"op": "replace", "path": "/description", "value": "Patched in round {}."}}]"#,
            round.get()
        )
    };
    let times = by_turns(
        settings.rounds,
        vec![
            (
                "shelfmark",
                Box::new(|| {
                    let body = body();
                    patch_all(&session, &contents.sets[..PATCHES], body.as_bytes())
                }),
            ),
            (
                "SQLite",
                Box::new(|| {
                    let body = body();
                    let work = || {
                        contents.sets.iter().take(PATCHES).try_for_each(|id| {
                            let patch: json_patch::Patch = serde_json::from_slice(body.as_bytes())?;
                            crate::peers::sqlite::patch(
                                &peer.connection,
                                id.uuid(),
                                &patch,
                                clock.now().millis(),
                            )
                        })
                    };
                    Ok(timed(work)?.0)
                }),
            ),
        ],
    )?;
    let schemas = session.list(&Query::<DataSet>::of(contents.assets[0]).with_schemas().limit(1))?;
    if schemas
        .items
        .first()
        .and_then(|set| set.schema.as_ref())
        .is_none_or(|schema| schema.data_fields.len() != 200)
    {
        return Err("a schema has changed".into());
    }
    measured.lines.push(Line {
        row: "18",
        name: "JSON patch of one field, durable, on a set with a schema of 200, against SQLite".to_owned(),
        figure: times.speed("shelfmark", "SQLite"),
        target: Target::AtLeast(1.0),
        medians: times.medians(|seconds| format!("{:.0}/s", PATCHES as f64 / seconds)),
    });
    Ok(())
}

fn patch_all(session: &Session, ids: &[SetId], body: &[u8]) -> Result<f64> {
    let (seconds, ()) = timed(|| {
        ids.iter().try_for_each(|&id| {
            let patched = session.patch(id, Expectation::Any, &Patch::from_json(body)?)?;
            if patched.version > 0 {
                Ok(())
            } else {
                Err("a set was not patched".into())
            }
        })
    })?;
    Ok(seconds)
}
