//! `serve`: the daemon.

mod systemd;

use std::pin::pin;
use std::process::ExitCode;

use clap::ArgMatches;
use secrecy::ExposeSecret as _;

use super::definition::with_daemon;
use super::hint::config;
use super::input::variable;
use super::output::print_if_open;
use super::runtime::{self, block_on};
use super::{Command, Error, progress, terminal};
use crate::config::Config;
use crate::daemon::{self, App, Handle};
use crate::system::process;
use crate::system::signal::{Request, Signals};

pub(super) const COMMAND: Command = Command {
    name: "serve",
    about: "Assumes the role, keeps its credentials fresh, and serves them",
    examples: &[
        (
            "without a cloud account, against an embedded STS",
            "ram-sidecar serve --sandbox",
        ),
        (
            "also as a file, as PAI does",
            "ram-sidecar serve --role-arn acs:ram::1234567890123456:role/job --file /mnt/.alibabacloud/credentials",
        ),
    ],
    notes: NOTES,
    define: with_daemon,
    run,
};

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let config = config(given, Vec::new())?;
    process::protect(config.upstream.runs_programs());
    terminal::start_daemon_log(given, &config);
    let is_service = variable("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty());
    block_on(Some(runtime::files(&config)), serve(config, is_service))??;
    Ok(ExitCode::SUCCESS)
}

/// Serves until a signal, or until a program of the pod requests the stop; notifies systemd if it `is_service`.
async fn serve(config: Config, is_service: bool) -> Result<(), daemon::Error> {
    let mut signals = Signals::new().map_err(|source| daemon::Error::System {
        what: "listen to signals",
        source,
    })?;
    let print_uri = config.serve.print_uri;
    let is_watched = config.log.is_watched();
    let mut starting = pin!(App::start(config, process::raise_open_files()));
    let started = tokio::select! {
        started = &mut starting => started?,
        () = stop_requested(&mut signals) => {
            // Its tasks do not run, so that the first write of a file is not cut off.
            drop(starting.await?);
            return Ok(());
        }
    };
    let App { handle, mut tasks } = started;
    let first = async {
        handle.credentials().await;
        if print_uri {
            let uri = handle.uri.expose_secret();
            print_if_open(format!("ALIBABA_CLOUD_CREDENTIALS_URI={uri}\n").as_bytes());
        }
        std::future::pending::<()>().await;
    };
    let notified = async {
        if is_service {
            handle.follow(systemd::report).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stopped(&mut signals, &handle) => {}
        () = handle.stop_requested() => {}
        ended = tasks.ended() => return Err(ended),
        () = first => {}
        never = progress::show(&handle, is_watched) => match never {},
        () = notified => {}
    }
    if is_service {
        systemd::stopping().await;
    }
    // A stop that is requested ends the drain: the drain is for jobs that get a signal at the same time.
    let cut_short = stopped(&mut signals, &handle);
    tasks.shut_down(handle.stop_requested(), cut_short).await
}

/// Waits for a request to stop; meanwhile the first credentials are being obtained.
async fn stop_requested(signals: &mut Signals) {
    while signals.next().await == Request::Renew {}
}

/// Waits for a request to stop, and passes on those to renew.
async fn stopped(signals: &mut Signals, handle: &Handle) {
    while signals.next().await == Request::Renew {
        handle.renew();
    }
}

const NOTES: &str = "\
Flags override the environment, the environment overrides the file of --config, the file overrides the defaults.
config/ram-sidecar.toml documents every key.
Secrets are never flags: set ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for a temporary AccessKey,
ALIBABA_CLOUD_SECURITY_TOKEN, or the same names with _FILE for the paths of mounted files. The variables of RRSA,
ALIBABA_CLOUD_OIDC_PROVIDER_ARN and ALIBABA_CLOUD_OIDC_TOKEN_FILE, are read too.

SIGTERM shuts down after the drain; SIGHUP renews the credentials now.
Exit codes: 0 shut down, 64 usage, 70 a task ended, 71 cannot bind or write, 78 configuration.";
