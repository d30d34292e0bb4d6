//! One of several endpoints: what is known of it, and when another one is worth asking.

use std::time::Duration;

use chrono::TimeDelta;

use crate::failure::{self, Failure, Stage, Verdict};
use crate::http::client::Outbound;
use crate::time::moment::Moment;

use super::endpoint::Endpoint;

/// One endpoint, and how to reach it.
#[derive(Debug)]
pub struct Place {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The client to call it with.
    pub outbound: Outbound,
    /// How far the wall clock is ahead of this endpoint's, as last learnt.
    pub(super) skew: Option<TimeDelta>,
    /// Until when it asked to be left alone.
    pub(super) rests_until: Option<Moment>,
}

impl Place {
    /// Makes a place whose clock is not known yet.
    pub fn new(endpoint: Endpoint, outbound: Outbound) -> Self {
        Self {
            endpoint,
            outbound,
            skew: None,
            rests_until: None,
        }
    }

    pub(super) fn is_resting(&self, now: Moment) -> bool {
        self.rests_until.is_some_and(|until| !now.is_past(until))
    }
}

/// Returns how long an endpoint is to be left alone while others are asked.
pub(super) fn pause(failure: &Failure) -> Option<Duration> {
    let asked_for = failure.retry_after.unwrap_or_default();
    let pause = asked_for.max(failure::THROTTLED).min(failure::PATIENCE);
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
