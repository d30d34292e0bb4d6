//! The only loop, the only retry: mints, publishes, waits, for ever.
//!
//! A failed attempt changes nothing that is held. Every path waits at least [`schedule::FLOOR`] before the next attempt.

pub mod schedule;
pub mod source;
pub mod store;

use std::convert::Infallible;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use self::schedule::Jitter;
use crate::credentials::{Lease, timestamp};
use crate::failure::{Code, Failure};
use crate::refresh::source::Source;
use crate::refresh::store::{Current, Phase, Publisher, Snapshot};
use crate::time::clock::Clock;
use crate::time::moment::Moment;

/// The loop and what it needs.
#[derive(Debug)]
pub struct Refresher<S> {
    /// Where credentials come from.
    pub source: S,
    /// Where they go.
    pub publisher: Publisher,
    /// What time it is.
    pub clock: Clock,
    /// Throws the dice that spread a fleet.
    pub jitter: fn() -> Jitter,
    /// Changes when somebody wants new credentials now.
    pub refresh_requested: watch::Receiver<u64>,
}

impl<S: Source> Refresher<S> {
    /// Runs for ever. What is held from the start, because a predecessor obtained it, is renewed when it is due.
    pub async fn run(mut self) -> Infallible {
        let mut reporter = Reporter::default();
        let mut is_asked_for = self.resume(&mut reporter).await;
        loop {
            // By a clock that nobody sets: a storm of signals, or a wall clock that jumps to and fro, is no hot loop.
            let earliest = Instant::now() + schedule::FLOOR;
            let started = self.clock.now();
            let next = self.attempt(started, is_asked_for, &mut reporter).await;
            reporter.attempted(&self.publisher.snapshot(), self.clock.now());
            is_asked_for = self.wait(next, &mut reporter).await;
            sleep_until(earliest).await;
        }
    }

    /// Waits as after the attempt that gave what is held already, if anything is. Returns whether a nudge ended the wait.
    async fn resume(&mut self, reporter: &mut Reporter) -> bool {
        let (state, now) = (self.publisher.snapshot(), self.clock.now());
        let Some(current) = state.current() else {
            return false;
        };
        reporter.resumed(current, state.phase(now));
        !now.is_past(current.renew_at) && self.wait(current.renew_at, reporter).await
    }

    async fn attempt(
        &mut self,
        started: Moment,
        is_asked_for: bool,
        reporter: &mut Reporter,
    ) -> Moment {
        let patience = self.source.timeout();
        let outcome = timeout(patience, self.source.mint())
            .await
            .unwrap_or_else(|_| Err(Failure::timed_out(patience)));
        match outcome {
            Ok(lease) => {
                reporter.skew(lease.skew);
                reporter.passed_over(&self.source.failovers(), &lease.served_by);
                // Whoever asks for a renewal wants what there is now.
                let current = self
                    .publisher
                    .snapshot()
                    .current()
                    .cloned()
                    .filter(|_| !is_asked_for);
                if let Some(left) = better(current.as_deref(), &lease, self.clock.now()) {
                    let wait = schedule::after_kept(lease.lifetime, left, (self.jitter)());
                    reporter.kept(&lease);
                    let next = started.after(wait);
                    self.publisher.unchanged(next);
                    return next;
                }
                // Like the deadline, from the moment of asking: a clock that is set meanwhile moves both.
                let wait = schedule::after_success(lease.lifetime, (self.jitter)());
                let next = started.after(wait);
                reporter.is_keeping = false;
                self.publisher.renewed(lease, next);
                next
            }
            Err(failure) => {
                let (state, now) = (self.publisher.snapshot(), self.clock.now());
                let failures = state.failures().saturating_add(1);
                let left = state
                    .current()
                    .map(|current| now.until(current.lease.deadline));
                let left = left.filter(|left| !left.is_zero());
                let delay = schedule::after_failure(failures, &failure, left, (self.jitter)());
                debug!(code = %failure.code, failures, ?delay, "An attempt failed");
                let next = now.after(delay);
                self.publisher.failed(failure, next);
                next
            }
        }
    }

