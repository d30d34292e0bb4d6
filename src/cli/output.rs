//! What commands print on standard output.

use std::io::{self, Write as _};

use tracing::debug;

use super::Error;
use crate::system::remedy;

/// Prints a text whole, or fails: part of `what` must not pass for the whole.
pub(super) fn print(text: &[u8], what: &str) -> Result<(), Error> {
    write(text).map_err(|error| failed(what, &error))
}

/// Prints a text whole like [`print`], unless the reader has read enough and closed its end; returns whether it is open.
pub(super) fn print_until_closed(text: &[u8], what: &str) -> Result<bool, Error> {
    match write(text) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(failed(what, &error)),
    }
}

/// Prints a text if standard output is open. That it is closed is no reason to fail.
pub(super) fn print_if_open(text: &[u8]) {
    if let Err(error) = write(text) {
        debug!(%error, "Cannot print on standard output");
    }
}

fn failed(what: &str, error: &io::Error) -> Error {
    Error::System(format!("cannot print {what}: {}", remedy::told(error)).into())
}

fn write(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush())
}
