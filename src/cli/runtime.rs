//! The runtime of a command.

use std::io;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;

use super::Error;
use crate::config::Config;
use crate::system::remedy;

/// Runs a future to its end on one thread.
///
/// Beside it there is a blocking thread for each of `files`, whose file systems may hang, and a few for the identity and the
/// look-up of callers; without `files` there is no blocking work. They start when they are needed, and stay: when no other can
/// be started, they do its work. At the end, a write in progress is finished, but a file system that hangs keeps the process
/// from ending for a second at most.
pub(super) fn block_on<T>(
    files: Option<usize>,
    future: impl Future<Output = T>,
) -> Result<T, Error> {
    let failed = |error| {
        let remedy = remedy::of_start(&error).unwrap_or("check the limits of this process");
        Error::System(format!("cannot start the runtime: {error}; {remedy}").into())
    };
    // The runtime would panic without them.
    let pairs = [(); 4].map(|()| UnixStream::pair());
    let pairs: io::Result<Vec<_>> = pairs.into_iter().collect();
    drop(pairs.map_err(failed)?);
    if files.is_some() {
        // Joined, so that it does not count any more when the runtime starts its own.
        let thread = thread::Builder::new().spawn(|| ());
        let _ = thread.map_err(failed)?.join();
    }
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(5 + files.unwrap_or_default())
        .thread_keep_alive(Duration::MAX)
        .build()
        .map_err(failed)?;
    if files.is_some() {
        runtime.spawn_blocking(|| ());
    }
    let outcome = runtime.block_on(future);
    runtime.shutdown_timeout(LAST_WRITE_TIMEOUT);
    Ok(outcome)
}

/// A write takes milliseconds. Cut off, it would leave a temporary file with credentials.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Counts the files that a daemon reads or writes while it serves.
pub(super) fn files(config: &Config) -> usize {
    let container = config.serve.container.as_ref();
    let token = container.is_some_and(|container| container.token_file.is_some());
    config.files.len() + usize::from(token) + usize::from(config.state.is_some())
}
