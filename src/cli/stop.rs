//! `stop`: shuts a daemon down, from any container of its pod.

use std::process::ExitCode;

use clap::ArgMatches;
use reqwest::Method;

use super::admin::Admin;
use super::definition::with_admin;
use super::runtime::block_on;
use super::{Command, Error};

pub(super) const COMMAND: Command = Command {
    name: "stop",
    about: "Shuts a running daemon down, from any container of its pod",
    examples: &[
        ("at the end of the job", "python train.py; ram-sidecar stop"),
        (
            "a daemon with another admin listener",
            "ram-sidecar stop --admin-listen 127.0.0.1:7013",
        ),
    ],
    notes: NOTES,
    define: with_admin,
    run,
};

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let admin = Admin::of(given)?;
    block_on(None, admin.ask(Method::POST, "/stop"))?
        .map_err(|error| Error::Unavailable(error.into()))?;
    Ok(ExitCode::SUCCESS)
}

const NOTES: &str = "\
Without this program, `curl -X POST http://127.0.0.1:7003/stop` does the same. The daemon shuts down without shutdown.drain,
which is for jobs that get SIGTERM at the same time. It obeys root and its own user, and everyone on this machine where its
admin.stop is anyone.
Exit codes: 0 it shuts down, 64 usage, 69 it does not, 78 configuration.";
