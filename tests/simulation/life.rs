//! The life of one daemon in one world, as its seed has it.

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
use crate::luck::{self, Luck};
use crate::promises::{Checked, Circumstances, Promises, ensure, held, judged};
use crate::timeline::{BEGINNING, Timeline};
use crate::trouble::Trouble;
use crate::world::{MARK, Met, World, date};

/// What a life came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lives: u64,
    pub(crate) simulated: Duration,
    pub(crate) steps: u64,
    pub(crate) calls: u64,
    pub(crate) answers: u64,
    pub(crate) restarts: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.lives += other.lives;
        self.simulated += other.simulated;
        self.steps += other.steps;
        self.calls += other.calls;
        self.answers += other.answers;
        self.restarts += other.restarts;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.simulated.as_secs() / 86_400;
        let Self {
            lives,
            steps,
            calls,
            answers,
            restarts,
            ..
        } = self;
        write!(
            f,
            "{lives} lives of {days} days, {steps} steps, {calls} calls to STS, {answers} answers to readers, {restarts} restarts"
        )
    }
}

/// Lives through it to its end; fails with the promise that was broken.
pub(crate) async fn lived(seed: u64, directory: &Path, timeline: &Timeline) -> Checked<Tally> {
    let mut life = Life::begin(seed, directory, timeline).await?;
    let days = if life.is_calm { 90 } else { 2 };
    while life.world.truth() < Duration::from_secs(days * 86_400) {
        life.step().await?;
    }
    life.tally.lives = 1;
    life.tally.simulated = life.world.truth();
    life.tally.calls = life.world.state().calls;
    Ok(life.tally)
}

struct Life {
    luck: Luck,
    /// Whether little happens in it, as in most.
    is_calm: bool,
    world: World,
    setup: Setup,
    daemon: Daemon,
    promises: Promises,
    circumstances: Circumstances,
    readers: Readers,
    tally: Tally,
    /// Until when what is wrong stays wrong.
    storm: Option<Duration>,
    token: Token,
    disk_gone: Option<Duration>,
    /// How many millionths the wall clock goes too fast.
    drift: f64,
    drifted: Duration,
}

/// How the token file fares.
#[derive(Clone, Copy, Debug)]
enum Token {
    /// It is replaced at the given time.
    Fresh(Duration),
    /// Something is wrong with it until then.
    Amiss(Duration),
}

impl Life {
    async fn begin(seed: u64, directory: &Path, timeline: &Timeline) -> Checked<Self> {
        luck::load_dice(seed);
        let mut luck = Luck::new(seed, "life");
        let is_calm = luck.happens(0.5);
        let setup = Setup {
            duration: Duration::from_secs(if is_calm {
                luck.of(&[3600, 7200, 43_200, 43_200])
            } else {
                luck.of(&[3600, 3600, 3600, 900, 1800, 7200, 43_200])
            }),
            has_state: luck.happens(0.5),
            endpoints: luck.of(&[1, 1, 2]),
            has_token: luck.happens(0.5),
            has_via: luck.happens(0.2),
            directory: directory.to_owned(),
        };
        fs::create_dir_all(setup.disk()).unwrap();
        // The wall clock of some machines has never been right.
        let skew = if luck.happens(0.3) {
            TimeDelta::seconds(luck.of(&[-86_400, -1200, -40, -2, 3, 50, 1000, 7200]))
        } else {
            TimeDelta::zero()
        };
        let beginning = Moment {
            wall: date(Duration::ZERO) + skew,
            boot: BEGINNING,
        };
        // Few kernels lack the timers, and a life without them takes ten times as long to simulate.
        let clock = Clock::simulated(beginning, luck.happens(0.9));
        timeline.follow(clock.clone());
        let world = World::new(seed, setup.endpoints, clock, timeline.clone());
        world.note(&format!("{setup:?}, skew {skew}"));
        let drift = if luck.happens(0.3) {
            400.0 * luck.share() - 200.0
        } else {
            0.0
        };
        let mut token = Token::Fresh(Duration::ZERO);
        rotate(&mut token, &world, &setup);
        let daemon = Daemon::start(&setup, &world).await;
        let daemon = daemon.map_err(|failure| failure.to_string())?;
        Ok(Self {
            luck,
            is_calm,
            world,
            setup,
            daemon,
            promises: Promises::default(),
            circumstances: Circumstances {
                started_skewed: !skew.is_zero(),
                ..Circumstances::default()
            },
            readers: Readers::default(),
            tally: Tally::default(),
            storm: None,
            token,
            disk_gone: None,
            drift,
            drifted: Duration::ZERO,
        })
    }

