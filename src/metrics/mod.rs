//! The metrics: counters that decorate the source, the files and the servers, and gauges that are read from the state at
//! each scrape.
//!
//! What is counted does not know of it. A label has one of few values that are known beforehand: a kind, a code of a table,
//! or a host of the configuration. None holds a name, a path or an id that a caller or a service chose.

mod common;
mod requests;
mod source;
mod state;
mod target;
mod transport;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::refresh::store::HealthReader;
use crate::time::clock::Clock;

use self::common::Common;
use self::requests::Requests;
pub use self::requests::{ADMIN, Pending, RequestCounter};
use self::source::Renewals;
pub use self::source::{Attempt, CountedSource};
use self::state::State;
pub use self::target::CountedTarget;
use self::target::Writes;
use self::transport::Calls;
pub use self::transport::TimedTransport;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Histograms of times, by their labels.
type Timings<L> = Family<L, Histogram, fn() -> Histogram>;

/// What is counted in a daemon. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    renewals: Renewals,
    calls: Calls,
    writes: Writes,
    requests: Requests,
    open_connections: Arc<AtomicUsize>,
}

impl Counters {
    /// Returns the last attempts to obtain credentials, from the newest to the oldest.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.renewals.last()
    }

    /// Returns the number of open connections to all listeners, which they count themselves.
    pub fn open_connections(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.open_connections)
    }

    /// Returns for each dialect how many requests were answered with status 200, and how many were not.
    pub fn served(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        self.requests.served()
    }
}

/// All metrics of a process, as a scrape reads them.
#[derive(Debug)]
pub struct Exposition(Registry);

impl Exposition {
    /// Exposes what every process has, and what `register` adds.
    pub fn new(register: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Common::new(Clock::machine().now().wall)));
        register(&mut registry);
        Self(registry)
    }

    /// Exposes the counters and the state of a daemon.
    pub fn of_daemon(counters: &Counters, health: HealthReader, clock: Clock) -> Self {
        let state = State {
            health,
            clock,
            open_connections: counters.open_connections(),
        };
        Self::new(|registry| {
            registry.register_collector(Box::new(state));
            counters.renewals.register(registry);
            counters.calls.register(registry);
            counters.writes.register(registry);
            counters.requests.register(registry);
        })
    }

    /// Renders the metrics in the format of `OpenMetrics`, or in the older text, and returns their `Content-Type`.
    pub fn render(&self, is_openmetrics: bool) -> (&'static str, Bytes) {
        let mut rendered = String::new();
        // A string takes everything that is written.
        if is_openmetrics {
            let _ = text::encode(&mut rendered, &self.0);
            (OPENMETRICS, rendered.into())
        } else {
            let _ = prometheus_text::encode(&mut rendered, &self.0);
            (prometheus_text::CONTENT_TYPE, rendered.into())
        }
    }
}

/// Exposes a gauge that has no labels, if it has a value.
pub(crate) fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    unit: Option<&Unit>,
    value: Option<impl EncodeGaugeValue>,
) -> fmt::Result {
    let Some(value) = value else {
        return Ok(());
    };
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    metric.encode_gauge(&value)
}

/// Exposes a gauge with a value for each of some labels.
fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

/// Returns a time as metrics have it: in seconds since 1970.
pub(crate) fn seconds(at: DateTime<Utc>) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "52 bits of milliseconds are 142,000 years"
    )]
    let milliseconds = at.timestamp_millis() as f64;
    milliseconds / 1000.0
}

/// Makes a histogram of the seconds that a call to another machine takes.
pub(crate) fn of_calls() -> Histogram {
    Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

/// The media type of that format, in `Accept`.
pub const OPENMETRICS_TYPE: &str = "application/openmetrics-text";

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests;
