//! What must hold in every world, checked after every step.

use std::fs;
use std::time::Duration;

use chrono::DateTime;
use ram_sidecar::failure::Verdict;
use ram_sidecar::files::writer;
use ram_sidecar::refresh::store::{Offer, Phase};
use serde_json::Value;

use crate::daemon::{Attempt, Daemon, Dialect, Setup};
use crate::world::{Issue, MARK, World, date};

/// What excuses a daemon, by true time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Circumstances {
    /// When the daemon was started.
    pub(crate) started: Duration,
    /// When STS, the way there and the token file were last in trouble.
    pub(crate) troubled: Duration,
    /// When the wall clock was last set, or the machine last suspended.
    pub(crate) clock_set: Duration,
    /// When the disk was last in trouble.
    pub(crate) disk_troubled: Duration,
    /// When somebody last asked for a renewal.
    pub(crate) nudged: Duration,
    /// Whether the wall clock went wrong when the daemon was started.
    pub(crate) started_skewed: bool,
}

/// What was seen of one daemon so far.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    held: Option<usize>,
    held_since: Duration,
    attempts: usize,
}

/// Returns the number of what a daemon holds.
pub(crate) fn held(daemon: &Daemon) -> Option<usize> {
    let state = daemon.subscriber.clone().snapshot();
    let current = state.current()?;
    Some(Issue::number(&current.lease.credentials.access_key_id).expect("keys are of this world"))
}

/// Why a promise is broken.
pub(crate) type Checked<T = ()> = Result<T, String>;

impl Promises {
    /// Checks all of them.
    pub(crate) async fn check(
        &mut self,
        world: &World,
        daemon: &mut Daemon,
        setup: &Setup,
        circumstances: &Circumstances,
    ) -> Checked {
        let logged = world.timeline().take_log();
        ensure(!logged.contains(MARK), || {
            format!("a secret is in the log: {logged}")
        })?;
        ensure(!daemon.has_ended(), || "a task has ended".to_owned())?;
        self.forward(world, daemon)?;
        self.serving(world, daemon, circumstances).await?;
        self.file(world, daemon, setup, circumstances)?;
        self.attempts(world, daemon, circumstances)?;
        recovered(world, daemon, setup, circumstances)
    }

    /// What is held is never lost, and only ever followed by what was issued later.
    fn forward(&mut self, world: &World, daemon: &Daemon) -> Checked {
        let held = held(daemon);
        ensure(self.held <= held, || {
            format!("{:?} was held, and now {held:?} is", self.held)
        })?;
        if self.held != held {
            self.held = held;
            self.held_since = world.truth();
        }
        Ok(())
    }

    /// Returns what is held and must be offered, whatever blurs its end: nobody has set the clock since it was issued.
    pub(crate) fn bound(&self, world: &World, circumstances: &Circumstances) -> Option<usize> {
        let held = self.held?;
        let issue = world.state().ledger.get(held)?.clone();
        let is_good = world.truth() + BLUR < issue.ends;
        (is_good && circumstances.clock_set < issue.issued).then_some(held)
    }

    /// Every dialect answers what the facts call for. Asked again where a renewal came between two questions.
    async fn serving(
        &self,
        world: &World,
        daemon: &mut Daemon,
        circumstances: &Circumstances,
    ) -> Checked {
        loop {
            let before = held(daemon);
            let asked = self.asked(world, daemon, circumstances).await;
            if held(daemon) == before {
                return asked;
            }
        }
    }

    async fn asked(
        &self,
        world: &World,
        daemon: &mut Daemon,
        circumstances: &Circumstances,
    ) -> Checked {
        let offer = daemon.subscriber.snapshot().offer(world.clock().now());
        let is_held = matches!(offer, Offer::Credentials(_));
        let bound = self.bound(world, circumstances);
        ensure(is_held || bound.is_none(), || {
            format!("{bound:?} is good and is not offered")
        })?;
        if matches!(offer, Offer::Wait(_)) {
            // Whoever asks is held; the readers of the simulation do.
            return Ok(());
        }
        let mut shown = Vec::new();
        for dialect in Dialect::ALL {
            let (status, body) = daemon.doors.ask(dialect).await;
            let number = judged(world, dialect, status, &body)?;
            ensure(number.is_some() == is_held, || {
                format!("{dialect:?} answers {status} to an offer {offer:?}")
            })?;
            shown.push(number);
        }
        ensure(shown.iter().all(|number| *number == shown[0]), || {
            format!("the dialects differ: {shown:?}")
        })
    }

