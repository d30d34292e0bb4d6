//! The directory of files that ossfs reads: a symbolic link that is redirected from one complete directory to the next.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use chrono::{DateTime, Utc};
use rustix::fs::{Mode, OFlags, mkdirat, openat};

use crate::credentials::Credentials;
use crate::files::atomic::{self, Staging, fill};
use crate::files::ownership::Ownership;
use crate::formats::ossfs;

use super::CredentialsFile;

/// Replaces the directory, and removes those before the previous one. Blocks.
pub(super) fn replace(
    target: &CredentialsFile,
    credentials: &Credentials,
    ownership: &Ownership,
    now: DateTime<Utc>,
) -> io::Result<()> {
    let staging = Staging::of(&target.path)?;
    let previous = staging.linked(&target.path);
    let temporary = staging.fresh_path()?;
    let outcome = swap(&staging, &temporary, target, credentials, ownership);
    if outcome.is_err() {
        // It may not exist; the first error is the one that matters.
        let _ = fs::remove_dir_all(&temporary);
    }
    outcome?;
    staging.remove_abandoned(now, &[staging.linked(&target.path), previous]);
    staging.sync();
    Ok(())
}

/// Removes the symbolic link and its directory; anything else at the path remains unchanged. Blocks.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let staging = Staging::of(path)?;
    let Some(name) = staging.linked(path) else {
        return Ok(());
    };
    atomic::remove(path)?;
    // Best effort: the next replacement removes what is left.
    let _ = fs::remove_dir_all(staging.directory.join(name));
    Ok(())
}

/// Fills a new directory, and redirects the symbolic link to it.
///
/// The previous directory stays until the next replacement, for a reader that has opened it. A reader that opens each
/// file by its path may read old and new ones.
fn swap(
    staging: &Staging<'_>,
    directory: &Path,
    target: &CredentialsFile,
    credentials: &Credentials,
    ownership: &Ownership,
) -> io::Result<()> {
    let name = directory.file_name().unwrap_or_default();
    // By descriptors: another user with write access could replace the directory between two uses of its path.
    let parent = File::open(staging.directory)?;
    mkdirat(&parent, name, Mode::RWXU)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = File::from(openat(&parent, name, flags, Mode::empty())?);
    let owner = inside.metadata()?.uid();
    for (name, content) in ossfs::render(credentials) {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = File::from(openat(&inside, name, flags, Mode::RUSR | Mode::WUSR)?);
        // Not compared with geteuid(2): a network file system may map this user to another one.
        if file.metadata()?.uid() != owner {
            let what = "another user has replaced the new directory";
            return Err(io::Error::other(what));
        }
        fill(file, &target.set_access(), &content)?;
    }
    // Users who may read a file may also list the directory.
    let mode = target.mode | (target.mode & 0o444) >> 2;
    target.set_owner_and_mode(&inside, mode)?;
    let link = staging.fresh_path()?;
    symlink(name, &link)?;
    let installed = ownership.install(&link, &target.path);
    if installed.is_err() {
        let _ = fs::remove_file(&link);
    }
    installed
}
