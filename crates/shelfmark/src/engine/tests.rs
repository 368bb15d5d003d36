//! What a review of the operations found, each seen to fail first.

use std::sync::Arc;

use crate::backend::{
    Backend, BackendStats, CommitOptions, Health, Limits, Maintenance, MaintenanceReport, Snapshot,
    WriteBatch,
};
use crate::{
    Catalog, DataAsset, DataStore, ErrorKind, Expectation, NewDataAsset, NewDataSet, NewDataStore, NewEntity,
    Options, Query, Read, Result, Schema, Write,
};

#[test]
fn names_that_are_cut_alike_are_told_apart() {
    let catalog = Options::new().unique_technical_names(true).in_memory().unwrap();
    let session = catalog.session("acme", "ann").unwrap();
    for (longer, shorter) in [(200, 170), (171, 170), (255, 170)] {
        let long = session
            .create(NewDataStore::new("中".repeat(longer), "x"))
            .unwrap();
        let short = session
            .create(NewDataStore::new("中".repeat(shorter), "x"))
            .unwrap();
        let found = |count: usize| {
            let name = "中".repeat(count);
            session
                .find_by_technical_name::<DataStore>(crate::AllStores, &name)
                .unwrap()
        };
        assert_eq!(found(shorter), std::slice::from_ref(&short));
        assert_eq!(found(longer), std::slice::from_ref(&long));
        for store in [long.id, short.id] {
            session.delete(store, Expectation::Any).unwrap();
        }
    }
}

#[test]
fn maintenance_inside_a_transaction_is_refused() {
    let catalog = Catalog::in_memory().unwrap();
    let session = catalog.session("acme", "ann").unwrap();
    let refused = session
        .transact(|_| {
            Ok([
                catalog.sync().unwrap_err().kind(),
                catalog.reopen().unwrap_err().kind(),
                catalog.compact().unwrap_err().kind(),
                catalog.verify().unwrap_err().kind(),
            ])
        })
        .unwrap();
    assert_eq!(refused, [ErrorKind::ReentrantWrite; 4]);
    catalog.sync().unwrap();
}

#[test]
fn an_update_of_one_entity_twice_is_refused_before_it_starts() {
    let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
    let store = session.create(NewDataStore::new("warehouse", "x")).unwrap();
    let twice = [(store.id, Expectation::Any), (store.id, Expectation::Any)];
    let error = session.update_all(twice, |_, _| panic!("ran")).unwrap_err();
    assert_eq!(
        (error.kind(), error.bulk().unwrap().index),
        (ErrorKind::Invalid, Some(1))
    );
}

#[test]
fn a_schema_copied_to_another_place_is_dated_anew_and_a_moved_one_is_not() {
    let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
    let store = session.create(NewDataStore::new("warehouse", "x")).unwrap();
    let asset = session.create(NewDataAsset::new(store.id, "sales", "x")).unwrap();
    let schema = |name: &str| Schema {
        schema_name: Some(name.into()),
        ..Schema::default()
    };
    let mut new = NewDataSet::new(asset.id, "orders", "a:b:c:orders", "q");
    (new.schema, new.additional_schemas) = (Some(schema("X")), vec![schema("Y"), schema("Z")]);
    let set = session.create(new).unwrap();
    let then = set.created_time;
    // Later than the creation, whatever the clock's step is.
    while session
        .update(set.id, Expectation::Any, |set| {
            set.tags.push(set.tags.len().to_string());
        })
        .unwrap()
        .last_modified_time
        == then
    {}
    let set = session
        .update(set.id, Expectation::Any, |set| {
            set.schema = Some(schema("Y"));
        })
        .unwrap();
    let dates = |schemas: &[Schema]| -> Vec<_> {
        schemas
            .iter()
            .map(|schema| schema.effective_date.unwrap() == then)
            .collect()
    };
    // Y and Z are where they were; the copy of Y is new where X was.
    assert_eq!(dates(&set.additional_schemas), [true, true]);
    assert_eq!(dates(set.schema.as_slice()), [false]);
    let set = session
        .update(set.id, Expectation::Any, |set| set.additional_schemas.swap(0, 1))
        .unwrap();
    assert_eq!(dates(&set.additional_schemas), [true, true]);
}

