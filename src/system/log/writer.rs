//! Writes log lines without blocking: the collector that reads them may have stalled.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use tracing_subscriber::fmt::MakeWriter;

use super::Format;

/// Standard error; drops lines rather than blocking while nobody reads them.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    format: Format,
    /// The pipe, if standard error is one, opened anew: its flags are then not shared with other processes that write to it.
    pipe: Option<Arc<File>>,
    lost: Arc<AtomicU64>,
}

impl Lines {
    /// Must be called before the process becomes undumpable: after that it may not open its own descriptors.
    pub(super) fn of_stderr(format: Format) -> Self {
        Self::of("/proc/self/fd/2", format)
    }

    fn of(path: &str, format: Format) -> Self {
        let is_pipe = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let open = || {
            OpenOptions::new()
                .write(true)
                .custom_flags(flags)
                .open(path)
        };
        Self {
            format,
            pipe: is_pipe.then(open).and_then(Result::ok).map(Arc::new),
            lost: Arc::default(),
        }
    }

    fn note(&self, lost: u64) -> String {
        let what = format!("{lost} lines of the log were lost, because nobody read them");
        match self.format {
            Format::Text => format!("WARN {what}\n"),
            Format::Json => format!("{{\"level\":\"WARN\",\"message\":\"{what}\"}}\n"),
        }
    }

    fn put(&self, line: &[u8]) -> io::Result<usize> {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            self.raw(self.note(lost).as_bytes(), &NONE)?;
            self.lost.store(0, Ordering::Relaxed);
            return self.raw(line, &NONE);
        }
        // Waits only here: a reader may be just slow, and it then reads all that has piled up.
        self.raw(line, &TIMEOUT)
    }

    fn raw(&self, line: &[u8], timeout: &Timespec) -> io::Result<usize> {
        match &self.pipe {
            Some(pipe) => {
                wait(pipe, timeout);
                (&**pipe).write(line)
            }
            // A pipe that is ready for writing takes this much of a line without blocking.
            None if wait(io::stderr(), timeout) => {
                io::stderr().write(line.get(..AT_ONCE).unwrap_or(line))
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Waits until the output is ready for writing; returns whether it is.
pub(super) fn wait(output: impl AsFd, timeout: &Timespec) -> bool {
    let mut fds = [PollFd::new(&output, PollFlags::OUT)];
    // An output that cannot be polled is not waited for.
    poll(&mut fds, Some(timeout)).is_ok_and(|ready| ready > 0)
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.put(line) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                Ok(line.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long a line waits for a full pipe, unless lines have been lost already.
pub(super) const TIMEOUT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

const NONE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// A pipe that is ready takes a page.
const AT_ONCE: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn full_pipe_drops_lines_without_blocking() {
        let (mut reader, writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let mut lines = Lines::of(&path, Format::Text);
        let line = [b'x'; 1000];
        for _ in 0..200 {
            lines.write_all(&line).unwrap();
        }
        let lost = lines.lost.load(Ordering::Relaxed);
        assert!((1..200).contains(&lost), "{lost}");

        let mut emptied = vec![0; 1 << 16];
        let read = reader.read(&mut emptied).unwrap();
        assert!(read > 0);
        lines.write_all(b"after\n").unwrap();
        let note = lines.note(lost) + "after\n";
        drop((lines, writer));
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with(&note), "{rest}");
    }
}
