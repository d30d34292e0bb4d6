//! Keeps a file equal to the document that is served.
//!
//! A reader sees the old document or the new one, whole, and never an expired one: the file is replaced by a rename
//! within its directory, and removed when the credentials end without a successor.

use std::convert::Infallible;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::task::JoinError;
use tracing::{info, warn};

use crate::failure::Failure;
use crate::refresh::store::{Current, Offer, Subscriber};
use crate::time::clock::Clock;
use crate::time::moment::Moment;

pub(crate) use super::credentials_file::{not_written, prepare, put};
pub use crate::files::credentials_file::Options;
pub use crate::files::ownership::Ownership;

/// What can be kept under a path: it holds credentials, and says when they end.
pub trait Target: Clone + Debug + Send + Sync + 'static {
    /// Whether it says more of them than they say themselves, and must be written again when their deadline is another.
    const TELLS_DEADLINE: bool;

    /// Returns where it is.
    fn path(&self) -> &Path;

    /// Checks that it can be written. Blocks.
    fn check(&self, now: DateTime<Utc>) -> io::Result<()>;

    /// Reads when the credentials in it end; nothing if there are none. Blocks.
    fn expiration(&self) -> Option<DateTime<Utc>>;

    /// Puts these credentials in place of the old ones, and keeps their mark among `ours`. Blocks.
    fn replace(&self, current: &Current, ours: &Ownership, now: Moment) -> io::Result<()>;

    /// Removes it. Blocks.
    fn discard(&self) -> io::Result<()>;

    /// Explains why it cannot be written.
    fn failure(&self, error: &io::Error) -> Failure;
}

/// How a file stands.
#[derive(Clone, Debug, Default)]
pub enum Status {
    /// Nothing has been written yet.
    #[default]
    Waiting,
    /// It holds what is served.
    Written,
    /// It does not, and why.
    Failed(Arc<Failure>),
}

/// Keeps one file.
#[derive(Debug)]
pub struct Writer<K = Options> {
    kept: K,
    subscriber: Subscriber,
    clock: Clock,
    state: watch::Sender<Status>,
    ownership: Ownership,
}

impl<K: Target> Writer<K> {
    /// Checks that the file can be written, by writing and removing an empty one beside it.
    pub async fn new(kept: K, subscriber: Subscriber, clock: Clock) -> Result<Self, Failure> {
        let (checked, now) = (kept.clone(), clock.now().wall);
        let checking = tokio::task::spawn_blocking(move || checked.check(now));
        let outcome = tokio::time::timeout(TIMEOUT, checking).await;
        let outcome = outcome.map_err(|_| hung()).and_then(ended);
        outcome.map_err(|error| kept.failure(&error))?;
        Ok(Self {
            kept,
            subscriber,
            clock,
            state: watch::Sender::default(),
            ownership: Ownership::default(),
        })
    }

    /// Returns a reader of how the file stands.
    pub fn state(&self) -> watch::Receiver<Status> {
        self.state.subscribe()
    }

    /// Returns what has the file removed in the end.
    pub fn ownership(&self) -> Ownership {
        self.ownership.clone()
    }

