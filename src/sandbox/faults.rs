//! The faults that calls meet, for as long as the sandbox is told so.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::sandbox::fault::{Fault, Times};

/// The faults that lie ahead, first injected first met.
pub(super) struct Faults {
    ahead: Mutex<VecDeque<(Fault, Times)>>,
    healed: watch::Sender<()>,
}

impl Faults {
    pub(super) fn none() -> Self {
        Self {
            ahead: Mutex::default(),
            healed: watch::Sender::new(()),
        }
    }

    pub(super) fn inject(&self, fault: Fault, times: Times) {
        self.lock().push_back((fault, times));
    }

    pub(super) fn heal(&self) {
        self.lock().clear();
        self.healed.send_replace(());
    }

    /// Takes the fault that the present request meets, and what tells when it is healed.
    pub(super) fn next(&self) -> Option<(Fault, watch::Receiver<()>)> {
        let mut ahead = self.lock();
        while let Some((fault, times)) = ahead.front_mut() {
            let met = match times {
                Times::UntilHealed => return Some((fault.clone(), self.healed.subscribe())),
                Times::Next(0) => None,
                Times::Next(left) => {
                    *left -= 1;
                    Some(fault.clone())
                }
            };
            if met.is_none() || *times == Times::Next(0) {
                ahead.pop_front();
            }
            if let Some(fault) = met {
                // Subscribed while the lock is held, so that no healing is missed.
                return Some((fault, self.healed.subscribe()));
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Fault, Times)>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
