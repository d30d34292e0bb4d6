//! Counts the requests of the servers.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::{Counters, Labels, Timings};

/// What is counted.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    answered: Family<Answered, Counter>,
    durations: Timings<Labels<1>>,
    refused: Family<Labels<1>, Counter>,
    held: Gauge<u64, AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    dialect: &'static str,
    status: u16,
}

/// Counts the requests of a server.
#[derive(Clone, Debug)]
pub struct RequestCounter {
    requests: Requests,
    dialect: fn(&str) -> &'static str,
}

/// A request in progress. If it is dropped before [`Self::answered`], its client has left, or was closed.
#[derive(Debug)]
pub struct Pending {
    requests: Requests,
    dialect: &'static str,
    started: Instant,
    status: u16,
}

impl RequestCounter {
    /// Counts the requests of a server, which knows the dialect of a path.
    pub fn new(counters: &Counters, dialect: fn(&str) -> &'static str) -> Self {
        Self {
            requests: counters.requests.clone(),
            dialect,
        }
    }

    /// Begins to measure the request for a path.
    pub fn arrived(&self, path: &str) -> Pending {
        self.requests.held.inc();
        Pending {
            requests: self.requests.clone(),
            dialect: (self.dialect)(path),
            started: Instant::now(),
            status: NOT_ANSWERED,
        }
    }
}

impl Pending {
    /// Counts the answer: its status and, if it is an error, its code, which is one of a table.
    pub fn answered(mut self, status: u16, code: Option<&'static str>) {
        self.status = status;
        if let Some(code) = code {
            let refused = &self.requests.refused;
            refused.get_or_create(&[("code", code)]).inc();
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let (requests, dialect) = (&self.requests, self.dialect);
        requests.held.dec();
        let answered = Answered {
            dialect,
            status: self.status,
        };
        requests.answered.get_or_create(&answered).inc();
        let seconds = self.started.elapsed().as_secs_f64();
        let durations = &requests.durations;
        durations
            .get_or_create(&[("dialect", dialect)])
            .observe(seconds);
    }
}

impl Requests {
    /// Returns for each dialect how many requests were answered with status 200, and how many were not.
    pub(super) fn served(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        let count = |dialect, status| {
            let answered = self.answered.get(&Answered { dialect, status });
            answered.map_or(0, |answered| answered.get())
        };
        DIALECTS.into_iter().filter_map(move |dialect| {
            let others = STATUSES.iter().map(|status| count(dialect, *status)).sum();
            let served = count(dialect, 200);
            (served + others > 0).then_some((dialect, served, others))
        })
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "ram_sidecar_requests",
            "Requests by the status of their response; 499 if the client left before it",
            self.answered.clone(),
        );
        registry.register_with_unit(
            "ram_sidecar_request_duration",
            "How long requests took, the wait for credentials included",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "ram_sidecar_refused_requests",
            "Requests that were answered with an error, by its code",
            self.refused.clone(),
        );
        registry.register(
            "ram_sidecar_held_requests",
            "Requests that wait for their response",
            self.held.clone(),
        );
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            refused: Family::default(),
            held: Gauge::default(),
        }
    }
}

const DIALECTS: [&str; 3] = ["credentials_uri", "container", "metadata"];

/// Of responses that are not 200.
const STATUSES: [u16; 7] = [400, 401, 403, 404, 405, NOT_ANSWERED, 503];

/// As nginx logs it: the client has closed the connection.
const NOT_ANSWERED: u16 = 499;

/// In seconds: an answer takes a fraction of a millisecond, and waits for credentials at most 4 s.
const BUCKETS: [f64; 9] = [0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 4.5];
