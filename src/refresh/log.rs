//! The log of the refresh loop.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use tracing::{debug, error, info, warn};

use crate::credentials::{Lease, RoleRequest, timestamp};
use crate::failure::{Code, Failure};
use crate::refresh::store::{Current, Health, Phase, Snapshot};
use crate::time::moment::Moment;

/// Logs each state transition, and at intervals an outage that goes on.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    /// The ARN of the role, and the session name.
    role: Option<(String, String)>,
    phase: Option<Phase>,
    outage: Option<Outage>,
    /// The generation last logged.
    generation: u64,
    /// Whether it was logged that a renewal was due and the credentials of the source were still the same.
    is_stale_logged: bool,
    /// Whether it was logged that new credentials were discarded.
    is_discard_logged: bool,
    /// The kinds of codes of the failovers last logged.
    failovers: Vec<&'static str>,
    /// The skew last logged.
    pub(super) skew: TimeDelta,
}

/// Failed attempts in a row.
#[derive(Debug)]
struct Outage {
    /// When the first attempt failed.
    began: Moment,
    /// When it was last logged.
    logged: Moment,
    /// The code of the last failure.
    code: Code,
    /// The kinds of codes that were logged.
    logged_codes: BTreeSet<&'static str>,
    failures: u32,
}

impl Reporter {
    /// Makes the reporter of a source that obtains credentials of `role`.
    pub(super) fn of(role: Option<&RoleRequest>) -> Self {
        Self {
            role: role.map(|role| (role.arn.to_string(), role.session_name.clone())),
            ..Self::default()
        }
    }

    /// Records that restored credentials have been logged already.
    pub(super) fn resumed(&mut self, current: &Current, phase: Phase) {
        self.generation = current.generation;
        self.phase = Some(phase);
    }

    /// Logs the outcome of an attempt.
    pub(super) fn attempted(&mut self, state: &Snapshot, now: Moment) {
        if let Some(failure) = state.failure() {
            self.failed(state, failure, now);
        } else if let Some(current) = state.current() {
            self.phase = Some(state.phase(now));
            let access_key_id = &current.lease.credentials.access_key_id;
            // A pass-through source gives the same credentials for a while.
            let is_same =
                std::mem::replace(&mut self.generation, current.generation) == current.generation;
            if is_same {
                debug!(%access_key_id, "The credentials are still the same");
            } else {
                let (role, session_name) = self.role();
                info!(
                    %access_key_id,
                    expires_at = %timestamp(current.lease.credentials.expires_at),
                    remaining_seconds = now.until(current.lease.deadline).as_secs(),
                    served_by = %current.lease.served_by,
                    role,
                    session_name,
                    "Credentials renewed"
                );
            }
            if let Some(outage) = self.outage.take() {
                info!(
                    outage_seconds = outage.began.elapsed(now).as_secs(),
                    failures = outage.failures,
                    code = %outage.code,
                    %access_key_id,
                    "The outage is over"
                );
            }
            self.renewal(&current.lease, is_same);
        }
    }

