//! The table: what is measured, in rows.

mod bare_updates;
mod bulk;
mod changes;
mod feed;
mod fixture;
mod growth;
mod lists;
mod memory;
mod reads;
mod skade;

use std::fs;
use std::path::{Path, PathBuf};

pub use memory::{COMMAND as MEMORY_COMMAND, work_alone};

use crate::measure::{growth as exponent, timed};
use crate::plot::{Across, Curve, draw};
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

    /// Rounds of what takes a turn in proportion to `sets`: fewer where turns are long enough by themselves.
    fn rounds_of(&self, sets: u64) -> usize {
        if sets > 200_000 {
            self.rounds.min(3)
        } else {
            self.rounds
        }
    }

    fn wants_any(&self, rows: &[&str]) -> bool {
        rows.iter().any(|row| self.wants(row))
    }
}

/// What was measured.
#[derive(Default)]
pub struct Measured {
    lines: Vec<Line>,
    growth: Vec<Growth>,
    /// Creates a second of 64 threads, by round.
    storms: Vec<Curve>,
}

/// How the time of a row grows with the catalog.
struct Growth {
    /// The row, and what is done.
    name: &'static str,
    /// How often it is done; as often as the catalog has sets where there is none.
    operations: Option<usize>,
    /// Sets, and the seconds that it takes.
    points: Vec<(f64, f64)>,
}

impl Growth {
    /// Sets, and operations a second.
    fn rates(&self) -> Vec<(f64, f64)> {
        let rate = |&(sets, seconds): &(f64, f64)| {
            (sets, self.operations.map_or(sets, |count| count as f64) / seconds)
        };
        self.points.iter().map(rate).collect()
    }
}

impl Measured {
    fn add_growth(&mut self, name: &'static str, operations: Option<usize>, points: Vec<(f64, f64)>) {
        self.growth.push(Growth {
            name,
            operations,
            points,
        });
    }

    fn throughput(&self) -> Vec<Curve> {
        let curve = |growth: &Growth| Curve {
            name: format!("row {}", growth.name),
            points: growth.rates(),
        };
        self.growth.iter().map(curve).collect()
    }
}

/// What the results begin with.
fn head(settings: &Settings) -> Vec<String> {
    let mut head = machine::describe();
    head.push(format!("versions: {}", versions()));
    head.push(format!(
        "{} rounds by turns, medians; large catalogs have {} sets",
        settings.rounds, settings.sets
    ));
    head
}

/// Measures how rows 1, 7, 8 and 12 grow, prints it, and writes it.
pub fn run_growth(settings: &Settings) -> Result<()> {
    let head = head(settings);
    let mut measured = Measured::default();
    growth::run(settings, &mut measured)?;
    let text = page("Growth", &head, &growth_table(&measured.growth));
    fs::create_dir_all(&settings.out)?;
    put(&settings.out.join("growth.md"), &text)?;
    draw_throughput(&settings.out.join("growth.svg"), &measured)?;
    println!("{text}");
    Ok(())
}

/// Measures, prints, and writes the results.
pub fn run(settings: &Settings) -> Result<()> {
    let head = head(settings);
    let mut measured = Measured::default();
    let mut text = String::new();
    let mut step =
        |name: &str, wanted: bool, work: &dyn Fn(&Settings, &mut Measured) -> Result<()>| -> Result<()> {
            if wanted {
                eprintln!("{name} …");
                work(settings, &mut measured)?;
                // After each part, so that a run that is cut short leaves what it has.
                text = write(settings, &head, &mut measured)?;
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
    step("growth", settings.wants_any(&["1", "7", "8", "12"]), &growth::run)?;
    // Last, since it may have to be compiled.
    step("skade-katalog", settings.wants("22"), &skade::run)?;
    println!("{text}");
    Ok(())
}

/// Versions of the engine and its peers, as they were locked.
fn versions() -> String {
    let own = ["fjall", "heed", "native_db", "redb", "rusqlite", "shelfmark"];
    let mut versions = locked(include_str!("../../Cargo.lock"), &own);
    versions.extend(locked(crate::peers::skade::LOCKED, &["skade-katalog"]));
    versions.push(format!("SQLite {}", rusqlite::version()));
    versions.join(", ")
}

/// Those of `names` that a lock file has, each with its version.
fn locked(lock: &str, names: &[&str]) -> Vec<String> {
    let mut versions = Vec::new();
    let mut lines = lock.lines();
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
    versions
}

/// A page of results.
fn page(title: &str, head: &[String], body: &str) -> String {
    let mut text = format!("# {title}\n\n");
    for line in head {
        text += &format!("- {line}\n");
    }
    text += &format!("- load at the end: {}\n\n{body}", machine::load());
    text
}

/// Growth as a Markdown table: the rate at each size, and the exponent of the time.
fn growth_table(growth: &[Growth]) -> String {
    let Some(first) = growth.first() else {
        return String::new();
    };
    let sizes: Vec<String> = first
        .points
        .iter()
        .map(|(sets, _)| format!("{sets:.0} sets"))
        .collect();
    let mut table =
        "Growth with the catalog: operations a second at each size, and the exponent of the time that fits best. Where an \
         operation is one set of the catalog, 1 is linear; else 0 is no growth.\n\n"
            .to_owned();
    table += &format!("| row | {} | exponent |\n", sizes.join(" | "));
    table += &format!("|---|{}---|\n", "---|".repeat(sizes.len()));
    for growth in growth {
        let rates: Vec<String> = growth
            .rates()
            .iter()
            .map(|(_, rate)| format!("{rate:.0}/s"))
            .collect();
        table += &format!(
            "| {} | {} | {:.2} |\n",
            growth.name,
            rates.join(" | "),
            exponent(&growth.points)
        );
    }
    table
}

fn draw_throughput(path: &Path, measured: &Measured) -> Result<()> {
    draw(
        path,
        "Operations a second against the size of the catalog",
        ("data sets in the catalog", "operations a second"),
        Across::Sizes,
        &measured.throughput(),
    )
}

/// Writes the results as far as they are, and gives them as Markdown.
fn write(settings: &Settings, head: &[String], measured: &mut Measured) -> Result<String> {
    measured
        .lines
        .sort_by_key(|line| line.row.parse::<u32>().unwrap_or(u32::MAX));
    let mut body = markdown(&measured.lines);
    if !measured.growth.is_empty() {
        body += "\n";
        body += &growth_table(&measured.growth);
    }
    let text = page("Measured", head, &body);
    fs::create_dir_all(&settings.out)?;
    draw_throughput(&settings.out.join("throughput.svg"), measured)?;
    draw(
        &settings.out.join("creates-64-threads.svg"),
        "Single durable creates by 64 threads",
        ("round", "creates a second"),
        Across::Rounds,
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
