//! `health`: asks a probe of a running daemon, for images without an HTTP client.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches};
use reqwest::Method;

use super::admin::Admin;
use super::definition::with_admin;
use super::runtime::block_on;
use super::{Command, Error};

pub(super) const COMMAND: Command = Command {
    name: "health",
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let command = command
        .about("Asks a probe of a running daemon, for images without an HTTP client")
        .after_help("Exit codes: 0 it passes, 1 it does not, 64 usage, 78 configuration.")
        .arg(
            Arg::new("probe")
                .value_name("PROBE")
                .required(true)
                .value_parser(PossibleValuesParser::new(["live", "ready", "startup"]))
                .help("Which: live (it answers), ready (its credentials are good), startup (it has had some)"),
        );
    with_admin(command)
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let admin = Admin::of(given)?;
    let probe = given.get_one::<String>("probe").map_or("", String::as_str);
    block_on(0, admin.ask(Method::GET, &format!("/{probe}")))?
        .map_err(|error| Error::Unhealthy(error.into()))?;
    Ok(ExitCode::SUCCESS)
}
