//! `sandbox`: the embedded STS alone, for tests of other programs.

pub(super) mod flags;

use std::process::ExitCode;

use clap::ArgMatches;
use secrecy::ExposeSecret as _;

use super::definition::with_section;
use super::input::{input, unknown_variables};
use super::output::print_if_open;
use super::runtime::block_on;
use super::{Command, Error, terminal};
use crate::config::{self, Input};
use crate::daemon;
use crate::daemon::refused::Refused;
use crate::sandbox::{Options, Sandbox};
use crate::system::process;
use crate::system::signal::{Request, Signals};

pub(super) const COMMAND: Command = Command {
    name: "sandbox",
    about: "Serves the embedded STS alone, for tests of other programs",
    examples: &[
        (
            "an STS that throttles every fifth call",
            "ram-sidecar sandbox --fault throttle=0.2",
        ),
        (
            "clears the faults while it runs",
            "curl -X DELETE http://127.0.0.1:7005/_sandbox/faults",
        ),
    ],
    notes: NOTES,
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let command = command.args([
        flags::listen("listen")
            .default_value("127.0.0.1:7005")
            .help("The address that it listens on, of loopback; port 0 picks a free one"),
        flags::fault(),
    ]);
    let command = command.args(flags::provider());
    with_section(command, "log.")
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let alone = config::standalone(&Input {
        sandbox: Some(flags::alone(given)),
        ..input(given, Vec::new())
    })?;
    process::protect(false);
    terminal::start_log(&alone.log);
    terminal::announce();
    terminal::warn_of(unknown_variables());
    block_on(Some(0), serve(alone.sandbox))??;
    Ok(ExitCode::SUCCESS)
}

/// Serves until a signal.
async fn serve(options: Options) -> Result<(), daemon::Error> {
    let mut signals = Signals::new().map_err(|source| daemon::Error::System {
        what: "listen to signals",
        source,
    })?;
    let address = options.listen;
    let sandbox = Sandbox::start(options).await.map_err(|source| {
        daemon::Error::bind(vec![Refused {
            address,
            setting: "--listen",
            source,
        }])
    })?;
    print_if_open(environment(&sandbox).as_bytes());
    // There is nothing to renew.
    while signals.next().await == Request::Renew {}
    Ok(())
}

/// Returns the variables that configure a client. Their values need no quotes in a shell.
fn environment(sandbox: &Sandbox) -> String {
    let key = sandbox.access_key();
    format!(
        "ALIBABA_CLOUD_STS_ENDPOINT={}\n\
         ALIBABA_CLOUD_ROLE_ARN={}\n\
         ALIBABA_CLOUD_ACCESS_KEY_ID={}\n\
         ALIBABA_CLOUD_ACCESS_KEY_SECRET={}\n",
        sandbox.endpoint(),
        sandbox.role_arn(),
        key.id,
        key.secret.expose_secret(),
    )
}

const NOTES: &str = "\
It prints ALIBABA_CLOUD_STS_ENDPOINT, ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_ACCESS_KEY_ID and
ALIBABA_CLOUD_ACCESS_KEY_SECRET, as a shell or an environment file reads them. They are valid nowhere else.
While it runs, PUT /_sandbox/faults with the text of --fault replaces the faults, DELETE clears them, GET counts them.
Exit codes: 0 shut down, 64 usage, 71 cannot bind, 78 configuration.";
