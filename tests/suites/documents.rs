//! Documents say what is so: paths they name exist, code they show compiles elsewhere, tables match the code.

use std::fs;
use std::path::{Path, PathBuf};

use shelfmark::backend::Keyspace;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace")
        .to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README, CHANGELOG and everything under docs.
fn documents() -> Vec<PathBuf> {
    let mut found = vec!["README.md".into(), "CHANGELOG.md".into()];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    found
}

/// The pieces of `text` between `open` and `close` on one line.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once(open) {
            let Some((piece, after)) = after.split_once(close) else {
                break;
            };
            pieces.push(piece);
            rest = after;
        }
    }
    pieces
}

fn names_a_file(text: &str) -> bool {
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c));
    let known = [".rs", ".md", ".toml", ".in", ".json"]
        .iter()
        .any(|ending| text.ends_with(ending));
    // Media types look like paths too.
    plain && (known || text.contains('/')) && !text.starts_with('/') && !text.starts_with("application/")
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut checked = 0;
    for document in documents() {
        let text = read(&document);
        let folder = root().join(&document).parent().expect("a folder").to_owned();
        // Source files are named from the engine's own folder.
        let places = [root(), root().join("crates/shelfmark/src"), folder.clone()];
        for path in between(&text, "`", "`")
            .into_iter()
            .filter(|text| names_a_file(text))
        {
            // Descriptors that a user brings.
            if path == "datapackage.json" {
                continue;
            }
            assert!(
                places.iter().any(|place| place.join(path).exists()),
                "{} names {path}",
                document.display()
            );
            checked += 1;
        }
        for link in between(&text, "](", ")")
            .into_iter()
            .filter(|link| !link.contains("://"))
        {
            assert!(
                folder.join(link).exists(),
                "{} links to {link}",
                document.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} paths were found");
}

#[test]
fn the_code_in_the_readme_is_the_code_that_compiles() {
    let compiled = read("crates/shelfmark/src/lib.rs");
    let compiled: Vec<&str> = compiled
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .collect();
    let readme = read("README.md");
    let (_, code) = readme.split_once("```rust\n").expect("a block of code");
    let (code, _) = code.split_once("```").expect("its end");
    let shown: Vec<&str> = code
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert!((10..=20).contains(&shown.len()), "{} lines", shown.len());
    for line in shown {
        // What differs: a test opens nothing on disk.
        let known = compiled.contains(&line) || line.starts_with("let catalog = Catalog::open_or_create");
        assert!(known, "not in lib.rs: {line}");
    }
}

#[test]
fn the_keyspace_table_is_the_one_in_the_code() {
    let design = read("docs/design.md");
    let (_, section) = design.split_once("## Keyspaces").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let listed: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let coded: Vec<&str> = Keyspace::ALL.iter().map(|space| space.name()).collect();
    assert_eq!(listed, coded);
}

#[test]
fn the_readme_shows_the_figures_that_were_measured_last() {
    let measured = read("benches/results/latest.json");
    let measured: serde_json::Value = serde_json::from_str(&measured).expect("JSON");
    let measured = measured.as_array().expect("a list");
    let readme = read("README.md");
    let mark = |which: &str| format!("<!-- the table's main rows: {which} -->");
    let (_, block) = readme.split_once(&mark("begin")).expect("the mark before");
    let (block, _) = block.split_once(&mark("end")).expect("the mark behind");

    let told = measured.iter().filter(|line| line["met"].is_boolean()).count();
    let met = measured.iter().filter(|line| line["met"] == true).count();
    assert!(
        block.contains(&format!("{met} of {told} targets are met")),
        "{met} of {told}"
    );
    let date = read("benches/results/latest.md");
    let date = date
        .lines()
        .find_map(|line| line.strip_prefix("- date: "))
        .expect("a date");
    assert!(block.contains(date), "not of {date}");

    let shown: Vec<&str> = block
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| row"))
        .collect();
    assert!(shown.len() >= 15, "{} rows", shown.len());
    for row in shown {
        let is_it = |line: &&serde_json::Value| {
            let text = |member: &str| line[member].as_str().unwrap_or_default();
            let met = match line["met"].as_bool() {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "–",
            };
            let cells = ["row", "name", "target", "figure"].map(text);
            row == format!("| {} | {met} |", cells.join(" | "))
        };
        assert_eq!(measured.iter().filter(is_it).count(), 1, "not measured: {row}");
    }
}

/// What was mended stays so by a test, which the list of it names.
#[test]
fn every_test_that_the_changelog_names_exists() {
    let changelog = read("CHANGELOG.md");
    let (_, fixed) = changelog.split_once("### Fixed").expect("the section");
    let code: String = ["crates", "tests"]
        .iter()
        .flat_map(|folder| sources(&root().join(folder)))
        .map(|source| fs::read_to_string(source).expect("a source"))
        .collect();
    let names: Vec<&str> = between(fixed, "`", "`")
        .into_iter()
        .filter_map(|named| named.rsplit_once("::").map(|(_, name)| name))
        .filter(|name| name.contains('_') && name.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter(|name| *name != "discard_log")
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(code.contains(&format!("fn {name}()")), "there is no test {name}");
    }
    for entry in fixed.split("\n- ").skip(1) {
        assert!(entry.contains("::"), "no test is named: {entry}");
    }
}

/// Every Rust file below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn no_type_of_redb_can_be_public() {
    let engine = root().join("crates/shelfmark/src");
    let own = engine.join("backend/redb");
    assert!(read("crates/shelfmark/src/backend/mod.rs").contains("pub(crate) mod redb;"));
    let mut inside = 0;
    for source in sources(&engine) {
        let text = fs::read_to_string(&source).expect("a source");
        // `redb::RedbBackend` is the folder's own; the crate is written `::redb`.
        let names = text.contains("::redb::") && text.replace("backend::redb::", "").contains("::redb::");
        inside += usize::from(names);
        assert!(
            !names || source.starts_with(&own),
            "{} names the crate",
            source.display()
        );
    }
    assert!(inside > 0, "nothing was found, not even inside");
}
