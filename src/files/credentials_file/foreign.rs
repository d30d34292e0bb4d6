//! Protects files that ram-sidecar did not write.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::files::atomic::Staging;
use crate::files::ownership::FileVersion;
use crate::formats::format::{FILES, Format};

use super::{CredentialsFile, read};

/// Fails if the path must not be replaced: if it is a special file, a directory or, where `content_matters`, a file whose
/// content ram-sidecar did not write. The version `written` may always be replaced. Blocks.
pub(super) fn refuse(
    file: &CredentialsFile,
    content_matters: bool,
    written: Option<FileVersion>,
) -> io::Result<()> {
    let path = &file.path;
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if written == Some(FileVersion::of(&found)) {
        return Ok(());
    }
    if file.format == Format::Ossfs {
        return match Staging::of(path)?.linked(path) {
            Some(_) => Ok(()),
            None => Err(foreign(
                "it exists and is not the symbolic link that ram-sidecar makes",
            )),
        };
    }
    if path.is_dir() {
        let what = "it is a directory";
        return Err(io::Error::new(io::ErrorKind::IsADirectory, what));
    }
    let Ok(found) = fs::metadata(path) else {
        // A dangling symbolic link.
        return Ok(());
    };
    if !found.is_file() {
        return Err(io::Error::other("it exists and is not a regular file"));
    }
    // In any format: the settings may have changed.
    let is_replaceable = found.len() == 0 || holds_credentials(path) || is_given_away(file, &found);
    if content_matters && !is_replaceable {
        return Err(foreign("it exists and is not in ram-sidecar's format"));
    }
    Ok(())
}

/// Whether a file is unreadable because it belongs to its configured owner already.
fn is_given_away(file: &CredentialsFile, found: &Metadata) -> bool {
    let is_unreadable =
        File::open(&file.path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    is_unreadable && file.uid == Some(found.uid())
}

/// Whether a file contains credentials as ram-sidecar writes them, and nothing else. Blocks.
fn holds_credentials(path: &Path) -> bool {
    let content = read(path).unwrap_or_default();
    FILES
        .iter()
        .any(|(_, format)| format.expiration(&content).is_some())
}

fn foreign(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, what)
}
