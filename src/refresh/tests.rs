//! The loop against a scripted source, under tokio's paused clock.
//!
//! Whatever the script, in each simulated second nothing expired is offered, nothing valid is withheld, and attempts
//! are at least a second apart.

mod log;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::credentials::{Credentials, Lease};
use crate::failure::Stage;
use crate::refresh::store::{self, HealthReader, Offer, Phase, Subscriber};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// What the scripted source does when asked at a second of the simulation.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Grants credentials for so many seconds.
    Grant(u64),
    /// Fails with a code.
    Fail(&'static str),
    /// Fails, and asks for a pause of so many seconds.
    Throttle(u64),
    /// Grants credentials for so many seconds, counted from the request, two seconds later.
    Slow(u64),
    /// Never answers.
    Hang,
}

#[derive(Clone)]
struct Script {
    clock: Clock,
    started: Instant,
    act: fn(u64) -> Act,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    /// When each attempt began.
    attempts: Vec<Duration>,
    /// When each lease expires, in true time, by its id.
    ends: Vec<Duration>,
}

impl Log {
    /// Makes a lease that was requested at a moment of the clock, `elapsed` after the start.
    fn grant(&mut self, asked_at: Moment, elapsed: Duration, lifetime: Duration) -> Lease {
        self.ends.push(elapsed + lifetime);
        Lease {
            credentials: Credentials {
                access_key_id: (self.ends.len() - 1).to_string(),
                access_key_secret: "secret".into(),
                security_token: "token".into(),
                issued_at: asked_at.wall,
                expires_at: asked_at.wall + lifetime,
            },
            deadline: asked_at.after(lifetime),
            lifetime,
            skew: TimeDelta::zero(),
            served_by: "script".to_owned(),
        }
    }
}

impl Source for Script {
    async fn mint(&mut self) -> Result<Lease, Failure> {
        let elapsed = self.started.elapsed();
        let asked_at = self.clock.now();
        self.log.lock().unwrap().attempts.push(elapsed);
        let lifetime = match (self.act)(elapsed.as_secs()) {
            Act::Grant(seconds) => Duration::from_secs(seconds),
            Act::Slow(seconds) => {
                tokio::time::sleep(2 * SECOND).await;
                Duration::from_secs(seconds)
            }
            Act::Fail(code) => return Err(Failure::new(Stage::Sts, code, "scripted")),
            Act::Throttle(seconds) => {
                let mut failure = Failure::new(Stage::Sts, "Throttling.User", "scripted");
                failure.retry_after = Some(Duration::from_secs(seconds));
                return Err(failure);
            }
            Act::Hang => std::future::pending().await,
        };
        Ok(self.log.lock().unwrap().grant(asked_at, elapsed, lifetime))
    }

    fn timeout(&self) -> Duration {
        15 * SECOND
    }
}

struct Simulation {
    clock: Clock,
    started: Instant,
    subscriber: Subscriber,
    health: HealthReader,
    refresh_requests: watch::Sender<u64>,
    log: Arc<Mutex<Log>>,
    _loop: JoinSet<Infallible>,
}

impl Simulation {
    fn start(act: fn(u64) -> Act) -> Self {
        Self::resume(act, None)
    }

