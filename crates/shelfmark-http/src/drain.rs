//! What is left of a body when its request has been refused.
//!
//! A connection whose request was not read to its end cannot serve another one. Small rests are read and thrown away, so that a client that keeps its connection is not
//! cut off after a 401; where more would come, the answer says that the connection ends.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

/// The most bytes that are thrown away, and for how long they are waited for.
const MOST: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(1);

/// A body that can still be reached once a handler has dropped it.
#[derive(Clone)]
struct Shared(Arc<Mutex<Body>>);

impl Shared {
    fn with<T>(&self, look: impl FnOnce(&mut Body) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.with(|body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}

/// The answer of `respond`. Reads on where a refusal left something.
pub(crate) async fn drain(request: Request, respond: impl AsyncFnOnce(Request) -> Response) -> Response {
    if request.body().is_end_stream() {
        return respond(request).await;
    }
    let hopeless = is_large_or_held_back(request.headers());
    let (parts, body) = request.into_parts();
    let shared = Shared(Arc::new(Mutex::new(body)));
    let body = Body::new(shared.clone());
    let mut response = respond(Request::from_parts(parts, body)).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || shared.is_end_stream() {
        return response;
    }
    let hopeless = hopeless || status == StatusCode::REQUEST_TIMEOUT;
    if hopeless || tokio::time::timeout(PATIENCE, read_on(shared)).await != Ok(true) {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the rest is too much, or waits to be asked for.
fn is_large_or_held_back(headers: &HeaderMap) -> bool {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    headers.contains_key(EXPECT) || length.is_some_and(|length| length > MOST as u64)
}

/// Reads to the end; whether it came to that.
async fn read_on(mut body: Shared) -> bool {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MOST {
            return false;
        }
    }
    true
}
