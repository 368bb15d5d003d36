//! What a request carries, read strictly: parameters, ids, bodies, preferences.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;
use shelfmark::{Cursor, Entity, EntityId, Projection, TypedId};

use crate::app::App;
use crate::error::Failure;

/// The most entities on a page.
const MAX_LIMIT: usize = 100;

/// The query parameters of a read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) limit: Option<usize>,
    pub(crate) page: Option<u64>,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) sort: Option<String>,
    /// Not empty.
    pub(crate) projections: Option<Vec<String>>,
}

/// The parameters of a list.
pub(crate) const LIST: &[&str] = &["limit", "page", "cursor", "sort", "projections"];
/// The parameters of a read of one entity.
pub(crate) const ONE: &[&str] = &["projections"];
/// The parameters of anything else.
pub(crate) const NONE: &[&str] = &[];

impl Parameters {
    /// Those of a query string, each of which must be among `known`.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Failure> {
        let mut parameters = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                return Err(unknown(&name, known));
            }
            let is_list = matches!(&*name, "sort" | "projections");
            if !is_list && seen.iter().any(|seen| **seen == *name) {
                return Err(Failure::invalid(format!("the parameter {name} is given twice")));
            }
            match &*name {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    parameters.limit = Some(limit.ok_or_else(|| {
                        Failure::invalid(format!(
                            "the parameter limit must be an integer from 1 to {MAX_LIMIT}"
                        ))
                    })?);
                }
                "page" => {
                    parameters.page =
                        Some(value.parse().map_err(|_| {
                            Failure::invalid("the parameter page must be an integer from 0 on")
                        })?);
                }
                "cursor" => parameters.cursor = Some(value.parse()?),
                // Several are as one with commas between; an empty one is none.
                "sort" if !value.is_empty() => {
                    let sort = parameters.sort.get_or_insert_default();
                    if !sort.is_empty() {
                        sort.push(',');
                    }
                    // A plus sign that was sent unescaped means ascending, and is a blank in a form.
                    let parts: Vec<&str> = value
                        .split(',')
                        .map(|part| part.trim_start_matches(' '))
                        .collect();
                    sort.push_str(&parts.join(","));
                }
                "projections" if !value.is_empty() => {
                    let fields = value.split(',').map(str::to_owned);
                    parameters.projections.get_or_insert_default().extend(fields);
                }
                _ => {}
            }
            seen.push(name.into_owned());
        }
        if parameters.cursor.is_some() && parameters.page.is_some() {
            return Err(Failure::invalid(
                "the parameters cursor and page exclude each other: a cursor knows its page",
            ));
        }
        Ok(parameters)
    }

    pub(crate) fn projection(&self) -> Option<Projection> {
        self.projections
            .as_ref()
            .map(|fields| Projection::of(fields.iter().cloned()))
    }

    /// Whether the answer shows schemas.
    pub(crate) fn wants_schemas(&self) -> bool {
        self.projections.as_ref().is_none_or(|fields| {
            fields
                .iter()
                .any(|field| matches!(field.split('.').next(), Some("schema" | "additionalSchemas")))
        })
    }
}

pub(crate) fn unknown(name: &str, known: &[&str]) -> Failure {
    let name: String = name.chars().take(100).collect();
    let known = if known.is_empty() {
        "it takes none".to_owned()
    } else {
        format!("it takes {}", known.join(", "))
    };
    Failure::invalid(format!("the route does not know the parameter {name:?}: {known}"))
}

/// The id of a path. One that is no UUID names nothing.
pub(crate) fn id<E: Entity>(text: &str) -> Result<E::Id, Failure> {
    text.parse()
        .map(E::Id::from_uuid)
        .map_err(|_| Failure::not_found(E::KIND, text))
}

/// Some ids, or all there are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Selector<I> {
    All,
    Ids(Vec<I>),
}

/// The ids of a path selector: comma-separated ones, or `*`.
pub(crate) fn selector<E: Entity>(app: &App, text: &str) -> Result<Selector<E::Id>, Failure> {
    if text == "*" {
        return Ok(Selector::All);
    }
    ids::<E>(app, text.split(',')).map(Selector::Ids)
}

fn ids<'a, E: Entity>(app: &App, texts: impl Iterator<Item = &'a str>) -> Result<Vec<E::Id>, Failure> {
    let most = app.config.max_ids;
    let texts: Vec<&str> = texts.take(most + 1).collect();
    if texts.len() > most {
        return Err(Failure::invalid(format!(
            "one request names at most {most} ids: split it"
        )));
    }
    texts.into_iter().map(id::<E>).collect()
}

