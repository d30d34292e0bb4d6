//! One scenario: a daemon, and the events around it that its seed generates.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use ram_sidecar::refresh::store::Offer;
use ram_sidecar::time::clock::Clock;
use ram_sidecar::time::moment::Moment;

use crate::daemon::{Daemon, Dialect, Setup};
use crate::fault::Fault;
use crate::promises::{Checked, Circumstances, Promises, check_response, current, ensure};
use crate::random::{self, Random};
use crate::timeline::{BOOT_TIME, Timeline};
use crate::world::{ActiveFault, SECRET_MARKER, World, date};

/// The totals of one or more scenarios.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) scenarios: u64,
    pub(crate) simulated: Duration,
    pub(crate) steps: u64,
    pub(crate) calls: u64,
    pub(crate) responses: u64,
    pub(crate) restarts: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: Self) {
        self.scenarios += other.scenarios;
        self.simulated += other.simulated;
        self.steps += other.steps;
        self.calls += other.calls;
        self.responses += other.responses;
        self.restarts += other.restarts;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.simulated.as_secs() / 86_400;
        let Self {
            scenarios,
            steps,
            calls,
            responses,
            restarts,
            ..
        } = self;
        write!(
            f,
            "{scenarios} scenarios of {days} days in total, {steps} steps, {calls} calls to STS, {responses} responses to clients, {restarts} restarts"
        )
    }
}

/// Runs the scenario of a seed to its end; fails with the promise that was broken.
pub(crate) async fn simulate(seed: u64, directory: &Path, timeline: &Timeline) -> Checked<Totals> {
    let mut scenario = Scenario::start(seed, directory, timeline).await?;
    let days = if scenario.is_calm { 90 } else { 2 };
    while scenario.world.true_time() < Duration::from_secs(days * 86_400) {
        scenario.step().await?;
    }
    scenario.totals.scenarios = 1;
    scenario.totals.simulated = scenario.world.true_time();
    scenario.totals.calls = scenario.world.state().calls;
    Ok(scenario.totals)
}

struct Scenario {
    random: Random,
    /// Whether few events happen, which allows a longer scenario.
    is_calm: bool,
    world: World,
    setup: Setup,
    daemon: Daemon,
    promises: Promises,
    circumstances: Circumstances,
    clients: Clients,
    totals: Totals,
    /// When the current faults of STS end.
    faults_until: Option<Duration>,
    token_file: TokenFile,
    /// When the missing directory of the file returns.
    disk_missing_until: Option<Duration>,
    /// How fast the wall clock drifts, in parts per million.
    drift_ppm: f64,
    /// The uptime at which the drift was last applied.
    drifted_at: Duration,
}

/// The state of the token file.
#[derive(Clone, Copy, Debug)]
enum TokenFile {
    /// It is good, and is replaced at this time.
    Good(Duration),
    /// It is missing, damaged or no longer rotated until this time.
    Broken(Duration),
}

