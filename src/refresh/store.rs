//! The state: one immutable snapshot, replaced as a whole by a single writer.
//!
//! The phase is not stored: it follows from the snapshot and the present moment, so nothing has to happen for credentials
//! to expire. Three handles share the state: the [`Publisher`] writes, a [`Subscriber`] reads everything, and a
//! [`HealthReader`] cannot reach a secret by its type.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch};

use crate::credentials::{Credentials, Lease};
use crate::failure::{Failure, FailureClass};
use crate::time::clock::Clock;
use crate::time::moment::Moment;

/// Makes the three handles of one state.
///
/// `render` turns credentials into the document that is served; it runs once a renewal.
pub fn channel(render: fn(&Credentials) -> Bytes) -> (Publisher, Subscriber, HealthReader) {
    let (sender, receiver) = watch::channel(Snapshot::default());
    let recheck = Arc::<Notify>::default();
    let subscriber = Subscriber {
        receiver: receiver.clone(),
        recheck: Arc::clone(&recheck),
    };
    (
        Publisher {
            sender,
            render,
            recheck,
        },
        subscriber,
        HealthReader { receiver },
    )
}

/// The current credentials and the outcome of the last attempt, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    current: Option<Arc<Current>>,
    failure: Option<Arc<Failure>>,
    failures: u32,
    next_attempt: Option<Moment>,
    no_role: bool,
}

/// The current credentials: the last that were obtained, whether or not they have expired.
#[derive(Debug)]
pub struct Current {
    /// What was granted.
    pub lease: Lease,
    /// When to renew them.
    pub renew_at: Moment,
    /// The rendered document.
    pub document: Bytes,
    /// Counts the credentials, from 1: any change of them is a new generation.
    pub generation: u64,
}

impl Current {
    /// Returns when the credentials are to be renewed, by the clock of STS: as long before their end as it is by the boot clock,
    /// which nobody sets.
    fn renewal_at(&self) -> DateTime<Utc> {
        let before = self.lease.deadline.boot.saturating_sub(self.renew_at.boot);
        self.lease.credentials.expires_at - before
    }
}

/// The phase of a snapshot at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There will never be credentials: the job has no role.
    NoRole,
    /// No credentials so far.
    Pending,
    /// Good credentials, and the last attempt succeeded.
    Fresh,
    /// Good credentials, but the last attempt failed.
    Failing,
    /// The credentials have expired.
    Expired,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::NoRole,
        Self::Pending,
        Self::Fresh,
        Self::Failing,
        Self::Expired,
    ];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRole => "no role",
            Self::Pending => "pending",
            Self::Fresh => "fresh",
            Self::Failing => "failing",
            Self::Expired => "expired",
        }
    }
}

/// What a client can be given at one moment.
#[derive(Clone, Debug)]
pub enum Offer {
    /// Nothing, now or later: the job has no role.
    NoRole,
    /// Good credentials.
    Credentials(Arc<Current>),
    /// None yet. A short wait may help: an attempt is due or under way, or the last failure is temporary. Contains that
    /// failure, if any.
    Wait(Option<Arc<Failure>>),
    /// None, and waiting does not help.
    Refusal(Arc<Failure>),
}

impl Snapshot {
    /// Returns the phase at `now`.
    pub fn phase(&self, now: Moment) -> Phase {
        match &self.current {
            _ if self.no_role => Phase::NoRole,
            None => Phase::Pending,
            Some(current) if now.is_past(current.lease.deadline) => Phase::Expired,
            Some(_) if self.failure.is_some() => Phase::Failing,
            Some(_) => Phase::Fresh,
        }
    }

    /// Returns what a client can be given at `now`.
    pub fn offer(&self, now: Moment) -> Offer {
        match (self.phase(now), &self.current, &self.failure) {
            (Phase::NoRole, ..) => Offer::NoRole,
            (Phase::Fresh | Phase::Failing, Some(current), _) => {
                Offer::Credentials(Arc::clone(current))
            }
            (Phase::Expired, _, Some(failure)) => Offer::Refusal(Arc::clone(failure)),
            (_, _, Some(failure)) if failure.class == FailureClass::Persistent => {
                Offer::Refusal(Arc::clone(failure))
            }
            // Also an expiry without a failure: the machine was suspended meanwhile, and a renewal is due.
            (_, _, failure) => Offer::Wait(failure.clone()),
        }
    }

