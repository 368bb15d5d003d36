//! Random sequences of operations against the oracle, on a file and in memory at once.

use std::cell::RefCell;

use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use shelfmark::ErrorKind;
use shelfmark_testkit::run::{Tally, run};
use shelfmark_testkit::strategy::sequence;

/// The most operations of one sequence.
const MOST: usize = 100;

/// So many cases bring about everything that can come up.
const ENOUGH: u32 = 256;

/// Every error that a sequence can bring about; a page is too deep only behind more entities than one makes.
const EXPECTED: [ErrorKind; 8] = [
    ErrorKind::Invalid,
    ErrorKind::NotFound,
    ErrorKind::VersionConflict,
    ErrorKind::PatchTestFailed,
    ErrorKind::NotEmpty,
    ErrorKind::NameTaken,
    ErrorKind::BadCursor,
    ErrorKind::ReentrantWrite,
];

/// The number of cases is proptest's, which `PROPTEST_CASES` raises.
#[test]
fn the_catalog_does_what_the_oracle_says() {
    let config = Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::SourceParallel(
            "proptest-regressions",
        ))),
        source_file: Some(file!()),
        ..Config::default()
    };
    let cases = config.cases;
    let tally = RefCell::new(Tally::default());
    let outcome = TestRunner::new(config).run(&sequence(MOST), |(setup, operations)| {
        run(setup, &operations, &mut tally.borrow_mut()).map_err(TestCaseError::fail)
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let tally = tally.into_inner();
    if cases < ENOUGH {
        return;
    }
    let missing: Vec<ErrorKind> = EXPECTED
        .into_iter()
        .filter(|kind| !tally.errors.contains_key(kind.code()))
        .collect();
    assert!(missing.is_empty(), "never refused with {missing:?}: {tally:#?}");
    assert!(
        tally.never_done().is_empty(),
        "never done: {:?} of {tally:#?}",
        tally.never_done()
    );
    assert!(tally.most_entities > 50, "{tally:#?}");
}
