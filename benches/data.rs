//! The data that every system stores: names and texts as catalogs have them, made from a number.

use shelfmark::{AssetId, DataField, FieldType, NewDataAsset, NewDataSet, NewDataStore, Schema, StoreId};

const SUBJECTS: [&str; 24] = [
    "Orders",
    "Customers",
    "Invoices",
    "Shipments",
    "Payments",
    "Returns",
    "Products",
    "Suppliers",
    "Contracts",
    "Employees",
    "Budgets",
    "Forecasts",
    "Campaigns",
    "Leads",
    "Tickets",
    "Sessions",
    "Inventory",
    "Prices",
    "Claims",
    "Policies",
    "Meters",
    "Sensors",
    "Trips",
    "Routes",
];
const REGIONS: [&str; 12] = [
    "EMEA", "APAC", "Nordics", "DACH", "Iberia", "LATAM", "Benelux", "UK", "Canada", "India", "Japan",
    "Oceania",
];
const GRAINS: [&str; 8] = [
    "daily", "weekly", "monthly", "raw", "cleaned", "snapshot", "history", "archive",
];
const TAGS: [&str; 8] = [
    "gold",
    "finance",
    "pii",
    "curated",
    "deprecated",
    "hourly",
    "certified",
    "trial",
];

/// A number as good as random, from `n`.
pub fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn pick<'a>(from: &[&'a str], bits: u64) -> &'a str {
    from[(bits % from.len() as u64) as usize]
}

/// The `n`th store.
pub fn store(n: u64) -> NewDataStore {
    NewDataStore {
        name: Some(format!("{} warehouse {n}", pick(&REGIONS, n))),
        ..NewDataStore::new(format!("warehouse_{n:05}"), "postgres")
    }
}

/// The `n`th asset, in `store`.
pub fn asset(store: StoreId, n: u64) -> NewDataAsset {
    let bits = mix(n ^ 0xA55E7);
    NewDataAsset {
        name: Some(format!(
            "{} {} {n}",
            pick(&REGIONS, bits),
            pick(&SUBJECTS, bits >> 8)
        )),
        ..NewDataAsset::new(store, format!("asset_{n:06}"), "qix-df")
    }
}

/// The `n`th set, in `asset`, with a schema of `fields` fields.
pub fn set(asset: AssetId, n: u64, fields: usize) -> NewDataSet {
    let bits = mix(n);
    let (region, subject, grain) = (
        pick(&REGIONS, bits),
        pick(&SUBJECTS, bits >> 8),
        pick(&GRAINS, bits >> 16),
    );
    let technical = format!(
        "{}_{}_{}_{n:07}",
        region.to_lowercase(),
        subject.to_lowercase(),
        grain
    );
    NewDataSet {
        name: Some(format!("{subject} {region} {grain} {:06}", bits >> 44)),
        tags: vec![pick(&TAGS, bits >> 24).to_owned()],
        set_type: Some("qvd".to_owned()),
        description: Some(format!("{subject} of {region}, {grain}.")),
        schema: (fields > 0).then(|| schema(fields, bits)),
        ..NewDataSet::new(
            asset,
            technical,
            format!("qdf:qix-datafiles:acme:{:016x}", mix(bits)),
            format!("qri:qdf:{:016x}", mix(bits)),
        )
    }
}

/// A schema of `fields` fields.
pub fn schema(fields: usize, bits: u64) -> Schema {
    const TYPES: [FieldType; 4] = [
        FieldType::Integer,
        FieldType::String,
        FieldType::Date,
        FieldType::Double,
    ];
    let field = |position: usize| {
        let bits = mix(bits ^ position as u64);
        let name = format!(
            "{}_{}_{position}",
            pick(&SUBJECTS, bits),
            pick(&GRAINS, bits >> 8)
        )
        .to_lowercase();
        DataField {
            nullable: Some(bits & 1 == 0),
            ..DataField::new(name, TYPES[position % TYPES.len()])
        }
    };
    Schema {
        data_fields: (0..fields).map(field).collect(),
        schema_name: Some("main".to_owned()),
        ..Schema::default()
    }
}
