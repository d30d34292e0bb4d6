//! Parses, dispatches, and turns the outcome into an exit code.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use ram_sidecar::app::{self, Error};
use ram_sidecar::cli::{self, Request};
use ram_sidecar::config::Config;
use ram_sidecar::telemetry;

fn main() -> ExitCode {
    match cli::read(std::env::args_os()) {
        Ok(Request::Serve(config)) => match *config {
            Ok(config) => serve(config),
            Err(mistakes) => fail(&mistakes, EX_CONFIG),
        },
        Err(error) => {
            // Help goes to standard output and is no failure. A closed output is nobody's concern.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { EX_USAGE } else { 0 })
        }
    }
}

fn serve(config: Config) -> ExitCode {
    telemetry::start(&config.log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // One for each file, which may hang, and some for DNS and the identity; none lingers when it is not needed.
        .max_blocking_threads(4 + config.files.len())
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format_args!("cannot start the runtime: {error}"), EX_OSERR),
    };
    let outcome = runtime.block_on(app::run(config));
    // A file system that hangs must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ Error::Outbound(_)) => fail(&error, EX_CONFIG),
        Err(error @ Error::Ended(_)) => fail(&error, EX_SOFTWARE),
        Err(error @ (Error::Bind { .. } | Error::File(_) | Error::System { .. })) => {
            fail(&error, EX_OSERR)
        }
    }
}

fn fail(reason: &dyn Display, code: u8) -> ExitCode {
    // Nothing can be done about a closed standard error.
    let _ = writeln!(std::io::stderr(), "ram-sidecar: {reason}");
    ExitCode::from(code)
}

/// The codes of sysexits.h.
const EX_USAGE: u8 = 64;
const EX_SOFTWARE: u8 = 70;
const EX_OSERR: u8 = 71;
const EX_CONFIG: u8 = 78;
