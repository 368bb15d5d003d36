//! Getting, listing, counting.

use std::hint::black_box;

use criterion::Criterion;
use shelfmark::{DataAsset, DataSet, Filter, Projection, Query, Read as _};
use shelfmark_benches::data;

use crate::fixture::{Fixture, SETS};

pub fn gets(c: &mut Criterion) {
    let plain = Fixture::filled(SETS, 0);
    let wide = Fixture::filled(200, 200);
    let mut group = c.benchmark_group("get");
    let mut turn = 0;
    let mut next = |len: usize| {
        turn += 1;
        (data::mix(turn) % len as u64) as usize
    };
    group.bench_function("by id, newest state", |b| {
        b.iter(|| {
            let id = plain.sets[next(plain.sets.len())];
            assert_eq!(plain.session.get(id).unwrap().unwrap().id, id);
        });
    });
    let snapshot = plain.session.snapshot().unwrap();
    group.bench_function("by id, held snapshot", |b| {
        b.iter(|| {
            let id = plain.sets[next(plain.sets.len())];
            assert_eq!(snapshot.get(id).unwrap().unwrap().id, id);
        });
    });
    group.bench_function("with a schema of 200 fields", |b| {
        b.iter(|| {
            let set = wide
                .session
                .get(wide.sets[next(wide.sets.len())])
                .unwrap()
                .unwrap();
            assert_eq!(set.schema.unwrap().data_fields.len(), 200);
        });
    });
    group.bench_function("100 at once", |b| {
        let ids = &plain.sets[..100];
        b.iter(|| assert!(snapshot.get_many(ids).unwrap().iter().all(Option::is_some)));
    });
    group.bench_function("by secureQri", |b| {
        let set = plain.session.get(plain.sets[77]).unwrap().unwrap();
        b.iter(|| assert_eq!(snapshot.find_by_secure_qri(&set.secure_qri).unwrap().len(), 1));
    });
    group.finish();
}

pub fn lists(c: &mut Criterion) {
    let fixture = Fixture::filled(SETS, 0);
    let session = &fixture.session;
    let query = Query::<DataSet>::of(fixture.asset).limit(100);
    let by_name = query.clone().sort("name");
    let mut group = c.benchmark_group("page of 100");
    group.bench_function("by name, id and name", |b| {
        b.iter(|| assert_eq!(session.list_names(&by_name).unwrap().items.len(), 100));
    });
    group.bench_function("by name, by cursor", |b| {
        let cursor = session
            .list_names(&by_name.clone().page(50))
            .unwrap()
            .next
            .unwrap();
        let query = by_name.clone().cursor(cursor);
        b.iter(|| assert_eq!(session.list_names(&query).unwrap().page, 51));
    });
    group.bench_function("by name, by offset 5,000", |b| {
        let query = by_name.clone().page(50);
        b.iter(|| assert_eq!(session.list_names(&query).unwrap().items.len(), 100));
    });
    group.bench_function("by name, bodies", |b| {
        b.iter(|| assert_eq!(session.list(&by_name).unwrap().items.len(), 100));
    });
    group.bench_function("in creation order, bodies", |b| {
        b.iter(|| assert_eq!(session.list(&query).unwrap().items.len(), 100));
    });
    group.bench_function("projected", |b| {
        let projection = Projection::of(["name", "technicalName", "dataAssetInfo.name"]);
        b.iter(|| {
            assert_eq!(
                session.list_projected(&query, &projection).unwrap().items.len(),
                100
            );
        });
    });
    group.bench_function("sorted without an index", |b| {
        let query = query.clone().sort("description");
        b.iter(|| assert_eq!(session.list_names(&query).unwrap().items.len(), 100));
    });
    group.bench_function("filtered by a tag", |b| {
        let query = query.clone().filter(Filter::new().tag("gold"));
        b.iter(|| assert_eq!(session.list_names(&query).unwrap().items.len(), 100));
    });
    group.finish();
    c.bench_function("stream over 10,000", |b| {
        b.iter(|| {
            assert_eq!(
                session.stream(&Query::<DataSet>::new()).unwrap().count() as u64,
                SETS
            );
        });
    });
}

pub fn counts(c: &mut Criterion) {
    let fixture = Fixture::filled(SETS, 0);
    let session = &fixture.session;
    let mut group = c.benchmark_group("count");
    group.bench_function("sets of an asset", |b| {
        b.iter(|| assert_eq!(session.count::<DataSet>(fixture.asset).unwrap(), SETS));
    });
    group.bench_function("assets of a store", |b| {
        b.iter(|| assert_eq!(session.count::<DataAsset>(fixture.store).unwrap(), 1));
    });
    group.bench_function("exists", |b| {
        b.iter(|| assert!(session.exists(black_box(fixture.sets[4_321])).unwrap()));
    });
    group.finish();
}
