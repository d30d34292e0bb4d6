//! The saved state: credentials for the next process, in a file that only this user can read.
//!
//! A state is used only if it is certainly valid. One that is damaged, obtained with other settings or possibly expired is
//! ignored, with the reason. Restoring never prolongs the lifetime of credentials.

mod binding;
mod document;
mod file;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::process::geteuid;

use crate::credentials::Lease;
use crate::failure::Failure;
use crate::refresh::store::Current;
use crate::time::clock::Clock;
use crate::time::moment::Moment;

use super::atomic::Replacement;
use super::blocking;
use super::ownership::Ownership;
use super::place::Place;
use super::target::{Target, not_written};

pub use self::binding::Binding;
use self::document::Record;

/// The file that holds the state.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    binding: Binding,
    /// The file that configures the identity, if its content may change while the settings do not.
    source_file: Option<PathBuf>,
    /// The kernel's id of this boot, if `/proc` has it.
    boot_id: Option<String>,
}

/// What an earlier process saved.
#[derive(Debug)]
pub struct Restored {
    /// Its credentials.
    pub lease: Lease,
    /// When to renew them.
    pub renew_at: Moment,
}

/// Why a state is ignored.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages describe the variants")]
pub enum Refusal {
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("it is a symbolic link, and may lead to a file that another user controls")]
    Link,
    #[error("it is not a regular file")]
    Kind,
    #[error("it belongs to user {owner}, and this process runs as user {user}")]
    Owner { owner: u32, user: u32 },
    #[error("its mode {0:04o} lets other users read or write it")]
    Mode(u32),
    #[error("it is larger than any state")]
    Size,
    #[error("it does not contain a state of ram-sidecar")]
    Foreign,
    #[error("it is damaged: it was cut off, or changed after it was written")]
    Damaged,
    #[error("it is of format version {0}, which this version of ram-sidecar does not know")]
    Version(u64),
    #[error("it holds {saved}, but the settings now require {configured}")]
    Holder { saved: String, configured: String },
    #[error(
        "it holds {0}, obtained with another identity, session name, duration, session policy or STS endpoint than the settings now require"
    )]
    Settings(String),
    #[error("{} was changed after the credentials in it were obtained", .0.display())]
    SourceChanged(PathBuf),
    #[error("the credentials in it expired at {0}")]
    Expired(String),
    #[error(
        "the time since boot is less than when it was written, though the machine was not restarted"
    )]
    BootClock,
    #[error(
        "the wall clock shows a time before it was written, and the machine was restarted since"
    )]
    WallClock,
}

impl Refusal {
    /// Whether this is expected after a change of the settings or a long downtime.
    pub fn is_expected(&self) -> bool {
        matches!(
            self,
            Self::Holder { .. } | Self::Settings(_) | Self::SourceChanged(_) | Self::Expired(_)
        )
    }
}

impl StateFile {
    /// Describes the file for credentials that are obtained with the settings of `binding`.
    ///
    /// A state that is older than `source_file`, the file that configures the identity, is ignored.
    pub fn new(path: PathBuf, binding: Binding, source_file: Option<PathBuf>) -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot_id = boot_id.map(|id| id.trim().to_owned());
        Self {
            path,
            binding,
            source_file,
            boot_id: boot_id.filter(|id| !id.is_empty()),
        }
    }

    /// Reads what an earlier process saved with these settings; nothing if there is no file.
    ///
    /// Fails after 5 seconds if the file system does not respond.
    pub async fn load(&self, clock: &Clock) -> Result<Option<Restored>, Refusal> {
        let file = self.clone();
        let read = blocking::run(TIMEOUT, move || file.read()).await;
        let Some(record) = read.map_err(Refusal::Unreadable)?? else {
            return Ok(None);
        };
        // The time is read after the file, however long that took.
        let restored = record.restore(&self.binding, clock.now(), self.boot_id.as_deref())?;
        Ok(Some(restored))
    }

    /// Reads the file, unless the file that configures the identity has changed since. Blocks.
    fn read(&self) -> Result<Option<Record>, Refusal> {
        let place = match Place::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(Refusal::Unreadable)?,
        };
        let Some(content) = file::private(&place)? else {
            return Ok(None);
        };
        let record = document::parse(&content)?;
        match &self.source_file {
            Some(source) if file::changed_at(source) >= record.requested_at() => {
                Err(Refusal::SourceChanged(source.clone()))
            }
            _ => Ok(Some(record)),
        }
    }
}

impl Target for StateFile {
    const RECORDS_DEADLINE: bool = true;

    fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self) -> io::Result<()> {
        let place = Place::open(&self.path)?;
        if place.metadata()?.is_some_and(|found| found.is_dir()) {
            let what = "it is a directory";
            return Err(io::Error::new(io::ErrorKind::IsADirectory, what));
        }
        replacement(&place).check()
    }

    fn expiration(&self, place: &Place) -> Option<DateTime<Utc>> {
        let content = file::private(place).ok()??;
        let record = document::parse(&content).ok()?;
        Some(record.credentials.expires_at)
    }

    fn replace(&self, current: &Current, ownership: &Ownership, now: Moment) -> io::Result<()> {
        let place = Place::open(&self.path)?;
        if !ownership.owns(&place) {
            file::refuse_foreign(&place)?;
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
        replacement(&place).run(&record.render(), ownership)
    }

    fn remove(&self, place: &Place) -> io::Result<()> {
        place.remove()
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let (path, user) = (self.path.display(), geteuid().as_raw());
        let message = format!("cannot save the state in {path} as user {user}: {error}");
        not_written(message, error)
    }
}

fn replacement(place: &Place) -> Replacement<'_, impl Fn(&File) -> io::Result<()>> {
    Replacement {
        place,
        set_access: |_: &File| Ok(()),
        owner: None,
    }
}

/// A file system that takes longer hangs, and must not delay the start.
const TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
