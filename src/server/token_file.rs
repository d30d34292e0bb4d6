//! The file with the token that AWS SDKs must send. It is mounted and may change, so it is read for every request.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use tracing::warn;
use zeroize::Zeroizing;

use crate::system::file;

/// The token file.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
    /// Limits reads to one at a time, so that a file system that hangs blocks a single thread.
    permit: Arc<Semaphore>,
    /// The error of the last read, which has been logged.
    logged: Arc<Mutex<Option<String>>>,
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
            permit: Arc::new(Semaphore::new(1)),
            logged: Arc::default(),
        })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it contains exactly this token.
    pub(super) async fn matches(&self, token: &[u8]) -> Result<bool, Unusable> {
        let read = tokio::time::timeout(TIMEOUT, self.read()).await;
        let read = read.unwrap_or_else(|_| Err("its file system does not respond".to_owned()));
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(expected) => {
                *logged = None;
                Ok(expected.as_slice().ct_eq(token).into())
            }
            Err(reason) => {
                if logged.as_ref() != Some(&reason) {
                    warn!("container.token_file cannot be used: {reason}");
                    *logged = Some(reason);
                }
                Err(Unusable)
            }
        }
    }

    async fn read(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let ended = |_| "the reading thread ended".to_owned();
        let permit = Arc::clone(&self.permit).acquire_owned().await;
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read(&path)
        });
        reading.await.map_err(ended)?
    }
}

/// Reads a token: text that an HTTP header can carry, as botocore sends it. Blocks.
///
/// Fails with the reason, which contains no part of the token.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let shown = path.display();
    let token = match file::read_regular(path, MAX_SIZE) {
        Ok(token) => token,
        Err(file::Error::TooLarge(_)) => Zeroizing::default(),
        Err(file::Error::NotRegular) => return Err(format!("{shown} is not a regular file")),
        Err(file::Error::Io(error)) => return Err(format!("cannot read {shown}: {error}")),
    };
    // AWS SDKs refuse to send a line break, even at the end, and HTTP strips a space at either end.
    let is_text = token.iter().all(|b| b.is_ascii_graphic() || *b == b' ')
        && token.trim_ascii().len() == token.len();
    if token.is_empty() || !is_text {
        return Err(format!(
            "{shown} does not contain 1 to {MAX_SIZE} visible characters and nothing else, not even a line break or a space at the end"
        ));
    }
    Ok(token)
}

/// A file system that takes longer is considered to hang.
const TIMEOUT: Duration = Duration::from_millis(400);

/// In bytes: more than any token, less than the limit on a header.
const MAX_SIZE: usize = 4096;
