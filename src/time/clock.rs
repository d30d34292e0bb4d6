//! Reads the time; every other module gets a [`Moment`] or this [`Clock`] as an argument.

mod alarm;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::time::moment::Moment;

/// A source of moments: the clocks of the machine, or a simulation based on tokio's time, which tests can pause.
#[derive(Clone, Debug)]
pub struct Clock {
    base: Base,
    shifts: Arc<Shifts>,
}

/// The offsets of both clocks from their base.
#[derive(Debug, Default)]
struct Shifts {
    wall_ms: AtomicI64,
    boot_ms: AtomicU64,
    changed: Notify,
}

#[derive(Clone, Copy, Debug)]
enum Base {
    Machine,
    Simulated {
        start: Moment,
        origin: Instant,
        /// Whether setting a clock wakes sleepers, as the timers of the kernel do.
        wakes: bool,
    },
}

impl Clock {
    /// Returns a clock that reads the machine's wall clock and its boot clock.
    pub fn machine() -> Self {
        Self {
            base: Base::Machine,
            shifts: Arc::default(),
        }
    }

    /// Returns a clock that starts at `start` and follows tokio's time, which a paused runtime controls.
    ///
    /// If it `wakes` sleepers, they notice immediately that it was set or suspended; otherwise within [`SLICE`], as on a
    /// kernel without such timers.
    pub fn simulated(start: Moment, wakes: bool) -> Self {
        Self {
            base: Base::Simulated {
                start,
                origin: Instant::now(),
                wakes,
            },
            shifts: Arc::default(),
        }
    }

    /// Moves the wall clock of this clock and its clones by `shift`, as if an administrator or NTP had set it.
    pub fn shift_wall(&self, shift: TimeDelta) {
        self.drift_wall(shift);
        self.shifts.changed.notify_waiters();
    }

    /// Moves the wall clock by `shift` without waking sleepers, as if it drifted.
    pub fn drift_wall(&self, shift: TimeDelta) {
        self.shifts
            .wall_ms
            .fetch_add(shift.num_milliseconds(), Ordering::Relaxed);
    }

    /// Advances both clocks by `span` but no timers, as if the machine had been suspended. For simulations.
    pub fn suspend(&self, span: Duration) {
        let span_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.shifts.boot_ms.fetch_add(span_ms, Ordering::Relaxed);
        self.shift_wall(TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX));
    }

    /// Returns the current moment.
    pub fn now(&self) -> Moment {
        let mut now = match self.base {
            Base::Machine => Moment {
                wall: wall(),
                boot: boot(),
            },
            Base::Simulated { start, origin, .. } => start.after(origin.elapsed()),
        };
        now.wall += TimeDelta::milliseconds(self.shifts.wall_ms.load(Ordering::Relaxed));
        now.boot += Duration::from_millis(self.shifts.boot_ms.load(Ordering::Relaxed));
        now
    }

    /// Waits until either clock has reached one of the `deadlines`; without a deadline, forever. Cancel safe.
    ///
    /// The caller passes all deadlines, because setting the wall clock may change which one is first.
    ///
    /// If the kernel does not report that the machine was suspended or the wall clock was set, it returns up to [`SLICE`]
    /// late.
    pub async fn sleep_until(&self, deadlines: &[Moment]) {
        let remaining = || {
            let now = self.now();
            deadlines.iter().map(|deadline| now.until(*deadline)).min()
        };
        loop {
            // Created before the clocks are read, so that no change is missed.
            let changed = self.shifts.changed.notified();
            let Some(left) = remaining() else {
                return std::future::pending().await;
            };
            if left.is_zero() {
                return;
            }
            match self.base {
                Base::Machine => {
                    let wait = || remaining().unwrap_or_default();
                    if alarm::wait(wait).await.is_err() {
                        tokio::time::sleep(left.min(SLICE)).await;
                    }
                }
                Base::Simulated { wakes: true, .. } => {
                    let _ = tokio::time::timeout(left, changed).await;
                }
                Base::Simulated { wakes: false, .. } => {
                    tokio::time::sleep(left.min(SLICE)).await;
                }
            }
        }
    }
}

/// The longest single sleep with tokio's timer.
///
/// That timer stops while the machine is suspended, and does not notice that the wall clock was set: a long sleep could end
/// hours after an expiry.
pub const SLICE: Duration = Duration::from_secs(30);

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that the rest of the crate reads"
)]
fn wall() -> chrono::DateTime<Utc> {
    Utc::now()
}

fn boot() -> Duration {
    let reading = clock_gettime(ClockId::Boottime);
    Duration::try_from(reading).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sleeps for an hour, sets the wall clock beyond that after 100 s, and returns the duration of the sleep.
    async fn slept(wakes: bool) -> Duration {
        let clock = Clock::simulated(Clock::machine().now(), wakes);
        let started = Instant::now();
        let setter = clock.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(100)).await;
            setter.shift_wall(TimeDelta::hours(2));
        });
        let deadline = clock.now().after(Duration::from_secs(3600));
        clock.sleep_until(&[deadline]).await;
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_is_noticed_within_a_slice_of_the_wall_clock_being_set() {
        let took = slept(false).await.as_secs();
        assert!((100..=130).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_is_noticed_at_once_by_a_sleeper_that_a_set_clock_wakes() {
        assert_eq!(slept(true).await.as_secs(), 100);
    }

    #[test]
    fn boot_clock_advances() {
        let clock = Clock::machine();
        let earlier = clock.now();
        assert!(clock.now().boot >= earlier.boot);
        assert!(earlier.boot > Duration::ZERO);
    }

    #[tokio::test]
    async fn machine_clock_does_not_wake_before_the_deadline() {
        let clock = Clock::machine();
        let started = clock.now();
        clock
            .sleep_until(&[started.after(Duration::from_millis(50))])
            .await;
        assert!(
            clock
                .now()
                .is_past(started.after(Duration::from_millis(50)))
        );
    }
}
