//! Simulates a fleet of sidecars that share the quota of one STS. Measures when all of them have credentials, how their
//! calls spread over a day, and whether the credentials of any of them expire.
//!
//! ```sh
//! cargo bench --bench fleet                # 10,000 sidecars, 100 calls a second; draws benches/fleet.svg
//! cargo bench --bench fleet -- 1000 10     # 1,000 sidecars, 10 calls a second
//! ```
//!
//! Every sidecar is the production code of refresh and sts, under a paused clock, for 24 hours. STS is simulated: it
//! grants calls up to the quota of each second, and rejects the others with `Throttling.User`. A response takes 20 ms.
//! All sidecars start within one second. After twelve hours STS is unreachable for 20 minutes, and then grants a tenth of
//! the quota for an hour. The same arguments give the same figures.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the figures are small enough"
)]
#![expect(clippy::print_stdout, reason = "prints the figures")]
#![expect(clippy::expect_used, reason = "a benchmark may panic")]

mod chart;

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use ram_sidecar::credentials::{Lease, RoleArn, RoleRequest, timestamp};
use ram_sidecar::failure::{Failure, LocalCode, Stage};
use ram_sidecar::http::client::{Call, Client, ResponseFuture, Transport};
use ram_sidecar::http::response::Response;
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
    // `cargo bench` adds arguments that are not numbers.
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let sidecars = numbers.next().unwrap_or(10_000_u32);
    let quota = numbers.next().unwrap_or(100);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let day = runtime.block_on(simulate(sidecars, quota));
    println!("{}", day.report(sidecars, quota));
    if (sidecars, quota) == (10_000, 100) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/fleet.svg");
        std::fs::write(path, chart::draw(&day)).expect("the chart can be written");
        println!("drawn: benches/fleet.svg");
    }
}

/// The figures of a day.
struct Day {
    /// When each sidecar had its first credentials, in seconds, sorted.
    first: Vec<f64>,
    /// The calls in each second.
    seconds: Vec<Second>,
    /// How often the credentials of a sidecar expired before they were renewed.
    expiries: usize,
    /// The shortest remaining lifetime at a renewal.
    min_remaining: Duration,
}

/// The calls of one second, by their outcome.
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

async fn simulate(sidecars: u32, quota: u32) -> Day {
    let start = Moment {
        wall: DateTime::from_timestamp(1_716_287_969, 0).expect("a date"),
        boot: Duration::ZERO,
    };
    let service = Service(Arc::new(Shared {
        clock: Clock::simulated(start, true),
        origin: Instant::now(),
        quota,
        seconds: Mutex::new(vec![Second::default(); SPAN + 60]),
        record: Mutex::default(),
    }));
    let mut tasks = JoinSet::new();
    for _ in 0..sidecars {
        let (service, delay) = (service.clone(), jitter());
        tasks.spawn(async move {
            sleep(Duration::from_secs_f64(delay)).await;
            sidecar(&service).run().await
        });
    }
    sleep(Duration::from_secs(SPAN as u64)).await;
    let now = service.0.clock.now();
    let record = std::mem::take(&mut *lock(&service.0.record));
    let mut first = record.first;
    first.sort_by(f64::total_cmp);
    let expired_now = record
        .deadlines
        .iter()
        .filter(|deadline| now.is_past(**deadline))
        .count();
    let mut seconds = lock(&service.0.seconds).clone();
    seconds.truncate(SPAN);
    Day {
        first,
        seconds,
        expiries: record.expiries + expired_now,
        min_remaining: record.min_remaining.unwrap_or_default(),
    }
}

