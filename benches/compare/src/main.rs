//! shelfmark beside what a user would otherwise pick: the same logical work in one process, by turns, answers checked.
//!
//! `table` measures every row of the comparison; `growth` measures how some of them grow with the catalog; `readme` puts the main rows into the README; `group-commit` measures single durable creates from 1, 8 and 64 threads, and opening after a crash; `storm` is the catalog's part of it alone, for
//! a profiler.

#![deny(unsafe_code)]

mod arguments;
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

use arguments::{Asked, Options};

/// What can go wrong here is only ever shown.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result of this program.
pub type Result<T> = std::result::Result<T, Error>;

/// Memory that each system may use for its cache of pages.
pub const CACHE_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    let told: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments::read(&told, &[crash::COMMAND]) {
        Ok(Asked::Help) => {
            println!("{}", arguments::usage());
            Ok(())
        }
        Ok(Asked::Command(command, options)) => run(command, &options),
        Ok(Asked::Words(command, words)) if command == table::MEMORY_COMMAND => table::work_alone(&words),
        Ok(Asked::Words(_, words)) => crash::write_until_killed(&words),
        Err(what) => {
            eprintln!("{what}\n{}", arguments::usage());
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, options: &Options) -> Result<()> {
    match command {
        "group-commit" => group_commit::run(&group_commit::Settings {
            rounds: options.number("--rounds", 7),
            base: options.number("--base", 10_000) as u64,
            file_mb: options.number("--file-mb", 800) as u64,
        }),
        "storm" => group_commit::storm_alone(
            options.number("--threads", 64),
            options.number("--each", 500),
            options.number("--base", 10_000) as u64,
        ),
        "table" => table::run(&settings(options, (100_000, 5))),
        "growth" => table::run_growth(&settings(options, (1_000_000, 3))),
        "readme" => readme::rewrite(
            out(options).as_ref(),
            options
                .text("--readme")
                .unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"))
                .as_ref(),
        ),
        _ => Err(format!("{command} does nothing").into()),
    }
}

/// How much `table` or `growth` measures; `default` has sets and rounds.
fn settings(options: &Options, default: (usize, usize)) -> table::Settings {
    table::Settings {
        sets: options.number("--sets", default.0).max(1_000) as u64,
        rounds: options.number("--rounds", default.1),
        rows: options
            .text("--rows")
            .map(|rows| rows.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        file_mb: options.number("--file-mb", 800) as u64,
        out: out(options).into(),
    }
}

/// The folder of the results.
fn out(options: &Options) -> &str {
    options.text("--out").unwrap_or("results")
}

/// A directory for the files of one measurement, gone when it is dropped.
pub fn scratch() -> Result<(tempfile::TempDir, impl Fn(&str) -> PathBuf)> {
    let directory = tempfile::Builder::new().prefix("shelfmark-compare-").tempdir()?;
    let path = directory.path().to_owned();
    Ok((directory, move |name: &str| path.join(name)))
}
