//! What becomes of the members of a descriptor.

use serde_json::{Value, json};
use shelfmark::{Catalog, DataStore, ErrorKind, FieldType, NewDataStore, Options, Query, Read, Write};
use shelfmark_datapackage::{ImportErrorKind, Importer};

use super::{assets, catalog, counts, import, sets};

fn fields_of(fields: &Value, more: &Value) -> Value {
    let mut schema = json!({ "fields": fields });
    for (name, value) in more.as_object().into_iter().flatten() {
        schema[name] = value.clone();
    }
    json!({ "name": "p", "resources": [{ "name": "r", "schema": schema }] })
}

#[test]
fn a_package_keeps_every_member() {
    let (_catalog, session) = catalog();
    let package = json!({
        "name": "p", "title": "P", "description": "What it is", "id": 7, "version": "1.0",
        "licenses": [{"name": "CC0-1.0"}], "sources": [{"title": "S", "email": "s@example.org"}, {"title": "T"}],
        "keywords": ["a", "b", "a"], "owidTags": ["c", "b"], "x": {"y": [1, null]}, "nothing": null, "resources": []
    });
    import(&session, &[package]).unwrap();
    let asset = assets(&session).remove(0);
    assert_eq!(
        (asset.name.as_deref(), asset.description.as_deref()),
        (Some("P"), Some("What it is"))
    );
    assert_eq!(
        (asset.technical_name.as_str(), asset.app_type.as_str()),
        ("p", "datapackage")
    );
    assert_eq!(asset.tags, ["a", "b", "c"]);
    assert_eq!(asset.data_store_info.name.as_deref(), Some("S"));
    let expected = json!({
        "id": 7, "version": "1.0", "licenses": [{"name": "CC0-1.0"}],
        "sources": [{"title": "S", "email": "s@example.org"}, {"title": "T"}], "x": {"y": [1, null]}, "nothing": null,
        "keywords": ["a", "b", "a"], "owidTags": ["c", "b"],
    });
    assert_eq!(Value::from(asset.properties.unwrap()), expected);
}

#[test]
fn a_resource_keeps_every_member() {
    let (_catalog, session) = catalog();
    let package = json!({"name": "p", "resources": [{
        "name": "r:1", "title": "R", "description": "About", "type": "table", "path": "r.csv", "bytes": 12, "format": "csv",
        "hash": "abc", "dialect": {"delimiter": ";"}, "constraints": 1,
        "schema": {"fields": [], "missingValues": ["-"], "foreignKeys": [], "uniqueKeys": [["a"]], "primaryKey": []}
    }]});
    import(&session, &[package]).unwrap();
    let set = sets(&session).remove(0);
    assert_eq!(
        (set.technical_name.as_str(), set.name.as_deref()),
        ("r:1", Some("R"))
    );
    assert_eq!(
        (set.set_type.as_deref(), set.description.as_deref()),
        (Some("table"), Some("About"))
    );
    assert_eq!(set.qri, "dataset:frictionless:unattributed:p:r%3A1");
    assert_eq!(set.qri, set.secure_qri);
    let operational = set.operational.unwrap();
    assert_eq!(
        (operational.location.as_deref(), operational.size),
        (Some("r.csv"), Some(12))
    );
    let schema = set.schema.unwrap();
    assert_eq!(
        Value::from(schema.load_options.unwrap()),
        json!({"delimiter": ";"})
    );
    let expected = json!({
        "format": "csv", "hash": "abc", "constraints": 1,
        "schema": {"missingValues": ["-"], "foreignKeys": [], "uniqueKeys": [["a"]], "primaryKey": []}
    });
    assert_eq!(Value::from(set.properties.unwrap()), expected);
}

