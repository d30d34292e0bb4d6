//! Failover between endpoints: what is known of each, and when another one may do better.

use std::time::Duration;

use chrono::TimeDelta;

use crate::failure::{self, Failure, Stage, Verdict};
use crate::http::client::Outbound;
use crate::time::moment::Moment;

use super::endpoint::Endpoint;

/// One endpoint, and how to reach it.
#[derive(Debug)]
pub struct EndpointState {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The client to call it with.
    pub outbound: Outbound,
    /// How far the wall clock is ahead of this endpoint's, as last learnt.
    pub(super) skew: Option<TimeDelta>,
    /// When its backoff ends, while it throttles us.
    pub(super) backoff_until: Option<Moment>,
}

impl EndpointState {
    /// Makes the state of an endpoint that has not been called yet.
    pub fn new(endpoint: Endpoint, outbound: Outbound) -> Self {
        Self {
            endpoint,
            outbound,
            skew: None,
            backoff_until: None,
        }
    }

    pub(super) fn is_backing_off(&self, now: Moment) -> bool {
        self.backoff_until.is_some_and(|until| !now.is_past(until))
    }
}

/// Returns how long an endpoint is not called after a failure; none unless it throttled us.
pub(super) fn pause(failure: &Failure) -> Option<Duration> {
    let asked_for = failure.retry_after.unwrap_or_default();
    let pause = asked_for
        .max(failure::THROTTLED_BACKOFF)
        .min(failure::RETRY_AFTER_CAP);
    (failure.verdict == Verdict::Throttled).then_some(pause)
}

/// Whether another endpoint may do better: each region is reached, fails and counts its quota by itself.
pub(super) fn is_worth_another_endpoint(failure: &Failure) -> bool {
    match failure.stage {
        Stage::Transport | Stage::Answer => true,
        // A code that the table does not know is worth a retry only with a status of 5xx.
        _ => match failure.code.as_str() {
            "InternalError" | "ServiceUnavailable" => true,
            _ => match failure.verdict {
                Verdict::Throttled => true,
                Verdict::Retry => !failure.code.is_known(),
                Verdict::Fatal => false,
            },
        },
    }
}
