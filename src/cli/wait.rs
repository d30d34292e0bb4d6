//! `wait`: returns when a daemon is ready, for entry points of jobs.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use reqwest::Method;
use tokio::time::{sleep, timeout};

use super::admin::{self, Admin};
use super::definition::{given_timeout, timeout_argument, with_admin};
use super::runtime::block_on;
use super::{Command, Error};

pub(super) const COMMAND: Command = Command {
    name: "wait",
    about: "Waits until a running daemon is ready: it has credentials, and its files contain them",
    examples: &[
        (
            "before the training starts",
            "ram-sidecar wait && python train.py",
        ),
        (
            "a daemon with another admin listener",
            "ram-sidecar wait --admin-listen 127.0.0.1:7013 --timeout 5m",
        ),
    ],
    notes: NOTES,
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let command = command.arg(timeout_argument("60s", "How long to wait"));
    with_admin(command)
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let admin = Admin::of(given)?;
    block_on(None, wait(&admin, given_timeout(given)))??;
    Ok(ExitCode::SUCCESS)
}

/// Asks until the daemon is ready, for `limit` at most.
async fn wait(admin: &Admin, limit: Duration) -> Result<(), Error> {
    let mut reason = String::from("it does not answer");
    let is_watched = std::io::stderr().is_terminal();
    let mut shown = 0;
    let ready = async {
        while let Err(error) = admin.ask(Method::GET, "/ready").await {
            reason = error.to_string();
            if let admin::Error::Refused {
                attempt: Some(attempt),
                ..
            } = error
                && is_watched
                && attempt.number != shown
            {
                attempt.show();
                shown = attempt.number;
            }
            sleep(PAUSE).await;
        }
    };
    let waited = timeout(limit, ready).await;
    waited.map_err(|_| {
        let seconds = limit.as_secs();
        Error::Unavailable(format!("not ready within {seconds} s: {reason}").into())
    })
}

/// Short beside the time that STS takes.
const PAUSE: Duration = Duration::from_millis(100);

const NOTES: &str = "\
Exit codes: 0 ready, 64 usage, 69 not ready in time, 78 configuration.";
