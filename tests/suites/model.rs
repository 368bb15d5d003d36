//! Random sequences of operations against the oracle, on a file and in memory at once.

use std::cell::RefCell;

use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRng, TestRunner,
};
use shelfmark::ErrorKind;
use shelfmark::backend::Keyspace;
use shelfmark_testkit::run::{Tally, run};
use shelfmark_testkit::strategy::{among_many, from_seed, sequence};
use shelfmark_testkit::{CatalogSetup, MemoryBackend, Oracle, Storage, System};

use crate::support::rows;

/// The most operations of one sequence.
const MOST: usize = 100;

/// So many data sets fill more than two pages.
const MANY: usize = 60;

/// So many cases bring about everything that can come up.
const ENOUGH: u32 = 256;

/// Every error that a sequence can bring about; a page is too deep only behind more entities than one makes.
const EXPECTED: &[ErrorKind] = &[
    ErrorKind::Invalid,
    ErrorKind::NotFound,
    ErrorKind::VersionConflict,
    ErrorKind::PatchTestFailed,
    ErrorKind::NotEmpty,
    ErrorKind::NameTaken,
    ErrorKind::BadCursor,
    ErrorKind::ReentrantWrite,
    ErrorKind::Vetoed,
    ErrorKind::HookPanicked,
    ErrorKind::ChangesTrimmed,
    ErrorKind::ChangesRewound,
    ErrorKind::Unsupported,
    ErrorKind::KeyReused,
];

/// What the sequences depend on.
fn seed() -> u64 {
    std::env::var("SHELFMARK_MODEL_SEED").map_or(1, |seed| seed.parse().expect("a number"))
}

/// The number of cases is proptest's, which `PROPTEST_CASES` raises. The same sequences each time, unless `SHELFMARK_MODEL_SEED` names others.
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
    let seed = seed();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, rng).run(&sequence(MOST), |(setup, operations)| {
        run(setup, &operations, &mut tally.borrow_mut()).map_err(TestCaseError::fail)
    });
    if let Err(failure) = outcome {
        panic!("seed {seed}: {failure}");
    }
    let tally = tally.into_inner();
    if cases < ENOUGH {
        return;
    }
    let missing: Vec<ErrorKind> = EXPECTED
        .iter()
        .copied()
        .filter(|kind| !tally.errors.contains_key(kind.code()))
        .collect();
    assert!(missing.is_empty(), "never refused with {missing:?}: {tally:#?}");
    assert!(
        tally.never_done().is_empty(),
        "never done: {:?} of {tally:#?}",
        tally.never_done()
    );
}

/// More than two pages of them: the sequences above come to that many only now and then.
#[test]
fn a_catalog_with_many_entities_does_so_too() {
    let first = seed();
    for seed in first..first + 8 {
        let (setup, operations) = among_many(seed, MOST, MANY);
        let mut tally = Tally::default();
        if let Err(wrong) = run(setup, &operations, &mut tally) {
            panic!("seed {seed}: {wrong}");
        }
        assert!(tally.most_entities > MANY, "seed {seed}: {tally:#?}");
    }
}

/// Whatever is done: without a feed and without undrop nothing remembers the past but the answers to requests with an idempotency key.
#[test]
fn without_feed_and_undrop_their_keyspaces_stay_empty() {
    let of_requests = [Keyspace::Request, Keyspace::RequestByExpiry];
    let (mut answers, mut gone) = (0, 0);
    for seed in 0..24 {
        let (setup, operations) = from_seed(seed, MOST);
        let setup = CatalogSetup {
            change_feed: false,
            retained_changes: None,
            undrop: None,
            ..setup.catalog
        };
        let memory = MemoryBackend::new();
        let mut system = System::create("memory", Storage::Memory(memory.clone()), setup).expect("a catalog");
        let mut oracle = Oracle::new(setup);
        for operation in &operations {
            let (resolved, expected) = oracle.apply(operation);
            let found = system.run(&resolved);
            assert!(
                found.agrees_with(&expected),
                "seed {seed}: {resolved:?}\n{expected:?}\n{found:?}"
            );
            for &space in Keyspace::ALL.iter().filter(|space| space.remembers()) {
                let rows = rows(&memory, space).len();
                if of_requests.contains(&space) {
                    answers += rows;
                } else {
                    assert_eq!(rows, 0, "seed {seed}: {} after {resolved:?}", space.name());
                }
            }
        }
        gone += oracle.gone().count();
    }
    assert!(answers > 0 && gone > 0, "{answers} answers, {gone} gone");
}
