//! When to try next: the arithmetic of renewal and of backoff, and nothing else.

use std::time::Duration;

use crate::failure::{Failure, FailureClass, RETRY_AFTER_CAP, THROTTLED_BACKOFF};

/// A random number in [0, 1), drawn once a decision.
pub type Jitter = f64;

/// Returns how long after the request for credentials that live for `lifetime` to renew them: 40 % to 46 % of it.
///
/// Every SDK has a window before the expiry in which it fetches on every call, 31 minutes in the widest case
/// (ack-ram-tool), so half an hour of the default hour must always be left. Jitter only makes a renewal earlier, so that
/// a fleet that started together does not renew together.
pub fn after_success(lifetime: Duration, jitter: Jitter) -> Duration {
    lifetime
        .min(LONGEST)
        .mul_f64(LATEST - (LATEST - EARLIEST) * jitter)
        .max(FLOOR)
}

/// Returns how long to wait after new credentials with a lifetime of `new` were discarded, because the current ones are
/// good for `left`.
///
/// About a minute: the source may have recovered by then, and the current credentials leave time.
pub fn after_unchanged(new: Duration, left: Duration, jitter: Jitter) -> Duration {
    after_success(new, jitter).max(after_success(left, jitter).min(CAP))
}

/// Returns how long to wait after the last of `failures` failed attempts in a row.
///
/// Exponential backoff with full jitter, between a floor and a cap that doubles up to a minute, or up to 15 s without valid
/// credentials: nothing is served meanwhile. Throttling and `Retry-After` raise the floor. A failure that only a change of the settings can fix is retried about once a minute, for
/// ever.
///
/// A throttled quota goes to callers at random. A caller whose credentials are valid for the time `left` backs off
/// further, up to five minutes, and leaves the quota to callers without credentials or with an earlier expiry.
pub fn backoff(
    failures: u32,
    failure: &Failure,
    left: Option<Duration>,
    jitter: Jitter,
) -> Duration {
    let doubled = |base: Duration| base.saturating_mul(1 << failures.min(10));
    let retry_after = failure.retry_after.unwrap_or_default().min(RETRY_AFTER_CAP);
    let (floor, cap) = match failure.class {
        FailureClass::Persistent => (CAP.mul_f64(0.9), CAP),
        FailureClass::Transient => {
            let max = if left.is_some() { CAP } else { EMPTY_CAP };
            (FLOOR, doubled(FLOOR).min(max))
        }
        FailureClass::Throttled => {
            let max = left.map_or(THROTTLED_CAP, throttled_backoff_cap);
            (THROTTLED_BACKOFF, doubled(THROTTLED_BACKOFF).min(max))
        }
    };
    retry_after.max(floor) + cap.saturating_sub(floor).mul_f64(jitter)
}

/// Returns the backoff cap while throttled, by the remaining lifetime of the current credentials.
///
/// 10 s up to four minutes before the expiry, 35 s at seven, 72 s at ten, and five minutes from twenty on: quadratic,
/// so that callers with time to spare leave most of the quota to the others.
fn throttled_backoff_cap(left: Duration) -> Duration {
    // A pass-through source may claim any lifetime, whose square would overflow.
    let left = left.min(LONGEST);
    left.mul_f64(left.as_secs_f64() / 5000.0)
        .clamp(2 * THROTTLED_BACKOFF, RETRY_AFTER_CAP)
}

/// The least time between two attempts, whatever causes them.
///
/// Neither expired, short-lived or malformed credentials nor many signals cause a hot loop.
pub const FLOOR: Duration = Duration::from_secs(1);

/// The shortest lifetime that leaves the window of most SDKs (900 s) and three minutes at the latest renewal.
pub const COMFORTABLE: Duration = Duration::from_secs(34 * 60);

/// The longest session that STS grants; a pass-through source may claim any lifetime.
const LONGEST: Duration = Duration::from_secs(43_200);
/// The shortest session that STS grants, and the window before the expiry in which most SDKs fetch on every call.
pub const SHORTEST: Duration = Duration::from_secs(900);
/// The fraction of the lifetime after which a renewal is due, with the most jitter.
const EARLIEST: f64 = 0.40;
/// The fraction of the lifetime after which a renewal is due, without jitter.
const LATEST: f64 = 0.46;
/// The backoff cap of all failures but throttling.
const CAP: Duration = Duration::from_secs(60);

/// The backoff cap of transient failures without good credentials.
const EMPTY_CAP: Duration = Duration::from_secs(15);

