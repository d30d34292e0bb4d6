//! `sandbox`: the embedded STS alone, for tests of other programs.

pub(super) mod flags;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;
use reqwest::Method;
use secrecy::ExposeSecret as _;

use super::admin::{self, Admin};
use super::definition::with_section;
use super::input::{input, unknown_variables};
use super::output::print_if_open;
use super::runtime::block_on;
use super::{Command, Error, terminal};
use crate::config::{self, Input, Standalone};
use crate::daemon;
use crate::daemon::refused::Refused;
use crate::sandbox::{LIVE, Options, Sandbox};
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
    let alone = standalone(given)?;
    process::protect(false);
    terminal::start_log(&alone.log);
    terminal::announce();
    terminal::warn_of(unknown_variables());
    block_on(Some(0), serve(alone.sandbox))??;
    Ok(ExitCode::SUCCESS)
}

fn standalone(given: &ArgMatches) -> Result<Standalone, config::Errors> {
    config::standalone(&Input {
        sandbox: Some(flags::alone(given)),
        ..input(given, Vec::new())
    })
}

/// Calls the probe of the sandbox that is process 1, as in a container of it; `None` if that is another program or command.
pub(super) fn probe_process_1() -> Option<Result<ExitCode, Error>> {
    let arguments = process::first_command_line();
    // Docker's --init puts another program before it.
    let own = arguments
        .into_iter()
        .skip_while(|argument| Path::new(argument).file_name() != Some("ram-sidecar".as_ref()));
    let matches = super::command().try_get_matches_from(own).ok()?;
    let given = matches.subcommand_matches(COMMAND.name)?;
    Some(probe(standalone(given).ok()?.sandbox.listen))
}

fn probe(address: SocketAddr) -> Result<ExitCode, Error> {
    if address.port() == 0 {
        return Err(Error::Unhealthy(
            "the sandbox that is process 1 listens on a free port, where the health check does not find it; give it a fixed one by --listen".into(),
        ));
    }
    let asked = block_on(None, Admin::at(address)?.ask(Method::GET, LIVE))?;
    asked.map_err(|error| {
        Error::Unhealthy(match error {
            admin::Error::Unanswered { reason, .. } => format!(
                "the sandbox that is process 1 does not answer at {address}: {reason}; start its container again"
            )
            .into(),
            error => error.into(),
        })
    })?;
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
