//! The packages that come with the example.

use shelfmark::{DataStore, FieldType, Filter, Query, Read};
use shelfmark_datapackage::Importer;

use super::{assets, catalog, counts, sets};

const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");

#[test]
fn they_import_with_exact_counts() {
    let (catalog, session) = catalog();
    let report = Importer::new(&session).chunk(4).import_path(BUNDLED).unwrap();
    let printed = report.to_string();
    let expected = "       6  packages, as data assets
       8  resources, as data sets
      39  fields
       5  data stores created, one a source
       2  transactions
       1  packages without a source
       1  packages without a name, named after title or place
       1  resources without a name, named after path or position
       1  fields with a blank name or none, named after their position
       0  names of sources cut to 255 characters, for new data stores
       0  titles of packages and resources cut to 255 characters
       0  names of packages and resources cut to 255 characters
       0  field names cut to 1,024 characters
       1  package descriptions cut to 1,024 characters
       0  resource descriptions cut to 1,024 characters
       0  field descriptions over 1,024 characters, kept whole
       1  tags dropped as duplicates
       1  fields named as another of their schema, kept
       1  schemas given by reference, kept as references
       0  primary key parts that name no field
       1  fields of type (another), now CUSTOM
       2  fields of type any, now CUSTOM
       1  fields of type array, now CUSTOM
       2  fields of type boolean, now BOOLEAN
       3  fields of type date, now DATE
       1  fields of type datetime, now DATETIME
       1  fields of type duration, now STRING
       1  fields of type geojson, now CUSTOM
       1  fields of type geopoint, now CUSTOM
       4  fields of type integer, now INTEGER
       1  fields of type list, now CUSTOM
       3  fields of type number, now DOUBLE
       1  fields of type object, now CUSTOM
      10  fields of type string, now STRING
       1  fields of type string (binary), now BINARY
       2  fields of type time, now TIME
       3  fields of type year, now INTEGER
       1  fields of type yearmonth, now STRING
";
    assert_eq!(printed, expected);
    assert_eq!(counts(&session), (5, 6, 8));
    assert!(catalog.check().unwrap().is_clean());
}

#[test]
fn they_come_sorted_by_path() {
    let (_catalog, session) = catalog();
    Importer::new(&session).import_path(BUNDLED).unwrap();
    let names: Vec<String> = assets(&session)
        .into_iter()
        .map(|asset| asset.technical_name)
        .collect();
    let expected = [
        "planets",
        "A day in the office",
        "noble-gases",
        "highest-mountains",
        "si-prefixes",
        "si-units",
    ];
    assert_eq!(names, expected);
}

#[test]
fn one_source_has_one_store_whatever_its_case() {
    let (_catalog, session) = catalog();
    Importer::new(&session).import_path(BUNDLED).unwrap();
    let query = Query::<DataStore>::new()
        .sort("name")
        .filter(Filter::new().type_name("frictionless"));
    let stores: Vec<(String, u64)> = session
        .list(&query)
        .unwrap()
        .items
        .into_iter()
        .map(|store| {
            let assets = session.count::<shelfmark::DataAsset>(store.id).unwrap();
            (store.technical_name, assets)
        })
        .collect();
    let expected = [
        ("international bureau of weights and measures", 2),
        ("IUPAC", 1),
        ("NASA Planetary Fact Sheets", 1),
        ("National surveys of Nepal, China, India and Pakistan", 1),
        ("unattributed", 1),
    ];
    assert_eq!(stores, expected.map(|(name, assets)| (name.to_owned(), assets)));
}

#[test]
fn a_long_description_is_cut_and_whole_in_the_properties() {
    let (_catalog, session) = catalog();
    Importer::new(&session).import_path(BUNDLED).unwrap();
    let all = assets(&session);
    let mountains = all
        .iter()
        .find(|asset| asset.technical_name == "highest-mountains")
        .unwrap();
    let whole = mountains.properties.as_ref().unwrap()["description"]
        .as_str()
        .unwrap();
    let cut = mountains.description.as_deref().unwrap();
    assert_eq!(cut.chars().count(), 1024);
    assert!(whole.starts_with(cut) && whole.ends_with("joins it to a higher one."));
}

#[test]
fn a_version_1_descriptor_is_understood() {
    let (_catalog, session) = catalog();
    Importer::new(&session).import_path(BUNDLED).unwrap();
    let all = sets(&session);
    let gases = all
        .iter()
        .find(|set| set.technical_name == "noble-gases")
        .unwrap();
    assert_eq!(gases.set_type.as_deref(), Some("table"));
    let fields = &gases.schema.as_ref().unwrap().data_fields;
    assert_eq!(
        (fields[0].primary_key, fields[0].ordinal_position_in_key),
        (Some(true), Some(1))
    );
    assert_eq!(fields[6].data_type.field_type, Some(FieldType::Binary));
}
