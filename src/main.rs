//! Runs one command, and exits with its exit code.

use std::process::ExitCode;

use ram_sidecar::cli;
use ram_sidecar::system::{process, signal};

fn main() -> ExitCode {
    // Before anything secret is read.
    process::forbid_dumps();
    signal::survive_file_size_limit();
    cli::run(std::env::args_os()).unwrap_or_else(|error| {
        error.print();
        ExitCode::from(error.exit_code())
    })
}
