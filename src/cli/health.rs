//! `health`: calls a probe of a running daemon, for images without an HTTP client.

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
    about: "Calls a probe of a running daemon, for images without an HTTP client",
    examples: &[
        ("as Docker's HEALTHCHECK", "ram-sidecar health live"),
        (
            "a daemon with another admin listener",
            "ram-sidecar health ready --admin-listen 127.0.0.1:7013",
        ),
    ],
    notes: NOTES,
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let command = command
        .arg(
            Arg::new("probe")
                .value_name("PROBE")
                .required(true)
                .value_parser(PossibleValuesParser::new(["live", "ready", "startup"]))
                .help("The probe: live (it answers), ready (its credentials are valid), startup (credentials have been obtained)"),
        );
    with_admin(command)
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let admin = Admin::of(given)?;
    let probe = given.get_one::<String>("probe").map_or("", String::as_str);
    let asked = block_on(None, admin.ask(Method::GET, &format!("/{probe}")))?;
    #[cfg(feature = "sandbox")]
    if let Err(super::admin::Error::Unanswered { is_nowhere, .. }) = asked
        && is_nowhere
        && let Some(probed) = super::sandbox::probe_process_1()
    {
        return probed;
    }
    asked.map_err(|error| Error::Unhealthy(error.into()))?;
    Ok(ExitCode::SUCCESS)
}

const NOTES: &str = "\
Where admin.listen is not set and nothing listens at its default, every probe asks process 1 if that is `ram-sidecar sandbox`,
as in a container of the image.
Exit codes: 0 the probe passes, 1 it fails, 64 usage, 78 configuration.";
