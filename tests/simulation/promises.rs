//! The promises of the daemon, checked after every step of a scenario.

use std::fs;
use std::time::Duration;

use chrono::DateTime;
use ram_sidecar::failure::FailureClass;
use ram_sidecar::files::writer;
use ram_sidecar::refresh::store::{Offer, Phase};
use serde_json::Value;

use crate::daemon::{Attempt, Daemon, Dialect, Setup};
use crate::world::{Issue, SECRET_MARKER, World, date};

/// The events that may excuse a daemon, by true time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Circumstances {
    /// When the daemon was started.
    pub(crate) started: Duration,
    /// When STS, the network or the token file last had a fault.
    pub(crate) sts_fault: Duration,
    /// When the wall clock was last set, or the machine last suspended.
    pub(crate) clock_set: Duration,
    /// When the disk was last unavailable.
    pub(crate) disk_fault: Duration,
    /// When a renewal was last requested.
    pub(crate) refresh_requested: Duration,
    /// Whether the wall clock was wrong when the daemon was started.
    pub(crate) started_skewed: bool,
}

/// What has been observed of one daemon.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    current: Option<usize>,
    current_since: Duration,
    /// How many of its attempts have been checked.
    attempts: usize,
}

/// Returns the number of the current credentials of a daemon.
pub(crate) fn current(daemon: &Daemon) -> Option<usize> {
    let state = daemon.subscriber.clone().snapshot();
    let current = state.current()?;
    Some(
        Issue::number(&current.lease.credentials.access_key_id)
            .expect("the key was issued by the simulated STS"),
    )
}

/// The outcome of a check: the error describes how a promise is broken.
pub(crate) type Checked<T = ()> = Result<T, String>;

impl Promises {
    /// Checks all promises.
    pub(crate) async fn check(
        &mut self,
        world: &World,
        daemon: &mut Daemon,
        setup: &Setup,
        circumstances: &Circumstances,
    ) -> Checked {
        let logged = world.timeline().take_log();
        ensure(!logged.contains(SECRET_MARKER), || {
            format!("a secret is in the log: {logged}")
        })?;
        ensure(!daemon.has_ended(), || "a task has ended".to_owned())?;
        self.order(world, daemon)?;
        self.serving(world, daemon, circumstances).await?;
        self.file(world, daemon, setup, circumstances)?;
        self.attempts(world, daemon, circumstances)?;
        recovered(world, daemon, setup, circumstances)
    }

    /// Current credentials are never lost, and are replaced only by later ones.
    fn order(&mut self, world: &World, daemon: &Daemon) -> Checked {
        let current = current(daemon);
        ensure(self.current <= current, || {
            format!("{current:?} has replaced {:?}", self.current)
        })?;
        if self.current != current {
            self.current = current;
            self.current_since = world.true_time();
        }
        Ok(())
    }

    /// Returns the current credentials if they must be offered: they are certainly valid, and the clock has not been set
    /// since they were issued.
    pub(crate) fn valid(&self, world: &World, circumstances: &Circumstances) -> Option<usize> {
        let current = self.current?;
        let issue = world.state().issues.get(current)?.clone();
        let is_valid = world.true_time() + DEADLINE_ERROR < issue.expires_at;
        (is_valid && circumstances.clock_set < issue.issued_at).then_some(current)
    }

    /// Every dialect responds with the current credentials, or with an error if there are none. Repeated after a renewal
    /// between two requests.
    async fn serving(
        &self,
        world: &World,
        daemon: &mut Daemon,
        circumstances: &Circumstances,
    ) -> Checked {
        loop {
            let before = current(daemon);
            let outcome = self.responses(world, daemon, circumstances).await;
            if current(daemon) == before {
                return outcome;
            }
        }
    }

    async fn responses(
        &self,
        world: &World,
        daemon: &mut Daemon,
        circumstances: &Circumstances,
    ) -> Checked {
        let offer = daemon.subscriber.snapshot().offer(world.clock().now());
        let is_offered = matches!(offer, Offer::Credentials(_));
        let valid = self.valid(world, circumstances);
        ensure(is_offered || valid.is_none(), || {
            format!("{valid:?} is valid but not offered")
        })?;
        if matches!(offer, Offer::Wait(_)) {
            // Requests are held; the clients of the scenario check that.
            return Ok(());
        }
        let mut served = Vec::new();
        for dialect in Dialect::ALL {
            let (status, body) = daemon.routers.request(dialect).await;
            let number = check_response(world, dialect, status, &body)?;
            ensure(number.is_some() == is_offered, || {
                format!("{dialect:?} responds {status} to an offer {offer:?}")
            })?;
            served.push(number);
        }
        ensure(served.iter().all(|number| *number == served[0]), || {
            format!("the dialects differ: {served:?}")
        })
    }

