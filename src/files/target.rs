//! A file that a writer keeps up to date.

use std::fmt::Debug;
use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::failure::{Failure, LocalCode, Stage};
use crate::refresh::store::Current;
use crate::system::remedy;
use crate::system::resolve::UnsafeLink;
use crate::time::moment::Moment;

use super::ownership::Ownership;
use super::place::Place;

/// A file, or a directory of files, that contains credentials and their expiration.
pub trait Target: Clone + Debug + Send + Sync + 'static {
    /// Whether the file records the deadline of its credentials, and must be written again when that changes.
    const RECORDS_DEADLINE: bool;

    /// Returns its path.
    fn path(&self) -> &Path;

    /// Checks that it can be written. Blocks.
    fn check(&self) -> io::Result<()>;

    /// Reads when the credentials that are there expire; nothing if there are none. Blocks.
    fn expiration(&self, place: &Place) -> Option<DateTime<Utc>>;

    /// Replaces its credentials, and records the new version in `ownership`. Blocks.
    ///
    /// Fails after [`Self::withdraw`].
    fn replace(&self, current: &Current, ownership: &Ownership, now: Moment) -> io::Result<()>;

    /// Removes it, if it exists. Blocks.
    fn remove(&self, place: &Place) -> io::Result<()>;

    /// Explains why it cannot be written.
    fn failure(&self, error: &io::Error) -> Failure;

    /// Ends all writing, and removes the file unless another process has replaced it. Best effort; blocks.
    fn withdraw(&self, ownership: &Ownership) {
        ownership.release(self.path(), |place| {
            let _ = self.remove(place);
        });
    }
}

/// Makes the failure of a file that cannot be written, with a remedy for the error.
pub(super) fn not_written(message: String, error: &io::Error) -> Failure {
    let mut failure = Failure::new(Stage::File, LocalCode::FileNotWritten, message);
    let cause = error.get_ref();
    let unsafe_link = cause.and_then(|cause| cause.downcast_ref::<UnsafeLink>());
    let advice = match error.kind() {
        _ if unsafe_link.is_some() => {
            "name the directory itself: a link is followed only where root or this user alone can change it"
        }
        io::ErrorKind::IsADirectory => "name a file in it",
        io::ErrorKind::AlreadyExists => {
            "name another file, or remove that one: its content would be lost"
        }
        io::ErrorKind::ResourceBusy => {
            "mount the directory of the file, not the file: a mounted file cannot be replaced"
        }
        _ => match remedy::of(error) {
            Some(remedy) => remedy,
            None => return failure,
        },
    };
    failure.advice = advice.into();
    failure
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn each_error_of_the_file_system_has_its_remedy() {
        for (errno, remedy) in [
            (Errno::MFILE, "(ulimit -n)"),
            (Errno::FBIG, "(ulimit -f)"),
            (Errno::NOSPC, "free space or inodes"),
            (Errno::DQUOT, "disk quota"),
            (Errno::ROFS, "mount a volume"),
            (Errno::NOENT, "make its directory exist"),
            (Errno::ISDIR, "name a file in it"),
        ] {
            let failure = not_written("cannot write".to_owned(), &errno.into());
            assert!(failure.advice.contains(remedy), "{errno}: {failure}");
        }
    }
}