    /// Follows the credentials for ever.
    pub async fn run(mut self) -> Infallible {
        let mut disk = Disk {
            written: self.inherited().await,
            ended: None,
        };
        let mut failures = 0_u32;
        loop {
            let state = self.subscriber.snapshot();
            let now = self.clock.now();
            let outcome = self.step(&state.offer(now), &mut disk, now).await;
            let deadline = disk.written.as_ref().map(|written| written.deadline);
            let wakes: Vec<Moment> = match outcome {
                Ok(()) => {
                    self.succeeded(disk.written.as_ref());
                    failures = 0;
                    // What has ended may be out of reach, and come back.
                    let back = state.current().map(|_| now.after(RETRY_MOST));
                    deadline.or(back).into_iter().collect()
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

    /// Looks at what a predecessor left. It may still be good, and then it stays until it ends.
    async fn inherited(&self) -> Option<Written> {
        let kept = self.kept.clone();
        let expires_at = self.blocking(move || Ok(kept.expiration())).await.ok()??;
        Some(self.foreign(expires_at))
    }

    /// Describes a document that another process wrote. Its end is known by the wall clock only.
    fn foreign(&self, expires_at: DateTime<Utc>) -> Written {
        let now = self.clock.now();
        let left = (expires_at - now.wall).to_std().unwrap_or_default();
        Written {
            generation: 0,
            expires_at,
            deadline: now.after(left),
        }
    }

    /// Brings the file one step closer to what is offered; `disk` is what is known of it.
    async fn step(&self, offer: &Offer, disk: &mut Disk, now: Moment) -> io::Result<()> {
        if disk.written.is_none() && !matches!(offer, Offer::Credentials(_)) {
            // What was out of reach when it ended may be back: its file system was away.
            disk.written = self.inherited().await.map(|mut written| {
                if disk.ended.is_some_and(|ended| written.expires_at <= ended) {
                    written.deadline = now;
                }
                written
            });
        }
        // A successor first: readers look again just when the file's content ends, and must not find it missing.
        let replaced = self.replace(offer, &mut disk.written, now).await;
        // And though that may fail: nobody shall read what has ended.
        let is_over = |written: &&Written| now.is_past(written.deadline);
        if let Some(written) = disk.written.as_ref().filter(is_over) {
            let (kept, ended, wall) = (self.kept.clone(), written.expires_at, now.wall);
            let ours = self.ownership.clone();
            let successor = self
                .blocking(move || remove(&kept, ended, &ours, wall))
                .await?;
            disk.ended = disk.ended.max(Some(ended));
            disk.written = successor.map(|expires_at| self.foreign(expires_at));
        }
        replaced
    }

    /// Writes what is offered, unless the file holds it already.
    async fn replace(
        &self,
        offer: &Offer,
        disk: &mut Option<Written>,
        now: Moment,
    ) -> io::Result<()> {
        let Offer::Credentials(current) = offer else {
            return Ok(());
        };
        let written = disk
            .as_mut()
            .filter(|written| written.generation == current.generation)
            .filter(|written| !K::TELLS_DEADLINE || written.deadline == current.lease.deadline);
        if let Some(written) = written {
            // The same credentials may turn out to last longer: their deadline goes by what is known of the clocks.
            written.deadline = current.lease.deadline;
        } else {
            let (kept, content) = (self.kept.clone(), Arc::clone(current));
            let ours = self.ownership.clone();
            self.blocking(move || kept.replace(&content, &ours, now))
                .await?;
            *disk = Some(Written {
                generation: current.generation,
                expires_at: current.lease.credentials.expires_at,
                deadline: current.lease.deadline,
            });
        }
        Ok(())
    }

    /// Does blocking work elsewhere, and says so when the file system does not answer.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let mut working = tokio::task::spawn_blocking(work);
        if let Ok(outcome) = tokio::time::timeout(TIMEOUT, &mut working).await {
            return ended(outcome);
        }
        self.failed(&hung());
        ended(working.await)
    }

    fn succeeded(&self, disk: Option<&Written>) {
        if matches!(&*self.state.borrow(), Status::Failed(_)) {
            info!(path = %self.kept.path().display(), "The file can be written again");
        }
        let is_ours = disk.is_some_and(|written| written.generation > 0);
        self.state.send_replace(if is_ours {
            Status::Written
        } else {
            Status::Waiting
        });
    }

    fn failed(&self, error: &io::Error) {
        let failure = self.kept.failure(error);
        let told = matches!(&*self.state.borrow(), Status::Failed(known) if **known == failure);
        if !told {
            warn!(path = %self.kept.path().display(), "{failure}");
        }
        self.state.send_replace(Status::Failed(Arc::new(failure)));
    }
}

/// Removes the document that ends at `ended` or is the one on the `ownership`, if it is there. Blocks.
///
/// Another process may keep the same file: a document that still is good at `now` stays, and its end is returned. What is
/// no such document stays too.
fn remove(
    kept: &impl Target,
    ended: DateTime<Utc>,
    ownership: &Ownership,
    now: DateTime<Utc>,
) -> io::Result<Option<DateTime<Utc>>> {
    match kept.expiration() {
        _ if ownership.holds(kept.path()) => kept.discard()?,
        Some(other) if other != ended && other > now => return Ok(Some(other)),
        Some(_) => kept.discard()?,
        None => {}
    }
    Ok(None)
}

fn ended<T>(outcome: Result<io::Result<T>, JoinError>) -> io::Result<T> {
    outcome.unwrap_or_else(|_| Err(io::Error::other("the working thread ended")))
}

fn hung() -> io::Error {
    io::Error::other("the file system does not answer")
}

/// Returns when to try again: after a pause, and when what is on disk ends, unless it has.
fn retries(now: Moment, failures: u32, deadline: Option<Moment>) -> impl Iterator<Item = Moment> {
    let again = now.after(RETRY.saturating_mul(failures).min(RETRY_MOST));
    let ahead = deadline.filter(|deadline| !now.is_past(*deadline));
    [Some(again), ahead].into_iter().flatten()
}

/// What is known of the file.
#[derive(Debug)]
struct Disk {
    written: Option<Written>,
    /// The latest end of anything that was to be removed. The wall clock may be too wrong to tell that it has passed.
    ended: Option<DateTime<Utc>>,
}

/// What the file holds.
#[derive(Debug)]
struct Written {
    /// 0 for what a predecessor wrote.
    generation: u64,
    /// When it says that it ends.
    expires_at: DateTime<Utc>,
    /// When it must be gone.
    deadline: Moment,
}

/// A failed write is tried again after a pause that grows from the first to the second, which is also how often a file
/// that has ended out of reach is looked for.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_MOST: Duration = Duration::from_secs(30);

/// A write that takes longer hangs: a network file system whose server is gone.
const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
