//! The log of the refresh loop.

use std::fmt::Write as _;

use super::*;
use crate::refresh::log::is_due;
use crate::refresh::store::tests::{lease, noon};
use crate::system::log::Format;
use crate::testing::{Log, assert_golden};

/// A reporter, the state that it logs, and its log.
struct Rig {
    reporter: Reporter,
    publisher: Publisher,
    log: Log,
}

impl Rig {
    fn start() -> Self {
        let (publisher, _, _) = store::channel(|_| Bytes::new());
        Self {
            reporter: Reporter::default(),
            publisher,
            log: Log::start(),
        }
    }

    fn failed(&mut self, code: &'static str) -> Vec<String> {
        let failure = Failure::new(Stage::Sts, code, "STS refused");
        self.publisher.failed(failure, noon());
        self.attempted(noon())
    }

    fn renewed(&mut self, name: &str) -> Vec<String> {
        let deadline = noon().after(Duration::from_secs(HOUR));
        self.publisher.renewed(lease(name, deadline), noon());
        self.attempted(noon())
    }

    fn attempted(&mut self, now: Moment) -> Vec<String> {
        self.reporter.attempted(&self.publisher.snapshot(), now);
        self.log.take()
    }

    fn observed(&mut self, after: u64) -> Vec<String> {
        let now = noon().after(Duration::from_secs(after));
        self.reporter.observed(&self.publisher.snapshot(), now);
        self.log.take()
    }
}

/// Asserts that there is exactly one line, with this level and text.
#[track_caller]
fn assert_line(lines: &[String], level: &str, text: &str) {
    let [line] = lines else {
        panic!("expected one line: {lines:?}");
    };
    assert!(line.starts_with(level) && line.contains(text), "{line}");
}

#[test]
fn failure_and_success_are_logged_once_each() {
    let mut rig = Rig::start();
    assert_line(&rig.failed("TimedOut"), "ERROR", "No credentials: STS");
    assert_eq!(rig.failed("TimedOut"), [""; 0], "the same failure again");
    assert_line(&rig.failed("NoPermission"), "ERROR", "No credentials: STS");

    let renewed = rig.renewed("a");
    assert_line(&renewed[..1], "INFO", "Credentials renewed");
    assert_line(&renewed[1..], "INFO", "The outage is over");
    assert_line(&renewed[1..], "INFO", "failures=3");
    assert_line(&rig.renewed("a"), "DEBUG", "still the same");
    assert_line(&rig.renewed("b"), "INFO", "Credentials renewed");

    let failing = "Cannot renew, still serving the current credentials: STS";
    assert_line(&rig.failed("NoPermission"), "WARN", failing);
    assert_eq!(
        rig.failed("NoPermission"),
        [""; 0],
        "the same failure again"
    );
    let again = rig.renewed("b");
    assert_line(&again[..1], "DEBUG", "still the same");
    assert_line(&again[1..], "INFO", "The outage is over");
    assert_line(&again[1..], "INFO", "failures=2");
    assert_line(&rig.failed("NoPermission"), "WARN", failing);
}

#[test]
fn expiry_is_logged_once_with_its_reason() {
    let mut rig = Rig::start();
    rig.renewed("a");
    assert_eq!(rig.observed(HOUR - 1), [""; 0]);
    assert_line(&rig.observed(HOUR), "WARN", "expired before");
    assert_eq!(rig.observed(HOUR + 1), [""; 0]);

    let mut rig = Rig::start();
    rig.renewed("a");
    rig.failed("TimedOut");
    let expired = rig.observed(HOUR);
    assert_line(&expired, "ERROR", "cannot be renewed: STS refused");
    assert_eq!(rig.observed(HOUR + 1), [""; 0]);

    // A recovery is not an expiry, and the end of the attempt logs it.
    let mut rig = Rig::start();
    rig.renewed("a");
    rig.failed("TimedOut");
    rig.publisher.unchanged(noon());
    assert_eq!(rig.observed(0), [""; 0]);
}

#[test]
fn credentials_that_nothing_renews_by_itself_are_announced_and_their_end_is_told_once() {
    let mut rig = Rig::start();
    let deadline = noon().after(Duration::from_secs(HOUR));
    let mut obtained = |name| {
        let renewal = Some("log in again".to_owned());
        let lease = Lease {
            renewal,
            ..lease(name, deadline)
        };
        rig.publisher.renewed(lease, noon());
        rig.attempted(noon())
    };
    let [_, end] = &obtained("a")[..] else {
        panic!("a renewal and its end");
    };
    assert!(
        end.starts_with("INFO") && end.contains("log in again"),
        "{end}"
    );
    let [_, due] = &obtained("a")[..] else {
        panic!("the same again, and why");
    };
    assert!(
        due.starts_with("WARN") && due.contains("log in again"),
        "{due}"
    );
    assert_line(&obtained("a"), "DEBUG", "still the same");
    assert_eq!(obtained("b").len(), 2);
    assert_eq!(obtained("b").len(), 2, "of the others too");
    // The attempt that is due at the end tells why there are no others.
    assert_eq!(rig.observed(HOUR), [""; 0]);
}

#[test]
fn restored_credentials_are_not_logged_again() {
    let mut rig = Rig::start();
    let deadline = noon().after(Duration::from_secs(HOUR));
    rig.publisher.renewed(lease("a", deadline), noon());
    let state = rig.publisher.snapshot();
    let current = state.current().unwrap();
    rig.reporter.resumed(current, state.phase(noon()));
    assert_line(&rig.attempted(noon()), "DEBUG", "still the same");

    let mut rig = Rig::start();
    rig.publisher.renewed(lease("a", noon()), noon());
    let state = rig.publisher.snapshot();
    let current = state.current().unwrap();
    rig.reporter.resumed(current, state.phase(noon()));
    assert_eq!(rig.observed(0), [""; 0], "expired before the start");
}

