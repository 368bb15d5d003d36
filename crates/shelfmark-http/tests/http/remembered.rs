//! Answers that are remembered beside a state: nobody can tell them from those that are made anew. On the backend that remembers; the other suites run on one that does not.

use std::num::NonZeroU32;

use axum::extract::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use shelfmark::{Catalog, Expectation, Options, SetId, Write as _};
use shelfmark_http::{Config, RateLimits, router};
use shelfmark_testkit::Faults;

use crate::support::{ANN, READER, STRANGER, Server, WRITER, authentication, set};

fn config() -> Config {
    Config::new(authentication()).without_rate_limits()
}

fn serving(catalog: &Catalog, config: Config) -> Server {
    Server::serving(catalog.clone(), Faults::default(), config)
}

fn catalog() -> Catalog {
    Options::new().change_feed(true).in_memory().expect("a catalog")
}

/// Paths whose answers show something of a set or of its ancestors.
fn paths(set: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("an id").to_owned();
    let asset = &set["dataAssetInfo"];
    let (store, asset, id) = (
        text(&asset["dataStoreInfo"]["id"]),
        text(&asset["id"]),
        text(&set["id"]),
    );
    let all = [
        "/data-stores".to_owned(),
        "/data-stores?limit=1&sort=-name".to_owned(),
        format!("/data-stores/{store}"),
        format!("/data-stores/{store}/data-assets?limit=2&page=0"),
        format!("/data-assets/{asset}?projections=id,name"),
        format!("/data-stores/{store}/data-assets/{asset}/data-sets?limit=1"),
        "/data-stores/*/data-assets/*/data-sets?projections=name".to_owned(),
        format!("/data-sets/{id}"),
    ];
    all.into()
}

#[test]
fn a_second_answer_is_the_first_one_and_each_state_has_its_own() {
    let catalog = catalog();
    let server = serving(&catalog, config());
    let made = server.new_set();
    // Makes all anew for every request.
    let fresh = |path: &str| {
        let other = serving(&catalog, config());
        let response = other
            .api("GET", path)
            .header("host", &server.address.to_string())
            .send();
        (response.text.clone(), response.header("etag").map(str::to_owned))
    };
    let session = catalog.session("acme", "ann").unwrap();
    let id: SetId = made["id"].as_str().unwrap().parse().unwrap();
    let one = format!("/data-sets/{id}");
    for round in 0..3 {
        for path in paths(&made) {
            let (text, tag) = fresh(&path);
            for _ in 0..3 {
                let response = server.get(&path);
                assert_eq!((response.status, &response.text), (200, &text), "{path}");
                assert_eq!(response.header("etag").map(str::to_owned), tag, "{path}");
                assert_eq!(response.header("content-type"), Some("application/json"));
                assert_eq!(response.header("cache-control"), Some("private, no-cache"));
                let length = text.len().to_string();
                assert_eq!(response.header("content-length"), Some(length.as_str()));
                let head = server.api("HEAD", &path).send();
                assert_eq!((head.status, head.text.as_str()), (200, ""));
                assert_eq!(head.header("content-length"), Some(length.as_str()));
                let Some(tag) = &tag else { continue };
                let known = server.api("GET", &path).header("if-none-match", tag).send();
                assert_eq!((known.status, known.text.as_str()), (304, ""));
                assert_eq!(known.header("etag"), Some(tag.as_str()));
                let malformed = server.api("GET", &path).header("if-none-match", "x").send();
                malformed.fails(400, "INVALID");
            }
        }
        // Over HTTP, and beside it.
        let asset = &made["dataAssetInfo"];
        let name = format!("round {round}");
        server.create("/data-sets", set(&asset["id"]));
        let patch = json!([{ "op": "add", "path": "/name", "value": name }]);
        let path = format!("/data-assets/{}", asset["id"].as_str().unwrap());
        assert_eq!(server.api("PATCH", &path).json(&patch).send().status, 200);
        session
            .update(id, Expectation::Any, |set| set.name = Some(name.clone()))
            .unwrap();
        let read = server.get(&one).json();
        assert_eq!(read["name"], name);
        assert_eq!(read["dataAssetInfo"]["name"], name);
    }
    session.delete(id, Expectation::Any).unwrap();
    server.get(&one).fails(404, "NOT_FOUND");
}