    /// Lets something happen and some time pass, and checks the promises.
    async fn step(&mut self) -> Checked {
        self.sky();
        if self.setup.has_token {
            self.token();
        }
        self.disk();
        self.clocks();
        if self.happens(0.01) {
            self.restart().await?;
        }
        if self.happens(0.02) {
            let times = self.luck.of(&[1, 1, 30]);
            self.world.note(&format!("SIGHUP, {times} times"));
            self.circumstances.nudged = self.world.truth();
            self.daemon
                .refresh_requests
                .send_modify(|count| *count += times);
        }
        if self.happens(0.1) {
            self.readers
                .burst(&self.world, &self.daemon, &mut self.luck);
        }
        let pause = self.pause();
        tokio::time::sleep(pause).await;
        self.drift();
        self.tally.steps += 1;
        self.excuse();
        self.tally.answers = *self.readers.answered.lock().unwrap();
        if let Some(breach) = self.readers.breaches.lock().unwrap().pop() {
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

    /// Whether something happens that is so probable at a step of an eventful life.
    fn happens(&mut self, probability: f64) -> bool {
        let share = if self.is_calm { 0.05 } else { 1.0 };
        self.luck.happens(probability * share)
    }

    /// Begins and ends what is wrong with STS and the way there.
    fn sky(&mut self) {
        let now = self.world.truth();
        if self.storm.is_some_and(|until| until <= now) {
            self.storm = None;
            self.world.state().troubles.fill(None);
            self.world.note("STS is well again");
        } else if self
            .luck
            .happens(match (self.storm.is_some(), self.is_calm) {
                (true, _) => 0.03,
                (false, false) => 0.02,
                (false, true) => 0.01,
            })
        {
            for place in 0..self.setup.endpoints {
                let met = self.luck.happens(0.8).then(|| Met {
                    trouble: self.luck.of(&Trouble::ALL),
                    share: self.luck.of(&[1.0, 1.0, 0.5, 0.2]),
                });
                self.world
                    .note(&format!("trouble at endpoint {place}: {met:?}"));
                self.world.state().troubles[place] = met;
            }
            let span = self
                .luck
                .span(Duration::from_secs(1), Duration::from_secs(6 * 3600));
            self.storm = self.storm.or(Some(now + span));
        }
    }

    /// Rotates the token file, spoils it, mends it.
    fn token(&mut self) {
        let now = self.world.truth();
        let happens = self.happens(0.01);
        match self.token {
            Token::Fresh(until) | Token::Amiss(until) if until <= now => {
                rotate(&mut self.token, &self.world, &self.setup);
            }
            Token::Fresh(_) if happens => {
                let path = self.setup.token_file();
                let how = self.luck.below(4);
                match how {
                    0 => fs::write(&path, "").unwrap(),
                    1 => fs::remove_file(&path).unwrap(),
                    2 => fs::write(&path, format!("{MARK}-half")).unwrap(),
                    // It is not rotated any more, and ends.
                    _ => {}
                }
                let what = ["emptied", "removed", "spoilt", "not rotated any more"];
                let what = what[usize::try_from(how).unwrap()];
                self.world.note(&format!("the token file is {what}"));
                let span = self
                    .luck
                    .span(Duration::from_secs(5), Duration::from_secs(5 * 3600));
                self.token = Token::Amiss(now + span);
            }
            _ => {}
        }
    }

    /// Takes the directory of the file away, and brings it back.
    fn disk(&mut self) {
        let now = self.world.truth();
        let aside = self.setup.directory.join("disk-aside");
        if self.disk_gone.is_some_and(|until| until <= now) {
            self.disk_gone = None;
            fs::rename(&aside, self.setup.disk()).unwrap();
            self.world.note("the disk is back");
            self.circumstances.disk_troubled = now;
        } else if self.disk_gone.is_none() && self.happens(0.01) {
            fs::rename(self.setup.disk(), &aside).unwrap();
            self.world.note("the disk is gone");
            let span = self
                .luck
                .span(Duration::from_secs(1), Duration::from_secs(3 * 3600));
            self.disk_gone = Some(now + span);
        }
    }

    /// Sets the wall clock, or suspends the machine.
    fn clocks(&mut self) {
        if self.happens(0.008) {
            let skew = self.world.skew();
            let shift = if self.luck.happens(0.4) {
                -skew
            } else {
                let span = self
                    .luck
                    .span(Duration::from_millis(200), Duration::from_secs(3 * 86_400));
                let shift = TimeDelta::from_std(span).unwrap();
                if self.luck.happens(0.5) {
                    shift
                } else {
                    -shift
                }
            };
            self.world
                .note(&format!("the wall clock is set by {shift}"));
            self.world.clock().shift_wall(shift);
            self.circumstances.clock_set = self.world.truth();
        }
        if self.happens(0.008) {
            let span = self
                .luck
                .span(Duration::from_secs(1), Duration::from_secs(10 * 3600));
            self.world.note(&format!("the machine sleeps for {span:?}"));
            self.world.suspend(span);
            self.circumstances.clock_set = self.world.truth();
        }
    }

    /// Kills the daemon and starts another.
    async fn restart(&mut self) -> Checked {
        if self.disk_gone.is_some() {
            // It would rightly refuse to start.
            return Ok(());
        }
        self.world.note("the daemon is killed and started again");
        let before = self.promises.bound(&self.world, &self.circumstances);
        let daemon = Daemon::start(&self.setup, &self.world).await;
        self.daemon = daemon.map_err(|failure| format!("it does not start: {failure}"))?;
        if self.setup.has_state
            && let Some(before) = before
        {
            let after = held(&self.daemon);
            ensure(after == Some(before), || {
                format!("{before} was held and is good, and the successor begins with {after:?}")
            })?;
        }
        self.promises = Promises::default();
        self.circumstances.started = self.world.truth();
        self.circumstances.started_skewed = !self.world.skew().is_zero();
        self.tally.restarts += 1;
        Ok(())
    }

    /// Draws how long nothing new happens.
    fn pause(&mut self) -> Duration {
        let most = match (self.storm, self.disk_gone) {
            (None, None) if self.is_calm => 6 * 3600,
            (None, None) => 1500,
            _ => 300,
        };
        let least = match (self.storm, self.is_calm) {
            (None, true) => 60_000,
            (Some(_), true) => 5000,
            _ => 100,
        };
        let mut pause = self
            .luck
            .span(Duration::from_millis(least), Duration::from_secs(most));
        // The edge of a life is where lies would be told.
        let state = self.daemon.subscriber.snapshot();
        if let Some(current) = state.current()
            && self.luck.happens(0.2)
        {
            let left = self.world.clock().now().until(current.lease.deadline);
            let around = self.luck.of(&[0, 1, 20, 990, 1010, 2000]);
            if !left.is_zero() && left < Duration::from_secs(1800) {
                pause = left.saturating_sub(Duration::from_secs(1)) + Duration::from_millis(around);
            }
        }
        // The kubelet is never late.
        let (Token::Fresh(until) | Token::Amiss(until)) = self.token;
        if self.setup.has_token {
            let rest = until.saturating_sub(self.world.truth());
            pause = pause.min(rest + Duration::from_millis(1));
        }
        pause
    }

    /// Lets the wall clock gain or lose what it does in the time that has passed.
    fn drift(&mut self) {
        let awake = self.world.awake();
        let passed = awake.saturating_sub(self.drifted).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, reason = "some milliseconds")]
        let gained = (passed * self.drift / 1000.0) as i64;
        if gained != 0 {
            self.drifted = awake;
            let gained = TimeDelta::milliseconds(gained);
            self.world.clock().drift_wall(gained);
        }
    }

