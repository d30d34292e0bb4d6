//! The version of a file that this process wrote last, which it may replace and remove.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;

use super::place::{FileVersion, Place};

/// The version of a file that this process wrote last, and whether it may still write.
#[derive(Clone, Debug, Default)]
pub struct Ownership(Arc<Mutex<OwnershipState>>);

#[derive(Debug, Default)]
struct OwnershipState {
    written: Option<FileVersion>,
    /// The directory in which it was written.
    directory: Option<(u64, u64)>,
    is_released: bool,
}

impl Ownership {
    /// Returns the version that this process wrote last.
    pub(super) fn written(&self) -> Option<FileVersion> {
        self.lock().written
    }

    /// Whether this process wrote the version that is there. Blocks.
    pub(super) fn owns(&self, place: &Place) -> bool {
        let written = self.written();
        written.is_some() && written == place.version()
    }

    /// Puts a finished temporary file in place, records its version, and logs if the directory is another one than at the last
    /// time. Blocks.
    ///
    /// Fails after [`Self::release`]: the two exclude each other, however long the file system takes.
    pub(super) fn install(&self, place: &Place, finished: &OsStr) -> io::Result<()> {
        let mut state = self.lock();
        if state.is_released {
            return Err(io::Error::other("this process is shutting down"));
        }
        state.written = place.install(finished)?;
        let directory = place.directory_id().ok();
        if state.directory.is_some() && state.directory != directory {
            warn!(
                path = %place.path().display(),
                advice = "if no volume was mounted again, look who owns the directories of its path",
                "The directory of the file was replaced, and the file is written into the new one"
            );
        }
        state.directory = directory;
        Ok(())
    }

    /// Ends all writing, and calls `remove` if this process wrote the version that is there. Blocks.
    pub(super) fn release(&self, path: &Path, remove: impl FnOnce(&Place)) {
        let mut state = self.lock();
        state.is_released = true;
        let written = state.written.take();
        if written.is_some()
            && let Ok(place) = Place::open(path)
            && written == place.version()
        {
            remove(&place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, OwnershipState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
