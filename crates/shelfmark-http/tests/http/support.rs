//! A server on a socket of its own, and a client for it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use shelfmark::{Catalog, Options};
use shelfmark_http::{Authentication, Config, Principal, Scope, serve};
use shelfmark_testkit::{Faults, FaultyBackend, MemoryBackend};
use tokio::sync::oneshot;

/// Tenant `acme`, actor `ann`, everything allowed.
pub const ANN: &str = "token-of-ann";
/// The same tenant, reading alone.
pub const READER: &str = "token-of-a-reader";
/// The same tenant, writing alone.
pub const WRITER: &str = "token-of-a-writer";
/// Another tenant.
pub const STRANGER: &str = "token-of-a-stranger";

pub fn authentication() -> Authentication {
    Authentication::new()
        .with_static_token(ANN, Principal::with_all_scopes("acme", "ann"))
        .with_static_token(READER, Principal::new("acme", "rita", [Scope::Read]))
        .with_static_token(WRITER, Principal::new("acme", "walt", [Scope::Write]))
        .with_static_token(STRANGER, Principal::with_all_scopes("other", "sue"))
}

/// A server in the background, gone when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub catalog: Catalog,
    pub faults: Faults,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    agent: ureq::Agent,
}

impl Server {
    /// Without rate tiers, everything else by default.
    pub fn start() -> Self {
        Self::with(Config::without_rate_limits)
    }

    pub fn with(configure: impl FnOnce(Config) -> Config) -> Self {
        Self::over(&Options::new(), configure(Config::new(authentication())))
    }

    /// A catalog opened with these options, over a backend that can be made to fail.
    pub fn over(options: &Options, config: Config) -> Self {
        let backend = FaultyBackend::new(Arc::new(MemoryBackend::new()));
        let faults = backend.faults();
        let catalog = options.on_backend(Arc::new(backend)).expect("a catalog");
        Self::serving(catalog, faults, config)
    }

    pub fn serving(catalog: Catalog, faults: Faults, config: Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a socket");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let served = catalog.clone();
        let thread = std::thread::spawn(move || {
            let ended = runtime.block_on(serve(listener, served, config, async {
                // Dropping the sender stops it as well.
                let _ = stopped.await;
            }));
            ended.expect("an orderly end");
        });
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .max_redirects(0)
            .build()
            .into();
        Self {
            address,
            catalog,
            faults,
            stop: Some(stop),
            thread: Some(thread),
            agent,
        }
    }

    /// Begins to shut down.
    pub fn stop(&mut self) {
        self.stop.take();
    }

    /// Waits for the end.
    pub fn join(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
        }
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A request to `path` below `/api/v1`.
    pub fn api(&self, method: &str, path: &str) -> Request<'_> {
        self.request(method, &format!("/api/v1{path}"))
    }

    pub fn request(&self, method: &str, path: &str) -> Request<'_> {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base())
        };
        Request {
            server: self,
            method: method.to_owned(),
            url,
            token: Some(ANN.to_owned()),
            headers: Vec::new(),
            body: None,
        }
    }

    pub fn get(&self, path: &str) -> Response {
        self.api("GET", path).send()
    }

    /// The entity that a POST of `body` creates.
    pub fn create(&self, path: &str, body: Value) -> Value {
        let response = self.api("POST", path).json(&body).send();
        assert_eq!(response.status, 201, "{}", response.text);
        response.json()
    }

    pub fn new_store(&self) -> Value {
        self.create("/data-stores", store())
    }

    pub fn new_asset(&self) -> Value {
        self.create("/data-assets", asset(&self.new_store()["id"]))
    }

    pub fn new_set(&self) -> Value {
        self.create("/data-sets", set(&self.new_asset()["id"]))
    }

    /// Sends bytes as they are and reads until the server closes.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.join();
    }
}

static NAMES: AtomicU64 = AtomicU64::new(0);

/// A name that nobody else has.
pub fn name() -> String {
    format!("name_{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

pub fn store() -> Value {
    json!({ "technicalName": name(), "type": "postgres" })
}

pub fn asset(store: &Value) -> Value {
    json!({ "technicalName": name(), "appType": "qix-df", "dataStoreInfo": { "id": store } })
}

pub fn set(asset: &Value) -> Value {
    json!({
        "technicalName": name(), "qri": "qdf:files:acme:orders", "secureQri": "qri:orders",
        "dataAssetInfo": { "id": asset }
    })
}

/// A request being built.
#[must_use]
pub struct Request<'s> {
    server: &'s Server,
    method: String,
    url: String,
    token: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request<'_> {
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub fn without_token(mut self) -> Self {
        self.token = None;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string().into_bytes())
    }

    pub fn body(mut self, media: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", media)
    }

    /// Adds to the end of the address.
    pub fn and(mut self, more: &str) -> Self {
        self.url.push_str(more);
        self
    }

    pub fn send(self) -> Response {
        let mut request = ureq::http::Request::builder()
            .method(self.method.as_str())
            .uri(&self.url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let agent = &self.server.agent;
        let outcome = match self.body {
            Some(body) => {
                let request = request.body(body).expect("a request");
                agent.run(
                    agent
                        .configure_request(request)
                        .allow_non_standard_methods(true)
                        .build(),
                )
            }
            None => agent.run(request.body(()).expect("a request")),
        };
        let mut response = outcome.expect("a response");
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        Response {
            status: response.status().as_u16(),
            headers,
            text: response.body_mut().read_to_string().expect("a body"),
        }
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub text: String,
}

impl Response {
    /// One whole response as it came over the wire, its body not chunked.
    pub fn of_raw(answer: &str) -> Self {
        let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        Self {
            status: status.expect("a status line").parse().expect("a status"),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            text: text.to_owned(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    /// The codes of the errors, once the envelope is known to be whole.
    pub fn codes(&self) -> Vec<String> {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let envelope = self.json();
        let members: Vec<&String> = envelope.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["errors", "traceId"], "{self:?}");
        let trace = envelope["traceId"].as_str().expect("a trace id");
        assert!(
            trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{trace}"
        );
        let errors = envelope["errors"].as_array().expect("a list");
        assert!(!errors.is_empty(), "{self:?}");
        errors
            .iter()
            .map(|error| {
                for member in ["code", "title", "detail"] {
                    assert!(
                        error[member].as_str().is_some_and(|text| !text.is_empty()),
                        "{self:?}"
                    );
                }
                assert_eq!(error["status"], self.status.to_string(), "{self:?}");
                error["code"].as_str().unwrap_or_default().to_owned()
            })
            .collect()
    }

    /// That it has this status, and the envelope with this code.
    #[track_caller]
    pub fn fails(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let codes = self.codes();
        assert!(codes.iter().any(|known| known == code), "{codes:?}, not {code}");
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

pub fn read(path: &str) -> String {
    let path = repository(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
