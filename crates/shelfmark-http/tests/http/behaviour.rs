//! What the routes promise beyond their statuses: pages, links, entity tags, versions, projections, selectors.

use serde_json::{Value, json};

use crate::support::{Server, asset, name, set, store};

fn id(entity: &Value) -> &str {
    entity["id"].as_str().expect("an id")
}

#[test]
fn creation_ignores_what_the_application_sets() {
    let server = Server::start();
    let mut body = store();
    for (field, value) in [
        ("id", Value::Null),
        ("version", Value::Null),
        ("tenantId", json!(7)),
        ("createdBy", json!(["x"])),
        ("ownerId", json!({ "a": 1 })),
        ("createdTime", json!("yesterday")),
        ("unknown", json!(true)),
    ] {
        body[field] = value;
    }
    let response = server.api("POST", "/data-stores").json(&body).send();
    let created = response.json();
    assert_eq!(response.status, 201);
    assert_eq!(created["version"], 0);
    assert_eq!(created["ownerId"], "ann");
    assert_eq!(created["tenantId"], "acme");
    assert!(created.get("unknown").is_none());
    let location = format!("{}/api/v1/data-stores/{}", server.base(), id(&created));
    assert_eq!(response.header("location"), Some(location.as_str()));
    assert_eq!(response.header("etag"), Some("\"0\""));
    let read = server.request("GET", &location).send();
    assert_eq!(read.json(), created);
    // The same under the shorter base path.
    let alias = server
        .request("GET", &format!("/v1/data-stores/{}", id(&created)))
        .send();
    assert_eq!(alias.json(), created);
}

