//! Reads the state of a daemon at each scrape.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use crate::refresh::store::{HealthReader, Phase};
use crate::time::clock::Clock;

use super::{gauge, gauges, seconds};

/// The state of a daemon, which has no secrets.
#[derive(Debug)]
pub(super) struct State {
    pub(super) health: HealthReader,
    pub(super) clock: Clock,
    pub(super) open_connections: Arc<AtomicUsize>,
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let health = self.health.health(self.clock.now());
        for ((name, help), at) in [
            (
                (
                    "ram_sidecar_credentials_expiration_timestamp",
                    "When the credentials expire, by the clock of STS.",
                ),
                health.expires_at,
            ),
            (
                (
                    "ram_sidecar_credentials_renewal_timestamp",
                    "When the credentials are to be renewed.",
                ),
                health.renewal_at,
            ),
            (
                (
                    "ram_sidecar_next_attempt_timestamp",
                    "When the next attempt to obtain credentials is made.",
                ),
                health.next_attempt_at,
            ),
        ] {
            gauge(encoder, (name, help), Some(&Unit::Seconds), at.map(seconds))?;
        }
        let phase = (
            "ram_sidecar_phase",
            "Is 1 for the phase of the credentials, and 0 for every other.",
        );
        let phases =
            Phase::ALL.map(|phase| ([("phase", phase.name())], u64::from(phase == health.phase)));
        gauges(encoder, phase, phases)?;
        gauge(
            encoder,
            (
                "ram_sidecar_consecutive_failures",
                "Attempts in a row that have failed.",
            ),
            None,
            Some(health.failures),
        )?;
        gauge(
            encoder,
            (
                "ram_sidecar_open_connections",
                "Open connections to all listeners.",
            ),
            None,
            Some(self.open_connections.load(Ordering::Relaxed)),
        )
    }
}
