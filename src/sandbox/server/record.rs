//! A bounded record of the requests, for tests that use the sandbox.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// A request that arrived. It contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    /// When it arrived, by the sandbox's clock.
    pub arrived_at: DateTime<Utc>,
    /// The action, if the sandbox implements it.
    pub action: Option<&'static str>,
    /// The `AccessKeyId` that the request names.
    pub access_key_id: Option<String>,
    /// The HTTP status of the response; `None` until there is one.
    pub status: Option<u16>,
    /// The `Code` of the response; `None` for a success, and until there is a response.
    pub code: Option<String>,
    /// The name of the fault that applied to the request.
    pub fault: Option<&'static str>,
    /// The request id of the response.
    pub request_id: String,
}

/// The latest requests, and the numbers of all requests and responses.
#[derive(Default)]
pub(crate) struct Record {
    latest: Mutex<VecDeque<RecordedRequest>>,
    count: watch::Sender<u64>,
    responses: AtomicU64,
}

impl Record {
    /// Adds a request that has arrived.
    pub(crate) fn add(&self, request: RecordedRequest) {
        let mut latest = self.lock();
        if latest.len() >= CAPACITY {
            latest.pop_front();
        }
        latest.push_back(request);
        drop(latest);
        self.count.send_modify(|count| *count += 1);
    }

    /// Records the response to a request, if the request is still among the latest.
    pub(crate) fn complete(&self, request_id: &str, status: u16, code: Option<&str>) {
        self.responses.fetch_add(1, Ordering::Relaxed);
        let mut latest = self.lock();
        let mut newest_first = latest.iter_mut().rev();
        if let Some(request) = newest_first.find(|request| request.request_id == request_id) {
            request.status = Some(status);
            request.code = code.map(str::to_owned);
        }
    }

    pub(crate) fn latest(&self) -> Vec<RecordedRequest> {
        self.lock().iter().cloned().collect()
    }

    pub(crate) fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// Returns the number of responses so far.
    pub(crate) fn responses(&self) -> u64 {
        self.responses.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<RecordedRequest>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enough for any test; at most a few hundred KiB.
const CAPACITY: usize = 1024;
