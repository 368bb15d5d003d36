//! Reads.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use shelfmark::EntityKind;

use super::{inputs, kind, parent, reference, target};
use crate::operation::{FilterSpec, Form, Misuse, QuerySpec, ReadOp, Selection};

const SORTS: [&str; 18] = [
    "",
    "id",
    "-id",
    "name",
    "-name",
    "+technicalName",
    "-technicalName",
    "lastModifiedTime",
    "-lastModifiedTime",
    "createdTime",
    "-createdTime",
    "-name,-id",
    "name,-id",
    "-ownerId,name",
    "version,-lastModifiedBy,technicalName",
    "spaceId",
    "-description,createdTime",
    "tenantId,-createdBy,-lastModifiedTime",
];

fn sorts(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Store => &["type", "-uri,name", "technicalDescription"],
        EntityKind::Asset => &[
            "appType,-name",
            "dataStoreInfo.name",
            "-dataStoreInfo.type,name",
            "dataStoreInfo.id,-id",
            "-dataFreshness",
            "appId",
        ],
        EntityKind::Set => &[
            "type",
            "dataAssetInfo.name,-name",
            "-dataAssetInfo.dataStoreInfo.name",
            "dataAssetInfo.dataStoreInfo.type,dataAssetInfo.id",
            "operational.size",
            "-operational.status,operational.lastLoadTime",
            "operational.contentUpdated",
            "operational.tableConnectionInfo.tableName",
            "schema.schemaName",
            "-schema.effectiveDate,schema.overrideSchemaAnomalies",
            "secureQri,-qri",
            "appTypeOverride",
        ],
    }
}

const WRONG_SORTS: [&str; 7] = [
    "nope",
    "tags",
    "properties.team",
    "name,",
    "-",
    "schema",
    "name.x",
];

const PROJECTIONS: [&str; 9] = [
    "id",
    "name",
    "technicalName",
    "tags",
    "version",
    "properties",
    "properties.team",
    "properties.list.three",
    "lastModifiedTime",
];

fn projections(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Store => &["type", "uri"],
        EntityKind::Asset => &["dataStoreInfo", "dataStoreInfo.name", "appType"],
        EntityKind::Set => &[
            "dataAssetInfo.dataStoreInfo.type",
            "schema",
            "schema.dataFields.name",
            "schema.dataFields.dataType.type",
            "additionalSchemas.effectiveDate",
            "operational.tableConnectionInfo.additionalProperties.team",
            "secureQri",
        ],
    }
}

pub(super) fn selection(kind: EntityKind, all: bool) -> BoxedStrategy<Selection> {
    let some = |most: usize| vec(parent(), 0..most);
    let stores = some(4).prop_map(Selection::InStores);
    let whole = Just(Selection::All);
    let whole_weight = if all { 4 } else { 1 };
    match kind {
        EntityKind::Store => whole.boxed(),
        EntityKind::Asset => prop_oneof![whole_weight => whole, 5 => stores].boxed(),
        EntityKind::Set => prop_oneof![
            whole_weight => whole,
            3 => stores,
            5 => some(4).prop_map(Selection::InAssets),
            3 => (some(3), some(3)).prop_map(|(stores, assets)| Selection::Within(stores, assets)),
        ]
        .boxed(),
    }
}

fn filter() -> impl Strategy<Value = FilterSpec> {
    let some = (
        weighted(0.3, inputs::name()),
        weighted(0.2, inputs::type_name()),
        weighted(0.2, inputs::tag()),
        weighted(0.2, inputs::owner()),
        weighted(0.2, inputs::space()),
        weighted(0.2, -5_000..200_000_i64),
    )
        .prop_map(|(name_prefix, type_name, tag, owner, space, since)| FilterSpec {
            name_prefix,
            type_name,
            tag,
            owner,
            space,
            since,
        });
    prop_oneof![3 => Just(FilterSpec::default()), 2 => some]
}

