//! `exec`: serves for as long as one command runs, and stands in for it.
//!
//! The command finds credentials by its environment, and nothing of this process's own identity there. It receives the
//! signals that this process receives, and its exit code is the exit code of this process.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, waitid};
use secrecy::ExposeSecret as _;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use crate::config::Config;
use crate::daemon::{self, App, Handle};
use crate::system::process::{self, Awaited};
use crate::system::signal::relay::Relay;

/// What to run, and how.
#[derive(Debug)]
pub struct Options {
    /// The command and its arguments. Never empty.
    pub command: Vec<OsString>,
    /// How long the first credentials may take.
    pub timeout: Duration,
    /// The variables that the command does not inherit.
    pub hidden: Vec<OsString>,
    /// Whether an HTTP proxy is set in the environment that the command inherits.
    pub has_proxy: bool,
}

/// Why the command was not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing could be served.
    #[error(transparent)]
    App(#[from] daemon::Error),
    /// There were no credentials.
    #[error("{0} was not started, because there are no credentials for it: {1}")]
    NoCredentials(String, String),
    /// It does not start.
    #[error("cannot start {command}: {source}; correct the command after --")]
    Start {
        /// The command.
        command: String,
        /// Why not.
        source: io::Error,
    },
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With the exit code of the command: 128 and the number of the signal if it was killed.
    Code(u8),
    /// The command was interrupted from a terminal, and so is to be this process: a script that a shell runs goes on
    /// after a program that ends by itself.
    Interrupted,
}

/// Runs the command to its end.
pub async fn run(mut config: Config, options: Options) -> Result<Ending, Error> {
    // A successor would run the command again, which is a matter of whoever starts it.
    if let Some(path) = config.state.take() {
        let path = path.display();
        info!(%path, "exec keeps no state, and leaves that of a daemon alone");
    }
    let system = |what| move |source| daemon::Error::System { what, source };
    let mut relay = Relay::new().map_err(system("listen to signals"))?;
    let mut changed = signal(SignalKind::child()).map_err(system("listen to SIGCHLD"))?;
    let App { handle, mut engine } = App::start(config, process::open_files()).await?;
    if options.has_proxy {
        warn!(
            "HTTP_PROXY is set: Python's SDK would send its requests for credentials there and ignores NO_PROXY; unset HTTP_PROXY and http_proxy for such a command"
        );
    }
    let waited = tokio::select! {
        biased;
        signal = asked_to_end(&mut relay) => Ok(Some(signal)),
        () = handle.stop_asked() => Ok(Some(Signal::TERM)),
        ended = engine.ended() => Err(ended.into()),
        ready = ready(&handle, &options) => ready.map(|()| None),
    };
    let started = match waited {
        Ok(None) => start(&handle, &options),
        Ok(Some(signal)) => {
            // What writes must not go on.
            drop(engine);
            handle.withdraw_files().await;
            return Ok(Ending::Code(code_of(signal)));
        }
        Err(error) => Err(error),
    };
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            drop(engine);
            handle.withdraw_files().await;
            return Err(error);
        }
    };
    let _awaited = Awaited::new(child.id());
    let status = tokio::select! {
        status = accompany(&mut child, &mut relay, &mut changed, &handle) => status,
        // The command is not to lose its work; its credentials are good for a while.
        broken = engine.ended() => {
            error!("{broken}");
            accompany(&mut child, &mut relay, &mut changed, &handle).await
        }
    };
    // What the command left behind may still ask, until the drain is over.
    let impatient = async {
        asked_to_end(&mut relay).await;
    };
    if let Err(error) = engine.leave(handle.stop_asked(), impatient).await {
        error!("{error}");
    }
    handle.withdraw_files().await;
    Ok(status.map_or(Ending::Code(u8::MAX), ending))
}

/// Waits for credentials, and until every file holds them.
async fn ready(handle: &Handle, options: &Options) -> Result<(), Error> {
    let reason = match timeout(options.timeout, handle.ready()).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(failure)) => failure.to_string(),
        Err(_) => {
            let seconds = options.timeout.as_secs();
            let trouble = handle.trouble().map(|failure| failure.to_string());
            let trouble = trouble.unwrap_or_else(|| "STS has not answered yet".to_owned());
            format!("none within {seconds} seconds (--timeout); {trouble}")
        }
    };
    Err(Error::NoCredentials(options.name(), reason))
}

