//! Counts the writes of files.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::failure::Failure;
use crate::files::ownership::Ownership;
use crate::files::place::Place;
use crate::files::target::Target;
use crate::refresh::store::Current;
use crate::time::moment::Moment;

use super::{Counters, Labels, seconds};

/// What is counted, for all files of a format together.
#[derive(Clone, Debug, Default)]
pub(super) struct Writes {
    last: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    errors: Family<Labels<1>, Counter>,
}

/// A file whose writes are counted.
#[derive(Clone, Debug)]
pub struct CountedTarget<T> {
    target: T,
    labels: Labels<1>,
    writes: Option<Writes>,
}

impl<T> CountedTarget<T> {
    /// Counts the writes of a file with a format, if there are counters.
    pub fn new(target: T, format: &'static str, counters: Option<&Counters>) -> Self {
        let labels = [("format", format)];
        let writes = counters.map(|counters| counters.writes.clone());
        if let Some(writes) = &writes {
            // A rate needs the beginning of a counter.
            drop(writes.errors.get_or_create(&labels));
        }
        Self {
            target,
            labels,
            writes,
        }
    }

    fn counted(
        &self,
        outcome: io::Result<()>,
        written_at: Option<DateTime<Utc>>,
    ) -> io::Result<()> {
        if let Some(writes) = &self.writes {
            match (&outcome, written_at) {
                (Ok(()), Some(at)) => {
                    writes.last.get_or_create(&self.labels).set(seconds(at));
                }
                (Ok(()), None) => {}
                (Err(_), _) => {
                    writes.errors.get_or_create(&self.labels).inc();
                }
            }
        }
        outcome
    }
}

impl<T: Target> Target for CountedTarget<T> {
    const RECORDS_DEADLINE: bool = T::RECORDS_DEADLINE;

    fn path(&self) -> &Path {
        self.target.path()
    }

    fn check(&self) -> io::Result<()> {
        self.target.check()
    }

    fn expiration(&self, place: &Place) -> Option<DateTime<Utc>> {
        self.target.expiration(place)
    }

    fn replace(&self, current: &Current, ownership: &Ownership, now: Moment) -> io::Result<()> {
        let outcome = self.target.replace(current, ownership, now);
        self.counted(outcome, Some(now.wall))
    }

    fn remove(&self, place: &Place) -> io::Result<()> {
        self.counted(self.target.remove(place), None)
    }

    fn failure(&self, error: &io::Error) -> Failure {
        self.target.failure(error)
    }
}

impl Writes {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "ram_sidecar_file_last_write_timestamp",
            "When a file of the format was last written",
            Unit::Seconds,
            self.last.clone(),
        );
        registry.register(
            "ram_sidecar_file_write_errors",
            "Writes and removals of files of the format that failed",
            self.errors.clone(),
        );
    }
}
