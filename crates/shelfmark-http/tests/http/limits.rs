//! Limits: how much, how often, how many at once, how long.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shelfmark::{NewDataStore, Options, Write as _};
use shelfmark_http::{Config, RateLimits};
use shelfmark_testkit::Faults;

use crate::support::{ANN, READER, Response, Server, authentication, store};

#[test]
fn a_tier_belongs_to_one_subject() {
    let server = Server::with(|config| {
        config.rate_limits(RateLimits {
            reads_per_minute: NonZeroU32::new(2).expect("not zero"),
            writes_per_minute: NonZeroU32::MIN,
        })
    });
    assert_eq!(server.get("/data-stores").status, 200);
    assert_eq!(server.get("/data-stores").status, 200);
    let refused = server.get("/data-stores");
    refused.fails(429, "RATE_LIMITED");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Writes and other subjects have tiers of their own.
    assert_eq!(
        server.api("POST", "/data-stores").json(&store()).send().status,
        201
    );
    server
        .api("POST", "/data-stores")
        .json(&store())
        .send()
        .fails(429, "RATE_LIMITED");
    assert_eq!(server.api("GET", "/data-stores").token(READER).send().status, 200);
    // What is not the API has none.
    assert_eq!(server.request("GET", "/livez").send().status, 200);
}

#[test]
fn a_body_has_a_limit_announced_or_not() {
    let server = Server::with(|config| config.without_rate_limits().body_limit(1000));
    let large = json!({ "technicalName": "x".repeat(2000) }).to_string();
    let announced = server
        .api("POST", "/data-stores")
        .body("application/json", large.clone());
    announced.send().fails(413, "BODY_TOO_LARGE");
    let chunked = format!(
        "POST /v1/data-stores HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ANN}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    let answer = server.raw(chunked.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // Just within it.
    let mut body = store();
    body["properties"] = json!({ "p": "" });
    body["properties"]["p"] = "x".repeat(1000 - body.to_string().len()).into();
    assert_eq!(body.to_string().len(), 1000);
    assert_eq!(server.api("POST", "/data-stores").json(&body).send().status, 201);
}

#[test]
fn an_entity_of_a_mebibyte_fits_however_it_is_escaped() {
    let server = Server::start();
    let mut body = store();
    body["properties"] = json!({ "p": "\u{1}".repeat(150_000) });
    let text = body.to_string();
    assert!(text.len() > 900_000);
    assert_eq!(server.api("POST", "/data-stores").json(&body).send().status, 201);
    body["properties"] = json!({ "p": "x".repeat(1 << 20) });
    server
        .api("POST", "/data-stores")
        .json(&body)
        .send()
        .fails(400, "INVALID");
}

#[test]
fn depth_and_the_number_of_ids_are_bounded() {
    let server = Server::with(|config| config.without_rate_limits().max_ids(3));
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
    let mut body = store();
    body["properties"] = nested(64);
    assert_eq!(server.api("POST", "/data-stores").json(&body).send().status, 201);
    body["properties"] = nested(65);
    server
        .api("POST", "/data-stores")
        .json(&body)
        .send()
        .fails(400, "INVALID");
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    server
        .api("POST", "/data-stores")
        .body("application/json", deep)
        .send()
        .fails(400, "INVALID");

    let ids: Vec<Value> = (0..4).map(|_| server.new_store()["id"].clone()).collect();
    let texts: Vec<&str> = ids.iter().filter_map(Value::as_str).collect();
    assert_eq!(
        server
            .get(&format!("/data-stores/{}/data-assets", texts[..3].join(",")))
            .status,
        200
    );
    server
        .get(&format!("/data-stores/{}/data-assets", texts.join(",")))
        .fails(400, "INVALID");
    let delete = |ids: &[Value]| {
        server
            .api("DELETE", "/data-stores")
            .json(&json!({ "ids": ids }))
            .send()
    };
    delete(&ids).fails(400, "INVALID");
    assert_eq!(delete(&ids[..3]).status, 204);
}

/// The bound of the facade has the envelope; the one of the HTTP library, further out, has not.
#[test]
fn a_path_and_query_have_a_limit() {
    let server = Server::start();
    let of_length = |length: usize| {
        let path = "/api/v1/data-stores?sort=";
        let target = format!("{path}{}", ",".repeat(length - path.len()));
        let head = format!(
            "GET {target} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ANN}\r\nconnection: close\r\n\r\n"
        );
        Response::of_raw(&server.raw(head.as_bytes()))
    };
    of_length(60_000).fails(400, "INVALID");
    of_length(60_001).fails(414, "URI_TOO_LONG");
    of_length(65_534).fails(414, "URI_TOO_LONG");
    let beyond = of_length(65_535);
    assert_eq!((beyond.status, beyond.text.as_str()), (414, ""));
}

/// A write that stays inside the catalog until `held` is dropped, and what others get meanwhile.
fn beside_a_write(server: &Server, others: impl FnOnce()) {
    let held = server.faults.hold_commits();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| server.api("POST", "/data-stores").json(&store()).send());
        assert!(held.wait_for(1, Duration::from_secs(30)));
        others();
        drop(held);
        assert_eq!(running.join().expect("no panic").status, 201);
    });
    assert_eq!(server.get("/data-stores").json()["total"], 1);
}

/// Of a read that may take long.
fn overloaded(server: &Server) {
    let refused = server.get("/data-stores?sort=description");
    refused.fails(503, "OVERLOADED");
    assert_eq!(refused.header("retry-after"), Some("1"));
}

