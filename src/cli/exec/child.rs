//! The command of `exec` as a child: its start, the signals that it gets, and its end.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, waitid};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::process::{Child, Command};
use tracing::{debug, warn};

use crate::chains::Served;
use crate::cli::command_environment::{FILES, Server, export_oss};
use crate::cli::explain;
use crate::credentials::timestamp;
use crate::daemon::Handle;
use crate::system::process;
use crate::system::signal::relay::Relay;

use super::Options;

/// How this process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With the exit code of the command: 128 and the number of the signal if it was killed.
    Code(u8),
    /// By the signal that interrupted the command from a terminal: after any other end, a shell goes on with its script.
    Interrupted,
}

/// Starts the command, in an environment that leads its clients to `handle`.
pub(super) fn start(
    handle: &Handle,
    options: &Options,
    token_file: Option<&Path>,
) -> io::Result<Child> {
    let (program, arguments) = options
        .command
        .split_first()
        .ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command.args(arguments);
    prepare(command.as_std_mut(), handle, options, token_file)?;
    command.spawn()
}

/// Sets up the environment of a command that `handle` serves, and warns of what its clients would use instead. AWS SDKs send the
/// token in `token_file`.
fn prepare(
    command: &mut std::process::Command,
    handle: &Handle,
    options: &Options,
    token_file: Option<&Path>,
) -> io::Result<()> {
    let uri = |uri: &SecretString| uri.expose_secret().to_owned();
    let server = Server {
        uri: uri(&handle.uri),
        container_uri: handle.container_uri.as_ref().map(uri),
        token_file: token_file.map(Path::to_owned),
        metadata: handle.metadata,
        metadata_role: options.metadata_role.clone(),
        files: FILES
            .iter()
            .filter_map(|(format, _)| Some((*format, handle.file(*format)?.to_owned())))
            .collect(),
    };
    server.lead(command, options.flags)?;
    let current = handle.current();
    let credentials = current.as_ref().map(|current| &current.lease.credentials);
    if options.flags.exports_oss {
        export_oss(command, credentials);
        if let Some(credentials) = credentials {
            warn!(
                expires_at = timestamp(credentials.expires_at),
                advice =
                    "a program that runs longer needs a provider of ALIBABA_CLOUD_CREDENTIALS_URI",
                "The variables of --env oss expire and are not renewed"
            );
        } else {
            warn!("--env oss sets nothing, because there are no credentials");
        }
    }
    let answer = credentials.map(|credentials| Served::Credentials {
        access_key_id: credentials.access_key_id.clone(),
        expires_at: timestamp(credentials.expires_at),
    });
    for stray in explain::strays(command, &server, answer) {
        warn!(
            clients = stray.clients.join(", "),
            error = stray.what,
            advice = stray.fix,
            "Clients of the command will not use these credentials"
        );
    }
    Ok(())
}

/// Waits for the end of the command, and meanwhile passes on signals.
pub(super) async fn accompany(
    child: &mut Child,
    relay: &mut Relay,
    changed: &mut tokio::signal::unix::Signal,
    handle: &Handle,
) -> io::Result<ExitStatus> {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let Some(id) = id.and_then(Pid::from_raw) else {
        return child.wait().await;
    };
    relay.receive_pauses()?;
    let mut is_pause_asked = false;
    let mut is_stop_passed_on = false;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            _ = changed.recv() => {
                process::reap_orphans();
                // A shell waits for this process to stop, and continues the whole group. Only where the command stopped as
                // for a shell: nothing continues this process if the command alone was stopped.
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
            () = handle.stop_requested(), if !is_stop_passed_on => {
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
        debug!(?signal, %error, "Cannot pass a signal on");
    }
}

/// Waits for a signal that asks this process to end.
pub(super) async fn asked_to_end(relay: &mut Relay) -> Signal {
    loop {
        let received = relay.next().await;
        if received.is_termination() {
            return received.signal;
        }
    }
}

/// Returns how this process is to end after the command.
pub(super) fn ending(status: ExitStatus) -> Ending {
    let interrupt = Signal::INT.as_raw();
    if status.signal() == Some(interrupt) && !getpid().is_init() && has_terminal() {
        return Ending::Interrupted;
    }
    let code = status.code();
    let code = code.or_else(|| status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ending::Code(code.unwrap_or(u8::MAX))
}

/// Returns the exit code of shells for a process that a signal has killed.
pub(super) fn code_of(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)
}