#[test]
fn clock_skew_is_logged_as_a_warning_and_its_end_too() {
    let mut rig = Rig::start();
    let mut skew = |seconds| {
        rig.reporter.skew(TimeDelta::seconds(seconds));
        rig.log.take()
    };
    assert_line(&skew(31), "WARN", "ahead_seconds=31");
    assert_eq!(skew(31), [""; 0]);
    assert_line(&skew(-30), "INFO", "is right again");
    assert_line(&skew(-61), "WARN", "ahead_seconds=-61");
    assert_line(&skew(-30), "INFO", "is right again");
}

#[test]
fn failovers_and_discarded_credentials_are_logged_when_they_change() {
    let mut rig = Rig::start();
    let mut failovers = |codes: &[&'static str]| {
        let failed = |code: &&'static str| Failure::new(Stage::Sts, *code, "STS refused");
        let failures: Vec<Failure> = codes.iter().map(failed).collect();
        rig.reporter.failovers(&failures, "sts.aliyuncs.com");
        rig.log.take()
    };
    assert_eq!(failovers(&[]), [""; 0]);
    let line = "Failed over to another endpoint: STS refused";
    assert_line(&failovers(&["TimedOut"]), "WARN", line);
    assert_eq!(failovers(&["TimedOut"]), [""; 0], "the same failure again");
    assert_eq!(failovers(&["TimedOut", "DnsFailed"]).len(), 2);
    assert_eq!(failovers(&[]), [""; 0]);
    assert_line(&failovers(&["TimedOut"]), "WARN", line);

    let short = lease("a", noon());
    rig.reporter.unchanged(&short);
    assert_line(&rig.log.take(), "WARN", "Keeping the current credentials");
    rig.reporter.unchanged(&short);
    assert_eq!(rig.log.take(), [""; 0], "the same failure again");
}

#[tokio::test(start_paused = true)]
async fn expiry_is_logged_when_it_happens_and_not_at_the_next_attempt() {
    let log = Log::start();
    let mut simulation = Simulation::resume(|_| Action::Throttle(300), Some((100, 0)));
    simulation.run(99).await;
    log.take();
    simulation.run(2).await;
    assert_line(&log.take(), "ERROR", "The credentials are at their end");
    assert_eq!(simulation.attempts().len(), 1);
}

#[test]
fn outage_is_logged_again_every_five_minutes_and_at_the_end_every_minute() {
    let seconds = Duration::from_secs;
    for (since, until_next, left, expected) in [
        (0, 60, Some(3600), false),
        (269, 60, Some(3600), false),
        (270, 60, Some(3600), true),
        (300, 0, Some(601), true),
        (60, 0, Some(601), false),
        (60, 0, Some(600), true),
        (29, 60, Some(600), false),
        (30, 60, Some(600), true),
        (54, 54, Some(1), true),
        (59, 0, Some(0), false),
        (60, 0, Some(0), true),
        (59, 0, None, false),
        (60, 0, None, true),
        // A throttled attempt is followed by a long backoff.
        (0, 300, Some(3600), false),
        (150, 300, Some(3600), true),
        (0, 300, Some(500), true),
    ] {
        let due = is_due(seconds(since), seconds(until_next), left.map(seconds));
        assert_eq!(due, expected, "{since} s, {until_next} s, {left:?} s");
    }
}

/// An outage before the first credentials, and one that lasts longer than those that are there.
fn outages(second: u64) -> Action {
    match second {
        90..200 => Action::Fail("NoPermission"),
        200..260 | 2100.. => Action::Grant(1800),
        _ => Action::Fail("ConnectFailed"),
    }
}

#[tokio::test(start_paused = true)]
async fn log_of_each_phase_change_matches_the_reviewed_text() {
    for (format, name) in [(Format::Text, "phases.txt"), (Format::Json, "phases.json")] {
        let log = Log::start_as(format);
        let mut simulation = Simulation::start(outages);
        let mut lines = String::new();
        for _ in 0..2200 {
            simulation.run(1).await;
            let elapsed = simulation.started.elapsed().as_secs();
            let time = format!("{:02}:{:02}", elapsed / 60, elapsed % 60);
            for line in log.take() {
                let is_debug = line.starts_with("DEBUG") || line.contains(r#""level":"DEBUG""#);
                if !is_debug {
                    writeln!(lines, "{time} {line}").unwrap();
                }
            }
        }
        assert_golden(&format!("logs/{name}"), &lines);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_of_an_outage_are_as_many_as_its_kinds_of_events() {
    let log = Log::start_as(Format::Json);
    let mut simulation = Simulation::start(outages);
    simulation.run(2200).await;
    let events: Vec<serde_json::Value> = log
        .take()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &serde_json::Value| event["level"] != "DEBUG")
        .collect();
    let messages: std::collections::BTreeSet<_> = events
        .iter()
        .map(|event| event["message"].to_string())
        .collect();
    assert_eq!(messages.len(), 5, "{messages:?}");
    assert!(events.len() > 20, "{}", events.len());
    for event in events
        .iter()
        .filter(|event| event["code"].is_string() && event["error"].is_string())
    {
        for field in [
            "stage",
            "host",
            "request_id",
            "failures",
            "next_attempt_seconds",
            "role",
            "session_name",
            "advice",
        ] {
            assert!(!event[field].is_null(), "{field}: {event}");
        }
    }
}
