//! Waits on kernel timers that count suspended time and notice that the wall clock is set.
//!
//! tokio's own timer does neither, and wakes an idle process several times during one long sleep.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Waits for `rest` on the boot clock, or until the wall clock is set. Cancel safe.
///
/// `rest` is called once the timer is armed that notices a set clock, so that no change is missed.
///
/// Fails where the kernel has no such timers, or no file descriptors are left.
pub(super) async fn wait(rest: impl FnOnce() -> Duration) -> io::Result<()> {
    let notice = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    let set = armed(TimerfdClockId::Realtime, notice, NEVER)?;
    let rest = rest();
    if rest.is_zero() {
        return Ok(());
    }
    let over = armed(TimerfdClockId::Boottime, TimerfdTimerFlags::empty(), rest)?;
    tokio::select! {
        outcome = fired(&over) => outcome,
        outcome = fired(&set) => outcome,
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, and an OwnedFd fulfils its condition: one descriptor, open as long as it lives"
)]
fn armed(
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
        // An error means that it was not ready after all.
        if let Ok(outcome) = ready.try_io(read) {
            return outcome;
        }
    }
}

/// The last second of the kernel's clock, in the year 2262: the timer is there only to be cancelled.
const NEVER: Duration = Duration::from_secs(9_223_372_035);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn wall_clock_that_is_set_ends_the_wait() {
        use rustix::time::{ClockId, clock_gettime, clock_settime};

        let waiting = tokio::spawn(wait(|| Duration::from_secs(3600)));
        tokio::task::yield_now().await;
        // To its own reading: no other process is disturbed.
        if clock_settime(ClockId::Realtime, clock_gettime(ClockId::Realtime)).is_err() {
            crate::testing::skipped("the right to set the clock");
            return;
        }
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .expect("it is noticed")
            .unwrap()
            .unwrap();
    }
}
