//! What commands print on standard output.

use std::io::{self, Write as _};

use tracing::debug;

use super::Error;

/// Prints a text whole, or fails: part of `what` must not pass for the whole.
pub(super) fn print(text: &[u8], what: &str) -> Result<(), Error> {
    write(text).map_err(|error| Error::System(format!("cannot print {what}: {error}").into()))
}

/// Prints a text whole like [`print`], but to a reader that has read enough and closed its end.
pub(super) fn print_until_closed(text: &[u8], what: &str) -> Result<(), Error> {
    match write(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::System(
            format!("cannot print {what}: {error}").into(),
        )),
        _ => Ok(()),
    }
}

/// Prints a text if standard output is open. That it is closed is no reason to fail.
pub(super) fn print_if_open(text: &[u8]) {
    if let Err(error) = write(text) {
        debug!("Cannot print on standard output: {error}");
    }
}

fn write(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush())
}