    /// Notes what is in trouble now.
    fn excuse(&mut self) {
        let now = self.world.truth();
        let is_troubled = self.storm.is_some() || matches!(self.token, Token::Amiss(_));
        if is_troubled {
            self.circumstances.troubled = now;
        }
        if self.disk_gone.is_some() {
            self.circumstances.disk_troubled = now;
        }
    }
}

/// Replaces the token, as the kubelet does: in good time before the old one ends.
fn rotate(token: &mut Token, world: &World, setup: &Setup) {
    let now = world.truth();
    let text = format!("{MARK}.{}.signature", now.as_millis());
    let fresh = setup.directory.join("token-fresh");
    fs::write(&fresh, &text).unwrap();
    fs::rename(&fresh, setup.token_file()).unwrap();
    world.state().vouch(text, now + Duration::from_secs(3600));
    *token = Token::Fresh(now + Duration::from_secs(2880));
}

/// Clients that ask on their own, and are held or answered.
#[derive(Clone, Debug, Default)]
struct Readers {
    answered: Arc<Mutex<u64>>,
    breaches: Arc<Mutex<Vec<String>>>,
}

impl Readers {
    /// Lets some of them ask at the same time, in every dialect.
    fn burst(&self, world: &World, daemon: &Daemon, luck: &mut Luck) {
        for _ in 0..luck.of(&[1, 1, 1, 2, 30]) {
            let dialect = luck.of(&Dialect::ALL);
            let (world, doors) = (world.clone(), daemon.doors.clone());
            let (readers, mut subscriber) = (self.clone(), daemon.subscriber.clone());
            tokio::spawn(async move {
                let asked = world.awake();
                let (status, body) = doors.ask(dialect).await;
                let took = world.awake().saturating_sub(asked);
                let offer = subscriber.snapshot().offer(world.clock().now());
                let checked = judged(&world, dialect, status, &body).and_then(|number| {
                    let is_held = matches!(offer, Offer::Credentials(_));
                    ensure(number.is_some() == is_held, || {
                        format!("{dialect:?} answers {status} after {took:?} to {offer:?}")
                    })?;
                    let most = match dialect {
                        Dialect::Uri => 4000,
                        Dialect::Container => 1500,
                        Dialect::Metadata => 700,
                    };
                    ensure(took <= Duration::from_millis(most + 1), || {
                        format!("{dialect:?} took {took:?}")
                    })
                });
                *readers.answered.lock().unwrap() += 1;
                readers.breaches.lock().unwrap().extend(checked.err());
            });
        }
    }
}
