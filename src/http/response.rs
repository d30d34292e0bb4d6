//! An HTTP answer as a value, so that reading it needs no network.

use std::time::Duration;

use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

/// What a service answered.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Date` header.
    pub date: Option<DateTime<Utc>>,
    /// How long the service asks to be left alone: `Retry-After` or `x-acs-retry-after`.
    pub retry_after: Option<Duration>,
    /// The `x-acs-request-id` header: the id of the answer where its body has none.
    pub request_id: Option<String>,
    /// The body, which may hold secrets.
    pub body: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
