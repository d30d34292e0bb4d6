//! A plan of faults and their probabilities, as `--fault` and the control endpoint accept it.
//!
//! At most one fault decides the response to a call: one random number is drawn per call, and the probabilities of all
//! faults add up to 1 at most. Latency, lifetime and skew apply to every response.

mod parse;

use std::time::Duration;

use chrono::TimeDelta;

use crate::sandbox::faults::fault::Fault;

/// Faults and their probabilities. The default plan has no faults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The text that was parsed.
    text: String,
    /// The faults that decide a response, and the probability of each.
    deciding: Vec<(Fault, f64)>,
    flap: Option<Flap>,
    latency: Option<(Duration, Duration)>,
    lifetime: Option<Duration>,
    skew: TimeDelta,
}

/// An outage at the beginning of every period.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Flap {
    down: Duration,
    period: Duration,
}

impl Plan {
    /// Parses a plan: faults separated by commas, each `name` or `name=value`, as [`FAULTS`] lists them.
    ///
    /// Returns a message for each error in the text.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        parse::plan(text)
    }

    /// Returns the text that the plan was parsed from; empty if there are no faults.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the fault that applies to a call, `age` after the plan came into force; `sample` is in the range 0..1.
    pub(crate) fn fault(&self, age: Duration, sample: f64) -> Option<Fault> {
        if self.flap.is_some_and(|flap| flap.is_down(age)) {
            return Some(Fault::Down);
        }
        let mut sum = 0.0;
        let mut deciding = self.deciding.iter();
        let found = deciding.find(|(_, probability)| {
            sum += probability;
            sample < sum
        });
        found.map(|(fault, _)| fault.clone())
    }

    /// Returns the delay of a response; `sample` is in the range 0..1.
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

/// Every fault: its syntax, and what it does. P is its probability, from 0 to 1, by default 1.
pub const FAULTS: &[(&str, &str)] = &[
    ("down[=P]", "connections are closed without a response"),
    (
        "hang[=P]",
        "no response; after 15 s the connection is closed",
    ),
    ("throttle[=P]", "Throttling.User, HTTP 400"),
    (
        "throttle-pause=DURATION",
        "the Retry-After of throttled responses",
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
        "down for the first duration in each period of the second, as in flap=30s/90s",
    ),
    (
        "latency=DURATION[..DURATION]",
        "delays every response by this much, at most 10 s; a range is evenly distributed",
    ),
    (
        "lifetime=DURATION",
        "the lifetime of credentials, whatever DurationSeconds requests",
    ),
    (
        "skew=[-]DURATION",
        "how far the clock of STS is ahead, or behind if negative",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        Plan::parse(text).unwrap()
    }

    #[test]
    fn probabilities_add_up_in_the_order_of_the_plan() {
        let plan = plan("throttle=0.25, error=0.5");
        for (sample, name) in [
            (0.0, Some("throttle")),
            (0.24, Some("throttle")),
            (0.25, Some("error")),
            (0.74, Some("error")),
            (0.75, None),
            (0.99, None),
        ] {
            let fault = plan.fault(Duration::ZERO, sample);
            assert_eq!(fault.as_ref().map(Fault::name), name, "{sample}");
        }
    }

    #[test]
    fn a_probability_of_one_means_every_call_and_zero_means_none() {
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
            let fault = plan.fault(Duration::from_secs(seconds), 0.5).unwrap();
            assert_eq!(fault.name(), name, "{seconds}");
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
