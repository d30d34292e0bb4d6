//! What happened, for a human to read when a promise is broken.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ram_sidecar::time::clock::Clock;
use tracing::Dispatch;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// What happened, the oldest forgotten, and all that the daemon logged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline(Arc<Mutex<Events>>);

#[derive(Debug, Default)]
struct Events {
    /// Tells true time: its boot clock is never set and never stops.
    clock: Option<Clock>,
    lines: VecDeque<String>,
    /// What the daemon logged since it was last looked at.
    logged: String,
}

impl Timeline {
    /// Takes the time from `clock`, which began at [`BEGINNING`].
    pub(crate) fn follow(&self, clock: Clock) {
        self.0.lock().unwrap().clock = Some(clock);
    }

    /// Notes an event.
    pub(crate) fn note(&self, event: &str) {
        self.0.lock().unwrap().note(event);
    }

    /// Takes what the daemon has logged since the last time.
    pub(crate) fn take_log(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap().logged)
    }

    /// Returns all of it, the oldest first.
    pub(crate) fn told(&self) -> String {
        let mut told = String::new();
        for line in &self.0.lock().unwrap().lines {
            writeln!(told, "{line}").unwrap();
        }
        told
    }

    /// Returns what gathers all that the daemon logs, at every level.
    pub(crate) fn subscriber(&self) -> Dispatch {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .without_time()
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        Dispatch::new(subscriber)
    }
}

impl Events {
    fn note(&mut self, event: &str) {
        let boot = self.clock.as_ref().map(|clock| clock.now().boot);
        let at = boot.unwrap_or_default().saturating_sub(BEGINNING);
        let seconds = at.as_secs();
        let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
        let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
        let millis = at.subsec_millis();
        let line = format!("{days}d {hours:02}:{minutes:02}:{seconds:02}.{millis:03}  {event}");
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl io::Write for Timeline {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut events = self.0.lock().unwrap();
        let line = std::str::from_utf8(bytes).expect("the log is text, a line at a time");
        events.note(&format!("    {}", line.trim()));
        events.logged.push_str(line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Timeline {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What the boot clock of every simulated machine shows in the beginning.
pub(crate) const BEGINNING: Duration = Duration::from_secs(77);

/// Enough for the hours before a promise is broken.
const KEPT: usize = 400;
