//! Batches, and requests that are sent again.

use serde_json::{Value, json};

use crate::support::{STRANGER, Server, WRITER, name, set, store};

fn run(server: &Server, operations: Value) -> crate::support::Response {
    let body = json!({ "operations": operations });
    server.api("POST", "/batch").json(&body).send()
}

#[test]
fn operations_run_together_and_refer_to_each_other() {
    let server = Server::start();
    let old = server.new_store();
    let response = run(
        &server,
        json!([
            { "op": "create", "kind": "store", "as": "new", "value": store() },
            { "op": "create", "kind": "asset", "as": "asset", "value": {
                "technicalName": name(), "appType": "qix-df", "dataStoreInfo": { "id": "$new" }
            } },
            { "op": "create", "kind": "set", "value": set(&json!("$asset")) },
            { "op": "patch", "kind": "asset", "id": "$asset", "version": 0, "patch": [
                { "op": "add", "path": "/name", "value": "Sales" }
            ] },
            { "op": "replace", "kind": "store", "id": old["id"], "version": 0, "value": store() },
            { "op": "delete", "kind": "store", "id": old["id"], "version": 1 },
        ]),
    );
    assert_eq!(response.status, 200, "{response:?}");
    let results = response.json()["results"].clone();
    let statuses: Vec<&Value> = results
        .as_array()
        .unwrap()
        .iter()
        .map(|result| &result["status"])
        .collect();
    assert_eq!(statuses, [201, 201, 201, 200, 200, 204]);
    assert_eq!(
        results[1]["entity"]["dataStoreInfo"]["id"],
        results[0]["entity"]["id"]
    );
    assert_eq!(results[3]["entity"]["name"], "Sales");
    assert_eq!(
        results[5]["deleted"],
        json!({ "stores": 1, "assets": 0, "sets": 0 })
    );
    assert_eq!(server.get("/data-stores").json()["total"], 1);
    assert_eq!(
        server.get("/data-stores/*/data-assets/*/data-sets").json()["total"],
        1
    );
    assert_eq!(run(&server, json!([])).json(), json!({ "results": [] }));
}

#[test]
fn a_batch_that_fails_changes_nothing_and_tells_every_failure() {
    let server = Server::start();
    let kept = server.new_store();
    let full = server.new_asset()["dataStoreInfo"]["id"].clone();
    let response = run(
        &server,
        json!([
            { "op": "create", "kind": "store", "as": "new", "value": store() },
            { "op": "delete", "kind": "store", "id": full },
            { "op": "patch", "kind": "store", "id": kept["id"], "version": 7, "patch": [] },
            { "op": "delete", "kind": "store", "id": "$new", "version": 3 },
        ]),
    );
    assert_eq!(response.status, 409, "{response:?}");
    let errors = response.json()["errors"].clone();
    let told: Vec<(&str, &str)> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["code"].as_str().unwrap(), error["detail"].as_str().unwrap()))
        .collect();
    let codes: Vec<&str> = told.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, ["NOT_EMPTY", "VERSION_CONFLICT", "VERSION_CONFLICT"]);
    for ((_, detail), pointer) in told
        .iter()
        .zip(["/operations/1: ", "/operations/2: ", "/operations/3: "])
    {
        assert!(detail.starts_with(pointer), "{detail}");
    }
    assert!(told[2].1.contains("$new"), "{}", told[2].1);
    assert_eq!(server.get("/data-stores").json()["total"], 2);
}