    /// The file holds what is served, and never what has ended.
    fn file(
        &self,
        world: &World,
        daemon: &Daemon,
        setup: &Setup,
        circumstances: &Circumstances,
    ) -> Checked {
        let now = world.truth();
        let is_settled = |since: Duration| now >= since + SETTLING;
        let Ok(content) = fs::read_to_string(setup.file()) else {
            // Not just before its end, when the one or the other may be first to notice.
            let soon = world.clock().now().after(Duration::from_secs(1));
            let offer = daemon.subscriber.clone().snapshot().offer(soon);
            let is_due = matches!(offer, Offer::Credentials(_))
                && now > self.held_since + Duration::from_secs(1)
                && is_settled(circumstances.disk_troubled)
                && is_settled(circumstances.clock_set);
            return ensure(!is_due, || "the file is missing".to_owned());
        };
        let number = read(world, Dialect::Uri, &content)
            .map_err(|reason| format!("the file: {reason}: {content}"))?;
        let ends = world.state().ledger[number].ends;
        let is_excused = !is_settled(circumstances.disk_troubled)
            || !is_settled(circumstances.clock_set)
            || circumstances.started_skewed && self.held.is_none_or(|held| held > number);
        ensure(now < ends || is_excused, || {
            format!("the file holds {number}, which ended at {ends:?}")
        })?;
        if is_settled(circumstances.disk_troubled)
            && is_settled(circumstances.clock_set)
            && is_settled(self.held_since)
        {
            let is_failed = matches!(&*daemon.file.borrow(), writer::Status::Failed(_));
            ensure(!is_failed, || "the writer has given up".to_owned())?;
            // What is back from a disk that was away may still be good, when what is held is not any more.
            if let Some(held) = self.held
                && now < world.state().ledger[held].ends
            {
                ensure(number == held, || {
                    format!("the file holds {number}, and {held} is held")
                })?;
            }
        }
        Ok(())
    }

    /// Attempts are neither too many nor too few.
    fn attempts(
        &mut self,
        world: &World,
        daemon: &Daemon,
        circumstances: &Circumstances,
    ) -> Checked {
        let now = world.awake();
        // The last one that has been looked at, and those since.
        let attempts = daemon.attempts.from(self.attempts);
        self.attempts += attempts.len().saturating_sub(1);
        for pair in attempts.windows(2) {
            let pause = pair[1].began.saturating_sub(pair[0].began);
            ensure(pause >= Duration::from_secs(1), || {
                format!("two attempts within {pause:?}")
            })?;
            ensure(pair[1].began <= due(&pair[0]), || {
                format!("an attempt came late, at {:?}: {pair:?}", pair[1].began)
            })?;
        }
        if let Some(last) = attempts.last() {
            ensure(now <= due(last), || {
                format!("no attempt is made any more since {last:?}")
            })?;
        }
        // Failures cost what the backoff allows, whatever the luck.
        let failed = daemon.attempts.failed(now.saturating_sub(WINDOW));
        let is_nudged = circumstances.nudged + WINDOW > world.truth();
        ensure(failed <= MOST_FAILURES || is_nudged, || {
            format!("{failed} attempts failed within {WINDOW:?}")
        })
    }
}

/// Returns the latest time at which an attempt must be followed by another.
fn due(attempt: &Attempt) -> Duration {
    let Some((ended, outcome)) = &attempt.ended else {
        // Under way, or given up by the refresher.
        return attempt.began + LONGEST_ATTEMPT + CAP;
    };
    let wait = match outcome {
        Ok(lifetime) => lifetime
            .min(&Duration::from_secs(43_200))
            .mul_f64(0.46)
            .max(CAP),
        Err(failure) => {
            let asked_for = failure.retry_after.unwrap_or_default();
            let cap = match failure.verdict {
                // They leave the quota to those who have less time.
                Verdict::Throttled => PATIENCE,
                Verdict::Fatal | Verdict::Retry => CAP,
            };
            asked_for.min(PATIENCE) + cap
        }
    };
    // A timer that the machine slept through notices late.
    *ended + wait + SLICE
}

