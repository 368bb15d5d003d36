//! The main rows of the last table, in a block of the README that stands between two marks.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Result;
use crate::report::shown_met;

const BEGIN: &str = "<!-- the table's main rows: begin -->\n";
const END: &str = "<!-- the table's main rows: end -->\n";

/// Of each row the lines that have such a text in their name, the first where several have.
const MAIN: [(&str, &str); 39] = [
    ("1", "against SQLite"),
    ("1", "all rows in one table of raw redb"),
    ("1", "heads alone in one table of raw redb"),
    ("1", "against LMDB"),
    ("2", "against SQLite"),
    ("3", "against SQLite"),
    ("4", "against SQLite"),
    ("5", "one transaction: against SQLite"),
    ("6", "64 threads, against SQLite"),
    ("6", "64 threads, against fjall"),
    ("6", "64 threads, 99th percentile"),
    ("6", "8 threads, against SQLite"),
    ("6", "1 thread, against bare redb"),
    ("6", "1 thread, against SQLite"),
    ("7", "1 thread(s), against SQLite"),
    ("7", "1 thread(s), against raw redb"),
    ("7", "LMDB with records"),
    ("8", "first page"),
    ("8", "by cursor"),
    ("9", "again on the same state"),
    ("9", "each after a commit"),
    ("10", ""),
    ("11", "in one row"),
    ("12", "contiguous"),
    ("12", "interleaved"),
    ("13", "in a transaction"),
    ("14", "total of"),
    ("15", ""),
    ("16", "create"),
    ("17", ""),
    ("18", ""),
    ("19", "recovery on"),
    ("20", "all in one transaction"),
    ("21", "one store's"),
    ("21", "each after a commit"),
    ("22", "1 task(s)"),
    ("22", "64 task(s)"),
    ("22", "list of"),
    ("22", "load of any"),
];

/// Puts the main rows of the results in `folder` into the README at `path`.
pub fn rewrite(folder: &Path, path: &Path) -> Result<()> {
    let lines: Value = serde_json::from_str(&fs::read_to_string(folder.join("latest.json"))?)?;
    let page = fs::read_to_string(folder.join("latest.md"))?;
    let readme = fs::read_to_string(path)?;
    let block = block(lines.as_array().ok_or("not a list")?, &page)?;
    Ok(fs::write(path, replaced(&readme, &block)?)?)
}

fn replaced(readme: &str, block: &str) -> Result<String> {
    let (before, rest) = readme
        .split_once(BEGIN)
        .ok_or("the mark where the block begins is not there")?;
    let (_, after) = rest
        .split_once(END)
        .ok_or("the mark where the block ends is not there")?;
    Ok(format!("{before}{BEGIN}{block}{END}{after}"))
}

/// The lines of the main rows that were measured, and how many targets all lines meet.
fn block(lines: &[Value], page: &str) -> Result<String> {
    let fact = |begin: &str| {
        page.lines()
            .find_map(|line| line.strip_prefix("- ").filter(|line| line.starts_with(begin)))
            .ok_or_else(|| format!("no {begin:?} in the head of the page"))
    };
    let text = |line: &Value, member: &str| -> Result<String> {
        let text = line[member].as_str();
        Ok(text.ok_or_else(|| format!("a line without {member}"))?.to_owned())
    };
    let told = lines.iter().filter(|line| line["met"].is_boolean()).count();
    let met = lines.iter().filter(|line| line["met"] == true).count();
    let rounds = page
        .lines()
        .find_map(|line| {
            line.strip_prefix("- ")
                .filter(|line| line.contains("rounds by turns"))
        })
        .ok_or("no rounds in the head of the page")?;
    let mut block = format!(
        "{met} of {told} targets are met ({}; {}; {}; {rounds}).\n\n| row | measured | target | figure | met |\n|---|---|---|---|---|\n",
        fact("date:")?,
        fact("machine:")?,
        fact("load before")?
    );
    for (row, part) in MAIN {
        let of_row = |line: &&Value| line["row"] == row;
        let Some(line) = lines
            .iter()
            .filter(of_row)
            .find(|line| line["name"].as_str().is_some_and(|name| name.contains(part)))
        else {
            continue;
        };
        block += &format!(
            "| {row} | {} | {} | {} | {} |\n",
            text(line, "name")?,
            text(line, "target")?,
            text(line, "figure")?,
            shown_met(line["met"].as_bool())
        );
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_has_the_main_rows_that_were_measured() {
        let page = "# Measured\n\n- date: now\n- machine: here\n- load before the run: 1\n- 5 rounds by turns, medians; large catalogs have 9 sets\n";
        let line = |row: &str, name: &str, met: Option<bool>| {
            serde_json::json!({
                "row": row, "name": name, "ratio": 1.5, "target": "≥ 1×", "met": met, "figure": "1.50×", "medians": "",
            })
        };
        let lines = [
            line("1", "bulk: against SQLite", Some(true)),
            line("1", "bulk: against SQLite with two indexes", None),
            line("9", "by offset, again on the same state", Some(false)),
        ];
        let block = block(&lines, page).unwrap();
        assert!(block.starts_with(
            "1 of 2 targets are met (date: now; machine: here; load before the run: 1; 5 rounds"
        ));
        assert!(block.ends_with(
            "| 1 | bulk: against SQLite | ≥ 1× | 1.50× | yes |\n| 9 | by offset, again on the same state | ≥ 1× | 1.50× | **no** |\n"
        ));
        let readme = format!("before\n{BEGIN}old\n{END}after\n");
        let expected = format!("before\n{BEGIN}{block}{END}after\n");
        assert_eq!(replaced(&readme, &block).unwrap(), expected);
        assert_eq!(replaced(&expected, &block).unwrap(), expected);
        assert!(replaced("no marks", &block).is_err());
    }
}
