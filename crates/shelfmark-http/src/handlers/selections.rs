//! Path selectors: what they select, and deleting all of it.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use shelfmark::{AssetSelection, DataAsset, DataSet, DataStore, Entity, Session, SetSelection, Write};

use super::{empty, entities};
use crate::admission::Caller;
use crate::app::App;
use crate::error::Failure;
use crate::precondition::Precondition;
use crate::request::{self, NONE, Parameters, Selector};

/// The assets in these stores.
pub(crate) fn of_assets(app: &App, stores: &str) -> Result<AssetSelection, Failure> {
    Ok(match request::selector::<DataStore>(app, stores)? {
        Selector::All => AssetSelection::All,
        Selector::Ids(stores) => AssetSelection::InStores(stores),
    })
}

/// The sets in these assets of these stores.
pub(crate) fn of_sets(app: &App, stores: &str, assets: &str) -> Result<SetSelection, Failure> {
    let stores = request::selector::<DataStore>(app, stores)?;
    let assets = request::selector::<DataAsset>(app, assets)?;
    Ok(match (stores, assets) {
        (Selector::All, Selector::All) => SetSelection::All,
        (Selector::Ids(stores), Selector::All) => SetSelection::InStores(stores),
        (Selector::All, Selector::Ids(assets)) => SetSelection::InAssets(assets),
        (Selector::Ids(stores), Selector::Ids(assets)) => SetSelection::Within { stores, assets },
    })
}

/// `DELETE /data-stores/{ids}/data-assets`
pub(crate) async fn delete_assets(
    State(app): State<App>,
    caller: Caller,
    Path(stores): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    Parameters::parse(query.as_deref(), NONE)?;
    let precondition = Precondition::parse(&headers)?;
    let selection = of_assets(&app, &stores)?;
    let session = app.session(&caller)?;
    app.gate
        .run(move || {
            match &selection {
                AssetSelection::InStores(stores) if request::distinct(stores) == 1 => {
                    delete_under::<DataStore, DataAsset>(&session, &precondition, stores[0], &selection)
                }
                _ => {
                    precondition.refuse()?;
                    Ok(session.delete_selected::<DataAsset>(selection).map(drop)?)
                }
            }?;
            Ok(empty(StatusCode::NO_CONTENT))
        })
        .await
}

/// `DELETE /data-stores/{ids}/data-assets/{ids}/data-sets`
pub(crate) async fn delete_sets(
    State(app): State<App>,
    caller: Caller,
    Path((stores, assets)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    Parameters::parse(query.as_deref(), NONE)?;
    let precondition = Precondition::parse(&headers)?;
    let selection = of_sets(&app, &stores, &assets)?;
    let session = app.session(&caller)?;
    app.gate
        .run(move || {
            match &selection {
                SetSelection::Within { stores, assets }
                    if request::distinct(stores) == 1 && request::distinct(assets) == 1 =>
                {
                    delete_under::<DataAsset, DataSet>(&session, &precondition, assets[0], &selection)
                }
                _ => {
                    precondition.refuse()?;
                    Ok(session.delete_selected::<DataSet>(selection).map(drop)?)
                }
            }?;
            Ok(empty(StatusCode::NO_CONTENT))
        })
        .await
}

/// Deletes what is selected under one parent, provided that `If-Match` names the parent's version.
fn delete_under<P: Entity, E: Entity>(
    session: &Session,
    precondition: &Precondition,
    parent: P::Id,
    selection: &E::Selection,
) -> Result<(), Failure> {
    if *precondition == Precondition::Absent {
        return Ok(session.delete_selected::<E>(selection.clone()).map(drop)?);
    }
    precondition.write(
        None,
        || entities::version::<P>(session, parent),
        |expectation| {
            session.transact(|transaction| {
                // Changes nothing, and so only checks what is expected.
                transaction.update(parent, expectation, |_| {})?;
                transaction.delete_selected::<E>(selection.clone()).map(drop)
            })
        },
    )
}
