//! Reading a file for a step.

use std::fmt::{self, Display, Formatter};

use secrecy::SecretString;

use super::found::of_name;
use super::surroundings::{FileState, Surroundings};
use super::{On, Outcome, Remedy};

/// A file that a client reads; displayed, what may be shown of its path.
pub(super) struct Path {
    path: String,
    name: String,
}

impl Path {
    /// Returns a file at a place that the client itself knows.
    pub(super) fn at(path: String) -> Self {
        Self {
            name: path.clone(),
            path,
        }
    }

    /// Returns the file that a setting names, which may hold the content instead of a path.
    pub(super) fn named(path: impl Into<String>, setting: &str) -> Self {
        Self {
            path: path.into(),
            name: format!("the file that {setting} names"),
        }
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Reads a file, or returns what becomes of the step without it.
pub(super) fn read(
    at: &Surroundings<'_>,
    path: &Path,
    remedy: Remedy,
) -> Result<SecretString, Outcome> {
    match (at.file)(&path.path) {
        FileState::Text(text) | FileState::Garbled(text) => Ok(text),
        FileState::Missing => Err(Outcome::Absent(format!("{path} does not exist"))),
        FileState::Unreadable(reason) => {
            Err(Outcome::Skipped(format!("cannot read {path}: {reason}")))
        }
        FileState::Unseen => {
            let identity = format!("the credentials in {path}");
            Err(Outcome::Depends(
                of_name(identity, false, remedy),
                On::Unseen,
            ))
        }
    }
}

/// Why a client in Python cannot use the bytes of a file, if it cannot.
pub(super) fn decoding_failure(at: &Surroundings<'_>, path: &Path) -> Option<String> {
    let is_garbled = matches!((at.file)(&path.path), FileState::Garbled(_));
    is_garbled.then(|| format!("{path} is not UTF-8 text"))
}

/// Whether a file can be read, which may also be out of sight.
pub(super) fn is_readable(at: &Surroundings<'_>, path: &Path) -> Result<(), String> {
    match (at.file)(&path.path) {
        FileState::Text(_) | FileState::Garbled(_) | FileState::Unseen => Ok(()),
        FileState::Missing => Err(format!("{path} does not exist")),
        FileState::Unreadable(reason) => Err(format!("cannot read {path}: {reason}")),
    }
}
