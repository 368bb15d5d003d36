//! Serves the files of a folder from memory: what the HTTP stack gives when nothing is behind it.
//!
//! `cargo run --release -p shelfmark-http --example from_memory -- FOLDER` answers `GET /NAME` with the bytes of each file, and prints
//! `listening on http://ADDRESS` when it is ready. `benches/http-load` measures the server against it.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::serve::ListenerExt as _;

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os()
        .nth(1)
        .ok_or("usage: from_memory FOLDER")?
        .into();
    let mut routes = Router::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let bytes = Bytes::from(std::fs::read(entry.path())?);
        let answer = move || async move { ([(CONTENT_TYPE, "application/json")], bytes) };
        routes = routes.route(&format!("/{}", entry.file_name().display()), get(answer));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
        // As the server does: a small answer is not held back.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        Ok(axum::serve(listener, routes).await?)
    })
}