/// The backoff cap while throttled, without good credentials: a start of 10,000 at 100 calls a second is over soon after
/// the quota allows it (`benches/fleet`).
const THROTTLED_CAP: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Stage;

    const JITTERS: [Jitter; 5] = [0.0, 0.25, 0.5, 0.75, 0.999_999];

    fn failed(code: &'static str) -> Failure {
        Failure::new(Stage::Sts, code, "x")
    }

    #[test]
    fn renewal_is_due_between_40_and_46_percent_of_the_lifetime() {
        for lifetime in [900, 3600, 43200].map(Duration::from_secs) {
            for jitter in JITTERS {
                let at = after_success(lifetime, jitter).as_secs_f64() / lifetime.as_secs_f64();
                assert!(
                    (0.40 - 1e-9..=0.46 + 1e-9).contains(&at),
                    "{lifetime:?} {jitter} {at}"
                );
            }
        }
        // With the default hour, 31 minutes and a margin are always left.
        let hour = Duration::from_secs(3600);
        assert!(after_success(hour, 0.0) + Duration::from_secs(1920) <= hour);
        let least = Duration::from_secs(900 + 180);
        assert!(after_success(COMFORTABLE, 0.0) + least <= COMFORTABLE);
        let minute_less = COMFORTABLE.saturating_sub(Duration::from_secs(60));
        assert!(after_success(minute_less, 0.0) + least > minute_less);
    }

    #[test]
    fn endless_lifetime_is_renewed_within_six_hours() {
        let decades = Duration::from_secs(356_852 * 3600);
        for lifetime in [decades, Duration::MAX] {
            for jitter in JITTERS {
                assert!(after_success(lifetime, jitter) < Duration::from_secs(6 * 3600));
            }
        }
    }

    #[test]
    fn short_lifetimes_are_renewed_once_a_second_at_most() {
        for lifetime in [
            Duration::ZERO,
            Duration::from_millis(1),
            Duration::from_secs(2),
        ] {
            assert_eq!(after_success(lifetime, 0.999), FLOOR);
        }
    }

    #[test]
    fn discarded_credentials_are_followed_by_an_attempt_in_a_minute_and_before_the_expiry() {
        let seconds = Duration::from_secs;
        for jitter in JITTERS {
            let wait = |new, left| after_unchanged(seconds(new), seconds(left), jitter);
            assert_eq!(wait(5, 3500), seconds(60));
            assert!(wait(5, 60) < seconds(30) && wait(5, 60) > seconds(20));
            assert!(wait(800, 3500) > seconds(300));
            assert_eq!(wait(0, 1), FLOOR);
        }
    }

    #[test]
    fn every_backoff_lies_between_its_floor_and_its_cap() {
        let minute = Duration::from_secs(60);
        for jitter in JITTERS {
            let mut last_cap = Duration::ZERO;
            for failures in (1..200).chain([u32::MAX]) {
                let retry = backoff(failures, &failed("TimedOut"), None, jitter);
                assert!(
                    retry >= FLOOR && retry <= minute,
                    "{failures} {jitter} {retry:?}"
                );
                let throttled = backoff(failures, &failed("Throttling.User"), None, jitter);
                assert!(throttled >= Duration::from_secs(5) && throttled <= minute);
                let fatal = backoff(failures, &failed("NoPermission"), None, jitter);
                assert!(fatal >= Duration::from_secs(54) && fatal <= minute);
                let cap = backoff(failures, &failed("TimedOut"), None, 1.0);
                assert!(cap >= last_cap);
                last_cap = cap;
            }
            assert_eq!(last_cap, Duration::from_secs(15));
            let plenty = Some(Duration::from_secs(1800));
            let valid = backoff(u32::MAX, &failed("TimedOut"), plenty, 1.0);
            assert_eq!(valid, minute);
        }
    }

    #[test]
    fn throttled_backoff_cap_grows_with_the_remaining_lifetime() {
        let throttled = failed("Throttling.User");
        let cap = |left: Option<u64>| {
            backoff(100, &throttled, left.map(Duration::from_secs), 1.0).as_secs()
        };
        let cases = [
            (None, 30),
            (Some(1), 10),
            (Some(223), 10),
            (Some(600), 72),
            (Some(1225), 300),
            (Some(43_200), 300),
            (Some(u64::MAX), 300),
        ];
        for (left, most) in cases {
            assert_eq!(cap(left), most, "{left:?}");
        }
        // Other failures ignore the remaining lifetime.
        for code in ["TimedOut", "NoPermission"] {
            let plenty = Some(Duration::from_secs(40_000));
            assert_eq!(backoff(100, &failed(code), plenty, 1.0), CAP);
        }
    }

    #[test]
    fn jitter_spreads_a_fleet_that_started_or_failed_together() {
        let seconds = |wait: Duration| wait.as_secs_f64();
        let spread = |wait: &dyn Fn(Jitter) -> Duration| {
            let waits = (0..1000).map(|one| seconds(wait(f64::from(one) / 1000.0)));
            let mut waits: Vec<f64> = waits.collect();
            waits.sort_by(f64::total_cmp);
            // The longest gap between two neighbours, and the most of a thousand within one second.
            let gap = waits.windows(2).map(|pair| pair[1] - pair[0]);
            let crowd = waits.iter().map(|from| {
                let together = |at: &&f64| (*from..from + 1.0).contains(*at);
                waits.iter().filter(together).count()
            });
            (gap.fold(0.0, f64::max), crowd.max().unwrap())
        };
        let hour = Duration::from_secs(3600);
        let renewals = spread(&|jitter| after_success(hour, jitter));
        assert!(renewals.0 < 1.0 && renewals.1 <= 6, "{renewals:?}");
        // However long it fails, also where the backoff has reached its cap.
        for failures in [6, 60, u32::MAX] {
            for (left, most) in [(Some(hour), 18), (None, 72)] {
                let retries =
                    spread(&|jitter| backoff(failures, &failed("TimedOut"), left, jitter));
                assert!(retries.0 < 1.0 && retries.1 <= most, "{retries:?}");
            }
            let throttled =
                spread(&|jitter| backoff(failures, &failed("Throttling.User"), Some(hour), jitter));
            assert!(throttled.0 < 1.0 && throttled.1 <= 20, "{throttled:?}");
        }
    }

    #[test]
    fn retry_after_is_honoured_up_to_five_minutes() {
        let mut failure = failed("Throttling");
        failure.retry_after = Some(Duration::from_secs(120));
        assert_eq!(backoff(1, &failure, None, 0.0), Duration::from_secs(120));
        assert!(backoff(1, &failure, None, 0.9) > Duration::from_secs(120));
        failure.retry_after = Some(Duration::from_secs(86_400));
        assert_eq!(backoff(1, &failure, None, 0.0), Duration::from_secs(300));
    }
}
