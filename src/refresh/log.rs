//! The log of the refresh loop.

use chrono::TimeDelta;
use tracing::{debug, error, info, warn};

use crate::credentials::{Lease, timestamp};
use crate::failure::{Code, Failure};
use crate::refresh::store::{Current, Phase, Snapshot};
use crate::time::moment::Moment;

/// Logs each state transition once.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    phase: Option<Phase>,
    code: Option<Code>,
    failures: u32,
    /// The generation last logged.
    generation: u64,
    /// Whether it was logged that a renewal was due and the credentials of the source were still the same.
    is_stale_logged: bool,
    /// Whether it was logged that new credentials were discarded.
    is_discard_logged: bool,
    /// The codes of the failovers last logged.
    failovers: Vec<Code>,
    /// The skew last logged.
    pub(super) skew: TimeDelta,
}

impl Reporter {
    /// Records that restored credentials have been logged already.
    pub(super) fn resumed(&mut self, current: &Current, phase: Phase) {
        self.generation = current.generation;
        self.phase = Some(phase);
    }

    /// Logs the outcome of an attempt.
    pub(super) fn attempted(&mut self, state: &Snapshot, now: Moment) {
        if let Some(failure) = state.failure() {
            let is_new = self.enter(state, now) || self.code.as_ref() != Some(&failure.code);
            self.code = Some(failure.code.clone());
            self.failures = state.failures();
            if is_new {
                log_failure(state, failure, now);
            }
        } else if let Some(current) = state.current() {
            self.phase = Some(state.phase(now));
            self.code = None;
            let failures_before = std::mem::take(&mut self.failures);
            let access_key_id = &current.lease.credentials.access_key_id;
            // A pass-through source gives the same credentials for a while.
            let is_same =
                std::mem::replace(&mut self.generation, current.generation) == current.generation;
            if is_same && failures_before == 0 {
                debug!(%access_key_id, "The credentials are still the same");
            } else if is_same {
                info!(%access_key_id, failures_before, "Renewals work again; the credentials are still the same");
            } else {
                info!(
                    %access_key_id,
                    expires_at = %timestamp(current.lease.credentials.expires_at),
                    served_by = %current.lease.served_by,
                    failures_before,
                    "Credentials renewed"
                );
            }
            self.renewal(&current.lease, is_same);
        }
    }

    /// Logs what renews credentials whose source cannot: when they are new, and once when that was due and did not happen.
    fn renewal(&mut self, lease: &Lease, is_same: bool) {
        let Some(renewal) = &lease.renewal else {
            return;
        };
        let expires_at = timestamp(lease.credentials.expires_at);
        let is_logged = std::mem::replace(&mut self.is_stale_logged, is_same);
        if !is_same {
            info!(%expires_at, "These credentials end, and nothing renews them by itself: {renewal}");
        } else if !is_logged {
            warn!(%expires_at, "The credentials are due for renewal, and their source still has the same: {renewal}");
        }
    }

    /// Logs that this machine's clock is wrong or correct again, and afterwards only changes beyond [`TOLERABLE_SKEW`].
    pub(super) fn skew(&mut self, skew: TimeDelta) {
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

    /// Logs, once until the next replacement, that the new credentials are discarded.
    pub(super) fn unchanged(&mut self, new: &Lease) {
        if !std::mem::replace(&mut self.is_discard_logged, true) {
            let ends_at = timestamp(new.credentials.expires_at);
            warn!(%ends_at, "Keeping the current credentials: the new ones expire sooner");
        }
    }

    /// Records that the current credentials were replaced.
    pub(super) fn replaced(&mut self) {
        self.is_discard_logged = false;
    }

    /// Logs the failures that caused a failover, unless their codes are those of the last attempt.
    pub(super) fn failovers(&mut self, failures: &[Failure], served_by: &str) {
        let codes: Vec<Code> = failures.iter().map(|f| f.code.clone()).collect();
        if codes == self.failovers {
            return;
        }
        for failure in failures {
            let code = &failure.code;
            warn!(%code, %served_by, "Failed over to {served_by}: {failure}");
        }
        self.failovers = codes;
    }

    /// Logs an expiry, which no attempt causes.
    pub(super) fn observed(&mut self, state: &Snapshot, now: Moment) {
        if !self.enter(state, now) || state.phase(now) != Phase::Expired {
            return;
        }
        if let Some(failure) = state.failure() {
            log_failure(state, failure, now);
        } else if state
            .current()
            .is_none_or(|current| current.lease.renewal.is_none())
        {
            // Otherwise the attempt that follows tells the reason.
            warn!(
                "The credentials expired before they were renewed: they are short-lived, or this machine slept or its clock was set; renewing"
            );
        }
    }

    /// Records the phase. Returns whether it has changed.
    fn enter(&mut self, state: &Snapshot, now: Moment) -> bool {
        let phase = Some(state.phase(now));
        std::mem::replace(&mut self.phase, phase) != phase
    }
}

fn log_failure(state: &Snapshot, failure: &Failure, now: Moment) {
    let code = &failure.code;
    match (state.phase(now), state.current()) {
        (Phase::Fresh | Phase::Failing, Some(current)) => {
            let expires_at = timestamp(current.lease.credentials.expires_at);
            warn!(%code, %expires_at, "Cannot renew, still serving the current credentials: {failure}");
        }
        (Phase::Expired, Some(current)) => {
            let expires_at = timestamp(current.lease.credentials.expires_at);
            error!(%code, %expires_at, "The credentials are at their end and cannot be renewed: {failure}");
        }
        _ => error!(%code, "No credentials: {failure}"),
    }
}

/// A clock that differs by more is wrong, not merely imprecise.
const TOLERABLE_SKEW: TimeDelta = TimeDelta::seconds(30);
