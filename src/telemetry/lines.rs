//! The lines of the log, none of which is worth waiting for: whoever collects them may have stalled.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use tracing_subscriber::fmt::MakeWriter;

use super::Format;

/// Standard error, which loses lines rather than time where it is a pipe that nobody empties.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    format: Format,
    /// A description of the pipe of our own: what is set for it does not concern others who write there.
    pipe: Option<Arc<File>>,
    lost: Arc<AtomicU64>,
}

impl Lines {
    /// Must be called before the process hides itself: then it may not look at its own descriptors.
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

    fn put(&self, mut pipe: &File, line: &[u8]) -> io::Result<usize> {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            pipe.write_all(self.note(lost).as_bytes())?;
            self.lost.store(0, Ordering::Relaxed);
        } else {
            // Once: a reader may only be slow, and it takes all that piled up.
            let mut ready = [PollFd::new(pipe, PollFlags::OUT)];
            let _ = poll(&mut ready, Some(&PATIENCE));
        }
        pipe.write(line)
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else {
            return io::stderr().write(line);
        };
        match self.put(pipe, line) {
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

/// How long the first line may wait that finds no room.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_empties_costs_lines_and_no_time() {
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
