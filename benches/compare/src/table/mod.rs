//! The table: what is measured, in rows.

mod bare_updates;
mod bulk;
mod changes;
mod feed;
mod fixture;
mod lists;
mod memory;
mod reads;

use std::fs;
use std::path::{Path, PathBuf};

pub use memory::{COMMAND as MEMORY_COMMAND, work_alone};

use crate::measure::{growth, timed};
use crate::plot::{Curve, draw};
use crate::report::{Line, json, markdown};
use crate::{Result, group_commit, machine};

/// How much to measure.
pub struct Settings {
    /// Sets of the large catalogs.
    pub sets: u64,
    /// How often each system has its turn.
    pub rounds: usize,
    /// The rows to measure; all where there is none.
    pub rows: Vec<String>,
    /// The size of the file that is opened after a crash.
    pub file_mb: u64,
    /// Where the results go.
    pub out: PathBuf,
}

impl Settings {
    fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted == row)
    }

    fn wants_any(&self, rows: &[&str]) -> bool {
        rows.iter().any(|row| self.wants(row))
    }
}

/// What was measured.
#[derive(Default)]
pub struct Measured {
    lines: Vec<Line>,
    /// Row, and the exponent with which its time grows with the catalog.
    growth: Vec<(&'static str, f64)>,
    /// Operations a second against the size of the catalog.
    throughput: Vec<Curve>,
    /// Creates a second of 64 threads, by round.
    storms: Vec<Curve>,
}

impl Measured {
    /// Adds how `operations` operations, or as many as the catalog has sets, grow from the seconds they take at each size.
    fn add_growth(&mut self, name: &'static str, operations: Option<usize>, points: &[(f64, f64)]) {
        self.growth.push((name, growth(points)));
        let rate =
            |&(size, seconds): &(f64, f64)| (size, operations.map_or(size, |count| count as f64) / seconds);
        self.throughput.push(Curve {
            name: name.to_owned(),
            points: points.iter().map(rate).collect(),
        });
    }
}

/// Measures, prints, and writes the results.
pub fn run(settings: &Settings) -> Result<()> {
    let mut machine = machine::describe();
    machine.push(format!("versions: {}", versions()));
    machine.push(format!(
        "{} rounds by turns, medians; large catalogs have {} sets",
        settings.rounds, settings.sets
    ));
    let mut measured = Measured::default();
    let mut text = String::new();
    let mut step =
        |name: &str, wanted: bool, work: &dyn Fn(&Settings, &mut Measured) -> Result<()>| -> Result<()> {
            if wanted {
                eprintln!("{name} …");
                work(settings, &mut measured)?;
                // After each part, so that a run that is cut short leaves what it has.
                text = write(settings, &machine, &mut measured)?;
            }
            Ok(())
        };
    step(
        "bulk creation",
        settings.wants_any(&["1", "2", "3", "4", "5"]),
        &bulk::run,
    )?;
    step("single creates", settings.wants("6"), &|settings, measured| {
        let settings = group_commit::Settings {
            rounds: settings.rounds,
            base: 10_000,
            file_mb: 0,
        };
        let (lines, storms) = group_commit::creates(&settings)?;
        measured.lines.extend(lines);
        measured.storms = storms;
        Ok(())
    })?;
    step(
        "reading",
        settings.wants_any(&["7", "8", "9", "10", "11", "14", "15", "17", "21"]),
        &reads::run,
    )?;
    step("changing", settings.wants_any(&["12", "13", "18"]), &changes::run)?;
    step("change feed", settings.wants("20"), &feed::run)?;
    step("memory", settings.wants("16"), &memory::run)?;
    step(
        "opening after a crash",
        settings.wants("19"),
        &|settings, measured| {
            let settings = group_commit::Settings {
                rounds: settings.rounds,
                base: 10_000,
                file_mb: settings.file_mb,
            };
            measured.lines.extend(group_commit::recovery(&settings)?);
            Ok(())
        },
    )?;
    println!("{text}");
    Ok(())
}

/// Versions of the engine and its peers, as they were locked.
fn versions() -> String {
    let names = ["fjall", "heed", "native_db", "redb", "rusqlite", "shelfmark"];
    let mut versions = Vec::new();
    let mut lines = include_str!("../../Cargo.lock").lines();
    while let Some(line) = lines.next() {
        let name = line.strip_prefix("name = ").map(|name| name.trim_matches('"'));
        let Some(name) = name.filter(|name| names.contains(name)) else {
            continue;
        };
        let version = lines
            .next()
            .and_then(|line| line.strip_prefix("version = "))
            .unwrap_or_default()
            .trim_matches('"');
        versions.push(format!("{name} {version}"));
    }
    versions.push(format!("SQLite {}", rusqlite::version()));
    versions.join(", ")
}

/// Writes the results as far as they are, and gives them as Markdown.
fn write(settings: &Settings, machine: &[String], measured: &mut Measured) -> Result<String> {
    measured
        .lines
        .sort_by_key(|line| line.row.parse::<u32>().unwrap_or(u32::MAX));
    let mut text = "# Measured\n\n".to_owned();
    for line in machine {
        text += &format!("- {line}\n");
    }
    text += &format!(
        "- load at the end: {}\n\n{}",
        machine::load(),
        markdown(&measured.lines)
    );
    if !measured.growth.is_empty() {
        text += "\nGrowth of the time with the catalog's size, as the exponent that fits best:\n\n| row | exponent |\n|---|---|\n";
        for (name, exponent) in &measured.growth {
            text += &format!("| {name} | {exponent:.2} |\n");
        }
    }
    fs::create_dir_all(&settings.out)?;
    let out = |name: &str| settings.out.join(name);
    draw(
        &out("throughput.svg"),
        "Operations a second against the size of the catalog",
        ("sets", "operations a second"),
        true,
        &measured.throughput,
    )?;
    draw(
        &out("creates-64-threads.svg"),
        "Single durable creates by 64 threads",
        ("round", "creates a second"),
        false,
        &measured.storms,
    )?;
    put(&settings.out.join("latest.md"), &text)?;
    put(
        &settings.out.join("latest.json"),
        &format!("{:#}\n", json(&measured.lines)),
    )?;
    Ok(text)
}

fn put(path: &Path, text: &str) -> Result<()> {
    Ok(fs::write(path, text)?)
}

fn per_second(count: usize) -> impl Fn(f64) -> String {
    move |seconds| format!("{:.0}/s", count as f64 / seconds)
}

fn micros(count: usize) -> impl Fn(f64) -> String {
    move |seconds| format!("{:.1} µs", seconds * 1e6 / count as f64)
}

/// Seconds that so many repetitions take.
fn repeat(count: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    Ok(timed(|| (0..count).try_for_each(|_| work()))?.0)
}