#[test]
fn every_broken_rule_is_told_with_its_pointer() {
    let server = Server::start();
    let body = json!({ "id": "x", "version": 1, "type": 3, "tags": ["a", "a"] });
    let response = server.api("POST", "/data-stores").json(&body).send();
    assert_eq!(response.codes(), ["INVALID"; 5]);
    let envelope = response.json();
    let details: Vec<&str> = envelope["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["detail"].as_str().unwrap().split(':').next().unwrap())
        .collect();
    for pointer in ["/id", "/version", "/type", "/tags/1", "/technicalName"] {
        assert!(details.contains(&pointer), "{details:?}");
    }
    for malformed in [
        "",
        "{",
        "[]",
        "null",
        "{\"a\": 1, \"a\": 2}",
        "{\"type\": 99999999999999999999}",
    ] {
        let response = server
            .api("POST", "/data-stores")
            .body("application/json", malformed)
            .send();
        response.fails(400, "INVALID");
    }
    for malformed in [
        "",
        "{}",
        "[]",
        "{\"ids\": 3}",
        "{\"ids\": [3]}",
        "{\"ids\": [], \"ids\": []}",
    ] {
        let response = server
            .api("DELETE", "/data-stores")
            .body("application/json", malformed)
            .send();
        response.fails(400, "INVALID");
    }
}

#[test]
fn pages_link_to_each_other_and_cursors_walk_them() {
    let server = Server::start();
    for _ in 0..7 {
        server.new_store();
    }
    let first = server.get("/data-stores?sort=technicalName&limit=3&projections=technicalName");
    let page = first.json();
    assert_eq!(
        (&page["page"], &page["limit"], &page["pages"], &page["total"]),
        (&json!(0), &json!(3), &json!(3), &json!(7))
    );
    assert_eq!(page["links"]["prev"], Value::Null);
    let link = |page: &Value, name: &str| page["links"][name]["href"].as_str().map(str::to_owned);
    let own = format!(
        "{}/api/v1/data-stores?sort=technicalName&limit=3&projections=technicalName",
        server.base()
    );
    assert_eq!(link(&page, "self"), Some(own.clone()));
    assert_eq!(link(&page, "first"), Some(format!("{own}&page=0")));
    assert_eq!(link(&page, "last"), Some(format!("{own}&page=2")));
    let mut seen = Vec::new();
    let mut pages = vec![page];
    while let Some(next) = link(&pages[pages.len() - 1], "next") {
        assert!(next.contains("&cursor="), "{next}");
        pages.push(server.request("GET", &next).send().json());
    }
    for (number, page) in pages.iter().enumerate() {
        assert_eq!(page["page"], number);
        for entity in page["data"].as_array().unwrap() {
            assert_eq!(entity.as_object().unwrap().len(), 2, "{entity}");
            seen.push(entity["technicalName"].as_str().unwrap().to_owned());
        }
    }
    let mut sorted = seen.clone();
    sorted.sort();
    assert_eq!((seen.len(), &seen), (7, &sorted));
    let back = server
        .request("GET", &link(&pages[2], "prev").unwrap())
        .send()
        .json();
    assert_eq!(back["data"], pages[1]["data"]);
    // By offset: the same, and empty past the end.
    let last = server
        .request("GET", &link(&pages[0], "last").unwrap())
        .send()
        .json();
    assert_eq!(last["data"], pages[2]["data"]);
    let past = server.get("/data-stores?page=9&limit=3").json();
    assert_eq!((&past["data"], &past["total"]), (&json!([]), &json!(7)));

    // A plus sign, escaped or not, is ascending; a minus sign descending.
    let order = |sort: &str| {
        let page = server.get(&format!("/data-stores?sort={sort}")).json();
        let names = page["data"].as_array().unwrap().iter();
        names
            .map(|store| store["technicalName"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(order("+technicalName"), order("technicalName"));
    assert_eq!(order("%2BtechnicalName"), order("technicalName"));
    let mut reversed = order("-technicalName");
    reversed.reverse();
    assert_eq!(reversed, order("technicalName"));

    for (query, code) in [
        ("limit=0", "INVALID"),
        ("limit=101", "INVALID"),
        ("page=-1", "INVALID"),
        ("page=x", "INVALID"),
        ("sort=nothing", "INVALID"),
        ("projections=nothing", "INVALID"),
        ("cursor=AAAA", "BAD_CURSOR"),
        ("cursor=!", "BAD_CURSOR"),
        ("limit=1&limit=2", "INVALID"),
        ("Limit=1", "INVALID"),
    ] {
        server.get(&format!("/data-stores?{query}")).fails(400, code);
    }
    // A cursor is good for the list it came from alone.
    let next = link(&pages[0], "next").unwrap();
    let cursor = next.split("cursor=").nth(1).unwrap();
    server
        .get(&format!("/data-stores?sort=-technicalName&cursor={cursor}"))
        .fails(400, "BAD_CURSOR");
}

#[test]
fn selectors_name_some_parents_or_all() {
    let server = Server::start();
    let stores: Vec<Value> = (0..2).map(|_| server.new_store()).collect();
    let assets: Vec<Value> = [0, 0, 1]
        .iter()
        .map(|&at| server.create("/data-assets", asset(&stores[at as usize]["id"])))
        .collect();
    for at in [0, 0, 1, 2, 2, 2] {
        server.create("/data-sets", set(&assets[at as usize]["id"]));
    }
    let (s0, s1) = (id(&stores[0]), id(&stores[1]));
    let (a0, a1, a2) = (id(&assets[0]), id(&assets[1]), id(&assets[2]));
    let total = |path: &str| server.get(path).json()["total"].as_u64().expect("a total");
    assert_eq!(total(&format!("/data-stores/{s0}/data-assets")), 2);
    assert_eq!(total(&format!("/data-stores/{s0},{s1}/data-assets")), 3);
    assert_eq!(total(&format!("/data-stores/{s0},{s0}/data-assets")), 2);
    assert_eq!(total("/data-stores/*/data-assets"), 3);
    assert_eq!(total("/data-stores/*/data-assets/*/data-sets"), 6);
    assert_eq!(total(&format!("/data-stores/{s0}/data-assets/*/data-sets")), 3);
    assert_eq!(
        total(&format!("/data-stores/*/data-assets/{a0},{a2}/data-sets")),
        5
    );
    assert_eq!(
        total(&format!("/data-stores/{s0}/data-assets/{a0},{a1}/data-sets")),
        3
    );
    for path in [
        format!("/data-stores/{s0},nothing/data-assets"),
        format!("/data-stores/{s0},/data-assets"),
        format!("/data-stores/{s0},*/data-assets"),
        // An asset outside the selected stores.
        format!("/data-stores/{s0}/data-assets/{a2}/data-sets"),
    ] {
        server.get(&path).fails(404, "NOT_FOUND");
        server
            .api("DELETE", &format!("{path}?"))
            .send()
            .fails(404, "NOT_FOUND");
    }
    // If-Match compares with the version of the one parent that is named.
    let one = format!("/data-stores/{s0}/data-assets/{a0}/data-sets");
    let with = |path: &str, tag: &str| server.api("DELETE", path).header("if-match", tag).send();
    with(&one, "\"1\"").fails(412, "PRECONDITION_FAILED");
    assert_eq!(with(&one, "\"0\"").status, 204);
    assert_eq!(total(&format!("/data-stores/{s0}/data-assets/*/data-sets")), 1);
    for path in [
        format!("/data-stores/{s0},{s1}/data-assets"),
        "/data-stores/*/data-assets".to_owned(),
        format!("/data-stores/*/data-assets/{a0}/data-sets"),
    ] {
        with(&path, "\"0\"").fails(400, "INVALID");
    }
    // An asset takes its sets along.
    assert_eq!(
        server
            .api("DELETE", &format!("/data-stores/{s1}/data-assets"))
            .send()
            .status,
        204
    );
    assert_eq!(total("/data-stores/*/data-assets/*/data-sets"), 1);
    assert_eq!(
        server.api("DELETE", "/data-stores/*/data-assets").send().status,
        204
    );
    assert_eq!(total("/data-stores/*/data-assets/*/data-sets"), 0);
}

#[test]
fn deleting_by_ids_is_all_or_nothing() {
    let server = Server::start();
    let empty = server.new_store();
    let full = server.new_asset()["dataStoreInfo"]["id"].clone();
    let delete = |ids: Value| {
        server
            .api("DELETE", "/data-stores")
            .json(&json!({ "ids": ids }))
            .send()
    };
    let response = delete(json!([empty["id"], full]));
    response.fails(409, "NOT_EMPTY");
    assert!(
        response
            .text
            .contains(&format!("{} holds 1 data assets", full.as_str().unwrap()))
    );
    delete(json!([empty["id"], "no-uuid"])).fails(404, "NOT_FOUND");
    let path = format!("/data-stores/{}", id(&empty));
    assert_eq!(server.get(&path).status, 200);
    assert_eq!(delete(json!([empty["id"], empty["id"]])).status, 204);
    server.get(&path).fails(404, "NOT_FOUND");
    assert_eq!(delete(json!([])).status, 204);
    // With If-Match: exactly one id.
    let (a, b) = (server.new_store(), server.new_store());
    let with = |ids: Value, tag: &str| {
        let request = server.api("DELETE", "/data-stores").json(&json!({ "ids": ids }));
        request.header("if-match", tag).send()
    };
    with(json!([a["id"], b["id"]]), "\"0\"").fails(400, "INVALID");
    with(json!([a["id"]]), "\"1\"").fails(412, "PRECONDITION_FAILED");
    assert_eq!(with(json!([a["id"], a["id"]]), "\"0\"").status, 204);
    assert_eq!(with(json!([b["id"]]), "*").status, 204);
}

#[test]
fn replacing_needs_a_version_and_clears_what_is_left_out() {
    let server = Server::start();
    let mut body = store();
    body["name"] = "Warehouse".into();
    let created = server.create("/data-stores", body.clone());
    let path = format!("/data-stores/{}", id(&created));
    let put = |body: &Value| server.api("PUT", &path).json(body);
    put(&body).send().fails(400, "INVALID");
    body.as_object_mut().unwrap().remove("name");
    body["version"] = 0.into();
    body["id"] = created["id"].clone();
    let replaced = put(&body).send();
    assert_eq!(replaced.header("etag"), Some("\"1\""));
    assert!(replaced.json().get("name").is_none());
    put(&body).send().fails(409, "VERSION_CONFLICT");
    put(&body)
        .header("if-match", "\"0\"")
        .send()
        .fails(412, "PRECONDITION_FAILED");
    put(&body)
        .header("if-match", "\"1\"")
        .send()
        .fails(409, "VERSION_CONFLICT");
    put(&body)
        .header("if-match", "W/\"1\"")
        .send()
        .fails(400, "INVALID");
    body["id"] = name().into();
    put(&body).send().fails(400, "INVALID");
    body["id"] = Value::Null;
    body["version"] = Value::Null;
    let by_header = put(&body).header("if-match", "\"1\"").send();
    // Nothing changed, so the version stays.
    assert_eq!((by_header.status, by_header.header("etag")), (200, Some("\"1\"")));
    body["technicalName"] = " ".into();
    body["version"] = 7.into();
    put(&body).send().fails(409, "VERSION_CONFLICT");
    body["version"] = 1.into();
    put(&body).send().fails(400, "INVALID");
}

#[test]
fn patches_answer_with_the_entity_or_with_nothing() {
    let server = Server::start();
    let created = server.new_set();
    let path = format!("/data-sets/{}", id(&created));
    let rename = json!([{ "op": "add", "path": "/name", "value": "Orders" }]);
    let patched = server.api("PATCH", &path).json(&rename).send();
    assert_eq!((patched.status, &patched.json()["name"]), (200, &json!("Orders")));
    let request = server.api("PATCH", &path).body(
        "application/json-patch+json",
        json!([{ "op": "replace", "path": "/name", "value": "All orders" }]).to_string(),
    );
    let minimal = request.header("prefer", "return=minimal").send();
    assert_eq!((minimal.status, minimal.text.as_str()), (204, ""));
    assert_eq!(minimal.header("preference-applied"), Some("return=minimal"));
    assert!(minimal.header("etag").is_some_and(|tag| tag.starts_with("\"2.")));
    let send = |patch: Value| server.api("PATCH", &path).json(&patch).send();
    send(json!([{ "op": "test", "path": "/version", "value": 0 }])).fails(409, "PATCH_TEST_FAILED");
    send(json!([{ "op": "add", "path": "string", "value": {} }])).fails(400, "INVALID");
    send(json!([{ "op": "add", "path": "/nothing", "value": 1 }])).fails(400, "INVALID");
    send(json!({})).fails(400, "INVALID");
    let conditional = server
        .api("PATCH", &path)
        .json(&rename)
        .header("if-match", "\"1\"");
    conditional.send().fails(412, "PRECONDITION_FAILED");
}

#[test]
fn a_tag_changes_with_what_is_inherited_and_if_match_does_not_mind() {
    let server = Server::start();
    let asset = server.new_asset();
    let path = format!("/data-assets/{}", id(&asset));
    let read = server.get(&path);
    let tag = read.header("etag").unwrap().to_owned();
    assert!(tag.starts_with("\"0."), "{tag}");
    let known = server.api("GET", &path).header("if-none-match", &tag).send();
    assert_eq!((known.status, known.header("etag")), (304, Some(tag.as_str())));
    let weak = server
        .api("GET", &path)
        .header("if-none-match", &format!("\"x\", W/{tag}"));
    assert_eq!(weak.send().status, 304);
    let malformed = server.api("GET", &path).header("if-none-match", "0");
    malformed.send().fails(400, "INVALID");

    let store = format!("/data-stores/{}", asset["dataStoreInfo"]["id"].as_str().unwrap());
    let rename = json!([{ "op": "add", "path": "/name", "value": "Renamed" }]);
    assert_eq!(server.api("PATCH", &store).json(&rename).send().status, 200);
    let changed = server.api("GET", &path).header("if-none-match", &tag).send();
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["dataStoreInfo"]["name"], "Renamed");
    assert_eq!(changed.json()["version"], 0);
    // Another name of the same length is another one.
    let again = json!([{ "op": "add", "path": "/name", "value": "Another" }]);
    assert_eq!(server.api("PATCH", &store).json(&again).send().status, 200);
    let tag_now = changed.header("etag").unwrap();
    assert_ne!(server.get(&path).header("etag"), Some(tag_now));
    let patched = server
        .api("PATCH", &path)
        .json(&rename)
        .header("if-match", &tag)
        .send();
    assert_eq!(patched.status, 200);
}

#[test]
fn one_entity_can_be_projected() {
    let server = Server::start();
    let mut body = set(&server.new_asset()["id"]);
    body["schema"] = json!({ "dataFields": [{ "name": "a", "dataType": { "type": "STRING" } }] });
    let set = server.create("/data-sets", body);
    let path = format!("/data-sets/{}", id(&set));
    let shown = server
        .get(&format!("{path}?projections=qri,schema.dataFields.name"))
        .json();
    let expected = json!({
        "id": set["id"], "qri": set["qri"], "schema": { "dataFields": [{ "name": "a" }] }
    });
    assert_eq!(shown, expected);
    server
        .get(&format!("{path}?projections=nothing"))
        .fails(400, "INVALID");
    server.get(&format!("{path}?limit=3")).fails(400, "INVALID");
    // A list without projections shows all there is.
    let list = server.get("/data-stores/*/data-assets/*/data-sets").json();
    assert_eq!(list["data"], json!([set]));
}

#[test]
fn what_the_router_refuses_has_the_envelope_too() {
    let server = Server::start();
    for (method, path, status, code) in [
        (
            "GET",
            "/resources/autogenerated/product-info.json",
            404,
            "ROUTE_NOT_FOUND",
        ),
        ("GET", "/api/v1/nothing", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/api/v1/data-stores/", 404, "ROUTE_NOT_FOUND"),
        ("GET", "/", 404, "ROUTE_NOT_FOUND"),
        ("PUT", "/api/v1/data-stores", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/v1/data-sets", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/v1/data-stores/%ff", 400, "BAD_REQUEST"),
    ] {
        let response = server.request(method, path).send();
        response.fails(status, code);
        assert_eq!(response.header("allow").is_some(), status == 405, "{response:?}");
    }
    server
        .request("GET", "/resources/autogenerated/product-info.json")
        .without_token()
        .send()
        .fails(404, "ROUTE_NOT_FOUND");
    // Below the API a method that is not there is told to those with a token only.
    let without = |path: &str| server.request("PUT", path).without_token().send();
    without("/api/v1/data-stores").fails(401, "UNAUTHORIZED");
    without("/livez").fails(405, "METHOD_NOT_ALLOWED");
    let head = server.request("HEAD", "/api/v1/data-stores").send();
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[test]
fn the_trace_id_is_the_callers_or_new() {
    let server = Server::start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sent = server
        .api("GET", "/nothing")
        .header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"))
        .send();
    assert_eq!(sent.json()["traceId"], trace);
    let new = || server.get("/nothing").json()["traceId"].clone();
    assert_ne!(new(), new());
}

#[test]
fn links_are_those_of_the_host_that_was_asked() {
    let server = Server::start();
    let own = |header: &str| {
        let request = format!(
            "GET /api/v1/data-stores HTTP/1.1\r\n{header}authorization: Bearer {}\r\nconnection: close\r\n\r\n",
            crate::support::ANN
        );
        let answer = crate::support::Response::of_raw(&server.raw(request.as_bytes()));
        answer.json()["links"]["self"]["href"].clone()
    };
    assert_eq!(
        own("host: catalog.test:99\r\n"),
        "http://catalog.test:99/api/v1/data-stores"
    );
    assert_eq!(own("host: [::1]:99\r\n"), "http://[::1]:99/api/v1/data-stores");
    assert_eq!(own("host: a@b\r\n"), "http://localhost/api/v1/data-stores");
    let proxied = Server::with(|config| config.public_url("https://catalog.example.org/"));
    let list = proxied.get("/data-stores").json();
    assert_eq!(
        list["links"]["self"]["href"],
        "https://catalog.example.org/api/v1/data-stores"
    );
}
