//! What the webhook counts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use crate::inject::admission::{Cause, Decision};
use crate::metrics::{self, Exposition};

use super::certificate::Certificate;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The counters of reviews. Clones share their counts.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    reviews: Family<Labels<2>, Counter>,
    durations: Histogram,
    accounts: Family<Labels<1>, Counter>,
}

impl Counters {
    /// Exposes the counters, and when the certificate ends.
    pub(super) fn expose(&self, certificate: Arc<Certificate>) -> Exposition {
        Exposition::new(|registry| {
            registry.register(
                "ram_sidecar_webhook_reviews",
                "Reviews by what happens to the pod, and what keeps it from having the sidecar",
                self.reviews.clone(),
            );
            registry.register_with_unit(
                "ram_sidecar_webhook_review_duration",
                "How long reviews took, the look-up of the service account included",
                Unit::Seconds,
                self.durations.clone(),
            );
            registry.register(
                "ram_sidecar_webhook_account_lookups",
                "Look-ups of service accounts at the API server",
                self.accounts.clone(),
            );
            registry.register_collector(Box::new(End(certificate)));
        })
    }

    /// Counts a review.
    pub(super) fn reviewed(&self, decision: &Decision, took: Duration) {
        let cause = decision.cause.map_or("none", Cause::name);
        self.count(decision.outcome.name(), cause);
        self.durations.observe(took.as_secs_f64());
    }

    /// Counts a request that is no review.
    pub(super) fn rejected(&self, code: &'static str) {
        self.count("rejected", code);
    }

    fn count(&self, outcome: &'static str, reason: &'static str) {
        let labels = [("outcome", outcome), ("reason", reason)];
        self.reviews.get_or_create(&labels).inc();
    }

    /// Counts a look-up of a service account.
    pub(super) fn looked_up(&self, is_found: bool) {
        let result = if is_found { "success" } else { "failure" };
        self.accounts.get_or_create(&[("result", result)]).inc();
    }
}

impl Default for Counters {
    fn default() -> Self {
        let counters = Self {
            reviews: Family::default(),
            durations: metrics::of_calls(),
            accounts: Family::default(),
        };
        // A rate needs the beginning of a counter.
        for (outcome, reason) in [("injected", "none"), ("denied", Cause::Settings.name())] {
            let labels = [("outcome", outcome), ("reason", reason)];
            drop(counters.reviews.get_or_create(&labels));
        }
        for result in ["success", "failure"] {
            drop(counters.accounts.get_or_create(&[("result", result)]));
        }
        counters
    }
}

/// Reads when the certificate ends at each scrape.
#[derive(Debug)]
struct End(Arc<Certificate>);

impl Collector for End {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        metrics::gauge(
            &mut encoder,
            (
                "ram_sidecar_webhook_certificate_expiration_timestamp",
                "When the certificate of the webhook ends.",
            ),
            Some(&Unit::Seconds),
            self.0.expires_at().map(metrics::seconds),
        )
    }
}
