//! Why a command failed, and the exit code that follows.

use crate::config::Errors;
use crate::daemon;
use crate::daemon::source;
use crate::system::{display, log};

/// Why a command failed: one variant for each exit code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line cannot be parsed, or it asks for help or the version.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The flags can be parsed, but not followed.
    #[error("{0}")]
    Usage(Reason),
    /// The probe of a daemon fails.
    #[error("{0}")]
    Unhealthy(Reason),
    /// A client would not use our credentials, as the report of `explain` says, which is printed.
    #[error("a client will not use the credentials of ram-sidecar")]
    NotOurs,
    /// The input has errors.
    #[error("{0}")]
    Data(Reason),
    /// There are no credentials, or a daemon refuses.
    #[error("{0}")]
    Unavailable(Reason),
    /// The report of `check`, which is printed, ends in a bad verdict.
    #[error("the verdict of the report is bad")]
    Reported,
    /// A task that never ends has ended, or something else that never happens has happened.
    #[error("{0}")]
    Software(Reason),
    /// The operating system refuses something: to listen, to read or to write.
    #[error("{0}")]
    System(Reason),
    /// The configuration has errors.
    #[error("{0}")]
    Configuration(Reason),
    /// The command of `exec` is there, but cannot be run.
    #[error("{0}")]
    NotExecutable(Reason),
    /// The command of `exec` does not exist.
    #[error("{0}")]
    NotFound(Reason),
}

/// The error behind an exit code.
type Reason = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// Returns the exit code: those of `sysexits.h` but for `health` and `explain`, whose callers expect 1, and for the command of `exec`, where
    /// shells use 126 and 127.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::CommandLine(error) if !error.use_stderr() => 0,
            Self::Unhealthy(_) | Self::NotOurs => 1,
            Self::CommandLine(_) | Self::Usage(_) => 64,
            Self::Data(_) => 65,
            Self::Unavailable(_) | Self::Reported => 69,
            Self::Software(_) => 70,
            Self::System(_) => 71,
            Self::Configuration(_) => 78,
            Self::NotExecutable(_) => 126,
            Self::NotFound(_) => 127,
        }
    }

    /// Prints the error on standard error, or the help that was asked for on standard output.
    pub fn print(&self) {
        match self {
            // The exit code stays the same where the output is closed.
            Self::CommandLine(error) => {
                let text = error.render().to_string();
                if !error.use_stderr() || text.lines().flat_map(str::chars).all(display::is_shown) {
                    drop(error.print());
                } else {
                    log::print(text.trim_end());
                }
            }
            Self::Reported | Self::NotOurs => {}
            error => log::print(&format!("ram-sidecar: {error}")),
        }
    }
}

impl From<Errors> for Error {
    fn from(errors: Errors) -> Self {
        Self::Configuration(errors.into())
    }
}

impl From<daemon::Error> for Error {
    fn from(error: daemon::Error) -> Self {
        match error {
            daemon::Error::Upstream(source::Error::Outbound(_)) => {
                Self::Configuration(error.into())
            }
            daemon::Error::Ended(_) => Self::Software(error.into()),
            daemon::Error::Bind { .. }
            | daemon::Error::Limit { .. }
            | daemon::Error::File(_)
            | daemon::Error::System { .. }
            | daemon::Error::Upstream(_) => Self::System(error.into()),
        }
    }
}

/// The exit codes of all commands, and what they mean.
pub(super) const EXIT_CODES: [(u8, &str); 11] = [
    (0, "The command succeeded, or the daemon was shut down."),
    (
        1,
        "The probe of health failed, or a client that explain judges will not use ours.",
    ),
    (64, "Usage: the command line is wrong."),
    (65, "A manifest cannot be used."),
    (
        69,
        "There are no credentials, or a daemon cannot be reached.",
    ),
    (70, "A task of the daemon ended unexpectedly."),
    (71, "The operating system refused to bind, read or write."),
    (78, "The configuration is wrong."),
    (126, "The command of exec cannot be run."),
    (127, "The command of exec is not found."),
    (128, "And n: signal n killed the command of exec."),
];