#[test]
fn nobody_owns_nothing() {
    let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
    let store = session
        .create(NewDataStore {
            owner_id: Some(String::new()),
            ..NewDataStore::new("w", "x")
        })
        .unwrap();
    assert_eq!(store.owner_id, "ann");
    for owner in ["", " ", &"o".repeat(256)] {
        let error = session
            .update(store.id, 0, |new| new.owner_id = Some(owner.into()))
            .unwrap_err();
        assert_eq!(error.violations()[0].pointer, "/ownerId");
    }
    let store = session
        .update(store.id, 0, |new| new.owner_id = Some("bob".into()))
        .unwrap();
    assert_eq!(store.owner_id, "bob");
}

#[test]
fn a_patch_hears_of_wrong_types_broken_rules_and_another_parent_at_once() {
    let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
    let store = session.create(NewDataStore::new("warehouse", "x")).unwrap();
    let other = session.create(NewDataStore::new("other", "x")).unwrap();
    let asset = session.create(NewDataAsset::new(store.id, "sales", "x")).unwrap();
    let patch = format!(
        r#"[{{"op":"add","path":"/name","value":7}},{{"op":"replace","path":"/technicalName","value":""}},
            {{"op":"replace","path":"/dataStoreInfo/id","value":"{}"}}]"#,
        other.id
    );
    let patch = crate::Patch::from_json(patch.as_bytes()).unwrap();
    let error = session.patch(asset.id, 0, &patch).unwrap_err();
    let mut pointers: Vec<_> = error
        .violations()
        .iter()
        .map(|broken| broken.pointer.as_str())
        .collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/dataStoreInfo/id", "/name", "/technicalName"]);
}

#[test]
fn a_hostile_input_makes_an_error_of_bounded_size() {
    let fields = vec!["0"; 500_000].join(",");
    let text = format!(r#"{{"schema":{{"dataFields":[{fields}]}},"technicalName":"t"}}"#);
    let error = NewDataSet::from_json(text.as_bytes()).unwrap_err();
    assert!(error.violations().len() <= 1_001);
    assert!(
        error.to_string().len() < 10_000,
        "{} bytes",
        error.to_string().len()
    );
}

#[test]
fn a_cascade_over_many_assets_clears_each_range_once() {
    let session = Catalog::in_memory().unwrap().session("acme", "ann").unwrap();
    let store = session.create(NewDataStore::new("warehouse", "x")).unwrap();
    let assets = session
        .create_all((0..5_000).map(|n| NewDataAsset::new(store.id, format!("a{n}"), "x")))
        .unwrap();
    session
        .create_all(
            assets
                .iter()
                .map(|&asset| NewDataSet::new(asset, "s", "a:b:c:set", "q")),
        )
        .unwrap();
    let deleted = session.delete_selected::<DataAsset>(store.id).unwrap();
    assert_eq!((deleted.assets, deleted.sets), (5_000, 5_000));
    assert_eq!(session.count::<DataAsset>(store.id).unwrap(), 0);
}

/// Loses everything but what makes a catalog when it is reopened, as a crash loses deferred commits.
struct Forgetful(Arc<dyn Backend>);

impl Backend for Forgetful {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.0.snapshot()
    }

    fn commit(
        &self,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()> {
        self.0.commit(options, plan)
    }

    fn sync(&self) -> Result<()> {
        self.0.sync()
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    fn reopen(&self) -> Result<()> {
        self.0.commit(CommitOptions::default(), &mut |snapshot| {
            let mut batch = WriteBatch::new();
            let number = super::tenants::number(snapshot, "acme")?.expect("a tenant");
            super::tenants::stage_drop(&mut batch, "acme", number);
            batch.delete(
                crate::backend::Keyspace::Meta,
                crate::keyspace::keys::META_NEXT_TENANT,
            );
            Ok(batch)
        })
    }

    fn stats(&self) -> Result<BackendStats> {
        self.0.stats()
    }

    fn maintain(&self, what: Maintenance) -> Result<MaintenanceReport> {
        self.0.maintain(what)
    }
}

#[test]
fn a_tenant_that_a_reopening_lost_is_not_taken_for_the_next_one() {
    let below = Options::new().in_memory_backend().unwrap();
    let catalog = Options::new().on_backend(Arc::new(Forgetful(below))).unwrap();
    let acme = catalog.session("acme", "ann").unwrap();
    acme.create(NewDataStore::new("warehouse", "x")).unwrap();
    assert_eq!(acme.list(&Query::<DataStore>::new()).unwrap().items.len(), 1);
    catalog.reopen().unwrap();
    catalog
        .session("other", "eve")
        .unwrap()
        .create(NewDataStore::new("secret", "x"))
        .unwrap();
    assert!(acme.list(&Query::<DataStore>::new()).unwrap().items.is_empty());
    assert!(catalog.check().unwrap().is_clean());
}
