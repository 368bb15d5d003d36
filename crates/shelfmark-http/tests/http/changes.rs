//! The change feed: pages, and events.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use shelfmark::{ChangeRetention, Options};
use shelfmark_http::Config;

use crate::support::{ANN, READER, STRANGER, Server, authentication};

fn with_feed() -> Server {
    let config = Config::new(authentication()).without_rate_limits();
    Server::over(&Options::new().change_feed(true), config)
}

#[test]
fn pages_tell_what_happened_and_where_to_go_on() {
    let server = with_feed();
    let newest = server.get("/changes?after=newest").json();
    assert_eq!((&newest["data"], &newest["more"]), (&json!([]), &json!(false)));
    let set = server.new_set();
    let (asset, store) = (
        &set["dataAssetInfo"]["id"],
        &set["dataAssetInfo"]["dataStoreInfo"]["id"],
    );
    let path = format!("/data-stores/{}", store.as_str().unwrap());
    let rename = json!([{ "op": "add", "path": "/name", "value": "Renamed" }]);
    server.api("PATCH", &path).json(&rename).send();
    server.api("DELETE", &format!("{path}/data-assets")).send();

    let mut position = newest["position"].as_str().unwrap().to_owned();
    let mut seen = Vec::new();
    loop {
        let page = server.get(&format!("/changes?after={position}&limit=2")).json();
        position = page["position"].as_str().unwrap().to_owned();
        seen.extend(page["data"].as_array().unwrap().clone());
        if page["more"] == false {
            break;
        }
    }
    let told: Vec<(u64, &str, &Value)> = seen
        .iter()
        .map(|change| {
            let sequence = change["sequence"].as_u64().unwrap();
            (sequence, change["event"].as_str().unwrap(), &change["id"])
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, "created", store),
            (2, "created", asset),
            (3, "created", &set["id"]),
            (4, "updated", store),
            (5, "deleted", asset),
            (6, "deleted", asset),
        ]
    );
    assert_eq!(
        (&seen[3]["fields"], &seen[3]["kind"]),
        (&json!(["name"]), &json!("store"))
    );
    assert_eq!(seen[5]["descendants"][0]["id"], set["id"]);
    assert_eq!(server.get("/changes").json()["data"].as_array().unwrap().len(), 6);
    // Another tenant has a feed of its own.
    let other = server.api("GET", "/changes").token(STRANGER).send();
    assert_eq!(other.json()["data"], json!([]));
    for query in ["after=nonsense", "limit=0", "limit=1001", "page=0"] {
        server.get(&format!("/changes?{query}")).fails(400, "INVALID");
    }
}

#[test]
fn a_position_that_is_no_longer_good_is_gone() {
    let elsewhere = with_feed();
    elsewhere.new_store();
    let foreign = elsewhere.get("/changes").json()["position"]
        .as_str()
        .unwrap()
        .to_owned();
    let options = Options::new()
        .change_feed(true)
        .change_retention(ChangeRetention::new().count(1));
    let server = Server::over(&options, Config::new(authentication()).without_rate_limits());
    server.new_store();
    server
        .get(&format!("/changes?after={foreign}"))
        .fails(410, "CHANGES_REWOUND");
    let first = server.get("/changes?limit=1").json()["position"]
        .as_str()
        .unwrap()
        .to_owned();
    for _ in 0..5 {
        server.new_store();
    }
    server.catalog.sweep().unwrap();
    server
        .get(&format!("/changes?after={first}"))
        .fails(410, "CHANGES_TRIMMED");
    // Without a feed there is nothing to follow.
    Server::start().get("/changes").fails(501, "UNSUPPORTED");
}

/// Events as they come: id, name, data.
struct Events(BufReader<TcpStream>);

impl Events {
    fn follow(server: &Server, more: &str) -> Self {
        Self::follow_as(server, ANN, more)
    }

    fn follow_as(server: &Server, token: &str, more: &str) -> Self {
        let mut stream = server.connect();
        let request = format!(
            "GET /api/v1/changes HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n{more}\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut events = Self(BufReader::new(stream));
        let mut head = String::new();
        while events.0.read_line(&mut head).expect("a line") > 2 {}
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        events
    }

    /// `None` at the end of the stream.
    fn next(&mut self) -> Option<(String, String, Value)> {
        let (mut id, mut name) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("a line") == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", text)) => text.clone_into(&mut id),
                Some(("event", text)) => text.clone_into(&mut name),
                Some(("data", text)) => return Some((id, name, serde_json::from_str(text).expect("JSON"))),
                _ if line == "0\r\n" => return None,
                _ => {}
            }
        }
    }
}

#[test]
fn events_come_as_they_happen_and_can_be_taken_up_again() {
    let config = Config::new(authentication())
        .without_rate_limits()
        .shutdown_deadline(Duration::from_secs(3600));
    let mut server = Server::over(&Options::new().change_feed(true), config);
    let first = server.new_store();
    let mut events = Events::follow(&server, "");
    let (id, name, data) = events.next().unwrap();
    assert_eq!((name.as_str(), &data["id"]), ("created", &first["id"]));
    let second = server.new_store();
    assert_eq!(events.next().unwrap().2["id"], second["id"]);
    drop(events);
    let third = server.new_store();
    let mut again = Events::follow(&server, &format!("last-event-id: {id}\r\n"));
    assert_eq!(again.next().unwrap().2["id"], second["id"]);
    assert_eq!(again.next().unwrap().2["id"], third["id"]);
    // A write that no request made is seen as well.
    let session = server.catalog.session("acme", "ann").unwrap();
    let other =
        shelfmark::Write::create(&session, shelfmark::NewDataStore::new("other", "postgres")).unwrap();
    assert_eq!(again.next().unwrap().2["id"], other.id.to_string());
    // Whoever follows does not hold up the end.
    server.stop();
    assert_eq!(again.next(), None);
    server.join();
}

#[test]
fn followers_are_bounded() {
    let config = Config::new(authentication())
        .without_rate_limits()
        .max_followers(1);
    let server = Server::over(&Options::new().change_feed(true), config);
    let events = Events::follow(&server, "");
    let second = server
        .api("GET", "/changes")
        .header("accept", "text/event-stream")
        .send();
    second.fails(503, "OVERLOADED");
    drop(events);
    assert_eq!(server.get("/changes").status, 200);
}

#[test]
fn who_follows_too_often_leaves_room_for_others() {
    let config = Config::new(authentication())
        .without_rate_limits()
        .max_followers(5);
    let server = Server::over(&Options::new().change_feed(true), config);
    let _two = [Events::follow(&server, ""), Events::follow(&server, "")];
    let third = server
        .api("GET", "/changes")
        .header("accept", "text/event-stream")
        .send();
    third.fails(503, "OVERLOADED");
    let _others = [READER, STRANGER].map(|token| Events::follow_as(&server, token, ""));
}
