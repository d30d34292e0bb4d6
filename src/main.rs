//! Parses, dispatches, and turns the outcome into an exit code.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use ram_sidecar::cli::exec::Ending;
use ram_sidecar::cli::{self, Admin, Question, Request, exec, get};
use ram_sidecar::config::{Checked, Config};
use ram_sidecar::daemon::Error;
use ram_sidecar::daemon::source;
use ram_sidecar::formats::format::Format;
use ram_sidecar::system::{log, process};
use signal_hook::consts::SIGINT;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    // Before anything secret is read.
    process::hide();
    match cli::read(std::env::args_os()) {
        Ok(request) => run(request),
        Err(error) => {
            // Help goes to standard output and is no failure. A closed output is nobody's concern.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { EX_USAGE } else { 0 })
        }
    }
}

fn run(request: Request) -> ExitCode {
    match request {
        Request::Serve(config) => match *config {
            Ok(config) => serve(config),
            Err(mistakes) => fail(&mistakes, EX_CONFIG),
        },
        Request::Exec(config, options) => match *config {
            Ok(config) => exec(config, options),
            Err(mistakes) => fail(&mistakes, EX_CONFIG),
        },
        Request::Get(Ok(origin), format) => get(origin, format),
        Request::Check { checked, json } => check(*checked, json),
        Request::Ask(Ok(Some(listen)), question) => ask(listen, question),
        Request::Ask(Ok(None), _) => fail(
            &"admin.listen is off, so there is nobody to ask; give the daemon an address there",
            EX_CONFIG,
        ),
        Request::Get(Err(mistakes), _) | Request::Ask(Err(mistakes), _) => {
            fail(&mistakes, EX_CONFIG)
        }
        #[cfg(feature = "sandbox")]
        Request::Sandbox(alone) => match *alone {
            Ok(alone) => sandbox(alone),
            Err(mistakes) => fail(&mistakes, EX_CONFIG),
        },
        #[cfg(feature = "inject")]
        Request::Inject(options) => match options {
            Ok(options) => inject(&options),
            Err(mistakes) => fail(&all(&mistakes), EX_USAGE),
        },
        Request::MetadataAddress => match cli::metadata_address::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => fail(&reason, EX_OSERR),
        },
        #[cfg(feature = "inject")]
        Request::Webhook(options) => match *options {
            Ok(options) => webhook(options),
            Err(mistakes) => fail(&mistakes, EX_CONFIG),
        },
        Request::Completions(shell) => print(cli::completions(shell).as_bytes()),
        Request::Manual => {
            let mut text = Vec::new();
            match cli::manual(&mut text) {
                Ok(()) => print(&text),
                Err(error) => fail(&error, EX_SOFTWARE),
            }
        }
    }
}

fn runtime(files: usize) -> Result<Runtime, ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // One for each file, which may hang, one for the look at a caller, and some for DNS and the identity; none lingers
        // when it is not needed.
        .max_blocking_threads(5 + files)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build()
        .map_err(|error| fail(&format_args!("cannot start the runtime: {error}"), EX_OSERR))
}

/// Runs to the end on a runtime whose threads, which a file system may hold up, do not keep the process.
fn block_on<T>(files: usize, future: impl Future<Output = T>) -> Result<T, ExitCode> {
    let runtime = runtime(files)?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(outcome)
}

fn check(checked: Checked, json: bool) -> ExitCode {
    let config = checked.outcome.as_ref().ok();
    process::protect(config.is_some_and(|config| config.upstream.runs_programs()));
    let report = match block_on(0, cli::check::run(checked)) {
        Ok(report) => report,
        Err(code) => return code,
    };
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
    process::protect(config.upstream.runs_programs());
    log::start(&config.log);
    match block_on(files(&config), cli::serve::run(config, cli::is_service())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&error, code(&error)),
        Err(code) => code,
    }
}

#[cfg(feature = "sandbox")]
fn sandbox(alone: ram_sidecar::config::Alone) -> ExitCode {
    process::protect(false);
    log::start(&alone.log);
    match block_on(0, cli::sandbox::run(alone.sandbox)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&error, code(&error)),
        Err(code) => code,
    }
}

#[cfg(feature = "inject")]
fn webhook(options: ram_sidecar::inject::webhook::Options) -> ExitCode {
    process::protect(false);
    log::start(&options.log);
    match block_on(0, ram_sidecar::inject::webhook::run(options)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&error, code(&error)),
        Err(code) => code,
    }
}

