//! Every status that the table of `docs/http.md` lists, caused over a socket.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Value, json};
use shelfmark::{ErrorKind, Options};
use shelfmark_http::{Config, RateLimits};
use shelfmark_testkit::Fault;

use crate::description::{Row, table};
use crate::support::{ANN, READER, Request, Response, Server, WRITER, asset, authentication, set, store};

const NOBODY: &str = "0199c2a4-7d3e-7b10-9c55-2f1f4c9a0001";

/// The servers that the causes need.
struct Servers {
    usual: Server,
    /// Little patience with bodies.
    strict: Server,
    /// One read and one write a minute.
    hasty: Server,
}

/// What a row's request works on.
struct Target {
    path: String,
    body: Option<Value>,
}

/// A request of this row that succeeds; with ids that name nothing where `exists` is false.
fn target(server: &Server, row: &Row, exists: bool) -> Target {
    let id = |make: &dyn Fn() -> Value| {
        if exists {
            make()["id"].clone()
        } else {
            Value::from(NOBODY)
        }
    };
    let collection = row.path.split('/').nth(2).unwrap_or_default();
    let of_kind = || match collection {
        "data-stores" | "batch" => id(&|| server.new_store()),
        "data-assets" => id(&|| server.new_asset()),
        _ => id(&|| server.new_set()),
    };
    let new = |parent: &dyn Fn() -> Value| match collection {
        "data-stores" => store(),
        "data-assets" => asset(&parent()),
        _ => set(&parent()),
    };
    let parent = || match collection {
        "data-assets" => id(&|| server.new_store()),
        _ => id(&|| server.new_asset()),
    };
    let path = row.path.strip_prefix("/v1").unwrap_or(&row.path);
    let text = |id: Value| id.as_str().unwrap_or_default().to_owned();
    let (path, body) = match (row.method.as_str(), path) {
        ("GET", "/data-stores" | "/changes") => (path.to_owned(), None),
        ("POST", "/batch") => {
            let operations =
                json!([{ "op": "patch", "kind": "store", "id": of_kind(), "version": 0, "patch": [] }]);
            (path.to_owned(), Some(json!({ "operations": operations })))
        }
        ("POST", _) => (path.to_owned(), Some(new(&parent))),
        ("DELETE", "/data-stores" | "/data-assets" | "/data-sets") => {
            (path.to_owned(), Some(json!({ "ids": [of_kind()] })))
        }
        (_, path) if path.contains("{id}") => {
            let id = of_kind();
            let body = match row.method.as_str() {
                "GET" => None,
                "PATCH" => Some(json!([{ "op": "add", "path": "/name", "value": "New" }])),
                // The parent may be left out: it never changes.
                _ => {
                    let mut body = new(&|| Value::Null);
                    body["version"] = 0.into();
                    for parent in ["dataStoreInfo", "dataAssetInfo"] {
                        body.as_object_mut().expect("an object").remove(parent);
                    }
                    Some(body)
                }
            };
            (path.replace("{id}", &text(id)), body)
        }
        (_, path) => {
            let (store, asset) = if exists {
                let asset = server.new_asset();
                (asset["dataStoreInfo"]["id"].clone(), asset["id"].clone())
            } else {
                (NOBODY.into(), NOBODY.into())
            };
            let path = path
                .replace("{store_ids}", &text(store))
                .replace("{asset_ids}", &text(asset));
            (path, None)
        }
    };
    Target { path, body }
}

fn request<'s>(server: &'s Server, row: &Row, target: &Target) -> Request<'s> {
    let request = server.api(&row.method, &target.path);
    match &target.body {
        Some(body) => request.json(body),
        None => request,
    }
}

