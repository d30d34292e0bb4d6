//! What the terminal can show.

use std::io::IsTerminal;

use super::input::variable;
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
