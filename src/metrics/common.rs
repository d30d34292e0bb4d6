//! What every process has: its build, its log, and what it uses of its machine.

use std::fmt;

use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;

use crate::system::usage::Usage;
use crate::system::{build, log};

use super::{gauge, gauges, seconds};

/// Reads everything at each scrape.
#[derive(Debug)]
pub(super) struct Common {
    started_at: DateTime<Utc>,
}

impl Common {
    /// Takes `now` for the start of the process, which it is but for some milliseconds.
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self { started_at: now }
    }
}

impl Collector for Common {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let labels = [("version", build::VERSION), ("revision", build::REVISION)];
        let info = ("ram_sidecar_build_info", "Is 1, for the build that runs.");
        gauges(encoder, info, [(labels, 1)])?;
        counter(
            encoder,
            (
                "ram_sidecar_log_lines_dropped",
                "Lines of the log that were dropped, because standard error was not read.",
            ),
            None,
            &log::dropped_lines(),
        )?;
        let usage = Usage::now();
        counter(
            encoder,
            ("process_cpu", "The time of the processor."),
            Some(&Unit::Seconds),
            &usage.processor.as_secs_f64(),
        )?;
        gauge(
            encoder,
            ("process_start_time", "When the process was started."),
            Some(&Unit::Seconds),
            Some(seconds(self.started_at)),
        )?;
        gauge(
            encoder,
            ("process_resident_memory", "The resident memory."),
            Some(&Unit::Bytes),
            usage.resident,
        )?;
        gauge(
            encoder,
            ("process_virtual_memory", "The address space."),
            Some(&Unit::Bytes),
            usage.address_space,
        )?;
        gauge(
            encoder,
            ("process_open_fds", "The open files."),
            None,
            usage.open_files,
        )?;
        gauge(
            encoder,
            ("process_max_fds", "The limit of open files."),
            None,
            Some(usage.open_files_limit),
        )
    }
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    unit: Option<&Unit>,
    value: &impl EncodeCounterValue,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
    metric.encode_counter(value, None::<&Exemplar<NoLabelSet, f64>>)
}
