//! Writes log lines without blocking, because the log collector that reads them may have stalled.

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
use crate::system::display;

/// A writer to standard error that drops lines instead of blocking while the reader has stalled.
#[derive(Clone, Debug)]
pub(super) struct StderrWriter {
    format: Format,
    /// The pipe, if standard error is one. It is reopened so that `O_NONBLOCK` does not affect other processes that share it.
    pipe: Option<Arc<File>>,
    dropped: Arc<AtomicU64>,
}

impl StderrWriter {
    /// Must be called before the process becomes undumpable: afterwards it cannot open `/proc/self/fd`.
    pub(super) fn of_stderr(format: Format) -> Self {
        Self::of("/proc/self/fd/2", format)
    }

    fn of(path: &str, format: Format) -> Self {
        let is_pipe = std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
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
            dropped: Arc::default(),
        }
    }

    fn warning(&self, dropped: u64) -> String {
        let (message, error) = ("Log lines were dropped", "standard error was not read");
        match self.format {
            Format::Text => format!("WARN {message}: {error} dropped={dropped}\n"),
            Format::Json => format!(
                "{{\"level\":\"WARN\",\"message\":\"{message}\",\"error\":\"{error}\",\"dropped\":{dropped}}}\n"
            ),
        }
    }

    fn write_line(&self, line: &[u8]) -> io::Result<usize> {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            self.write_with_timeout(self.warning(dropped).as_bytes(), &NO_WAIT)?;
            self.dropped.store(0, Ordering::Relaxed);
            return self.write_with_timeout(line, &NO_WAIT);
        }
        // A slow reader gets time to read the pending lines. After dropped lines there is no wait.
        self.write_with_timeout(line, &TIMEOUT)
    }

    fn write_with_timeout(&self, line: &[u8], timeout: &Timespec) -> io::Result<usize> {
        match &self.pipe {
            Some(pipe) => {
                wait(pipe, timeout);
                (&**pipe).write(line)
            }
            // A pipe that is ready for writing accepts this many bytes without blocking.
            None if wait(io::stderr(), timeout) => {
                io::stderr().write(line.get(..PIPE_PAGE).unwrap_or(line))
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Waits until the output is ready for writing; returns whether it is.
pub(super) fn wait(output: impl AsFd, timeout: &Timespec) -> bool {
    let mut fds = [PollFd::new(&output, PollFlags::OUT)];
    // An output that cannot be polled is not ready.
    poll(&mut fds, Some(timeout)).is_ok_and(|ready| ready > 0)
}

impl<'a> MakeWriter<'a> for StderrWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for StderrWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let shown = match self.format {
            Format::Text => display::terminal(&text).into(),
            Format::Json => display::json(&text),
        };
        let mut rest = shown.as_bytes();
        while !rest.is_empty() {
            match self.write_line(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    ALL_DROPPED.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that were dropped since the start, also those that the log has told of.
pub(super) static ALL_DROPPED: AtomicU64 = AtomicU64::new(0);

/// How long a line waits for a full pipe, unless lines have been dropped already.
pub(super) const TIMEOUT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

const NO_WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// A pipe that is ready for writing has room for a page.
const PIPE_PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn full_pipe_drops_lines_without_blocking() {
        let (mut reader, writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let mut lines = StderrWriter::of(&path, Format::Text);
        let line = [b'x'; 1000];
        for _ in 0..200 {
            lines.write_all(&line).unwrap();
        }
        let dropped = lines.dropped.load(Ordering::Relaxed);
        assert!((1..200).contains(&dropped), "{dropped}");

        let mut buffer = vec![0; 1 << 16];
        let read = reader.read(&mut buffer).unwrap();
        assert!(read > 0);
        lines.write_all(b"after\n").unwrap();
        let warning = lines.warning(dropped) + "after\n";
        drop((lines, writer));
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with(&warning), "{rest}");
    }
}
