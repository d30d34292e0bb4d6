//! The commands, one file each.

use std::io::{self, Write as _};

use tracing::debug;

mod admin;
pub mod check;
pub mod exec;
pub mod get;
pub mod health;
#[cfg(feature = "inject")]
pub mod inject;
pub mod metadata_address;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod serve;
pub mod stop;
pub mod wait;
#[cfg(feature = "inject")]
pub mod webhook;

pub use self::admin::Admin;

/// Prints what leads clients here, in one piece, on a standard output that has no other use.
fn announce(lines: &str) {
    let mut out = io::stdout().lock();
    // Whoever started this may have closed its standard output; that is no reason to stop serving.
    if let Err(error) = out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        debug!("Cannot print how to be reached: {error}");
    }
}
