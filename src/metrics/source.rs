//! Counts the attempts to obtain credentials, and remembers the last.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::credentials::{Lease, RoleRequest};
use crate::failure::Failure;
use crate::refresh::source::Source;
use crate::time::clock::Clock;

use super::{Counters, Labels};

/// What is counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Renewals {
    attempts: Family<Labels<2>, Counter>,
    skew: Gauge<f64, AtomicU64>,
    last: Arc<Mutex<VecDeque<Attempt>>>,
}

/// An attempt to obtain credentials.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it began.
    pub at: DateTime<Utc>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

/// A source whose attempts are counted.
#[derive(Debug)]
pub struct CountedSource<S> {
    source: S,
    clock: Clock,
    renewals: Option<Renewals>,
}

/// Counts an attempt when it ends, or is dropped because it takes too long.
struct Pending<'a> {
    renewals: Option<&'a Renewals>,
    attempt: Attempt,
}

impl<S> CountedSource<S> {
    /// Counts the attempts of a source, if there are counters.
    pub fn new(source: S, clock: Clock, counters: Option<&Counters>) -> Self {
        Self {
            source,
            clock,
            renewals: counters.map(|counters| counters.renewals.clone()),
        }
    }
}

impl<S: Source + Send> Source for CountedSource<S> {
    async fn mint(&mut self) -> Result<Lease, Failure> {
        let mut pending = Pending {
            renewals: self.renewals.as_ref(),
            attempt: Attempt {
                at: self.clock.now().wall,
                failure: Some(Failure::timed_out(self.source.timeout())),
            },
        };
        let outcome = self.source.mint().await;
        pending.attempt.failure = outcome.as_ref().err().cloned();
        if let (Some(renewals), Ok(lease)) = (pending.renewals, &outcome) {
            renewals.skew.set(lease.skew.as_seconds_f64());
        }
        outcome
    }

    fn failovers(&mut self) -> Vec<Failure> {
        self.source.failovers()
    }

    fn role(&self) -> Option<&RoleRequest> {
        self.source.role()
    }

    fn timeout(&self) -> Duration {
        self.source.timeout()
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(renewals) = self.renewals {
            renewals.add(self.attempt.clone());
        }
    }
}

impl Renewals {
    fn add(&self, attempt: Attempt) {
        let (result, code) = match &attempt.failure {
            None => ("success", "none"),
            Some(failure) => ("failure", failure.code.label()),
        };
        let labels = [("result", result), ("code", code)];
        self.attempts.get_or_create(&labels).inc();
        let mut last = self.remembered();
        last.truncate(REMEMBERED - 1);
        last.push_front(attempt);
    }

    /// Returns the last attempts, from the newest to the oldest.
    pub(super) fn last(&self) -> Vec<Attempt> {
        self.remembered().iter().cloned().collect()
    }

    fn remembered(&self) -> MutexGuard<'_, VecDeque<Attempt>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "ram_sidecar_renewals",
            "Attempts to obtain credentials",
            self.attempts.clone(),
        );
        registry.register_with_unit(
            "ram_sidecar_clock_skew",
            "How far the clock of this machine was ahead of that of STS when credentials were last obtained",
            Unit::Seconds,
            self.skew.clone(),
        );
    }
}

/// How many attempts are remembered.
const REMEMBERED: usize = 20;
