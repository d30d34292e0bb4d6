//! The refresh loop, the only place that retries: obtains credentials, publishes them and waits, for ever.
//!
//! A failed attempt leaves the current credentials as they are. Two attempts are at least [`schedule::FLOOR`] apart.

mod log;
pub mod schedule;
pub mod source;
pub mod store;

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info};

use self::log::Reporter;
use self::schedule::Jitter;
use crate::credentials::Lease;
use crate::failure::Failure;
use crate::refresh::source::Source;
use crate::refresh::store::{Current, Publisher};
use crate::time::clock::Clock;
use crate::time::moment::Moment;

/// The refresh loop and its dependencies.
#[derive(Debug)]
pub struct Refresher<S> {
    /// Where credentials come from.
    pub source: S,
    /// Where they go.
    pub publisher: Publisher,
    /// Reads the time.
    pub clock: Clock,
    /// Draws the jitter that spreads the calls of a fleet.
    pub jitter: fn() -> Jitter,
    /// Changes when new credentials are requested at once.
    pub refresh_requested: watch::Receiver<u64>,
}

impl<S: Source> Refresher<S> {
    /// Runs for ever. Credentials that were restored from a previous process are renewed when they are due.
    pub async fn run(mut self) -> Infallible {
        let mut reporter = Reporter::of(self.source.role());
        let mut is_requested = self.resume(&mut reporter).await;
        loop {
            // By a clock that cannot be set: neither many signals nor a changed wall clock cause a hot loop.
            let earliest = Instant::now() + schedule::FLOOR;
            let started = self.clock.now();
            let next = self.attempt(started, is_requested, &mut reporter).await;
            reporter.attempted(&self.publisher.snapshot(), self.clock.now());
            is_requested = self.wait(next, &mut reporter).await;
            sleep_until(earliest).await;
        }
    }

    /// Waits until restored credentials, if there are any, are due for renewal. Returns whether a request ended the wait.
    async fn resume(&mut self, reporter: &mut Reporter) -> bool {
        let (state, now) = (self.publisher.snapshot(), self.clock.now());
        let Some(current) = state.current() else {
            return false;
        };
        reporter.resumed(current, state.phase(now));
        !now.is_past(current.renew_at) && self.wait(current.renew_at, reporter).await
    }

    /// Obtains and publishes once. Returns when to try next.
    async fn attempt(
        &mut self,
        started: Moment,
        is_requested: bool,
        reporter: &mut Reporter,
    ) -> Moment {
        let limit = self.source.timeout();
        let outcome = timeout(limit, self.source.mint())
            .await
            .unwrap_or_else(|_| Err(Failure::timed_out(limit)));
        let jitter = (self.jitter)();
        let state = self.publisher.snapshot();
        match outcome {
            Ok(lease) => {
                reporter.skew(lease.skew);
                reporter.failovers(&self.source.failovers(), &lease.served_by);
                // An explicit request replaces the credentials in any case.
                let current = state.current().filter(|_| !is_requested);
                let kept =
                    current.and_then(|current| keep_current(current, &lease, self.clock.now()));
                // From the start of the attempt, like the deadline: a clock that is set meanwhile moves both.
                if let Some(left) = kept {
                    reporter.unchanged(&lease);
                    let next =
                        started.after(schedule::after_unchanged(lease.lifetime, left, jitter));
                    self.publisher.unchanged(next);
                    return next;
                }
                let next = started.after(schedule::after_success(lease.lifetime, jitter));
                reporter.replaced();
                self.publisher.renewed(lease, next);
                next
            }
            Err(failure) => {
                let now = self.clock.now();
                let failures = state.failures().saturating_add(1);
                let left = state
                    .current()
                    .map(|current| now.until(current.lease.deadline));
                let left = left.filter(|left| !left.is_zero());
                let backoff = schedule::backoff(failures, &failure, left, jitter);
                debug!(
                    code = %failure.code,
                    failures,
                    next_attempt_seconds = backoff.as_secs(),
                    "An attempt failed"
                );
                let next = now.after(backoff);
                self.publisher.failed(failure, next);
                next
            }
        }
    }

    /// Waits until `next` or a request, and logs an expiry meanwhile. Returns whether a request ended the wait.
    async fn wait(&mut self, next: Moment, reporter: &mut Reporter) -> bool {
        loop {
            let state = self.publisher.snapshot();
            let now = self.clock.now();
            let expiry = state.current().map(|current| current.lease.deadline);
            let ahead = expiry.filter(|expiry| !now.is_past(*expiry));
            let deadlines = [next, ahead.unwrap_or(next)];
            tokio::select! {
                () = self.clock.sleep_until(&deadlines) => {}
                // A caller waits for a renewal, which may be due by now.
                () = self.publisher.recheck_requested() => {}
                () = requested(&mut self.refresh_requested) => {
                    info!("Renewing at once, as requested");
                    return true;
                }
            }
            let now = self.clock.now();
            reporter.observed(&state, now);
            if now.is_past(next) {
                return false;
            }
        }
    }
}

/// Keeps the current credentials when the new ones are shorter than the shortest session and expire sooner: a credentials
/// server may answer from an old copy. Returns how long the current ones are still good.
///
/// A new answer with the same key is never discarded: it knows the expiry of that key best.
fn keep_current(current: &Current, new: &Lease, now: Moment) -> Option<Duration> {
    let left = now.until(current.lease.deadline);
    let is_other = current.lease.credentials.access_key_id != new.credentials.access_key_id;
    let is_short = new.lifetime < schedule::SHORTEST;
    (is_other && is_short && left > now.until(new.deadline)).then_some(left)
}

async fn requested(requests: &mut watch::Receiver<u64>) {
    if requests.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