/// The `ids` of a DELETE's body.
pub(crate) fn ids_of_body<E: Entity>(app: &App, text: &[u8]) -> Result<Vec<E::Id>, Failure> {
    let Value::Object(mut body) = shelfmark::parse_json(text)? else {
        return Err(Failure::invalid("(the input): must be a JSON object"));
    };
    let Some(Value::Array(elements)) = body.remove("ids") else {
        return Err(Failure::invalid("/ids: must be a list of ids"));
    };
    let texts: Vec<&str> = elements
        .iter()
        .enumerate()
        .map(|(index, element)| {
            element
                .as_str()
                .ok_or_else(|| Failure::invalid(format!("/ids/{index}: must be a text")))
        })
        .collect::<Result<_, _>>()?;
    ids::<E>(app, texts.into_iter())
}

/// What kind of body a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    /// RFC 6902.
    Patch,
    /// JSON texts, one a line.
    Ndjson,
    Other,
}

/// The media type of the body, whatever its parameters.
pub(crate) fn media(headers: &HeaderMap) -> Media {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|essence| essence.trim().to_ascii_lowercase());
    match essence.as_deref() {
        Some("application/json") => Media::Json,
        Some("application/json-patch+json") => Media::Patch,
        Some("application/x-ndjson") => Media::Ndjson,
        _ => Media::Other,
    }
}

/// The whole of a JSON body.
pub(crate) async fn json(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
    match media(headers) {
        Media::Json => whole(app, headers, body).await,
        _ => Err(Failure::media_type("application/json")),
    }
}

/// The whole of a body, within the limits of size and time.
pub(crate) async fn whole(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
    let limit = app.config.body_limit;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // Refused before it is sent, where the client waits for that.
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(Failure::too_large(limit));
    }
    let deadline = app.config.body_deadline;
    let collected = tokio::time::timeout(deadline, Limited::new(body, limit).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::too_large(limit)),
        Ok(Err(_)) => Err(Failure::invalid("the body ended before it was whole")),
        Err(_) => Err(Failure::body_deadline(deadline)),
    }
}

/// Whether the client asks for no more of an answer than that it worked (RFC 7240).
pub(crate) fn prefers_minimal(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .any(|(name, value)| {
            name.trim().eq_ignore_ascii_case("return") && value.trim().trim_matches('"') == "minimal"
        })
}

/// How many different entities are named.
pub(crate) fn distinct<I: TypedId>(ids: &[I]) -> usize {
    let ids: std::collections::BTreeSet<EntityId> = ids.iter().map(|&id| id.into()).collect();
    ids.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Parameters {
        Parameters::parse(Some(query), LIST).unwrap()
    }

    #[test]
    fn parameters_are_read_as_forms_have_them() {
        assert_eq!(parse(""), Parameters::default());
        assert_eq!(parse("sort=&projections="), Parameters::default());
        let all = parse("limit=100&page=7&sort=+name,-type&projections=id,schema.dataFields&sort=%2Bversion");
        assert_eq!((all.limit, all.page), (Some(100), Some(7)));
        assert_eq!(all.sort.as_deref(), Some("name,-type,+version"));
        assert!(all.wants_schemas());
        assert!(!parse("projections=id,name").wants_schemas());
    }

    #[test]
    fn what_is_unknown_twice_or_out_of_range_is_refused() {
        for query in [
            "limit=0",
            "limit=101",
            "limit=",
            "limit=1.0",
            "page=-1",
            "limit=1&limit=1",
            "Limit=1",
            "q=1",
            "page=1&cursor=AAAA",
            "cursor=%00",
        ] {
            let failure = Parameters::parse(Some(query), LIST).unwrap_err();
            assert_eq!(failure.status, 400, "{query}");
        }
        assert!(Parameters::parse(Some("limit=1"), ONE).is_err());
        assert!(Parameters::parse(Some("projections=id"), NONE).is_err());
    }

    #[test]
    fn minimal_is_asked_for_among_other_preferences() {
        let asks = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", value.parse().unwrap());
            prefers_minimal(&headers)
        };
        assert!(asks("return=minimal"));
        assert!(asks("respond-async, Return=\"minimal\"; foo=bar"));
        assert!(!asks("return=representation"));
        assert!(!asks("minimal"));
    }
}
