//! One file, or one directory of files, written so that nobody ever reads half of it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, symlink,
};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::process::geteuid;
use tracing::debug;
use zeroize::Zeroizing;

use crate::credentials::Credentials;
use crate::failure::{Failure, Stage};
use crate::view::format::Format;
use crate::view::ossfs;

use super::beside::Beside;
use super::own::{Mark, Shelf, refuse_foreign};

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

/// Puts these credentials in place of the old ones, and keeps their mark on the `shelf`. Blocks.
///
/// Fails too where the shelf has been cleared: then this process wants no file any more.
pub(super) fn replace(
    options: &Options,
    credentials: &Credentials,
    shelf: &Shelf,
    now: DateTime<Utc>,
) -> io::Result<()> {
    refuse_foreign(options, options.format.may_be_foreign(), shelf.mark())?;
    let beside = Beside::of(&options.path)?;
    let before = beside.linked(&options.path);
    let temporary = beside.fresh()?;
    let outcome = match options.format {
        Format::Ossfs => swap(&beside, &temporary, options, credentials, shelf),
        format => create(&temporary)
            .and_then(|file| fill(file, options, &format.file(credentials)))
            .and_then(|()| shelf.put(&temporary, &options.path)),
    };
    if outcome.is_err() {
        // Also what was never made; the error that matters is the first.
        let _ = fs::remove_file(&temporary).or_else(|_| fs::remove_dir_all(&temporary));
    }
    outcome?;
    if options.format == Format::Ossfs {
        beside.sweep(now, &[beside.linked(&options.path), before]);
    }
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
    shelf: &Shelf,
) -> io::Result<()> {
    let name = directory.file_name().unwrap_or_default();
    // By descriptors from here on: where others may write beside it, they may put another directory in its place.
    let parent = File::open(beside.directory)?;
    mkdirat(&parent, name, Mode::RWXU)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = File::from(openat(&parent, name, flags, Mode::empty())?);
    let owner = inside.metadata()?.uid();
    for (name, content) in ossfs::render(credentials) {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = File::from(openat(&inside, name, flags, Mode::RUSR | Mode::WUSR)?);
        // Compared with each other: a network file system may have its own idea of who this process is.
        if file.metadata()?.uid() != owner {
            let what = "somebody else has put another directory in the place of the new one";
            return Err(io::Error::other(what));
        }
        fill(file, options, &content)?;
    }
    // Whoever may read a file may also look into the directory.
    let mode = options.mode | (options.mode & 0o444) >> 2;
    give(&inside, mode, options)?;
    let link = beside.fresh()?;
    symlink(name, &link)?;
    let swapped = shelf.put(&link, &options.path);
    if swapped.is_err() {
        let _ = fs::remove_file(&link);
    }
    swapped
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn fill(mut file: File, options: &Options, content: &[u8]) -> io::Result<()> {
    // Before the content: nobody else may read it even for a moment.
    give(&file, options.mode, options)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Sets owner and mode. Not by open(2): the umask would have its say.
///
/// The group first: it is not to be let in that was there before. The user last: only root may change the mode of what
/// it has given away.
fn give(file: &File, mode: u32, options: &Options) -> io::Result<()> {
    if options.gid.is_some() {
        fchown(file, None, options.gid)?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    if options.uid.is_some() {
        fchown(file, options.uid, None)?;
    }
    Ok(())
}

/// Removes the document that ends at `ended` and has the mark `known`, if it is there. Blocks.
///
/// Another process may keep the same file: a document that still is good at `now` stays, and its end is returned. What is
/// no such document stays too.
pub(super) fn remove(
    options: &Options,
    ended: DateTime<Utc>,
    known: Option<Mark>,
    now: DateTime<Utc>,
) -> io::Result<Option<DateTime<Utc>>> {
    let is_ours = known.is_some() && known == Mark::at(&options.path);
    match expiration(options) {
        _ if is_ours => discard(options)?,
        Some(other) if other != ended && other > now => return Ok(Some(other)),
        Some(_) => discard(options)?,
        None => {}
    }
    Ok(None)
}

/// Removes a file, and of a directory of files all of it. Blocks.
pub(super) fn discard(options: &Options) -> io::Result<()> {
    let beside = Beside::of(&options.path)?;
    let directory = beside.linked(&options.path);
    if options.format == Format::Ossfs && directory.is_none() {
        // It is gone, or somebody else's.
        return Ok(());
    }
    match fs::remove_file(&options.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(name) = directory.filter(|_| options.format == Format::Ossfs) {
        // Best effort: what is left over is swept away next time.
        let _ = fs::remove_dir_all(beside.directory.join(name));
    }
    Ok(())
}

/// Reads when the document in a file ends; nothing if there is none. Blocks.
pub(super) fn expiration(options: &Options) -> Option<DateTime<Utc>> {
    let path = match options.format {
        Format::Ossfs => options.path.join(ossfs::EXPIRATION),
        _ => options.path.clone(),
    };
    options.format.expiration(&content(&path)?)
}

/// Reads a file that may be one of credentials. Blocks.
pub(super) fn content(path: &Path) -> Option<Zeroizing<Vec<u8>>> {
    // Opening a pipe would wait for its writer.
    let is_document = fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() < LIMIT);
    let content = is_document.then(|| fs::read(path))?.ok()?;
    Some(Zeroizing::new(content))
}

/// Writes an empty file beside the file and removes it again, and what killed predecessors left. Blocks.
pub(super) fn check(options: &Options, now: DateTime<Utc>) -> io::Result<()> {
    refuse_foreign(options, true, None)?;
    let beside = Beside::of(&options.path)?;
    beside.sweep(now, &[fs::read_link(&options.path).ok()]);
    let temporary = beside.fresh()?;
    let outcome = create(&temporary).and_then(|file| fill(file, options, b""));
    let _ = fs::remove_file(&temporary);
    outcome
}

/// Explains what went wrong with the file.
pub(super) fn failure(options: &Options, error: &io::Error) -> Failure {
    let path = options.path.display();
    let user = geteuid().as_raw();
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
