//! Bounded readings of regular files.
//!
//! What is opened is judged, not what its path led to a moment before. Whatever is not a regular file is refused without
//! waiting for it: opening a pipe would wait for its writer, and opening a terminal might make it ours.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a directory, a pipe, a socket or a device.
    #[error("it is not a regular file")]
    NotRegular,
    /// It is longer than its reader expects.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
}

/// Reads a regular file of at most `limit` bytes. Blocks.
pub fn read_regular(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    read(open_regular(path, OFlags::empty())?, limit)
}

/// Opens a regular file for reading; `flags` are added to those that this needs. Blocks.
pub fn open_regular(path: &Path, flags: OFlags) -> Result<File, Error> {
    let needed = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match open(path, needed | flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // A socket.
        Err(Errno::NXIO) => return Err(Error::NotRegular),
        Err(error) => return Err(Error::Io(error.into())),
    };
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(Error::NotRegular)
    }
}

/// Reads a file from where it stands to its end, at most `limit` bytes. Blocks.
pub fn read(file: File, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    // One byte more, so that the end is found without growing: that would leave an unwiped copy behind.
    let mut content = Zeroizing::new(Vec::with_capacity(size.min(limit).saturating_add(1)));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut content)?;
    if content.len() > limit {
        return Err(Error::TooLarge(limit));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    #[test]
    fn file_is_read_up_to_the_limit() {
        let path = crate::testing::directory("read-regular").join("file");
        fs::write(&path, "abc").unwrap();
        assert_eq!(**read_regular(&path, 3).unwrap(), *b"abc");
        let refusal = read_regular(&path, 2).unwrap_err();
        assert_eq!(refusal.to_string(), "it is larger than 2 bytes");
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
