//! What a person at a terminal sees while there are no credentials: a line for each attempt that failed.

use std::convert::Infallible;
use std::time::Duration;

use crate::daemon::Handle;
use crate::refresh::store::{Health, Phase};
use crate::system::log;

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attempt {
    /// How many have failed in a row.
    pub(super) number: u32,
    pub(super) code: String,
    /// How long until the next one.
    pub(super) next: Duration,
}

impl Attempt {
    /// Writes its line to standard error.
    pub(super) fn show(&self) {
        log::print(&self.line());
    }

    fn line(&self) -> String {
        let (number, code) = (self.number, &self.code);
        // A part of a second is a second: it never says that the next attempt is now.
        let seconds = self.next.as_millis().div_ceil(1000).max(1);
        format!("Attempt {number} failed ({code}); next try in {seconds} s")
    }
}

/// Shows the failed attempts of a daemon while it has no valid credentials, for ever, if the log `is_watched`.
pub(super) async fn show(handle: &Handle, is_watched: bool) -> Infallible {
    if !is_watched {
        return std::future::pending().await;
    }
    let mut shown = 0;
    let show = async |health: Health| {
        let is_waiting = matches!(health.phase, Phase::Pending | Phase::Expired);
        if is_waiting
            && health.failures != shown
            && let (Some(failure), Some(next)) = (health.failure, health.next_attempt_after)
        {
            let attempt = Attempt {
                number: health.failures,
                code: failure.code.to_string(),
                next,
            };
            attempt.show();
        }
        shown = health.failures;
    };
    handle.follow(show).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_attempt_code_and_wait_in_whole_seconds() {
        for (milliseconds, shown) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_400, 60)] {
            let attempt = Attempt {
                number: 3,
                code: "ConnectFailed".to_owned(),
                next: Duration::from_millis(milliseconds),
            };
            let line = format!("Attempt 3 failed (ConnectFailed); next try in {shown} s");
            assert_eq!(attempt.line(), line);
        }
    }
}