fn sidecar(service: &Service) -> Refresher<RecordingSource> {
    let clock = service.0.clock.clone();
    let identity = Identity::AccessKey(AccessKey {
        id: Value::Inline("LTAI".into()),
        secret: Value::Inline("secret".into()),
        token: None,
    });
    let endpoint = Endpoint::parse("sts.aliyuncs.com").expect("an endpoint");
    let place = EndpointState::new(endpoint, Client::with_transport(service.clone()));
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
        source: RecordingSource {
            chain: Chain::new(identity, sts, vec![role], clock.clone()),
            service: service.clone(),
            number: None,
        },
        publisher,
        clock,
        jitter,
        // No renewal is requested.
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
    expiries: usize,
    min_remaining: Option<Duration>,
    /// When the current credentials of each sidecar expire.
    deadlines: Vec<Moment>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Transport for Service {
    fn send<'a>(&'a self, _: Call<'a>) -> ResponseFuture<'a> {
        Box::pin(async move {
            sleep(TRIP).await;
            let response = self.respond();
            sleep(TRIP).await;
            response
        })
    }
}

impl Service {
    fn respond(&self) -> Result<Response, Failure> {
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
                LocalCode::ConnectFailed,
                "the simulation has ended",
            ));
        };
        if quota == 0 {
            count.lost += 1;
            return Err(Failure::new(
                Stage::Transport,
                LocalCode::ConnectFailed,
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

fn answer(status: u16, now: DateTime<Utc>, body: String) -> Response {
    Response {
        status,
        date: DateTime::from_timestamp(now.timestamp(), 0),
        retry_after: None,
        request_id: None,
        body: body.into_bytes().into(),
    }
}

/// The production source, which also records each success.
struct RecordingSource {
    chain: Chain,
    service: Service,
    /// The index of the sidecar in the record, once it has had credentials.
    number: Option<usize>,
}

impl Source for RecordingSource {
    async fn mint(&mut self) -> Result<Lease, Failure> {
        let lease = self.chain.mint().await?;
        let now = self.service.0.clock.now();
        let mut record = lock(&self.service.0.record);
        let deadline = lease.deadline;
        if let Some(current) = self
            .number
            .and_then(|number| record.deadlines.get_mut(number))
        {
            let remaining = now.until(std::mem::replace(current, deadline));
            record.expiries += usize::from(remaining.is_zero());
            let min = record
                .min_remaining
                .map_or(remaining, |min| min.min(remaining));
            record.min_remaining = Some(min);
        } else {
            self.number = Some(record.deadlines.len());
            record.deadlines.push(deadline);
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
    /// Renders the figures.
    fn report(&self, sidecars: u32, quota: u32) -> String {
        let quantile = |fraction: f64| {
            let index = (self.first.len().saturating_sub(1) as f64 * fraction) as usize;
            self.first.get(index).copied().unwrap_or(f64::NAN)
        };
        let calls = |from: usize, to: usize| {
            let part = self.seconds.get(from..to).unwrap_or_default();
            let all: u32 = part.iter().map(|second| second.all()).sum();
            let max = part
                .iter()
                .map(|second| second.all())
                .max()
                .unwrap_or_default();
            let throttled: u32 = part.iter().map(|second| second.throttled).sum();
            let mean = f64::from(all) / (to - from) as f64;
            format!(
                "{mean:8.1} calls a second, at most {max:5}, {throttled:7} throttled of {all:7}"
            )
        };
        format!(
            "{sidecars} sidecars, {quota} calls a second, lifetime {} s
first credentials: 50 % after {:.1} s, 99 % after {:.1} s, all {} after {:.1} s (the quota allows {:.1} s)
start, 5 min:         {}
normal, to 12 h:      {}
outage, 20 min:       {}
quota / 10, 1 h:      {}
normal, to 24 h:      {}
credentials expired before their renewal: {} times; shortest remaining lifetime at a renewal: {} s",
            LIFETIME.as_secs(),
            quantile(0.5),
            quantile(0.99),
            self.first.len(),
            quantile(1.0),
            f64::from(sidecars) / f64::from(quota),
            calls(0, 300),
            calls(300, OUTAGE),
            calls(OUTAGE, OUTAGE_END),
            calls(OUTAGE_END, SHORTAGE_END),
            calls(SHORTAGE_END, SPAN),
            self.expiries,
            self.min_remaining.as_secs(),
        )
    }
}

/// Draws a random number in [0, 1) (`SplitMix64`), the same sequence in every run.
fn jitter() -> f64 {
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

/// The lifetime of all credentials.
const LIFETIME: Duration = Duration::from_secs(3600);
/// The time of a request or a response on the network.
const TRIP: Duration = Duration::from_millis(10);
/// The second in which the outage starts.
const OUTAGE: usize = 12 * 3600;
const OUTAGE_END: usize = OUTAGE + 20 * 60;
const SHORTAGE_END: usize = OUTAGE_END + 3600;
/// The seconds of a day.
const SPAN: usize = 24 * 3600;
