//! The table of contents: every route of the facade.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post};
use shelfmark::{Catalog, DataAsset, DataSet, DataStore};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_swagger_ui::{Config as SwaggerConfig, SwaggerUi};

use crate::admission::admit;
use crate::app::App;
use crate::config::Config;
use crate::drain::drain;
use crate::handlers::batch::batch;
use crate::handlers::care::{description, livez, metrics, nowhere, readyz};
use crate::handlers::changes::changes;
use crate::handlers::entities::{create, delete, patch, read, replace};
use crate::handlers::lists::{assets, sets, stores};
use crate::handlers::selections::{delete_assets, delete_sets};
use crate::observe::{observe, panicked};

/// Under `/v1` and `/api/v1`.
fn api() -> Router<App> {
    Router::new()
        .route(
            "/data-stores",
            get(stores).post(create::<DataStore>).delete(delete::<DataStore>),
        )
        .route(
            "/data-stores/{id}",
            get(read::<DataStore>)
                .put(replace::<DataStore>)
                .patch(patch::<DataStore>),
        )
        .route(
            "/data-stores/{store_ids}/data-assets",
            get(assets).delete(delete_assets),
        )
        .route(
            "/data-stores/{store_ids}/data-assets/{asset_ids}/data-sets",
            get(sets).delete(delete_sets),
        )
        .route(
            "/data-assets",
            post(create::<DataAsset>).delete(delete::<DataAsset>),
        )
        .route(
            "/data-assets/{id}",
            get(read::<DataAsset>)
                .put(replace::<DataAsset>)
                .patch(patch::<DataAsset>),
        )
        .route("/changes", get(changes))
        .route("/batch", post(batch))
        .route("/data-sets", post(create::<DataSet>).delete(delete::<DataSet>))
        .route(
            "/data-sets/{id}",
            get(read::<DataSet>)
                .put(replace::<DataSet>)
                .patch(patch::<DataSet>),
        )
}

/// Without a token.
fn open() -> Router<App> {
    let docs = SwaggerUi::new("/docs").config(SwaggerConfig::new(["/openapi.json"]));
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(description))
        .merge(docs)
}

/// The facade over `catalog`, to be mounted at the root of any axum service, or given to [`serve`](crate::serve).
///
/// ```
/// # use shelfmark::Catalog;
/// # use shelfmark_http::{Authentication, Config, router};
/// # fn main() -> shelfmark::Result<()> {
/// let service = axum::Router::new()
///     .route("/hello", axum::routing::get(|| async { "hello" }))
///     .merge(router(Catalog::in_memory()?, Config::new(Authentication::new())));
/// # Ok(())
/// # }
/// ```
pub fn router(catalog: Catalog, config: Config) -> Router {
    assemble(App::new(catalog, config))
}

pub(crate) fn assemble(app: App) -> Router {
    let api = api().route_layer(from_fn_with_state(app.clone(), admit));
    Router::new()
        .nest("/v1", api.clone())
        .nest("/api/v1", api)
        .merge(open())
        .fallback(nowhere)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(drain))
        .layer(map_response(private))
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// Answers are for who asked: no cache in between keeps them, and one at the end asks again.
async fn private(mut response: Response) -> Response {
    use axum::http::HeaderValue;
    use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-cache"));
    headers
        .entry(X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    response
}