#[test]
fn what_fits_no_typed_field_stays_where_it_was() {
    let (_catalog, session) = catalog();
    let resource = json!({
        "name": "r", "title": " ", "type": "x".repeat(65), "path": ["a.csv", "b.csv"], "bytes": 1.5, "dialect": "dialect.json",
        "schema": "https://example.org/schema.json", "profile": "tabular-data-resource"
    });
    let report = import(&session, &[json!({"name": "p", "resources": [&resource]})]).unwrap();
    assert_eq!(report.referenced_schemas, 1);
    let set = sets(&session).remove(0);
    assert_eq!(
        (&set.set_type, &set.operational, &set.schema),
        (&None, &None, &None)
    );
    assert_eq!(set.name.as_deref(), Some("r"));
    let mut kept = resource;
    kept.as_object_mut().unwrap().remove("name");
    assert_eq!(Value::from(set.properties.unwrap()), kept);
}

#[test]
fn fields_have_their_types_keys_and_constraints() {
    let (_catalog, session) = catalog();
    let fields = json!([
        {"name": "a", "type": "string", "title": "A", "constraints": {"required": true, "maxLength": 3}},
        {"name": "b", "type": "number", "constraints": {"required": false}},
        {"name": "c", "type": "string", "format": "binary", "description": null},
        {"name": "d"},
        {"name": "e", "type": "Integer"},
    ]);
    let package = fields_of(&fields, &json!({"primaryKey": ["d", "b", "d", "nowhere"]}));
    let report = import(&session, &[package]).unwrap();
    assert_eq!(report.unknown_key_fields, 1);
    let fields = sets(&session).remove(0).schema.unwrap().data_fields;
    let found: Vec<_> = fields
        .iter()
        .map(|field| {
            let original = field.data_type.original_type.as_deref();
            (
                field.data_type.field_type.unwrap(),
                original,
                field.nullable,
                field.ordinal_position_in_key,
            )
        })
        .collect();
    let expected = [
        (FieldType::String, Some("string"), Some(false), None),
        (FieldType::Double, Some("number"), Some(false), Some(2)),
        (FieldType::Binary, Some("string"), None, None),
        (FieldType::Custom, None, Some(false), Some(1)),
        (FieldType::Custom, Some("Integer"), None, None),
    ];
    assert_eq!(found, expected);
    let properties = json!({"title": "A", "constraints": {"required": true, "maxLength": 3}});
    assert_eq!(Value::from(fields[0].properties.clone().unwrap()), properties);
    assert_eq!((&fields[2].description, &fields[3].properties), (&None, &None));
    assert_eq!((fields[1].primary_key, fields[2].primary_key), (Some(true), None));
}

#[test]
fn every_published_type_is_mapped() {
    let types = [
        ("any", "CUSTOM"),
        ("array", "CUSTOM"),
        ("boolean", "BOOLEAN"),
        ("date", "DATE"),
        ("datetime", "DATETIME"),
        ("duration", "STRING"),
        ("geojson", "CUSTOM"),
        ("geopoint", "CUSTOM"),
        ("integer", "INTEGER"),
        ("list", "CUSTOM"),
        ("number", "DOUBLE"),
        ("object", "CUSTOM"),
        ("string", "STRING"),
        ("time", "TIME"),
        ("year", "INTEGER"),
        ("yearmonth", "STRING"),
    ];
    let (_catalog, session) = catalog();
    let fields: Vec<Value> = types
        .iter()
        .map(|(name, _)| json!({"name": name, "type": name}))
        .collect();
    import(&session, &[fields_of(&fields.into(), &Value::Null)]).unwrap();
    for (field, (name, becomes)) in sets(&session)[0]
        .schema
        .as_ref()
        .unwrap()
        .data_fields
        .iter()
        .zip(types)
    {
        let found = &field.data_type;
        assert_eq!(found.field_type.map(FieldType::as_str), Some(becomes), "{name}");
        assert_eq!(found.original_type.as_deref(), Some(name));
    }
}

