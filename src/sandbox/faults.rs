//! The faults that apply to calls: first the injected faults, one after another, then those of the plan in force.

pub(crate) mod fault;
pub(crate) mod plan;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::sandbox::account::ledger::Lifetime;
use crate::sandbox::faults::fault::{Fault, Times};
use crate::sandbox::faults::plan::Plan;
use crate::sandbox::random::Random;

/// The faults in force, and how often each has applied.
pub(crate) struct Faults {
    active: Mutex<Active>,
    changed: watch::Sender<()>,
}

struct Active {
    /// First in, first out.
    injected: VecDeque<(Fault, Times)>,
    plan: Plan,
    planned_at: Instant,
    /// The number of calls that each fault has applied to, by its name.
    counts: BTreeMap<&'static str, u64>,
}

/// The effects of the faults on one call.
pub(crate) struct Effects {
    pub(crate) fault: Option<Fault>,
    /// The delay of the response.
    pub(crate) latency: Duration,
    /// Overrides `DurationSeconds`.
    pub(crate) lifetime: Option<Lifetime>,
    /// Reports a change of the faults.
    pub(crate) changed: watch::Receiver<()>,
}

impl Faults {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            active: Mutex::new(Active {
                injected: VecDeque::new(),
                plan,
                planned_at: Instant::now(),
                counts: BTreeMap::new(),
            }),
            changed: watch::Sender::new(()),
        }
    }

    pub(crate) fn inject(&self, fault: Fault, times: Times) {
        self.lock().injected.push_back((fault, times));
    }

    /// Replaces all faults, including injected ones, by those of a plan.
    pub(crate) fn replace(&self, plan: Plan) {
        let mut active = self.lock();
        active.injected.clear();
        active.plan = plan;
        active.planned_at = Instant::now();
        drop(active);
        self.changed.send_replace(());
    }

    /// Determines the effects on the current call.
    pub(crate) fn next(&self, random: &Random) -> Effects {
        let mut active = self.lock();
        let age = active.planned_at.elapsed();
        let fault = active
            .next_injected()
            .or_else(|| active.plan.fault(age, random.sample()));
        if let Some(fault) = &fault {
            *active.counts.entry(fault.name()).or_default() += 1;
        }
        let lifetime = if fault == Some(Fault::ExpiredCredentials) {
            Some(Lifetime::Expired)
        } else {
            active.plan.lifetime().map(Lifetime::For)
        };
        Effects {
            lifetime,
            latency: active.plan.latency(random.sample()),
            fault,
            // Subscribed while the lock is held, so that no change is missed.
            changed: self.changed.subscribe(),
        }
    }

    /// Returns how far the time of the sandbox is ahead of its clock.
    pub(crate) fn skew(&self) -> TimeDelta {
        self.lock().plan.skew()
    }

    /// Returns the text of the plan in force, and the number of calls that each fault has applied to.
    pub(crate) fn report(&self) -> (String, BTreeMap<&'static str, u64>) {
        let active = self.lock();
        (active.plan.as_str().to_owned(), active.counts.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    fn next_injected(&mut self) -> Option<Fault> {
        loop {
            let (fault, times) = self.injected.front_mut()?;
            match times {
                Times::UntilCleared => return Some(fault.clone()),
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