impl Scenario {
    async fn start(seed: u64, directory: &Path, timeline: &Timeline) -> Checked<Self> {
        random::seed_jitter(seed);
        let mut random = Random::new(seed, "scenario");
        let is_calm = random.happens(0.5);
        let setup = Setup {
            duration: Duration::from_secs(if is_calm {
                random.choose(&[3600, 7200, 43_200, 43_200])
            } else {
                random.choose(&[3600, 3600, 3600, 900, 1800, 7200, 43_200])
            }),
            has_state: random.happens(0.5),
            endpoints: random.choose(&[1, 1, 2]),
            has_token: random.happens(0.5),
            has_via: random.happens(0.2),
            directory: directory.to_owned(),
        };
        fs::create_dir_all(setup.disk()).unwrap();
        // The wall clock of some machines is wrong from the start.
        let skew = if random.happens(0.3) {
            TimeDelta::seconds(random.choose(&[-86_400, -1200, -40, -2, 3, 50, 1000, 7200]))
        } else {
            TimeDelta::zero()
        };
        let now = Moment {
            wall: date(Duration::ZERO) + skew,
            boot: BOOT_TIME,
        };
        // Few kernels lack the timers, and a scenario without them takes ten times as long to simulate.
        let clock = Clock::simulated(now, random.happens(0.9));
        timeline.set_clock(clock.clone());
        let world = World::new(seed, setup.endpoints, clock, timeline.clone());
        world.record(&format!("{setup:?}, skew {skew}"));
        let drift_ppm = if random.happens(0.3) {
            400.0 * random.fraction() - 200.0
        } else {
            0.0
        };
        let mut token_file = TokenFile::Good(Duration::ZERO);
        rotate(&mut token_file, &world, &setup);
        let daemon = Daemon::start(&setup, &world).await;
        let daemon = daemon.map_err(|failure| failure.to_string())?;
        Ok(Self {
            random,
            is_calm,
            world,
            setup,
            daemon,
            promises: Promises::default(),
            circumstances: Circumstances {
                started_skewed: !skew.is_zero(),
                ..Circumstances::default()
            },
            clients: Clients::default(),
            totals: Totals::default(),
            faults_until: None,
            token_file,
            disk_missing_until: None,
            drift_ppm,
            drifted_at: Duration::ZERO,
        })
    }

    /// Generates events, lets time pass, and checks the promises.
    async fn step(&mut self) -> Checked {
        self.sts_faults();
        if self.setup.has_token {
            self.token_file();
        }
        self.disk();
        self.clocks();
        if self.happens(0.01) {
            self.restart().await?;
        }
        if self.happens(0.02) {
            let times = self.random.choose(&[1, 1, 30]);
            self.world.record(&format!("SIGHUP, {times} times"));
            self.circumstances.refresh_requested = self.world.true_time();
            self.daemon
                .refresh_requests
                .send_modify(|count| *count += times);
        }
        if self.happens(0.1) {
            self.clients
                .burst(&self.world, &self.daemon, &mut self.random);
        }
        let pause = self.pause();
        tokio::time::sleep(pause).await;
        self.drift();
        self.totals.steps += 1;
        self.record_faults();
        self.totals.responses = *self.clients.responses.lock().unwrap();
        if let Some(breach) = self.clients.breaches.lock().unwrap().pop() {
            return Err(breach);
        }
        self.promises
            .check(
                &self.world,
                &mut self.daemon,
                &self.setup,
                &self.circumstances,
            )
            .await
    }

    /// Returns true with this probability, or a smaller one in a calm scenario.
    fn happens(&mut self, probability: f64) -> bool {
        let factor = if self.is_calm { 0.05 } else { 1.0 };
        self.random.happens(probability * factor)
    }

    /// Starts and ends faults of the STS endpoints.
    fn sts_faults(&mut self) {
        let now = self.world.true_time();
        if self.faults_until.is_some_and(|until| until <= now) {
            self.faults_until = None;
            self.world.state().faults.fill(None);
            self.world.record("the faults of STS end");
        } else if self
            .random
            .happens(match (self.faults_until.is_some(), self.is_calm) {
                (true, _) => 0.03,
                (false, false) => 0.02,
                (false, true) => 0.01,
            })
        {
            for index in 0..self.setup.endpoints {
                let fault = self.random.happens(0.8).then(|| ActiveFault {
                    fault: self.random.choose(&Fault::ALL),
                    probability: self.random.choose(&[1.0, 1.0, 0.5, 0.2]),
                });
                self.world
                    .record(&format!("fault of endpoint {index}: {fault:?}"));
                self.world.state().faults[index] = fault;
            }
            let span = self
                .random
                .duration(Duration::from_secs(1), Duration::from_secs(6 * 3600));
            self.faults_until = self.faults_until.or(Some(now + span));
        }
    }