    /// Returns the current credentials, whether or not they have expired.
    pub fn current(&self) -> Option<&Arc<Current>> {
        self.current.as_ref()
    }

    /// Returns the failure of the last attempt, if it failed.
    pub fn failure(&self) -> Option<&Arc<Failure>> {
        self.failure.as_ref()
    }

    /// Returns how many attempts in a row have failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the health at `now`.
    pub fn health(&self, now: Moment) -> Health {
        let current = self.current.as_ref();
        let lease = current.map(|current| &current.lease);
        Health {
            phase: self.phase(now),
            expires_at: lease.map(|lease| lease.credentials.expires_at),
            remaining: lease.map(|lease| now.until(lease.deadline)),
            lifetime: lease.map(|lease| lease.lifetime),
            skew: lease.map(|lease| lease.skew),
            renewal_at: current.map(|current| current.renewal_at()),
            generation: current.map_or(0, |current| current.generation),
            served_by: lease.map(|lease| lease.served_by.clone()),
            failure: self.failure.clone(),
            failures: self.failures,
            next_attempt_after: self.next_attempt.map(|next| now.until(next)),
            next_attempt_at: self.next_attempt.map(|next| now.wall + now.until(next)),
        }
    }
}

/// The single writer.
#[derive(Debug)]
pub struct Publisher {
    sender: watch::Sender<Snapshot>,
    render: fn(&Credentials) -> Bytes,
    recheck: Arc<Notify>,
}

impl Publisher {
    /// Waits until a subscriber requests that the clock be read again. Cancel safe.
    pub async fn recheck_requested(&self) {
        self.recheck.notified().await;
    }

    /// Replaces the current credentials and forgets the failures.
    pub fn renewed(&self, lease: Lease, next_attempt: Moment) {
        let document = (self.render)(&lease.credentials);
        self.sender.send_modify(|state| {
            let generation = state.current.as_ref().map_or(1, |current| {
                // A pass-through source gives the same credentials for a while.
                current.generation
                    + u64::from(!current.lease.credentials.is_same(&lease.credentials))
            });
            *state = Snapshot {
                current: Some(Arc::new(Current {
                    lease,
                    renew_at: next_attempt,
                    document,
                    generation,
                })),
                failure: None,
                failures: 0,
                next_attempt: Some(next_attempt),
                no_role: false,
            };
        });
    }

    /// Records a success that changes nothing: the current credentials are better than the new ones.
    pub fn unchanged(&self, next_attempt: Moment) {
        self.sender.send_modify(|state| {
            state.failure = None;
            state.failures = 0;
            state.next_attempt = Some(next_attempt);
        });
    }

    /// Records for good that the job has no role.
    pub fn without_role(self) {
        self.sender.send_modify(|state| state.no_role = true);
    }

    /// Records a failed attempt. The current credentials stay.
    pub fn failed(&self, failure: Failure, next_attempt: Moment) {
        self.sender.send_modify(|state| {
            state.failure = Some(Arc::new(failure));
            state.failures = state.failures.saturating_add(1);
            state.next_attempt = Some(next_attempt);
        });
    }

    /// Returns the snapshot last published.
    pub fn snapshot(&self) -> Snapshot {
        self.sender.borrow().clone()
    }
}

/// A reader of everything, secrets included.
#[derive(Clone, Debug)]
pub struct Subscriber {
    receiver: watch::Receiver<Snapshot>,
    recheck: Arc<Notify>,
}

impl Subscriber {
    /// Requests that the clock be read again: after a suspension a renewal may be due that no timer has noticed.
    pub fn request_recheck(&self) {
        self.recheck.notify_one();
    }

