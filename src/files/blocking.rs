//! Blocking calls to file systems that may hang.

use std::io;
use std::time::Duration;

use tokio::task::JoinError;

/// Runs blocking work on another thread.
///
/// Fails when that takes longer than `timeout`; the thread continues until the file system responds.
pub(crate) async fn run<T: Send + 'static>(
    timeout: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let working = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(timeout, working).await {
        Ok(outcome) => joined(outcome),
        Err(_) => Err(timed_out()),
    }
}

pub(super) fn joined<T>(outcome: Result<T, JoinError>) -> io::Result<T> {
    outcome.map_err(|_| io::Error::other("the working thread ended"))
}

pub(super) fn timed_out() -> io::Error {
    io::Error::other("the file system does not respond")
}
