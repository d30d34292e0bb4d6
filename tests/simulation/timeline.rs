//! The events of a scenario, printed when a promise is broken.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ram_sidecar::time::clock::Clock;
use tracing::Dispatch;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// The last events of a scenario, and the log of the daemon.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline(Arc<Mutex<Events>>);

#[derive(Debug, Default)]
struct Events {
    /// The source of timestamps: its boot clock is never set and never stops.
    clock: Option<Clock>,
    lines: VecDeque<String>,
    /// The log of the daemon since the last [`Timeline::take_log`].
    logged: String,
}

impl Timeline {
    /// Takes timestamps from `clock`, whose boot clock started at [`BOOT_TIME`].
    pub(crate) fn set_clock(&self, clock: Clock) {
        self.0.lock().unwrap().clock = Some(clock);
    }

    /// Records an event.
    pub(crate) fn record(&self, event: &str) {
        self.0.lock().unwrap().record(event);
    }

    /// Returns what the daemon has logged since the last call.
    pub(crate) fn take_log(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap().logged)
    }

    /// Renders the events, the oldest first.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        for line in &self.0.lock().unwrap().lines {
            writeln!(text, "{line}").unwrap();
        }
        text
    }

    /// Returns a subscriber that records the log of the daemon at every level.
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
    fn record(&mut self, event: &str) {
        let boot = self.clock.as_ref().map(|clock| clock.now().boot);
        let at = boot.unwrap_or_default().saturating_sub(BOOT_TIME);
        let seconds = at.as_secs();
        let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
        let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
        let millis = at.subsec_millis();
        let line = format!("{days}d {hours:02}:{minutes:02}:{seconds:02}.{millis:03}  {event}");
        if self.lines.len() == CAPACITY {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl io::Write for Timeline {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut events = self.0.lock().unwrap();
        let line =
            std::str::from_utf8(bytes).expect("the log is written as text, one line at a time");
        events.record(&format!("    {}", line.trim()));
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

/// The boot clock of every simulated machine at the start of a scenario.
pub(crate) const BOOT_TIME: Duration = Duration::from_secs(77);

/// The number of events retained: enough for the hours before a promise is broken.
const CAPACITY: usize = 400;
