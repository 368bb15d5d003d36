//! Lists.

use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use shelfmark::{AllStores, DataAsset, DataSet, DataStore, Entity, Query, Read as _};

use super::selections;
use crate::admission::Caller;
use crate::answers::{Answer, Key};
use crate::app::App;
use crate::error::Failure;
use crate::paging::{self, Place};
use crate::request::{LIST, Parameters};

/// `GET /data-stores`
pub(crate) async fn stores(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Response, Failure> {
    list::<DataStore>(&app, &caller, request, || Ok(AllStores)).await
}

/// `GET /data-stores/{ids}/data-assets`
pub(crate) async fn assets(
    State(app): State<App>,
    caller: Caller,
    Path(stores): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    list::<DataAsset>(&app, &caller, request, || selections::of_assets(&app, &stores)).await
}

/// `GET /data-stores/{ids}/data-assets/{ids}/data-sets`
pub(crate) async fn sets(
    State(app): State<App>,
    caller: Caller,
    Path((stores, assets)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Failure> {
    list::<DataSet>(&app, &caller, request, || {
        selections::of_sets(&app, &stores, &assets)
    })
    .await
}

async fn list<E: Entity>(
    app: &App,
    caller: &Caller,
    request: Request,
    selection: impl FnOnce() -> Result<E::Selection, Failure>,
) -> Result<Response, Failure> {
    let (
        Parts {
            extensions,
            uri,
            headers,
            ..
        },
        _,
    ) = request.into_parts();
    let parameters = Parameters::parse(uri.query(), LIST)?;
    let selection = selection()?;
    // As it was sent, whatever router this one is mounted in.
    let original = extensions.get().map_or(&uri, |OriginalUri(uri)| uri).clone();
    let base = paging::base(app, &original, &headers);
    let session = app.session(caller)?;
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
    // A projection makes values of whole entities, however large they are.
    let most_rows = query.most_rows().filter(|_| projection.is_none());
    let (state, text) = app
        .gate
        .read(most_rows, move |text| {
            let state = session.snapshot()?;
            text.push("{\"data\":");
            let place = match &projection {
                Some(projection) => {
                    let page = state.list_projected(&query, projection)?;
                    text.append(&page.items)?;
                    Place::of(&page, &base, &original)
                }
                None => Place::of(&state.list_json(&query, text)?, &base, &original),
            };
            place.end(text)?;
            Ok(state)
        })
        .await?;
    let answer = Answer::new(text.into_bytes(), None);
    Key::of(app, &uri, &headers, &extensions).keep(&state, app, &answer);
    answer.response(&headers)
}
