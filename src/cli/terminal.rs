//! The log of a command, and what the terminal can show.

use std::io::IsTerminal;

use clap::ArgMatches;
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
