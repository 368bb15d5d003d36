//! What operators ask for, and an orderly end.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use crate::support::{ANN, Response, Server, store};

#[test]
fn probes_need_no_token_and_tell_what_is_so() {
    let server = Server::start();
    let probe = |path: &str| server.request("GET", path).without_token().send();
    assert_eq!((probe("/livez").status, probe("/readyz").status), (200, 200));
    server.faults.latch("a test says so");
    assert_eq!(probe("/livez").status, 200);
    let refused = probe("/readyz");
    refused.fails(503, "UNAVAILABLE");
    assert!(refused.header("retry-after").is_some());
    // Reads go on, writes do not.
    assert_eq!(server.get("/data-stores").status, 200);
    let write = server.api("POST", "/data-stores").json(&store()).send();
    write.fails(503, "UNAVAILABLE");
    server.catalog.reopen().unwrap();
    assert_eq!(probe("/readyz").status, 200);
}

#[test]
fn metrics_count_requests_and_commits() {
    let server = Server::start();
    let created = server.new_store();
    server.get(&format!("/data-stores/{}", created["id"].as_str().unwrap()));
    server.get("/nothing/at/all");
    let metrics = server.request("GET", "/metrics").without_token().send();
    let media = metrics.header("content-type").unwrap();
    assert!(media.starts_with("application/openmetrics-text"), "{media}");
    for line in [
        "shelfmark_grouped_writes_total 1",
        "shelfmark_group_commits_total 1",
        "shelfmark_queued_writes 0",
        "shelfmark_waiting_requests 0",
        "shelfmark_http_requests_total{route=\"/api/v1/data-stores\",method=\"POST\",status=\"201\"} 1",
        "shelfmark_http_requests_total{route=\"/api/v1/data-stores/{id}\",method=\"GET\",status=\"200\"} 1",
        "shelfmark_http_requests_total{route=\"unmatched\",method=\"GET\",status=\"404\"} 1",
        "shelfmark_http_request_duration_seconds_count{route=\"/api/v1/data-stores/{id}\",method=\"GET\"} 1",
        "# EOF",
    ] {
        assert!(
            metrics.text.lines().any(|known| known == line),
            "{line}\n{}",
            metrics.text
        );
    }
}

#[test]
fn the_description_can_be_browsed_offline() {
    let server = Server::start();
    let get = |path: &str| server.request("GET", path).without_token().send();
    let moved = get("/docs");
    assert_eq!((moved.status, moved.header("location")), (303, Some("/docs/")));
    let page = get("/docs/");
    assert!(page.text.contains("swagger-ui"), "{}", page.text);
    let start = get("/docs/swagger-initializer.js");
    assert!(start.text.contains("/openapi.json"), "{}", start.text);
    for text in [&page.text, &start.text] {
        assert!(
            !text.contains("https://"),
            "something is loaded from elsewhere: {text}"
        );
    }
    assert_eq!(get("/docs/swagger-ui-bundle.js").status, 200);
    get("/docs/nothing").fails(404, "ROUTE_NOT_FOUND");
}

#[test]
fn what_began_is_finished_at_the_end_and_the_file_is_closed() {
    let mut server = Server::start();
    let held = server.faults.hold_commits();
    let mut stream = server.connect();
    let body = store().to_string();
    let request = format!(
        "POST /api/v1/data-stores HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ANN}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    assert!(held.wait_for(1, Duration::from_secs(30)));
    server.stop();
    // It takes no more connections while it waits.
    let address = server.address;
    while std::net::TcpStream::connect(address).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(held);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(Response::of_raw(&answer).status, 201, "{answer}");
    server.join();
}
