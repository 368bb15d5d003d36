//! The change feed: pages of it, and following it as Server-Sent Events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use shelfmark::{Change, Position, Session};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{empty, json};
use crate::admission::Caller;
use crate::app::App;
use crate::error::Failure;
use crate::followers::Place;
use crate::request;

/// The most changes of a page, and how many where the request does not say.
const MAX_LIMIT: usize = 1000;
const DEFAULT_LIMIT: usize = 100;
/// How often a follower looks for changes that no request of this router made.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// After how long without a change a comment keeps the connection from being taken for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long one follows at a time. Whoever comes back shows a token again.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq)]
enum After {
    Beginning,
    Newest,
    Position(Position),
}

#[derive(Debug)]
struct Parameters {
    after: After,
    limit: usize,
}

impl Parameters {
    fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let (mut after, mut limit) = (None, None);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let again = match &*name {
                "after" => after.replace(position(&value)?).is_some(),
                "limit" => {
                    let number = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    let number = number.ok_or_else(|| {
                        Failure::invalid(format!(
                            "the parameter limit must be an integer from 1 to {MAX_LIMIT}"
                        ))
                    })?;
                    limit.replace(number).is_some()
                }
                other => return Err(request::unknown(other, &["after", "limit"])),
            };
            if again {
                return Err(Failure::invalid(format!("the parameter {name} is given twice")));
            }
        }
        Ok(Self {
            after: after.unwrap_or(After::Beginning),
            limit: limit.unwrap_or(DEFAULT_LIMIT),
        })
    }
}

fn position(text: &str) -> Result<After, Failure> {
    Ok(match text {
        "" => After::Beginning,
        "newest" => After::Newest,
        text => After::Position(text.parse()?),
    })
}

/// One page of the feed.
#[derive(Serialize)]
struct Answer {
    data: Vec<Change>,
    position: Position,
    more: bool,
}

fn page(session: &Session, after: After, limit: usize) -> Result<Answer, Failure> {
    let after = match after {
        After::Beginning => None,
        After::Position(position) => Some(position),
        After::Newest => {
            return Ok(Answer {
                data: Vec::new(),
                position: session.newest_change()?,
                more: false,
            });
        }
    };
    let changes = session.changes(after, limit)?;
    Ok(Answer {
        data: changes.items,
        position: changes.position,
        more: changes.more,
    })
}

/// `GET /changes`
pub(crate) async fn changes(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Parameters { mut after, limit } = Parameters::parse(query.as_deref())?;
    let session = app.session(&caller)?;
    let follows = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.to_ascii_lowercase().contains("text/event-stream"));
    if !follows {
        return app
            .gate
            .run(move || json(StatusCode::OK, &page(&session, after, limit)?))
            .await;
    }
    // Whoever lost the connection comes back with what it saw last.
    if let Some(last) = headers.get("last-event-id") {
        after = position(last.to_str().unwrap_or("-"))?;
    }
    let place = app.followers.enter(&caller.0)?;
    let looking = session.clone();
    // The first page is read before the answer begins: what is wrong with the position shows in the status.
    let first = app.gate.run(move || page(&looking, after, limit)).await?;
    Ok(follow(Follower {
        written: app.written.subscribe(),
        stopping: app.stopping.subscribe(),
        until: Instant::now() + LIFETIME,
        pending: Some(first),
        position: None,
        done: false,
        _place: place,
        app,
        session,
        limit,
    }))
}

/// One who follows the feed.
struct Follower {
    app: App,
    session: Session,
    limit: usize,
    /// A page that was read and not sent yet.
    pending: Option<Answer>,
    position: Option<Position>,
    written: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    until: Instant,
    done: bool,
    _place: Place,
}

fn follow(follower: Follower) -> Response {
    // What is logged while events go has the trace id too.
    let span = tracing::Span::current();
    let events = stream::unfold(follower, move |follower| {
        let step = async {
            follower
                .next()
                .await
                .map(|(events, follower)| (Ok::<_, Infallible>(events), follower))
        };
        step.instrument(span.clone())
    });
    let mut response = empty(StatusCode::OK);
    *response.body_mut() = Body::from_stream(events);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Follower {
    /// The next events, or a comment; `None` at the end.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if let Some(page) = self.pending.take() {
            return Some(self.send(page));
        }
        let began = Instant::now();
        loop {
            if self.done || *self.stopping.borrow_and_update() || Instant::now() >= self.until {
                return None;
            }
            // Before the reading: what is written after it ends the wait behind it.
            self.written.borrow_and_update();
            let (session, limit) = (self.session.clone(), self.limit);
            let after = self.position.map_or(After::Beginning, After::Position);
            match self.app.gate.run(move || page(&session, after, limit)).await {
                Ok(page) if page.data.is_empty() => {}
                Ok(page) => return Some(self.send(page)),
                Err(failure) => {
                    self.done = true;
                    return Some((told(&failure), self));
                }
            }
            if began.elapsed() >= KEEP_ALIVE {
                return Some((Bytes::from_static(b": still here\n\n"), self));
            }
            tokio::select! {
                _ = self.written.changed() => {}
                _ = self.stopping.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    fn send(mut self, page: Answer) -> (Bytes, Self) {
        // Tells where the feed ends even where nothing happened yet.
        let mut events = if self.position.is_none() && page.data.is_empty() {
            format!("id: {}\n: nothing yet\n\n", page.position)
        } else {
            String::new()
        };
        self.position = Some(page.position);
        for change in &page.data {
            // JSON has no line ends of its own, so each event has one line of data.
            match serde_json::to_string(change) {
                Ok(data) => {
                    let name = change.event.name();
                    events.push_str(&format!(
                        "id: {}\nevent: {name}\ndata: {data}\n\n",
                        change.position
                    ));
                }
                Err(error) => tracing::error!(%error, "a change cannot be encoded"),
            }
        }
        (events.into(), self)
    }
}

/// The last event of one who cannot follow on.
fn told(failure: &Failure) -> Bytes {
    let data = serde_json::json!({ "errors": failure.entries });
    format!("event: error\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_strictly() {
        let parsed = Parameters::parse(None).unwrap();
        assert_eq!((parsed.after, parsed.limit), (After::Beginning, DEFAULT_LIMIT));
        let parsed = Parameters::parse(Some("after=newest&limit=1000")).unwrap();
        assert_eq!((parsed.after, parsed.limit), (After::Newest, 1000));
        for query in ["limit=0", "limit=1001", "after=x", "after=&after=", "page=0"] {
            assert_eq!(Parameters::parse(Some(query)).unwrap_err().status, 400, "{query}");
        }
    }
}
