//! A fleet of sidecars against one STS with a quota: how soon all of them have credentials, how they spread their calls
//! over a day, and whether any of them is ever without.
//!
//! ```sh
//! cargo bench --bench fleet                # 10,000 sidecars, 24 hours; draws benches/fleet.svg
//! cargo bench --bench fleet -- 1000 10     # so many sidecars, and so many calls a second
//! ```
//!
//! Every sidecar is the production code of schedule, refresh, snapshot, source and sts, under a paused clock. STS is
//! simulated: so many calls a second for the whole account, the rest is refused with `Throttling.User` and costs no quota;
//! an answer takes 20 ms. All sidecars start within one second. After twelve hours STS cannot be reached for 20 minutes,
//! and then grants a tenth of the quota for an hour. The same arguments give the same figures.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures of a day fit"
)]
#![expect(clippy::print_stdout, reason = "the figures are the point")]
#![expect(clippy::expect_used, reason = "a bench may fail loudly")]

mod picture;

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use ram_sidecar::credentials::{Lease, RoleArn, RoleRequest, timestamp};
use ram_sidecar::failure::{Failure, OwnCode, Stage};
use ram_sidecar::http::client::{Call, Carried, Carrier, Outbound};
use ram_sidecar::http::response::Answer;
use ram_sidecar::identity::{AccessKey, Identity, Value};
use ram_sidecar::refresh::Refresher;
use ram_sidecar::refresh::source::{Chain, Source};
use ram_sidecar::refresh::store;
use ram_sidecar::sts::endpoint::Endpoint;
use ram_sidecar::sts::sign::Signature;
use ram_sidecar::sts::{EndpointState, Sts};
use ram_sidecar::time::clock::Clock;
use ram_sidecar::time::moment::Moment;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

fn main() {
    // What `cargo bench` adds is not for this.
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let sidecars = numbers.next().unwrap_or(10_000_u32);
    let quota = numbers.next().unwrap_or(100);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let day = runtime.block_on(lived(sidecars, quota));
    println!("{}", day.told(sidecars, quota));
    if (sidecars, quota) == (10_000, 100) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/fleet.svg");
        std::fs::write(path, picture::drawn(&day)).expect("the picture can be written");
        println!("drawn: benches/fleet.svg");
    }
}

/// What came of a day.
struct Day {
    /// When each sidecar had its first credentials, in seconds, sorted.
    first: Vec<f64>,
    /// Calls in each second, by what became of them.
    seconds: Vec<Second>,
    /// How many times a sidecar was without credentials after it had had some.
    gaps: usize,
    /// The least that was left of a life when its successor came.
    least_left: Duration,
}

/// The calls of one second.
#[derive(Clone, Copy, Default)]
struct Second {
    granted: u32,
    throttled: u32,
    lost: u32,
}

impl Second {
    fn all(self) -> u32 {
        self.granted + self.throttled + self.lost
    }
}

async fn lived(sidecars: u32, quota: u32) -> Day {
    let beginning = Moment {
        wall: DateTime::from_timestamp(1_716_287_969, 0).expect("a date"),
        boot: Duration::ZERO,
    };
    let service = Service(Arc::new(Shared {
        clock: Clock::simulated(beginning, true),
        origin: Instant::now(),
        quota,
        seconds: Mutex::new(vec![Second::default(); SPAN + 60]),
        record: Mutex::default(),
    }));
    let mut tasks = JoinSet::new();
    for _ in 0..sidecars {
        let (service, late) = (service.clone(), dice());
        tasks.spawn(async move {
            sleep(Duration::from_secs_f64(late)).await;
            sidecar(&service).run().await
        });
    }
    sleep(Duration::from_secs(SPAN as u64)).await;
    let now = service.0.clock.now();
    let record = std::mem::take(&mut *lock(&service.0.record));
    let mut first = record.first;
    first.sort_by(f64::total_cmp);
    let over = record
        .held
        .iter()
        .filter(|held| now.is_past(**held))
        .count();
    let mut seconds = lock(&service.0.seconds).clone();
    seconds.truncate(SPAN);
    Day {
        first,
        seconds,
        gaps: record.gaps + over,
        least_left: record.least_left.unwrap_or_default(),
    }
}

fn sidecar(service: &Service) -> Refresher<Watched> {
    let clock = service.0.clock.clone();
    let identity = Identity::AccessKey(AccessKey {
        id: Value::Given("LTAI".into()),
        secret: Value::Given("secret".into()),
        token: None,
    });
    let endpoint = Endpoint::parse("sts.aliyuncs.com").expect("an endpoint");
    let place = EndpointState::new(endpoint, Outbound::over(service.clone()));
    let role = RoleRequest {
        arn: RoleArn::parse("acs:ram::1:role/job").expect("a role"),
        session_name: "job".to_owned(),
        duration: LIFETIME,
        policy: None,
        external_id: None,
        source_identity: None,
    };
    let sts = Sts::new(vec![place], Signature::V1, clock.clone());
    let (publisher, ..) = store::channel(|_| Bytes::new());
    Refresher {
        source: Watched {
            chain: Chain::new(identity, sts, vec![role], clock.clone()),
            service: service.clone(),
            held: None,
        },
        publisher,
        clock,
        jitter: dice,
        // Nobody asks for a renewal.
        refresh_requested: watch::channel(0).1,
    }
}

/// The one STS of all sidecars.
#[derive(Clone)]
struct Service(Arc<Shared>);

