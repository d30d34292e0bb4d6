//! Which files are ours: those may be replaced and removed, and no others.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::formats::format::{FILES, Format};

use super::atomic::Staging;
use super::credentials_file::{Options, content, discard};

/// What tells a file, or a symbolic link, from another that has taken its place, and from itself after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileVersion {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl FileVersion {
    /// Looks at what stands at a path. Blocks.
    pub(super) fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path)
            .ok()
            .map(|found| Self::of(&found))
    }

    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec()),
            size: found.size(),
        }
    }
}

/// What this process wrote last, and whether it may write on.
#[derive(Clone, Debug, Default)]
pub struct Ownership(Arc<Mutex<OwnershipState>>);

#[derive(Debug, Default)]
struct OwnershipState {
    mark: Option<FileVersion>,
    is_cleared: bool,
}

impl Ownership {
    pub(super) fn mark(&self) -> Option<FileVersion> {
        self.slot().mark
    }

    /// Whether what stands at a path is what this process wrote last. Blocks.
    pub fn holds(&self, path: &Path) -> bool {
        let mark = self.mark();
        mark.is_some() && mark == FileVersion::at(path)
    }

    /// Renames what is ready, and remembers it. Blocks.
    ///
    /// Fails after [`Self::clear`]: the two exclude each other, however long the file system takes.
    pub(super) fn put(&self, ready: &Path, path: &Path) -> io::Result<()> {
        let mut slot = self.slot();
        if slot.is_cleared {
            return Err(io::Error::other("this process is about to end"));
        }
        // Of what is closed: some file systems date a file only then.
        let mark = FileVersion::at(ready);
        fs::rename(ready, path)?;
        slot.mark = mark;
        Ok(())
    }

    /// Ends all writing, and removes what was written last, unless somebody else has replaced it. Best effort; blocks.
    pub fn clear(&self, options: &Options) {
        let mut slot = self.slot();
        slot.is_cleared = true;
        let mark = slot.mark.take();
        if mark.is_some() && mark == FileVersion::at(&options.path) {
            let _ = discard(options);
        }
    }

    fn slot(&self) -> MutexGuard<'_, OwnershipState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fails where something stands at the path that must not be replaced: a special file, a directory, or, if that
/// `matters`, what somebody else keeps there and would miss. What this process wrote last has the mark `known`.
pub(super) fn refuse_foreign(
    options: &Options,
    matters: bool,
    known: Option<FileVersion>,
) -> io::Result<()> {
    let path = &options.path;
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if known == Some(FileVersion::of(&found)) {
        return Ok(());
    }
    if options.format == Format::Ossfs {
        return match Staging::of(path)?.linked(path) {
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
    let Ok(target) = fs::metadata(path) else {
        // A link that leads nowhere.
        return Ok(());
    };
    if !target.is_file() {
        return Err(io::Error::other("it exists and is not a regular file"));
    }
    // In whatever format: the settings may have changed.
    let is_ours = target.len() == 0 || is_credentials(path) || is_given_away(options, &target);
    if matters && !is_ours {
        return Err(foreign("it exists and is not as ram-sidecar writes it"));
    }
    Ok(())
}

/// Whether a file cannot be read because it was given to the user for whom it is: a predecessor wrote it.
fn is_given_away(options: &Options, found: &Metadata) -> bool {
    let is_unreadable = File::open(&options.path)
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    is_unreadable && options.uid == Some(found.uid())
}

/// Whether a file holds credentials as this program writes them, and nothing else. Blocks.
fn is_credentials(path: &Path) -> bool {
    let content = content(path).unwrap_or_default();
    FILES
        .iter()
        .any(|(_, format)| format.expiration(&content).is_some())
}

fn foreign(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, what)
}
