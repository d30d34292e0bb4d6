//! A refresh loop with a scripted source, under tokio's paused clock.
//!
//! Whatever the script, expired credentials are never offered, valid ones are never withheld, and attempts are at least a
//! second apart.

use super::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: u64 = 60;
pub(super) const HOUR: u64 = 3600;

/// What the scripted source does in a second of the simulation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// Grants credentials for this number of seconds.
    Grant(u64),
    /// Fails with this code.
    Fail(&'static str),
    /// Is throttled, with a `Retry-After` of this number of seconds.
    Throttle(u64),
    /// Responds after two seconds, with credentials for this number of seconds from the request.
    Slow(u64),
    /// Never responds.
    Hang,
}

#[derive(Clone)]
struct Script {
    clock: Clock,
    started: Instant,
    action: fn(u64) -> Action,
    role: RoleRequest,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    /// When each attempt started.
    attempts: Vec<Duration>,
    /// When each lease expires, in true time, by its id.
    expiries: Vec<Duration>,
}

impl Log {
    /// Makes a lease that was requested at `requested_at`, `elapsed` after the start.
    fn grant(&mut self, requested_at: Moment, elapsed: Duration, lifetime: Duration) -> Lease {
        self.expiries.push(elapsed + lifetime);
        Lease {
            credentials: Credentials {
                access_key_id: (self.expiries.len() - 1).to_string(),
                access_key_secret: "secret".into(),
                security_token: "token".into(),
                issued_at: requested_at.wall,
                expires_at: requested_at.wall + lifetime,
            },
            deadline: requested_at.after(lifetime),
            lifetime,
            skew: TimeDelta::zero(),
            served_by: "script".to_owned(),
            renewal: None,
        }
    }
}

impl Source for Script {
    async fn mint(&mut self) -> Result<Lease, Failure> {
        let elapsed = self.started.elapsed();
        let requested_at = self.clock.now();
        self.log.lock().unwrap().attempts.push(elapsed);
        let lifetime = match (self.action)(elapsed.as_secs()) {
            Action::Grant(seconds) => Duration::from_secs(seconds),
            Action::Slow(seconds) => {
                tokio::time::sleep(2 * SECOND).await;
                Duration::from_secs(seconds)
            }
            Action::Fail(code) => {
                let mut failure = Failure::new(Stage::Sts, code, "scripted");
                failure.host = Some("sts.aliyuncs.com".into());
                failure.request_id = Some("scripted-id".to_owned());
                return Err(failure);
            }
            Action::Throttle(seconds) => {
                let mut failure = Failure::new(Stage::Sts, "Throttling.User", "scripted");
                failure.retry_after = Some(Duration::from_secs(seconds));
                return Err(failure);
            }
            Action::Hang => std::future::pending().await,
        };
        Ok(self
            .log
            .lock()
            .unwrap()
            .grant(requested_at, elapsed, lifetime))
    }

    fn role(&self) -> Option<&RoleRequest> {
        Some(&self.role)
    }

    fn timeout(&self) -> Duration {
        15 * SECOND
    }
}

pub(super) struct Simulation {
    pub(super) clock: Clock,
    pub(super) started: Instant,
    pub(super) subscriber: Subscriber,
    pub(super) health: HealthReader,
    pub(super) refresh_requests: watch::Sender<u64>,
    log: Arc<Mutex<Log>>,
    _loop: JoinSet<Infallible>,
}

impl Simulation {
    pub(super) fn start(action: fn(u64) -> Action) -> Self {
        Self::resume(action, None)
    }

    /// Starts with restored credentials, if any: their lifetime and the time until their renewal, in seconds.
    pub(super) fn resume(action: fn(u64) -> Action, restored: Option<(u64, u64)>) -> Self {
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
            action,
            role: RoleRequest {
                arn: RoleArn::parse("acs:ram::1234567890123456:role/job").unwrap(),
                session_name: "train-0".to_owned(),
                duration: Duration::from_secs(HOUR),
                policy: None,
                external_id: None,
                source_identity: None,
            },
            log: Arc::clone(&log),
        };
        if let Some((lifetime, renew_after)) = restored {
            let now = clock.now();
            let lifetime = Duration::from_secs(lifetime);
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

    /// Lets a second pass, and returns whether credentials are offered. Never offers expired ones, and with a
    /// `trusted_clock` always offers valid ones.
    pub(super) async fn second(&mut self, trusted_clock: bool) -> bool {
        tokio::time::sleep(SECOND).await;
        let elapsed = self.started.elapsed();
        let log = self.log.lock().unwrap();
        let offered = match self.subscriber.snapshot().offer(self.clock.now()) {
            Offer::Credentials(current) => {
                let expiry = log.expiries[current
                    .lease
                    .credentials
                    .access_key_id
                    .parse::<usize>()
                    .unwrap()];
                assert!(
                    expiry > elapsed,
                    "expired credentials are offered at {elapsed:?}"
                );
                true
            }
            Offer::NoRole | Offer::Wait(_) | Offer::Refusal(_) => false,
        };
        if trusted_clock {
            let valid = log.expiries.last().is_some_and(|expiry| *expiry > elapsed);
            assert_eq!(offered, valid, "at {elapsed:?}");
        }
        offered
    }

    /// Lets seconds pass, and returns the intervals without credentials, `[from, to)`.
    pub(super) async fn run(&mut self, seconds: u64) -> Vec<(u64, u64)> {
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

    pub(super) fn offers(&mut self) -> bool {
        let offer = self.subscriber.snapshot().offer(self.clock.now());
        matches!(offer, Offer::Credentials(_))
    }

    pub(super) fn attempts(&self) -> Vec<Duration> {
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

/// Grants an hour at the start, and is unreachable afterwards.
pub(super) fn then_unreachable(at: u64) -> Action {
    if at == 0 {
        Action::Grant(HOUR)
    } else {
        Action::Fail("ConnectFailed")
    }
}
