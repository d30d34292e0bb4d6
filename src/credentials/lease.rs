//! The lease: credentials, and how long they may be served.

use std::time::Duration;

use chrono::TimeDelta;

use super::Credentials;
use crate::time::moment::Moment;

/// Credentials from STS or a pass-through source, and how long this machine may serve them.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The credentials.
    pub credentials: Credentials,
    /// When they expire by the clocks of this machine; never later than the actual expiry.
    pub deadline: Moment,
    /// Their lifetime, counted from the request.
    pub lifetime: Duration,
    /// How far this machine's wall clock is ahead of the service's.
    pub skew: TimeDelta,
    /// The host or source that provided them.
    pub served_by: String,
    /// What renews them, if their source has others only once a human or another program has renewed them.
    pub renewal: Option<String>,
}

/// When credentials were requested, and the estimated skew of the service's clock at that time.
#[derive(Clone, Copy, Debug)]
pub struct RequestTime {
    /// The moment of the request, by the clocks of this machine.
    pub at: Moment,
    /// How far this machine's wall clock is ahead of the service's.
    pub skew: TimeDelta,
    /// By how much the skew may be wrong: the service read its clock at any time between request and response.
    pub uncertainty: Duration,
}

impl Lease {
    /// Computes how long credentials may be served: at most `max_lifetime`, the requested lifetime.
    ///
    /// Returns `None` if they have already expired. An expiry more than a minute beyond the requested lifetime is treated
    /// as an error of the service's clock, and corrected.
    pub fn new(
        mut credentials: Credentials,
        requested: RequestTime,
        max_lifetime: Duration,
        served_by: &str,
    ) -> Option<Self> {
        let service_time = requested.at.wall - requested.skew;
        let longest = TimeDelta::from_std(max_lifetime).ok();
        if let Some(end) = longest.and_then(|longest| service_time.checked_add_signed(longest))
            && credentials.expires_at - end > TOLERABLE_EXCESS
        {
            credentials.expires_at = end;
        }
        let left = (credentials.expires_at - service_time).to_std().ok()?;
        // Counted from the request, not from the response, so that the deadline is early rather than late.
        let lifetime = left.saturating_sub(requested.uncertainty).min(max_lifetime);
        let served_for = lifetime.saturating_sub(ROUNDING);
        (!served_for.is_zero()).then(|| Self {
            deadline: requested.at.after(served_for),
            credentials,
            lifetime,
            skew: requested.skew,
            served_by: served_by.to_owned(),
            renewal: None,
        })
    }
}

/// Allows for the errors of an estimated skew, a slow response and rounding.
const TOLERABLE_EXCESS: TimeDelta = TimeDelta::minutes(1);

/// The `Date` header and `Expiration` are whole seconds.
const ROUNDING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_ends_a_second_before_the_expiry_and_never_after_the_requested_lifetime() {
        let now = crate::refresh::store::tests::noon();
        let credentials = crate::refresh::store::tests::credentials("x");
        let requested = |skew, uncertainty| RequestTime {
            at: now,
            skew: TimeDelta::seconds(skew),
            uncertainty: Duration::from_secs(uncertainty),
        };
        let lease = |skew, max_lifetime| {
            Lease::new(
                credentials.clone(),
                requested(skew, 0),
                max_lifetime,
                "here",
            )
            .map(|lease| {
                (
                    lease.lifetime.as_secs(),
                    now.until(lease.deadline).as_secs(),
                )
            })
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(lease(0, Duration::MAX), Some((3600, 3599)));
        assert_eq!(lease(0, hour / 2), Some((1800, 1799)));
        // A clock that is behind makes the expiry look later than it is.
        assert_eq!(lease(-600, hour), Some((3000, 2999)));
        assert_eq!(lease(600, hour), Some((3600, 3599)));
        assert_eq!(lease(-3600, hour), None);
        assert_eq!(lease(-7200, hour), None);

        // Credentials in a slow response may have been issued at any time since the request.
        let slow = Lease::new(credentials.clone(), requested(0, 5), Duration::MAX, "here");
        assert_eq!(slow.unwrap().lifetime.as_secs(), 3595);
    }

    #[test]
    fn expiry_beyond_the_requested_lifetime_is_corrected() {
        let now = crate::refresh::store::tests::noon();
        let lifetime = |beyond| {
            let mut credentials = crate::refresh::store::tests::credentials("x");
            credentials.expires_at += TimeDelta::seconds(beyond);
            let requested = RequestTime {
                at: now,
                skew: TimeDelta::zero(),
                uncertainty: Duration::ZERO,
            };
            let hour = Duration::from_secs(3600);
            let lease = Lease::new(credentials, requested, hour, "here").unwrap();
            (lease.credentials.expires_at - now.wall).num_seconds()
        };
        assert_eq!(
            [lifetime(0), lifetime(60), lifetime(61)],
            [3600, 3660, 3600]
        );
        assert_eq!(lifetime(10 * 365 * 86_400), 3600);
    }
}
