//! `exec`: serves for as long as one command runs, and stands in for it.
//!
//! The command finds credentials by its environment, and nothing of this process's own identity there. It receives the
//! signals that this process receives, and its exit code is the exit code of this process.

mod child;
mod token;

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, value_parser};
use rustix::process::{Signal, geteuid};
use signal_hook::consts::SIGINT;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

use super::command_environment::Flags;
use super::definition::{
    given_timeout, timeout_argument, with_default, with_sandbox, with_settings,
};
use super::hint;
use super::input::variable;
use super::runtime::{self, block_on};
use super::{Command, Error, command_environment, progress, terminal};
use crate::config::settings::{ADMIN_LISTEN, LOG_LEVEL, SERVE_KEY, SERVE_LISTEN};
use crate::config::{self, Config, Definition};
use crate::daemon::{self, App, Handle};
use crate::failure::Failure;
use crate::server::caller;
use crate::system::log;
use crate::system::process::{self, AwaitedChild};
use crate::system::program::{self, NotStarted};
use crate::system::random;
use crate::system::signal::relay::Relay;

use self::child::{Ending, accompany, asked_to_end, code_of, ending, start};
use self::token::PlaceholderToken;

/// The command, and how to run it.
#[derive(Debug)]
struct Options {
    /// The command and its arguments. Never empty.
    command: Vec<OsString>,
    /// How long the first credentials may take.
    timeout: Duration,
    /// What changes the environment of the command.
    flags: Flags,
    /// The log.
    log: log::Options,
    /// The role of the metadata dialect.
    metadata_role: Option<String>,
}

/// Why the command was not run.
#[derive(Debug, thiserror::Error)]
enum ExecError {
    /// Nothing could be served.
    #[error(transparent)]
    Daemon(#[from] daemon::Error),
    /// Nobody knows whom the metadata dialect would serve.
    #[error(
        "cannot serve the metadata dialect to user {user} only, because the users of connections are not known here: {reason}; leave out --metadata and metadata.listen"
    )]
    UnknownCallers {
        /// The user of this process.
        user: u32,
        /// Why not.
        reason: String,
    },
    /// There were no credentials.
    #[error("{0} was not started, because there are no credentials for it: {1}")]
    NoCredentials(String, String),
    /// The command does not start.
    #[error("cannot start {command}: {reason}; {remedy}")]
    Start {
        /// The command.
        command: String,
        /// Why not.
        reason: String,
        /// What to do about it.
        remedy: String,
        /// Whether there is no such file.
        is_missing: bool,
    },
}