    /// Rotates, damages and restores the token file.
    fn token_file(&mut self) {
        let now = self.world.true_time();
        let happens = self.happens(0.01);
        match self.token_file {
            TokenFile::Good(until) | TokenFile::Broken(until) if until <= now => {
                rotate(&mut self.token_file, &self.world, &self.setup);
            }
            TokenFile::Good(_) if happens => {
                let path = self.setup.token_file();
                let kind = self.random.below(4);
                match kind {
                    0 => fs::write(&path, "").unwrap(),
                    1 => fs::remove_file(&path).unwrap(),
                    2 => fs::write(&path, format!("{SECRET_MARKER}-half")).unwrap(),
                    // It is no longer rotated, and expires.
                    _ => {}
                }
                let what = ["emptied", "removed", "damaged", "no longer rotated"];
                let what = what[usize::try_from(kind).unwrap()];
                self.world.record(&format!("the token file is {what}"));
                let span = self
                    .random
                    .duration(Duration::from_secs(5), Duration::from_secs(5 * 3600));
                self.token_file = TokenFile::Broken(now + span);
            }
            _ => {}
        }
    }

    /// Removes the directory of the file, and restores it.
    fn disk(&mut self) {
        let now = self.world.true_time();
        let aside = self.setup.directory.join("disk-aside");
        if self.disk_missing_until.is_some_and(|until| until <= now) {
            self.disk_missing_until = None;
            fs::rename(&aside, self.setup.disk()).unwrap();
            self.world.record("the disk is available again");
            self.circumstances.disk_fault = now;
        } else if self.disk_missing_until.is_none() && self.happens(0.01) {
            fs::rename(self.setup.disk(), &aside).unwrap();
            self.world.record("the disk is unavailable");
            let span = self
                .random
                .duration(Duration::from_secs(1), Duration::from_secs(3 * 3600));
            self.disk_missing_until = Some(now + span);
        }
    }

    /// Sets the wall clock, or suspends the machine.
    fn clocks(&mut self) {
        if self.happens(0.008) {
            let skew = self.world.skew();
            let shift = if self.random.happens(0.4) {
                -skew
            } else {
                let span = self
                    .random
                    .duration(Duration::from_millis(200), Duration::from_secs(3 * 86_400));
                let shift = TimeDelta::from_std(span).unwrap();
                if self.random.happens(0.5) {
                    shift
                } else {
                    -shift
                }
            };
            self.world
                .record(&format!("the wall clock is set by {shift}"));
            self.world.clock().shift_wall(shift);
            self.circumstances.clock_set = self.world.true_time();
        }
        if self.happens(0.008) {
            let span = self
                .random
                .duration(Duration::from_secs(1), Duration::from_secs(10 * 3600));
            self.world
                .record(&format!("the machine sleeps for {span:?}"));
            self.world.suspend(span);
            self.circumstances.clock_set = self.world.true_time();
        }
    }

    /// Kills the daemon and starts another.
    async fn restart(&mut self) -> Checked {
        if self.disk_missing_until.is_some() {
            // It would not start.
            return Ok(());
        }
        self.world.record("the daemon is killed and started again");
        let before = self.promises.valid(&self.world, &self.circumstances);
        let daemon = Daemon::start(&self.setup, &self.world).await;
        self.daemon = daemon.map_err(|failure| format!("it does not start: {failure}"))?;
        if self.setup.has_state
            && let Some(before) = before
        {
            let after = current(&self.daemon);
            ensure(after == Some(before), || {
                format!(
                    "{before} was current and is valid, but the successor starts with {after:?}"
                )
            })?;
        }
        self.promises = Promises::default();
        self.circumstances.started = self.world.true_time();
        self.circumstances.started_skewed = !self.world.skew().is_zero();
        self.totals.restarts += 1;
        Ok(())
    }

