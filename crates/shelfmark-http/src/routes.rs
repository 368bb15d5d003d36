//! The table of contents: every route of the facade.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use shelfmark::{Catalog, DataAsset, DataSet, DataStore};
use utoipa_swagger_ui::{Config as SwaggerConfig, SwaggerUi};

use crate::app::App;
use crate::config::Config;
use crate::handlers::batch::batch;
use crate::handlers::care::{description, livez, metrics, nowhere, readyz};
use crate::handlers::changes::changes;
use crate::handlers::entities::{create, delete, patch, read, replace};
use crate::handlers::lists::{assets, sets, stores};
use crate::handlers::selections::{delete_assets, delete_sets};
use crate::observe::{admit_and_observe, observe};

/// What the paths of the API begin with: that of the reference's own lines, and a shorter one.
const BASES: [&str; 2] = ["/v1", "/api/v1"];

/// The API below `base`. Not nested: that would make every request a new URI.
fn api(base: &str) -> Router<App> {
    let at = |path: &str| format!("{base}{path}");
    Router::new()
        .route(
            &at("/data-stores"),
            get(stores).post(create::<DataStore>).delete(delete::<DataStore>),
        )
        .route(
            &at("/data-stores/{id}"),
            get(read::<DataStore>)
                .put(replace::<DataStore>)
                .patch(patch::<DataStore>),
        )
        .route(
            &at("/data-stores/{store_ids}/data-assets"),
            get(assets).delete(delete_assets),
        )
        .route(
            &at("/data-stores/{store_ids}/data-assets/{asset_ids}/data-sets"),
            get(sets).delete(delete_sets),
        )
        .route(
            &at("/data-assets"),
            post(create::<DataAsset>).delete(delete::<DataAsset>),
        )
        .route(
            &at("/data-assets/{id}"),
            get(read::<DataAsset>)
                .put(replace::<DataAsset>)
                .patch(patch::<DataAsset>),
        )
        .route(&at("/changes"), get(changes))
        .route(&at("/batch"), post(batch))
        .route(
            &at("/data-sets"),
            post(create::<DataSet>).delete(delete::<DataSet>),
        )
        .route(
            &at("/data-sets/{id}"),
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
    let api = BASES
        .map(api)
        .into_iter()
        .reduce(Router::merge)
        .unwrap_or_default()
        .route_layer(from_fn_with_state(app.clone(), admit_and_observe));
    open()
        .fallback(nowhere)
        .layer(from_fn_with_state(app.clone(), observe))
        .merge(api)
        .with_state(app)
}