pub(super) const COMMAND: Command = Command {
    name: "exec",
    about: "Runs a command, and serves credentials for as long as it runs",
    examples: &[
        (
            "without a cloud account, to see what the command gets",
            "ram-sidecar exec --sandbox -- env",
        ),
        (
            "the training finds the credentials of the role by its environment",
            "ram-sidecar exec --role-arn acs:ram::1234567890123456:role/job -- python train.py",
        ),
    ],
    notes: NOTES,
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let command = command.arg(timeout_argument(
        "30s",
        "How long the first credentials may take",
    ));
    let command = command_environment::with_flags(command);
    let mut command = with_settings(command, &OBEYED);
    for (setting, default) in DEFAULTS {
        command = with_default(command, setting, default);
    }
    // Last, so that it stands last in the usage.
    with_sandbox(with_default(command, &SERVE_KEY, "128 random bits")).arg(
        Arg::new("command")
            .value_name("CMD")
            .value_parser(value_parser!(OsString))
            .num_args(1..)
            .required(true)
            .last(true)
            .help("The command and its arguments, after --"),
    )
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let key = random_name()
        .map_err(|error| Error::System(format!("cannot make a secret path: {error}").into()))?;
    let mut defaults = vec![(&SERVE_KEY.definition, key)];
    defaults.extend(DEFAULTS.map(|(setting, default)| (setting, default.to_owned())));
    let flags = Flags::of(given);
    defaults.extend(flags.defaults());
    let config = hint::config(given, defaults)?;
    let metadata_role = config
        .metadata
        .as_ref()
        .and_then(|options| options.role.clone());
    let words = given.get_many::<OsString>("command").unwrap_or_default();
    let options = Options {
        command: words.cloned().collect(),
        timeout: given_timeout(given),
        flags,
        log: config.log.clone(),
        metadata_role,
    };
    // Without `process::protect`: the command would inherit the limit, the umask and the ban on new privileges.
    terminal::start_daemon_log(given, &config);
    match block_on(Some(runtime::files(&config)), exec(config, options))?? {
        Ending::Code(code) => Ok(ExitCode::from(code)),
        Ending::Interrupted => {
            // It returns only if it failed.
            let _ = signal_hook::low_level::emulate_default_handler(SIGINT);
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

impl From<ExecError> for Error {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Daemon(error) => error.into(),
            ExecError::NoCredentials(..) => Self::Unavailable(error.into()),
            ExecError::UnknownCallers { .. } => Self::System(error.into()),
            ExecError::Start {
                is_missing: true, ..
            } => Self::NotFound(error.into()),
            ExecError::Start { .. } => Self::NotExecutable(error.into()),
        }
    }
}

/// Returns 128 random bits, in characters that no client encodes.
fn random_name() -> io::Result<String> {
    let bytes = random::bytes().map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Runs the command to its end.
async fn exec(mut config: Config, options: Options) -> Result<Ending, ExecError> {
    // A process that restored the state would still have to run the command again.
    if let Some(path) = config.state.take() {
        let path = path.display();
        info!(%path, "exec does not use state.file: it belongs to a daemon");
    }
    let system = |what| move |source| daemon::Error::System { what, source };
    let mut relay = Relay::new().map_err(system("listen to signals"))?;
    let mut changed = signal(SignalKind::child()).map_err(system("listen to SIGCHLD"))?;
    let file = options.file().ok_or_else(|| io::ErrorKind::NotFound.into());
    file.and_then(|file| program::check(&file))
        .map_err(|error| options.not_started(&error))?;
    if let Some(metadata) = &mut config.metadata {
        restrict(metadata)?;
    }
    let token = provided_token(&config);
    let App { handle, mut tasks } = App::start(config, process::open_files()).await?;
    let token_file = token.as_ref().map(PlaceholderToken::path);
    let token_file = handle.container_token_file.as_deref().or(token_file);
    if command_environment::has_http_proxy() && !options.flags.keeps_http_proxy {
        warn!(
            error = "Python's SDK would send its requests for credentials there, whatever NO_PROXY says; HTTPS_PROXY is passed on",
            advice = "if the command needs the proxy for plain HTTP, add --keep-http-proxy",
            "HTTP_PROXY is not passed on"
        );
    }
    let waited = tokio::select! {
        biased;
        signal = asked_to_end(&mut relay) => Ok(Some(signal)),
        () = handle.stop_requested() => Ok(Some(Signal::TERM)),
        ended = tasks.ended() => Err(ended.into()),
        ready = ready(&handle, &options) => ready.map(|()| None),
    };
    let started = match waited {
        Ok(None) => {
            start(&handle, &options, token_file).map_err(|error| options.not_started(&error))
        }
        Ok(Some(signal)) => {
            // The writers stop before their files are removed.
            drop(tasks);
            handle.remove_files().await;
            return Ok(Ending::Code(code_of(signal)));
        }
        Err(error) => Err(error),
    };
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            drop(tasks);
            handle.remove_files().await;
            return Err(error);
        }
    };
    let _awaited = AwaitedChild::new(child.id());
    let status = tokio::select! {
        status = accompany(&mut child, &mut relay, &mut changed, &handle) => status,
        // The command goes on: its credentials are valid for a while.
        broken = tasks.ended() => {
            error!(error = %broken, "Serving has failed");
            accompany(&mut child, &mut relay, &mut changed, &handle).await
        }
    };
    // Processes that the command left behind are served until the drain is over.
    let cut_short = async {
        asked_to_end(&mut relay).await;
    };
    if let Err(error) = tasks.shut_down(handle.stop_requested(), cut_short).await {
        error!(%error, "Serving has failed");
    }
    handle.remove_files().await;
    Ok(status.map_or(Ending::Code(u8::MAX), ending))
}

