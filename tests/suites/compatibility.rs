//! Schemas before and after: how they are classified, and what the hook refuses.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::json;
use shelfmark::Compatibility::{Breaking, Compatible, Widening};
use shelfmark::{
    Compatibility, DataField, DataType, EntityKind, ErrorKind, FieldType, NewDataSet, Options, Patch, Read,
    Schema, SchemaAspect, SchemaCompatibility, Write, compare_data_sets, compare_schemas,
};
use shelfmark_testkit::operation::Input;
use shelfmark_testkit::strategy;

use crate::support::{Bed, assert_clean, dump, family, session};

fn schema(fields: impl IntoIterator<Item = DataField>) -> Schema {
    Schema {
        data_fields: fields.into_iter().collect(),
        ..Schema::default()
    }
}

fn field(of: FieldType) -> DataField {
    DataField::new("f", of)
}

fn of_type(of: FieldType, properties: serde_json::Value) -> DataField {
    let properties = match properties {
        serde_json::Value::Object(properties) => Some(properties),
        _ => None,
    };
    DataField {
        data_type: DataType {
            field_type: Some(of),
            properties,
            original_type: None,
        },
        ..field(of)
    }
}

fn decimal(precision: i64, scale: i64) -> DataField {
    of_type(
        FieldType::Decimal,
        json!({ "precision": precision, "scale": scale }),
    )
}

fn text(length: Option<i64>) -> DataField {
    of_type(
        FieldType::String,
        length.map_or(json!(null), |length| json!({ "length": length })),
    )
}

/// How two fields compare, in both directions.
fn both(one: &DataField, other: &DataField) -> (Compatibility, Compatibility) {
    let compare = |old: &DataField, new: &DataField| {
        compare_schemas(&schema([old.clone()]), &schema([new.clone()])).compatibility()
    };
    (compare(one, other), compare(other, one))
}

#[test]
fn types_widen_along_a_lattice() {
    use FieldType::{Binary, Boolean, Custom, Date, DateTime, Double, Integer, String, Time, Timestamp};
    let widening = [
        (field(Integer), field(Double)),
        (field(Integer), decimal(19, 0)),
        (field(Integer), decimal(21, 2)),
        (decimal(10, 2), decimal(12, 2)),
        (decimal(10, 2), decimal(12, 4)),
        (field(Date), field(DateTime)),
        (field(Date), field(Timestamp)),
        (text(Some(10)), text(Some(11))),
        (text(Some(10)), text(None)),
    ];
    for (narrow, wide) in &widening {
        assert_eq!(both(narrow, wide), (Widening, Breaking), "{narrow:?} {wide:?}");
        assert_eq!(both(narrow, narrow), (Compatible, Compatible));
    }
    let neither = [
        (field(Integer), decimal(18, 0)),
        (decimal(10, 2), decimal(10, 4)),
        (decimal(10, 2), field(Double)),
        (field(Integer), field(String)),
        (field(Boolean), field(Integer)),
        (field(DateTime), field(Timestamp)),
        (field(Time), field(Timestamp)),
        (text(Some(10)), of_type(Binary, json!({ "length": 10 }))),
        (
            of_type(Custom, json!({ "of": 1 })),
            of_type(Custom, json!({ "of": 2 })),
        ),
    ];
    for (one, other) in &neither {
        assert_eq!(both(one, other), (Breaking, Breaking), "{one:?} {other:?}");
    }
    let told = of_type(Integer, json!({ "unit": "ms" }));
    assert_eq!(both(&field(Integer), &told), (Compatible, Compatible));
}