#[test]
fn blank_long_and_missing_names_are_mended() {
    let (_catalog, session) = catalog();
    let (name, title) = ("é".repeat(2000), "ü".repeat(300));
    let package = json!({"name": name, "title": title, "sources": [{"name": "ö".repeat(256)}], "resources": [
        {"name": "\t", "path": ["https://example.org/data/a.b.csv"]},
        {"description": "ä".repeat(1025), "schema": {"fields": [{"name": "\r"}, {"name": name}, {}, {"name": "a"}, {"name": "a"}]}},
    ]});
    let report = import(
        &session,
        &[
            package,
            json!({"title": "T", "resources": []}),
            json!({"name": "", "resources": []}),
        ],
    )
    .unwrap();
    assert_eq!(
        (
            report.source_names_cut,
            report.names_cut,
            report.technical_names_cut
        ),
        (1, 1, 1)
    );
    assert_eq!((report.package_names_made, report.resource_names_made), (2, 2));
    assert_eq!(
        (
            report.field_names_made,
            report.field_names_cut,
            report.duplicate_field_names
        ),
        (2, 1, 1)
    );
    assert_eq!(
        (report.resource_descriptions_cut, report.package_descriptions_cut),
        (1, 0)
    );

    let assets = assets(&session);
    assert_eq!(
        (
            assets[1].technical_name.as_str(),
            assets[2].technical_name.as_str()
        ),
        ("T", "package_3")
    );
    assert_eq!(assets[2].properties.as_ref().unwrap()["name"], "");
    let properties = assets[0].properties.as_ref().unwrap();
    assert_eq!(
        (&properties["name"], &properties["title"]),
        (&json!(name), &json!(title))
    );
    assert_eq!(assets[0].name.as_ref().unwrap().chars().count(), 255);
    let store = session.get(assets[0].data_store_info.id).unwrap().unwrap();
    assert_eq!(store.properties.unwrap()["source"], "ö".repeat(256));

    let sets = sets(&session);
    assert_eq!(
        (sets[0].technical_name.as_str(), sets[1].technical_name.as_str()),
        ("https://example.org/data/a.b", "resource_1")
    );
    assert_eq!(sets[0].properties.as_ref().unwrap()["name"], "\t");
    assert_eq!(
        sets[1].properties.as_ref().unwrap()["description"],
        "ä".repeat(1025)
    );
    assert_eq!(sets[1].description.as_deref(), Some("ä".repeat(1024).as_str()));
    let fields = &sets[1].schema.as_ref().unwrap().data_fields;
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let cut = "é".repeat(1024);
    assert_eq!(names, ["field_0", cut.as_str(), "field_2", "a", "a"]);
    assert_eq!(fields[0].properties.as_ref().unwrap()["name"], "\r");
    assert_eq!(fields[1].properties.as_ref().unwrap()["name"], name);
    assert_eq!(fields[2].properties, None);
}

#[test]
fn the_source_is_the_first_that_names_itself() {
    let (_catalog, session) = catalog();
    let with = |sources: Value| json!({"name": "p", "sources": sources, "resources": []});
    import(
        &session,
        &[
            with(json!([{"name": "N", "dataPublishedBy": " Publisher ", "link": null}])),
            with(json!([{"title": "", "path": "https://example.org"}])),
            with(json!([{}, {"version": "1"}, {"email": "a@example.org"}])),
            with(json!([{"title": "PUBLISHER"}])),
            with(json!([])),
            with(Value::Null),
        ],
    )
    .unwrap();
    let names: Vec<_> = assets(&session)
        .into_iter()
        .map(|asset| asset.data_store_info.name.unwrap())
        .collect();
    let expected = [
        "Publisher",
        "https://example.org",
        "a@example.org",
        "Publisher",
        "unattributed",
        "unattributed",
    ];
    assert_eq!(names, expected);
}

#[test]
fn importing_twice_stores_twice_in_the_same_stores() {
    let (catalog, session) = catalog();
    let package = [json!({"name": "p", "sources": [{"title": "S"}], "resources": [{"name": "r"}]})];
    // A store of the same name that is not of the importer's making is left alone.
    session.create(NewDataStore::new("s", "postgres")).unwrap();
    assert_eq!(import(&session, &package).unwrap().stores_created, 1);
    assert_eq!(import(&session, &package).unwrap().stores_created, 0);
    assert_eq!(counts(&session), (2, 2, 2));
    let found = session.find_by_secure_qri("dataset:frictionless:S:p:r").unwrap();
    assert_eq!(found.len(), 2);
    assert!(catalog.check().unwrap().is_clean());
}

