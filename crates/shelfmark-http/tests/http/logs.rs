//! What is logged on the way of a request.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use shelfmark::ErrorKind;
use shelfmark_testkit::Fault;

use crate::stream::{NDJSON, answers};
use crate::support::{Server, set};

/// The log of this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The answer to a line goes when the handler has long returned.
#[test]
fn what_fails_in_a_stream_is_logged_with_the_trace_id() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .init();
    let server = Server::start();
    let parent = server.new_asset()["id"].clone();
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    server.faults.arm(Fault::before_commit(ErrorKind::StorageFull));
    let response = server
        .api("POST", "/data-sets")
        .header("traceparent", &format!("00-{trace_id}-00f067aa0ba902b7-01"))
        .body(NDJSON, set(&parent).to_string())
        .send();
    assert_eq!(answers(&response.text)[0]["status"], 503);
    let text = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let lines: Vec<Value> = String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let failed: Vec<_> = lines
        .iter()
        .filter(|line| line["fields"]["message"] == "line failed" && line["span"]["trace_id"] == trace_id)
        .collect();
    assert_eq!(failed.len(), 1, "{lines:?}");
}