#[test]
fn what_a_field_promises() {
    let plain = || field(FieldType::Integer);
    let named = |name: &str, alias: Option<&str>| DataField {
        alias: alias.map(str::to_owned),
        ..DataField::new(name, FieldType::Integer)
    };
    let cases = [
        (
            plain(),
            DataField {
                nullable: Some(true),
                ..plain()
            },
            (Compatible, Compatible),
        ),
        (
            DataField {
                nullable: Some(false),
                ..plain()
            },
            plain(),
            (Widening, Breaking),
        ),
        (
            plain(),
            DataField {
                primary_key: Some(true),
                ..plain()
            },
            (Breaking, Breaking),
        ),
        (
            plain(),
            DataField {
                primary_key: Some(false),
                ..plain()
            },
            (Compatible, Compatible),
        ),
        (
            plain(),
            DataField {
                ordinal_position_in_key: Some(1),
                ..plain()
            },
            (Compatible, Compatible),
        ),
        (
            plain(),
            DataField {
                encrypted: Some(true),
                ..plain()
            },
            (Breaking, Breaking),
        ),
        (
            plain(),
            DataField {
                orphan: Some(true),
                ..plain()
            },
            (Breaking, Compatible),
        ),
        (
            plain(),
            DataField {
                sensitive: Some(true),
                ..plain()
            },
            (Compatible, Compatible),
        ),
        (
            plain(),
            DataField {
                description: Some("x".into()),
                tags: vec!["t".into()],
                ..plain()
            },
            (Compatible, Compatible),
        ),
        (named("a", None), named("a", Some("b")), (Compatible, Breaking)),
        (named("a", None), named("b", Some("a")), (Widening, Breaking)),
        (named("a", None), named("b", None), (Breaking, Breaking)),
    ];
    for (old, new, expected) in cases {
        assert_eq!(both(&old, &new), expected, "{old:?} {new:?}");
    }
}

#[test]
fn fields_come_and_go_by_name() {
    let [a, b] = ["a", "b"].map(|name| DataField::new(name, FieldType::String));
    let needed = DataField {
        nullable: Some(false),
        ..b.clone()
    };
    let both = schema([a.clone(), b.clone()]);
    let compare = |old: &Schema, new: &Schema| {
        let changes = compare_schemas(old, new).changes;
        changes
            .into_iter()
            .map(|change| (change.field, change.pointer, change.aspect, change.compatibility))
            .collect::<Vec<_>>()
    };
    let one =
        |name: &str, pointer: &str, aspect, class| vec![(name.to_owned(), pointer.to_owned(), aspect, class)];
    assert_eq!(compare(&both, &schema([b.clone(), a.clone()])), []);
    assert_eq!(
        compare(&schema([a.clone()]), &both),
        one("b", "/dataFields/1", SchemaAspect::Added, Compatible)
    );
    assert_eq!(
        compare(&schema([a.clone()]), &schema([needed, a.clone()])),
        one("b", "/dataFields/0", SchemaAspect::Added, Breaking)
    );
    assert_eq!(
        compare(&both, &schema([b])),
        one("a", "/dataFields/0", SchemaAspect::Removed, Breaking)
    );
    // The first of a name goes with the first.
    let twice = schema([a.clone(), a.clone()]);
    assert_eq!(compare(&twice, &twice), []);
    assert_eq!(
        compare(&twice, &schema([a])),
        one("a", "/dataFields/1", SchemaAspect::Removed, Breaking)
    );
}

#[test]
fn additional_schemas_go_by_their_names() {
    let named = |name: &str, of| Schema {
        schema_name: Some(name.into()),
        ..schema([field(of)])
    };
    let set = |schema: Option<Schema>, additional_schemas: Vec<Schema>| NewDataSet {
        schema,
        additional_schemas,
        ..NewDataSet::default()
    };
    let (orders, lines) = (
        named("orders", FieldType::Integer),
        named("lines", FieldType::Integer),
    );
    let old = set(Some(schema([])), vec![orders.clone(), lines.clone()]);
    let moved = set(Some(schema([])), vec![lines, orders]);
    assert_eq!(compare_data_sets(&old, &moved).changes, []);
    let changed = set(None, vec![named("lines", FieldType::Double)]);
    let comparison = compare_data_sets(&old, &changed);
    let pointers: Vec<_> = comparison
        .changes
        .iter()
        .map(|change| (change.pointer.as_str(), change.compatibility))
        .collect();
    assert_eq!(
        pointers,
        [
            ("/schema", Breaking),
            ("/additionalSchemas/0", Breaking),
            ("/additionalSchemas/0/dataFields/0/dataType", Widening)
        ]
    );
    assert_eq!(
        compare_data_sets(&set(None, vec![]), &old).compatibility(),
        Compatible
    );
}

