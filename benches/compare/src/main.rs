//! shelfmark beside what a user would otherwise pick: the same logical work in one process, by turns, answers checked.
//!
//! `table` measures every row of the comparison; `growth` measures how some of them grow with the catalog; `readme` puts the main rows into the README; `group-commit` measures single durable creates from 1, 8 and 64 threads, and opening after a crash; `storm` is the catalog's part of it alone, for
//! a profiler.

#![deny(unsafe_code)]

mod crash;
mod group_commit;
mod machine;
mod measure;
mod peers;
mod plot;
mod readme;
mod report;
mod rows;
mod systems;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

/// What can go wrong here is only ever shown.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result of this program.
pub type Result<T> = std::result::Result<T, Error>;

/// Memory that each system may use for its cache of pages.
pub const CACHE_BYTES: usize = 64 << 20;

const USAGE: &str = "\
usage: shelfmark-compare table [--sets N] [--rounds N] [--rows 1,2,…] [--file-mb MB] [--out FOLDER]
       shelfmark-compare growth [--sets N] [--rounds N] [--rows 1,7,8,12] [--out FOLDER]
       shelfmark-compare readme [--out FOLDER] [--readme FILE]
       shelfmark-compare group-commit [--rounds N] [--base SETS] [--file-mb MB]
       shelfmark-compare storm [--threads N] [--each CREATES] [--base SETS]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else {
        return Err(USAGE.into());
    };
    match command.as_str() {
        "group-commit" => group_commit::run(&group_commit::Settings {
            rounds: number(rest, "--rounds", 7)?,
            base: number(rest, "--base", 10_000)? as u64,
            file_mb: number(rest, "--file-mb", 800)? as u64,
        }),
        "storm" => group_commit::storm_alone(
            number(rest, "--threads", 64)?,
            number(rest, "--each", 500)?,
            number(rest, "--base", 10_000)? as u64,
        ),
        "table" => table::run(&settings(rest, (100_000, 5))?),
        "growth" => table::run_growth(&settings(rest, (1_000_000, 3))?),
        "readme" => readme::rewrite(
            out(rest).as_ref(),
            text(rest, "--readme")
                .unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"))
                .as_ref(),
        ),
        table::MEMORY_COMMAND => table::work_alone(rest),
        crash::COMMAND => crash::write_until_killed(rest),
        _ => Err(USAGE.into()),
    }
}

/// How much `table` or `growth` measures; `default` has sets and rounds.
fn settings(arguments: &[String], default: (usize, usize)) -> Result<table::Settings> {
    Ok(table::Settings {
        sets: number(arguments, "--sets", default.0)?.max(1_000) as u64,
        rounds: number(arguments, "--rounds", default.1)?,
        rows: text(arguments, "--rows")
            .map(|rows| rows.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        file_mb: number(arguments, "--file-mb", 800)? as u64,
        out: out(arguments).into(),
    })
}

/// The folder of the results.
fn out(arguments: &[String]) -> &str {
    text(arguments, "--out").unwrap_or("results")
}

/// The text behind `flag`.
fn text<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == flag)?;
    arguments.get(at + 1).map(String::as_str)
}

/// The number behind `flag`.
fn number(arguments: &[String], flag: &str, default: usize) -> Result<usize> {
    match arguments.iter().position(|argument| argument == flag) {
        None => Ok(default),
        Some(at) => {
            let value = arguments
                .get(at + 1)
                .ok_or_else(|| format!("{flag} wants a number"))?;
            Ok(value
                .parse()
                .map_err(|_| format!("{flag} wants a number, not {value:?}"))?)
        }
    }
}

/// A directory for the files of one measurement, gone when it is dropped.
pub fn scratch() -> Result<(tempfile::TempDir, impl Fn(&str) -> PathBuf)> {
    let directory = tempfile::Builder::new().prefix("shelfmark-compare-").tempdir()?;
    let path = directory.path().to_owned();
    Ok((directory, move |name: &str| path.join(name)))
}
