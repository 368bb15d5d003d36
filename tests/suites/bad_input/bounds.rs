//! How long a text, how large an entity may be.

use super::*;

/// One bounded text of an input.
struct Bound<N> {
    pointer: &'static str,
    most: usize,
    set: fn(&mut N, String),
}

fn check_bounds<N: NewEntity>(still: &Still, base: N, bounds: &[Bound<N>]) {
    for Bound { pointer, most, set } in bounds {
        // Characters of one, two and four bytes: characters count, not bytes.
        for letter in ["x", "ä", "𝄞"] {
            let with = |length: usize| {
                let mut new = base.clone();
                set(&mut new, letter.repeat(length));
                new
            };
            still.invalid(still.session.create(with(most + 1)), &[pointer]);
            let text = serde_json::to_vec(&with(most + 1)).expect("JSON");
            assert_pointers(&N::from_json(&text).expect_err("one too many"), &[pointer]);
            let text = serde_json::to_vec(&with(*most)).expect("JSON");
            assert_eq!(N::from_json(&text).expect("the longest"), with(*most));
        }
    }
}

#[test]
fn every_bounded_text_is_bounded_in_characters() {
    let still = Still::new();
    check_bounds(
        &still,
        new_store("t"),
        &[
            Bound {
                pointer: "/uri",
                most: 512,
                set: |new, text| new.uri = Some(text),
            },
            Bound {
                pointer: "/name",
                most: 255,
                set: |new, text| new.name = Some(text),
            },
            Bound {
                pointer: "/type",
                most: 64,
                set: |new, text| new.store_type = text,
            },
            Bound {
                pointer: "/technicalName",
                most: 255,
                set: |new, text| new.technical_name = text,
            },
            Bound {
                pointer: "/description",
                most: 1024,
                set: |new, text| new.description = Some(text),
            },
            Bound {
                pointer: "/technicalDescription",
                most: 1024,
                set: |new, text| new.technical_description = Some(text),
            },
        ],
    );
    check_bounds(
        &still,
        new_asset(still.family.store, "t"),
        &[
            Bound {
                pointer: "/name",
                most: 255,
                set: |new, text| new.name = Some(text),
            },
            Bound {
                pointer: "/appType",
                most: 64,
                set: |new, text| new.app_type = text,
            },
            Bound {
                pointer: "/technicalName",
                most: 255,
                set: |new, text| new.technical_name = text,
            },
            Bound {
                pointer: "/description",
                most: 1024,
                set: |new, text| new.description = Some(text),
            },
            Bound {
                pointer: "/technicalDescription",
                most: 1024,
                set: |new, text| new.technical_description = Some(text),
            },
        ],
    );
    check_bounds(
        &still,
        new_set(still.family.asset, "t"),
        &[
            Bound {
                pointer: "/qri",
                most: 1018,
                set: |new, text| new.qri = format!("a:b:c:{text}"),
            },
            Bound {
                pointer: "/secureQri",
                most: 1024,
                set: |new, text| new.secure_qri = text,
            },
            Bound {
                pointer: "/name",
                most: 255,
                set: |new, text| new.name = Some(text),
            },
            Bound {
                pointer: "/type",
                most: 64,
                set: |new, text| new.set_type = Some(text),
            },
            Bound {
                pointer: "/technicalName",
                most: 255,
                set: |new, text| new.technical_name = text,
            },
            Bound {
                pointer: "/description",
                most: 1024,
                set: |new, text| new.description = Some(text),
            },
            Bound {
                pointer: "/technicalDescription",
                most: 1024,
                set: |new, text| new.technical_description = Some(text),
            },
            Bound {
                pointer: "/schema/dataFields/0/name",
                most: 1024,
                set: |new, text| {
                    let data_fields = vec![DataField::new(text, FieldType::Date)];
                    new.schema = Some(Schema {
                        data_fields,
                        ..Schema::default()
                    });
                },
            },
        ],
    );
    let with_qri = |qri: &str| NewDataSet {
        qri: qri.to_owned(),
        ..new_set(still.family.asset, "t")
    };
    for qri in ["a:b:c:d", "aaaa:b:c", ":b:c:dddd", "a:b:c:ddd:", "a:::ddddd", ""] {
        still.invalid(still.session.create(with_qri(qri)), &["/qri"]);
    }
}

#[test]
fn an_entity_has_at_most_a_mebibyte_encoded() {
    const MOST: usize = 1 << 20;
    let still = Still::new();
    let asset = still.family.asset;
    let with = |bytes: usize| NewDataSet {
        properties: Some(JsonObject::from_iter([(
            "t".to_owned(),
            "x".repeat(bytes).into(),
        )])),
        schema: Some(schema()),
        ..new_set(asset, "large")
    };
    let error = still.invalid(still.session.create(with(MOST)), &[""]);
    let message = error.to_string();
    let taken: usize = message
        .split(' ')
        .find_map(|word| word.parse().ok())
        .expect(&message);
    let most = 2 * MOST - taken;
    still.invalid(still.session.create(with(most + 1)), &[""]);
    let id = still.family.set;
    still.invalid(still.session.replace(id, 0, with(most + 1)), &[""]);
    still.invalid(still.session.update(id, 0, |set| *set = with(MOST)), &[""]);
    still.invalid(
        still
            .session
            .create_all([new_set(asset, "small"), with(most + 1)]),
        &[""],
    );
    let batched = still.session.create_batched(
        [new_set(asset, "small"), with(most + 1)],
        shelfmark::Batched::new(),
    );
    assert_eq!(
        still
            .invalid(batched, &[""])
            .bulk()
            .map(|bulk| (bulk.index, bulk.stored)),
        Some((Some(1), 0))
    );

    let elsewhere = still.catalog.session("elsewhere", "ann").unwrap();
    let of = family(&elsewhere);
    let largest = NewDataSet {
        asset: Some(of.asset),
        ..with(most)
    };
    let created = elsewhere.create(largest.clone()).unwrap();
    assert_eq!(
        elsewhere.get(created.id).unwrap().unwrap().properties,
        largest.properties
    );
    let page = elsewhere
        .list(&Query::<DataSet>::new().sort("qri").with_schemas())
        .unwrap();
    assert_eq!(page.items.len(), 2);
    assert_clean(&still.catalog, "with the largest entity");
}