#[test]
fn what_is_wrong_with_a_batch_is_told_with_its_pointer() {
    let server = Server::start();
    for (operation, detail) in [
        (json!(3), "/operations/0: "),
        (json!({ "kind": "store" }), "/operations/0/op: "),
        (json!({ "op": "create", "kind": "shelf" }), "/operations/0/kind: "),
        (json!({ "op": "move", "kind": "store" }), "/operations/0/op: "),
        (
            json!({ "op": "create", "kind": "store", "value": {} }),
            "/operations/0/value/t",
        ),
        (
            json!({ "op": "create", "kind": "store" }),
            "/operations/0/value: ",
        ),
        (
            json!({ "op": "create", "kind": "store", "value": store(), "as": "" }),
            "/operations/0/as: ",
        ),
        (
            json!({ "op": "create", "kind": "store", "value": store(), "id": "x" }),
            "/operations/0/id: ",
        ),
        (
            json!({ "op": "create", "kind": "set", "value": set(&json!("$nothing")) }),
            "/operations/0/value/dataAssetInfo/id: ",
        ),
        (
            json!({ "op": "delete", "kind": "store", "id": "$nothing" }),
            "/operations/0/id: ",
        ),
        (json!({ "op": "delete", "kind": "store" }), "/operations/0/id: "),
        (
            json!({ "op": "patch", "kind": "store", "id": "0199c2a4-7d3e-7b10-9c55-2f1f4c9a0001", "patch": [{ "op": "add", "path": "x" }] }),
            "/operations/0/patch/0/path: ",
        ),
    ] {
        let response = run(&server, json!([operation]));
        response.fails(400, "INVALID");
        let told = response.json()["errors"][0]["detail"].clone();
        assert!(told.as_str().unwrap().starts_with(detail), "{told}, not {detail}");
    }
    for body in [json!([]), json!({}), json!({ "operations": {} })] {
        server
            .api("POST", "/batch")
            .json(&body)
            .send()
            .fails(400, "INVALID");
    }
    run(
        &server,
        json!([{ "op": "delete", "kind": "store", "id": "nothing" }]),
    )
    .fails(404, "NOT_FOUND");
}

#[test]
fn a_request_that_is_sent_again_gets_its_first_answer() {
    let server = Server::start();
    let parent = server.new_asset();
    let store_id = &parent["dataStoreInfo"]["id"];
    let total = |path: &str| server.get(path).json()["total"].clone();
    for (path, list, body) in [
        ("/data-stores", "/data-stores", store()),
        (
            "/data-assets",
            "/data-stores/*/data-assets",
            crate::support::asset(store_id),
        ),
        (
            "/data-sets",
            "/data-stores/*/data-assets/*/data-sets",
            set(&parent["id"]),
        ),
        (
            "/batch",
            "/data-stores",
            json!({ "operations": [{ "op": "create", "kind": "store", "value": store() }] }),
        ),
    ] {
        let before = total(list).as_u64().unwrap();
        let send = |base: &str, token: &str, body: &Value| {
            let request = server.request("POST", &format!("{base}{path}")).token(token);
            request.header("idempotency-key", path).json(body).send()
        };
        let ann = crate::support::ANN;
        let first = send("/api/v1", ann, &body);
        assert_eq!(first.header("idempotency-replayed"), None, "{first:?}");
        // Under either base path it is the same request.
        let again = send("/v1", ann, &body);
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again:?}");
        assert_eq!((again.status, again.json()), (first.status, first.json()));
        assert_eq!(again.header("etag"), first.header("etag"));
        assert_eq!(total(list), before + 1);
        let mut other = body.clone();
        other["unknown"] = 1.into();
        send("/v1", ann, &other).fails(409, "IDEMPOTENCY_KEY_REUSED");
        // Another actor's key is another key.
        assert_eq!(send("/v1", WRITER, &body).header("idempotency-replayed"), None);
        assert_eq!(total(list), before + 2);
    }
    // A failure is not remembered.
    let send = |body: &Value| {
        let request = server.api("POST", "/data-stores").token(STRANGER);
        request.header("idempotency-key", "k").json(body).send()
    };
    send(&json!({})).fails(400, "INVALID");
    assert_eq!(send(&store()).status, 201);
}

#[test]
fn a_key_is_one_text_and_does_not_go_with_streams() {
    let server = Server::start();
    let post = |key: &str| {
        server
            .api("POST", "/data-stores")
            .json(&store())
            .header("idempotency-key", key)
    };
    post(&"x".repeat(256)).send().fails(400, "INVALID");
    post("a")
        .header("idempotency-key", "b")
        .send()
        .fails(400, "INVALID");
    assert_eq!(post(&"x".repeat(255)).send().status, 201);
    let stream = server
        .api("POST", "/data-sets")
        .body("application/x-ndjson", "{}");
    stream.header("idempotency-key", "k").send().fails(400, "INVALID");
}

/// Of any number that come at once exactly one creates.
#[test]
fn two_in_flight_make_one_creation() {
    let server = Server::start();
    let body = store();
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let request = server.api("POST", "/data-stores").header("idempotency-key", "k");
                    let response = request.json(&body).send();
                    assert_eq!(response.status, 201);
                    response.json()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(server.get("/data-stores").json()["total"], 1);
}
