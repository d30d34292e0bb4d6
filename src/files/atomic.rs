//! Replaces a file atomically: a temporary file beside it is written, synced and renamed.

use std::fs::File;
use std::io::{self, Write as _};

use super::ownership::Ownership;
use super::place::Place;

/// How a file is replaced.
#[derive(Debug)]
pub(super) struct Replacement<'a, A> {
    pub(super) place: &'a Place,
    /// Gives an empty file that this user has made its owner and mode, and fails if it must not be used.
    pub(super) set_access: A,
    /// The owner that this gives it, if it does.
    pub(super) owner: Option<u32>,
}

impl<A: Fn(&File) -> io::Result<()>> Replacement<'_, A> {
    /// Replaces the file. Blocks.
    ///
    /// It is readable for the user of this process alone until `set_access`, which runs while it is still empty.
    pub(super) fn run(&self, content: &[u8], ownership: &Ownership) -> io::Result<()> {
        self.write(content, Some(ownership))
    }

    /// Checks that the file can be replaced, with an empty file beside it. Blocks.
    pub(super) fn check(&self) -> io::Result<()> {
        self.write(b"", None)
    }

    fn write(&self, content: &[u8], ownership: Option<&Ownership>) -> io::Result<()> {
        let writing = self.place.writing();
        let (file, temporary) = self.place.create_temporary()?;
        let own = file.metadata();
        let outcome = fill(file, &self.set_access, content).and_then(|()| match ownership {
            Some(ownership) => ownership.install(self.place, &temporary),
            None => Ok(()),
        });
        if ownership.is_none() || outcome.is_err() {
            // It may not exist; the first error is the one that matters.
            self.place.remove_temporary(&temporary);
        }
        outcome?;
        self.place.finish(writing, &own?, self.owner, None);
        Ok(())
    }
}

/// Gives an empty file its owner, mode and content, and syncs it. Blocks.
pub(super) fn fill(
    mut file: File,
    set_access: &impl Fn(&File) -> io::Result<()>,
    content: &[u8],
) -> io::Result<()> {
    // Before the content: nobody else may read it even for a moment.
    set_access(&file)?;
    file.write_all(content)?;
    file.sync_all()
}