    /// Waits until `decide` finds an answer in what a client can be given. Cancel safe.
    pub async fn wait_for<T>(&mut self, clock: &Clock, decide: impl Fn(Offer) -> Option<T>) -> T {
        loop {
            if let Some(decided) = decide(self.snapshot().offer(clock.now())) {
                return decided;
            }
            self.request_recheck();
            self.changed().await;
        }
    }

    /// Returns what a client can be given at `now`.
    pub fn offer(&self, now: Moment) -> Offer {
        self.receiver.borrow().offer(now)
    }

    /// Returns the snapshot last published, and marks it as seen.
    pub fn snapshot(&mut self) -> Snapshot {
        self.receiver.borrow_and_update().clone()
    }

    /// Waits for a snapshot that has not been seen. Cancel safe. Pends for ever once the publisher is gone.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A reader of the health, without secrets.
#[derive(Clone, Debug)]
pub struct HealthReader {
    receiver: watch::Receiver<Snapshot>,
}

impl HealthReader {
    /// Returns the health at `now`.
    pub fn health(&self, now: Moment) -> Health {
        self.receiver.borrow().health(now)
    }
}

/// The health of the credentials, without secrets.
#[derive(Clone, Debug)]
pub struct Health {
    /// The phase.
    pub phase: Phase,
    /// When the credentials expire, by the clock of STS.
    pub expires_at: Option<DateTime<Utc>>,
    /// How long they are still good; zero once they have expired.
    pub remaining: Option<Duration>,
    /// How long they were good when they were obtained.
    pub lifetime: Option<Duration>,
    /// How far the clock of this machine was ahead of that of STS when they were obtained.
    pub skew: Option<TimeDelta>,
    /// When they are to be renewed, by the clock of STS.
    pub renewal_at: Option<DateTime<Utc>>,
    /// Counts the credentials, from 1; 0 while there are none.
    pub generation: u64,
    /// The host or source that granted the credentials.
    pub served_by: Option<String>,
    /// The failure of the last attempt, if it failed.
    pub failure: Option<Arc<Failure>>,
    /// How many attempts in a row have failed.
    pub failures: u32,
    /// How long until the next attempt.
    pub next_attempt_after: Option<Duration>,
    /// When the next attempt is made, by the clock of this machine.
    pub next_attempt_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::failure::Stage;

    pub(crate) fn noon() -> Moment {
        let wall = DateTime::from_timestamp(1_716_287_969, 0).unwrap();
        Moment {
            wall,
            boot: Duration::from_secs(5000),
        }
    }

    pub(crate) fn credentials(name: &str) -> Credentials {
        Credentials {
            access_key_id: format!("STS.{name}"),
            access_key_secret: format!("secret-of-{name}").into(),
            security_token: format!("token-of-{name}").into(),
            issued_at: noon().wall,
            expires_at: noon().wall + TimeDelta::hours(1),
        }
    }

    pub(crate) fn lease(name: &str, deadline: Moment) -> Lease {
        Lease {
            credentials: credentials(name),
            deadline,
            lifetime: Duration::from_secs(3600),
            skew: TimeDelta::zero(),
            served_by: "sts.aliyuncs.com".to_owned(),
            renewal: None,
        }
    }

    fn failure(code: &'static str) -> Failure {
        Failure::new(Stage::Sts, code, "STS refused")
    }

