//! Ids, versions, cursors, sorts, projections and pages.

use super::*;

#[test]
fn what_does_not_exist_and_versions_that_are_not_are_refused() {
    let still = Still::new();
    let session = &still.session;
    let Family { store, asset, set } = still.family;
    let no_store = StoreId::from_uuid(set.uuid());
    let no_asset = AssetId::from_uuid(store.uuid());
    let no_set = SetId::from_uuid(asset.uuid());
    let missing = [
        session.create(new_asset(no_store, "t")).map(drop),
        session.create(new_set(no_asset, "t")).map(drop),
        session
            .create_all([new_set(asset, "t"), new_set(no_asset, "t")])
            .map(drop),
        session.update(no_set, Expectation::Any, |_| {}).map(drop),
        session.replace(no_store, 0, new_store("t")).map(drop),
        session.patch(no_asset, 0, &Patch::new()).map(drop),
        session.delete(no_set, 0).map(drop),
        session
            .delete_all([(set, Expectation::Any), (no_set, Expectation::Any)])
            .map(drop),
        session
            .delete_selected::<DataSet>(vec![asset, no_asset])
            .map(drop),
        session.count::<DataSet>(no_asset).map(drop),
        session.list(&Query::<DataAsset>::of(no_store)).map(drop),
    ];
    for outcome in missing {
        let error = still.refused(ErrorKind::NotFound, outcome);
        assert_eq!(error.missing().len(), 1, "{error}");
    }
    for expected in [1, 7, u64::MAX] {
        let conflicts = [
            session
                .update(set, expected, |_| panic!("shown before the version was checked"))
                .map(drop),
            session.replace(set, expected, new_set(asset, "t")).map(drop),
            // The expectation is checked first.
            session.replace(set, expected, new_set(asset, "")).map(drop),
            session
                .patch(set, expected, &Patch::new().test("/name", 1).unwrap())
                .map(drop),
            session.delete(store, expected).map(drop),
            session.delete(asset, expected).map(drop),
        ];
        for outcome in conflicts {
            let error = still.refused(ErrorKind::VersionConflict, outcome);
            let conflict = error.conflict().unwrap();
            assert_eq!((conflict.expected, conflict.found), (expected, 0));
        }
    }
    let error = still.refused(ErrorKind::NotEmpty, session.delete(store, 0));
    assert_eq!(error.not_empty().len(), 1);
    let moved = NewDataAsset {
        store: Some(no_store),
        ..new_asset(store, "t")
    };
    still.invalid(session.replace(asset, 0, moved), &["/dataStoreInfo/id"]);
    let no_parent = NewDataSet {
        asset: None,
        ..new_set(asset, "t")
    };
    still.invalid(session.create(no_parent), &["/dataAssetInfo/id"]);
}

#[test]
fn cursors_of_another_kind_or_none_are_refused() {
    let still = Still::new();
    let session = &still.session;
    for text in ["", "%", "not base64!", "AAAA", &"A".repeat(10_000)] {
        let outcome = text
            .parse::<Cursor>()
            .and_then(|cursor| session.list(&Query::<DataSet>::new().cursor(cursor)));
        let error = still.refused(ErrorKind::BadCursor, outcome);
        assert!(
            error.to_string().contains("start again from the first page"),
            "{error}"
        );
    }
    let query = Query::<DataSet>::of(still.family.asset).sort("name").limit(3);
    let cursor = session.list(&query).unwrap().next.expect("a next page");
    let mut letters: Vec<u8> = cursor.to_string().into_bytes();
    letters[20] = if letters[20] == b'A' { b'B' } else { b'A' };
    let altered: Cursor = String::from_utf8(letters).unwrap().parse().unwrap();
    still.refused(ErrorKind::BadCursor, session.list(&query.clone().cursor(altered)));
    let others = [
        query.clone().sort("-name"),
        query.clone().sort("name,-id"),
        query.clone().sort(""),
        query.clone().filter(Filter::new().name_prefix("set")),
        Query::of(still.family.store).sort("name"),
        Query::of(SetSelection::All).sort("name"),
    ];
    for other in others {
        still.refused(
            ErrorKind::BadCursor,
            session.list_names(&other.cursor(cursor.clone())),
        );
    }
    let of_stores = Query::<DataStore>::new().sort("name").cursor(cursor.clone());
    still.refused(ErrorKind::BadCursor, session.list(&of_stores));
    let elsewhere = Still::new();
    let same = Query::<DataSet>::of(elsewhere.family.asset)
        .sort("name")
        .cursor(cursor.clone());
    elsewhere.refused(ErrorKind::BadCursor, elsewhere.session.list(&same));
    assert_eq!(session.list(&query.cursor(cursor)).unwrap().page, 1);
}

