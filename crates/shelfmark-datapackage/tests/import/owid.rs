//! The 766 packages of Our World in Data, where they are at hand.

use std::path::{Path, PathBuf};

use serde_json::Value;
use shelfmark::{DataField, FieldType, JsonObject};
use shelfmark_datapackage::Importer;

use super::{assets, catalog, counts, sets};

/// The file, in a `shared` directory of any directory above this package.
fn file() -> Option<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|directory| directory.join("shared/data/owid-datapackages.ndjson"))
        .find(|path| path.is_file())
}

/// The whole of a text: of the properties where it had to be cut.
fn whole<'a>(kept: Option<&'a str>, properties: Option<&'a JsonObject>, name: &str) -> Option<&'a str> {
    let cut = properties
        .and_then(|properties| properties.get(name))
        .and_then(Value::as_str);
    cut.or(kept)
}

fn same_field(field: &DataField, input: &Value) {
    let properties = field.properties.as_ref();
    assert_eq!(
        whole(Some(&field.name), properties, "name"),
        input["name"].as_str()
    );
    assert_eq!(field.data_type.original_type.as_deref(), input["type"].as_str());
    let expected = match input["type"].as_str() {
        Some("any") => FieldType::Custom,
        Some("string") => FieldType::String,
        Some("year") => FieldType::Integer,
        other => panic!("the data has no type {other:?}"),
    };
    assert_eq!(field.data_type.field_type, Some(expected));
    assert_eq!(field.description.as_deref(), input["description"].as_str());
    let settings = properties.and_then(|properties| properties.get("owidDisplaySettings"));
    assert_eq!(settings, input.get("owidDisplaySettings"));
}

#[test]
fn all_766_packages_arrive_whole() {
    let Some(file) = file() else {
        eprintln!("LEFT OUT: there is no shared/data/owid-datapackages.ndjson above this package");
        return;
    };
    let (catalog, session) = catalog();
    let report = Importer::new(&session).import_path(&file).unwrap();
    assert_eq!(
        (report.packages, report.resources, report.fields),
        (766, 766, 7190)
    );
    assert_eq!((report.stores_created, report.chunks), (589, 12));
    assert_eq!(report.package_descriptions_cut, 171);
    assert_eq!(report.long_field_descriptions, 46);
    assert_eq!((report.field_names_made, report.field_names_cut), (1, 0));
    assert_eq!((report.resource_names_made, report.package_names_made), (766, 0));
    let types: Vec<_> = report.types().collect();
    assert_eq!(
        types,
        [
            ("any", FieldType::Custom, 5658),
            ("string", FieldType::String, 766),
            ("year", FieldType::Integer, 766),
        ]
    );
    assert_eq!(counts(&session), (589, 766, 766));

    let (assets, sets) = (assets(&session), sets(&session));
    let text = std::fs::read_to_string(&file).unwrap();
    let mut long_names = 0;
    for (index, line) in text.lines().enumerate() {
        let input: Value = serde_json::from_str(line).unwrap();
        let (asset, set) = (&assets[index], &sets[index]);
        let properties = asset.properties.as_ref();
        assert_eq!(asset.technical_name, input["name"].as_str().unwrap());
        assert_eq!(
            whole(asset.name.as_deref(), properties, "title"),
            input["title"].as_str()
        );
        let description = whole(asset.description.as_deref(), properties, "description");
        assert_eq!(description, input["description"].as_str());
        assert_eq!(serde_json::json!(asset.tags), input["owidTags"]);
        let properties = properties.unwrap();
        assert_eq!(
            (&properties["sources"], &properties["id"]),
            (&input["sources"], &input["id"])
        );

        let resource = &input["resources"][0];
        let location = set.operational.as_ref().unwrap().location.as_deref();
        assert_eq!(location, resource["path"].as_str());
        assert_eq!(
            Some(set.technical_name.as_str()),
            resource["path"].as_str().unwrap().strip_suffix(".csv")
        );
        assert_eq!(set.data_asset_info.id, asset.id);
        let fields = &set.schema.as_ref().unwrap().data_fields;
        let inputs = resource["schema"]["fields"].as_array().unwrap();
        assert_eq!(fields.len(), inputs.len());
        for (field, input) in fields.iter().zip(inputs) {
            same_field(field, input);
            long_names += usize::from(field.name.chars().count() > 255);
        }
        if index + 1 == 603 {
            assert_eq!(
                (fields[5].name.as_str(), inputs[5]["name"].as_str()),
                ("field_5", Some("\r"))
            );
        }
    }
    assert_eq!(long_names, 4);
    assert!(catalog.check().unwrap().is_clean());
}
