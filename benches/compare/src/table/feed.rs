//! Row 20: rows 1, 2 and 6 with the change feed on, against off.

use shelfmark::Options;

use super::bulk::{Load, load_shelf};
use super::{Measured, Settings};
use crate::measure::{Times, Turn, by_turns};
use crate::report::{Line, Target};
use crate::systems::{Shelf, System as _};
use crate::{CACHE_BYTES, Result, scratch};

pub fn run(settings: &Settings, measured: &mut Measured) -> Result<()> {
    let mut line = |name: String, times: &Times, operations: f64, target| {
        measured.lines.push(Line {
            row: "20",
            name,
            figure: times.speed("feed on", "feed off"),
            target: Target::AtLeast(target),
            medians: times.medians(|seconds| format!("{:.0}/s", operations / seconds)),
        });
    };
    let sets = settings.sets;
    for (name, in_one) in [
        ("all in one transaction", sets as usize),
        ("10k a transaction", 10_000),
    ] {
        let load = Load { sets, in_one };
        let turns: Vec<Turn<'_>> = vec![
            ("feed off", Box::new(|| load_shelf(load, false))),
            ("feed on", Box::new(|| load_shelf(load, true))),
        ];
        let times = by_turns(settings.rounds_of(sets), turns)?;
        line(
            format!("change feed on against off: bulk create, {name}"),
            &times,
            sets as f64,
            0.8,
        );
    }
    let (_directory, path) = scratch()?;
    let options = |feed| Options::new().cache_bytes(CACHE_BYTES).change_feed(feed);
    let shelf = |name: &'static str, feed| Shelf::new(&path(name), 10_000, &options(feed), name, false);
    let (off, on) = (shelf("feed off", false)?, shelf("feed on", true)?);
    for (threads, each) in [(1, 300), (64, 40)] {
        let creates = (threads * each) as f64;
        let turn = |shelf: &Shelf, first: u64| -> Result<f64> {
            Ok(shelf.create(threads, each, first)?.elapsed.as_secs_f64())
        };
        let first = || 10_000 + threads as u64 * 1_000_000;
        let turns: Vec<Turn<'_>> = vec![
            ("feed off", Box::new(|| turn(&off, first()))),
            ("feed on", Box::new(|| turn(&on, first()))),
        ];
        let times = by_turns(settings.rounds, turns)?;
        line(
            format!("change feed on against off: single durable creates, {threads} thread(s)"),
            &times,
            creates,
            0.75,
        );
    }
    if on.sets()? != off.sets()? {
        return Err("one of the two has more sets".into());
    }
    Ok(())
}
