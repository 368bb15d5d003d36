//! `shelfmark serve` as a process: what it prints, how it ends, and what is left when it is killed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

const TOKEN: &str = "a-token-for-tests";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shelfmark"));
    command.arg("serve").args(arguments).env_remove("RUST_LOG");
    command
}

/// A server process, killed when dropped.
struct Served {
    process: Child,
    address: String,
    agent: ureq::Agent,
}

impl Served {
    fn start(file: &Path, more: &[&str]) -> Self {
        Self::logging(file, more, Stdio::null())
    }

    /// With everything there is to log.
    fn logging(file: &Path, more: &[&str], log: Stdio) -> Self {
        let file = file.to_str().expect("a path in UTF-8");
        let mut process = command(&["--file", file, "--listen", "127.0.0.1:0"])
            .args(more)
            .env("RUST_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let mut out = BufReader::new(process.stdout.take().expect("its output"));
        out.read_line(&mut line).expect("a line");
        let address = line.trim_end().strip_prefix("listening on http://127.0.0.1:");
        let address = format!("http://127.0.0.1:{}", address.expect("where it listens"));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        Self {
            process,
            address,
            agent,
        }
    }

    fn with_token(file: &Path) -> Self {
        Self::start(file, &["--dev-token", TOKEN, "--no-rate-limit"])
    }

    /// Status and body; `None` where the server is gone.
    fn call(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Option<(u16, Value)> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = if body.is_empty() {
            self.agent.run(request.body(()).expect("a request"))
        } else {
            let request = request.header("content-type", "application/json");
            self.agent.run(request.body(body.to_owned()).expect("a request"))
        }
        .ok()?;
        let text = response.body_mut().read_to_string().ok()?;
        Some((response.status().as_u16(), serde_json::from_str(&text).ok()?))
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.process.id().to_string()])
            .status();
        assert!(sent.expect("kill").success());
    }

    fn wait(mut self) -> ExitStatus {
        self.process.wait().expect("an end")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn it_makes_the_file_takes_the_token_and_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalog.shelf");
    let body = json!({ "technicalName": "warehouse", "type": "postgres" }).to_string();
    for expected in [1, 2] {
        let served = Served::with_token(&file);
        let (status, created) = served
            .call("POST", "/api/v1/data-stores", Some(TOKEN), &body)
            .unwrap();
        assert_eq!((status, &created["tenantId"]), (201, &json!("dev")));
        let (status, list) = served.call("GET", "/v1/data-stores", Some(TOKEN), "").unwrap();
        assert_eq!((status, &list["total"]), (200, &json!(expected)));
        assert_eq!(served.call("GET", "/v1/data-stores", None, "").unwrap().0, 401);
        assert_eq!(
            served
                .call("GET", "/v1/data-stores", Some("another"), "")
                .unwrap()
                .0,
            401
        );
        let signal = if expected == 1 { "-TERM" } else { "-INT" };
        served.signal(signal);
        assert!(served.wait().success());
    }
}

fn refused(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = command(arguments).output().expect("a process");
    assert!(!status.success());
    String::from_utf8_lossy(&stderr).into_owned()
}

#[test]
fn it_refuses_what_others_could_reach_without_authentication() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalog.shelf");
    let path = file.to_str().unwrap();
    let told = refused(&["--file", path, "--listen", "0.0.0.0:0"]);
    assert!(told.contains("configure authentication"), "{told}");
    assert!(!file.exists());
    // On loopback it lets everyone in.
    let served = Served::start(&file, &[]);
    let (status, list) = served.call("GET", "/v1/data-stores", None, "").unwrap();
    assert_eq!((status, &list["total"]), (200, &json!(0)));
    // Nobody else opens the file meanwhile.
    let told = refused(&["--file", path, "--listen", "127.0.0.1:0"]);
    assert!(told.contains("catalog.shelf"), "{told}");
}

#[test]
fn it_tells_what_is_wrong_with_its_options() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalog.shelf");
    let path = file.to_str().unwrap();
    for (arguments, word) in [
        (vec!["--jwks-file", "/nowhere"], "--issuer"),
        (
            vec!["--jwks-file", "/nowhere", "--issuer", "i", "--audience", "a"],
            "/nowhere",
        ),
        (vec!["--token-file", "/nowhere"], "/nowhere"),
        (vec!["--listen", "nonsense"], "--listen"),
        (
            vec!["--no-rate-limit", "--reads-per-minute", "3"],
            "--reads-per-minute",
        ),
        // As from a variable of the shell that is not set.
        (vec!["--dev-token", "", "--token-file", "/nowhere"], "--dev-token"),
        (
            vec!["--dev-token", "t", "--dev-tenant", "", "--token-file", "/nowhere"],
            "--dev-tenant",
        ),
        (
            vec!["--secret-file", "/nowhere", "--issuer", "", "--audience", "a"],
            "--issuer",
        ),
        (
            vec!["--secret-file", "/nowhere", "--issuer", "i", "--audience", ""],
            "--audience",
        ),
    ] {
        let mut all = vec!["--file", path];
        all.extend(arguments);
        let told = refused(&all);
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(!file.exists());
}