fn cause(servers: &Servers, row: &Row, status: u16) -> Response {
    let Servers { usual, strict, hasty } = servers;
    let is_read = row.method == "GET";
    let good = || target(usual, row, true);
    match (status, row.method.as_str()) {
        (200, "POST") if row.id != "runBatch" => {
            let target = good();
            let line = target.body.expect("a body").to_string();
            let response = usual
                .api("POST", &target.path)
                .body("application/x-ndjson", line)
                .send();
            assert_eq!(response.json()["status"], 201, "{response:?}");
            response
        }
        (204, "PATCH") => request(usual, row, &good())
            .header("prefer", "return=minimal")
            .send(),
        (200 | 201 | 204, _) => request(usual, row, &good()).send(),
        (304, _) => request(usual, row, &good()).header("if-none-match", "*").send(),
        (400, _) => request(usual, row, &good()).and("?unknown=1").send(),
        (401, _) => request(usual, row, &good()).without_token().send(),
        (403, _) => {
            let token = if is_read { WRITER } else { READER };
            request(usual, row, &good()).token(token).send()
        }
        (404, _) => request(usual, row, &target(usual, row, false)).send(),
        (408, _) => slow_body(strict, row),
        (409, "POST") if row.id == "runBatch" => {
            let mut target = good();
            target.body.as_mut().expect("a body")["operations"][0]["version"] = 7.into();
            request(usual, row, &target).send()
        }
        (409, "POST") => {
            let target = good();
            let first = request(usual, row, &target).send();
            assert_eq!(first.status, 201);
            request(usual, row, &target).send()
        }
        (409, "PUT") => {
            let mut target = good();
            target.body.as_mut().expect("a body")["version"] = 7.into();
            request(usual, row, &target).send()
        }
        (409, "PATCH") => {
            let mut target = good();
            target.body = Some(json!([{ "op": "test", "path": "/version", "value": 7 }]));
            request(usual, row, &target).send()
        }
        (409, "DELETE") => {
            let store = usual.new_asset()["dataStoreInfo"]["id"].clone();
            usual
                .api("DELETE", "/data-stores")
                .json(&json!({ "ids": [store] }))
                .send()
        }
        (410, _) => {
            // Of another feed.
            let foreign = hasty
                .api("GET", "/changes?after=newest")
                .token(READER)
                .send()
                .json();
            let position = foreign["position"].as_str().expect("a position");
            request(usual, row, &good())
                .and(&format!("?after={position}"))
                .send()
        }
        (501, _) => request(strict, row, &good()).send(),
        (412, _) => request(usual, row, &good()).header("if-match", "\"7\"").send(),
        (413, _) => {
            let target = target(strict, row, false);
            let body = format!("\"{}\"", "x".repeat(70_000));
            strict
                .api(&row.method, &target.path)
                .body("application/json", body)
                .send()
        }
        (414, _) => {
            let ids = vec![NOBODY; 1_700].join(",");
            let path = row.path.replace("{store_ids}", &ids).replace("{asset_ids}", "*");
            let head = format!(
                "{} /api{path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ANN}\r\nconnection: close\r\n\r\n",
                row.method
            );
            Response::of_raw(&usual.raw(head.as_bytes()))
        }
        (415, _) => {
            let target = good();
            let body = target.body.expect("a body").to_string();
            usual
                .api(&row.method, &target.path)
                .body("text/plain", body)
                .send()
        }
        (429, _) => {
            let target = target(hasty, row, false);
            for _ in 0..2 {
                let response = request(hasty, row, &target).send();
                if response.status == 429 {
                    return response;
                }
            }
            panic!("the tier has no end")
        }
        (500 | 503, _) => {
            let kind = if status == 500 {
                ErrorKind::Corrupt
            } else {
                ErrorKind::Unavailable
            };
            let target = good();
            let request = request(usual, row, &target);
            usual.faults.arm(if is_read {
                Fault::snapshot(kind)
            } else {
                Fault::before_commit(kind)
            });
            let response = request.send();
            usual.faults.disarm();
            response
        }
        other => panic!("nothing causes {other:?}"),
    }
}

/// Sends the headers and half of a body.
fn slow_body(server: &Server, row: &Row) -> Response {
    let path = target(server, row, false).path;
    let mut stream = server.connect();
    let head = format!(
        "{} /api/v1{path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ANN}\r\ncontent-type: application/json\r\ncontent-length: 10\r\nconnection: close\r\n\r\n{{\"ids",
        row.method
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    Response::of_raw(&answer)
}

#[test]
fn every_status_of_every_operation() {
    let config = || Config::new(authentication()).without_rate_limits();
    let servers = Servers {
        usual: Server::over(
            &Options::new().unique_technical_names(true).change_feed(true),
            config(),
        ),
        strict: Server::over(
            &Options::new(),
            config()
                .body_limit(65_536)
                .body_deadline(Duration::from_millis(100)),
        ),
        hasty: Server::over(
            &Options::new().change_feed(true),
            config().rate_limits(RateLimits {
                reads_per_minute: NonZeroU32::MIN,
                writes_per_minute: NonZeroU32::MIN,
            }),
        ),
    };
    for row in table() {
        for &status in &row.statuses {
            let response = cause(&servers, &row, status);
            assert_eq!(response.status, status, "{} {response:?}", row.id);
            match status {
                200 | 201 => assert!(!response.text.is_empty()),
                204 | 304 => assert_eq!(
                    (response.text.as_str(), response.header("content-type")),
                    ("", None)
                ),
                _ => {
                    response.codes();
                }
            }
            let needed = match status {
                401 => Some("www-authenticate"),
                429 | 503 => Some("retry-after"),
                201 => Some("location"),
                304 => Some("etag"),
                _ => None,
            };
            if let Some(needed) = needed {
                assert!(response.header(needed).is_some(), "{} {response:?}", row.id);
            }
        }
    }
}
