//! `stop`: asks a daemon to shut down, from any container of its pod.

use std::process::ExitCode;

use clap::ArgMatches;
use reqwest::Method;

use super::admin::Admin;
use super::definition::with_admin;
use super::runtime::block_on;
use super::{Command, Error};

pub(super) const COMMAND: Command = Command {
    name: "stop",
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let command = command
        .about("Asks a running daemon to leave, from any container of its pod")
        .after_help("Without this program, `curl -X POST http://127.0.0.1:7003/stop` does the same.\nIt leaves without shutdown.drain, which is for jobs that are told to stop at the same time.\nExit codes: 0 it leaves, 69 it does not, 64 usage, 78 configuration.");
    with_admin(command)
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let admin = Admin::of(given)?;
    block_on(0, admin.ask(Method::POST, "/stop"))?
        .map_err(|error| Error::Unavailable(error.into()))?;
    Ok(ExitCode::SUCCESS)
}