    /// Waits until `next` or a nudge, and notices an expiry on the way. Returns whether it was a nudge.
    async fn wait(&mut self, next: Moment, reporter: &mut Reporter) -> bool {
        loop {
            let state = self.publisher.snapshot();
            let now = self.clock.now();
            let expiry = state.current().map(|current| current.lease.deadline);
            let ahead = expiry.filter(|expiry| !now.is_past(*expiry));
            let wakes = [next, ahead.unwrap_or(next)];
            tokio::select! {
                () = self.clock.sleep_until(&wakes) => {}
                // Somebody waits for a renewal that the clock may already call for.
                () = self.publisher.recheck_requested() => {}
                () = nudged(&mut self.refresh_requested) => {
                    info!("Renewing at once, as asked");
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

/// Returns how long what is held is still good, if what was obtained is too short to live on and ends sooner: a server
/// of credentials may answer out of an old copy. Of the same key the newest is known best.
fn better(current: Option<&Current>, lease: &Lease, now: Moment) -> Option<Duration> {
    let current = current.filter(|current| {
        current.lease.credentials.access_key_id != lease.credentials.access_key_id
    })?;
    let left = now.until(current.lease.deadline);
    let is_short = lease.lifetime < schedule::SHORTEST;
    (is_short && left > now.until(lease.deadline)).then_some(left)
}

async fn nudged(refresh_requested: &mut watch::Receiver<u64>) {
    if refresh_requested.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Tells each change once.
#[derive(Debug, Default)]
struct Reporter {
    phase: Option<Phase>,
    code: Option<Code>,
    failures: u32,
    /// The generation that was told of.
    generation: u64,
    /// Whether it was told that what is held stays.
    is_keeping: bool,
    /// The codes for which services were passed over.
    passed_over: Vec<Code>,
    /// The skew that was told of.
    skew: TimeDelta,
}

impl Reporter {
    /// Takes note of what was told of when it was taken over.
    fn resumed(&mut self, current: &Current, phase: Phase) {
        self.generation = current.generation;
        self.phase = Some(phase);
    }

    fn attempted(&mut self, state: &Snapshot, now: Moment) {
        if let Some(failure) = state.failure() {
            let entered = self.enter(state, now) || self.code.as_ref() != Some(&failure.code);
            self.code = Some(failure.code.clone());
            self.failures = state.failures();
            if entered {
                tell(state, failure, now);
            }
        } else if let Some(current) = state.current() {
            self.phase = Some(state.phase(now));
            self.code = None;
            let failures_before = std::mem::take(&mut self.failures);
            let access_key_id = &current.lease.credentials.access_key_id;
            // What is passed through stays the same for a while.
            if current.generation == self.generation && failures_before == 0 {
                debug!(%access_key_id, "The credentials are still the same");
                return;
            }
            if std::mem::replace(&mut self.generation, current.generation) == current.generation {
                info!(%access_key_id, failures_before, "Renewals work again; the credentials are still the same");
                return;
            }
            info!(
                %access_key_id,
                expires_at = %timestamp(current.lease.credentials.expires_at),
                served_by = %current.lease.served_by,
                failures_before,
                "Credentials renewed"
            );
        }
    }

    /// Tells of a clock that is wrong, and again only if it goes otherwise wrong.
    fn skew(&mut self, skew: TimeDelta) {
        if (skew - self.skew).abs() <= TOLERABLE_SKEW {
            return;
        }
        self.skew = skew;
        let ahead_seconds = skew.num_seconds();
        if skew.abs() > TOLERABLE_SKEW {
            warn!(
                ahead_seconds,
                "This machine's clock differs from that of STS; set it (NTP), because clients judge the expiry by it"
            );
        } else {
            info!(ahead_seconds, "This machine's clock is right again");
        }
    }

    /// Tells once that what was obtained is not taken.
    fn kept(&mut self, lease: &Lease) {
        let ends_at = timestamp(lease.credentials.expires_at);
        if !std::mem::replace(&mut self.is_keeping, true) {
            warn!(%ends_at, "What was obtained ends sooner than what is held, which stays");
        }
    }

    /// Tells which services have failed although another served, when they are not those of the last time.
    fn passed_over(&mut self, failures: &[Failure], served_by: &str) {
        let codes: Vec<Code> = failures.iter().map(|f| f.code.clone()).collect();
        if codes == self.passed_over {
            return;
        }
        for failure in failures {
            let code = &failure.code;
            warn!(%code, %served_by, "Another endpoint had to serve: {failure}");
        }
        self.passed_over = codes;
    }

    /// Tells of an expiry, which happens by the passing of time alone.
    fn observed(&mut self, state: &Snapshot, now: Moment) {
        if !self.enter(state, now) || state.phase(now) != Phase::Expired {
            return;
        }
        if let Some(failure) = state.failure() {
            tell(state, failure, now);
        } else {
            warn!(
                "The credentials expired before they were renewed: they are short, or this machine slept or its clock was set; renewing"
            );
        }
    }

    fn enter(&mut self, state: &Snapshot, now: Moment) -> bool {
        let phase = Some(state.phase(now));
        let changed = self.phase != phase;
        self.phase = phase;
        changed
    }
}

fn tell(state: &Snapshot, failure: &Failure, now: Moment) {
    let code = &failure.code;
    match (state.phase(now), state.current()) {
        (Phase::Fresh | Phase::Failing, Some(current)) => {
            let expires_at = timestamp(current.lease.credentials.expires_at);
            warn!(%code, %expires_at, "Cannot renew, still serving the credentials in hand: {failure}");
        }
        (Phase::Expired, Some(current)) => {
            let expires_at = timestamp(current.lease.credentials.expires_at);
            error!(%code, %expires_at, "The credentials have expired and cannot be renewed: {failure}");
        }
        _ => error!(%code, "No credentials: {failure}"),
    }
}

/// Beyond it a clock is not merely imprecise.
const TOLERABLE_SKEW: TimeDelta = TimeDelta::seconds(30);

#[cfg(test)]
mod tests;
