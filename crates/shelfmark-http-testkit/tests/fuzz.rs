//! The kept corpus of the facade's fuzzers, through the same functions on stable.
//!
//! `SHELFMARK_WRITE_CORPUS=1` puts what the fuzzers start from into the corpus, anew.

use std::io::Write as _;

use shelfmark_http_testkit::{TARGETS, seeds};
use shelfmark_testkit::fuzz::{self, corpus};

/// For `docs/reliability.md`, past the capture of a test's output.
fn figures(what: &str, figures: &str) {
    let _ = writeln!(std::io::stderr(), "figures: {what}: {figures}");
}

#[test]
fn what_the_fuzzers_start_from_is_in_the_corpus() {
    corpus::check_seeds(&seeds());
}

#[test]
fn the_kept_corpus_breaks_nothing() {
    figures(
        "fuzzing, inputs of the facade replayed",
        &corpus::replay(&TARGETS),
    );
}

#[test]
fn what_is_like_the_seeds_breaks_nothing() {
    figures(
        "fuzzing, inputs of the facade made up",
        &corpus::make_up(&TARGETS, &seeds(), |_| 300),
    );
}

#[test]
fn each_target_has_its_binary_and_each_binary_its_target() {
    corpus::check_binaries(&TARGETS);
    let mut names: Vec<&str> = (TARGETS.iter().chain(&fuzz::TARGETS))
        .map(|(name, _)| *name)
        .collect();
    names.sort_unstable();
    assert_eq!(corpus::binaries(), names);
}

#[test]
fn each_target_was_run_and_the_documentation_shows_it() {
    corpus::check_results(&TARGETS);
}
