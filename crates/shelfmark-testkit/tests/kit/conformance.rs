use std::sync::Arc;

use shelfmark_testkit::{CountingBackend, FaultyBackend, MemoryBackend, conformance};

#[test]
fn memory_backend_conforms() {
    conformance::run(&|| Arc::new(MemoryBackend::new()));
}

#[test]
fn shared_memory_backend_conforms() {
    conformance::run(&|| Arc::new(MemoryBackend::shared()));
}

#[test]
fn memory_backend_without_deferred_durability_conforms() {
    conformance::run(&|| Arc::new(MemoryBackend::new().immediate_only()));
}

#[test]
fn memory_backend_that_retries_every_plan_conforms() {
    conformance::run(&|| Arc::new(MemoryBackend::shared().retry_plans(1)));
}

#[test]
fn memory_backend_that_retries_some_plans_conforms() {
    conformance::run(&|| Arc::new(MemoryBackend::new().retry_plans(3)));
}

#[test]
fn counting_backend_conforms() {
    conformance::run(&|| Arc::new(CountingBackend::new(Arc::new(MemoryBackend::new()))));
}

#[test]
fn faulty_backend_without_faults_conforms() {
    conformance::run(&|| Arc::new(FaultyBackend::new(Arc::new(MemoryBackend::new()))));
}

#[test]
fn wrapped_twice_with_retries_conforms() {
    conformance::run(&|| {
        let counting = CountingBackend::new(Arc::new(MemoryBackend::shared().retry_plans(2)));
        Arc::new(FaultyBackend::new(Arc::new(counting)))
    });
}
