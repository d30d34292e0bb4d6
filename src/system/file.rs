//! Reads regular files of limited size.
//!
//! The type of a file is checked after it was opened, because its path may have been replaced before. A file of another type
//! is refused without blocking: opening a pipe would wait for its writer, and a terminal might become the controlling one.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::path::Arg;
use zeroize::Zeroizing;

/// The error of a file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is a directory, a pipe, a socket or a device.
    #[error("it is not a regular file")]
    NotRegular,
    /// The file is larger than the limit, in bytes.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
}

/// Returns what to do about a file that cannot be read; `path` says how to correct its path.
pub fn remedy(error: &Error, path: &'static str) -> &'static str {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "let this user read the file and search the directories of its path"
        }
        _ => path,
    }
}

/// Reads a regular file of at most `limit` bytes. Blocks.
pub fn read_regular(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    read(open_regular_at(CWD, path, OFlags::empty())?, limit)
}

/// Reads a regular file of at most `limit` bytes of text. Blocks.
pub fn read_text(path: &Path, limit: usize) -> Result<Zeroizing<String>, Error> {
    let mut content = read_regular(path, limit)?;
    let text = String::from_utf8(std::mem::take(&mut *content));
    text.map(Zeroizing::new).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text").into()
    })
}

/// Opens a regular file in a directory for reading, with additional `flags`. Blocks.
pub fn open_regular_at(directory: impl AsFd, path: impl Arg, flags: OFlags) -> Result<File, Error> {
    let needed = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(directory, path, needed | flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // The error of a socket.
        Err(Errno::NXIO) => return Err(Error::NotRegular),
        Err(error) => return Err(Error::Io(error.into())),
    };
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(Error::NotRegular)
    }
}

/// Reads a file from its current position to its end, at most `limit` bytes. Blocks.
pub fn read(file: File, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    // One extra byte, so that reading the end does not reallocate: that would leave a copy that is not wiped.
    let mut content = Zeroizing::new(Vec::with_capacity(size.min(limit).saturating_add(1)));
    let max = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(max).read_to_end(&mut content)?;
    if content.len() > limit {
        return Err(Error::TooLarge(limit));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{FileType, mknodat};

    use super::*;

    #[test]
    fn file_is_read_up_to_the_limit() {
        let path = crate::testing::directory("read-regular").join("file");
        fs::write(&path, "abc").unwrap();
        assert_eq!(**read_regular(&path, 3).unwrap(), *b"abc");
        let refusal = read_regular(&path, 2).unwrap_err();
        assert_eq!(refusal.to_string(), "it is larger than 2 bytes");
        assert_eq!(**read_text(&path, 3).unwrap(), *"abc");
        fs::write(&path, b"\xff").unwrap();
        let refusal = read_text(&path, 3).unwrap_err();
        assert_eq!(refusal.to_string(), "it is not UTF-8 text");
    }

    #[test]
    fn irregular_file_is_refused_without_blocking() {
        let directory = crate::testing::directory("read-irregular");
        let (pipe, socket) = (directory.join("pipe"), directory.join("socket"));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        for path in [&directory, &pipe, &socket, Path::new("/dev/null")] {
            let refusal = read_regular(path, 9).unwrap_err();
            assert!(matches!(refusal, Error::NotRegular), "{refusal}");
        }
    }
}
