//! Running the facade on a listener: deadlines for headers and for who takes an answer, and an orderly end.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use shelfmark::Catalog;
use tokio::net::TcpListener;

use crate::app::App;
use crate::config::Config;
use crate::routes;
use crate::stall::Impatient;

/// How long to wait after a failure to accept: usually too many files are open.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves `catalog` on `listener` until `shutdown` is ready. Then it takes no more connections, lets the requests that began finish, up to the configured deadline, makes
/// deferred writes durable and gives the catalog back to be dropped: once no clone is left, the file is closed.
///
/// ```
/// # use shelfmark::Catalog;
/// # use shelfmark_http::{Authentication, Config, serve};
/// # fn main() -> std::io::Result<()> {
/// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let catalog = Catalog::in_memory().map_err(std::io::Error::other)?;
/// let shutdown = async {}; // at once; usually a signal
/// serve(listener, catalog, Config::new(Authentication::new()), shutdown).await
/// # })
/// # }
/// ```
///
/// # Errors
///
/// What the last `sync` of the catalog gives.
pub async fn serve(
    listener: TcpListener,
    catalog: Catalog,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let Config {
        header_deadline,
        write_deadline,
        shutdown_deadline,
        ..
    } = config;
    let app = App::new(catalog, config);
    let router = routes::assemble(app.clone());
    let connections = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
        };
        // Answers are small and written at once: waiting to fill a packet would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_deadline)
            .serve_connection(
                TokioIo::new(Impatient::new(stream, write_deadline)),
                TowerToHyperService::new(router.clone()),
            );
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    app.stopping.send_replace(true);
    tracing::info!("shutting down");
    if tokio::time::timeout(shutdown_deadline, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests were still running at the end of the shutdown deadline");
    }
    let catalog = app.catalog.clone();
    tokio::task::spawn_blocking(move || catalog.sync())
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)
}
