//! The version of a file that this process wrote last, which it may replace and remove.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The version of a file or of a symbolic link. A change or a replacement makes another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileVersion {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl FileVersion {
    /// Reads the version of the file at a path; nothing if it does not exist. Blocks.
    pub(super) fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path)
            .ok()
            .map(|metadata| Self::of(&metadata))
    }

    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
        }
    }
}

/// The version of a file that this process wrote last, and whether it may still write.
#[derive(Clone, Debug, Default)]
pub struct Ownership(Arc<Mutex<OwnershipState>>);

#[derive(Debug, Default)]
struct OwnershipState {
    written: Option<FileVersion>,
    is_released: bool,
}

impl Ownership {
    /// Returns the version that this process wrote last.
    pub(super) fn written(&self) -> Option<FileVersion> {
        self.lock().written
    }

    /// Whether this process wrote the version at a path. Blocks.
    pub(super) fn owns(&self, path: &Path) -> bool {
        let written = self.written();
        written.is_some() && written == FileVersion::at(path)
    }

    /// Renames a finished file to its path, and records its version. Blocks.
    ///
    /// Fails after [`Self::release`]: the two exclude each other, however long the file system takes.
    pub(super) fn install(&self, finished: &Path, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.is_released {
            return Err(io::Error::other("this process is shutting down"));
        }
        // After the file was closed: some file systems set the modification time only then.
        let version = FileVersion::at(finished);
        fs::rename(finished, path)?;
        state.written = version;
        Ok(())
    }

    /// Ends all writing, and calls `remove` if this process wrote the version at the path. Blocks.
    pub(super) fn release(&self, path: &Path, remove: impl FnOnce()) {
        let mut state = self.lock();
        state.is_released = true;
        let written = state.written.take();
        if written.is_some() && written == FileVersion::at(path) {
            remove();
        }
    }

    fn lock(&self) -> MutexGuard<'_, OwnershipState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