    /// The file contains the current credentials, and never expired ones.
    fn file(
        &self,
        world: &World,
        daemon: &Daemon,
        setup: &Setup,
        circumstances: &Circumstances,
    ) -> Checked {
        let now = world.true_time();
        let is_settled = |since: Duration| now >= since + SETTLING;
        let Ok(content) = fs::read_to_string(setup.file()) else {
            // In the last second, the writer and this check may disagree about the expiry.
            let soon = world.clock().now().after(Duration::from_secs(1));
            let offer = daemon.subscriber.clone().snapshot().offer(soon);
            let must_exist = matches!(offer, Offer::Credentials(_))
                && now > self.current_since + Duration::from_secs(1)
                && is_settled(circumstances.disk_fault)
                && is_settled(circumstances.clock_set);
            return ensure(!must_exist, || "the file is missing".to_owned());
        };
        let number = read(world, Dialect::Uri, &content)
            .map_err(|reason| format!("the file: {reason}: {content}"))?;
        let expires_at = world.state().issues[number].expires_at;
        let is_excused = !is_settled(circumstances.disk_fault)
            || !is_settled(circumstances.clock_set)
            || circumstances.started_skewed && self.current.is_none_or(|current| current > number);
        ensure(now < expires_at || is_excused, || {
            format!("the file contains {number}, which expired at {expires_at:?}")
        })?;
        if is_settled(circumstances.disk_fault)
            && is_settled(circumstances.clock_set)
            && is_settled(self.current_since)
        {
            let is_failed = matches!(&*daemon.file.borrow(), writer::Status::Failed(_));
            ensure(!is_failed, || "the writer still fails".to_owned())?;
            // A file of another process may outlive the current credentials: its disk was unavailable.
            if let Some(current) = self.current
                && now < world.state().issues[current].expires_at
            {
                ensure(number == current, || {
                    format!("the file contains {number}, but {current} is current")
                })?;
            }
        }
        Ok(())
    }

    /// There are neither too many attempts nor too few.
    fn attempts(
        &mut self,
        world: &World,
        daemon: &Daemon,
        circumstances: &Circumstances,
    ) -> Checked {
        let now = world.uptime();
        // The last one that has been checked, and those since.
        let attempts = daemon.attempts.from(self.attempts);
        self.attempts += attempts.len().saturating_sub(1);
        for pair in attempts.windows(2) {
            let pause = pair[1].started_at.saturating_sub(pair[0].started_at);
            ensure(pause >= Duration::from_secs(1), || {
                format!("two attempts within {pause:?}")
            })?;
            ensure(pair[1].started_at <= due(&pair[0]), || {
                format!("an attempt was late, at {:?}: {pair:?}", pair[1].started_at)
            })?;
        }
        if let Some(last) = attempts.last() {
            ensure(now <= due(last), || {
                format!("no attempt was made since {last:?}")
            })?;
        }
        // The backoff limits failed attempts, whatever the jitter.
        let failed = daemon.attempts.failed(now.saturating_sub(WINDOW));
        let is_excused = circumstances.refresh_requested + WINDOW > world.true_time();
        ensure(failed <= MAX_FAILURES || is_excused, || {
            format!("{failed} attempts failed within {WINDOW:?}")
        })
    }
}

/// Returns the latest time at which an attempt must be followed by another.
fn due(attempt: &Attempt) -> Duration {
    let Some((ended, outcome)) = &attempt.ended else {
        // Under way, or cancelled by the timeout of the refresher.
        return attempt.started_at + LONGEST_ATTEMPT + CAP;
    };
    let wait = match outcome {
        Ok(lifetime) => lifetime
            .min(&Duration::from_secs(43_200))
            .mul_f64(0.46)
            .max(CAP),
        Err(failure) => {
            let retry_after = failure.retry_after.unwrap_or_default();
            let cap = match failure.class {
                // With much lifetime remaining, the quota is left to others.
                FailureClass::Throttled => RETRY_AFTER_CAP,
                FailureClass::Persistent | FailureClass::Transient => CAP,
            };
            retry_after.min(RETRY_AFTER_CAP) + cap
        }
    };
    // A timer fires late after a suspension.
    *ended + wait + SLICE
}