/// A list, with pages of at least one.
pub(super) fn query() -> impl Strategy<Value = QuerySpec> {
    kind().prop_flat_map(|kind| {
        let sort = prop_oneof![
            14 => select(&SORTS[..]),
            12 => select(sorts(kind)),
            1 => select(&WRONG_SORTS[..]),
        ];
        let limit = prop_oneof![6 => 1..6_usize, 1 => Just(20), 1 => Just(1_000)];
        let page = prop_oneof![4 => Just(0_u64), 2 => 1..4_u64];
        (
            selection(kind, true),
            filter(),
            sort,
            limit,
            page,
            any::<bool>(),
            proptest::bool::weighted(0.8),
        )
            .prop_map(
                move |(selection, filter, sort, limit, page, schemas, total)| QuerySpec {
                    kind,
                    selection,
                    filter,
                    sort: sort.to_owned(),
                    limit,
                    page,
                    schemas,
                    total,
                },
            )
    })
}

fn first_page() -> impl Strategy<Value = QuerySpec> {
    query().prop_map(|query| QuerySpec { page: 0, ..query })
}

/// Pages of none, and pages far behind the end.
fn odd_query() -> impl Strategy<Value = QuerySpec> {
    (query(), any::<bool>()).prop_map(|(query, empty)| {
        if empty {
            QuerySpec { limit: 0, ..query }
        } else {
            QuerySpec {
                filter: FilterSpec::default(),
                page: 100_000,
                ..query
            }
        }
    })
}

fn form(kind: EntityKind) -> impl Strategy<Value = Form> {
    let field = prop_oneof![
        6 => select(&PROJECTIONS[..]),
        6 => select(projections(kind)),
        1 => select(&["nope", "name.x", ""][..]),
    ];
    prop_oneof![
        3 => Just(Form::Entities),
        3 => Just(Form::Json),
        2 => Just(Form::Names),
        1 => Just(Form::Projected(vec!["name".to_owned()])),
        3 => vec(field.prop_map(str::to_owned), 0..4).prop_map(Form::Projected),
    ]
}

/// A read.
pub fn read_op() -> impl Strategy<Value = ReadOp> {
    let misuse = select(
        &[
            Misuse::OtherSort,
            Misuse::OtherFilter,
            Misuse::OtherSelection,
            Misuse::OtherTenant,
            Misuse::OtherKind,
            Misuse::Altered,
        ][..],
    );
    let listed = prop_oneof![10 => query(), 1 => odd_query()]
        .prop_flat_map(|query| (Just(query.clone()), form(query.kind)));
    let selected = || kind().prop_flat_map(|kind| (Just(kind), selection(kind, true)));
    prop_oneof![
        3 => (kind(), reference()).prop_map(|(kind, id)| ReadOp::Get(kind, id)),
        1 => (kind(), reference()).prop_map(|(kind, id)| ReadOp::GetHead(kind, id)),
        2 => (kind(), vec(reference(), 0..5)).prop_map(|(kind, ids)| ReadOp::GetMany(kind, ids)),
        1 => (kind(), reference()).prop_map(|(kind, id)| ReadOp::Exists(kind, id)),
        2 => selected().prop_map(|(kind, selection)| ReadOp::Count(kind, selection)),
        8 => listed.prop_map(|(query, form)| ReadOp::List(query, form)),
        6 => first_page().prop_map(ReadOp::Walk),
        2 => (first_page(), misuse).prop_map(|(query, misuse)| ReadOp::MisuseCursor(query, misuse)),
        2 => (selected(), inputs::name())
            .prop_map(|((kind, selection), name)| ReadOp::FindByName(kind, selection, name)),
        2 => (selected(), inputs::name())
            .prop_map(|((kind, selection), name)| ReadOp::FindByTechnicalName(kind, selection, name)),
        1 => inputs::secure_qri().prop_map(ReadOp::FindBySecureQri),
        1 => (kind(), vec(target(), 0..4)).prop_map(|(kind, targets)| ReadOp::WouldDelete(kind, targets)),
        1 => selected().prop_map(|(kind, selection)| ReadOp::WouldDeleteSelected(kind, selection)),
        3 => super::undrop::read_op(),
    ]
}
