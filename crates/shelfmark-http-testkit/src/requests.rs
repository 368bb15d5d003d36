//! Whole requests, one after another, on a catalog that has something of everything.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, ETAG, HOST, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use serde_json::Value;
use shelfmark_http::openapi;
use shelfmark_testkit::fuzz::{Fixture, sure};
use shelfmark_testkit::storage::rows_of;

use crate::envelope;
use crate::facade::{Facade, Reply};
use crate::seeds::{filled, places};

/// Between two requests.
pub(crate) const SEPARATOR: u8 = 0x1e;
/// What a caller that traces its requests may send, and the id in it.
pub(crate) const TRACE_PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The most requests of one input; the last is all that follows.
const MOST: usize = 4;

/// Up to four requests, `0x1e` between them: a method, a blank and a target, then headers, each on a line, then an empty line, then the body. `{store}`,
/// `{empty}`, `{asset}`, `{set}` and `{gone}` stand for ids, `{cursor}` and `{position}` for what the catalog gave.
pub fn http(bytes: &[u8]) {
    answers(bytes);
}

/// The statuses that the requests were answered with.
fn answers(bytes: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    let (catalog, backend) = Fixture::get().restored();
    let facade = Facade::new(catalog.clone());
    for text in bytes.splitn(MOST, |&byte| byte == SEPARATOR) {
        let Some(sent) = Sent::read(&filled(text, &places())) else {
            continue;
        };
        let before = sure(rows_of(&*backend));
        let reply = facade.send(sent.request());
        let changed = sure(rows_of(&*backend)) != before;
        sent.judge(&reply, changed);
        if reply.status.is_success() {
            sent.follow(&facade, &reply);
        }
        statuses.push(reply.status.as_u16());
    }
    let report = sure(catalog.check());
    assert!(report.is_clean(), "{:?}", report.findings);
    statuses
}