struct Shared {
    clock: Clock,
    origin: Instant,
    quota: u32,
    seconds: Mutex<Vec<Second>>,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    first: Vec<f64>,
    gaps: usize,
    least_left: Option<Duration>,
    /// By sidecar, when what it holds ends.
    held: Vec<Moment>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Carrier for Service {
    fn carry<'a>(&'a self, _: Call<'a>) -> Carried<'a> {
        Box::pin(async move {
            sleep(TRIP).await;
            let answer = self.answered();
            sleep(TRIP).await;
            answer
        })
    }
}

impl Service {
    fn answered(&self) -> Result<Answer, Failure> {
        let at = self.0.origin.elapsed();
        let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
        let quota = match second {
            OUTAGE..OUTAGE_END => 0,
            OUTAGE_END..SHORTAGE_END => self.0.quota / 10,
            _ => self.0.quota,
        };
        let now = self.0.clock.now().wall;
        let mut seconds = lock(&self.0.seconds);
        let Some(count) = seconds.get_mut(second) else {
            return Err(Failure::new(
                Stage::Transport,
                OwnCode::ConnectFailed,
                "over",
            ));
        };
        if quota == 0 {
            count.lost += 1;
            return Err(Failure::new(
                Stage::Transport,
                OwnCode::ConnectFailed,
                "outage",
            ));
        }
        if count.granted == quota {
            count.throttled += 1;
            return Ok(answer(400, now, r#"{"Code":"Throttling.User"}"#.to_owned()));
        }
        count.granted += 1;
        let expiration = timestamp(now + TimeDelta::from_std(LIFETIME).unwrap_or_default());
        let body = format!(
            r#"{{"Credentials":{{"AccessKeyId":"STS.a","AccessKeySecret":"s","SecurityToken":"t","Expiration":"{expiration}"}}}}"#
        );
        Ok(answer(200, now, body))
    }
}

fn answer(status: u16, now: DateTime<Utc>, body: String) -> Answer {
    Answer {
        status,
        date: DateTime::from_timestamp(now.timestamp(), 0),
        retry_after: None,
        request_id: None,
        body: body.into_bytes().into(),
    }
}

/// The production source, and a note of each success.
struct Watched {
    chain: Chain,
    service: Service,
    /// The number of the sidecar, once it has had credentials.
    held: Option<usize>,
}

impl Source for Watched {
    async fn mint(&mut self) -> Result<Lease, Failure> {
        let lease = self.chain.mint().await?;
        let now = self.service.0.clock.now();
        let mut record = lock(&self.service.0.record);
        let deadline = lease.deadline;
        if let Some(held) = self.held.and_then(|number| record.held.get_mut(number)) {
            let left = now.until(std::mem::replace(held, deadline));
            record.gaps += usize::from(left.is_zero());
            record.least_left = Some(record.least_left.map_or(left, |least| least.min(left)));
        } else {
            self.held = Some(record.held.len());
            record.held.push(deadline);
            record
                .first
                .push(self.service.0.origin.elapsed().as_secs_f64());
        }
        Ok(lease)
    }

    fn failovers(&mut self) -> Vec<Failure> {
        self.chain.failovers()
    }

    fn timeout(&self) -> Duration {
        self.chain.timeout()
    }
}

impl Day {
    fn told(&self, sidecars: u32, quota: u32) -> String {
        let at = |share: f64| {
            let index = (self.first.len().saturating_sub(1) as f64 * share) as usize;
            self.first.get(index).copied().unwrap_or(f64::NAN)
        };
        let over = |from: usize, to: usize| {
            let part = self.seconds.get(from..to).unwrap_or_default();
            let all: u32 = part.iter().map(|second| second.all()).sum();
            let most = part
                .iter()
                .map(|second| second.all())
                .max()
                .unwrap_or_default();
            let throttled: u32 = part.iter().map(|second| second.throttled).sum();
            let mean = f64::from(all) / (to - from) as f64;
            format!(
                "{mean:8.1} calls a second, {most:5} at the most, {throttled:7} throttled of {all:7}"
            )
        };
        format!(
            "{sidecars} sidecars, {quota} calls a second, lives of {} s
first credentials: half by {:.1} s, 99 % by {:.1} s, the last of {} by {:.1} s (floor {:.1} s)
the start, 5 min:     {}
calm, until 12 h:     {}
outage, 20 min:       {}
a tenth of it, 1 h:   {}
calm again, to 24 h:  {}
without credentials after the first: {} times; least left of a life at its renewal: {} s",
            LIFETIME.as_secs(),
            at(0.5),
            at(0.99),
            self.first.len(),
            at(1.0),
            f64::from(sidecars) / f64::from(quota),
            over(0, 300),
            over(300, OUTAGE),
            over(OUTAGE, OUTAGE_END),
            over(OUTAGE_END, SHORTAGE_END),
            over(SHORTAGE_END, SPAN),
            self.gaps,
            self.least_left.as_secs(),
        )
    }
}

/// Throws the dice (`SplitMix64`), the same ones in every run.
fn dice() -> f64 {
    thread_local!(static STATE: Cell<u64> = const { Cell::new(1) });
    let mut mixed = STATE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    STATE.set(mixed);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const LIFETIME: Duration = Duration::from_secs(3600);
/// From the sidecar to STS, or back.
const TRIP: Duration = Duration::from_millis(10);
const OUTAGE: usize = 12 * 3600;
const OUTAGE_END: usize = OUTAGE + 20 * 60;
const SHORTAGE_END: usize = OUTAGE_END + 3600;
const SPAN: usize = 24 * 3600;
