//! The backend conformance suite on the built-in backend; the test kit runs it on its own.

use std::sync::Arc;

use shelfmark::backend::Backend;
use shelfmark::{Concurrency, Options};
use shelfmark_testkit::conformance;

#[test]
fn in_memory() {
    conformance::run(&|| Options::new().in_memory_backend().expect("a backend in memory"));
}

fn in_files(options: &Options) {
    let directory = tempfile::tempdir().expect("a directory");
    let next = std::cell::Cell::new(0);
    conformance::run(&|| -> Arc<dyn Backend> {
        next.set(next.get() + 1);
        let path = directory.path().join(format!("{}.shelf", next.get()));
        options.create_backend(path).expect("a new file")
    });
}

#[test]
fn in_a_file() {
    in_files(&Options::new());
}

#[test]
fn in_a_file_of_several_writers() {
    in_files(&Options::new().concurrency(Concurrency::MultiWriter));
}

#[test]
fn in_a_file_that_recovers_quickly() {
    in_files(&Options::new().quick_recovery(true));
}
