//! The runtime of a command.

use std::time::Duration;

use tokio::runtime::Builder;

use super::Error;
use crate::config::Config;

/// Runs a future to its end on one thread.
///
/// Beside it there is a blocking thread for each of `files`, whose file systems may hang, and a few for the identity and the
/// look-up of callers. They start when they are needed. At the end, a write in progress is finished, but a file system that
/// hangs keeps the process from ending for a second at most.
pub(super) fn block_on<T>(files: usize, future: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(5 + files)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .map_err(|error| Error::System(format!("cannot start the runtime: {error}").into()))?;
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
