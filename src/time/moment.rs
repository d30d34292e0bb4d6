//! A reading of the wall clock and the boot clock, which together decide about an expiry.
//!
//! The wall clock can be set forwards and backwards. The boot clock runs steadily, even while the machine is suspended, but has
//! no date. A deadline is a reading of both, and has passed as soon as either clock has reached it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// One reading of both clocks, taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// The wall clock of this machine, uncorrected.
    pub wall: DateTime<Utc>,
    /// The time since boot, suspended time included.
    pub boot: Duration,
}

impl Moment {
    /// Returns the moment that is `span` later on both clocks.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let delta = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
        Self {
            wall: self
                .wall
                .checked_add_signed(delta)
                .unwrap_or(DateTime::<Utc>::MAX_UTC),
            boot: self.boot.saturating_add(span),
        }
    }

    /// Returns the time until `deadline` on the clock that reaches it first; zero if it has passed.
    pub fn until(self, deadline: Self) -> Duration {
        let by_wall = (deadline.wall - self.wall).to_std().unwrap_or_default();
        by_wall.min(deadline.boot.saturating_sub(self.boot))
    }

    /// Returns the time from here to `now`, whatever the wall clock was set to meanwhile.
    pub fn elapsed(self, now: Self) -> Duration {
        now.boot.saturating_sub(self.boot)
    }

    /// Whether `deadline` has passed on either clock.
    pub fn is_past(self, deadline: Self) -> bool {
        self.until(deadline).is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn noon() -> Moment {
        Moment {
            wall: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            boot: Duration::from_secs(500),
        }
    }

    #[test]
    fn clock_that_reaches_a_deadline_first_decides() {
        let deadline = noon().after(HOUR);
        assert_eq!(noon().until(deadline), HOUR);

        let set_forward = Moment {
            wall: noon().wall + TimeDelta::minutes(50),
            ..noon()
        };
        assert_eq!(set_forward.until(deadline), Duration::from_secs(600));

        let set_back = Moment {
            wall: noon().wall - TimeDelta::days(9),
            boot: deadline.boot,
        };
        assert!(set_back.is_past(deadline));
    }

    #[test]
    fn duration_beyond_the_calendar_saturates() {
        let far = noon().after(Duration::MAX);
        assert!(!noon().is_past(far));
    }
}
