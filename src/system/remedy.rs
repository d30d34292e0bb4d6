//! What to do about an error of the operating system that does not depend on what was attempted: a limit of this process or
//! of the machine is reached, or a file system does not accept more.

use std::io;

use rustix::io::Errno;

/// Returns the remedy, or nothing for an error that depends on what was attempted.
pub fn of(error: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(error)? {
        Errno::MFILE => "raise the limit of open files (ulimit -n)",
        Errno::NFILE => "raise the limit of open files of this machine (sysctl fs.file-max)",
        Errno::NOMEM | Errno::NOBUFS => {
            "raise the limit of memory (ulimit -v, or that of the container)"
        }
        Errno::FBIG => "raise the limit of the size of files (ulimit -f)",
        Errno::NOSPC => "free space or inodes on its file system, or name a path on another one",
        Errno::DQUOT => "raise the disk quota of this user, or name a path on another file system",
        Errno::ROFS => {
            "name a path on a file system that can be written; in a container, mount a volume there"
        }
        _ => return None,
    })
}

/// Returns the remedy for the start of a thread or a process: the kernel and the C library report too little memory for it as
/// too many of them.
pub fn of_start(error: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN | Errno::NOMEM) => Some(
            "raise the limits of processes and threads (ulimit -u, pids.max) and of memory (ulimit -v, or that of the container)",
        ),
        _ => of(error),
    }
}

/// Describes an error with its remedy, if there is one.
pub fn told(error: &io::Error) -> String {
    match of(error) {
        Some(remedy) => format!("{error}; {remedy}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_the_same_remedy_wherever_it_is_reached() {
        for (errno, at_start, elsewhere) in [
            (Errno::MFILE, Some("ulimit -n"), Some("ulimit -n")),
            (Errno::NFILE, Some("fs.file-max"), Some("fs.file-max")),
            (Errno::FBIG, Some("ulimit -f"), Some("ulimit -f")),
            (Errno::NOSPC, Some("free space"), Some("free space")),
            (Errno::DQUOT, Some("quota"), Some("quota")),
            (Errno::ROFS, Some("volume"), Some("volume")),
            (Errno::NOMEM, Some("ulimit -u"), Some("ulimit -v")),
            // Elsewhere it means that a call would wait.
            (Errno::AGAIN, Some("ulimit -v"), None),
            (Errno::NOENT, None, None),
        ] {
            let error = io::Error::from(errno);
            for (remedy, expected) in [(of_start(&error), at_start), (of(&error), elsewhere)] {
                let remedy = remedy.unwrap_or_default();
                let is_right = expected.map_or(remedy.is_empty(), |part| remedy.contains(part));
                assert!(is_right, "{error}: {remedy}");
            }
        }
        assert_eq!(of(&io::Error::other("x")), None);
    }
}
