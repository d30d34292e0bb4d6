//! When to try next: the arithmetic of refreshing and of backing off, and nothing else.

use std::time::Duration;

use crate::failure::{Failure, PATIENCE, THROTTLED, Verdict};

/// Luck in [0, 1), thrown once per decision.
pub type Jitter = f64;

/// Returns how long after the mint of credentials that live for `lifetime` to renew them: 40 % to 46 % of it.
///
/// Every SDK has a window before the expiry inside which it asks on every call, 31 minutes in the widest case
/// (ack-ram-tool), so half an hour of the default hour must always be left. The dice only ever make it earlier, so that
/// a fleet that started together does not renew together.
pub fn after_success(lifetime: Duration, dice: Jitter) -> Duration {
    lifetime
        .min(LONGEST)
        .mul_f64(LATEST - (LATEST - EARLIEST) * dice)
        .max(FLOOR)
}

/// Returns how long to wait after an answer that was no better than what is held, which is good for `remaining`.
///
/// About a minute: the source may have recovered by then, and what it gives now calls for no haste.
pub fn after_kept(answered: Duration, remaining: Duration, dice: Jitter) -> Duration {
    after_success(answered, dice).max(after_success(remaining, dice).min(CAP))
}

/// Returns how long to wait after the last of `failures` failed attempts in a row.
///
/// Full jitter between a floor and a cap that doubles up to a minute. Throttling raises the floor, to what the service
/// asked for if it did. What only a human can mend is tried about once a minute, for ever.
///
/// A quota is a lottery among all who share it. Whoever has good credentials, with so much `left` of them, leaves the
/// tickets to those who have none or will soon have none: the cap of the throttled goes by what is left, up to five
/// minutes.
pub fn after_failure(
    failures: u32,
    failure: &Failure,
    left: Option<Duration>,
    dice: Jitter,
) -> Duration {
    let doubled = |base: Duration| base.saturating_mul(1 << failures.min(10));
    let asked_for = failure.retry_after.unwrap_or_default().min(PATIENCE);
    let (floor, cap) = match failure.verdict {
        Verdict::Fatal => (CAP.mul_f64(0.9), CAP),
        Verdict::Retry => (FLOOR, doubled(FLOOR).min(CAP)),
        Verdict::Throttled => {
            let most = left.map_or(URGENT, at_ease);
            (THROTTLED, doubled(THROTTLED).min(most))
        }
    };
    asked_for.max(floor) + cap.saturating_sub(floor).mul_f64(dice)
}

/// Returns the longest pause of the throttled who have good credentials for so long.
///
/// 10 s up to four minutes before the end, 35 s at seven, 72 s at ten, and five minutes from twenty on: with the square,
/// because the more of those wait who can, the more often the others win.
fn at_ease(left: Duration) -> Duration {
    // What is passed through may claim any life, whose square is no duration.
    let left = left.min(LONGEST);
    left.mul_f64(left.as_secs_f64() / 5000.0)
        .clamp(2 * THROTTLED, PATIENCE)
}

/// The least time between two attempts, whatever asks for them.
///
/// No answer of STS, expired, short or garbage, and no storm of signals makes a hot loop.
pub const FLOOR: Duration = Duration::from_secs(1);

/// The shortest lifetime that leaves the window of most SDKs (900 s) and three minutes at the latest renewal.
pub const COMFORTABLE: Duration = Duration::from_secs(34 * 60);

/// The longest session that STS grants; what is passed through may claim any lifetime.
const LONGEST: Duration = Duration::from_secs(43_200);
/// The shortest session that STS grants, and the window before the end in which most SDKs ask on every call.
pub const SHORTEST: Duration = Duration::from_secs(900);
const EARLIEST: f64 = 0.40;
const LATEST: f64 = 0.46;
const CAP: Duration = Duration::from_secs(60);

