//! A bounded record of what arrived, for those who test against the sandbox.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// One request that arrived. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When, by the sandbox's clock.
    pub arrived_at: DateTime<Utc>,
    /// The action, if the sandbox knows it.
    pub action: Option<&'static str>,
    /// The `AccessKeyId` that the request names.
    pub access_key_id: Option<String>,
    /// The HTTP status that was answered; `None` until then.
    pub status: Option<u16>,
    /// The `Code` that was answered; `None` for a success, and until then.
    pub code: Option<String>,
    /// The name of the fault that the request met.
    pub fault: Option<&'static str>,
    /// The request id of the answer.
    pub request_id: String,
}

/// The latest requests, and how many there were.
pub(in crate::sandbox) struct Record {
    latest: Mutex<VecDeque<Seen>>,
    count: watch::Sender<u64>,
    answers: AtomicU64,
}

impl Record {
    pub(in crate::sandbox) fn empty() -> Self {
        Self {
            latest: Mutex::default(),
            count: watch::Sender::new(0),
            answers: AtomicU64::new(0),
        }
    }

    /// Notes a request that has arrived.
    pub(in crate::sandbox) fn arrived(&self, seen: Seen) {
        let mut latest = self.lock();
        if latest.len() >= CAPACITY {
            latest.pop_front();
        }
        latest.push_back(seen);
        drop(latest);
        self.count.send_modify(|count| *count += 1);
    }

    /// Completes what was noted with the answer.
    pub(in crate::sandbox) fn answered(&self, request_id: &str, status: u16, code: Option<&str>) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let mut latest = self.lock();
        if let Some(seen) = latest
            .iter_mut()
            .rev()
            .find(|seen| seen.request_id == request_id)
        {
            seen.status = Some(status);
            seen.code = code.map(str::to_owned);
        }
    }

    pub(in crate::sandbox) fn latest(&self) -> Vec<Seen> {
        self.lock().iter().cloned().collect()
    }

    pub(in crate::sandbox) fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// Returns how many requests have been answered so far.
    pub(in crate::sandbox) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Seen>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enough for any test, and no more than a few hundred KiB.
const CAPACITY: usize = 1024;
