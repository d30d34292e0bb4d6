//! Keeps a file equal to the document that is served.
//!
//! A reader sees the old document or the new one, whole, and never an expired one: the file is replaced by a rename
//! within its directory, and removed when the credentials end without a successor.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::failure::{Failure, Stage};
use crate::snapshot::{Held, Offer, Subscriber};

/// One file to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it is. Its directory exists.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
    /// Its owner, if not the user of this process.
    pub uid: Option<u32>,
    /// Its group, if not the group of this process.
    pub gid: Option<u32>,
}

/// How a file stands.
#[derive(Clone, Debug, Default)]
pub enum State {
    /// Nothing has been written yet.
    #[default]
    Waiting,
    /// It holds what is served.
    Written,
    /// It does not, and why.
    Failed(Arc<Failure>),
}

/// Keeps one file.
#[derive(Debug)]
pub struct Sink {
    options: Options,
    subscriber: Subscriber,
    clock: Clock,
    state: watch::Sender<State>,
}

impl Sink {
    /// Checks that the file can be written, by writing and removing an empty one beside it.
    ///
    /// Blocks on the file system.
    pub fn new(options: Options, subscriber: Subscriber, clock: Clock) -> Result<Self, Failure> {
        check(&options).map_err(|error| failure(&options, &error))?;
        Ok(Self {
            options,
            subscriber,
            clock,
            state: watch::Sender::default(),
        })
    }

    /// Returns a reader of how the file stands.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Follows the credentials for ever.
    pub async fn run(mut self) -> Infallible {
        let mut written = 0;
        let mut failures = 0_u32;
        loop {
            let now = self.clock.now();
            let offer = self.subscriber.current().offer(now);
            let wanted = match offer {
                Offer::Held(held) => Some(held),
                Offer::Wait(_) | Offer::Refusal(_) => None,
            };
            let outcome = match &wanted {
                Some(held) if held.generation != written => self.write(held).await,
                None if written != 0 => self.remove().await,
                _ => Ok(()),
            };
            let wake = match outcome {
                Ok(()) => {
                    self.succeeded(wanted.as_deref(), failures);
                    written = wanted.as_ref().map_or(0, |held| held.generation);
                    failures = 0;
                    wanted.map(|held| held.deadline)
                }
                Err(error) => {
                    self.failed(&error);
                    failures = failures.saturating_add(1);
                    Some(now.after(RETRY.saturating_mul(failures).min(RETRY_MOST)))
                }
            };
            tokio::select! {
                () = self.subscriber.changed() => {}
                () = sleep_until(&self.clock, wake) => {}
            }
        }
    }

    async fn write(&self, held: &Arc<Held>) -> io::Result<()> {
        let (options, held) = (self.options.clone(), Arc::clone(held));
        blocking(move || replace(&options, &held.document)).await
    }

    async fn remove(&self) -> io::Result<()> {
        let path = self.options.path.clone();
        blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    fn succeeded(&self, wanted: Option<&Held>, failures_before: u32) {
        let state = if wanted.is_some() {
            State::Written
        } else {
            State::Waiting
        };
        if failures_before > 0 {
            info!(path = %self.options.path.display(), failures_before, "The file can be written again");
        }
        self.state.send_replace(state);
    }

    fn failed(&self, error: &io::Error) {
        let failure = failure(&self.options, error);
        let told = matches!(&*self.state.borrow(), State::Failed(known) if **known == failure);
        if !told {
            warn!(path = %self.options.path.display(), "{failure}");
        }
        self.state.send_replace(State::Failed(Arc::new(failure)));
    }
}

async fn sleep_until(clock: &Clock, wake: Option<crate::moment::Moment>) {
    match wake {
        Some(wake) => clock.sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::other("the writing thread ended")),
    }
}

fn replace(options: &Options, content: &[u8]) -> io::Result<()> {
    let (temporary, directory) = beside(&options.path)?;
    let outcome = fill(&temporary, options, content)
        .and_then(|()| fs::rename(&temporary, &options.path))
        .and_then(|()| File::open(&directory)?.sync_all());
    if outcome.is_err() {
        // Also the one that was never made; the error that matters is the first.
        let _ = fs::remove_file(&temporary);
    }
    outcome
}

fn fill(temporary: &Path, options: &Options, content: &[u8]) -> io::Result<()> {
    // What a killed predecessor left behind; it may belong to another mode or owner.
    if let Err(error) = fs::remove_file(temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)?;
    if options.uid.is_some() || options.gid.is_some() {
        fchown(&file, options.uid, options.gid)?;
    }
    // Not by open(2): the umask would have its say. Before the content: nobody else may read it even for a moment.
    file.set_permissions(Permissions::from_mode(options.mode))?;
    file.write_all(content)?;
    file.sync_all()
}

fn check(options: &Options) -> io::Result<()> {
    if options.path.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    let (temporary, _) = beside(&options.path)?;
    let outcome = fill(&temporary, options, b"");
    let _ = fs::remove_file(&temporary);
    outcome
}

/// Returns the name under which the file is prepared, and its directory.
fn beside(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("it names no file"));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".ram-sidecar");
    Ok((directory.join(hidden), directory.to_owned()))
}

fn failure(options: &Options, error: &io::Error) -> Failure {
    let path = options.path.display();
    let user = rustix::process::geteuid().as_raw();
    let owner = match (options.uid, options.gid) {
        (None, None) => String::new(),
        (Some(uid), None) => format!(" owned by user {uid}"),
        (None, Some(gid)) => format!(" owned by group {gid}"),
        (Some(uid), Some(gid)) => format!(" owned by {uid}:{gid}"),
    };
    let message = format!(
        "cannot write {path} (mode {:04o}{owner}) as user {user}: {error}",
        options.mode
    );
    let mut failure = Failure::new(Stage::File, "FileNotWritten", message);
    if error.kind() == io::ErrorKind::ResourceBusy {
        failure.advice =
            "mount the directory of the file, not the file: a mounted file cannot be replaced"
                .into();
    } else if error.kind() == io::ErrorKind::PermissionDenied && !owner.is_empty() {
        failure.advice = "only root may give a file away: remove uid and gid, or grant CAP_CHOWN; the directory must be writable too".into();
    }
    failure
}

/// A failed write is tried again after a pause that grows from the first to the second.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_MOST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
