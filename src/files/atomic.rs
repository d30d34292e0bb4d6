//! What stands beside a file: the names under which its successor is prepared.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::debug;

/// The directory of a file, and the names under which the file is prepared there.
pub(super) struct Staging<'a> {
    pub(super) directory: &'a Path,
    prefix: String,
}

impl<'a> Staging<'a> {
    pub(super) fn of(path: &'a Path) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other("it names no file"));
        };
        Ok(Self {
            directory,
            prefix: format!(".{}.ram-sidecar-", name.to_string_lossy()),
        })
    }

    /// Returns a name that nobody else uses: two processes may keep the same file, on a volume that they share.
    pub(super) fn fresh(&self) -> io::Result<PathBuf> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        Ok(self.directory.join(format!("{}{random:016x}", self.prefix)))
    }

    /// Returns the directory of files that a symbolic link leads to, by its name here; nothing if it is none of ours.
    pub(super) fn linked(&self, link: &Path) -> Option<PathBuf> {
        let target = fs::read_link(link).ok()?;
        let is_ours =
            target.components().count() == 1 && target.to_string_lossy().starts_with(&self.prefix);
        is_ours.then_some(target)
    }

    /// Makes a new name last. That it survives a power cut is more than some file systems promise.
    pub(super) fn sync(&self) {
        let synced = File::open(self.directory).and_then(|directory| directory.sync_all());
        if let Err(error) = synced {
            let directory = self.directory.display();
            debug!(%directory, "Cannot sync the directory of a file: {error}");
        }
    }

    /// Removes what was prepared here, but for what is `kept`: killed predecessors left it half done, or readers have
    /// finished with it. What is young belongs to a process that is at work.
    pub(super) fn sweep(&self, now: DateTime<Utc>, kept: &[Option<PathBuf>]) {
        let Ok(entries) = fs::read_dir(self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_kept = kept.iter().flatten().any(|kept| kept.as_os_str() == name);
            if is_kept || !name.to_string_lossy().starts_with(&self.prefix) {
                continue;
            }
            let modified = entry.metadata().and_then(|found| found.modified());
            if modified.is_ok_and(|at| is_abandoned(at, now)) {
                // Another process may be faster, or own it.
                let path = entry.path();
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        }
    }
}

/// Whether nobody can be at work on what was modified then. A time that is no date is long past.
fn is_abandoned(modified: SystemTime, now: DateTime<Utc>) -> bool {
    let since = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let at = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    now - at > ABANDONED
}

/// A write takes milliseconds, and seconds on a bad day.
const ABANDONED: TimeDelta = TimeDelta::minutes(1);
