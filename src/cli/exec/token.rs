//! A file with a token, for AWS clients that ask for credentials only if one is configured, as those of Rust's
//! `object_store` do.
//!
//! This process does not check the token, because its path is a secret already. The file is readable for everyone: the
//! command may have another user.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The file. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct PlaceholderToken(PathBuf);

impl PlaceholderToken {
    /// Writes it below the first directory that allows it, under a name that nobody else knows. Blocks.
    pub(super) fn create(name: &str) -> io::Result<Self> {
        let directories = [std::env::temp_dir(), PathBuf::from("/dev/shm")];
        // An empty TMPDIR would mean the working directory.
        let directories = directories.into_iter().filter(|path| path.is_absolute());
        let mut outcome = Err(io::ErrorKind::NotFound.into());
        for directory in directories {
            outcome = write(directory.join(format!("ram-sidecar-{name}")));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PlaceholderToken {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn write(path: PathBuf) -> io::Result<PlaceholderToken> {
    let mut file = File::create_new(&path)?;
    let token = PlaceholderToken(std::path::absolute(path)?);
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(TOKEN)?;
    Ok(token)
}

/// Without a line break, which several clients would send in a header.
const TOKEN: &[u8] = b"ram-sidecar";
