//! A plan of what goes wrong, and how often: what `--fault` and the control path take.
//!
//! A call meets at most one of the faults that decide its answer: the dice are thrown once a call, and every fault's share
//! is one of all calls. Latency, lifetime and skew apply to whatever is answered.

mod parse;

use std::time::Duration;

use chrono::TimeDelta;

use crate::sandbox::faults::fault::Fault;

/// What goes wrong, and how often. By default nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// As it was written.
    text: String,
    /// The faults that decide an answer, and each one's share of the calls.
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
    /// Fails with everything that is wrong, a sentence each.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        parse::plan(text)
    }

    /// Returns it as it was written; empty if nothing goes wrong.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the fault of a call: `age` is how long the plan has been in force, `dice` is from 0 to less than 1.
    pub(in crate::sandbox) fn fault(&self, age: Duration, dice: f64) -> Option<Fault> {
        if self.flap.is_some_and(|flap| flap.is_down(age)) {
            return Some(Fault::Down);
        }
        let mut below = 0.0;
        let mut shares = self.shares.iter();
        let met = shares.find(|(_, share)| {
            below += share;
            dice < below
        });
        met.map(|(fault, _)| fault.clone())
    }

    /// Returns how late an answer comes.
    pub(in crate::sandbox) fn latency(&self, dice: f64) -> Duration {
        let (least, most) = self.latency.unwrap_or_default();
        least + most.saturating_sub(least).mul_f64(dice)
    }

    /// Returns how long credentials live, if that is not as they were asked for.
    pub(in crate::sandbox) fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// Returns how far its clock is ahead.
    pub(in crate::sandbox) fn skew(&self) -> TimeDelta {
        self.skew
    }
}

impl Flap {
    fn is_down(self, age: Duration) -> bool {
        let into = age.as_nanos().checked_rem(self.period.as_nanos());
        into.is_some_and(|into| into < self.down.as_nanos())
    }
}

/// Every fault: how it is written, and what it does. P is its share of the calls, 0 to 1, by default all.
pub const FAULTS: &[(&str, &str)] = &[
    ("down[=P]", "connections are closed without an answer"),
    (
        "hang[=P]",
        "no answer comes, and after 15 s the connection is closed",
    ),
    ("throttle[=P]", "Throttling.User, HTTP 400"),
    (
        "throttle-pause=DURATION",
        "what throttled calls are told to wait (Retry-After)",
    ),
    ("error[=P]", "InternalError, HTTP 500"),
    ("unavailable[=P]", "ServiceUnavailable, HTTP 503"),
    (
        "deny[=P]",
        "the role trusts nobody: NoPermission, with OIDC AuthenticationFail.NoPermission",
    ),
    ("html[=P]", "a web page, HTTP 200, as from a captive portal"),
    ("redirect[=P]", "HTTP 302"),
    ("truncated[=P]", "the first half of the answer"),
    ("empty[=P]", "HTTP 200 without a body"),
    ("expired[=P]", "credentials that have ended already"),
    (
        "flap=DURATION/DURATION",
        "down for the first span of every second one, as in flap=30s/90s",
    ),
    (
        "latency=DURATION[..DURATION]",
        "every answer comes so late, at most 10 s, evenly spread over a range",
    ),
    (
        "lifetime=DURATION",
        "credentials live so long, whatever is asked for",
    ),
    (
        "skew=[-]DURATION",
        "its clock is so far ahead, or with a minus behind",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        Plan::parse(text).unwrap()
    }

    #[test]
    fn a_share_is_one_of_all_calls_whatever_stands_before_it() {
        let plan = plan("throttle=0.25, error=0.5");
        for (dice, name) in [
            (0.0, Some("throttle")),
            (0.24, Some("throttle")),
            (0.25, Some("error")),
            (0.74, Some("error")),
            (0.75, None),
            (0.99, None),
        ] {
            let met = plan.fault(Duration::ZERO, dice);
            assert_eq!(met.as_ref().map(Fault::name), name, "{dice}");
        }
    }

    #[test]
    fn a_share_of_one_takes_every_call_and_one_of_zero_none() {
        for dice in [0.0, 0.5, 1.0 - f64::EPSILON] {
            assert_eq!(plan("down").fault(Duration::ZERO, dice), Some(Fault::Down));
            assert_eq!(plan("down=0").fault(Duration::ZERO, dice), None);
            assert_eq!(Plan::default().fault(Duration::ZERO, dice), None);
        }
    }

    #[test]
    fn a_flapping_service_is_down_first_and_then_what_else_was_planned() {
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
    fn latency_is_evenly_spread_over_its_range() {
        let second = Duration::from_secs(1);
        assert_eq!(plan("latency=1s..3s").latency(0.0), second);
        assert_eq!(plan("latency=1s..3s").latency(0.5), 2 * second);
        assert_eq!(plan("latency=1s").latency(0.9), second);
        assert_eq!(plan("down").latency(0.9), Duration::ZERO);
    }
}
