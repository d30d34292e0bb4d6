//! A file, or for ossfs a directory of files, from which clients read credentials.

mod directory;
mod foreign;

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::process::geteuid;

use crate::credentials::Credentials;
use crate::failure::Failure;
use crate::formats::format::Format;
use crate::formats::ossfs;
use crate::refresh::store::Current;
use crate::time::moment::Moment;

use super::atomic::Replacement;
use super::ownership::Ownership;
use super::place::{FileVersion, Place};
use super::target::{Target, not_written};

/// One file of credentials, as the settings describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsFile {
    /// Its path. The directory must exist.
    pub path: PathBuf,
    /// Its format; [`Format::Ossfs`] makes it a directory of files.
    pub format: Format,
    /// Its permissions.
    pub mode: u32,
    /// Its owner, if not the user of this process.
    pub uid: Option<u32>,
    /// Its group, if not the group of this process.
    pub gid: Option<u32>,
}

impl Target for CredentialsFile {
    const RECORDS_DEADLINE: bool = false;

    fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self) -> io::Result<()> {
        let place = Place::open(&self.path)?;
        foreign::refuse(self, &place, None)?;
        self.replacement(&place, None).check()
    }

    fn expiration(&self, place: &Place) -> Option<DateTime<Utc>> {
        let content = match self.format {
            Format::Ossfs => place.read_linked(ossfs::EXPIRATION, LIMIT),
            _ => place.read(LIMIT),
        };
        self.format.expiration(&content?)
    }

    fn replace(&self, current: &Current, ownership: &Ownership, _: Moment) -> io::Result<()> {
        self.write(&current.lease.credentials, ownership)
    }

    fn remove(&self, place: &Place) -> io::Result<()> {
        if self.format == Format::Ossfs {
            return directory::remove(self, place);
        }
        place.remove()
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let path = self.path.display();
        let user = geteuid().as_raw();
        let owner = match (self.uid, self.gid) {
            (None, None) => String::new(),
            (Some(uid), None) => format!(" owned by user {uid}"),
            (None, Some(gid)) => format!(" owned by group {gid}"),
            (Some(uid), Some(gid)) => format!(" owned by {uid}:{gid}"),
        };
        let mode = self.mode;
        let message =
            format!("cannot write {path} (mode {mode:04o}{owner}) as user {user}: {error}");
        let mut failure = not_written(message, error);
        if error.kind() == io::ErrorKind::PermissionDenied && !owner.is_empty() {
            failure.advice = "only root may give a file away: remove uid and gid, or grant CAP_CHOWN; the directory must be writable too".into();
        }
        failure
    }
}

impl CredentialsFile {
    /// Replaces the credentials. Blocks.
    pub(super) fn write(&self, credentials: &Credentials, ownership: &Ownership) -> io::Result<()> {
        let place = Place::open(&self.path)?;
        let written = ownership.written();
        foreign::refuse(self, &place, written)?;
        if self.format == Format::Ossfs {
            return directory::replace(self, &place, credentials, ownership);
        }
        let content = self.format.file(credentials);
        self.replacement(&place, written).run(&content, ownership)
    }

    pub(super) fn replacement<'a>(
        &'a self,
        place: &'a Place,
        written: Option<FileVersion>,
    ) -> Replacement<'a, impl Fn(&File) -> io::Result<()>> {
        Replacement {
            place,
            set_access: move |file: &File| {
                foreign::refuse_owner(self, place, written, file.metadata()?.uid())?;
                self.set_owner_and_mode(file, self.mode)
            },
            owner: self.uid,
        }
    }

    /// Sets owner and mode. Not with open(2), to whose mode the umask applies.
    ///
    /// The group comes first, so that the mode never grants access to the previous group. The user comes last, because only root
    /// may change the mode of a file that it has given away.
    fn set_owner_and_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        if self.gid.is_some() {
            fchown(file, None, self.gid)?;
        }
        file.set_permissions(Permissions::from_mode(mode))?;
        if self.uid.is_some() {
            fchown(file, self.uid, None)?;
        }
        Ok(())
    }
}

/// Far more bytes than any document of credentials has; ram-sidecar did not write a larger file.
const LIMIT: usize = 1 << 20;
