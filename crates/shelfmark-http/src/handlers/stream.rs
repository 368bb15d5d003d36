//! Streamed creation: one JSON text a line in, one answer a line out, each sent only once its commit is durable.
//!
//! The answer's body pulls: a chunk of lines is read when the client takes the answers of the one before. So memory is bounded by one chunk, whatever the
//! client sends, and a client that sends without reading is slowed down. Nothing waits for a chunk to fill: a client may send a line, read its answer, send
//! the next.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt as _;
use serde::Serialize;
use shelfmark::{Error, NewEntity, Session, Write};
use tracing::Instrument as _;

use super::empty;
use crate::app::App;
use crate::error::{Entry, Failure};
use crate::etag::Resource;

/// The most lines, and about the most bytes, that share a commit.
const CHUNK_LINES: usize = 500;
const CHUNK_BYTES: usize = 1 << 20;

/// The answer to one line.
#[derive(Serialize)]
struct Answer<'a> {
    /// Its number, from 0; blank lines do not count.
    line: u64,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [Entry]>,
}

/// One line of the body, or that it was too long to be kept.
enum Line {
    Text(Bytes),
    TooLong,
}

/// Cuts a body into lines.
struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer has no line end.
    searched: usize,
    limit: usize,
    /// Whether the line being read is too long already, and dropped up to its end.
    skipping: bool,
    ended: bool,
    ready: VecDeque<Line>,
}

impl Lines {
    fn push(&mut self, line: Bytes) {
        let skipped = std::mem::take(&mut self.skipping);
        if skipped || line.len() > self.limit {
            self.ready.push_back(Line::TooLong);
        } else if !line.trim_ascii().is_empty() {
            self.ready.push_back(Line::Text(line));
        }
    }

    /// Takes the whole lines out of the buffer.
    fn cut(&mut self) {
        while let Some(end) = self.buffer[self.searched..]
            .iter()
            .position(|&byte| byte == b'\n')
        {
            let line = self.buffer.split_to(self.searched + end + 1).freeze();
            self.searched = 0;
            self.push(line.slice(..line.len() - 1));
        }
        if self.buffer.len() > self.limit {
            self.skipping = true;
            self.buffer.clear();
        }
        self.searched = self.buffer.len();
    }

    /// Waits for a piece of the body.
    async fn fill(&mut self, app: &App) -> Result<(), Failure> {
        let deadline = app.config.body_deadline;
        let frame = tokio::time::timeout(deadline, self.body.frame())
            .await
            .map_err(|_| Failure::body_deadline(deadline))?;
        match frame {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.buffer.extend_from_slice(&data);
                    self.cut();
                }
                Ok(())
            }
            Some(Err(_)) => Err(Failure::invalid("the body ended before it was whole")),
            None => {
                self.ended = true;
                let last = self.buffer.split().freeze();
                if self.skipping || !last.is_empty() {
                    self.push(last);
                }
                Ok(())
            }
        }
    }

    /// The lines that are there, at least one; empty at the end.
    async fn chunk(&mut self, app: &App) -> Result<Vec<Line>, Failure> {
        while self.ready.is_empty() && !self.ended {
            self.fill(app).await?;
        }
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while chunk.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
            let Some(line) = self.ready.pop_front() else { break };
            if let Line::Text(text) = &line {
                bytes += text.len();
            }
            chunk.push(line);
        }
        Ok(chunk)
    }
}

struct State {
    app: App,
    session: Session,
    lines: Lines,
    /// The number of the next line.
    next: u64,
    done: bool,
}

