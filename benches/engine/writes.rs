//! Creating, changing, deleting. Each commit is durable.

use std::cell::Cell;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use shelfmark::{Batched, DataSet, Expectation, Patch, Read as _, Write as _};
use shelfmark_benches::data;

use crate::fixture::Fixture;

/// Creates by `threads` threads at once, and how long they take.
fn storm(fixture: &Fixture, threads: u64, creates: u64) -> Duration {
    let each = creates.div_ceil(threads);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for n in 0..each {
                    let new = data::set(fixture.asset, thread * each + n, 0);
                    assert_eq!(fixture.session.create(new).unwrap().version, 0);
                }
            });
        }
    });
    begin.elapsed() * u32::try_from(creates).unwrap_or(u32::MAX)
        / u32::try_from(each * threads).unwrap_or(u32::MAX)
}

pub fn creates(c: &mut Criterion) {
    let mut group = c.benchmark_group("create");
    for threads in [1, 8, 64] {
        let fixture = Fixture::empty();
        group.bench_function(format!("one, durable, {threads} threads"), |b| {
            b.iter_custom(|creates| storm(&fixture, threads, creates));
        });
        let commits = fixture.catalog.stats().unwrap();
        assert!(commits.groups <= commits.grouped_writes);
    }
    for (size, fields) in [(1_000, 0), (10_000, 0), (1_000, 20)] {
        group.throughput(Throughput::Elements(size));
        group.bench_function(format!("{size} in a transaction, {fields} fields"), |b| {
            b.iter_batched(
                || {
                    let fixture = Fixture::empty();
                    let new: Vec<_> = (0..size).map(|n| data::set(fixture.asset, n, fields)).collect();
                    (fixture, new)
                },
                |(fixture, new)| {
                    assert_eq!(
                        fixture.session.create_batched(new, Batched::new()).unwrap().len() as u64,
                        size
                    );
                    fixture
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

pub fn changes(c: &mut Criterion) {
    let fixture = Fixture::filled(2_000, 0);
    let wide = Fixture::filled(100, 200);
    let turn = Cell::new(0_u64);
    let text = || {
        turn.set(turn.get() + 1);
        format!("Changed {}.", turn.get())
    };
    let mut group = c.benchmark_group("change");
    group.bench_function("update of one", |b| {
        b.iter(|| {
            let (id, text) = (fixture.sets[(turn.get() % 2_000) as usize], text());
            let set = fixture
                .session
                .update(id, Expectation::Any, |set| set.description = Some(text.clone()))
                .unwrap();
            assert_eq!(set.description, Some(text));
        });
    });
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("update of 1,000 in a transaction", |b| {
        b.iter(|| {
            let text = text();
            let members = fixture.sets[..1_000].iter().map(|&id| (id, Expectation::Any));
            let sets = fixture
                .session
                .update_all(members, |_, set| set.description = Some(text.clone()))
                .unwrap();
            assert!(sets.iter().all(|set| set.description.as_ref() == Some(&text)));
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("JSON patch of one with a schema of 200 fields", |b| {
        b.iter(|| {
            let body = format!(
                r#"[{{"op": "replace", "path": "/description", "value": "{}"}}]"#,
                text()
            );
            let patch = Patch::from_json(body.as_bytes()).unwrap();
            let id = wide.sets[(turn.get() % 100) as usize];
            assert!(wide.session.patch(id, Expectation::Any, &patch).unwrap().version > 0);
        });
    });
    group.finish();
}

pub fn deletes(c: &mut Criterion) {
    let mut group = c.benchmark_group("delete");
    group.bench_function("asset with 10,000 sets", |b| {
        b.iter_batched(
            || Fixture::filled(10_000, 0),
            |fixture| {
                let deleted = fixture.session.delete(fixture.asset, Expectation::Any).unwrap();
                assert_eq!(deleted.sets, 10_000);
                fixture
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("1,000 sets in a transaction", |b| {
        b.iter_batched(
            || Fixture::filled(10_000, 0),
            |fixture| {
                let members = fixture.sets.iter().step_by(10).map(|&id| (id, Expectation::Any));
                assert_eq!(fixture.session.delete_all(members).unwrap().sets, 1_000);
                assert_eq!(fixture.session.count::<DataSet>(fixture.asset).unwrap(), 9_000);
                fixture
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}
