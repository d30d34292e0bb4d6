//! Keeps the current credentials in a file.
//!
//! A reader sees either the old document or the new one, complete and not expired: the file is replaced by a rename within
//! its directory, and removed when the credentials expire before they are renewed.

mod reconcile;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::failure::Failure;
use crate::refresh::store::Subscriber;
use crate::time::clock::Clock;
use crate::time::moment::Moment;

use self::reconcile::Disk;
use super::blocking::{self, joined, timed_out};
use super::credentials_file::CredentialsFile;
use super::ownership::Ownership;
use super::target::Target;

/// Whether a file is up to date.
#[derive(Clone, Debug, Default)]
pub enum Status {
    /// This process has not written credentials yet, or has removed them after they expired.
    #[default]
    Waiting,
    /// It contains the current credentials.
    Written,
    /// It cannot be read or written, and why.
    Failed(Arc<Failure>),
}

/// Keeps one file up to date.
#[derive(Debug)]
pub struct Writer<T = CredentialsFile> {
    target: T,
    subscriber: Subscriber,
    clock: Clock,
    status: watch::Sender<Status>,
    ownership: Ownership,
}

impl<T: Target> Writer<T> {
    /// Checks that the file can be written, by writing and removing an empty one beside it.
    ///
    /// Fails with the reason and the remedy, after 10 seconds at the latest.
    pub async fn new(target: T, subscriber: Subscriber, clock: Clock) -> Result<Self, Failure> {
        let checked = target.clone();
        let outcome = blocking::run(TIMEOUT, move || checked.check()).await;
        outcome.flatten().map_err(|error| target.failure(&error))?;
        Ok(Self {
            target,
            subscriber,
            clock,
            status: watch::Sender::default(),
            ownership: Ownership::default(),
        })
    }

    /// Returns a reader of the file's status.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Returns the ownership with which the file is withdrawn when the process ends.
    pub fn ownership(&self) -> Ownership {
        self.ownership.clone()
    }

    /// Updates the file for ever.
    pub async fn run(mut self) -> Infallible {
        let mut disk = Disk {
            written: self.existing().await,
            last_expired: None,
        };
        let mut failures = 0_u32;
        loop {
            let snapshot = self.subscriber.snapshot();
            let now = self.clock.now();
            let outcome = self.reconcile(&snapshot.offer(now), &mut disk, now).await;
            let deadline = disk.written.as_ref().map(|written| written.deadline);
            let wakes: Vec<Moment> = match outcome {
                Ok(()) => {
                    self.succeeded(&disk);
                    failures = 0;
                    // An expired file on an unavailable file system may become available again.
                    let recheck = snapshot.current().map(|_| now.after(MAX_BACKOFF));
                    deadline.or(recheck).into_iter().collect()
                }
                Err(error) => {
                    self.failed(&error);
                    failures = failures.saturating_add(1);
                    retries(self.clock.now(), failures, deadline).collect()
                }
            };
            tokio::select! {
                () = self.subscriber.changed() => {}
                () = self.clock.sleep_until(&wakes) => {}
            }
        }
    }

    /// Runs blocking work on another thread, and reports a failure while the file system does not respond.
    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let mut working = tokio::task::spawn_blocking(work);
        if let Ok(outcome) = tokio::time::timeout(TIMEOUT, &mut working).await {
            return joined(outcome).flatten();
        }
        self.failed(&timed_out());
        joined(working.await).flatten()
    }

    fn succeeded(&self, disk: &Disk) {
        if matches!(&*self.status.borrow(), Status::Failed(_)) {
            info!(path = %self.target.path().display(), "The file can be written again");
        }
        self.status.send_replace(if disk.is_written_here() {
            Status::Written
        } else {
            Status::Waiting
        });
    }

    fn failed(&self, error: &io::Error) {
        let failure = self.target.failure(error);
        let is_logged =
            matches!(&*self.status.borrow(), Status::Failed(known) if **known == failure);
        if !is_logged {
            warn!(
                path = %self.target.path().display(),
                code = %failure.code,
                stage = failure.stage.name(),
                error = failure.message,
                advice = %failure.advice,
                "Cannot write a file"
            );
        }
        self.status.send_replace(Status::Failed(Arc::new(failure)));
    }
}

/// Returns when to retry after a failure: after the backoff, and when the credentials in the file expire, unless they have
/// expired already.
fn retries(now: Moment, failures: u32, deadline: Option<Moment>) -> impl Iterator<Item = Moment> {
    let backoff = now.after(MIN_BACKOFF.saturating_mul(failures).min(MAX_BACKOFF));
    let ahead = deadline.filter(|deadline| !now.is_past(*deadline));
    [Some(backoff), ahead].into_iter().flatten()
}

/// The backoff after the first failure, and its increase with each further one.
const MIN_BACKOFF: Duration = Duration::from_secs(2);

/// The longest backoff, and the interval of the checks whether an unavailable expired file is available again.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// A file system that takes longer hangs: a network file system whose server is down, for instance.
const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
