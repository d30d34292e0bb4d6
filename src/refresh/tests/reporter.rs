//! What is told of the loop, and that each change is told once.

use super::*;
use crate::refresh::store::tests::{lease, noon};
use crate::testing::Log;

/// A reporter, the state that it is shown, and what it has said.
struct Told {
    reporter: Reporter,
    publisher: Publisher,
    log: Log,
}

impl Told {
    fn start() -> Self {
        let (publisher, _, _) = store::channel(|_| Bytes::new());
        Self {
            reporter: Reporter::default(),
            publisher,
            log: Log::start(),
        }
    }

    fn failed(&mut self, code: &'static str) -> Vec<String> {
        let failure = Failure::new(Stage::Sts, code, "STS said no");
        self.publisher.failed(failure, noon());
        self.attempted(noon())
    }

    fn renewed(&mut self, name: &str) -> Vec<String> {
        let end = noon().after(Duration::from_secs(HOUR));
        self.publisher.renewed(lease(name, end), noon());
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

/// Says whether the only line has the level, and then the text, that are expected.
#[track_caller]
fn assert_line(told: &[String], level: &str, text: &str) {
    let [line] = told else {
        panic!("one line was expected: {told:?}");
    };
    assert!(line.starts_with(level) && line.contains(text), "{line}");
}

#[test]
fn each_failure_and_each_success_is_told_of_once() {
    let mut told = Told::start();
    assert_line(&told.failed("TimedOut"), "ERROR", "No credentials: STS");
    assert_eq!(told.failed("TimedOut"), [""; 0], "the same again");
    assert_line(&told.failed("NoPermission"), "ERROR", "No credentials: STS");

    let renewed = told.renewed("a");
    assert_line(&renewed, "INFO", "Credentials renewed");
    assert_line(&renewed, "INFO", "failures_before=3");
    assert_line(&told.renewed("a"), "DEBUG", "still the same");
    assert_line(&told.renewed("b"), "INFO", "Credentials renewed");

    let failing = "Cannot renew, still serving the credentials in hand: STS";
    assert_line(&told.failed("NoPermission"), "WARN", failing);
    assert_eq!(told.failed("NoPermission"), [""; 0], "the same again");
    let again = told.renewed("b");
    assert_line(&again, "INFO", "Renewals work again");
    assert_line(&again, "INFO", "failures_before=2");
    assert_line(&told.failed("NoPermission"), "WARN", failing);
}

#[test]
fn an_expiry_is_told_of_once_with_its_reason() {
    let mut told = Told::start();
    told.renewed("a");
    assert_eq!(told.observed(HOUR - 1), [""; 0]);
    assert_line(&told.observed(HOUR), "WARN", "expired before");
    assert_eq!(told.observed(HOUR + 1), [""; 0]);

    let mut told = Told::start();
    told.renewed("a");
    told.failed("TimedOut");
    let expired = told.observed(HOUR);
    assert_line(&expired, "ERROR", "cannot be renewed: STS said no");
    assert_eq!(told.observed(HOUR + 1), [""; 0]);

    // Nor is what goes the other way, or what an attempt has yet to tell, an expiry.
    let mut told = Told::start();
    told.renewed("a");
    told.failed("TimedOut");
    told.publisher.unchanged(noon());
    assert_eq!(told.observed(0), [""; 0]);
}

#[test]
fn what_a_predecessor_obtained_is_no_news() {
    let mut told = Told::start();
    let end = noon().after(Duration::from_secs(HOUR));
    told.publisher.renewed(lease("a", end), noon());
    let state = told.publisher.snapshot();
    let current = state.current().unwrap();
    told.reporter.resumed(current, state.phase(noon()));
    assert_line(&told.attempted(noon()), "DEBUG", "still the same");

    let mut told = Told::start();
    told.publisher.renewed(lease("a", noon()), noon());
    let state = told.publisher.snapshot();
    let current = state.current().unwrap();
    told.reporter.resumed(current, state.phase(noon()));
    assert_eq!(told.observed(0), [""; 0], "it had expired before");
}

#[test]
fn a_wrong_clock_is_a_warning_and_the_right_one_a_relief() {
    let mut told = Told::start();
    let mut skew = |seconds| {
        told.reporter.skew(TimeDelta::seconds(seconds));
        told.log.take()
    };
    assert_line(&skew(31), "WARN", "ahead_seconds=31");
    assert_eq!(skew(31), [""; 0]);
    assert_line(&skew(-30), "INFO", "is right again");
    assert_line(&skew(-61), "WARN", "ahead_seconds=-61");
    assert_line(&skew(-30), "INFO", "is right again");
}

#[test]
fn what_is_passed_over_or_not_taken_is_told_of_when_it_changes() {
    let mut told = Told::start();
    let mut passed_over = |codes: &[&'static str]| {
        let failed = |code: &&'static str| Failure::new(Stage::Sts, *code, "STS said no");
        let failures: Vec<Failure> = codes.iter().map(failed).collect();
        told.reporter.passed_over(&failures, "sts.aliyuncs.com");
        told.log.take()
    };
    assert_eq!(passed_over(&[]), [""; 0]);
    let news = "Another endpoint had to serve: STS said no";
    assert_line(&passed_over(&["TimedOut"]), "WARN", news);
    assert_eq!(passed_over(&["TimedOut"]), [""; 0], "the same again");
    assert_eq!(passed_over(&["TimedOut", "DnsFailed"]).len(), 2);
    assert_eq!(passed_over(&[]), [""; 0]);
    assert_line(&passed_over(&["TimedOut"]), "WARN", news);

    let short = lease("a", noon());
    told.reporter.kept(&short);
    assert_line(&told.log.take(), "WARN", "ends sooner than what is held");
    told.reporter.kept(&short);
    assert_eq!(told.log.take(), [""; 0], "the same again");
}

#[tokio::test(start_paused = true)]
async fn an_expiry_is_told_of_when_it_happens_and_not_at_the_next_attempt() {
    let log = Log::start();
    let mut simulation = Simulation::resume(|_| Act::Throttle(300), Some((100, 0)));
    simulation.run(99).await;
    log.take();
    simulation.run(2).await;
    assert_line(&log.take(), "ERROR", "The credentials have expired");
    assert_eq!(simulation.attempts().len(), 1);
}
