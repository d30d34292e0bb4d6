//! Parses, dispatches, and turns the outcome into an exit code.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use ram_sidecar::app::{self, Error};
use ram_sidecar::cli::{self, Request};
use ram_sidecar::config::{Checked, Config};
use ram_sidecar::{command, process, telemetry, upstream};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    match cli::read(std::env::args_os()) {
        Ok(Request::Serve(config)) => match *config {
            Ok(config) => serve(config),
            Err(mistakes) => fail(&mistakes, EX_CONFIG),
        },
        Ok(Request::Check { checked, json }) => check(*checked, json),
        Err(error) => {
            // Help goes to standard output and is no failure. A closed output is nobody's concern.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { EX_USAGE } else { 0 })
        }
    }
}

fn runtime(files: usize) -> Result<Runtime, ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // One for each file, which may hang, and some for DNS and the identity; none lingers when it is not needed.
        .max_blocking_threads(4 + files)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build()
        .map_err(|error| fail(&format_args!("cannot start the runtime: {error}"), EX_OSERR))
}

fn check(checked: Checked, json: bool) -> ExitCode {
    process::protect();
    let runtime = match runtime(0) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let report = runtime.block_on(command::check::run(checked));
    runtime.shutdown_background();
    let mut out = std::io::stdout();
    let text = if json {
        report.json()
    } else {
        report.text(out.is_terminal())
    };
    // A closed output is nobody's concern: the exit code tells the verdict.
    let _ = writeln!(out, "{}", text.trim_end());
    ExitCode::from(if report.good { 0 } else { EX_UNAVAILABLE })
}

fn serve(config: Config) -> ExitCode {
    telemetry::start(&config.log);
    let runtime = match runtime(config.files.len()) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let outcome = runtime.block_on(app::run(config));
    // A file system that hangs must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ Error::Upstream(upstream::Error::Outbound(_))) => fail(&error, EX_CONFIG),
        Err(error @ Error::Ended(_)) => fail(&error, EX_SOFTWARE),
        Err(
            error @ (Error::Bind { .. }
            | Error::File(_)
            | Error::System { .. }
            | Error::Upstream(_)),
        ) => fail(&error, EX_OSERR),
    }
}

fn fail(reason: &dyn Display, code: u8) -> ExitCode {
    // Nothing can be done about a closed standard error.
    let _ = writeln!(std::io::stderr(), "ram-sidecar: {reason}");
    ExitCode::from(code)
}

/// The codes of sysexits.h.
const EX_USAGE: u8 = 64;
const EX_UNAVAILABLE: u8 = 69;
const EX_SOFTWARE: u8 = 70;
const EX_OSERR: u8 = 71;
const EX_CONFIG: u8 = 78;
