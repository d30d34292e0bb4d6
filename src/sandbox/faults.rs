//! The faults that calls meet: those that were injected one by one, and after them the plan in force.

pub(super) mod fault;
pub(super) mod plan;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::sandbox::faults::fault::{Fault, Times};
use crate::sandbox::faults::plan::Plan;
use crate::sandbox::issue::Lifetime;
use crate::sandbox::random::Random;

/// What lies ahead, and what was met.
pub(super) struct Faults {
    ahead: Mutex<Ahead>,
    changed: watch::Sender<()>,
}

struct Ahead {
    /// First injected, first met.
    injected: VecDeque<(Fault, Times)>,
    plan: Plan,
    planned_at: Instant,
    /// How many calls have met each fault, by its name.
    met: BTreeMap<&'static str, u64>,
}

/// What one call meets.
pub(super) struct Met {
    pub(super) fault: Option<Fault>,
    /// How late the answer comes.
    pub(super) latency: Duration,
    /// Overrides the duration that is asked for.
    pub(super) lifetime: Option<Lifetime>,
    /// Tells that the faults are others now.
    pub(super) changed: watch::Receiver<()>,
}

impl Faults {
    pub(super) fn planned(plan: Plan) -> Self {
        Self {
            ahead: Mutex::new(Ahead {
                injected: VecDeque::new(),
                plan,
                planned_at: Instant::now(),
                met: BTreeMap::new(),
            }),
            changed: watch::Sender::new(()),
        }
    }

    pub(super) fn inject(&self, fault: Fault, times: Times) {
        self.lock().injected.push_back((fault, times));
    }

    /// Takes back all that lies ahead, and puts a plan in its place.
    pub(super) fn replace(&self, plan: Plan) {
        let mut ahead = self.lock();
        ahead.injected.clear();
        ahead.plan = plan;
        ahead.planned_at = Instant::now();
        drop(ahead);
        self.changed.send_replace(());
    }

    /// Decides what the present call meets.
    pub(super) fn meet(&self, random: &Random) -> Met {
        let mut ahead = self.lock();
        let age = ahead.planned_at.elapsed();
        let fault = ahead
            .next_injected()
            .or_else(|| ahead.plan.fault(age, random.dice()));
        if let Some(fault) = &fault {
            *ahead.met.entry(fault.name()).or_default() += 1;
        }
        let imposed = fault.as_ref().and_then(Fault::lifetime);
        Met {
            lifetime: imposed.or_else(|| ahead.plan.lifetime().map(Lifetime::Lasts)),
            latency: ahead.plan.latency(random.dice()),
            fault,
            // Subscribed while the lock is held, so that no change is missed.
            changed: self.changed.subscribe(),
        }
    }

    /// Returns how far the clock of the sandbox is ahead of its own.
    pub(super) fn skew(&self) -> TimeDelta {
        self.lock().plan.skew()
    }

    /// Returns the plan in force as it was written, and how many calls have met each fault.
    pub(super) fn told(&self) -> (String, BTreeMap<&'static str, u64>) {
        let ahead = self.lock();
        (ahead.plan.as_str().to_owned(), ahead.met.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ahead {
    fn next_injected(&mut self) -> Option<Fault> {
        loop {
            let (fault, times) = self.injected.front_mut()?;
            match times {
                Times::UntilHealed => return Some(fault.clone()),
                Times::Next(left @ 1..) => {
                    *left -= 1;
                    return Some(fault.clone());
                }
                Times::Next(0) => {
                    self.injected.pop_front();
                }
            }
        }
    }
}