/// Once nothing is wrong any more, all is well soon.
fn recovered(
    world: &World,
    daemon: &Daemon,
    setup: &Setup,
    circumstances: &Circumstances,
) -> Checked {
    let now = world.truth();
    let pause = world.state().pause_until;
    let pause = pause.min(circumstances.troubled + PATIENCE);
    let mut limit = LONGEST_ATTEMPT + CAP;
    if circumstances.clock_set + Duration::from_secs(3600) > now {
        // STS refuses the first signature with a wrong time, and a timer may be a slice late.
        limit += CAP + SLICE;
    }
    let since = circumstances
        .troubled
        .max(circumstances.clock_set)
        .max(circumstances.started)
        .max(pause);
    let health = daemon.health.health(world.clock().now());
    let failure = health.failure.as_deref();
    if failure.is_some_and(|failure| failure.verdict == Verdict::Throttled) {
        limit += PATIENCE;
    }
    if now < since + limit {
        return Ok(());
    }
    let code = failure.map(|failure| failure.code.as_str());
    if code == Some("InvalidTimeStamp.Expired") && health.failures == 1 {
        // The first call since the clock was set, however long ago; it has taught the right time.
        return Ok(());
    }
    ensure(health.phase == Phase::Fresh, || {
        format!("all has been well since {since:?}, but not with {setup:?}: {health:?}")
    })
}

/// Checks an answer; returns the number of the credentials that it holds, if any.
pub(crate) fn judged(
    world: &World,
    dialect: Dialect,
    status: u16,
    body: &str,
) -> Checked<Option<usize>> {
    match status {
        200 => {
            let number = read(world, dialect, body)?;
            let (now, ends) = (world.truth(), world.state().ledger[number].ends);
            ensure(now < ends, || {
                format!("{dialect:?} serves {number} at {now:?}, which ended at {ends:?}")
            })?;
            Ok(Some(number))
        }
        503 => {
            ensure(!body.contains(MARK), || format!("an error tells: {body}"))?;
            let json: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
            let code = json["Code"].as_str().unwrap_or_default();
            ensure(!code.is_empty() && code != "Success", || body.to_owned())?;
            Ok(None)
        }
        _ => Err(format!("{dialect:?} answers {status}: {body}")),
    }
}

/// Reads a document; it must be whole, and of something that STS has really issued for the job.
fn read(world: &World, dialect: Dialect, body: &str) -> Checked<usize> {
    let json: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let text = |name: &str| json[name].as_str().unwrap_or_default();
    let (secret, token) = match dialect {
        Dialect::Container => ("SecretAccessKey", "Token"),
        Dialect::Uri | Dialect::Metadata => {
            ensure(text("Code") == "Success", || body.to_owned())?;
            ("AccessKeySecret", "SecurityToken")
        }
    };
    let number = Issue::number(text("AccessKeyId")).ok_or("it has no key of this world")?;
    let issue = world.state().ledger.get(number).cloned();
    let issue = issue.ok_or("it was never issued")?;
    ensure(text(secret) == Issue::secret(number), || {
        "another's secret".to_owned()
    })?;
    ensure(text(token) == Issue::token(number), || {
        "another's token".to_owned()
    })?;
    ensure(issue.is_for_job && issue.is_whole, || {
        format!("{number} is not for the job: {issue:?}")
    })?;
    let told = DateTime::parse_from_rfc3339(text("Expiration")).map_err(|e| e.to_string())?;
    ensure(told.to_utc() <= date(issue.ends), || {
        format!("{number} ends at {}, not at {told}", date(issue.ends))
    })?;
    Ok(number)
}

pub(crate) fn ensure(holds: bool, breach: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(breach()) }
}

/// The most by which a deadline errs to the early side: an answer that took ten seconds, and rounding.
const BLUR: Duration = Duration::from_secs(13);

/// How late the machine's own clock may notice anything where the kernel has no timers for it.
const SLICE: Duration = Duration::from_secs(31);

/// A writer that failed looks again within half a minute, and every clock within a slice.
const SETTLING: Duration = Duration::from_secs(32);

const CAP: Duration = Duration::from_secs(60);

/// The longest pause that STS may ask for, and that a throttled daemon makes of its own while it has plenty left.
const PATIENCE: Duration = Duration::from_secs(300);

/// A token file, two calls of ten seconds to each of two endpoints, and what explains a refusal.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(5 + 30 + 2);

const WINDOW: Duration = Duration::from_secs(600);

/// The ramp from 1 s to 60 s and then half a minute each are some 25; three times that is no luck any more.
const MOST_FAILURES: usize = 75;
