//! Failover between endpoints: the state of each endpoint, and which failures cause a failover.

use std::time::Duration;

use chrono::TimeDelta;

use crate::failure::{self, Failure, FailureClass, Stage};
use crate::http::client::Client;
use crate::time::moment::Moment;

use super::endpoint::Endpoint;

/// An endpoint, the client that calls it, and the state derived from its responses.
#[derive(Debug)]
pub struct EndpointState {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The client that calls the endpoint.
    pub client: Client,
    /// How far the wall clock is ahead of this endpoint's clock, measured at its last response with a `Date` header.
    pub(super) skew: Option<TimeDelta>,
    /// When the backoff after throttling ends.
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

/// Returns the backoff of an endpoint that throttled a request; `None` after other failures.
pub(super) fn backoff(failure: &Failure) -> Option<Duration> {
    let requested = failure.retry_after.unwrap_or_default();
    let backoff = requested
        .max(failure::THROTTLED_BACKOFF)
        .min(failure::RETRY_AFTER_CAP);
    (failure.class == FailureClass::Throttled).then_some(backoff)
}

/// Whether a failure causes a failover. Another endpoint may succeed: each region has its own network path, outages and quota.
pub(super) fn causes_failover(failure: &Failure) -> bool {
    let code = &failure.code;
    matches!(failure.stage, Stage::Transport | Stage::Answer)
        || matches!(code.as_str(), "InternalError" | "ServiceUnavailable")
        || match failure.class {
            FailureClass::Throttled => true,
            // An unknown code is transient only if the HTTP status is 5xx.
            FailureClass::Transient => !code.is_known(),
            FailureClass::Persistent => false,
        }
}