#[test]
fn sorts_and_projections_that_name_no_field_are_refused() {
    let still = Still::new();
    for sort in [
        ",",
        "name,",
        "nope",
        "--name",
        "+-name",
        " name",
        "name ",
        "NAME",
        "tags",
        "schema",
        "properties",
        "properties.a",
        "dataAssetInfo",
        "dataAssetInfo.nope",
        "name.x",
        ".",
        "-",
        "operational.tableConnectionInfo",
        "schema.dataFields.name",
    ] {
        let query = Query::<DataSet>::new().sort(sort);
        still.invalid(still.session.list(&query), &[""]);
        still.invalid(still.session.stream(&query), &[""]);
    }
    for field in [
        "",
        "nope",
        "name.x",
        "dataAssetInfo.nope",
        "Name",
        "id.",
        ".id",
        "schema..dataFields",
        "tags.0",
    ] {
        let projection = Projection::of([field]);
        still.invalid(
            still
                .session
                .list_projected(&Query::<DataSet>::new(), &projection),
            &[""],
        );
    }
    for path in [
        "properties.any.thing",
        "schema.dataFields.dataType.properties.x",
        "id",
        "tags",
    ] {
        assert!(
            still
                .session
                .list_projected(&Query::<DataSet>::new(), &Projection::of([path]))
                .is_ok()
        );
    }
}

#[test]
fn pages_of_any_size_and_number_are_answered_or_refused_with_advice() {
    let still = Still::new();
    let session = &still.session;
    let filters = [
        Filter::new(),
        Filter::new().name_prefix("o"),
        Filter::new().owner_id("ann"),
    ];
    for (sort, filter) in ["", "name", "-technicalName"]
        .into_iter()
        .flat_map(|sort| filters.iter().map(move |filter| (sort, filter)))
    {
        for query in [Query::<DataSet>::of(still.family.asset), Query::new()] {
            let query = query.sort(sort).filter(filter.clone());
            let all = session.list(&query.clone().limit(1_000)).unwrap();
            let unbounded = session.list(&query.clone().limit(usize::MAX)).unwrap();
            assert_eq!(unbounded.items, all.items);
            assert_eq!(all.total, Some(all.items.len() as u64));
            assert_eq!((all.next, all.prev), (None, None));
            let none = session.list(&query.clone().limit(0)).unwrap();
            assert_eq!((none.items.len(), none.total, none.next), (0, all.total, None));
            for (limit, page) in [(20, u64::MAX), (usize::MAX, u64::MAX), (0, u64::MAX), (1, 1_000)] {
                let past = session.list(&query.clone().limit(limit).page(page));
                let past = past.unwrap();
                assert_eq!((past.items.len(), past.page, past.total), (0, page, all.total));
            }
        }
    }
    // Without an index only so much is held, but none of this is much.
    let query = Query::<DataSet>::new().sort("qri");
    assert_eq!(
        session
            .list(&query.clone().limit(usize::MAX))
            .unwrap()
            .items
            .len(),
        31
    );
    let none = session.list(&query.clone().limit(0).page(u64::MAX)).unwrap();
    assert_eq!((none.items.len(), none.total), (0, Some(31)));
    for page in [4_999, 5_000, u64::MAX] {
        let past = session.list(&query.clone().page(page)).unwrap();
        assert_eq!((past.items.len(), past.total), (0, Some(31)));
    }
}
