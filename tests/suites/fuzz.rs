//! The kept corpus of the fuzzers, through the same functions on stable: what broke once stays mended. The targets of the HTTP facade are replayed in
//! `crates/shelfmark-http-testkit`.
//!
//! `SHELFMARK_WRITE_CORPUS=1` puts what the fuzzers start from into the corpus, anew.

use shelfmark_testkit::fuzz::{TARGETS, corpus, seeds};

use crate::support::figures;

#[test]
fn what_the_fuzzers_start_from_is_in_the_corpus() {
    corpus::check_seeds(&seeds());
}

#[test]
fn the_kept_corpus_breaks_nothing() {
    figures("fuzzing, inputs replayed", &corpus::replay(&TARGETS));
}

#[test]
fn what_is_like_the_seeds_breaks_nothing() {
    // Those of sequences take a hundred times as long.
    let times = |name: &str| match name {
        "operations" | "storage_faults" | "backend_faults" => 8,
        _ => 150,
    };
    figures(
        "fuzzing, inputs made up",
        &corpus::make_up(&TARGETS, &seeds(), times),
    );
}

#[test]
fn each_target_has_its_binary() {
    corpus::check_binaries(&TARGETS);
}

#[test]
fn each_target_was_run_and_the_documentation_shows_it() {
    corpus::check_results(&TARGETS);
}
