//! One file, or one directory of files, written so that nobody ever reads half of it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, symlink,
};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::debug;
use zeroize::Zeroizing;

use crate::credentials::Credentials;
use crate::failure::{Failure, Stage};
use crate::view::format::Format;
use crate::view::ossfs;

/// One file to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it is. Its directory exists.
    pub path: PathBuf,
    /// What it holds; [`Format::Ossfs`] makes it a directory of files.
    pub format: Format,
    /// Its permissions.
    pub mode: u32,
    /// Its owner, if not the user of this process.
    pub uid: Option<u32>,
    /// Its group, if not the group of this process.
    pub gid: Option<u32>,
}

/// Puts these credentials in place of the old ones. Blocks.
pub(super) fn replace(
    options: &Options,
    credentials: &Credentials,
    now: DateTime<Utc>,
) -> io::Result<()> {
    refuse_foreign(options, options.format.may_be_foreign())?;
    let beside = Beside::of(&options.path)?;
    let temporary = beside.fresh()?;
    let outcome = match options.format {
        Format::Ossfs => swap(&beside, &temporary, options, credentials, now),
        format => fill(&temporary, options, &format.file(credentials))
            .and_then(|()| fs::rename(&temporary, &options.path)),
    };
    if outcome.is_err() {
        // Also what was never made; the error that matters is the first.
        let _ = fs::remove_file(&temporary).or_else(|_| fs::remove_dir_all(&temporary));
    }
    outcome?;
    // The new file is in place. That its name survives a power cut is more than some file systems promise.
    let synced = File::open(beside.directory).and_then(|directory| directory.sync_all());
    if let Err(error) = synced {
        debug!(path = %options.path.display(), "Cannot sync the directory of the file: {error}");
    }
    Ok(())
}

/// Fills a new directory, and turns the symbolic link that readers go by to it.
///
/// The directory before stays until the next time, for a reader that has opened it. One that goes by the path for each
/// file may meet the old and the new.
fn swap(
    beside: &Beside<'_>,
    directory: &Path,
    options: &Options,
    credentials: &Credentials,
    now: DateTime<Utc>,
) -> io::Result<()> {
    // Whoever may read a file may also look into the directory.
    let mode = options.mode | (options.mode & 0o444) >> 2;
    DirBuilder::new().mode(0o700).create(directory)?;
    for (name, content) in ossfs::render(credentials) {
        fill(&directory.join(name), options, &content)?;
    }
    fs::set_permissions(directory, Permissions::from_mode(mode))?;
    if options.uid.is_some() || options.gid.is_some() {
        fchown(File::open(directory)?, options.uid, options.gid)?;
    }
    let before = beside.linked(&options.path);
    let link = beside.fresh()?;
    let target = directory.file_name().unwrap_or_default();
    symlink(target, &link)?;
    if let Err(error) = fs::rename(&link, &options.path) {
        let _ = fs::remove_file(&link);
        return Err(error);
    }
    beside.sweep(now, &[Some(PathBuf::from(target)), before]);
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

/// Removes the document that ends at `ended`, if it is there. Blocks.
///
/// Another process may keep the same file: a document that still is good at `now` stays, and its end is returned.
pub(super) fn remove(
    options: &Options,
    ended: DateTime<Utc>,
    now: DateTime<Utc>,
) -> io::Result<Option<DateTime<Utc>>> {
    if let Some(other) = expiration(options).filter(|other| *other != ended && *other > now) {
        return Ok(Some(other));
    }
    let beside = Beside::of(&options.path)?;
    let directory = beside.linked(&options.path);
    if options.format == Format::Ossfs && directory.is_none() {
        // It is gone, or somebody else's.
        return Ok(None);
    }
    match fs::remove_file(&options.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(name) = directory {
        // Best effort: what is left over is swept away next time.
        let _ = fs::remove_dir_all(beside.directory.join(name));
        beside.sweep(now, &[]);
    }
    Ok(None)
}

/// Reads when the document in a file ends; nothing if there is none. Blocks.
pub(super) fn expiration(options: &Options) -> Option<DateTime<Utc>> {
    let path = match options.format {
        Format::Ossfs => options.path.join(ossfs::EXPIRATION),
        _ => options.path.clone(),
    };
    // Opening a pipe would wait for its writer.
    let is_document = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() < LIMIT);
    let content = is_document
        .then(|| fs::read(&path).map(Zeroizing::new))?
        .ok()?;
    options.format.expiration(&content)
}

/// Writes an empty file beside the file and removes it again, and what killed predecessors left. Blocks.
pub(super) fn check(options: &Options, now: DateTime<Utc>) -> io::Result<()> {
    refuse_foreign(options, true)?;
    let beside = Beside::of(&options.path)?;
    beside.sweep(now, &[fs::read_link(&options.path).ok()]);
    let temporary = beside.fresh()?;
    let outcome = fill(&temporary, options, b"");
    let _ = fs::remove_file(&temporary);
    outcome
}

/// Fails where something stands at the path that this process must not replace: a special file, a directory, or, if that
/// `matters`, what somebody else keeps there and would miss.
fn refuse_foreign(options: &Options, matters: bool) -> io::Result<()> {
    let path = &options.path;
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if options.format == Format::Ossfs {
        return match Beside::of(path)?.linked(path) {
            Some(_) => Ok(()),
            None => Err(foreign(
                "it exists and is not the symbolic link that ram-sidecar makes",
            )),
        };
    }
    if path.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory",
        ));
    }
    let target = fs::metadata(path).unwrap_or(found);
    if !target.is_file() && !target.is_symlink() {
        return Err(io::Error::other("it exists and is not a regular file"));
    }
    if matters && target.len() > 0 && expiration(options).is_none() {
        return Err(foreign("it exists and is not as ram-sidecar writes it"));
    }
    Ok(())
}

fn foreign(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, what)
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

    /// Returns the directory of files that a symbolic link leads to, by its name here; nothing if it is none of ours.
    fn linked(&self, link: &Path) -> Option<PathBuf> {
        let target = fs::read_link(link).ok()?;
        let is_ours =
            target.components().count() == 1 && target.to_string_lossy().starts_with(&self.prefix);
        is_ours.then_some(target)
    }

    /// Removes what was prepared here, but for what is `kept`: killed predecessors left it half done, or readers have
    /// finished with it. What is young belongs to a process that is at work.
    fn sweep(&self, now: DateTime<Utc>, kept: &[Option<PathBuf>]) {
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
    if error.kind() == io::ErrorKind::IsADirectory {
        failure.advice = "name a file in it".into();
    } else if error.kind() == io::ErrorKind::AlreadyExists {
        failure.advice = "name another file, or remove that one: its content would be lost".into();
    } else if error.kind() == io::ErrorKind::ResourceBusy {
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
