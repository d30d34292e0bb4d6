//! One file, written so that nobody ever reads half of it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::debug;
use zeroize::Zeroizing;

use crate::failure::{Failure, Stage};
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

/// Puts a file with this content in place of the old one. Blocks.
pub(super) fn replace(options: &Options, content: &[u8]) -> io::Result<()> {
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

/// Removes the document that ended at `ended`, if it is there. Blocks.
///
/// Another process may keep the same file: a document that still is good at `now` stays, and its end is returned.
pub(super) fn remove(
    path: &Path,
    ended: DateTime<Utc>,
    now: DateTime<Utc>,
) -> io::Result<Option<DateTime<Utc>>> {
    if let Some(other) = expiration(path).filter(|other| *other != ended && *other > now) {
        return Ok(Some(other));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(None),
    }
}

/// Reads when the document in a file ends; nothing if there is none. Blocks.
pub(super) fn expiration(path: &Path) -> Option<DateTime<Utc>> {
    // Opening a pipe would wait for its writer.
    let is_document = fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() < LIMIT);
    let content = is_document
        .then(|| fs::read(path).map(Zeroizing::new))?
        .ok()?;
    document::expiration(&content)
}

/// Writes an empty file beside the file and removes it again, and what killed predecessors left. Blocks.
pub(super) fn check(options: &Options, now: DateTime<Utc>) -> io::Result<()> {
    if options.path.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    if fs::metadata(&options.path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it exists and is not a regular file"));
    }
    let beside = Beside::of(&options.path)?;
    beside.sweep(now);
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

    /// Removes what killed predecessors left half done; what is young belongs to a process that is at work.
    fn sweep(&self, now: DateTime<Utc>) {
        let Ok(entries) = fs::read_dir(self.directory) else {
            return;
        };
        let ours = entries.flatten().filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with(&self.prefix)
        });
        for entry in ours {
            let modified = entry.metadata().and_then(|found| found.modified());
            if modified.is_ok_and(|at| is_abandoned(at, now)) {
                // Another process may be faster, or own it.
                let _ = fs::remove_file(entry.path());
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

/// Explains what went wrong with the file.
pub(super) fn failure(options: &Options, error: &io::Error) -> Failure {
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

/// No document is as large; a file that is belongs to somebody else.
const LIMIT: u64 = 1 << 20;

/// A write takes milliseconds, and seconds on a bad day.
const ABANDONED: TimeDelta = TimeDelta::minutes(1);