fn schemas() -> impl Strategy<Value = Schema> {
    strategy::draft(EntityKind::Set).prop_map(|draft| match draft.input {
        Input::Set(set) => set.schema.unwrap_or_default(),
        _ => Schema::default(),
    })
}

proptest! {
    #[test]
    fn a_schema_agrees_with_itself_and_what_widens_does_not_narrow(old in schemas(), new in schemas(), more in schemas()) {
        prop_assert_eq!(compare_schemas(&old, &old).changes, vec![]);
        let (there, back) = (compare_schemas(&old, &new).compatibility(), compare_schemas(&new, &old).compatibility());
        prop_assert!(there != Widening || back == Breaking, "{:?} {:?}", there, back);
        // Fields that are new, behind those that were there, and may lack values.
        let mut grown = old.clone();
        let names: Vec<&str> = old.data_fields.iter().map(|field| field.name.as_str()).collect();
        grown.data_fields.extend(more.data_fields.iter().filter(|field| !names.contains(&field.name.as_str())).cloned().map(|field| DataField { nullable: None, alias: None, ..field }));
        let added = grown.data_fields.len() - old.data_fields.len();
        let comparison = compare_schemas(&old, &grown);
        prop_assert_eq!((comparison.changes.len(), comparison.compatibility()), (added, Compatible));
        prop_assert_eq!(compare_schemas(&grown, &old).compatibility() == Breaking, added > 0);
    }
}

#[test]
fn the_hook_refuses_what_it_is_told_to_and_nothing_of_it_is_left() {
    let widen = Patch::new()
        .replace("/schema/dataFields/0/dataType/type", "DOUBLE")
        .unwrap();
    let break_it = Patch::new().remove("/schema").unwrap();
    let describe = Patch::new()
        .add("/schema/dataFields/0/description", "said")
        .unwrap();
    let reported = Arc::new(Mutex::new(Vec::new()));
    let noted = reported.clone();
    let hooks = [
        (SchemaCompatibility::new(), [true, true, false]),
        (SchemaCompatibility::new().refuse_widening(), [true, false, false]),
        (
            SchemaCompatibility::new()
                .report_only()
                .on_change(move |id, comparison| {
                    noted
                        .lock()
                        .expect("the list")
                        .push((id, comparison.compatibility()));
                }),
            [true, true, true],
        ),
    ];
    for (hook, allowed) in hooks {
        let bed = Bed::in_memory();
        let catalog = Options::new()
            .hook(Arc::new(hook))
            .on_backend(bed.backend.clone())
            .unwrap();
        let session = session(&catalog, "acme");
        let set = family(&session).set;
        for (patch, allowed) in [&describe, &widen, &break_it].into_iter().zip(allowed) {
            let before = dump(&*bed.backend);
            let outcome = session.patch(set, shelfmark::Expectation::Any, patch);
            assert_eq!(outcome.is_ok(), allowed, "{outcome:?}");
            if let Err(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::Vetoed);
                let pointer = &error.violations()[0].pointer;
                assert!(
                    ["/schema", "/schema/dataFields/0/dataType"].contains(&pointer.as_str()),
                    "{pointer}"
                );
                // The message alone tells what is at fault.
                let message = &error.violations()[0].message;
                assert!(error.to_string().contains(message.as_str()), "{error}");
                assert_eq!(message.starts_with("field"), pointer != "/schema", "{message}");
                assert_eq!(dump(&*bed.backend), before);
            }
        }
        assert!(session.get(set).unwrap().is_some());
        assert_clean(&catalog, bed.name);
    }
    let classes: Vec<Compatibility> = reported.lock().unwrap().iter().map(|(_, class)| *class).collect();
    assert_eq!(classes, [Compatible, Widening, Breaking]);
}
