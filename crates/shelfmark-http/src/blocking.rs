//! The one place that crosses from asynchronous code to the catalog.
//!
//! There are two ways. What may take long goes to a thread that may block: a bounded number at once, and what would wait too long is refused. A read that is known to be short
//! beforehand runs at once, on the thread that received the request: the hop to another thread and back costs more than such a read itself. Short is what reads at most
//! [`MOST_ROWS`] rows and [`MOST_BYTES`] of them, of a backend in this process. It never waits for a writer; it touches pages that are in the cache, or reads a few of them from the
//! file. A read that comes on more bytes than that is given up, and begun anew the long way. How many short reads run at once is bounded by the runtime's threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shelfmark::{Error, ErrorKind, JsonText};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::error::Failure;

/// The most rows that a short read reads: a page of 100 data sets with all that they show.
pub(crate) const MOST_ROWS: u64 = 512;
/// The most bytes that a short read reads of rows, and makes of them.
pub(crate) const MOST_BYTES: usize = 64 << 10;
const FULL: &str = "too many requests wait already: try again later";

/// Lets a bounded number of calls into the catalog at once; a bounded number more wait.
pub(crate) struct Gate {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    wait_deadline: Duration,
    /// Whether the catalog's reads never wait for anything outside of this process.
    short_reads: bool,
}

/// Counts who waits, also where the wait is abandoned.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    pub(crate) fn new(config: &Config, short_reads: bool) -> Self {
        let &Config {
            max_running,
            max_waiting,
            wait_deadline,
            ..
        } = config;
        Self {
            running: Arc::new(Semaphore::new(max_running)),
            waiting: AtomicUsize::new(0),
            max_waiting,
            wait_deadline,
            short_reads,
        }
    }

    /// Whether short reads run at once.
    pub(crate) fn has_short_reads(&self) -> bool {
        self.short_reads
    }

    /// How many requests wait to be let in.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Runs a read that writes JSON to the text that it is given, whichever way it goes. `most_rows`: how many rows it reads at most, as far as that is known.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        most_rows: Option<u64>,
        read: impl Fn(&mut JsonText) -> Result<T, Error> + Send + 'static,
    ) -> Result<(T, JsonText), Failure> {
        if self.short_reads && most_rows.is_some_and(|rows| rows <= MOST_ROWS) {
            let mut text = JsonText::at_most(MOST_BYTES);
            match read(&mut text) {
                Ok(outcome) => return Ok((outcome, text)),
                Err(error) if error.kind() == ErrorKind::TooLarge => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.run(move || {
            let mut text = JsonText::new();
            let outcome = read(&mut text)?;
            Ok((outcome, text))
        })
        .await
    }

    /// Runs `work` on a thread that may block. Once begun it runs to its end, whether or not the caller still listens: a commit cannot be called back.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let permit = match self.running.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let ahead = self.waiting.fetch_add(1, Ordering::Relaxed);
                let _waiting = Waiting(&self.waiting);
                if ahead >= self.max_waiting {
                    return Err(Failure::overloaded(FULL));
                }
                match tokio::time::timeout(self.wait_deadline, self.running.clone().acquire_owned()).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) | Err(_) => return Err(Failure::overloaded(FULL)),
                }
            }
        };
        let span = tracing::Span::current();
        let outcome = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            span.in_scope(work)
        })
        .await;
        match outcome {
            Ok(outcome) => outcome,
            Err(stopped) => match stopped.try_into_panic() {
                // Where panics of handlers are caught, this one is too.
                Ok(payload) => std::panic::resume_unwind(payload),
                Err(_) => Err(Failure::stopping()),
            },
        }
    }
}
