//! One entity: create, read, replace, patch; and deleting some by id. The same for all three kinds.

use axum::body::Body;
use axum::extract::{OriginalUri, Path, RawQuery, Request, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use shelfmark::{Entity, Error, Expectation, NewEntity, Patch, Read, Session, Write};

use super::{empty, json, stream, tagged};
use crate::admission::Caller;
use crate::answers::{Answer, Key};
use crate::app::App;
use crate::error::Failure;
use crate::etag::{self, Resource};
use crate::idempotency;
use crate::paging;
use crate::precondition::Precondition;
use crate::request::{self, Media, NONE, ONE, Parameters};

/// What a read of one entity reads: its row, that of its schemas, and its ancestors.
const ROWS_OF_ONE: u64 = 4;
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// `POST /{collection}`
pub(crate) async fn create<E: Resource>(
    State(app): State<App>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    Parameters::parse(query.as_deref(), NONE)?;
    let session = app.session(&caller)?;
    match request::media(&headers) {
        Media::Ndjson if E::STREAMS && idempotency::is_given(&headers) => {
            return Err(Failure::invalid(
                "the header Idempotency-Key does not go with application/x-ndjson: each line is a creation of its own",
            ));
        }
        Media::Ndjson if E::STREAMS => return Ok(stream::create::<E>(app, session, body)),
        Media::Json => {}
        _ if E::STREAMS => return Err(Failure::media_type("application/json or application/x-ndjson")),
        _ => return Err(Failure::media_type("application/json")),
    }
    let text = request::whole(&app, &headers, body).await?;
    let base = paging::base(&app, &uri, &headers);
    app.gate
        .run(move || {
            let route = format!("/v1/{}", E::COLLECTION);
            let new = E::New::from_json(&text)?;
            let (entity, replayed) = match idempotency::key(&headers, "POST", &route, &text)? {
                Some(key) => {
                    let once = session.create_once(&key, new)?;
                    (once.value, once.replayed)
                }
                None => (session.create(new)?, false),
            };
            let mut response = tagged(json(StatusCode::CREATED, &entity)?, &etag::of(&entity));
            let location = format!("{base}{}/{}", uri.path(), entity.id());
            if let Ok(location) = HeaderValue::try_from(location) {
                response.headers_mut().insert(LOCATION, location);
            }
            Ok(idempotency::marked(response, replayed))
        })
        .await
}

/// `GET /{collection}/{id}`
pub(crate) async fn read<E: Resource>(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let (
        Parts {
            uri,
            headers,
            extensions,
            ..
        },
        _,
    ) = request.into_parts();
    let parameters = Parameters::parse(uri.query(), ONE)?;
    let session = app.session(&caller)?;
    let id = request::id::<E>(&id)?;
    let projection = parameters.projection();
    // A projection makes values of the whole entity, however large it is.
    let most_rows = projection.is_none().then_some(ROWS_OF_ONE);
    let (found, text) = app
        .gate
        .read(most_rows, move |text| {
            let state = session.snapshot()?;
            let Some(projection) = &projection else {
                let written = state.get_json(id, true, text)?;
                return Ok(written.map(|written| (etag::of_written::<E>(&written), state)));
            };
            let found = if parameters.wants_schemas() {
                state.get(id)?
            } else {
                state.get_head(id)?
            };
            let Some(entity) = found else { return Ok(None) };
            text.append(&projection.apply(&entity)?)?;
            Ok(Some((etag::of(&entity), state)))
        })
        .await?;
    let (tag, state) = found.ok_or_else(|| Failure::not_found(E::KIND, &id.to_string()))?;
    let answer = Answer::new(text.into_bytes(), Some(&tag));
    Key::of(&app, &uri, &headers, &extensions).keep(&state, &app, &answer);
    answer.response(&headers)
}

/// The version that an entity has now.
pub(super) fn version<E: Entity>(session: &Session, id: E::Id) -> Result<u64, Error> {
    match session.get_head(id)? {
        Some(entity) => Ok(entity.version()),
        // Gives `NotFound` as every write does, and changes nothing.
        None => session
            .update(id, Expectation::Any, |_| {})
            .map(|entity| entity.version()),
    }
}

/// `PUT /{collection}/{id}`
pub(crate) async fn replace<E: Resource>(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    Parameters::parse(query.as_deref(), NONE)?;
    let precondition = Precondition::parse(&headers)?;
    let text = request::json(&app, &headers, body).await?;
    let session = app.session(&caller)?;
    let id = request::id::<E>(&id)?;
    app.gate
        .run(move || {
            let (new, version_in_body) = E::New::from_put_json(&text, id)?;
            if version_in_body.is_none() && precondition == Precondition::Absent {
                return Err(Failure::invalid(
                    "/version: is required: the version that a read showed, here or in If-Match",
                ));
            }
            let entity = precondition.write(
                version_in_body,
                || version::<E>(&session, id),
                |expectation| session.replace(id, expectation, new.clone()),
            )?;
            Ok(tagged(json(StatusCode::OK, &entity)?, &etag::of(&entity)))
        })
        .await
}

/// `PATCH /{collection}/{id}`
pub(crate) async fn patch<E: Resource>(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    Parameters::parse(query.as_deref(), NONE)?;
    let precondition = Precondition::parse(&headers)?;
    if !matches!(request::media(&headers), Media::Json | Media::Patch) {
        return Err(Failure::media_type(
            "application/json or application/json-patch+json",
        ));
    }
    let text = request::whole(&app, &headers, body).await?;
    let session = app.session(&caller)?;
    let id = request::id::<E>(&id)?;
    app.gate
        .run(move || {
            let patch = Patch::from_json(&text)?;
            let entity = precondition.write(
                None,
                || version::<E>(&session, id),
                |expectation| session.patch(id, expectation, &patch),
            )?;
            let response = if request::prefers_minimal(&headers) {
                let mut response = empty(StatusCode::NO_CONTENT);
                let applied = HeaderValue::from_static("return=minimal");
                response.headers_mut().insert(PREFERENCE_APPLIED, applied);
                response
            } else {
                json(StatusCode::OK, &entity)?
            };
            Ok(tagged(response, &etag::of(&entity)))
        })
        .await
}

/// `DELETE /{collection}` with `{"ids": […]}`
pub(crate) async fn delete<E: Resource>(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    Parameters::parse(query.as_deref(), NONE)?;
    let precondition = Precondition::parse(&headers)?;
    let text = request::json(&app, &headers, body).await?;
    let session = app.session(&caller)?;
    let inner = app.clone();
    app.gate
        .run(move || {
            let ids = request::ids_of_body::<E>(&inner, &text)?;
            match ids.first() {
                Some(&id) if request::distinct(&ids) == 1 => {
                    precondition.write(
                        None,
                        || version::<E>(&session, id),
                        |expectation| session.delete(id, expectation),
                    )?;
                }
                _ => {
                    precondition.refuse()?;
                    session.delete_all(ids.into_iter().map(|id| (id, Expectation::Any)))?;
                }
            }
            Ok(empty(StatusCode::NO_CONTENT))
        })
        .await
}
