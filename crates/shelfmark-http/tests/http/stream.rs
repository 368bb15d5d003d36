//! Streamed creation.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use shelfmark::ErrorKind;
use shelfmark_testkit::Fault;

use crate::support::{ANN, Server, asset, set};

pub const NDJSON: &str = "application/x-ndjson";

pub fn answers(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn every_line_has_its_own_outcome() {
    let server = Server::start();
    let parent = server.new_asset()["id"].clone();
    let nobody = json!("0199c2a4-7d3e-7b10-9c55-2f1f4c9a0001");
    let lines = [
        set(&parent).to_string(),
        String::new(),
        "{".to_owned(),
        set(&nobody).to_string(),
        "  \r".to_owned(),
        json!({ "technicalName": 1 }).to_string(),
        format!("{}\r", set(&parent)),
        // Without a line end.
        set(&parent).to_string(),
    ];
    let response = server
        .api("POST", "/data-sets")
        .body(NDJSON, lines.join("\n"))
        .send();
    assert_eq!(
        (response.status, response.header("content-type")),
        (200, Some(NDJSON))
    );
    let answers = answers(&response.text);
    let statuses: Vec<u64> = answers
        .iter()
        .filter_map(|answer| answer["status"].as_u64())
        .collect();
    assert_eq!(statuses, [201, 400, 404, 400, 201, 201]);
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer["line"], number);
        match answer["status"].as_u64() {
            Some(201) => {
                let read = server.get(&format!("/data-sets/{}", answer["id"].as_str().unwrap()));
                assert_eq!((read.status, &answer["version"]), (200, &json!(0)));
            }
            status => {
                let status = status.unwrap().to_string();
                assert!(answer["errors"][0]["code"].is_string() && answer["errors"][0]["status"] == status);
            }
        }
    }
    assert_eq!(
        server.get("/data-stores/*/data-assets/*/data-sets").json()["total"],
        3
    );
}

#[test]
fn many_lines_share_commits() {
    let server = Server::start();
    let parent = server.new_store()["id"].clone();
    let before = server.catalog.activity();
    let lines: Vec<String> = (0..3000).map(|_| asset(&parent).to_string()).collect();
    let response = server
        .api("POST", "/data-assets")
        .body(NDJSON, lines.join("\n"))
        .send();
    let answers = answers(&response.text);
    assert_eq!(answers.len(), 3000);
    assert!(answers.iter().all(|answer| answer["status"] == 201));
    let total = server.get("/data-stores/*/data-assets?limit=1").json()["total"].clone();
    assert_eq!((total, before.grouped_writes), (json!(3000), 1));
}

/// Chunks of a chunked response, as they come.
struct Chunks(BufReader<TcpStream>);

impl Chunks {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// The next line of the body, chunk sizes and blank lines passed over.
    fn answer(&mut self) -> Value {
        loop {
            let line = self.line();
            if line.starts_with('{') {
                return serde_json::from_str(&line).expect("JSON");
            }
        }
    }
}

/// A client may send a line, read its answer, and only then go on.
#[test]
fn an_answer_comes_after_its_commit_and_before_the_next_line() {
    let server = Server::start();
    let parent = server.new_asset()["id"].clone();
    let mut stream = server.connect();
    let head = format!(
        "POST /api/v1/data-sets HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ANN}\r\ncontent-type: {NDJSON}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut chunks = Chunks(BufReader::new(stream.try_clone().unwrap()));
    for number in 0..3 {
        let line = format!("{}\n", set(&parent));
        // In two pieces: a line ends where it ends.
        let (first, second) = line.split_at(20);
        for piece in [first, second] {
            write!(stream, "{:x}\r\n{piece}\r\n", piece.len()).unwrap();
        }
        let answer = chunks.answer();
        assert_eq!(
            (&answer["line"], &answer["status"]),
            (&json!(number), &json!(201))
        );
        let stored = server
            .get("/data-stores/*/data-assets/*/data-sets?limit=1")
            .json();
        assert_eq!(stored["total"], number + 1);
    }
    // A commit that fails is the outcome of its lines; the stream goes on.
    server.faults.arm(Fault::before_commit(ErrorKind::StorageFull));
    for expected in [503, 201] {
        let line = format!("{}\n", set(&parent));
        write!(stream, "{:x}\r\n{line}\r\n", line.len()).unwrap();
        assert_eq!(chunks.answer()["status"], expected);
    }
}

#[test]
fn a_line_that_is_too_long_is_passed_over() {
    let server = Server::with(|config| config.without_rate_limits().body_limit(10_000));
    let parent = server.new_asset()["id"].clone();
    let lines = [
        set(&parent).to_string(),
        "x".repeat(500_000),
        set(&parent).to_string(),
        "x".repeat(500_000),
    ];
    let response = server
        .api("POST", "/data-sets")
        .body(NDJSON, lines.join("\n"))
        .send();
    let statuses: Vec<Value> = answers(&response.text)
        .iter()
        .map(|answer| answer["status"].clone())
        .collect();
    assert_eq!(statuses, [201, 413, 201, 413]);
}

#[test]
fn stores_are_not_streamed() {
    let server = Server::start();
    let response = server.api("POST", "/data-stores").body(NDJSON, "{}\n").send();
    response.fails(415, "UNSUPPORTED_MEDIA_TYPE");
}

/// A client that is between two lines when the server ends is told so, and not waited for.
#[test]
fn a_stream_that_waits_for_a_line_ends_with_the_server() {
    let mut server = Server::with(|config| {
        let long = Duration::from_secs(3600);
        config
            .without_rate_limits()
            .body_deadline(long)
            .shutdown_deadline(long)
    });
    let parent = server.new_asset()["id"].clone();
    let mut stream = server.connect();
    let line = format!("{}\n", set(&parent));
    write!(
        stream,
        "POST /api/v1/data-sets HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ANN}\r\ncontent-type: {NDJSON}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{line}\r\n",
        line.len()
    )
    .unwrap();
    let mut chunks = Chunks(BufReader::new(stream));
    assert_eq!(chunks.answer()["status"], 201);
    server.stop();
    let last = chunks.answer();
    assert_eq!((&last["line"], &last["status"]), (&json!(1), &json!(503)));
    assert_eq!(last["errors"][0]["code"], "SHUTTING_DOWN");
    drop(chunks);
    server.join();
}
