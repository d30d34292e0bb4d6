//! The log: one line an event, on standard error.

mod writer;

use std::io::{IsTerminal as _, Write as _};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::time::ChronoUtc;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// How to log.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The least important level that is shown.
    pub level: LevelFilter,
    /// The format; none chooses text on a terminal, JSON elsewhere.
    pub format: Option<Format>,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For log collectors.
    Json,
}

/// Writes a line to standard error; drops it if nobody reads.
pub fn print(line: &str) {
    if writer::wait(std::io::stderr(), &writer::TIMEOUT) {
        // Nothing can be done about a closed standard error.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Starts logging. Does nothing when something already logs.
pub fn start(options: &Options) {
    let terminal = std::io::stderr().is_terminal();
    let format = options
        .format
        .unwrap_or(if terminal { Format::Text } else { Format::Json });
    let lines = fmt::layer()
        .with_writer(writer::Lines::of_stderr(format))
        .with_timer(ChronoUtc::new("%Y-%m-%dT%H:%M:%S%.3fZ".to_owned()))
        .with_ansi(false)
        .with_target(false);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    // Our own events only: other crates log what passes through them, which here are secrets.
    let filter = Targets::new().with_target("ram_sidecar", options.level);
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
}