/// `POST /{collection}` with `application/x-ndjson`
pub(crate) fn create<E: Resource>(app: App, session: Session, body: Body) -> Response {
    let lines = Lines {
        body,
        buffer: BytesMut::new(),
        searched: 0,
        limit: app.config.body_limit,
        skipping: false,
        ended: false,
        ready: VecDeque::new(),
    };
    let state = State {
        app,
        session,
        lines,
        next: 0,
        done: false,
    };
    // What is logged while the answer goes has the trace id too.
    let span = tracing::Span::current();
    let answers = stream::unfold(state, move |state| {
        let step = async {
            step::<E>(state)
                .await
                .map(|(answers, state)| (Ok::<_, Infallible>(answers), state))
        };
        step.instrument(span.clone())
    });
    let mut response = empty(StatusCode::OK);
    *response.body_mut() = Body::from_stream(answers);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// The answers of the next chunk.
async fn step<E: Resource>(mut state: State) -> Option<(Bytes, State)> {
    if state.done {
        return None;
    }
    if state.app.is_stopping() {
        return Some(state.end(&Failure::stopping()));
    }
    let mut stopping = state.app.stopping.subscribe();
    let chunk = tokio::select! {
        biased;
        chunk = state.lines.chunk(&state.app) => chunk,
        // The client may be long in sending the next line; nothing of it was tried.
        _ = stopping.wait_for(|stopping| *stopping) => Err(Failure::stopping()),
    };
    let chunk = match chunk {
        Ok(chunk) if chunk.is_empty() => return None,
        Ok(chunk) => chunk,
        Err(failure) => return Some(state.end(&failure)),
    };
    let (first, lines) = (state.next, chunk.len() as u64);
    let (session, limit) = (state.session.clone(), state.lines.limit);
    let answers = state
        .app
        .gate
        .run(move || Ok(commit::<E>(&session, first, chunk, limit)))
        .await;
    match answers {
        Ok(answers) => {
            state.app.written.send_modify(|written| *written += 1);
            state.next += lines;
            Some((answers, state))
        }
        // Nothing of the chunk was tried.
        Err(failure) => Some(state.end(&failure)),
    }
}

impl State {
    /// The answer to a line that cannot be read, after which no more come.
    fn end(mut self, failure: &Failure) -> (Bytes, Self) {
        self.done = true;
        let mut answers = Vec::new();
        refuse(&mut answers, self.next, failure);
        (answers.into(), self)
    }
}

fn write(answers: &mut Vec<u8>, answer: &Answer<'_>) {
    // Texts and numbers alone cannot fail to become JSON.
    if serde_json::to_writer(&mut *answers, answer).is_ok() {
        answers.push(b'\n');
    }
}

fn refuse(answers: &mut Vec<u8>, line: u64, failure: &Failure) {
    if let Some(private) = &failure.private {
        tracing::error!(line, private, "line failed");
    }
    write(
        answers,
        &Answer {
            line,
            status: failure.status.as_u16(),
            id: None,
            version: None,
            errors: Some(&failure.entries),
        },
    );
}

/// Creates what the lines say, each with an outcome of its own, in one commit, and gives the answers.
fn commit<E: Resource>(session: &Session, first: u64, chunk: Vec<Line>, limit: usize) -> Bytes {
    let inputs: Vec<Result<E::New, Failure>> = chunk
        .into_iter()
        .map(|line| match line {
            Line::Text(text) => E::New::from_json(&text).map_err(Failure::from),
            Line::TooLong => Err(Failure::too_large(limit)),
        })
        .collect();
    // Without a line that could be created there is nothing to commit.
    let committed = if inputs.iter().any(Result::is_ok) {
        session.transact(|transaction| {
            let create = |new: &E::New| transaction.create(new.clone()).map(|entity| entity.id());
            let outcomes: Vec<Option<Result<E::Id, Error>>> = inputs
                .iter()
                .map(|input| input.as_ref().ok().map(create))
                .collect();
            Ok(outcomes)
        })
    } else {
        Ok(inputs.iter().map(|_| None).collect())
    };
    let mut answers = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let line = first + index as u64;
        let outcome = match (&committed, input) {
            (_, Err(failure)) => Err(failure.clone()),
            (Err(error), Ok(_)) => Err(error.clone().into()),
            (Ok(outcomes), Ok(_)) => match outcomes.get(index) {
                Some(Some(Ok(id))) => Ok(*id),
                Some(Some(Err(error))) => Err(error.clone().into()),
                _ => Err(Failure::internal("a line was not tried")),
            },
        };
        match outcome {
            Ok(id) => write(
                &mut answers,
                &Answer {
                    line,
                    status: StatusCode::CREATED.as_u16(),
                    id: Some(id.to_string()),
                    version: Some(0),
                    errors: None,
                },
            ),
            Err(failure) => refuse(&mut answers, line, &failure),
        }
    }
    answers.into()
}
