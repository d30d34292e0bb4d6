//! Failover between endpoints: the state of each endpoint, and which failures cause a failover.

use std::time::Duration;

use chrono::TimeDelta;

use crate::failure::{self, Failure, FailureClass, Stage};
use crate::http::client::Client;
use crate::time::moment::Moment;

use super::endpoint::Endpoint;

/// An endpoint, the client that calls it, and the state that its responses leave behind.
#[derive(Debug)]
pub struct EndpointState {
    /// The address.
    pub endpoint: Endpoint,
    /// The client to call it with.
    pub client: Client,
    /// How far the wall clock is ahead of this endpoint's clock, by its last response with a date.
    pub(super) skew: Option<TimeDelta>,
    /// When the backoff ends that follows throttling.
    pub(super) backoff_until: Option<Moment>,
}

impl EndpointState {
    /// Creates the state of an endpoint that has not been called yet.
    pub fn new(endpoint: Endpoint, client: Client) -> Self {
        Self {
            endpoint,
            client,
            skew: None,
            backoff_until: None,
        }
    }

    pub(super) fn is_backing_off(&self, now: Moment) -> bool {
        self.backoff_until.is_some_and(|until| !now.is_past(until))
    }
}

/// Returns how long an endpoint is not called after a failure; `None` unless the endpoint throttled the request.
pub(super) fn backoff(failure: &Failure) -> Option<Duration> {
    let requested = failure.retry_after.unwrap_or_default();
    let backoff = requested
        .max(failure::THROTTLED_BACKOFF)
        .min(failure::RETRY_AFTER_CAP);
    (failure.class == FailureClass::Throttled).then_some(backoff)
}

/// Whether another endpoint may succeed: each region has its own network path, outages and quota.
pub(super) fn is_worth_failover(failure: &Failure) -> bool {
    let code = &failure.code;
    matches!(failure.stage, Stage::Transport | Stage::Answer)
        || matches!(code.as_str(), "InternalError" | "ServiceUnavailable")
        || match failure.class {
            FailureClass::Throttled => true,
            // The verdict on a code outside the table is Retry only after a status of 5xx.
            FailureClass::Transient => !code.is_known(),
            FailureClass::Persistent => false,
        }
}