/// The longest pause of the throttled who have no good credentials: a start of 10,000 at 100 calls a second is over
/// soon after the quota allows it (`benches/fleet`).
const URGENT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Stage;

    const DICE: [Jitter; 5] = [0.0, 0.25, 0.5, 0.75, 0.999_999];

    fn failed(code: &'static str) -> Failure {
        Failure::new(Stage::Sts, code, "x")
    }

    #[test]
    fn renews_between_forty_and_forty_six_percent_of_any_lifetime() {
        for lifetime in [900, 3600, 43200].map(Duration::from_secs) {
            for dice in DICE {
                let at = after_success(lifetime, dice).as_secs_f64() / lifetime.as_secs_f64();
                assert!(
                    (0.40 - 1e-9..=0.46 + 1e-9).contains(&at),
                    "{lifetime:?} {dice} {at}"
                );
            }
        }
        // The promise behind the numbers: with the default hour, 31 minutes and a margin are always left.
        let hour = Duration::from_secs(3600);
        assert!(after_success(hour, 0.0) + Duration::from_secs(1920) <= hour);
        let least = Duration::from_secs(900 + 180);
        assert!(after_success(COMFORTABLE, 0.0) + least <= COMFORTABLE);
        let minute_less = COMFORTABLE.saturating_sub(Duration::from_secs(60));
        assert!(after_success(minute_less, 0.0) + least > minute_less);
    }

    #[test]
    fn a_life_without_end_is_renewed_within_hours() {
        let decades = Duration::from_secs(356_852 * 3600);
        for lifetime in [decades, Duration::MAX] {
            for dice in DICE {
                assert!(after_success(lifetime, dice) < Duration::from_secs(6 * 3600));
            }
        }
    }

    #[test]
    fn short_lives_do_not_make_a_hot_loop() {
        for lifetime in [
            Duration::ZERO,
            Duration::from_millis(1),
            Duration::from_secs(2),
        ] {
            assert_eq!(after_success(lifetime, 0.999), FLOOR);
        }
    }

    #[test]
    fn a_worse_answer_is_asked_for_again_in_a_minute_and_before_what_is_held_ends() {
        let seconds = Duration::from_secs;
        for dice in DICE {
            let wait =
                |answered, remaining| after_kept(seconds(answered), seconds(remaining), dice);
            assert_eq!(wait(5, 3500), seconds(60));
            assert!(wait(5, 60) < seconds(30) && wait(5, 60) > seconds(20));
            assert!(wait(800, 3500) > seconds(300));
            assert_eq!(wait(0, 1), FLOOR);
        }
    }

    #[test]
    fn every_delay_lies_between_its_floor_and_its_cap() {
        let minute = Duration::from_secs(60);
        for dice in DICE {
            let mut last_cap = Duration::ZERO;
            for failures in (1..200).chain([u32::MAX]) {
                let retry = after_failure(failures, &failed("TimedOut"), None, dice);
                assert!(
                    retry >= FLOOR && retry <= minute,
                    "{failures} {dice} {retry:?}"
                );
                let throttled = after_failure(failures, &failed("Throttling.User"), None, dice);
                assert!(throttled >= Duration::from_secs(5) && throttled <= minute);
                let fatal = after_failure(failures, &failed("NoPermission"), None, dice);
                assert!(fatal >= Duration::from_secs(54) && fatal <= minute);
                let cap = after_failure(failures, &failed("TimedOut"), None, 1.0);
                assert!(cap >= last_cap);
                last_cap = cap;
            }
            assert_eq!(last_cap, minute);
        }
    }

    #[test]
    fn the_throttled_wait_the_longer_the_more_time_they_have() {
        let throttled = failed("Throttling.User");
        let longest = |left: Option<u64>| {
            after_failure(100, &throttled, left.map(Duration::from_secs), 1.0).as_secs()
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
            assert_eq!(longest(left), most, "{left:?}");
        }
        // Nobody else does.
        for code in ["TimedOut", "NoPermission"] {
            let plenty = Some(Duration::from_secs(40_000));
            assert_eq!(after_failure(100, &failed(code), plenty, 1.0), CAP);
        }
    }

    #[test]
    fn a_fleet_that_started_or_failed_together_does_not_come_back_together() {
        let seconds = |wait: Duration| wait.as_secs_f64();
        let spread = |wait: &dyn Fn(Jitter) -> Duration| {
            let waits = (0..1000).map(|one| seconds(wait(f64::from(one) / 1000.0)));
            let mut waits: Vec<f64> = waits.collect();
            waits.sort_by(f64::total_cmp);
            // The longest gap between two neighbours, and the most of a thousand that come in one second.
            let gap = waits.windows(2).map(|pair| pair[1] - pair[0]);
            let crowd = waits.iter().map(|from| {
                let together = |at: &&f64| (*from..from + 1.0).contains(*at);
                waits.iter().filter(together).count()
            });
            (gap.fold(0.0, f64::max), crowd.max().unwrap())
        };
        let hour = Duration::from_secs(3600);
        let renewals = spread(&|dice| after_success(hour, dice));
        assert!(renewals.0 < 1.0 && renewals.1 <= 6, "{renewals:?}");
        // However long it fails, also where the delay has reached its cap.
        for failures in [6, 60, u32::MAX] {
            let retries = spread(&|dice| after_failure(failures, &failed("TimedOut"), None, dice));
            assert!(retries.0 < 1.0 && retries.1 <= 18, "{retries:?}");
            let throttled = spread(&|dice| {
                after_failure(failures, &failed("Throttling.User"), Some(hour), dice)
            });
            assert!(throttled.0 < 1.0 && throttled.1 <= 20, "{throttled:?}");
        }
    }

    #[test]
    fn what_the_service_asks_for_is_honoured_within_reason() {
        let mut failure = failed("Throttling");
        failure.retry_after = Some(Duration::from_secs(120));
        assert_eq!(
            after_failure(1, &failure, None, 0.0),
            Duration::from_secs(120)
        );
        assert!(after_failure(1, &failure, None, 0.9) > Duration::from_secs(120));
        failure.retry_after = Some(Duration::from_secs(86_400));
        assert_eq!(
            after_failure(1, &failure, None, 0.0),
            Duration::from_secs(300)
        );
    }
}
