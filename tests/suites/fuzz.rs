//! The kept corpus of the fuzzers, through the same functions on stable: what broke once stays mended.
//!
//! `SHELFMARK_WRITE_CORPUS=1` puts what the fuzzers start from into the corpus, anew.

use std::fs;
use std::path::{Path, PathBuf};

use shelfmark_testkit::fuzz::{TARGETS, Target, seeds};

use crate::support::{Random, figures, long_version};

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

/// Makes another input of those that are there: bits flipped, a piece cut out, doubled, or taken from another.
fn mutate(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let any = |random: &mut Random| inputs[random.below(inputs.len() as u64) as usize].clone();
    let (mut bytes, other) = (any(random), any(random));
    for _ in 0..=random.below(3) {
        let from = random.below(bytes.len() as u64 + 1) as usize;
        let to = from + random.below((bytes.len() - from).min(16) as u64 + 1) as usize;
        match random.below(6) {
            0 | 1 if from < bytes.len() => bytes[from] ^= 1 << random.below(8),
            2 if from < bytes.len() => bytes[from] = random.below(256) as u8,
            3 => drop(bytes.drain(from..to)),
            4 => {
                let piece = bytes[from..to].to_vec();
                bytes.splice(to..to, piece);
            }
            _ => {
                let start = from.min(other.len());
                let end = (start + 16).min(other.len());
                bytes.splice(from..to, other[start..end].iter().copied());
            }
        }
    }
    bytes
}

/// Without guidance by coverage, but everywhere: a little of what `fuzz/run` does. `SHELFMARK_FUZZ_SEED` names other inputs.
#[test]
fn what_is_like_the_seeds_breaks_nothing() {
    let seed = std::env::var("SHELFMARK_FUZZ_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let more = if long_version() { 100 } else { 1 };
    let seeds = seeds();
    let mut executed = Vec::new();
    for (name, target) in TARGETS {
        let own = seeds.iter().filter(|seed| seed.target == name);
        let inputs: Vec<Vec<u8>> = own.map(|seed| seed.bytes.clone()).collect();
        // Those of sequences take a hundred times as long.
        let times = more
            * match name {
                "operations" | "storage_faults" | "backend_faults" => 8,
                _ => 150,
            };
        let mut random = Random::new(seed);
        for n in 0..times {
            let bytes = mutate(&inputs, &mut random);
            let survived = std::panic::catch_unwind(|| target(&bytes));
            assert!(
                survived.is_ok(),
                "SHELFMARK_FUZZ_SEED={seed}: {name} breaks on the {n}th, {bytes:?}"
            );
        }
        executed.push(format!("{name} {times}"));
    }
    figures("fuzzing, inputs made up", &executed.join(", "));
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
