//! Scripts with calculated outcomes.

use super::*;

/// A script and its calculated outcome, with a jitter of 0.5.
struct Case {
    name: &'static str,
    action: fn(u64) -> Action,
    seconds: u64,
    /// The intervals without credentials, in seconds.
    gaps: &'static [(u64, u64)],
    attempts: usize,
}

const CASES: &[Case] = &[
    Case {
        name: "a day without failures",
        action: |_| Action::Grant(HOUR),
        seconds: 24 * HOUR,
        gaps: &[],
        attempts: 56,
    },
    Case {
        name: "an outage of 32 minutes causes no gap",
        action: |at| {
            if (MINUTE..33 * MINUTE).contains(&at) {
                Action::Fail("ConnectFailed")
            } else {
                Action::Grant(HOUR)
            }
        },
        seconds: 3 * HOUR,
        gaps: &[],
        attempts: 26,
    },
    Case {
        name: "an outage beyond the expiry is over for clients within 15 seconds of its end",
        action: |at| {
            if (1..2 * HOUR).contains(&at) {
                Action::Fail("ConnectFailed")
            } else {
                Action::Grant(HOUR)
            }
        },
        seconds: 3 * HOUR,
        gaps: &[(HOUR, 2 * HOUR + 2)],
        attempts: 523,
    },
    Case {
        name: "a start during an outage",
        action: |at| {
            if at < 20 {
                Action::Fail("ConnectFailed")
            } else {
                Action::Grant(HOUR)
            }
        },
        seconds: HOUR,
        gaps: &[(1, 25)],
        attempts: 8,
    },
    Case {
        name: "a trust policy that is corrected after ten minutes",
        action: |at| {
            if at < 10 * MINUTE {
                Action::Fail("NoPermission")
            } else {
                Action::Grant(HOUR)
            }
        },
        seconds: HOUR,
        gaps: &[(1, 628)],
        attempts: 13,
    },
    Case {
        name: "throttling slows down",
        action: |at| {
            if at < 5 * MINUTE {
                Action::Fail("Throttling.User")
            } else {
                Action::Grant(HOUR)
            }
        },
        seconds: HOUR,
        gaps: &[(1, 301)],
        attempts: 21,
    },
    Case {
        name: "Retry-After is honoured",
        action: |at| {
            if at < 40 {
                Action::Throttle(45)
            } else {
                Action::Grant(HOUR)
            }
        },
        seconds: 10 * MINUTE,
        gaps: &[(1, 48)],
        attempts: 2,
    },
    Case {
        name: "throttling backs off further while credentials are good",
        action: |at| {
            if at == 0 {
                Action::Grant(HOUR)
            } else {
                Action::Fail("Throttling.User")
            }
        },
        seconds: HOUR,
        gaps: &[(HOUR, HOUR + 1)],
        attempts: 70,
    },
    Case {
        name: "garbage and expired responses do not cause a hot loop",
        action: |at| {
            Action::Fail(if at % 2 == 0 {
                "UnexpectedAnswer"
            } else {
                "ExpiredAnswer"
            })
        },
        seconds: HOUR,
        gaps: &[(1, HOUR + 1)],
        attempts: 452,
    },
    Case {
        name: "credentials of three seconds are renewed in time",
        action: |_| Action::Grant(3),
        seconds: 10 * MINUTE,
        gaps: &[],
        attempts: 466,
    },
    Case {
        name: "a service that hangs is abandoned and retried",
        action: |at| {
            if at < 60 {
                Action::Hang
            } else {
                Action::Grant(HOUR)
            }
        },
        seconds: HOUR,
        gaps: &[(1, 77)],
        attempts: 7,
    },
    Case {
        name: "a service that hangs after the start causes no gap",
        action: |at| {
            if (10..40 * MINUTE).contains(&at) {
                Action::Hang
            } else {
                Action::Grant(HOUR)
            }
        },
        seconds: 2 * HOUR,
        gaps: &[],
        attempts: 27,
    },
];

#[tokio::test(start_paused = true)]
async fn gaps_and_attempts_are_as_computed_whatever_sts_does() {
    for case in CASES {
        let mut simulation = Simulation::start(case.action);
        let gaps = simulation.run(case.seconds).await;
        assert_eq!(gaps, case.gaps, "{}", case.name);
        assert_eq!(simulation.attempts().len(), case.attempts, "{}", case.name);
    }
}
