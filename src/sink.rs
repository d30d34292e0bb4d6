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
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::failure::{Failure, Stage};
use crate::moment::Moment;
use crate::snapshot::{Offer, Subscriber};
use crate::view::document;

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
        let mut disk = self.inherited().await;
        let mut failures = 0_u32;
        loop {
            let state = self.subscriber.current();
            let now = self.clock.now();
            let outcome = self.step(&state.offer(now), &mut disk, now).await;
            let mut wake = disk.as_ref().map(|written| written.deadline);
            match outcome {
                Ok(()) => {
                    self.succeeded(disk.as_ref(), failures);
                    failures = 0;
                }
                Err(error) => {
                    self.failed(&error);
                    failures = failures.saturating_add(1);
                    wake = Some(retry_at(self.clock.now(), failures, wake));
                }
            }
            tokio::select! {
                () = self.subscriber.changed() => {}
                () = sleep_until(&self.clock, wake) => {}
            }
        }
    }

    /// Looks at what a predecessor left. It may still be good, and then it stays until it ends.
    async fn inherited(&self) -> Option<Written> {
        let (path, now) = (self.options.path.clone(), self.clock.now());
        let read = tokio::task::spawn_blocking(move || fs::read(path).map(Zeroizing::new));
        let end = document::expiration(&read.await.ok()?.ok()?)?;
        let left = (end - now.wall).to_std().unwrap_or_default();
        Some(Written {
            generation: 0,
            deadline: now.after(left),
        })
    }

    /// Brings the file one step closer to what is offered; `disk` is what it holds.
    async fn step(&self, offer: &Offer, disk: &mut Option<Written>, now: Moment) -> io::Result<()> {
        // First of all, and though a write may fail: nobody shall read what has ended.
        if disk
            .as_ref()
            .is_some_and(|written| now.is_past(written.deadline))
        {
            let path = self.options.path.clone();
            self.blocking(move || remove(&path)).await?;
            *disk = None;
        }
        let Offer::Held(held) = offer else {
            return Ok(());
        };
        if disk
            .as_ref()
            .is_none_or(|written| written.generation != held.generation)
        {
            let (options, content) = (self.options.clone(), held.document.clone());
            self.blocking(move || replace(&options, &content)).await?;
            *disk = Some(Written {
                generation: held.generation,
                deadline: held.deadline,
            });
        }
        Ok(())
    }

    /// Does blocking work elsewhere, and says so when the file system does not answer.
    async fn blocking(
        &self,
        work: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let mut working = tokio::task::spawn_blocking(work);
        let outcome = if let Ok(outcome) = tokio::time::timeout(PATIENCE, &mut working).await {
            outcome
        } else {
            self.failed(&io::Error::other("the file system does not answer"));
            working.await
        };
        outcome.unwrap_or_else(|_| Err(io::Error::other("the writing thread ended")))
    }

    fn succeeded(&self, disk: Option<&Written>, failures_before: u32) {
        if failures_before > 0 {
            info!(path = %self.options.path.display(), failures_before, "The file can be written again");
        }
        let is_ours = disk.is_some_and(|written| written.generation > 0);
        self.state.send_replace(if is_ours {
            State::Written
        } else {
            State::Waiting
        });
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

/// Returns when to try again: after a pause, or when what is on disk ends if that comes first.
fn retry_at(now: Moment, failures: u32, deadline: Option<Moment>) -> Moment {
    let again = now.after(RETRY.saturating_mul(failures).min(RETRY_MOST));
    let is_sooner =
        |deadline: &Moment| !now.is_past(*deadline) && now.until(*deadline) < now.until(again);
    deadline.filter(is_sooner).unwrap_or(again)
}

/// What the file holds.
#[derive(Debug)]
struct Written {
    /// 0 for what a predecessor wrote.
    generation: u64,
    /// When it must be gone.
    deadline: Moment,
}

async fn sleep_until(clock: &Clock, wake: Option<Moment>) {
    match wake {
        Some(wake) => clock.sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

fn replace(options: &Options, content: &[u8]) -> io::Result<()> {
    let beside = Beside::of(&options.path)?;
    let temporary = beside.fresh()?;
    let outcome =
        fill(&temporary, options, content).and_then(|()| fs::rename(&temporary, &options.path));
    if outcome.is_err() {
        // Also the one that was never made; the error that matters is the first.
        let _ = fs::remove_file(&temporary);
    }
    outcome?;
    // The new file is in place. That its name survives a power cut is more than some file systems promise.
    let synced = File::open(beside.directory).and_then(|directory| directory.sync_all());
    if let Err(error) = synced {
        debug!(path = %options.path.display(), "Cannot sync the directory of the file: {error}");
    }
    Ok(())
}

fn fill(temporary: &Path, options: &Options, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)?;
    // Not by open(2): the umask would have its say. Before the content: nobody else may read it even for a moment.
    // Before the owner: only root may change the mode of what it has given away.
    file.set_permissions(Permissions::from_mode(options.mode))?;
    if options.uid.is_some() || options.gid.is_some() {
        fchown(&file, options.uid, options.gid)?;
    }
    file.write_all(content)?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn check(options: &Options) -> io::Result<()> {
    if options.path.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    let beside = Beside::of(&options.path)?;
    beside.sweep();
    let temporary = beside.fresh()?;
    let outcome = fill(&temporary, options, b"");
    let _ = fs::remove_file(&temporary);
    outcome
}

/// The directory of a file, and the names under which the file is prepared there.
struct Beside<'a> {
    directory: &'a Path,
    prefix: String,
}

impl<'a> Beside<'a> {
    fn of(path: &'a Path) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other("it names no file"));
        };
        Ok(Self {
            directory,
            prefix: format!(".{}.ram-sidecar-", name.to_string_lossy()),
        })
    }

    /// Returns a name that nobody else uses: two processes may keep the same file, on a volume that they share.
    fn fresh(&self) -> io::Result<PathBuf> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        Ok(self.directory.join(format!("{}{random:016x}", self.prefix)))
    }

    /// Removes what killed predecessors left half done.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with(&self.prefix)
            {
                // Another process may be faster, or own it.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
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

/// A write that takes longer hangs: a network file system whose server is gone.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
