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
use zeroize::Zeroizing;

use crate::credentials::Credentials;
use crate::failure::{Failure, OwnCode, Stage};
use crate::formats::format::Format;
use crate::formats::ossfs;
use crate::refresh::store::Current;
use crate::time::moment::Moment;

use super::atomic::Staging;
use super::ownership::{Ownership, refuse_foreign};
use super::writer::Target;

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

impl Target for Options {
    const TELLS_DEADLINE: bool = false;

    fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self, now: DateTime<Utc>) -> io::Result<()> {
        refuse_foreign(self, true, None)?;
        prepare(&self.path, &give_to(self), now)
    }

    fn expiration(&self) -> Option<DateTime<Utc>> {
        expiration(self)
    }

    fn replace(&self, current: &Current, ours: &Ownership, now: Moment) -> io::Result<()> {
        replace(self, &current.lease.credentials, ours, now.wall)
    }

    fn discard(&self) -> io::Result<()> {
        discard(self)
    }

    fn failure(&self, error: &io::Error) -> Failure {
        failure(self, error)
    }
}

/// Puts these credentials in place of the old ones, and keeps their mark on the `ownership`. Blocks.
///
/// Fails too where the ownership has been cleared: then this process wants no file any more.
pub(super) fn replace(
    options: &Options,
    credentials: &Credentials,
    ownership: &Ownership,
    now: DateTime<Utc>,
) -> io::Result<()> {
    refuse_foreign(options, options.format.may_be_foreign(), ownership.mark())?;
    if options.format != Format::Ossfs {
        let content = options.format.file(credentials);
        return put(&options.path, &content, &give_to(options), ownership);
    }
    let beside = Staging::of(&options.path)?;
    let before = beside.linked(&options.path);
    let temporary = beside.fresh()?;
    let outcome = swap(&beside, &temporary, options, credentials, ownership);
    if outcome.is_err() {
        // Also what was never made; the error that matters is the first.
        let _ = fs::remove_dir_all(&temporary);
    }
    outcome?;
    beside.sweep(now, &[beside.linked(&options.path), before]);
    beside.sync();
    Ok(())
}

/// Puts a file with this content in place of what stands at the path, and keeps its mark on the `ownership`. Blocks.
///
/// It is for the user of this process alone until `give` makes it another's, before it has any content.
pub(crate) fn put(
    path: &Path,
    content: &[u8],
    give: &impl Fn(&File) -> io::Result<()>,
    ownership: &Ownership,
) -> io::Result<()> {
    let beside = Staging::of(path)?;
    let temporary = beside.fresh()?;
    let outcome = create(&temporary)
        .and_then(|file| fill(file, give, content))
        .and_then(|()| ownership.put(&temporary, path));
    if outcome.is_err() {
        // Also what was never made; the error that matters is the first.
        let _ = fs::remove_file(&temporary);
    }
    outcome?;
    beside.sync();
    Ok(())
}

/// Writes an empty file beside the path and removes it again, and what killed predecessors left. Blocks.
pub(crate) fn prepare(
    path: &Path,
    give: &impl Fn(&File) -> io::Result<()>,
    now: DateTime<Utc>,
) -> io::Result<()> {
    let beside = Staging::of(path)?;
    beside.sweep(now, &[fs::read_link(path).ok()]);
    let temporary = beside.fresh()?;
    let outcome = create(&temporary).and_then(|file| fill(file, give, b""));
    let _ = fs::remove_file(&temporary);
    outcome
}

/// Fills a new directory, and turns the symbolic link that readers go by to it.
///
/// The directory before stays until the next time, for a reader that has opened it. One that goes by the path for each
/// file may meet the old and the new.
fn swap(
    beside: &Staging<'_>,
    directory: &Path,
    options: &Options,
    credentials: &Credentials,
    ownership: &Ownership,
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
        fill(file, &give_to(options), &content)?;
    }
    // Whoever may read a file may also look into the directory.
    let mode = options.mode | (options.mode & 0o444) >> 2;
    give(&inside, mode, options)?;
    let link = beside.fresh()?;
    symlink(name, &link)?;
    let swapped = ownership.put(&link, &options.path);
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

fn fill(mut file: File, give: &impl Fn(&File) -> io::Result<()>, content: &[u8]) -> io::Result<()> {
    // Before the content: nobody else may read it even for a moment.
    give(&file)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Returns what makes a file as the options say.
fn give_to(options: &Options) -> impl Fn(&File) -> io::Result<()> {
    |file| give(file, options.mode, options)
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

/// Removes a file, and of a directory of files all of it. Blocks.
pub(super) fn discard(options: &Options) -> io::Result<()> {
    let beside = Staging::of(&options.path)?;
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
    let mut failure = not_written(message, error);
    if error.kind() == io::ErrorKind::PermissionDenied && !owner.is_empty() {
        failure.advice = "only root may give a file away: remove uid and gid, or grant CAP_CHOWN; the directory must be writable too".into();
    }
    failure
}

/// Adds to a message what to change.
pub(crate) fn not_written(message: String, error: &io::Error) -> Failure {
    let mut failure = Failure::new(Stage::File, OwnCode::FileNotWritten, message);
    match error.kind() {
        io::ErrorKind::IsADirectory => failure.advice = "name a file in it".into(),
        io::ErrorKind::AlreadyExists => {
            failure.advice =
                "name another file, or remove that one: its content would be lost".into();
        }
        io::ErrorKind::ResourceBusy => {
            failure.advice =
                "mount the directory of the file, not the file: a mounted file cannot be replaced"
                    .into();
        }
        _ => {}
    }
    failure
}

/// No document is as large; a file that is belongs to somebody else.
const LIMIT: u64 = 1 << 20;
