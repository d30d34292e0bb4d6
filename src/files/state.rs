//! What a successor of this process goes on with: the credentials, in a file that only this user can read.
//!
//! A state is a convenience and never trusted beyond doubt: what is not whole, not of these settings, or not surely
//! unexpired by the clocks of this machine is ignored, with the reason. Its end is never later than that of the
//! credentials in it.

mod binding;
mod document;
mod file;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::process::geteuid;

use crate::credentials::Lease;
use crate::failure::Failure;
use crate::files::writer::{self, Ownership, Target};
use crate::refresh::store::Current;
use crate::time::clock::Clock;
use crate::time::moment::Moment;

pub use self::binding::Binding;
use self::document::{Here, Record};

/// The file that holds the state.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    binding: Binding,
    /// The file that says who we are, if it can say something else by now.
    told_in: Option<PathBuf>,
    /// Which run of the kernel this is, as far as it tells.
    boot_id: Option<String>,
}

/// What a predecessor has left.
#[derive(Debug)]
pub struct Left {
    /// Its credentials.
    pub lease: Lease,
    /// When to ask for their successor.
    pub renew_at: Moment,
}

/// Why a state is ignored.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be opened or read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is a symbolic link.
    #[error("it is a symbolic link, and may lead to a file that somebody else controls")]
    Link,
    /// It is a directory, a pipe or a device.
    #[error("it is not a regular file")]
    Kind,
    /// Another user may have written it.
    #[error("it belongs to user {owner}, and this process runs as user {user}")]
    Owner {
        /// Its owner.
        owner: u32,
        /// Ourselves.
        user: u32,
    },
    /// Other users may read or write it.
    #[error("its mode {0:04o} lets other users at it")]
    Mode(u32),
    /// It is too large to be one.
    #[error("it is larger than any state")]
    Size,
    /// It is something else.
    #[error("it does not hold a state of ram-sidecar")]
    Foreign,
    /// It was cut off or changed.
    #[error("it is damaged: it was cut off, or changed after it was written")]
    Damaged,
    /// Another version of this program wrote it.
    #[error("it is of format version {0}, which this version of ram-sidecar does not know")]
    Version(u64),
    /// It is of another role, or of none.
    #[error("it holds {theirs}, and now it would be {ours}")]
    Holder {
        /// What it holds.
        theirs: String,
        /// What was to be in it.
        ours: String,
    },
    /// It was obtained otherwise.
    #[error(
        "it holds {0}, but obtained with another identity, session name, duration, session policy or STS endpoint than are set now"
    )]
    Settings(String),
    /// What says who we are may say something else by now.
    #[error("{} was changed after the credentials in it were obtained", .0.display())]
    Told(PathBuf),
    /// It is over.
    #[error("the credentials in it have ended, at {0}")]
    Expired(String),
    /// The boot clock runs backwards.
    #[error(
        "the time since boot is less than when it was written, though the machine was not restarted"
    )]
    BootClock,
    /// The wall clock was set back, and nothing else tells the time.
    #[error(
        "the wall clock shows a time before it was written, and the machine was restarted since"
    )]
    WallClock,
}

impl Refusal {
    /// Whether it is as it should be after the settings were changed, or after a long stop.
    pub fn is_ordinary(&self) -> bool {
        matches!(
            self,
            Self::Holder { .. } | Self::Settings(_) | Self::Told(_) | Self::Expired(_)
        )
    }
}

impl Store {
    /// Names the file, for credentials that are obtained by these settings.
    ///
    /// Where the file `told_in` says who we are, a state that is older than that is ignored.
    pub fn new(path: PathBuf, binding: Binding, told_in: Option<PathBuf>) -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot_id = boot_id.map(|id| id.trim().to_owned());
        Self {
            path,
            binding,
            told_in,
            boot_id: boot_id.filter(|id| !id.is_empty()),
        }
    }

    /// Reads what a predecessor has left for these settings; nothing if there is no file.
    pub async fn load(&self, clock: &Clock) -> Result<Option<Left>, Refusal> {
        let store = self.clone();
        let reading = tokio::task::spawn_blocking(move || store.read());
        let read = match tokio::time::timeout(TIMEOUT, reading).await {
            Ok(Ok(read)) => read?,
            Ok(Err(_)) => {
                let error = io::Error::other("the working thread ended");
                return Err(Refusal::Unreadable(error));
            }
            Err(_) => {
                let error = io::Error::other("the file system does not answer");
                return Err(Refusal::Unreadable(error));
            }
        };
        let Some(record) = read else {
            return Ok(None);
        };
        let here = Here {
            // After the reading, however long it took.
            now: clock.now(),
            boot_id: self.boot_id.as_deref(),
        };
        record.left(&self.binding, &here).map(Some)
    }

    /// Reads the file, unless something has happened since to who we are. Blocks.
    fn read(&self) -> Result<Option<Record>, Refusal> {
        let Some(content) = file::private(&self.path)? else {
            return Ok(None);
        };
        let record = document::parse(&content)?;
        match &self.told_in {
            Some(told_in) if file::changed_at(told_in) >= record.asked_at() => {
                Err(Refusal::Told(told_in.clone()))
            }
            _ => Ok(Some(record)),
        }
    }
}

impl Target for Store {
    const TELLS_DEADLINE: bool = true;

    fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self, now: DateTime<Utc>) -> io::Result<()> {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_dir()) {
            let what = "it is a directory";
            return Err(io::Error::new(io::ErrorKind::IsADirectory, what));
        }
        writer::prepare(&self.path, &|_| Ok(()), now)
    }

    fn expiration(&self) -> Option<DateTime<Utc>> {
        let content = file::private(&self.path).ok()??;
        let record = document::parse(&content).ok()?;
        Some(record.credentials.expires_at)
    }

    fn replace(&self, current: &Current, ours: &Ownership, now: Moment) -> io::Result<()> {
        if !ours.holds(&self.path) {
            file::refuse_foreign(&self.path)?;
        }
        let record = Record {
            binding: self.binding.clone(),
            credentials: current.lease.credentials.clone(),
            served_by: current.lease.served_by.clone(),
            skew: current.lease.skew,
            boot_id: self.boot_id.clone(),
            written_at: now,
            deadline: current.lease.deadline,
            renew_at: current.renew_at,
        };
        writer::put(&self.path, &record.render(), &|_| Ok(()), ours)
    }

    fn discard(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let (path, user) = (self.path.display(), geteuid().as_raw());
        let message = format!("cannot keep the state in {path} as user {user}: {error}");
        writer::not_written(message, error)
    }
}

/// A reading that takes longer hangs, and the start is not to wait for it.
const TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