    /// Starts with restored credentials, if any: how long they last, and when to renew them, in seconds.
    fn resume(act: fn(u64) -> Act, left: Option<(u64, u64)>) -> Self {
        let wall: DateTime<Utc> = DateTime::from_timestamp(1_716_287_969, 0).unwrap();
        let boot = Duration::from_secs(77);
        let clock = Clock::simulated(Moment { wall, boot }, false);
        let (publisher, subscriber, health) = store::channel(|_| Bytes::new());
        let (refresh_requests, refresh_requested) = watch::channel(0);
        let log = Arc::<Mutex<Log>>::default();
        let started = Instant::now();
        let source = Script {
            clock: clock.clone(),
            started,
            act,
            log: Arc::clone(&log),
        };
        if let Some((lasts, renew_after)) = left {
            let now = clock.now();
            let lifetime = Duration::from_secs(lasts);
            let lease = log.lock().unwrap().grant(now, Duration::ZERO, lifetime);
            publisher.renewed(lease, now.after(Duration::from_secs(renew_after)));
        }
        let refresher = Refresher {
            source,
            publisher,
            clock: clock.clone(),
            jitter: || 0.5,
            refresh_requested,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(refresher.run());
        Self {
            clock,
            started,
            subscriber,
            health,
            refresh_requests,
            log,
            _loop: tasks,
        }
    }

    /// Lets a second pass, and returns whether credentials are offered.
    async fn second(&mut self, trusted_clock: bool) -> bool {
        tokio::time::sleep(SECOND).await;
        let elapsed = self.started.elapsed();
        let log = self.log.lock().unwrap();
        let offered = match self.subscriber.snapshot().offer(self.clock.now()) {
            Offer::Credentials(current) => {
                let end = log.ends[current
                    .lease
                    .credentials
                    .access_key_id
                    .parse::<usize>()
                    .unwrap()];
                assert!(
                    end > elapsed,
                    "expired credentials are offered at {elapsed:?}"
                );
                true
            }
            Offer::NoRole | Offer::Wait(_) | Offer::Refusal(_) => false,
        };
        if trusted_clock {
            let valid = log.ends.last().is_some_and(|end| *end > elapsed);
            assert_eq!(offered, valid, "at {elapsed:?}");
        }
        offered
    }

    /// Lets so many seconds pass, and returns the times without credentials, `[from, to)`.
    async fn run(&mut self, seconds: u64) -> Vec<(u64, u64)> {
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        for _ in 0..seconds {
            let offered = self.second(true).await;
            let at = self.started.elapsed().as_secs();
            match gaps.last_mut() {
                _ if offered => {}
                Some((_, to)) if *to == at => *to = at + 1,
                _ => gaps.push((at, at + 1)),
            }
        }
        gaps
    }

    fn offers(&mut self) -> bool {
        let offer = self.subscriber.snapshot().offer(self.clock.now());
        matches!(offer, Offer::Credentials(_))
    }

    fn attempts(&self) -> Vec<Duration> {
        let attempts = self.log.lock().unwrap().attempts.clone();
        for pair in attempts.windows(2) {
            assert!(
                pair[1] >= pair[0] + SECOND,
                "two attempts within a second: {pair:?}"
            );
        }
        attempts
    }
}

/// A script and its outcome by arithmetic, with the middle of the jitter.
struct Case {
    name: &'static str,
    act: fn(u64) -> Act,
    seconds: u64,
    /// The times without credentials, in seconds.
    gaps: &'static [(u64, u64)],
    attempts: usize,
}

const CASES: &[Case] = &[
    Case {
        name: "a day without trouble",
        act: |_| Act::Grant(HOUR),
        seconds: 24 * HOUR,
        gaps: &[],
        attempts: 56,
    },
    Case {
        name: "an outage of 32 minutes is not noticed",
        act: |at| {
            if (MINUTE..33 * MINUTE).contains(&at) {
                Act::Fail("ConnectFailed")
            } else {
                Act::Grant(HOUR)
            }
        },
        seconds: 3 * HOUR,
        gaps: &[],
        attempts: 26,
    },
    Case {
        name: "an outage beyond the expiry ends within a minute of its end",
        act: |at| {
            if (1..2 * HOUR).contains(&at) {
                Act::Fail("ConnectFailed")
            } else {
                Act::Grant(HOUR)
            }
        },
        seconds: 3 * HOUR,
        gaps: &[(HOUR, 2 * HOUR + 25)],
        attempts: 194,
    },
    Case {
        name: "a start during an outage",
        act: |at| {
            if at < 20 {
                Act::Fail("ConnectFailed")
            } else {
                Act::Grant(HOUR)
            }
        },
        seconds: HOUR,
        gaps: &[(1, 34)],
        attempts: 8,
    },
    Case {
        name: "a trust policy that is corrected after ten minutes",
        act: |at| {
            if at < 10 * MINUTE {
                Act::Fail("NoPermission")
            } else {
                Act::Grant(HOUR)
            }
        },
        seconds: HOUR,
        gaps: &[(1, 628)],
        attempts: 13,
    },
    Case {
        name: "throttling slows down",
        act: |at| {
            if at < 5 * MINUTE {
                Act::Fail("Throttling.User")
            } else {
                Act::Grant(HOUR)
            }
        },
        seconds: HOUR,
        gaps: &[(1, 301)],
        attempts: 21,
    },
    Case {
        name: "Retry-After is honoured",
        act: |at| {
            if at < 40 {
                Act::Throttle(45)
            } else {
                Act::Grant(HOUR)
            }
        },
        seconds: 10 * MINUTE,
        gaps: &[(1, 48)],
        attempts: 2,
    },
    Case {
        name: "throttling backs off further while credentials are good",
        act: |at| {
            if at == 0 {
                Act::Grant(HOUR)
            } else {
                Act::Fail("Throttling.User")
            }
        },
        seconds: HOUR,
        gaps: &[(HOUR, HOUR + 1)],
        attempts: 70,
    },
    Case {
        name: "garbage and expired responses for ever make no hot loop",
        act: |at| {
            Act::Fail(if at % 2 == 0 {
                "UnexpectedAnswer"
            } else {
                "ExpiredAnswer"
            })
        },
        seconds: HOUR,
        gaps: &[(1, HOUR + 1)],
        attempts: 122,
    },
    Case {
        name: "credentials of three seconds are renewed in time",
        act: |_| Act::Grant(3),
        seconds: 10 * MINUTE,
        gaps: &[],
        attempts: 466,
    },
    Case {
        name: "a service that hangs is abandoned and tried again",
        act: |at| if at < 60 { Act::Hang } else { Act::Grant(HOUR) },
        seconds: HOUR,
        gaps: &[(1, 78)],
        attempts: 7,
    },
    Case {
        name: "a service that hangs later is not noticed",
        act: |at| {
            if (10..40 * MINUTE).contains(&at) {
                Act::Hang
            } else {
                Act::Grant(HOUR)
            }
        },
        seconds: 2 * HOUR,
        gaps: &[],
        attempts: 27,
    },
];

/// Grants an hour at the start, and is unreachable afterwards.
fn then_unreachable(at: u64) -> Act {
    if at == 0 {
        Act::Grant(HOUR)
    } else {
        Act::Fail("ConnectFailed")
    }
}

#[tokio::test(start_paused = true)]
async fn gaps_and_attempts_are_as_computed_whatever_sts_does() {
    for case in CASES {
        let mut simulation = Simulation::start(case.act);
        let gaps = simulation.run(case.seconds).await;
        assert_eq!(gaps, case.gaps, "{}", case.name);
        assert_eq!(simulation.attempts().len(), case.attempts, "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn default_hour_always_leaves_half_an_hour() {
    let mut simulation = Simulation::start(|_| Act::Grant(HOUR));
    for _ in 0..12 * HOUR {
        simulation.second(true).await;
        let left = simulation
            .health
            .health(simulation.clock.now())
            .remaining
            .unwrap();
        assert!(left >= Duration::from_secs(1920), "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn wall_clock_set_forward_causes_a_renewal_within_a_slice() {
    let mut simulation = Simulation::start(|_| Act::Grant(HOUR));
    simulation.run(100).await;
    simulation.clock.shift_wall(TimeDelta::hours(2));
    let mut without = 0;
    for _ in 0..60 {
        without += u32::from(!simulation.second(false).await);
    }
    assert!(without <= 30, "{without} seconds without credentials");
    assert_eq!(simulation.attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn wall_clock_set_back_prolongs_no_lifetime() {
    let mut simulation = Simulation::start(then_unreachable);
    simulation.run(100).await;
    simulation.clock.shift_wall(TimeDelta::days(-2));
    for _ in 0..2 * HOUR {
        let offered = simulation.second(false).await;
        assert_eq!(
            offered,
            simulation.started.elapsed() < Duration::from_secs(HOUR)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn wall_clock_set_back_just_before_an_expiry_delays_no_attempt() {
    let mut simulation = Simulation::start(then_unreachable);
    simulation.run(100).await;
    // By the wall clock a minute and a half is left now, and all but the last second of it passes.
    simulation.clock.shift_wall(TimeDelta::seconds(3410));
    simulation.run(89).await;
    simulation.clock.shift_wall(TimeDelta::hours(-1));
    let before = simulation.attempts().len();
    simulation.run(100).await;
    assert!(simulation.attempts().len() > before);
}

#[tokio::test(start_paused = true)]
async fn refresh_request_renews_at_once_and_many_renew_once_a_second() {
    let mut simulation = Simulation::start(|_| Act::Grant(HOUR));
    simulation.run(100).await;
    simulation.refresh_requests.send_modify(|count| *count += 1);
    simulation.run(1).await;
    assert_eq!(simulation.attempts().len(), 2);

    for _ in 0..1000 {
        simulation.refresh_requests.send_modify(|count| *count += 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let attempts = simulation.attempts().len();
    assert!((10..=13).contains(&attempts), "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn wall_clock_set_within_the_second_of_an_attempt_causes_no_second_one() {
    let mut simulation = Simulation::start(|_| Act::Fail("ConnectFailed"));
    simulation.run(100).await;
    let mut seen = simulation.attempts().len();
    for _ in 0..20 {
        while simulation.attempts().len() == seen {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        seen = simulation.attempts().len();
        simulation.clock.shift_wall(TimeDelta::hours(1));
        simulation.refresh_requests.send_modify(|count| *count += 1);
        // This checks that attempts are a second apart.
        simulation.second(false).await;
    }
}

#[test]
fn clock_skew_is_logged_once_and_again_when_it_changes() {
    let seconds = TimeDelta::seconds;
    let mut reporter = Reporter::default();
    let mut is_logged = |skew| {
        let before = reporter.skew;
        reporter.skew(seconds(skew));
        reporter.skew != before
    };
    let cases = [
        (0, false),
        (30, false),
        (31, true),
        (33, false),
        (40, false),
        (62, true),
    ];
    for (skew, is_news) in cases
        .into_iter()
        .chain([(-5, true), (0, false), (-3600, true)])
    {
        assert_eq!(is_logged(skew), is_news, "{skew}");
    }
}

#[tokio::test(start_paused = true)]
async fn failure_is_visible_while_the_current_credentials_are_served() {
    let mut simulation = Simulation::start(|at| {
        if at == 0 {
            Act::Grant(HOUR)
        } else {
            Act::Fail("NoPermission")
        }
    });
    simulation.run(30 * MINUTE).await;
    let health = simulation.health.health(simulation.clock.now());
    assert_eq!(health.phase, Phase::Failing);
    assert_eq!(health.failure.unwrap().code, "NoPermission");
    assert!(health.failures >= 2);
}

#[tokio::test(start_paused = true)]
async fn clock_set_during_an_attempt_withholds_credentials_for_seconds_only() {
    let mut simulation = Simulation::start(|at| {
        if at == 0 {
            Act::Slow(HOUR)
        } else {
            Act::Grant(HOUR)
        }
    });
    simulation.second(false).await;
    simulation.clock.shift_wall(TimeDelta::hours(2));
    let mut without = 0;
    for _ in 0..60 {
        without += u32::from(!simulation.second(false).await);
    }
    assert!(without <= 5, "{without} seconds without credentials");
}

#[tokio::test(start_paused = true)]
async fn recheck_after_a_suspension_renews_at_once() {
    let mut simulation = Simulation::start(|_| Act::Grant(HOUR));
    simulation.run(100).await;
    simulation.clock.shift_wall(TimeDelta::hours(2));
    simulation.subscriber.request_recheck();
    assert!(simulation.second(false).await);
}

#[tokio::test(start_paused = true)]
async fn short_credentials_replace_longer_ones_only_on_request() {
    let mut simulation =
        Simulation::start(|second| Act::Grant(if second < 60 { HOUR } else { 300 }));
    let id = |simulation: &mut Simulation| {
        let state = simulation.subscriber.snapshot();
        state
            .current()
            .unwrap()
            .lease
            .credentials
            .access_key_id
            .clone()
    };
    simulation.run(50 * MINUTE).await;
    assert_eq!(id(&mut simulation), "0");
    assert_eq!(
        simulation.health.health(simulation.clock.now()).phase,
        Phase::Fresh
    );
    let attempts = simulation.attempts().len();
    assert!(
        (5..40).contains(&attempts),
        "about once a minute: {attempts}"
    );

    simulation.refresh_requests.send_modify(|count| *count += 1);
    simulation.run(5).await;
    assert_ne!(id(&mut simulation), "0", "a request replaces them");
}

#[test]
fn current_credentials_are_kept_only_when_the_new_ones_are_other_short_and_expire_sooner() {
    use crate::refresh::store::tests::{lease, noon};
    for (name, lifetime, ends_after, left) in [
        ("b", 899, 899, Some(1000)),
        ("b", 899, 999, Some(1000)),
        // The new ones expire no sooner.
        ("b", 899, 1000, None),
        ("b", 899, 1001, None),
        // The new ones are not short.
        ("b", 900, 899, None),
        ("b", 901, 899, None),
        // The new ones have the same key, and their expiry is known better.
        ("a", 899, 899, None),
    ] {
        let after = |seconds| noon().after(Duration::from_secs(seconds));
        let (publisher, _, _) = store::channel(|_| Bytes::new());
        publisher.renewed(lease("a", after(1000)), noon());
        let mut new = lease(name, after(ends_after));
        new.lifetime = Duration::from_secs(lifetime);
        let state = publisher.snapshot();
        let current = state.current().unwrap();
        assert_eq!(
            keep_current(current, &new, noon()),
            left.map(Duration::from_secs),
            "{name} {lifetime} {ends_after}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn restored_credentials_are_offered_at_once_and_renewed_when_due() {
    for (lasts, renew_after, attempts) in [
        (40 * MINUTE, 7 * MINUTE, [7 * MINUTE, 7 * MINUTE + 1548]),
        // Overdue: one attempt at once.
        (20 * MINUTE, 0, [0, 1548]),
    ] {
        let mut simulation = Simulation::resume(|_| Act::Grant(HOUR), Some((lasts, renew_after)));
        assert!(simulation.offers(), "before any attempt");
        assert_eq!(simulation.run(40 * MINUTE).await, []);
        let begun: Vec<u64> = simulation
            .attempts()
            .iter()
            .map(Duration::as_secs)
            .collect();
        assert_eq!(begun, attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn restored_credentials_expire_on_time_when_sts_is_unreachable() {
    let left = Some((20 * MINUTE, 0));
    let mut simulation = Simulation::resume(|_| Act::Fail("ConnectFailed"), left);
    assert_eq!(simulation.run(HOUR).await, [(20 * MINUTE, HOUR + 1)]);
}

#[tokio::test(start_paused = true)]
async fn refresh_request_renews_restored_credentials() {
    let left = Some((40 * MINUTE, 20 * MINUTE));
    let mut simulation = Simulation::resume(|_| Act::Grant(HOUR), left);
    simulation.run(100).await;
    assert_eq!(simulation.attempts().len(), 0);
    simulation.refresh_requests.send_modify(|count| *count += 1);
    simulation.run(1).await;
    assert_eq!(simulation.attempts().len(), 1);
}