/// A request that the HTTP library would hand on.
#[derive(Debug, Clone)]
struct Sent {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Sent {
    /// `None` where no HTTP library would read it.
    fn read(text: &[u8]) -> Option<Self> {
        let mut rest = text;
        let first = line(&mut rest);
        let blank = first.iter().position(|&byte| byte == b' ')?;
        let method = Method::from_bytes(&first[..blank]).ok()?;
        let uri = Uri::try_from(&first[blank + 1..]).ok()?;
        let mut headers = HeaderMap::new();
        while !rest.is_empty() {
            let header = line(&mut rest);
            if header.is_empty() {
                break;
            }
            let colon = header.iter().position(|&byte| byte == b':')?;
            let name = HeaderName::from_bytes(&header[..colon]).ok()?;
            let value = HeaderValue::from_bytes(header[colon + 1..].trim_ascii()).ok()?;
            headers.append(name, value);
        }
        Some(Self {
            method,
            uri,
            headers,
            body: rest.to_vec(),
        })
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Another one by the same caller.
    fn get(&self, uri: Uri) -> Self {
        let mut headers = HeaderMap::new();
        for name in [AUTHORIZATION, HOST] {
            for value in self.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        Self {
            method: Method::GET,
            uri,
            headers,
            body: Vec::new(),
        }
    }

    fn is_read(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    /// What holds for every answer by itself.
    fn judge(&self, reply: &Reply, changed: bool) {
        let status = reply.status;
        assert!(!status.is_server_error(), "{self:?}: {reply:?}");
        if self.method == Method::HEAD {
            assert!(reply.body.is_empty(), "{self:?}: {reply:?}");
        } else if status.is_client_error() {
            let traced = self
                .headers
                .get("traceparent")
                .is_some_and(|sent| sent == TRACE_PARENT);
            envelope::check(reply, traced.then_some(TRACE_ID));
        }
        if self.is_read() || !status.is_success() {
            assert!(!changed, "{self:?} changed something: {reply:?}");
        }
        if let Some(documented) = documented(self.method.as_str(), self.uri.path()) {
            assert!(
                documented.contains(&status.as_str().to_owned()),
                "{self:?} answers {status}, documented are {documented:?}"
            );
        }
        if status == 204 || status == 304 {
            assert!(reply.body.is_empty(), "{self:?}: {reply:?}");
        } else if status == 200 && reply.is("application/x-ndjson") {
            for (number, answer) in reply.body.split_inclusive(|&byte| byte == b'\n').enumerate() {
                let answer: Value = sure(serde_json::from_slice(answer));
                assert_eq!(answer["line"], number, "{self:?}: {reply:?}");
            }
        } else if status.is_success() && reply.is("application/json") && self.method != Method::HEAD {
            reply.json();
        }
    }

    /// What an answer says is so when one looks.
    fn follow(&self, facade: &Facade, reply: &Reply) {
        let replayed = reply.headers.contains_key("idempotency-replayed");
        if reply.status == 201 && !replayed {
            let location = reply.header(LOCATION).unwrap_or_default();
            self.same(facade, reply, sure(location.parse()));
        } else if reply.status == 200 && matches!(self.method, Method::PUT | Method::PATCH) {
            self.same(facade, reply, self.uri.clone());
        } else if self.method == Method::GET && reply.is("application/json") {
            let body = reply.json();
            for link in ["first", "self", "prev", "next", "last"] {
                if let Some(href) = body["links"][link]["href"].as_str() {
                    let there = facade.send(self.get(sure(href.parse())).request());
                    assert_eq!(there.status, 200, "{self:?}: {link} is {href}: {there:?}");
                }
            }
        }
    }

    /// A GET shows what the write has answered, to whoever may read.
    fn same(&self, facade: &Facade, reply: &Reply, uri: Uri) {
        let there = facade.send(self.get(uri).request());
        if there.status == 403 {
            return;
        }
        assert_eq!(there.status, 200, "{self:?}: {there:?}");
        assert_eq!(there.json(), reply.json(), "{self:?}");
        let tag = reply.header(ETAG);
        assert!(
            tag.is_some() && there.header(ETAG) == tag,
            "{self:?}: {reply:?}, {there:?}"
        );
    }
}

/// Takes a line off, without its end.
fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|&byte| byte == b'\n');
    let (line, behind) = match end {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (*rest, &[][..]),
    };
    *rest = behind;
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The statuses that the description lists, by method and path template.
fn operations() -> &'static BTreeMap<(String, String), Vec<String>> {
    static OPERATIONS: OnceLock<BTreeMap<(String, String), Vec<String>>> = OnceLock::new();
    OPERATIONS.get_or_init(|| {
        let description = sure(serde_json::to_value(openapi()));
        let mut operations = BTreeMap::new();
        for (path, item) in description["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let responses = operation["responses"].as_object().into_iter().flatten();
                let statuses = responses.map(|(status, _)| status.clone()).collect();
                operations.insert((method.to_uppercase(), path.clone()), statuses);
            }
        }
        operations
    })
}

/// The statuses that the operation with this method and path may answer with; `None` where there is no such operation.
fn documented(method: &str, path: &str) -> Option<&'static [String]> {
    let path = match path.strip_prefix("/v1/") {
        Some(rest) => format!("/api/v1/{rest}"),
        None => path.to_owned(),
    };
    let matches = |template: &str| {
        let (mut wanted, mut given) = (template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return false,
            }
        }
    };
    let mut all = operations().iter();
    let found = all.find(|((of, template), _)| of == method && matches(template));
    found.map(|(_, statuses)| &**statuses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::seeds;

    #[test]
    fn requests_are_read_as_they_are_written() {
        let sent = Sent::read(b"PUT /v1/x?y=z\r\nhost: h\nif-match:  \"1\"\n\n{\n\n}").unwrap();
        assert_eq!(
            (sent.method.as_str(), sent.uri.to_string()),
            ("PUT", "/v1/x?y=z".to_owned())
        );
        assert_eq!(
            (&sent.headers["host"], &sent.headers["if-match"]),
            (&"h".parse().unwrap(), &"\"1\"".parse().unwrap())
        );
        assert_eq!(sent.body, b"{\n\n}");
        for unreadable in [
            "",
            "GET",
            "GET  /",
            "G\tT /",
            "GET /\nno header",
            "GET /\nx: \u{1}",
        ] {
            assert!(Sent::read(unreadable.as_bytes()).is_none(), "{unreadable:?}");
        }
    }

    #[test]
    fn the_seeds_get_every_answer_that_a_caller_can_cause() {
        let mut statuses = BTreeMap::<u16, usize>::new();
        for seed in seeds().iter().filter(|seed| seed.target == "http") {
            let answered = answers(&seed.bytes);
            assert!(!answered.is_empty(), "{} is no request", seed.name);
            for status in answered {
                *statuses.entry(status).or_default() += 1;
            }
        }
        for status in [200, 201, 204, 304, 400, 401, 403, 404, 405, 409, 412, 413, 415] {
            assert!(statuses.contains_key(&status), "{status}: {statuses:?}");
        }
        assert!(
            statuses[&200] > 15 && statuses[&201] >= 3 && statuses[&204] >= 5,
            "{statuses:?}"
        );
    }

    #[test]
    fn operations_are_found_by_their_paths() {
        let has = |method, path, status: &str| {
            documented(method, path).is_some_and(|all| all.contains(&status.to_owned()))
        };
        assert!(has("GET", "/v1/data-stores/x", "304"));
        assert!(has("GET", "/v1/data-stores/x/data-assets", "404"));
        assert!(has("POST", "/api/v1/batch", "409"));
        assert!(!has("GET", "/api/v1/batch", "405"));
        assert!(documented("GET", "/v1/data-stores/").is_none());
        assert!(documented("GET", "/v1/data-stores/x/y").is_none());
    }
}
