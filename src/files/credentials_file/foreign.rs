//! Protects files that ram-sidecar did not write.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::OFlags;

use crate::files::place::{FileVersion, Place};
use crate::formats::format::{FILES, Format};
use crate::system::file;

use super::{CredentialsFile, LIMIT};

/// Fails if what is there must not be replaced: if it is a special file, a directory, or a file whose content ram-sidecar did
/// not write. The version `written` may always be replaced. Blocks.
pub(super) fn refuse(
    file: &CredentialsFile,
    place: &Place,
    written: Option<FileVersion>,
) -> io::Result<()> {
    let Some(found) = place.metadata()? else {
        return Ok(());
    };
    if written == Some(FileVersion::of(&found)) {
        return Ok(());
    }
    if file.format == Format::Ossfs {
        return match place.linked() {
            Some(_) => Ok(()),
            None => Err(foreign(
                "it exists and is not the symbolic link that ram-sidecar makes",
            )),
        };
    }
    if found.is_symlink()
        && let Some(exposure) = place.exposure()
    {
        return Err(foreign(format!(
            "it is a symbolic link that another user may have placed: {exposure}"
        )));
    }
    let Some(found) = place.target_metadata()? else {
        // A dangling symbolic link.
        return Ok(());
    };
    if found.is_dir() {
        let what = "it is a directory";
        return Err(io::Error::new(io::ErrorKind::IsADirectory, what));
    }
    if !found.is_file() {
        return Err(io::Error::other("it exists and is not a regular file"));
    }
    // In any format: the settings may have changed.
    let is_replaceable =
        found.len() == 0 || holds_credentials(place) || is_given_away(file, place, &found);
    if !is_replaceable {
        return Err(foreign("it exists and is not in ram-sidecar's format"));
    }
    Ok(())
}

/// Fails if what is there belongs to somebody else than root, the configured owner, and the `user` to whom new files of this
/// process belong there: readers would trust credentials that any user can make up. Blocks.
///
/// The user is not geteuid(2): a network file system may map it to another one.
pub(super) fn refuse_owner(
    file: &CredentialsFile,
    place: &Place,
    written: Option<FileVersion>,
    user: u32,
) -> io::Result<()> {
    for found in [place.metadata()?, place.target_metadata()?] {
        let Some(found) = found.filter(|found| written != Some(FileVersion::of(found))) else {
            continue;
        };
        let owner = found.uid();
        if ![Some(0), Some(user), file.uid].contains(&Some(owner)) {
            return Err(foreign(format!("it exists and belongs to user {owner}")));
        }
    }
    Ok(())
}

/// Whether a file is unreadable because it belongs to its configured owner already.
fn is_given_away(file: &CredentialsFile, place: &Place, found: &Metadata) -> bool {
    let is_unreadable = matches!(
        place.open_regular(OFlags::empty()),
        Err(file::Error::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied
    );
    is_unreadable && file.uid == Some(found.uid())
}

/// Whether a file contains credentials as ram-sidecar writes them, and nothing else. Blocks.
fn holds_credentials(place: &Place) -> bool {
    let content = place.read(LIMIT).unwrap_or_default();
    FILES
        .iter()
        .any(|(_, format)| format.expiration(&content).is_some())
}

fn foreign(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, what.into())
}
