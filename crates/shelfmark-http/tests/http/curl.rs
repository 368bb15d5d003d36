//! Every curl line of `docs/http.md` is run as printed.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::{ANN, Server, read};

/// The lines of the section, each with the status that the document says it answers with.
fn blocks() -> (String, Vec<(String, u16)>) {
    let document = read("docs/http.md");
    let (_, section) = document
        .split_once("## The reference's lines")
        .expect("the section");
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let mut parts = section.split("```sh\n").skip(1);
    let preamble = parts.next().expect("the function");
    let (preamble, _) = preamble.split_once("```").expect("its end");
    let blocks = parts.map(|part| {
        let (block, behind) = part.split_once("```").expect("its end");
        let told = behind
            .trim_start()
            .strip_prefix("Answers ")
            .expect("what it answers");
        let status = told.get(..3).and_then(|status| status.parse().ok());
        (block.to_owned(), status.expect("a status"))
    });
    (preamble.to_owned(), blocks.collect())
}

#[test]
fn every_line_answers_as_the_document_says() {
    let (preamble, blocks) = blocks();
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    std::fs::write(
        home.path().join(".curlrc"),
        "silent\nwrite-out = \"\\n%{http_code}\"\n",
    )
    .unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut reference = BTreeSet::new();
    for (block, status) in blocks {
        if block.contains("your-tenant.us.qlikcloud.com") {
            let method = block
                .split("-X ")
                .nth(1)
                .and_then(|rest| rest.split_whitespace().next());
            let path = block.split('"').nth(1).map(str::to_owned);
            reference.insert((method.unwrap_or("GET").to_owned(), path));
        }
        // Fresh entities for each line: one deletes them.
        let set = server.new_set();
        let asset = &set["dataAssetInfo"];
        let output = Command::new("bash")
            .args(["-c", &format!("{preamble}\n{block}")])
            .env("CURL_HOME", home.path())
            .env("CATALOG", server.base())
            .env("TOKEN", ANN)
            .env("STORE", text(&asset["dataStoreInfo"]["id"]))
            .env("ASSET", text(&asset["id"]))
            .env("EMPTY", text(&server.new_store()["id"]))
            .output()
            .expect("bash and curl");
        let answer = String::from_utf8_lossy(&output.stdout);
        let (body, got) = answer.rsplit_once('\n').expect("a status");
        assert_eq!(
            got,
            status.to_string(),
            "{block}{answer}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        if status == 204 {
            assert_eq!(body, "");
        } else {
            serde_json::from_str::<serde_json::Value>(body).expect("JSON");
        }
    }
    assert_eq!(reference.len(), 10, "{reference:?}");
}