#[test]
fn who_finds_no_place_to_wait_is_refused() {
    let server = Server::with(|config| {
        // Patience without end: only the lack of a place can be the reason.
        let patient = config
            .without_rate_limits()
            .wait_deadline(Duration::from_secs(3600));
        patient.max_running(1).max_waiting(0)
    });
    beside_a_write(&server, || {
        overloaded(&server);
        // What is short, and what needs no catalog, is answered all the same.
        assert_eq!(server.get("/data-stores").status, 200);
        assert_eq!(server.request("GET", "/livez").send().status, 200);
    });
}

#[test]
fn who_waits_too_long_is_refused() {
    let server = Server::with(|config| {
        let hasty = config
            .without_rate_limits()
            .wait_deadline(Duration::from_millis(50));
        hasty.max_running(1).max_waiting(1000)
    });
    beside_a_write(&server, || overloaded(&server));
}

/// Reads that are known to be short do not wait for a place; those that turn out large, and those that may be long, do, and answer the same.
#[test]
fn a_read_goes_the_short_way_only_where_it_is_bounded() {
    let server = Server::with(|config| config.without_rate_limits().max_running(1).max_waiting(0));
    let small = server.new_store();
    let mut body = store();
    body["properties"] = json!({ "p": "x".repeat(100_000) });
    let large = server.create("/data-stores", body);
    let path = |store: &Value| format!("/data-stores/{}", store["id"].as_str().expect("an id"));
    assert_eq!(server.get(&path(&large)).json(), large);
    assert_eq!(server.get("/data-stores").json()["data"], json!([small, large]));
    let short = [path(&small), "/data-stores?limit=1".to_owned()];
    let long = [
        path(&large),
        format!("{}?projections=name", path(&small)),
        "/data-stores".to_owned(),
        "/data-stores?limit=1&sort=type".to_owned(),
        "/data-stores?limit=1&page=1000".to_owned(),
        "/data-stores?limit=1&projections=name".to_owned(),
    ];
    let held = server.faults.hold_commits();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| server.api("POST", "/data-stores").json(&store()).send());
        assert!(held.wait_for(1, Duration::from_secs(30)));
        for path in &short {
            assert_eq!(server.get(path).status, 200, "{path}");
        }
        for path in &long {
            let refused = server.get(path);
            assert_eq!(refused.status, 503, "{path}");
            refused.fails(503, "OVERLOADED");
        }
        drop(held);
        assert_eq!(running.join().expect("no panic").status, 201);
    });
    for path in short.iter().chain(&long) {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
}

/// One connection, several requests: a refusal reads what was sent with it, or says that it ends the connection.
#[test]
fn a_refusal_leaves_the_connection_usable_or_says_so() {
    let server = Server::start();
    let ask = |length: usize| {
        let mut stream = server.connect();
        let head = format!(
            "POST /api/v1/data-stores HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let status = |stream: &mut std::net::TcpStream| {
        let mut answer = Vec::new();
        let mut missing = 1;
        while missing > 0 {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.extend_from_slice(&byte);
            let text = String::from_utf8_lossy(&answer);
            missing = match text.split_once("\r\n\r\n") {
                Some((head, body)) => {
                    let length = head.split("content-length: ").nth(1).unwrap();
                    let length: usize = length.split_whitespace().next().unwrap().parse().unwrap();
                    length - body.len()
                }
                None => 1,
            };
        }
        String::from_utf8(answer).unwrap()
    };
    let mut stream = ask(20_000);
    // The body comes late, in pieces.
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(2));
        stream.write_all(&[b' '; 1000]).unwrap();
    }
    let refused = status(&mut stream);
    assert!(
        refused.starts_with("HTTP/1.1 401") && !refused.contains("connection: close"),
        "{refused}"
    );
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: h\r\n\r\n")
        .unwrap();
    assert!(status(&mut stream).starts_with("HTTP/1.1 200"));
    // Too much to be thrown away.
    let refused = status(&mut ask(1_000_000));
    assert!(
        refused.starts_with("HTTP/1.1 401") && refused.contains("connection: close"),
        "{refused}"
    );
}

#[test]
fn headers_that_do_not_come_end_the_connection() {
    let server = Server::with(|config| config.header_deadline(Duration::from_millis(100)));
    let mut stream = server.connect();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: h\r\n").unwrap();
    let mut answer = Vec::new();
    // Closed, with or without a word: what matters is that the read ends.
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
}

/// Whoever takes nothing of an answer holds no connection, and no place among those who follow.
#[test]
fn answers_that_are_not_taken_end_the_connection() {
    let catalog = Options::new().change_feed(true).in_memory().expect("a catalog");
    let config = Config::new(authentication())
        .without_rate_limits()
        .max_followers(1)
        .write_deadline(Duration::from_millis(200));
    let server = Server::serving(catalog.clone(), Faults::default(), config);
    let session = catalog.session("acme", "ann").expect("a session");
    // A client that follows, and what its answer begins with.
    let follow = || {
        let mut stream = server.connect();
        write!(
            stream,
            "GET /api/v1/changes HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ANN}\r\naccept: text/event-stream\r\n\r\n"
        )
        .expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        (stream, answer)
    };
    let (_stuck, answer) = follow();
    assert_eq!(&answer, b"HTTP/1.1 200");
    // Until the other side of the connection holds all that it can, and its place is free again.
    let began = Instant::now();
    loop {
        session
            .transact(|transaction| {
                for _ in 0..2000 {
                    transaction.create(NewDataStore::new("a", "b"))?;
                }
                Ok(())
            })
            .expect("created");
        let (_, answer) = follow();
        if &answer == b"HTTP/1.1 200" {
            break;
        }
        assert_eq!(&answer, b"HTTP/1.1 503");
        assert!(began.elapsed() < Duration::from_secs(60), "it keeps its place");
        std::thread::sleep(Duration::from_millis(200));
    }
}
