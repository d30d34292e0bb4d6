//! Replaces a file atomically: a temporary file beside it is written, synced and renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::debug;

use super::ownership::Ownership;

/// Replaces the file at the path. Blocks.
///
/// The file is readable for the user of this process alone until `set_access`, which runs while it is still empty.
pub(super) fn replace(
    path: &Path,
    content: &[u8],
    set_access: &impl Fn(&File) -> io::Result<()>,
    ownership: &Ownership,
) -> io::Result<()> {
    let staging = Staging::of(path)?;
    let temporary = staging.fresh_path()?;
    let outcome = create(&temporary)
        .and_then(|file| fill(file, set_access, content))
        .and_then(|()| ownership.install(&temporary, path));
    if outcome.is_err() {
        // It may not exist; the first error is the one that matters.
        let _ = fs::remove_file(&temporary);
    }
    outcome?;
    staging.sync();
    Ok(())
}

/// Removes a file or a symbolic link, if it exists. Blocks.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Checks that a path can be written, with an empty file beside it, and removes abandoned temporary files. Blocks.
pub(super) fn check_writable(
    path: &Path,
    set_access: &impl Fn(&File) -> io::Result<()>,
    now: DateTime<Utc>,
) -> io::Result<()> {
    let staging = Staging::of(path)?;
    staging.remove_abandoned(now, &[fs::read_link(path).ok()]);
    let temporary = staging.fresh_path()?;
    let outcome = create(&temporary).and_then(|file| fill(file, set_access, b""));
    let _ = fs::remove_file(&temporary);
    outcome
}

/// Gives an empty file its owner, mode and content, and syncs it. Blocks.
pub(super) fn fill(
    mut file: File,
    set_access: &impl Fn(&File) -> io::Result<()>,
    content: &[u8],
) -> io::Result<()> {
    // Before the content: nobody else may read it even for a moment.
    set_access(&file)?;
    file.write_all(content)?;
    file.sync_all()
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// The directory of a file, and the temporary names under which its next version is prepared there.
pub(super) struct Staging<'a> {
    pub(super) directory: &'a Path,
    prefix: String,
}

impl<'a> Staging<'a> {
    pub(super) fn of(path: &'a Path) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other("the path does not name a file"));
        };
        Ok(Self {
            directory,
            prefix: format!(".{}.ram-sidecar-", name.to_string_lossy()),
        })
    }

    /// Returns an unused temporary path. It is random because two processes may write the same file on a shared volume.
    pub(super) fn fresh_path(&self) -> io::Result<PathBuf> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        Ok(self.directory.join(format!("{}{random:016x}", self.prefix)))
    }

    /// Returns the name of the temporary directory that a symbolic link refers to; nothing if it refers to another path.
    /// Blocks.
    pub(super) fn linked(&self, link: &Path) -> Option<PathBuf> {
        let target = fs::read_link(link).ok()?;
        let is_temporary =
            target.components().count() == 1 && target.to_string_lossy().starts_with(&self.prefix);
        is_temporary.then_some(target)
    }

    /// Makes a rename durable, as far as the file system can. Best effort; blocks.
    pub(super) fn sync(&self) {
        let synced = File::open(self.directory).and_then(|directory| directory.sync_all());
        if let Err(error) = synced {
            let directory = self.directory.display();
            debug!(%directory, "Cannot sync the directory of a file: {error}");
        }
    }

    /// Removes temporary files and directories that killed processes left, except those in `in_use`. Best effort; blocks.
    ///
    /// Recent ones stay: another process may be writing them.
    pub(super) fn remove_abandoned(&self, now: DateTime<Utc>, in_use: &[Option<PathBuf>]) {
        let Ok(entries) = fs::read_dir(self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_in_use = in_use.iter().flatten().any(|used| used.as_os_str() == name);
            if is_in_use || !name.to_string_lossy().starts_with(&self.prefix) {
                continue;
            }
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|at| is_abandoned(at, now)) {
                // Another process may have removed it already, or may own it.
                let path = entry.path();
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        }
    }
}

/// Whether a temporary file was modified too long ago to be still in use. A time that is not a date counts as long ago.
fn is_abandoned(modified: SystemTime, now: DateTime<Utc>) -> bool {
    let since = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let at = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    now - at > ABANDONED_AFTER
}

/// Writing a file takes milliseconds, and seconds on a slow disk.
const ABANDONED_AFTER: TimeDelta = TimeDelta::minutes(1);
