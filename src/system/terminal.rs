//! What a terminal can show.

use std::io::IsTerminal;

/// Returns whether text on `output` may be coloured: it is a terminal, and neither `TERM` nor
/// [`NO_COLOR`](https://no-color.org) forbids it.
pub fn has_colour(output: impl IsTerminal) -> bool {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_plain && has_cursor(output)
}

/// Returns whether `output` is a terminal on which a line can be written over.
pub fn has_cursor(output: impl IsTerminal) -> bool {
    output.is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}
