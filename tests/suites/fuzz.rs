//! The kept corpus of the fuzzers, through the same functions on stable: what broke once stays mended.
//!
//! `SHELFMARK_WRITE_CORPUS=1` puts what the fuzzers start from into the corpus, anew.

use std::fs;
use std::path::{Path, PathBuf};

use shelfmark_testkit::fuzz::{TARGETS, Target, seeds};

use crate::support::figures;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// Replays the corpus of one target, and gives how many inputs it has.
fn replay(name: &str, target: Target) -> usize {
    let corpus = folder().join("corpus").join(name);
    let mut inputs: Vec<PathBuf> = fs::read_dir(&corpus)
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    inputs.sort();
    for input in &inputs {
        let bytes = fs::read(input).expect("an input");
        let replayed = std::panic::catch_unwind(|| target(&bytes));
        assert!(replayed.is_ok(), "{name} breaks on {}", input.display());
    }
    inputs.len()
}

#[test]
fn what_the_fuzzers_start_from_is_in_the_corpus() {
    let write = std::env::var_os("SHELFMARK_WRITE_CORPUS").is_some();
    for seed in seeds() {
        let folder = folder().join("corpus").join(seed.target);
        let path = folder.join(&seed.name);
        if write {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(&path, &seed.bytes).expect("a seed");
        }
        // Rows change with their format: the bytes need not be those.
        assert!(
            path.exists(),
            "{}: write it with SHELFMARK_WRITE_CORPUS=1",
            path.display()
        );
    }
}

#[test]
fn the_kept_corpus_breaks_nothing() {
    let mut replayed = Vec::new();
    for (name, target) in TARGETS {
        let inputs = replay(name, target);
        assert!(inputs >= 10, "{name} has hardly a corpus: {inputs}");
        replayed.push(format!("{name} {inputs}"));
    }
    figures("fuzzing, inputs replayed", &replayed.join(", "));
}

#[test]
fn each_target_has_its_binary_and_each_binary_its_target() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("the manifest");
    let named = |line: &str| Some(line.strip_prefix("name = \"")?.strip_suffix('"')?.to_owned());
    let mut binaries: Vec<String> = manifest.lines().filter_map(named).skip(1).collect();
    binaries.sort();
    assert_eq!(binaries, TARGETS.map(|(name, _)| name));
    for (name, _) in TARGETS {
        let path = folder().join(format!("fuzz_targets/{name}.rs"));
        let glue = fs::read_to_string(path).expect("a target");
        assert!(glue.contains(&format!("fuzz::{name}(bytes)")), "{name}: {glue}");
    }
}