fn start(handle: &Handle, options: &Options) -> Result<Child, Error> {
    let mut command = Command::new(
        options
            .command
            .first()
            .map_or_else(OsString::new, Clone::clone),
    );
    command.args(options.command.get(1..).unwrap_or_default());
    for name in &options.hidden {
        command.env_remove(name);
    }
    command.env("ALIBABA_CLOUD_CREDENTIALS_URI", handle.uri.expose_secret());
    command.envs(CHOSEN);
    if handle.is_instance {
        command.env_remove(METADATA_DISABLED);
    }
    if let Some(uri) = &handle.container_uri {
        command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.expose_secret());
        command.envs(CONTAINER);
    }
    if let Some(file) = &handle.container_token_file {
        command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file);
    }
    command.spawn().map_err(|source| Error::Start {
        command: options.name(),
        source,
    })
}

impl Options {
    fn name(&self) -> String {
        let name = self.command.first().map(|name| name.to_string_lossy());
        format!("`{}`", name.unwrap_or_default())
    }
}

/// Waits for the end of the command, and meanwhile stands in for it.
async fn accompany(
    child: &mut Child,
    relay: &mut Relay,
    changed: &mut tokio::signal::unix::Signal,
    handle: &Handle,
) -> io::Result<ExitStatus> {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let Some(id) = id.and_then(Pid::from_raw) else {
        return child.wait().await;
    };
    relay.take_pauses()?;
    let mut is_pause_asked = false;
    let mut is_stop_passed_on = false;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            _ = changed.recv() => {
                process::bury();
                // A shell waits for this process to stop, and continues the whole group. Only where the command stopped as
                // for a shell: nobody continues this process where somebody else has stopped the command alone.
                if has_paused(id) && (is_pause_asked || has_terminal()) {
                    is_pause_asked = false;
                    let _ = kill_process(getpid(), Signal::STOP);
                }
            }
            received = relay.next() => {
                if received.is_for(id) {
                    send(id, received.signal);
                }
                is_pause_asked |= received.is_pause();
            }
            () = handle.stop_asked(), if !is_stop_passed_on => {
                is_stop_passed_on = true;
                send(id, Signal::TERM);
            }
        }
    }
}

/// Whether the command has stopped since it was last asked, by a signal of a terminal's.
fn has_paused(command: Pid) -> bool {
    let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
    let found = waitid(WaitId::Pid(command), look).ok().flatten();
    let signal = found.and_then(|state| state.stopping_signal());
    [Signal::TSTP, Signal::TTIN, Signal::TTOU]
        .iter()
        .any(|pause| signal == Some(pause.as_raw()))
}

/// Whether a terminal controls this process: then a shell does.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

fn send(command: Pid, signal: Signal) {
    if let Err(error) = kill_process(command, signal) {
        debug!(?signal, "Cannot pass a signal on: {error}");
    }
}

async fn asked_to_end(relay: &mut Relay) -> Signal {
    loop {
        let received = relay.next().await;
        if received.is_end() {
            return received.signal;
        }
    }
}

fn ending(status: ExitStatus) -> Ending {
    let interrupt = Signal::INT.as_raw();
    if status.signal() == Some(interrupt) && !getpid().is_init() && has_terminal() {
        return Ending::Interrupted;
    }
    let code = status.code();
    let code = code.or_else(|| status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ending::Code(code.unwrap_or(u8::MAX))
}

fn code_of(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)
}

/// Where this process is the metadata service itself, the SDKs' providers of that are not to be kept from it.
const METADATA_DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";

/// What makes the SDKs' default chains come to the credentials URI, which they ask last.
const CHOSEN: [(&str, &str); 3] = [
    (METADATA_DISABLED, "true"),
    ("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true"),
    // Nothing else switches off the ini file in the home directory.
    ("ALIBABA_CLOUD_CREDENTIALS_FILE", "/dev/null"),
];

/// What AWS SDKs need to speak to OSS: it takes no checksums at the end of a body.
const CONTAINER: [(&str, &str); 2] = [
    ("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required"),
    ("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required"),
];
