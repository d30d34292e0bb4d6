//! The log of a command, and what the terminal can show.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use clap::ArgMatches;
use rustix::termios::tcgetwinsize;
use tracing::warn;

use super::exposure;
use super::input::variable;
use crate::config::Config;
use crate::daemon::source;
use crate::system::log;

/// Returns whether text on `output` may be coloured: it is a terminal, and neither `TERM` nor
/// [`NO_COLOR`](https://no-color.org) forbids it.
pub(super) fn has_colour(output: &impl IsTerminal) -> bool {
    let is_plain = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_plain && has_cursor(output)
}

/// Returns whether `output` is a terminal on which a line can be written over.
pub(super) fn has_cursor(output: &impl IsTerminal) -> bool {
    output.is_terminal() && variable("TERM").is_some_and(|term| term != "dumb")
}

/// Returns the columns of lines for people: those of `COLUMNS` or of the terminal, or else 80.
pub(super) fn columns(output: &(impl IsTerminal + AsFd)) -> usize {
    let given = variable("COLUMNS").and_then(|value| value.to_str()?.parse().ok());
    let of_terminal = || {
        let size = tcgetwinsize(output).ok()?;
        Some(usize::from(size.ws_col))
    };
    let columns: Option<usize> = given.or_else(of_terminal);
    columns
        .filter(|columns| *columns >= LEAST_COLUMNS)
        .unwrap_or(80)
}

/// Fewer are not worth breaking lines for.
const LEAST_COLUMNS: usize = 40;

/// Starts the log, coloured where it may be.
pub(super) fn start_log(options: &log::Options) {
    log::start(options, has_colour(&std::io::stderr()));
}

/// Starts the log of a process that obtains credentials, with a line about itself and what is doubtful in its configuration.
pub(super) fn start_daemon_log(given: &ArgMatches, config: &Config) {
    start_log(&config.log);
    source::announce(config);
    warn_of(exposure::warnings(given, config));
}

/// Logs the first line of a process that obtains no credentials.
#[cfg(any(feature = "inject", feature = "sandbox"))]
pub(super) fn announce() {
    use crate::system::build::{REVISION, VERSION};

    tracing::info!(version = VERSION, revision = REVISION, "Starting");
}

/// Logs what is doubtful in the configuration.
pub(super) fn warn_of(warnings: Vec<String>) {
    for error in warnings {
        warn!(error, "The configuration needs attention");
    }
}
