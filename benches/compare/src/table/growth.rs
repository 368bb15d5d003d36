//! How rows 1, 7, 8 and 12 grow with the catalog: the catalog alone, at three sizes.

use std::path::Path;

use shelfmark::{Batched, Expectation, Options, Query, Write as _};

use super::bulk::{Load, load_shelf};
use super::fixture::open;
use super::lists::list_names;
use super::reads::{GETS, PAGE, get_shelf, positions};
use super::{Measured, Settings, repeat};
use crate::measure::{Turn, by_turns, median, timed};
use crate::{CACHE_BYTES, Result, scratch};
use shelfmark_benches::data;

const LISTS: usize = 200;

/// Three sizes up to `sets`, from 10,000 or a tenth of them, a like step apart.
pub fn sizes(sets: u64) -> [u64; 3] {
    let least = (sets / 10).min(10_000);
    [least, ((least * sets) as f64).sqrt().round() as u64, sets]
}

/// A catalog with one asset of so many sets, closed.
fn fill(path: &Path, sets: u64) -> Result<(shelfmark::AssetId, Vec<shelfmark::SetId>)> {
    let catalog = Options::new().cache_bytes(CACHE_BYTES).create(path)?;
    let session = catalog.session("acme", "ann")?;
    let store = session.create(data::store(0))?.id;
    let asset = session.create(data::asset(store, 0))?.id;
    let sets = session.create_batched((0..sets).map(|n| data::set(asset, n, 0)), Batched::new())?;
    Ok((asset, sets))
}

pub fn run(settings: &Settings, measured: &mut Measured) -> Result<()> {
    let (mut creates, mut gets, mut lists, mut cascades) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for sets in sizes(settings.sets) {
        eprintln!("  growth, {sets} sets");
        let size = sets as f64;
        let rounds = settings.rounds_of(sets);
        if settings.wants("1") {
            let load = Load {
                sets,
                in_one: sets as usize,
            };
            let turn: Turn<'_> = ("shelfmark", Box::new(move || load_shelf(load, false)));
            creates.push((size, by_turns(rounds, vec![turn])?.median("shelfmark")));
        }
        if !settings.wants_any(&["7", "8", "12"]) {
            continue;
        }
        let (_directory, path) = scratch()?;
        let file = path("shelf");
        let (asset, ids) = fill(&file, sets)?;
        if settings.wants_any(&["7", "8"]) {
            let (_catalog, session) = open(&file, CACHE_BYTES)?;
            let query = Query::of(asset).sort("name").limit(PAGE);
            // Their turns are short.
            let times = by_turns(
                settings.rounds * 5,
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
                        Box::new(|| repeat(LISTS, || list_names::<shelfmark::DataSet>(&session, &query))),
                    ),
                ],
            )?;
            gets.push((size, times.median("get")));
            lists.push((size, times.median("list")));
        }
        if settings.wants("12") {
            let copy = path("copy");
            let mut seconds = Vec::new();
            for _ in 0..rounds {
                std::fs::copy(&file, &copy)?;
                let (_catalog, session) = open(&copy, CACHE_BYTES)?;
                let (took, deleted) = timed(|| Ok(session.delete(asset, Expectation::Any)?))?;
                if deleted.sets != sets {
                    return Err(format!("{} sets went, not {sets}", deleted.sets).into());
                }
                seconds.push(took);
            }
            cascades.push((size, median(seconds)));
        }
    }
    for (name, operations, points) in [
        ("1, bulk create in one transaction, sets", None, creates),
        ("7, get by id", Some(GETS), gets),
        ("8, first page of 100 by name", Some(LISTS), lists),
        ("12, cascade of contiguous ids, sets", None, cascades),
    ] {
        if !points.is_empty() {
            measured.add_growth(name, operations, points);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::sizes;

    #[test]
    fn sizes_are_a_like_step_apart() {
        assert_eq!(sizes(1_000_000), [10_000, 100_000, 1_000_000]);
        assert_eq!(sizes(100_000), [10_000, 31_623, 100_000]);
        assert_eq!(sizes(2_000), [200, 632, 2_000]);
    }
}
