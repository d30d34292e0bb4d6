//! The directory of files that ossfs reads: a symbolic link that is redirected from one complete directory to the next.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{Dir, Mode, OFlags, mkdirat, openat, symlinkat};

use crate::credentials::Credentials;
use crate::files::atomic::fill;
use crate::files::ownership::Ownership;
use crate::files::place::Place;
use crate::formats::ossfs;

use super::{CredentialsFile, foreign};

/// Replaces the directory, and removes those before the previous one. Blocks.
pub(super) fn replace(
    target: &CredentialsFile,
    place: &Place,
    credentials: &Credentials,
    ownership: &Ownership,
) -> io::Result<()> {
    let writing = place.writing();
    let previous = place.linked();
    let temporary = place.temporary_name()?;
    let outcome = swap(place, &temporary, target, credentials, ownership);
    if outcome.is_err() {
        // It may not exist; the first error is the one that matters.
        place.remove_temporary(&temporary);
    }
    place.finish(writing, &outcome?, target.uid, previous);
    Ok(())
}

/// Removes the symbolic link and its directories; anything else that is there remains unchanged. Blocks.
pub(super) fn remove(target: &CredentialsFile, place: &Place) -> io::Result<()> {
    if place.linked().is_none() {
        return Ok(());
    }
    let writing = place.writing();
    let own = place.metadata()?;
    place.remove()?;
    // Also the previous directory.
    if let Some(own) = own {
        place.finish(writing, &own, target.uid, None);
    }
    Ok(())
}

/// Fills a new directory, redirects the symbolic link to it, and describes the directory as it was made.
///
/// The previous directory stays until the next replacement, for a reader that has opened it. A reader that opens each
/// file by its path may read old and new ones.
fn swap(
    place: &Place,
    name: &OsStr,
    target: &CredentialsFile,
    credentials: &Credentials,
    ownership: &Ownership,
) -> io::Result<Metadata> {
    mkdirat(place.directory(), name, Mode::RWXU)?;
    let inside = place.open_temporary_directory(name)?;
    let own = inside.metadata()?;
    // Another user with write access could put a directory in its place, to be given its files.
    if !is_empty(&inside)? {
        return Err(replaced());
    }
    foreign::refuse_owner(target, place, ownership.written(), own.uid())?;
    for (name, content) in ossfs::render(credentials) {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = File::from(openat(&inside, name, flags, Mode::RUSR | Mode::WUSR)?);
        // Not compared with geteuid(2): a network file system may map this user to another one.
        if file.metadata()?.uid() != own.uid() {
            return Err(replaced());
        }
        fill(
            file,
            &|file| target.set_owner_and_mode(file, target.mode),
            &content,
        )?;
    }
    // Users who may read a file may also list the directory.
    let mode = target.mode | (target.mode & 0o444) >> 2;
    target.set_owner_and_mode(&inside, mode)?;
    let link = place.temporary_name()?;
    symlinkat(name, place.directory(), &link)?;
    let installed = ownership.install(place, &link);
    if installed.is_err() {
        place.remove_temporary(&link);
    }
    installed.map(|()| own)
}

fn is_empty(directory: &File) -> io::Result<bool> {
    for entry in Dir::read_from(directory)? {
        if ![c".", c".."].contains(&entry?.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn replaced() -> io::Error {
    io::Error::other("another user has replaced the new directory")
}
