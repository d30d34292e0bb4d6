//! The log: one line per event, on standard error.

mod sentence;
mod writer;

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::Ordering;

use super::display;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::ChronoUtc;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

/// The options of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The least severe level that is logged.
    pub level: LevelFilter,
    /// The format; `None` selects text on a terminal and JSON elsewhere.
    pub format: Option<Format>,
}

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text, for people.
    Text,
    /// JSON, for log collectors.
    Json,
}

/// Writes a line or several to standard error, as text that is safe to show; drops it if the reader has stalled.
pub fn print(line: &str) {
    if writer::wait(std::io::stderr(), &writer::TIMEOUT) {
        // A closed standard error cannot be reported.
        let _ = writeln!(std::io::stderr(), "{}", display::lines(line));
    }
}

/// Overwrites the current line of the terminal that is standard error; drops the text if nothing reads it.
pub fn print_over(line: &str) {
    if writer::wait(std::io::stderr(), &writer::TIMEOUT) {
        // Nothing can be done about a closed standard error.
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
    }
}

/// Returns how many lines were dropped since the start, because standard error was not read.
pub fn dropped_lines() -> u64 {
    writer::ALL_DROPPED.load(Ordering::Relaxed)
}

impl Options {
    /// Returns the format of the log on standard error.
    fn format(&self) -> Format {
        match self.format {
            Some(format) => format,
            None if std::io::stderr().is_terminal() => Format::Text,
            None => Format::Json,
        }
    }

    /// Whether a person reads the log while it is written: on a terminal, as text.
    pub fn is_watched(&self) -> bool {
        std::io::stderr().is_terminal()
            && self.format() == Format::Text
            && self.level >= LevelFilter::WARN
    }
}

/// Starts logging, in colours if the format is text and `has_colour`. Does nothing if a subscriber is already installed.
pub fn start(options: &Options, has_colour: bool) {
    let format = options.format();
    let lines = lines(format, has_colour, writer::StderrWriter::of_stderr(format));
    // Only events of this crate, because other crates might log the data that they process, such as secrets.
    let filter = Targets::new().with_target("ram_sidecar", options.level);
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
}

/// Makes the lines of a format.
pub(crate) fn lines<W>(
    format: Format,
    has_colour: bool,
    writer: W,
) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer()
        .with_writer(writer)
        .with_timer(ChronoUtc::new("%Y-%m-%dT%H:%M:%S%.3fZ".to_owned()))
        .with_ansi(has_colour && format == Format::Text)
        .with_target(false);
    match format {
        Format::Text => lines.fmt_fields(sentence::Sentence).boxed(),
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    }
}