/// Restricts the metadata dialect, which has no secret, to the user of this process unless others are configured.
fn restrict(metadata: &mut config::Metadata) -> Result<(), ExecError> {
    let user = geteuid().as_raw();
    let reason = match caller::finds_owners() {
        Ok(true) => {
            metadata.allow_uids.get_or_insert_with(|| vec![user]);
            return Ok(());
        }
        Ok(false) => "the kernel does not name the user of this process".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(ExecError::UnknownCallers { user, reason })
}

/// Provides a token file for AWS SDKs, unless one is configured or they are not served.
fn provided_token(config: &Config) -> Option<PlaceholderToken> {
    let container = config.serve.container.as_ref()?;
    if container.token_file.is_some() {
        return None;
    }
    let token = random_name().and_then(|name| PlaceholderToken::create(&name));
    token
        .inspect_err(|error| {
            warn!(
                %error,
                advice = "set TMPDIR to a directory that can be written, or container.token_file: polars, obstore and delta-rs need one",
                "Cannot write a token file for AWS SDKs"
            );
        })
        .ok()
}

/// Waits for credentials, and until every file holds them.
async fn ready(handle: &Handle, options: &Options) -> Result<(), ExecError> {
    let told = |failure: &Failure| {
        if options.log.level >= LevelFilter::WARN {
            "the log above says why".to_owned()
        } else {
            failure.to_string()
        }
    };
    let waited = tokio::select! {
        waited = timeout(options.timeout, handle.ready()) => waited,
        never = progress::show(handle, options.log.is_watched()) => match never {},
    };
    let reason = match waited {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(failure)) => told(&failure),
        Err(_) => {
            let seconds = options.timeout.as_secs();
            let trouble = handle.failure().map(|failure| told(&failure));
            let trouble = trouble.unwrap_or_else(|| "the first attempt has not ended yet; a longer --timeout lets it say what it waits for"
                    .to_owned());
            format!("none within {seconds} s (--timeout); {trouble}")
        }
    };
    Err(ExecError::NoCredentials(options.name(), reason))
}

impl Options {
    fn name(&self) -> String {
        let name = self.command.first().map(|name| name.to_string_lossy());
        format!("`{}`", name.unwrap_or_default())
    }

    /// Returns the file of the command, if it is there: rather one that can be started than one that comes first.
    fn file(&self) -> Option<PathBuf> {
        let name = self.command.first().filter(|name| !name.is_empty())?;
        if name.as_bytes().contains(&b'/') {
            return Some(PathBuf::from(name)).filter(|path| program::may_exist(path));
        }
        let path = variable("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let candidates = std::env::split_paths(&path).map(|directory| directory.join(name));
        let mut candidates = candidates.filter(|path| program::may_exist(path) && !path.is_dir());
        let first = candidates.next()?;
        if program::check(&first).is_ok() {
            return Some(first);
        }
        let other = candidates.find(|path| program::check(path).is_ok());
        other.or(Some(first))
    }

    fn not_started(&self, error: &io::Error) -> ExecError {
        let file = self.file();
        let is_empty = self.command.first().is_none_or(|name| name.is_empty());
        let told = |reason: &str, remedy: &str| NotStarted {
            reason: reason.to_owned(),
            remedy: Some(remedy.to_owned()),
        };
        let NotStarted { reason, remedy } = match &file {
            Some(file) => program::not_started(file, error),
            None if is_empty => told(
                "it is empty",
                "write it after --; a variable of the shell may be empty",
            ),
            None => told("there is no such file", "correct the command after --"),
        };
        ExecError::Start {
            command: self.name(),
            reason,
            remedy: remedy.unwrap_or_else(|| "correct the command after --".to_owned()),
            is_missing: file.is_none(),
        }
    }
}

/// Where the C library looks for programs if PATH is unset.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The code of shells for a command that was interrupted.
const INTERRUPTED: u8 = 130;

/// The sections of the settings that it obeys: not `state.`, because a process that restored a state would still have to run
/// the command again.
const OBEYED: [&str; 10] = [
    "role.",
    "identity.",
    "sts.",
    "serve.",
    "container.",
    "metadata.",
    "admin.",
    "file",
    "shutdown.",
    "log.",
];

/// The defaults that differ from those of `serve`, besides a random `serve.key`: two at a time must not use the same port, and
/// nobody else may request the credentials.
const DEFAULTS: [(&Definition, &str); 3] = [
    (&SERVE_LISTEN.definition, "127.0.0.1:0"),
    (&ADMIN_LISTEN.definition, "off"),
    (&LOG_LEVEL.definition, "warn"),
];

const NOTES: &str = "\
The command gets ALIBABA_CLOUD_CREDENTIALS_URI and the variables that lead the SDKs' default chains there, and none of the
variables of this process's own role and identity. With a json-camel file it gets ODPS_STS_ACCOUNT_FILE too, with an
aliyun-cli file RAM_SIDECAR_ALIYUN_CONFIG (aliyun --config-path \"$RAM_SIDECAR_ALIYUN_CONFIG\").
It does not get HTTP_PROXY, unless --keep-http-proxy is given, and with any other proxy NO_PROXY contains loopback.
Signals are forwarded, and the exit code is that of the command (128 + n if signal n killed it). It restores no state:
state.file, in the environment or the file, is for serve.
Exit codes before it starts: 64 usage, 69 no credentials in time, 71 cannot bind or write, 78 configuration, 126 the
command cannot be run, 127 it is not found.";
