//! `webhook`: adds the sidecar to pods as they are created. Each of its flags has a variable.

use std::process::ExitCode;

use clap::ArgMatches;

use super::definition::{argument, with_section};
use super::inject::{request, with_fields};
use super::input::{flags, input, variable};
use super::runtime::block_on;
use super::{Command, Error, terminal};
use crate::inject::webhook::{self, settings};
use crate::inject::{FIELDS, Given, Request};
use crate::system::process;

pub(super) const COMMAND: Command = Command {
    name: "webhook",
    about: "Adds the sidecar to pods as they are created: a mutating admission webhook",
    examples: &[
        (
            "in a pod, with a mounted certificate",
            "ram-sidecar webhook --image registry.example.com/ram-sidecar:0.1.0",
        ),
        (
            "adds the sidecar only where it can, and warns elsewhere",
            "ram-sidecar webhook --failure-policy Ignore --image registry.example.com/ram-sidecar:0.1.0",
        ),
    ],
    notes: NOTES,
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let command = command.args(settings::SETTINGS.iter().copied().filter_map(argument));
    let command = with_fields(command).mut_args(|word| {
        let known = FIELDS.iter().filter_map(|names| names.flag);
        let Some(flag) = known.into_iter().find(|flag| word.get_id() == flag) else {
            return word;
        };
        let help = word.get_help().map(ToString::to_string).unwrap_or_default();
        word.help(format!("{help} [env: {}]", name(flag)))
    });
    with_section(command, "log.")
}

fn run(given: &ArgMatches) -> Result<ExitCode, Error> {
    let mut input = input(given, Vec::new());
    input.flags.extend(flags(given, settings::SETTINGS));
    let options = settings::webhook(&input, defaults(given))?;
    process::protect(false);
    terminal::start_log(&options.log);
    terminal::announce();
    block_on(None, webhook::run(options))??;
    Ok(ExitCode::SUCCESS)
}

/// Returns the defaults of every request; a flag takes precedence over its variable.
fn defaults(given: &ArgMatches) -> Request {
    let mut variables = Request::default();
    for names in FIELDS {
        if let Some(Given { text, place: at }) = names.flag.and_then(by_variable) {
            variables.set(names.field, text, at);
        }
    }
    request(given).or(&variables)
}

/// An empty variable is an absent one; so is the address of a Service, which Kubernetes sets in the webhook's own pods: that of
/// `ram-sidecar-webhook` has the name of `--port`.
fn by_variable(flag: &str) -> Option<Given> {
    let place = name(flag);
    let text = variable(&place)?.to_string_lossy().into_owned();
    let is_set = !text.is_empty() && !text.starts_with("tcp://");
    is_set.then_some(Given { text, place })
}

/// Returns the variable of a flag.
fn name(flag: &str) -> String {
    let name = flag.to_ascii_uppercase().replace('-', "_");
    format!("RAM_SIDECAR_WEBHOOK_{name}")
}

const NOTES: &str = "\
The flags of inject are the defaults, for what neither the pod nor its service account sets: annotations of the pod override
those of its service account, which override flags.

POST /inject takes an AdmissionReview of admission.k8s.io/v1; so do /inject/ack, which admits pods without a role, and
/inject/label, which only warns of labels that mean nothing. GET /live and /ready are the probes, /metrics the metrics.
SIGTERM shuts down after the drain.
Exit codes: 0 shut down, 64 usage, 71 cannot bind, 78 configuration.";
