//! The corpus that is kept: replaying it, and making others like its seeds. For the tests that each package with targets has.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::{Seed, Target, sure};
use crate::environment::split_mix;

/// Where the fuzzers' own package is.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn folder_of(target: &str) -> PathBuf {
    folder().join("corpus").join(target)
}

/// The names of the fuzzers' binaries, each of which has a source that is one line of glue.
///
/// # Panics
///
/// Where the manifest cannot be read.
pub fn binaries() -> Vec<String> {
    let manifest = sure(fs::read_to_string(folder().join("Cargo.toml")));
    let named = |line: &str| Some(line.strip_prefix("name = \"")?.strip_suffix('"')?.to_owned());
    // The first name is that of the package.
    manifest.lines().filter_map(named).skip(1).collect()
}

/// Checks that each target has a binary that calls it.
///
/// # Panics
///
/// Where one has none.
pub fn check_binaries(targets: &[(&str, Target)]) {
    let binaries = binaries();
    for (name, _) in targets {
        assert!(
            binaries.iter().any(|binary| binary == name),
            "{name} has no binary among {binaries:?}"
        );
        let path = folder().join(format!("fuzz_targets/{name}.rs"));
        let glue = sure(fs::read_to_string(path));
        assert!(glue.contains(&format!("::{name}(bytes)")), "{name}: {glue}");
    }
}

/// Checks that what `fuzz/run` noted last has each target, and that the documentation shows just that.
///
/// # Panics
///
/// Where a target was never run, or the documentation shows something else.
pub fn check_results(targets: &[(&str, Target)]) {
    let results = sure(fs::read_to_string(folder().join("results.txt")));
    for (name, _) in targets {
        let noted = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(": "));
        assert!(results.lines().any(noted), "fuzz/run never ran {name}: {results}");
    }
    let shown = sure(fs::read_to_string(folder().join("../docs/reliability.md")));
    let block = format!("`fuzz/results.txt`:\n\n```\n{results}```\n");
    assert!(
        shown.contains(&block),
        "docs/reliability.md does not show {results}"
    );
}

/// Checks that the seeds are in the corpus; with `SHELFMARK_WRITE_CORPUS` it writes them there anew.
///
/// # Panics
///
/// Where one is missing.
pub fn check_seeds(seeds: &[Seed]) {
    let write = std::env::var_os("SHELFMARK_WRITE_CORPUS").is_some();
    for seed in seeds {
        let folder = folder_of(seed.target);
        let path = folder.join(&seed.name);
        if write {
            sure(fs::create_dir_all(&folder));
            sure(fs::write(&path, &seed.bytes));
        }
        // Rows change with their format: the bytes need not be those.
        assert!(
            path.exists(),
            "{}: write it with SHELFMARK_WRITE_CORPUS=1",
            path.display()
        );
    }
}

/// Replays what is kept of each target, and gives how many inputs that were.
///
/// # Panics
///
/// Where a target breaks on one, or has hardly any.
pub fn replay(targets: &[(&str, Target)]) -> String {
    let mut replayed = Vec::new();
    for (name, target) in targets {
        let mut inputs: Vec<PathBuf> = sure(fs::read_dir(folder_of(name)))
            .map(|entry| sure(entry).path())
            .collect();
        inputs.sort();
        for input in &inputs {
            let bytes = sure(fs::read(input));
            let survived = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
            assert!(survived.is_ok(), "{name} breaks on {}", input.display());
        }
        assert!(inputs.len() >= 10, "{name} has hardly a corpus: {}", inputs.len());
        replayed.push(format!("{name} {}", inputs.len()));
    }
    replayed.join(", ")
}

/// Makes inputs like the seeds of each target, `times(name)` of them, and gives how many that were. Without guidance by coverage, but everywhere: a little of
/// what `fuzz/run` does. `SHELFMARK_FUZZ_SEED` names others, `SHELFMARK_LONG` makes it a hundred times as many.
///
/// # Panics
///
/// Where a target breaks on one.
pub fn make_up(targets: &[(&str, Target)], seeds: &[Seed], times: impl Fn(&str) -> u64) -> String {
    let seed = std::env::var("SHELFMARK_FUZZ_SEED").map_or(1, |seed| sure(seed.parse::<u64>()));
    let more = match std::env::var_os("SHELFMARK_LONG") {
        Some(_) => 100,
        None => 1,
    };
    let mut executed = Vec::new();
    for (name, target) in targets {
        let own = seeds.iter().filter(|seed| seed.target == *name);
        let inputs: Vec<&[u8]> = own.map(|seed| &*seed.bytes).collect();
        let times = more * times(name);
        let mut random = Random(seed);
        for n in 0..times {
            let bytes = mutate(&inputs, &mut random);
            let survived = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
            assert!(
                survived.is_ok(),
                "SHELFMARK_FUZZ_SEED={seed}: {name} breaks on the {n}th, {bytes:?}"
            );
        }
        executed.push(format!("{name} {times}"));
    }
    executed.join(", ")
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        (split_mix(&mut self.0) % bound as u64) as usize
    }
}

/// Makes another input of those that are there: bits flipped, a piece cut out, doubled, or taken from another.
fn mutate(inputs: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let any = |random: &mut Random| inputs[random.below(inputs.len())].to_vec();
    let (mut bytes, other) = (any(random), any(random));
    for _ in 0..=random.below(3) {
        let from = random.below(bytes.len() + 1);
        let to = from + random.below((bytes.len() - from).min(16) + 1);
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
