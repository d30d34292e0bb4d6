//! `wait`: returns when a daemon is ready, for entry points of jobs.

use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use reqwest::Method;
use tokio::time::{sleep, timeout};

use super::admin::Admin;
use super::definition::{given_timeout, timeout_argument, with_admin};
use super::runtime::block_on;
use super::{Command, Error};

pub(super) const COMMAND: Command = Command {
    name: "wait",
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let command = command
        .about(
            "Returns when a running daemon is ready: it has credentials, and its files hold them",
        )
        .after_help("Exit codes: 0 ready, 69 not in time, 64 usage, 78 configuration.")
        .arg(timeout_argument("60s", "How long to wait"));
    with_admin(command)
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let admin = Admin::of(given)?;
    block_on(0, wait(&admin, given_timeout(given)))??;
    Ok(ExitCode::SUCCESS)
}

/// Asks until the daemon is ready, for `limit` at most.
async fn wait(admin: &Admin, limit: Duration) -> Result<(), Error> {
    let mut reason = String::from("it does not answer");
    let ready = async {
        while let Err(error) = admin.ask(Method::GET, "/ready").await {
            reason = error.to_string();
            sleep(PAUSE).await;
        }
    };
    let waited = timeout(limit, ready).await;
    waited.map_err(|_| {
        let seconds = limit.as_secs();
        Error::Unavailable(format!("not ready within {seconds} seconds: {reason}").into())
    })
}

/// Short beside the time that STS takes.
const PAUSE: Duration = Duration::from_millis(100);
