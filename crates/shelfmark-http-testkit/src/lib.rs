//! What the fuzzers do with the HTTP facade: whole requests, and the lines of a streamed creation, in-process and without a socket.
//!
//! Apart from [`shelfmark_testkit`], so that the tests of the engine build nothing asynchronous. The targets are of the same form, their corpus is replayed by the
//! same functions, and `fuzz/` at the root of the repository gives them to libFuzzer as it does the others.
//!
//! ```
//! shelfmark_http_testkit::http(b"GET /v1/data-stores?limit=2\n\n");
//! shelfmark_http_testkit::ndjson(b"\0\0{}\n");
//! ```

#![forbid(unsafe_code)]

mod envelope;
mod facade;
mod ndjson;
mod requests;
mod seeds;

pub use ndjson::ndjson;
pub use requests::http;
pub use seeds::seeds;

use shelfmark_testkit::fuzz::Target;

/// Every target by its name, which is also that of its binary and of its folder in the corpus.
pub const TARGETS: [(&str, Target); 2] = [("http", http), ("ndjson", ndjson)];
