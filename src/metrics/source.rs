//! Counts the attempts to obtain credentials.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::TimeDelta;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::credentials::Lease;
use crate::failure::{Code, Failure, LocalCode};
use crate::refresh::source::Source;

use super::Counters;

/// What is counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Renewals {
    attempts: Family<[(&'static str, &'static str); 2], Counter>,
    skew: Gauge<f64, AtomicU64>,
}

/// A source whose attempts are counted.
#[derive(Debug)]
pub struct CountedSource<S> {
    source: S,
    renewals: Option<Renewals>,
}

/// An attempt. If it is dropped before its end, it took too long.
struct Attempt<'a> {
    renewals: Option<&'a Renewals>,
    code: &'static str,
}

impl<S> CountedSource<S> {
    /// Counts the attempts of a source, if there are counters.
    pub fn new(source: S, counters: Option<&Counters>) -> Self {
        Self {
            source,
            renewals: counters.map(|counters| counters.renewals.clone()),
        }
    }
}

impl<S: Source + Send> Source for CountedSource<S> {
    async fn mint(&mut self) -> Result<Lease, Failure> {
        let mut attempt = Attempt {
            renewals: self.renewals.as_ref(),
            code: Code::from(LocalCode::TimedOut).label(),
        };
        let outcome = self.source.mint().await;
        attempt.code = match &outcome {
            Ok(lease) => {
                attempt.skew(lease.skew);
                SUCCESS
            }
            Err(failure) => failure.code.label(),
        };
        outcome
    }

    fn failovers(&mut self) -> Vec<Failure> {
        self.source.failovers()
    }

    fn timeout(&self) -> Duration {
        self.source.timeout()
    }
}

impl Attempt<'_> {
    fn skew(&self, skew: TimeDelta) {
        if let Some(renewals) = self.renewals {
            renewals.skew.set(skew.as_seconds_f64());
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(renewals) = self.renewals {
            let result = if self.code == SUCCESS {
                "success"
            } else {
                "failure"
            };
            let labels = [("result", result), ("code", self.code)];
            renewals.attempts.get_or_create(&labels).inc();
        }
    }
}

impl Renewals {
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

/// The code of an attempt that obtained credentials.
const SUCCESS: &str = "none";