#[test]
fn unique_technical_names_make_the_second_time_an_error() {
    let catalog: Catalog = Options::new().unique_technical_names(true).in_memory().unwrap();
    let session = catalog.session("acme", "ann").unwrap();
    let package = json!({"name": "p", "resources": []});
    import(&session, std::slice::from_ref(&package)).unwrap();
    let error = import(&session, &[json!({"name": "q", "resources": []}), package]).unwrap_err();
    assert_eq!(error.kind(), ImportErrorKind::Catalog);
    assert_eq!((error.line(), error.package()), (Some(2), Some("p")));
    assert_eq!(error.catalog().unwrap().kind(), ErrorKind::NameTaken);
    assert_eq!(counts(&session), (1, 1, 0));
}

#[test]
fn a_file_is_lines_or_one_document() {
    let directory = tempfile::tempdir().unwrap();
    let package = json!({"sources": [{"title": "S"}], "resources": []});
    let pretty = serde_json::to_string_pretty(&package).unwrap();
    let cases = [
        (
            "lines.json",
            format!("\n{package}\r\n\n{package}"),
            vec!["package_2", "package_4"],
        ),
        ("lines.ndjson", format!("\u{feff}{package}\n"), vec!["package_1"]),
        ("pretty.json", format!("\u{feff}\n{pretty}\n"), vec!["dir"]),
        ("datapackage.json", package.to_string(), vec!["dir"]),
        ("empty.json", "\n".to_owned(), vec![]),
    ];
    let inside = directory.path().join("dir");
    std::fs::create_dir(&inside).unwrap();
    for (name, text, expected) in cases {
        let (_catalog, session) = catalog();
        let path = inside.join(name);
        std::fs::write(&path, text).unwrap();
        let report = Importer::new(&session).import_path(&path).unwrap();
        assert_eq!(report.packages, expected.len() as u64, "{name}");
        let names: Vec<_> = assets(&session)
            .into_iter()
            .map(|asset| asset.technical_name)
            .collect();
        assert_eq!(names, expected, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_tree_is_walked_without_following_links() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for name in ["b", "a/z", "a/b", "elsewhere"] {
        std::fs::create_dir_all(root.join("tree").join(name)).unwrap();
    }
    let package = json!({"resources": []}).to_string();
    for name in [
        "b/datapackage.json",
        "a/z/datapackage.json",
        "a/b/datapackage.json",
        "a/b/other.json",
    ] {
        std::fs::write(root.join("tree").join(name), &package).unwrap();
    }
    std::os::unix::fs::symlink(root.join("tree"), root.join("tree/a/loop")).unwrap();
    std::os::unix::fs::symlink(
        root.join("tree/b/datapackage.json"),
        root.join("tree/elsewhere/datapackage.json"),
    )
    .unwrap();
    let (_catalog, session) = catalog();
    Importer::new(&session).import_path(root.join("tree")).unwrap();
    let names: Vec<_> = assets(&session)
        .into_iter()
        .map(|asset| asset.technical_name)
        .collect();
    assert_eq!(names, ["b", "z", "b"]);
    assert_eq!(session.list(&Query::<DataStore>::new()).unwrap().total, Some(1));
}

#[test]
fn a_chunk_ends_after_16_mebibytes_too() {
    let (_catalog, session) = catalog();
    let package = json!({"name": "p", "x": "x".repeat(1_000_000), "resources": []}).to_string() + "\n";
    let text = package.repeat(40);
    let report = Importer::new(&session)
        .chunk(10_000)
        .import_reader(text.as_bytes())
        .unwrap();
    assert_eq!((report.packages, report.chunks), (40, 3));
}
