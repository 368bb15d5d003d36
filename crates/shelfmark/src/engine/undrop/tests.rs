//! What the change feed tells of restorations and purges, and what a sweep reads past.

use std::time::Duration;

use super::*;
use crate::backend::{CommitOptions, WriteBatch};
use crate::codec;
use crate::engine::feed::ChangeRecord;
use crate::{
    AssetId, Catalog, Expectation, NewDataAsset, NewDataSet, NewDataStore, Options, Read as _, Session,
    Write as _,
};

const RESTORED: u8 = 3;
const PURGED: u8 = 4;

fn recording(retention: Duration) -> Catalog {
    let options = Options::new().undrop(retention).change_feed(true);
    options.in_memory().unwrap()
}

/// Of each record after the first `past`: event, kind, whether somebody did it, version, ids and versions of descendants.
type Told = (u8, u8, bool, u64, Vec<(Uuid, u64)>);

fn told(catalog: &Catalog, past: usize) -> Vec<Told> {
    let mut told = Vec::new();
    let snapshot = catalog.inner.backend.snapshot().unwrap();
    snapshot
        .scan(
            Keyspace::Change,
            &KeyRange::all(),
            Direction::Forward,
            &mut |key, value| {
                let body = envelope::open(Keyspace::Change, key, value).unwrap();
                let record: ChangeRecord<'_> = codec::decode(body).unwrap();
                let descendants = record.descendants.iter();
                told.push((
                    record.event,
                    record.kind,
                    record.actor.is_some(),
                    record.version,
                    descendants
                        .map(|set| (Uuid::from_bytes(set.id), set.version))
                        .collect(),
                ));
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    told.split_off(past)
}

fn asset_of_sets(session: &Session, sets: usize) -> (AssetId, Vec<(Uuid, u64)>) {
    let store = session.create(NewDataStore::new("warehouse", "x")).unwrap();
    let asset = session.create(NewDataAsset::new(store.id, "sales", "x")).unwrap();
    let sets = (0..sets).map(|n| NewDataSet::new(asset.id, format!("set_{n}"), "a:b:c:orders", "q"));
    let ids = session.create_all(sets).unwrap();
    (asset.id, ids.into_iter().map(|id| (id.uuid(), 0)).collect())
}

#[test]
fn a_restoration_is_told_with_every_set_that_came_back() {
    let catalog = recording(Duration::from_secs(60));
    let session = catalog.session("acme", "ann").unwrap();
    let (asset, sets) = asset_of_sets(&session, feed::DESCENDANTS + 2);
    session.delete(asset, Expectation::Any).unwrap();
    let past = told(&catalog, 0).len();
    session.restore(asset).unwrap();
    let (kind, first) = (EntityKind::Asset.code(), sets[..feed::DESCENDANTS].to_vec());
    let rest = sets[feed::DESCENDANTS..].to_vec();
    assert_eq!(
        told(&catalog, past),
        [
            (RESTORED, kind, true, 1, Vec::new()),
            (RESTORED, kind, true, 1, first),
            (RESTORED, kind, true, 1, rest),
        ]
    );
    // Those that are refused tell nothing.
    session.restore(asset).unwrap_err();
    assert_eq!(told(&catalog, past).len(), 3);
}

#[test]
fn a_purge_is_told_once_and_by_whom() {
    let catalog = recording(Duration::from_secs(60));
    let session = catalog.session("acme", "ann").unwrap();
    let (asset, _) = asset_of_sets(&session, 3);
    session.delete(asset, Expectation::Any).unwrap();
    let past = told(&catalog, 0).len();
    session.purge(asset).unwrap();
    assert_eq!(
        told(&catalog, past),
        [(PURGED, EntityKind::Asset.code(), true, 0, Vec::new())]
    );
}

#[test]
fn a_sweep_in_steps_tells_of_each_root_once() {
    // Over as soon as it begins.
    let catalog = recording(Duration::ZERO);
    let session = catalog.session("acme", "ann").unwrap();
    let (asset, _) = asset_of_sets(&session, 30);
    let past = told(&catalog, 0).len();
    // A deletion sweeps its own rows too where they have expired.
    session.delete(asset, Expectation::Any).unwrap();
    let purged = (PURGED, EntityKind::Asset.code(), false, 0, Vec::new());
    assert_eq!(told(&catalog, past)[2..], [purged]);
    assert_eq!(kept_rows(&catalog), 0);
}

fn kept_rows(catalog: &Catalog) -> usize {
    let snapshot = catalog.inner.backend.snapshot().unwrap();
    let mut rows = 0;
    for space in [Keyspace::Dropped, Keyspace::DroppedRow] {
        snapshot
            .scan(space, &KeyRange::all(), Direction::Forward, &mut |_, _| {
                rows += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    rows
}

#[test]
fn each_step_takes_at_most_its_limit_until_nothing_is_left() {
    let catalog = recording(Duration::from_secs(60));
    let session = catalog.session("acme", "ann").unwrap();
    let (asset, _) = asset_of_sets(&session, 25);
    session.delete(asset, Expectation::Any).unwrap();
    let others = asset_of_sets(&session, 1).0;
    session.delete(others, Expectation::Any).unwrap();
    let past = told(&catalog, 0).len();
    // An entry, a record and a head of each root; a head of each set.
    assert_eq!(kept_rows(&catalog), 3 + 25 + 3 + 1);
    let at_once = Options::new().undrop(Duration::ZERO);
    let expired = at_once.on_backend(catalog.inner.backend.clone()).unwrap();
    let session = expired.session("acme", "ann").unwrap();
    let mut steps = Vec::new();
    loop {
        let swept = session.run(|stage| sweep_step(stage, 10)).unwrap();
        if swept == 0 {
            break;
        }
        steps.push(swept);
        assert!(session.dropped(asset).unwrap().is_none());
        assert!(expired.check().unwrap().is_clean());
        assert!(swept <= 11, "{steps:?}");
    }
    assert!(steps.len() >= 3, "{steps:?}");
    assert_eq!(kept_rows(&expired), 0);
    let purged = (PURGED, EntityKind::Asset.code(), false, 0, Vec::new());
    assert_eq!(told(&expired, past), [purged.clone(), purged]);
}

#[test]
fn a_damaged_record_does_not_stand_in_the_way_of_deletions() {
    let catalog = recording(Duration::ZERO);
    let session = catalog.session("acme", "ann").unwrap();
    let (first, _) = asset_of_sets(&session, 1);
    let (second, _) = asset_of_sets(&session, 1);
    let (tenant, root) = (TenantNumber(1), Uuid::from_u128(5));
    catalog
        .inner
        .backend
        .commit(CommitOptions::default(), &mut |_| {
            let mut batch = WriteBatch::new();
            let entry = keys::dropped(tenant, Timestamp::default(), root);
            batch.put(Keyspace::Dropped, entry, Vec::new());
            let record = keys::dropped_row(tenant, root, root, RECORD);
            batch.put(Keyspace::DroppedRow, record, b"nonsense");
            Ok(batch)
        })
        .unwrap();
    session.delete(first, Expectation::Any).unwrap();
    session.delete(second, Expectation::Any).unwrap();
    assert_eq!(kept_rows(&catalog), 2);
    assert!(!catalog.check().unwrap().is_clean());
}