#[test]
fn what_is_remembered_is_for_who_may_ask_for_it() {
    let reads = RateLimits {
        reads_per_minute: NonZeroU32::new(5).unwrap(),
        writes_per_minute: NonZeroU32::new(100).unwrap(),
    };
    let server = serving(&catalog(), Config::new(authentication()).rate_limits(reads));
    let store = server.new_store();
    let path = format!("/data-stores/{}", store["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(server.get(&path).json(), store);
        let get = || server.api("GET", &path);
        assert_eq!(get().token(READER).send().json(), store);
        get().token(STRANGER).send().fails(404, "NOT_FOUND");
        get().token(WRITER).send().fails(403, "FORBIDDEN");
        get().token("nobody").send().fails(401, "UNAUTHORIZED");
        get().without_token().send().fails(401, "UNAUTHORIZED");
        server.get(&format!("{path}?limit=1")).fails(400, "INVALID");
        let all = server.api("GET", "/data-stores").token(STRANGER).send().json();
        assert_eq!(all["data"], json!([]));
    }
    // The tier is spent by remembered answers as by others.
    assert_eq!(server.get(&path).status, 200);
    server.get(&path).fails(429, "RATE_LIMITED");
}

#[test]
fn links_are_those_of_the_request_and_options_those_of_the_router() {
    let catalog = catalog();
    let plain = serving(&catalog, config());
    let set = plain.new_set();
    let public = serving(&catalog, config().public_url("https://catalog.example.org"));
    let strict = serving(&catalog, config().max_ids(1));
    let first = |server: &Server, host: &str| {
        let list = server
            .api("GET", "/data-stores")
            .header("host", host)
            .send()
            .json();
        list["links"]["first"]["href"].as_str().unwrap().to_owned()
    };
    for _ in 0..2 {
        for host in ["one.example.org", "two.example.org:8080"] {
            let path = "/api/v1/data-stores?page=0";
            assert_eq!(first(&plain, host), format!("http://{host}{path}"));
            assert_eq!(first(&public, host), format!("https://catalog.example.org{path}"));
        }
        let store = set["dataAssetInfo"]["dataStoreInfo"]["id"].as_str().unwrap();
        let two = format!("/data-stores/{store},{store}/data-assets");
        assert_eq!(plain.get(&two).status, 200);
        strict.get(&two).fails(400, "INVALID");
        // Without a Host, by the authority of the request line.
        for authority in ["a.example.org", "b.example.org"] {
            let request = format!(
                "GET http://{authority}/v1/data-stores HTTP/1.0\r\nAuthorization: Bearer {ANN}\r\n\r\n"
            );
            let answer = plain.raw(request.as_bytes());
            assert!(
                answer.contains(&format!("http://{authority}/v1/data-stores?page=0")),
                "{answer}"
            );
        }
    }
}

/// Answers by the route that the request came to, where a service around the router sends what has one address to several.
#[test]
fn who_is_sent_to_another_route_gets_the_answer_of_that_route() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let catalog = catalog();
    let set = serving(&catalog, config()).new_set();
    let facade = router(catalog, config());
    let service = axum::Router::new().fallback(async move |mut request: Request| {
        *request.uri_mut() = request.headers()["x-route"].to_str().unwrap().parse().unwrap();
        TowerToHyperService::new(facade).call(request).await
    });
    let service = TowerToHyperService::new(service);
    let get = |path: &str| {
        let request = Request::get("/view")
            .header("authorization", format!("Bearer {ANN}"))
            .header("x-route", format!("/v1{path}"))
            .body(axum::body::Body::empty())
            .unwrap();
        runtime.block_on(async {
            let response = service.call(request).await.unwrap();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        })
    };
    let seen = |round: usize| -> Vec<_> {
        let paths = paths(&set);
        (0..paths.len())
            .map(|index| get(&paths[(index + round) % paths.len()]))
            .collect()
    };
    let (mut first, mut second) = (seen(0), seen(3));
    assert!(first.iter().all(|(status, _)| *status == 200), "{first:?}");
    second.rotate_right(3);
    assert_eq!(first, second);
    first.sort();
    first.dedup();
    assert_eq!(first.len(), paths(&set).len());
}
