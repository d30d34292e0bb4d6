//! The place of a file: its directory, opened, and its name in it.
//!
//! Everything that is done to a file is done through the open directory. Its path may lead elsewhere a moment later: whoever
//! owns a directory can replace it by a link.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{
    Access, AtFlags, Dir, FlockOperation, Mode, OFlags, accessat, flock, openat, readlinkat,
    renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use tracing::debug;
use zeroize::Zeroizing;

use crate::formats::ossfs;
use crate::system::resolve::Exposure;
use crate::system::{file, random, resolve};

/// The version of a file or of a symbolic link. A change or a replacement makes another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileVersion {
    id: (u64, u64),
    modified: (i64, i64),
    size: u64,
}

impl FileVersion {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            id: (metadata.dev(), metadata.ino()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
        }
    }
}

/// The open directory of a file, and the file's name in it. All its methods block.
#[derive(Debug)]
pub struct Place {
    directory: File,
    path: PathBuf,
    name: OsString,
    /// How another user could have placed a link in the directory.
    exposure: Option<Exposure>,
    /// How the names of temporary files begin.
    prefix: String,
}

/// Keeps the temporary files of a place from being swept by other processes.
#[derive(Debug)]
pub(super) struct Writing(Option<File>);

impl Place {
    /// Opens the directory of a file, without following links that another user may have placed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other("the path does not name a file"));
        };
        let (directory, exposure) = resolve::open_directory(directory)?;
        Ok(Self {
            directory,
            exposure,
            path: path.to_owned(),
            name: name.to_owned(),
            prefix: format!(".{}.ram-sidecar-", name.to_string_lossy()),
        })
    }

    /// Returns the path under which it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what tells its directory from another one.
    pub(super) fn directory_id(&self) -> io::Result<(u64, u64)> {
        let found = self.directory.metadata()?;
        Ok((found.dev(), found.ino()))
    }

    /// Describes the file, or the symbolic link, that is there; nothing if there is none.
    pub(super) fn metadata(&self) -> io::Result<Option<Metadata>> {
        self.metadata_of(&self.name, OFlags::NOFOLLOW)
    }

    /// Describes the file that is there or that a safe symbolic link there leads to; nothing if there is none.
    pub(super) fn target_metadata(&self) -> io::Result<Option<Metadata>> {
        self.metadata_of(&self.name, self.follow())
    }

    /// Returns how another user could have placed a link in the directory.
    pub(super) fn exposure(&self) -> Option<&Exposure> {
        self.exposure.as_ref()
    }

    /// A link of another user is not followed, not even to look: it may lead to a device, or tell what exists.
    fn follow(&self) -> OFlags {
        match self.exposure {
            Some(_) => OFlags::NOFOLLOW,
            None => OFlags::empty(),
        }
    }

    fn metadata_of(&self, name: &OsStr, flags: OFlags) -> io::Result<Option<Metadata>> {
        match self.open_name(name, OFlags::PATH | flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened?.metadata().map(Some),
        }
    }

    /// Returns the version of the file that is there.
    pub(super) fn version(&self) -> Option<FileVersion> {
        let found = self.metadata().ok()??;
        Some(FileVersion::of(&found))
    }

    /// Opens the file for reading, if it is a regular one, with additional `flags`.
    pub(super) fn open_regular(&self, flags: OFlags) -> Result<File, file::Error> {
        file::open_regular_at(&self.directory, &self.name, flags | self.follow())
    }

    /// Reads the file; nothing if it cannot be read or is larger than `limit`.
    pub(super) fn read(&self, limit: usize) -> Option<Zeroizing<Vec<u8>>> {
        let file = self.open_regular(OFlags::empty()).ok()?;
        file::read(file, limit).ok()
    }

    /// Reads the file of a name in the temporary directory that the symbolic link there refers to.
    pub(super) fn read_linked(&self, name: &str, limit: usize) -> Option<Zeroizing<Vec<u8>>> {
        let directory = self.open_temporary_directory(&self.linked()?).ok()?;
        let file = file::open_regular_at(&directory, name, OFlags::NOFOLLOW).ok()?;
        file::read(file, limit).ok()
    }

    /// Removes the file or the symbolic link, if it exists.
    pub(super) fn remove(&self) -> io::Result<()> {
        match unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a finished temporary file in place, and returns its version.
    pub(super) fn install(&self, finished: &OsStr) -> io::Result<Option<FileVersion>> {
        // After the file was closed: some file systems set the modification time only then.
        let found = self.metadata_of(finished, OFlags::NOFOLLOW)?;
        renameat(&self.directory, finished, &self.directory, &self.name)?;
        Ok(found.as_ref().map(FileVersion::of))
    }

    /// Returns the directory itself, to make temporary files in it.
    pub(super) fn directory(&self) -> &File {
        &self.directory
    }

    /// Returns an unused temporary name. It is random because two processes may write the same file on a shared volume.
    pub(super) fn temporary_name(&self) -> io::Result<OsString> {
        let bytes = random::bytes().map_err(io::Error::other)?;
        let random = u64::from_be_bytes(bytes);
        Ok(format!("{}{random:016x}", self.prefix).into())
    }

    fn is_temporary_name(&self, name: &OsStr) -> bool {
        let random = name.as_bytes().strip_prefix(self.prefix.as_bytes());
        random.is_some_and(|random| random.len() == 16 && random.iter().all(u8::is_ascii_hexdigit))
    }

    /// Makes an empty temporary file that only this user can read.
    pub(super) fn create_temporary(&self) -> io::Result<(File, OsString)> {
        let name = self.temporary_name()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.directory, &name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok((file.into(), name))
    }

    /// Opens a temporary directory; fails if it is a link.
    pub(super) fn open_temporary_directory(&self, name: &OsStr) -> io::Result<File> {
        self.open_name(name, OFlags::DIRECTORY | OFlags::NOFOLLOW)
    }

    /// Returns the name of the temporary directory that the symbolic link there refers to; nothing if there is something else.
    pub(super) fn linked(&self) -> Option<OsString> {
        let target = readlinkat(&self.directory, &self.name, Vec::new()).ok()?;
        let target = OsString::from_vec(target.into_bytes());
        self.is_temporary_name(&target).then_some(target)
    }

    /// Removes a temporary file, link or directory as far as possible. It may not exist, or belong to somebody else.
    pub(super) fn remove_temporary(&self, name: &OsStr) {
        if unlinkat(&self.directory, name, AtFlags::empty()).is_ok() {
            return;
        }
        if let Ok(inside) = self.open_temporary_directory(name) {
            // Its mode may be without write permission, which only root does not need.
            if !geteuid().is_root() {
                let _ = inside.set_permissions(Permissions::from_mode(0o700));
            }
            for name in ossfs::NAMES {
                let _ = unlinkat(&inside, name, AtFlags::empty());
            }
            let _ = unlinkat(&self.directory, name, AtFlags::REMOVEDIR);
        }
    }

    /// Begins a write, if necessary after the sweep of another process. Best effort: a directory that cannot be read cannot be
    /// locked, and another user may hold its lock for ever.
    pub(super) fn writing(&self) -> Writing {
        let Ok(directory) = self.open_name(".".as_ref(), OFlags::DIRECTORY) else {
            return Writing(None);
        };
        for _ in 0..SWEEP_ENDS_WITHIN {
            match flock(&directory, FlockOperation::NonBlockingLockShared) {
                Ok(()) => return Writing(Some(directory)),
                Err(Errno::WOULDBLOCK) => thread::sleep(Duration::from_millis(1)),
                Err(_) => break,
            }
        }
        Writing(None)
    }

    /// Ends a write: makes its rename durable, as far as the file system can, and removes the temporary files and directories
    /// that killed processes left, except the `previous` directory and the one that is linked now. Best effort.
    ///
    /// They are known by name, kind, and owner: that of `own`, which this process has made there, or `owner`. They are abandoned
    /// if nobody else writes in this directory, or if they are far older than `own`: not every file system has locks, and
    /// another user may hold one. A complete directory may have readers for as long, if there is one in use.
    pub(super) fn finish(
        &self,
        writing: Writing,
        own: &Metadata,
        owner: Option<u32>,
        previous: Option<OsString>,
    ) {
        let Some(directory) = writing
            .0
            .or_else(|| self.open_name(".".as_ref(), OFlags::DIRECTORY).ok())
        else {
            return;
        };
        if let Err(error) = directory.sync_all() {
            debug!(path = %self.path.display(), %error, "Cannot sync the directory of a file");
        }
        let is_alone = flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok();
        // Only now: until this lock, another process may have linked a directory of its own.
        let in_use = [self.linked(), previous];
        let Ok(entries) = Dir::read_from(&directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let is_in_use = in_use.iter().flatten().any(|used| used == name);
            if is_in_use || !self.is_temporary_name(name) {
                continue;
            }
            let Ok(Some(found)) = self.metadata_of(name, OFlags::NOFOLLOW) else {
                continue;
            };
            let is_ours = [Some(own.uid()), owner].contains(&Some(found.uid()))
                && (found.is_file() || found.is_dir() || found.is_symlink());
            let has_readers = || in_use.iter().any(Option::is_some) && self.is_complete(name);
            let is_old = own.mtime() - found.mtime() > ABANDONED_AFTER;
            if is_ours && (is_old || is_alone && !has_readers()) {
                self.remove_temporary(name);
            }
        }
    }

    /// Whether a temporary directory has all its files.
    fn is_complete(&self, name: &OsStr) -> bool {
        let [.., last] = ossfs::NAMES;
        let directory = self.open_temporary_directory(name);
        directory
            .is_ok_and(|inside| accessat(inside, last, Access::EXISTS, AtFlags::empty()).is_ok())
    }

    fn open_name(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC;
        Ok(openat(&self.directory, name, flags, Mode::empty())?.into())
    }
}

/// In seconds. Writing a file takes milliseconds, and seconds on a slow disk.
const ABANDONED_AFTER: i64 = 60;

/// In milliseconds. A sweep lists a directory and removes a few files.
const SWEEP_ENDS_WITHIN: u32 = 100;
