//! The file with the token that AWS SDKs must send. It is mounted and may change, so it is read again for requests.
//!
//! Requests that wait share one reading. A request with the right token waits for none that callers without it cause.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::system::file;

/// The token file.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
    /// The last reading. Locked while the file is read, so that a file system that hangs blocks a single thread.
    last: Arc<AsyncMutex<Option<Reading>>>,
    warnings: Arc<Mutex<Warnings>>,
}

/// What the file contained, or why it cannot be used.
#[derive(Clone, Debug)]
struct Reading {
    started: Instant,
    ended: Instant,
    token: Result<SecretString, String>,
}

impl Reading {
    /// Decides about a token that arrived at some time; `None` if that needs another reading.
    ///
    /// The right token of a short moment ago is still right, but a token may have become right since.
    fn decide(&self, token: &[u8], arrived: Instant) -> Option<Result<bool, String>> {
        let decision = self.matches(token);
        let is_recent_match = decision == Ok(true) && self.ended + MOMENT >= arrived;
        (is_recent_match || self.started >= arrived).then_some(decision)
    }

    /// Fails with the reason why the file cannot be used.
    fn matches(&self, token: &[u8]) -> Result<bool, String> {
        let expected = self.token.as_ref().map_err(String::clone)?;
        Ok(expected.expose_secret().as_bytes().ct_eq(token).into())
    }
}

/// Decides which errors are logged.
#[derive(Debug, Default)]
struct Warnings {
    /// The error of the present state, if it was logged.
    current: Option<String>,
    /// Every error that was logged, of which there are few.
    logged: HashMap<String, Instant>,
}

impl Warnings {
    /// Whether to log an error: once while it lasts, and once a minute if it comes and goes.
    fn is_due(&mut self, reason: &str, now: Instant) -> bool {
        let last = self.logged.get(reason);
        let is_recent = last.is_some_and(|last| now < *last + WARNING_INTERVAL);
        if is_recent || self.current.as_deref() == Some(reason) {
            return false;
        }
        self.current = Some(reason.to_owned());
        self.logged.insert(reason.to_owned(), now);
        true
    }
}

/// The file cannot be used, for a reason that has been logged.
#[derive(Debug)]
pub(super) struct Unusable;

impl TokenFile {
    /// Checks that the file can be used now. Blocks.
    ///
    /// Fails with the reason why it cannot.
    pub fn new(path: PathBuf) -> Result<Self, String> {
        read(&path)?;
        Ok(Self {
            path,
            last: Arc::default(),
            warnings: Arc::default(),
        })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it contains exactly this token.
    pub(super) async fn matches(&self, token: &[u8]) -> Result<bool, Unusable> {
        let decision = timeout(TIMEOUT, self.decide(token)).await;
        let decision = decision.unwrap_or_else(|_| Err("its file system does not respond".into()));
        let warnings = self.warnings.lock();
        let mut warnings = warnings.unwrap_or_else(PoisonError::into_inner);
        match decision {
            Ok(is_match) => {
                warnings.current = None;
                Ok(is_match)
            }
            Err(reason) => {
                if warnings.is_due(&reason, Instant::now()) {
                    warn!(
                        path = %self.path.display(),
                        error = reason,
                        "container.token_file cannot be used"
                    );
                }
                Err(Unusable)
            }
        }
    }

    /// Fails with the reason why the file cannot be used.
    async fn decide(&self, token: &[u8]) -> Result<bool, String> {
        let arrived = Instant::now();
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some(decision) = last.as_ref().and_then(|last| last.decide(token, arrived)) {
            return decision;
        }
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let token = read(&path);
            let ended = Instant::now();
            let reading = Reading {
                started,
                ended,
                token,
            };
            last.insert(reading).clone()
        });
        let reading = reading
            .await
            .map_err(|_| "the reading thread ended".to_owned())?;
        reading.matches(token)
    }
}

/// Reads a token: text that an HTTP header can carry, as botocore sends it. Blocks.
///
/// Fails with the reason, which contains no part of the token.
fn read(path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let token = match file::read_regular(path, MAX_SIZE) {
        Ok(token) => token,
        Err(file::Error::TooLarge(_)) => Vec::new().into(),
        Err(file::Error::NotRegular) => return Err(format!("{shown} is not a regular file")),
        Err(file::Error::Io(error)) => return Err(format!("cannot read {shown}: {error}")),
    };
    // AWS SDKs refuse to send a line break, even at the end, and HTTP strips a space at either end.
    let is_token = |text: &&str| {
        let mut bytes = text.bytes();
        let is_visible = bytes.all(|b| b.is_ascii_graphic() || b == b' ');
        !text.is_empty() && is_visible && text.trim_ascii() == *text
    };
    let text = std::str::from_utf8(&token).ok().filter(is_token);
    text.map(SecretString::from).ok_or_else(|| {
        format!(
            "{shown} does not contain 1 to {MAX_SIZE} visible characters and nothing else, not even a line break or a space at the end"
        )
    })
}

/// A file system that takes longer is considered to hang.
const TIMEOUT: Duration = Duration::from_millis(400);

/// How long a token counts as the content of the file: shorter than it takes to replace a secret.
const MOMENT: Duration = Duration::from_millis(100);

/// The minimum time between two warnings of one error.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// In bytes: more than any token, less than the limit on a header.
const MAX_SIZE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_right_token_needs_no_new_reading_and_a_wrong_one_does() {
        let moment = Instant::now();
        let after = |ms| moment + Duration::from_millis(ms);
        let reading = Reading {
            started: moment,
            ended: after(10),
            token: Ok("right".into()),
        };
        for (token, arrived, decision) in [
            ("right", moment, Some(true)),
            ("right", after(5), Some(true)),
            ("right", after(110), Some(true)),
            ("right", after(111), None),
            ("wrong", moment, Some(false)),
            ("wrong", after(5), None),
            ("", after(110), None),
        ] {
            let found = reading.decide(token.as_bytes(), arrived);
            assert_eq!(found.map(Result::unwrap), decision, "{token}");
        }
        let unusable = Reading {
            token: Err("is gone".to_owned()),
            ..reading
        };
        assert!(unusable.decide(b"right", moment).unwrap().is_err());
        assert!(unusable.decide(b"right", after(5)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_that_comes_and_goes_is_logged_once_a_minute() {
        let (mut warnings, start) = (Warnings::default(), Instant::now());
        let due = (0..180).filter(|second| {
            if second % 3 == 0 {
                warnings.current = None;
            }
            warnings.is_due("is gone", start + Duration::from_secs(*second))
        });
        assert_eq!(due.collect::<Vec<_>>(), [0, 60, 120]);
        assert!(warnings.is_due("is a directory", start), "another error");

        let (mut warnings, reason) = (Warnings::default(), "is gone");
        let due =
            (0..180).filter(|second| warnings.is_due(reason, start + Duration::from_secs(*second)));
        assert_eq!(due.count(), 1, "an error that lasts");
    }
}