fn exec(config: Config, options: exec::Options) -> ExitCode {
    // No limit may change, nor the umask or what the command may become: it would inherit that.
    log::start(&config.log);
    let outcome = block_on(files(&config), exec::run(config, options));
    match outcome {
        Ok(Ok(Ending::Code(code))) => ExitCode::from(code),
        Ok(Ok(Ending::Interrupted)) => {
            // It returns only if it failed.
            let _ = signal_hook::low_level::emulate_default_handler(SIGINT);
            ExitCode::from(INTERRUPTED)
        }
        Ok(Err(error)) => {
            let code = match &error {
                exec::Error::App(error) => code(error),
                exec::Error::NoCredentials(..) => EX_UNAVAILABLE,
                exec::Error::Start { source, .. } if source.kind() == ErrorKind::NotFound => {
                    NOT_FOUND
                }
                exec::Error::Start { .. } => NOT_EXECUTABLE,
            };
            fail(&error, code)
        }
        Err(code) => code,
    }
}

/// Counts the files that are written or read while serving.
fn files(config: &Config) -> usize {
    let container = config.serve.container.as_ref();
    let token = container.is_some_and(|container| container.token_file.is_some());
    config.files.len() + usize::from(token) + usize::from(config.state.is_some())
}

fn code(error: &Error) -> u8 {
    match error {
        Error::Upstream(source::Error::Outbound(_)) => EX_CONFIG,
        Error::Ended(_) => EX_SOFTWARE,
        Error::Bind { .. } | Error::File(_) | Error::System { .. } | Error::Upstream(_) => EX_OSERR,
    }
}

fn get(origin: get::Origin, format: Format) -> ExitCode {
    let settings = match &origin {
        get::Origin::Settings(config) => Some(config),
        get::Origin::Daemon(_) => None,
    };
    process::protect(settings.is_some_and(|config| config.upstream.runs_programs()));
    if let Some(config) = settings {
        log::start(&config.log);
    }
    match block_on(0, get::run(origin, format)) {
        Ok(Ok(text)) => {
            let line = if text.ends_with(b"\n") {
                &b""[..]
            } else {
                b"\n"
            };
            let mut out = std::io::stdout().lock();
            // Whoever wanted them must know that they did not arrive.
            match out
                .write_all(&text)
                .and_then(|()| out.write_all(line))
                .and_then(|()| out.flush())
            {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(
                    &format_args!("cannot print the credentials: {error}"),
                    EX_OSERR,
                ),
            }
        }
        Ok(Err(error)) => fail(&error, EX_UNAVAILABLE),
        Err(code) => code,
    }
}

fn ask(listen: SocketAddr, question: Question) -> ExitCode {
    let no = match question {
        Question::Health(_) => 1,
        Question::Wait(_) | Question::Stop => EX_UNAVAILABLE,
    };
    let asked = block_on(0, async {
        let admin = Admin::new(listen).map_err(|failure| failure.to_string())?;
        match question {
            Question::Health(probe) => cli::health::run(&admin, &probe).await,
            Question::Wait(timeout) => cli::wait::run(&admin, timeout).await,
            Question::Stop => cli::stop::run(&admin).await,
        }
    });
    match asked {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(reason)) => fail(&reason, no),
        Err(code) => code,
    }
}

#[cfg(feature = "inject")]
fn inject(options: &ram_sidecar::inject::command::Options) -> ExitCode {
    let output = match ram_sidecar::inject::command::run(options) {
        Ok(output) => output,
        Err(error) if error.is_of_reading => return fail(&all(&error.reasons), EX_OSERR),
        Err(error) => return fail(&all(&error.reasons), EX_DATAERR),
    };
    for note in &output.notes {
        log::tell(note);
    }
    let mut out = std::io::stdout().lock();
    // Half of a manifest must not pass for the whole.
    match out
        .write_all(output.manifest.as_bytes())
        .and_then(|()| out.flush())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(
            &format_args!("cannot print the manifests: {error}"),
            EX_OSERR,
        ),
    }
}

/// Tells one mistake as it is, and several in a list.
#[cfg(feature = "inject")]
fn all(mistakes: &[String]) -> String {
    match mistakes {
        [one] => one.clone(),
        several => format!("{} mistakes:\n  {}", several.len(), several.join("\n  ")),
    }
}

/// Prints what was generated. A closed output is nobody's concern.
fn print(text: &[u8]) -> ExitCode {
    let _ = std::io::stdout().write_all(text);
    ExitCode::SUCCESS
}

fn fail(reason: &dyn Display, code: u8) -> ExitCode {
    log::tell(&format!("ram-sidecar: {reason}"));
    ExitCode::from(code)
}

/// The codes of sysexits.h.
const EX_USAGE: u8 = 64;
#[cfg(feature = "inject")]
const EX_DATAERR: u8 = 65;
const EX_UNAVAILABLE: u8 = 69;
const EX_SOFTWARE: u8 = 70;
const EX_OSERR: u8 = 71;
const EX_CONFIG: u8 = 78;

/// The codes of shells for a command that is not there, and for one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// The code of shells for a command that was interrupted.
const INTERRUPTED: u8 = 130;