    fn started() -> (Publisher, Subscriber, HealthReader) {
        channel(|credentials| Bytes::from(credentials.access_key_id.clone()))
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn phase_and_offer_follow_from_the_snapshot_and_the_moment() {
        let before = noon().after(Duration::from_millis(3_599_999));
        let at = noon().after(HOUR);
        for (obtained, failed, now, phase, offer) in [
            (false, None, noon(), Phase::Pending, "wait"),
            (
                false,
                Some("TimedOut"),
                noon(),
                Phase::Pending,
                "wait for TimedOut",
            ),
            (
                false,
                Some("NoPermission"),
                noon(),
                Phase::Pending,
                "refuse NoPermission",
            ),
            (true, None, before, Phase::Fresh, "STS.a"),
            (true, Some("TimedOut"), before, Phase::Failing, "STS.a"),
            (true, Some("NoPermission"), before, Phase::Failing, "STS.a"),
            (true, None, at, Phase::Expired, "wait"),
            (
                true,
                Some("TimedOut"),
                at,
                Phase::Expired,
                "refuse TimedOut",
            ),
            (
                true,
                Some("NoPermission"),
                at,
                Phase::Expired,
                "refuse NoPermission",
            ),
        ] {
            let (publisher, mut subscriber, health) = started();
            if obtained {
                publisher.renewed(lease("a", noon().after(HOUR)), noon());
            }
            if let Some(code) = failed {
                publisher.failed(failure(code), noon());
            }
            let offered = match subscriber.snapshot().offer(now) {
                Offer::NoRole => unreachable!("there is a role"),
                Offer::Credentials(current) => current.lease.credentials.access_key_id.clone(),
                Offer::Wait(None) => "wait".into(),
                Offer::Wait(Some(failure)) => format!("wait for {}", failure.code),
                Offer::Refusal(failure) => format!("refuse {}", failure.code),
            };
            let case = format!("{obtained} {failed:?} {now:?}");
            assert_eq!(health.health(now).phase, phase, "{case}");
            assert_eq!(offered, offer, "{case}");
        }
    }

    #[test]
    fn job_without_a_role_is_offered_nothing_and_does_not_wait() {
        let (publisher, mut subscriber, health) = started();
        publisher.without_role();
        assert!(matches!(subscriber.snapshot().offer(noon()), Offer::NoRole));
        assert_eq!(health.health(noon()).phase, Phase::NoRole);
    }

    #[test]
    fn failure_keeps_the_current_credentials_and_success_forgets_the_failures() {
        let (publisher, mut subscriber, _) = started();
        publisher.renewed(lease("a", noon().after(HOUR)), noon());
        for _ in 0..3 {
            publisher.failed(failure("TimedOut"), noon());
        }
        assert_eq!(subscriber.snapshot().failures(), 3);
        assert_eq!(subscriber.snapshot().current().unwrap().generation, 1);

        publisher.renewed(lease("b", noon().after(HOUR)), noon());
        let state = subscriber.snapshot();
        assert_eq!((state.failures(), state.failure().is_none()), (0, true));
        assert_eq!(state.current().unwrap().generation, 2);
        assert_eq!(state.current().unwrap().document, "STS.b");

        publisher.renewed(lease("b", noon().after(HOUR)), noon());
        assert_eq!(
            subscriber.snapshot().current().unwrap().generation,
            2,
            "the same key"
        );
    }

    #[test]
    fn unchanged_credentials_forget_the_failures_only() {
        let (publisher, _, health) = started();
        publisher.renewed(lease("a", noon().after(HOUR)), noon());
        publisher.failed(failure("TimedOut"), noon());
        publisher.unchanged(noon().after(HOUR / 2));
        let health = health.health(noon());
        assert_eq!((health.phase, health.generation), (Phase::Fresh, 1));
        assert_eq!((health.failures, health.failure), (0, None));
        assert_eq!(health.next_attempt_after, Some(HOUR / 2));
        assert_eq!(health.remaining, Some(HOUR));
        assert_eq!(health.expires_at, Some(noon().wall + HOUR));
        assert_eq!(health.served_by.as_deref(), Some("sts.aliyuncs.com"));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_end_with_their_own_event_only() {
        let (publisher, mut subscriber, _) = started();
        assert!(timeout(HOUR, subscriber.changed()).await.is_err());
        publisher.failed(failure("TimedOut"), noon());
        assert!(timeout(HOUR, subscriber.changed()).await.is_ok());
        publisher.failed(failure("TimedOut"), noon());
        subscriber.snapshot();
        assert!(timeout(HOUR, subscriber.changed()).await.is_err(), "seen");

        assert!(timeout(HOUR, publisher.recheck_requested()).await.is_err());
        subscriber.request_recheck();
        assert!(timeout(HOUR, publisher.recheck_requested()).await.is_ok());

        drop(publisher);
        assert!(timeout(HOUR, subscriber.changed()).await.is_err(), "gone");
    }
}
