//! A plan of faults and their shares of the calls, as `--fault` and the control path take it.
//!
//! At most one fault decides the response to a call: one random number is drawn a call, and every fault's share is one of
//! all calls. Latency, lifetime and skew apply to all responses.

mod parse;

use std::time::Duration;

use chrono::TimeDelta;

use crate::sandbox::faults::fault::Fault;

/// Faults, and their shares of the calls. By default there are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// As it was written.
    text: String,
    /// The faults that decide a response, and each one's share of the calls.
    shares: Vec<(Fault, f64)>,
    flap: Option<Flap>,
    latency: Option<(Duration, Duration)>,
    lifetime: Option<Duration>,
    skew: TimeDelta,
}

/// Down at the beginning of every period.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Flap {
    down: Duration,
    period: Duration,
}

impl Plan {
    /// Reads a plan: faults separated by commas, each `name` or `name=value`, as [`FAULTS`] lists them.
    ///
    /// The error has a sentence for each mistake in the text.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        parse::plan(text)
    }

    /// Returns the plan as it was written; empty if there are no faults.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the fault that applies to a call: `age` is how long the plan has been in force, `sample` is from 0 to less
    /// than 1.
    pub(crate) fn fault(&self, age: Duration, sample: f64) -> Option<Fault> {
        if self.flap.is_some_and(|flap| flap.is_down(age)) {
            return Some(Fault::Down);
        }
        let mut below = 0.0;
        let mut shares = self.shares.iter();
        let found = shares.find(|(_, share)| {
            below += share;
            sample < below
        });
        found.map(|(fault, _)| fault.clone())
    }

    /// Returns by how much a response is delayed; `sample` is from 0 to less than 1.
    pub(crate) fn latency(&self, sample: f64) -> Duration {
        let (least, most) = self.latency.unwrap_or_default();
        least + most.saturating_sub(least).mul_f64(sample)
    }

    /// Returns the lifetime of credentials, if it overrides `DurationSeconds`.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// Returns how far the clock is ahead.
    pub(crate) fn skew(&self) -> TimeDelta {
        self.skew
    }
}

impl Flap {
    fn is_down(self, age: Duration) -> bool {
        let into = age.as_nanos().checked_rem(self.period.as_nanos());
        into.is_some_and(|into| into < self.down.as_nanos())
    }
}

/// Every fault: its syntax, and what it does. P is its share of the calls, from 0 to 1, by default 1.
pub const FAULTS: &[(&str, &str)] = &[
    ("down[=P]", "connections are closed without a response"),
    (
        "hang[=P]",
        "no response; after 15 s the connection is closed",
    ),
    ("throttle[=P]", "Throttling.User, HTTP 400"),
    (
        "throttle-pause=DURATION",
        "the pause that throttled calls are asked for (Retry-After)",
    ),
    ("error[=P]", "InternalError, HTTP 500"),
    ("unavailable[=P]", "ServiceUnavailable, HTTP 503"),
    (
        "deny[=P]",
        "the role trusts nobody: NoPermission, with OIDC AuthenticationFail.NoPermission",
    ),
    ("html[=P]", "a web page, HTTP 200, as from a captive portal"),
    ("redirect[=P]", "HTTP 302"),
    ("truncated[=P]", "the first half of the response"),
    ("empty[=P]", "HTTP 200 without a body"),
    ("expired[=P]", "credentials that have expired already"),
    (
        "flap=DURATION/DURATION",
        "down for the first duration of every second one, as in flap=30s/90s",
    ),
    (
        "latency=DURATION[..DURATION]",
        "delays every response by this much, at most 10 s; a range is spread evenly",
    ),
    (
        "lifetime=DURATION",
        "how long credentials live, whatever DurationSeconds asks for",
    ),
    (
        "skew=[-]DURATION",
        "how far the clock of STS is ahead, or with a minus behind",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        Plan::parse(text).unwrap()
    }

    #[test]
    fn shares_add_up_in_the_order_of_the_plan() {
        let plan = plan("throttle=0.25, error=0.5");
        for (sample, name) in [
            (0.0, Some("throttle")),
            (0.24, Some("throttle")),
            (0.25, Some("error")),
            (0.74, Some("error")),
            (0.75, None),
            (0.99, None),
        ] {
            let met = plan.fault(Duration::ZERO, sample);
            assert_eq!(met.as_ref().map(Fault::name), name, "{sample}");
        }
    }

    #[test]
    fn a_share_of_one_applies_to_every_call_and_one_of_zero_to_none() {
        for sample in [0.0, 0.5, 1.0 - f64::EPSILON] {
            assert_eq!(
                plan("down").fault(Duration::ZERO, sample),
                Some(Fault::Down)
            );
            assert_eq!(plan("down=0").fault(Duration::ZERO, sample), None);
            assert_eq!(Plan::default().fault(Duration::ZERO, sample), None);
        }
    }

    #[test]
    fn a_flapping_service_is_down_at_the_start_of_each_period() {
        let plan = plan("flap=30s/90s,error");
        for (seconds, name) in [
            (0, "down"),
            (29, "down"),
            (30, "error"),
            (89, "error"),
            (90, "down"),
            (119, "down"),
            (120, "error"),
        ] {
            let met = plan.fault(Duration::from_secs(seconds), 0.5).unwrap();
            assert_eq!(met.name(), name, "{seconds}");
        }
    }

    #[test]
    fn latency_is_evenly_distributed_over_its_range() {
        let second = Duration::from_secs(1);
        assert_eq!(plan("latency=1s..3s").latency(0.0), second);
        assert_eq!(plan("latency=1s..3s").latency(0.5), 2 * second);
        assert_eq!(plan("latency=1s").latency(0.9), second);
        assert_eq!(plan("down").latency(0.9), Duration::ZERO);
    }
}