    /// Draws the time until the next step.
    fn pause(&mut self) -> Duration {
        let max_seconds = match (self.faults_until, self.disk_missing_until) {
            (None, None) if self.is_calm => 6 * 3600,
            (None, None) => 1500,
            _ => 300,
        };
        let min_millis = match (self.faults_until, self.is_calm) {
            (None, true) => 60_000,
            (Some(_), true) => 5000,
            _ => 100,
        };
        let mut pause = self.random.duration(
            Duration::from_millis(min_millis),
            Duration::from_secs(max_seconds),
        );
        // Errors are most likely around the expiry.
        let state = self.daemon.subscriber.snapshot();
        if let Some(current) = state.current()
            && self.random.happens(0.2)
        {
            let left = self.world.clock().now().until(current.lease.deadline);
            let offset = self.random.choose(&[0, 1, 20, 990, 1010, 2000]);
            if !left.is_zero() && left < Duration::from_secs(1800) {
                pause = left.saturating_sub(Duration::from_secs(1)) + Duration::from_millis(offset);
            }
        }
        // The kubelet always rotates in time.
        let (TokenFile::Good(until) | TokenFile::Broken(until)) = self.token_file;
        if self.setup.has_token {
            let rest = until.saturating_sub(self.world.true_time());
            pause = pause.min(rest + Duration::from_millis(1));
        }
        pause
    }

    /// Applies the drift of the wall clock for the time that has passed.
    fn drift(&mut self) {
        let uptime = self.world.uptime();
        let passed = uptime.saturating_sub(self.drifted_at).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, reason = "some milliseconds")]
        let gained = (passed * self.drift_ppm / 1000.0) as i64;
        if gained != 0 {
            self.drifted_at = uptime;
            let gained = TimeDelta::milliseconds(gained);
            self.world.clock().drift_wall(gained);
        }
    }

    /// Records which faults exist now.
    fn record_faults(&mut self) {
        let now = self.world.true_time();
        let has_fault =
            self.faults_until.is_some() || matches!(self.token_file, TokenFile::Broken(_));
        if has_fault {
            self.circumstances.sts_fault = now;
        }
        if self.disk_missing_until.is_some() {
            self.circumstances.disk_fault = now;
        }
    }
}

/// Replaces the token 12 minutes before the old one expires, as the kubelet does.
fn rotate(token_file: &mut TokenFile, world: &World, setup: &Setup) {
    let now = world.true_time();
    let text = format!("{SECRET_MARKER}.{}.signature", now.as_millis());
    let fresh = setup.directory.join("token-fresh");
    fs::write(&fresh, &text).unwrap();
    fs::rename(&fresh, setup.token_file()).unwrap();
    world
        .state()
        .accept_token(text, now + Duration::from_secs(3600));
    *token_file = TokenFile::Good(now + Duration::from_secs(2880));
}

/// Clients that send requests concurrently with the steps of the scenario.
#[derive(Clone, Debug, Default)]
struct Clients {
    responses: Arc<Mutex<u64>>,
    breaches: Arc<Mutex<Vec<String>>>,
}

impl Clients {
    /// Sends up to 30 requests at the same time, in random dialects.
    fn burst(&self, world: &World, daemon: &Daemon, random: &mut Random) {
        for _ in 0..random.choose(&[1, 1, 1, 2, 30]) {
            let dialect = random.choose(&Dialect::ALL);
            let (world, routers) = (world.clone(), daemon.routers.clone());
            let (clients, mut subscriber) = (self.clone(), daemon.subscriber.clone());
            tokio::spawn(async move {
                let requested_at = world.uptime();
                let (status, body) = routers.request(dialect).await;
                let took = world.uptime().saturating_sub(requested_at);
                let offer = subscriber.snapshot().offer(world.clock().now());
                let checked = check_response(&world, dialect, status, &body).and_then(|number| {
                    let is_offered = matches!(offer, Offer::Credentials(_));
                    ensure(number.is_some() == is_offered, || {
                        format!("{dialect:?} responds {status} after {took:?} to {offer:?}")
                    })?;
                    let max_millis = match dialect {
                        Dialect::Uri => 4000,
                        Dialect::Container => 1500,
                        Dialect::Metadata => 700,
                    };
                    ensure(took <= Duration::from_millis(max_millis + 1), || {
                        format!("{dialect:?} took {took:?}")
                    })
                });
                *clients.responses.lock().unwrap() += 1;
                clients.breaches.lock().unwrap().extend(checked.err());
            });
        }
    }
}
