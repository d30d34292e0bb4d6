//! Which files are ours: those may be replaced and removed, and no others.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::view::format::Format;

use super::beside::Beside;
use super::file::{Options, expiration};

/// What tells a file, or a symbolic link, from another that has taken its place, and from itself after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Mark {
    /// Looks at what stands at a path. Blocks.
    pub(super) fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path)
            .ok()
            .map(|found| Self::of(&found))
    }

    pub(super) fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec()),
            size: found.size(),
        }
    }
}

/// Fails where something stands at the path that must not be replaced: a special file, a directory, or, if that
/// `matters`, what somebody else keeps there and would miss. What this process wrote last has the mark `known`.
pub(super) fn refuse_foreign(
    options: &Options,
    matters: bool,
    known: Option<Mark>,
) -> io::Result<()> {
    let path = &options.path;
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if known == Some(Mark::of(&found)) {
        return Ok(());
    }
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
    let is_ours =
        target.len() == 0 || expiration(options).is_some() || is_given_away(options, &target);
    if matters && !is_ours {
        return Err(foreign("it exists and is not as ram-sidecar writes it"));
    }
    Ok(())
}

/// Whether a file cannot be read because it was given to the user for whom it is: a predecessor wrote it.
fn is_given_away(options: &Options, found: &Metadata) -> bool {
    let is_unreadable = File::open(&options.path)
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    is_unreadable && options.uid == Some(found.uid()) && found.mode() & 0o7777 == options.mode
}

fn foreign(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, what)
}
