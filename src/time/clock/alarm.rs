//! Waits for kernel timers, which include suspended time and notice that the wall clock was set.
//!
//! The timer of tokio does neither, and wakes an idle process several times during one long sleep.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Waits for the `remaining` time on the boot clock, or until the wall clock is set. Cancel safe.
///
/// `remaining` is called after the timer that notices a set clock was started, so that no change is missed.
///
/// Fails if the kernel has no such timers, or no file descriptors are available.
pub(super) async fn wait(remaining: impl FnOnce() -> Duration) -> io::Result<()> {
    let cancel_on_set = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    let clock_set = start(TimerfdClockId::Realtime, cancel_on_set, NEVER)?;
    let remaining = remaining();
    if remaining.is_zero() {
        return Ok(());
    }
    let elapsed = start(
        TimerfdClockId::Boottime,
        TimerfdTimerFlags::empty(),
        remaining,
    )?;
    tokio::select! {
        result = fired(&elapsed) => result,
        result = fired(&clock_set) => result,
    }
}

/// Starts a timer that fires once.
#[expect(
    deprecated,
    reason = "its successor is unsafe, and an OwnedFd meets its requirement: one descriptor that stays open while it exists"
)]
fn start(
    clock: TimerfdClockId,
    flags: TimerfdTimerFlags,
    at: Duration,
) -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(clock, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let at = Timespec::try_from(at).map_err(io::Error::other)?;
    let once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: at,
    };
    timerfd_settime(&timer, flags, &once)?;
    AsyncFd::new(timer)
}

/// Waits until a timer has fired or was cancelled.
async fn fired(timer: &AsyncFd<OwnedFd>) -> io::Result<()> {
    loop {
        let mut ready = timer.readable().await?;
        let read = |timer: &AsyncFd<OwnedFd>| {
            let mut expirations = [0; 8];
            match rustix::io::read(timer, &mut expirations) {
                // The wall clock was set.
                Ok(_) | Err(Errno::CANCELED) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        // An error means that the timer was not ready.
        if let Ok(result) = ready.try_io(read) {
            return result;
        }
    }
}

/// The last second of the kernel's clock, in the year 2262: this timer is only meant to be cancelled.
const NEVER: Duration = Duration::from_secs(9_223_372_035);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wall_clock_that_is_set_ends_the_wait() {
        use rustix::time::{ClockId, clock_gettime, clock_settime};

        let waiting = tokio::spawn(wait(|| Duration::from_secs(3600)));
        tokio::task::yield_now().await;
        // Sets the clock to its current reading, which does not affect other processes.
        if clock_settime(ClockId::Realtime, clock_gettime(ClockId::Realtime)).is_err() {
            crate::testing::skipped("the right to set the clock");
            return;
        }
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .expect("the wait ends")
            .unwrap()
            .unwrap();
    }
}
