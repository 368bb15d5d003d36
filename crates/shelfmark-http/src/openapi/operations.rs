//! The operations of the API, with every status each can give.

use utoipa::openapi::HttpMethod;

/// What an operation takes for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    None,
    /// A schema by name.
    Json(&'static str),
    /// A schema by name, or such JSON texts, one a line.
    JsonOrLines(&'static str),
    Patch,
}

/// What it answers with when it succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Created(&'static str),
    One(&'static str),
    /// 200 with the entity, or 204.
    Changed(&'static str),
    Page(&'static str),
    /// One page, or a stream of events.
    Changes(&'static str),
    /// What each operation came to.
    Results(&'static str),
    Nothing,
}

/// Which query parameters it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameters {
    None,
    Projections,
    List,
    Changes,
}

/// One operation.
pub(super) struct Operation {
    pub(super) id: &'static str,
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) parameters: Parameters,
    /// Statuses beside those of success and those that every operation can give.
    pub(super) also: &'static [u16],
}

impl Operation {
    /// Whether it takes `If-Match`.
    pub(super) fn takes_if_match(&self) -> bool {
        self.also.contains(&412)
    }

    /// Whether it takes `Idempotency-Key`.
    pub(super) fn takes_key(&self) -> bool {
        matches!(self.output, Output::Created(_) | Output::Results(_))
    }

    /// Every status it can give, in order.
    pub(super) fn statuses(&self) -> Vec<u16> {
        let mut statuses = vec![400, 401, 403, 429, 500, 503];
        statuses.extend_from_slice(self.also);
        statuses.extend_from_slice(match self.output {
            Output::Created(_) => &[201],
            Output::One(_) | Output::Page(_) | Output::Changes(_) | Output::Results(_) => &[200],
            Output::Changed(_) => &[200, 204],
            Output::Nothing => &[204],
        });
        if self.input != Input::None {
            statuses.extend_from_slice(&[408, 413, 415]);
        }
        if matches!(self.input, Input::JsonOrLines(_)) {
            statuses.push(200);
        }
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }
}

/// What differs between the three kinds of entity.
struct Kind {
    tag: &'static str,
    collection: &'static str,
    one: &'static str,
    entity: &'static str,
    input: Input,
    replacement: &'static str,
    ids: [&'static str; 5],
    summaries: [&'static str; 5],
    /// Of creation, and of deletion.
    also: [&'static [u16]; 2],
}

const KINDS: [Kind; 3] = [
    Kind {
        tag: "Data stores",
        collection: "/api/v1/data-stores",
        one: "/api/v1/data-stores/{id}",
        entity: "DataStore",
        input: Input::Json("NewDataStore"),
        replacement: "DataStoreReplacement",
        ids: [
            "createDataStore",
            "readDataStore",
            "replaceDataStore",
            "patchDataStore",
            "deleteDataStores",
        ],
        summaries: [
            "Save a new data store",
            "Get a data store by id",
            "Replace a data store",
            "Patch a data store",
            "Delete data stores that have no data assets",
        ],
        also: [&[409], &[404, 409, 412]],
    },
    Kind {
        tag: "Data assets",
        collection: "/api/v1/data-assets",
        one: "/api/v1/data-assets/{id}",
        entity: "DataAsset",
        input: Input::JsonOrLines("NewDataAsset"),
        replacement: "DataAssetReplacement",
        ids: [
            "createDataAsset",
            "readDataAsset",
            "replaceDataAsset",
            "patchDataAsset",
            "deleteDataAssets",
        ],
        summaries: [
            "Save a new data asset, or many",
            "Get a data asset by id",
            "Replace a data asset",
            "Patch a data asset",
            "Delete data assets with their data sets",
        ],
        also: [&[404, 409], &[404, 412]],
    },
    Kind {
        tag: "Data sets",
        collection: "/api/v1/data-sets",
        one: "/api/v1/data-sets/{id}",
        entity: "DataSet",
        input: Input::JsonOrLines("NewDataSet"),
        replacement: "DataSetReplacement",
        ids: [
            "createDataSet",
            "readDataSet",
            "replaceDataSet",
            "patchDataSet",
            "deleteDataSets",
        ],
        summaries: [
            "Save a new data set, or many",
            "Get a data set by id",
            "Replace a data set",
            "Patch a data set",
            "Delete data sets",
        ],
        also: [&[404, 409], &[404, 412]],
    },
];

/// All operations of the API.
pub(super) fn operations() -> Vec<Operation> {
    let mut all = vec![Operation {
        id: "listDataStores",
        method: HttpMethod::Get,
        path: "/api/v1/data-stores",
        tag: "Data stores",
        summary: "Get all data stores",
        input: Input::None,
        output: Output::Page("DataStorePage"),
        parameters: Parameters::List,
        also: &[],
    }];
    for kind in &KINDS {
        all.extend(of_kind(kind));
    }
    for (path, tag, ids, page, summaries) in [
        (
            "/api/v1/data-stores/{store_ids}/data-assets",
            "Data assets",
            ["listDataAssets", "deleteDataAssetsOfStores"],
            "DataAssetPage",
            [
                "Get all data assets of data stores",
                "Delete all data assets of data stores with their data sets",
            ],
        ),
        (
            "/api/v1/data-stores/{store_ids}/data-assets/{asset_ids}/data-sets",
            "Data sets",
            ["listDataSets", "deleteDataSetsOfAssets"],
            "DataSetPage",
            [
                "Get all data sets of data assets",
                "Delete all data sets of data assets",
            ],
        ),
    ] {
        all.push(Operation {
            id: ids[0],
            method: HttpMethod::Get,
            path,
            tag,
            summary: summaries[0],
            input: Input::None,
            output: Output::Page(page),
            parameters: Parameters::List,
            also: &[404, 414],
        });
        all.push(Operation {
            id: ids[1],
            method: HttpMethod::Delete,
            path,
            tag,
            summary: summaries[1],
            input: Input::None,
            output: Output::Nothing,
            parameters: Parameters::None,
            also: &[404, 412, 414],
        });
    }
    all.push(Operation {
        id: "listChanges",
        method: HttpMethod::Get,
        path: "/api/v1/changes",
        tag: "Changes",
        summary: "Get what has changed, or follow it",
        input: Input::None,
        output: Output::Changes("ChangePage"),
        parameters: Parameters::Changes,
        also: &[410, 501],
    });
    all.push(Operation {
        id: "runBatch",
        method: HttpMethod::Post,
        path: "/api/v1/batch",
        tag: "Batches",
        summary: "Run operations together: all of them happen, or none",
        input: Input::Json("Batch"),
        output: Output::Results("BatchResults"),
        parameters: Parameters::None,
        also: &[404, 409],
    });
    all
}

fn of_kind(kind: &Kind) -> [Operation; 5] {
    let [create, read, replace, patch, delete] = kind.ids;
    let operation = |id, method, position: usize, path, input, output, also| Operation {
        id,
        method,
        path,
        tag: kind.tag,
        summary: kind.summaries[position],
        input,
        output,
        parameters: if id == read {
            Parameters::Projections
        } else {
            Parameters::None
        },
        also,
    };
    let changes = &[404, 409, 412];
    [
        operation(
            create,
            HttpMethod::Post,
            0,
            kind.collection,
            kind.input,
            Output::Created(kind.entity),
            kind.also[0],
        ),
        operation(
            read,
            HttpMethod::Get,
            1,
            kind.one,
            Input::None,
            Output::One(kind.entity),
            &[304, 404],
        ),
        operation(
            replace,
            HttpMethod::Put,
            2,
            kind.one,
            Input::Json(kind.replacement),
            Output::One(kind.entity),
            changes,
        ),
        operation(
            patch,
            HttpMethod::Patch,
            3,
            kind.one,
            Input::Patch,
            Output::Changed(kind.entity),
            changes,
        ),
        operation(
            delete,
            HttpMethod::Delete,
            4,
            kind.collection,
            Input::Json("Ids"),
            Output::Nothing,
            kind.also[1],
        ),
    ]
}