/// The daemon recovers soon after all faults have ended.
fn recovered(
    world: &World,
    daemon: &Daemon,
    setup: &Setup,
    circumstances: &Circumstances,
) -> Checked {
    let now = world.true_time();
    let pause = world.state().pause_until;
    let pause = pause.min(circumstances.sts_fault + RETRY_AFTER_CAP);
    let mut limit = LONGEST_ATTEMPT + CAP;
    if circumstances.clock_set + Duration::from_secs(3600) > now {
        // STS rejects the first signature with a wrong time, and a timer may be a slice late.
        limit += CAP + SLICE;
    }
    let since = circumstances
        .sts_fault
        .max(circumstances.clock_set)
        .max(circumstances.started)
        .max(pause);
    let health = daemon.health.health(world.clock().now());
    let failure = health.failure.as_deref();
    if failure.is_some_and(|failure| failure.class == FailureClass::Throttled) {
        limit += RETRY_AFTER_CAP;
    }
    if now < since + limit {
        return Ok(());
    }
    let code = failure.map(|failure| failure.code.as_str());
    if code == Some("InvalidTimeStamp.Expired") && health.failures == 1 {
        // The first call since the clock was set, however long ago: its response corrects the time.
        return Ok(());
    }
    ensure(health.phase == Phase::Fresh, || {
        format!("all faults had ended at {since:?}, but {setup:?} has not recovered: {health:?}")
    })
}

/// Checks a response. Returns the number of the credentials in it, if any.
pub(crate) fn check_response(
    world: &World,
    dialect: Dialect,
    status: u16,
    body: &str,
) -> Checked<Option<usize>> {
    match status {
        200 => {
            let number = read(world, dialect, body)?;
            let (now, expires_at) = (world.true_time(), world.state().issues[number].expires_at);
            ensure(now < expires_at, || {
                format!("{dialect:?} serves {number} at {now:?}, which expired at {expires_at:?}")
            })?;
            Ok(Some(number))
        }
        503 => {
            ensure(!body.contains(SECRET_MARKER), || {
                format!("an error contains a secret: {body}")
            })?;
            let json: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
            let code = json["Code"].as_str().unwrap_or_default();
            ensure(!code.is_empty() && code != "Success", || body.to_owned())?;
            Ok(None)
        }
        _ => Err(format!("{dialect:?} responds {status}: {body}")),
    }
}

/// Reads a document. It must be complete, and contain credentials that STS has issued for the job's role.
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
    let number =
        Issue::number(text("AccessKeyId")).ok_or("its key was not issued by the simulated STS")?;
    let issue = world.state().issues.get(number).cloned();
    let issue = issue.ok_or("it was never issued")?;
    ensure(text(secret) == Issue::secret(number), || {
        "the secret belongs to another key".to_owned()
    })?;
    ensure(text(token) == Issue::token(number), || {
        "the token belongs to another key".to_owned()
    })?;
    ensure(issue.is_for_job && issue.is_delivered, || {
        format!("{number} is not for the job: {issue:?}")
    })?;
    let expiration = DateTime::parse_from_rfc3339(text("Expiration")).map_err(|e| e.to_string())?;
    ensure(expiration.to_utc() <= date(issue.expires_at), || {
        format!(
            "{number} expires at {}, not at {expiration}",
            date(issue.expires_at)
        )
    })?;
    Ok(number)
}

pub(crate) fn ensure(holds: bool, breach: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(breach()) }
}

/// How much too early a deadline may be: a response that took ten seconds, and rounding.
const DEADLINE_ERROR: Duration = Duration::from_secs(13);

/// How late a timer may fire where the kernel has no timers that count suspensions.
const SLICE: Duration = Duration::from_secs(31);

/// A writer retries within half a minute after a failure, and every timer fires within a slice.
const SETTLING: Duration = Duration::from_secs(32);

/// The backoff cap of failures other than throttling.
const CAP: Duration = Duration::from_secs(60);

/// The longest `Retry-After` that is honoured, and the longest backoff while throttled.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(300);

/// Reading a token file, the calls to the endpoints, and explaining a refusal.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(5 + 30 + 2);

/// The window in which failed attempts are counted.
const WINDOW: Duration = Duration::from_secs(600);

/// Some 80 are expected while there are no valid credentials: a ramp from 1 s to 15 s, and then one in 8 s. The jitter does
/// not explain twice as many.
const MAX_FAILURES: usize = 160;