    /// Logs a failed attempt if the phase or the code is new, or the last line is too long ago.
    fn failed(&mut self, state: &Snapshot, failure: &Failure, now: Moment) {
        let is_new = self.enter(state, now);
        let outage = self.outage.get_or_insert_with(|| Outage {
            began: now,
            logged: now,
            code: failure.code.clone(),
            logged_codes: BTreeSet::new(),
            failures: 0,
        });
        outage.failures = state.failures();
        outage.code = failure.code.clone();
        // A service may alternate between codes, or make one up for each answer.
        let is_new_code = !outage.logged_codes.contains(failure.code.label());
        let health = state.health(now);
        let until_next = health.next_attempt_after.unwrap_or_default();
        let is_repeated = is_due(outage.logged.elapsed(now), until_next, health.remaining);
        if is_new || is_new_code || is_repeated {
            self.log_outage(&health, failure, now);
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
            info!(%expires_at, advice = %renewal, "These credentials end, and nothing renews them by itself");
        } else if !is_logged {
            warn!(%expires_at, advice = %renewal, "The credentials are due for renewal, and their source still has the same");
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
                advice = "set it (NTP), because clients judge the expiry by it",
                "This machine's clock differs from that of STS"
            );
        } else {
            info!(ahead_seconds, "This machine's clock is right again");
        }
    }

    /// Logs, once until the next replacement, that the new credentials are discarded.
    pub(super) fn unchanged(&mut self, new: &Lease) {
        if !std::mem::replace(&mut self.is_discard_logged, true) {
            warn!(
                expires_at = %timestamp(new.credentials.expires_at),
                error = "the new ones expire sooner",
                "Keeping the current credentials"
            );
        }
    }

    /// Records that the current credentials were replaced.
    pub(super) fn replaced(&mut self) {
        self.is_discard_logged = false;
    }

    /// Logs the failures that caused a failover, unless their codes are those of the last attempt.
    pub(super) fn failovers(&mut self, failures: &[Failure], served_by: &str) {
        let codes: Vec<&str> = failures.iter().map(|f| f.code.label()).collect();
        if codes == self.failovers {
            return;
        }
        for failure in failures {
            warn!(
                code = %failure.code,
                stage = failure.stage.name(),
                host = failure.host.as_deref(),
                request_id = failure.request_id,
                served_by,
                error = failure.message,
                advice = %failure.advice,
                "Failed over to another endpoint"
            );
        }
        self.failovers = codes;
    }

    /// Logs an expiry, which no attempt causes.
    pub(super) fn observed(&mut self, state: &Snapshot, now: Moment) {
        if !self.enter(state, now) || state.phase(now) != Phase::Expired {
            return;
        }
        if let Some(failure) = state.failure() {
            self.log_outage(&state.health(now), failure, now);
        } else if state
            .current()
            .is_none_or(|current| current.lease.renewal.is_none())
        {
            // Otherwise the attempt that follows tells the reason.
            warn!(
                error = "they are short-lived, or this machine slept or its clock was set",
                "The credentials expired before they were renewed"
            );
        }
    }

    /// Records the phase. Returns whether it has changed.
    fn enter(&mut self, state: &Snapshot, now: Moment) -> bool {
        let phase = Some(state.phase(now));
        std::mem::replace(&mut self.phase, phase) != phase
    }

    fn role(&self) -> (Option<&str>, Option<&str>) {
        let role = self.role.as_ref();
        (
            role.map(|(arn, _)| arn.as_str()),
            role.map(|(_, session_name)| session_name.as_str()),
        )
    }

    /// Logs the last failure, and what it means at `now`.
    fn log_outage(&mut self, health: &Health, failure: &Failure, now: Moment) {
        if let Some(outage) = &mut self.outage {
            outage.logged = now;
            outage.logged_codes.insert(failure.code.label());
        }
        let (role, session_name) = self.role();
        let failures = health.failures;
        let next_attempt_seconds = health.next_attempt_after.map(|next| next.as_secs());
        let remaining_seconds = health.remaining.map(|left| left.as_secs());
        let expires_at = health.expires_at.map(timestamp);
        let code = failure.code.as_str();
        let stage = failure.stage.name();
        let host = failure.host.as_deref();
        let request_id = failure.request_id.as_deref();
        let (error, advice) = (failure.message.as_str(), &*failure.advice);
        match health.phase {
            Phase::Fresh | Phase::Failing => warn!(
                code,
                stage,
                host,
                request_id,
                failures,
                next_attempt_seconds,
                remaining_seconds,
                expires_at,
                role,
                session_name,
                error,
                advice,
                "Cannot renew, still serving the current credentials"
            ),
            Phase::Expired => error!(
                code,
                stage,
                host,
                request_id,
                failures,
                next_attempt_seconds,
                remaining_seconds,
                expires_at,
                role,
                session_name,
                error,
                advice,
                "The credentials are at their end and cannot be renewed"
            ),
            Phase::Pending | Phase::NoRole => error!(
                code,
                stage,
                host,
                request_id,
                failures,
                next_attempt_seconds,
                role,
                session_name,
                error,
                advice,
                "No credentials"
            ),
        }
    }
}

/// Whether an attempt is logged that failed like the one before: every five minutes, and every minute from ten minutes before
/// the expiry on. `left` is how long the current credentials are good.
///
/// No line is worth a wake-up, so the attempt that is nearest to its time is logged.
pub(super) fn is_due(since_logged: Duration, until_next: Duration, left: Option<Duration>) -> bool {
    let is_urgent = left.is_none_or(|left| left <= LAST_MINUTES);
    let interval = if is_urgent { MINUTE } else { 5 * MINUTE };
    since_logged + until_next / 2 >= interval
}

const MINUTE: Duration = Duration::from_secs(60);

/// The time before the expiry in which somebody must act.
const LAST_MINUTES: Duration = Duration::from_secs(600);

/// A clock that differs by more is wrong, not merely imprecise.
const TOLERABLE_SKEW: TimeDelta = TimeDelta::seconds(30);
