//! The one place that crosses from asynchronous to blocking code: bounded, and refusing what would wait too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::error::Failure;

/// Lets a bounded number of calls into the catalog at once; a bounded number more wait.
pub(crate) struct Gate {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    wait_deadline: Duration,
}

/// Counts who waits, also where the wait is abandoned.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    pub(crate) fn new(max_running: usize, max_waiting: usize, wait_deadline: Duration) -> Self {
        Self {
            running: Arc::new(Semaphore::new(max_running)),
            waiting: AtomicUsize::new(0),
            max_waiting,
            wait_deadline,
        }
    }

    /// How many requests wait to be let in.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
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
                    return Err(Failure::overloaded());
                }
                match tokio::time::timeout(self.wait_deadline, self.running.clone().acquire_owned()).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) | Err(_) => return Err(Failure::overloaded()),
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
