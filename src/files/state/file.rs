//! The file of a state. Its owner and mode are read from the open descriptor, because the file may be replaced meanwhile.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use chrono::{DateTime, Utc};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::files::place::Place;
use crate::system::file;

use super::Refusal;
use super::document::is_state;

/// Reads a file that only this user can read and write; nothing if it does not exist. Blocks.
pub(super) fn private(place: &Place) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
    let file = match open_regular(place) {
        Err(Refusal::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        opened => opened?,
    };
    let found = file.metadata().map_err(Refusal::Unreadable)?;
    let (owner, user) = (found.uid(), geteuid().as_raw());
    if owner != user {
        return Err(Refusal::Owner { owner, user });
    }
    let mode = found.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Refusal::Mode(mode));
    }
    Ok(Some(file::read(file, LIMIT)?))
}

/// Fails if what is there is not a state: it must not be replaced. Blocks.
pub(super) fn refuse_foreign(place: &Place) -> io::Result<()> {
    let foreign = |what| io::Error::new(io::ErrorKind::AlreadyExists, what);
    let content = match open_regular(place) {
        // The rename replaces the link, not the file that it leads to.
        Err(Refusal::Link) => return Ok(()),
        Err(Refusal::Kind) => return Err(foreign("it exists and is not a regular file")),
        Err(Refusal::Unreadable(error)) => {
            return match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            };
        }
        Err(other) => return Err(io::Error::other(other.to_string())),
        Ok(file) => match file::read(file, LIMIT) {
            Err(file::Error::TooLarge(_)) => Zeroizing::default(),
            Err(file::Error::Io(error)) => return Err(error),
            read => read.map_err(|error| io::Error::other(error.to_string()))?,
        },
    };
    if is_state(&content) {
        return Ok(());
    }
    Err(foreign("it exists and is not in ram-sidecar's format"))
}

/// Returns when a file or its metadata was last changed; the far future if that is unknown. Blocks.
pub(super) fn changed_at(path: &Path) -> DateTime<Utc> {
    let changed = fs::metadata(path).ok().and_then(|found| {
        let nanoseconds = u32::try_from(found.ctime_nsec()).ok()?;
        DateTime::from_timestamp(found.ctime(), nanoseconds)
    });
    changed.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn open_regular(place: &Place) -> Result<File, Refusal> {
    match place.open_regular(OFlags::NOFOLLOW) {
        Err(file::Error::Io(error)) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
            Err(Refusal::Link)
        }
        opened => Ok(opened?),
    }
}

impl From<file::Error> for Refusal {
    fn from(error: file::Error) -> Self {
        match error {
            file::Error::Io(error) => Self::Unreadable(error),
            file::Error::NotRegular => Self::Kind,
            file::Error::TooLarge(_) => Self::Size,
        }
    }
}

/// Far more bytes than a state has; tokens have some thousand characters.
const LIMIT: usize = 1 << 20;
