//! Lists.

use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use shelfmark::{AllStores, DataAsset, DataSet, DataStore, Entity, Query, Read, Session};

use super::{json, selections};
use crate::admission::Caller;
use crate::app::App;
use crate::error::Failure;
use crate::paging;
use crate::request::{LIST, Parameters};

/// `GET /data-stores`
pub(crate) async fn stores(
    State(app): State<App>,
    Caller(caller): Caller,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let parameters = Parameters::parse(query.as_deref(), LIST)?;
    list::<DataStore>(&app, app.session(&caller)?, AllStores, parameters, uri, &headers).await
}

/// `GET /data-stores/{ids}/data-assets`
pub(crate) async fn assets(
    State(app): State<App>,
    Caller(caller): Caller,
    OriginalUri(uri): OriginalUri,
    Path(stores): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let parameters = Parameters::parse(query.as_deref(), LIST)?;
    let selection = selections::of_assets(&app, &stores)?;
    list::<DataAsset>(&app, app.session(&caller)?, selection, parameters, uri, &headers).await
}

/// `GET /data-stores/{ids}/data-assets/{ids}/data-sets`
pub(crate) async fn sets(
    State(app): State<App>,
    Caller(caller): Caller,
    OriginalUri(uri): OriginalUri,
    Path((stores, assets)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let parameters = Parameters::parse(query.as_deref(), LIST)?;
    let selection = selections::of_sets(&app, &stores, &assets)?;
    list::<DataSet>(&app, app.session(&caller)?, selection, parameters, uri, &headers).await
}

async fn list<E: Entity>(
    app: &App,
    session: Session,
    selection: E::Selection,
    parameters: Parameters,
    uri: Uri,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let base = paging::base(app, &uri, headers);
    app.gate
        .run(move || {
            let projection = parameters.projection();
            let mut query = Query::<E>::of(selection).with_schemas();
            if let Some(sort) = parameters.sort {
                query = query.sort(sort);
            }
            if let Some(limit) = parameters.limit {
                query = query.limit(limit);
            }
            if let Some(page) = parameters.page {
                query = query.page(page);
            }
            if let Some(cursor) = parameters.cursor {
                query = query.cursor(cursor);
            }
            match projection {
                Some(projection) => {
                    let page = session.list_projected(&query, &projection)?;
                    json(StatusCode::OK, &paging::answer(page, &base, &uri))
                }
                None => {
                    let page = session.list(&query)?;
                    json(StatusCode::OK, &paging::answer(page, &base, &uri))
                }
            }
        })
        .await
}