#[test]
fn the_log_has_one_object_a_request_and_neither_tokens_nor_bodies() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalog.shelf");
    let log = directory.path().join("log");
    let to = std::fs::File::create(&log).unwrap();
    let served = Served::logging(&file, &["--dev-token", TOKEN, "--log-json"], to.into());
    let secret = "nobody-may-read-this";
    let body = json!({ "technicalName": secret, "type": "postgres" }).to_string();
    let (_, created) = served
        .call("POST", "/v1/data-stores", Some(TOKEN), &body)
        .unwrap();
    let path = format!("/v1/data-stores/{}", created["id"].as_str().unwrap());
    served.call("GET", &path, Some(TOKEN), "").unwrap();
    let (_, refused) = served.call("GET", &path, Some("a-wrong-token"), "").unwrap();
    served.signal("-TERM");
    assert!(served.wait().success());
    let text = std::fs::read_to_string(&log).unwrap();
    for hidden in [secret, TOKEN, "a-wrong-token"] {
        assert!(!text.contains(hidden), "{text}");
    }
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &Value| line["target"] == "shelfmark_http::observe")
        .collect();
    let told: Vec<(&Value, &Value, &Value, &Value)> = lines
        .iter()
        .map(|line| {
            let span = &line["span"];
            assert!(span["duration_ms"].is_number(), "{line}");
            (&span["method"], &span["route"], &span["status"], &span["subject"])
        })
        .collect();
    let (post, get) = (json!("POST"), json!("GET"));
    let (all, one) = (json!("/v1/data-stores"), json!("/v1/data-stores/{id}"));
    let (created, fine, wrong) = (json!(201), json!(200), json!(401));
    let (developer, nobody) = (json!("developer"), Value::Null);
    assert_eq!(
        told,
        [
            (&post, &all, &created, &developer),
            (&get, &one, &fine, &developer),
            (&get, &one, &wrong, &nobody)
        ]
    );
    assert_eq!(lines[2]["span"]["trace_id"], refused["traceId"]);
}

/// Every write that was acknowledged before a SIGKILL is there afterwards.
#[test]
fn acknowledged_writes_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalog.shelf");
    let acknowledged = Mutex::new(Vec::new());
    for round in 0..3 {
        let served = Served::with_token(&file);
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let (served, acknowledged, killed) = (&served, &acknowledged, &killed);
                scope.spawn(move || {
                    for number in 0.. {
                        let name = format!("store_{round}_{writer}_{number}");
                        let body = json!({ "technicalName": name, "type": "postgres" }).to_string();
                        match served.call("POST", "/v1/data-stores", Some(TOKEN), &body) {
                            Some((201, store)) => acknowledged
                                .lock()
                                .expect("no panic")
                                .push(store["id"].as_str().expect("an id").to_owned()),
                            Some((status, answer)) => panic!("{status} {answer}"),
                            None => {
                                assert!(killed.load(Ordering::SeqCst), "it ended by itself");
                                return;
                            }
                        }
                    }
                });
            }
            let enough = (round + 1) * 100;
            while acknowledged.lock().expect("no panic").len() < enough {
                std::thread::sleep(Duration::from_millis(1));
            }
            killed.store(true, Ordering::SeqCst);
            served.signal("-KILL");
        });
        assert!(!served.wait().success());
        let served = Served::with_token(&file);
        let acknowledged = acknowledged.lock().unwrap();
        for id in acknowledged.iter() {
            let found = served.call("GET", &format!("/v1/data-stores/{id}"), Some(TOKEN), "");
            assert_eq!(found.map(|(status, _)| status), Some(200), "{id} is gone");
        }
        let (_, list) = served
            .call("GET", "/v1/data-stores?limit=1", Some(TOKEN), "")
            .unwrap();
        // Those whose answer was on its way may be there too.
        assert!(list["total"].as_u64().unwrap() >= acknowledged.len() as u64);
    }
}
