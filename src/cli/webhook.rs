//! `webhook`: adds the sidecar to pods as they are created. Each of its flags has a variable.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches};

use super::definition::with_section;
use super::inject::{request, with_fields};
use super::input::{input, variable};
use super::runtime::block_on;
use super::{Command, Error};
use crate::config::{Input, Mistakes};
use crate::inject::webhook::settings::{OWN, Own, Webhook};
use crate::inject::webhook::{self, Options};
use crate::inject::{FIELDS, Given, Request};
use crate::system::{log, process};

pub(super) const COMMAND: Command = Command {
    name: "webhook",
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    let command = command
        .about("Adds the sidecar to pods as they are created: a mutating admission webhook")
        .after_help(AFTER_HELP)
        .args(OWN.iter().map(argument));
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
    let options = read(given, &input(given, Vec::new()))?;
    process::protect(false);
    log::start(&options.log);
    block_on(0, webhook::run(options))??;
    Ok(ExitCode::SUCCESS)
}

/// Reads what was given, and checks it.
fn read(given: &ArgMatches, input: &Input<'_>) -> Result<Options, Mistakes> {
    let said = OWN
        .iter()
        .filter_map(|own| Some((own.flag, said(given, own.flag)?)));
    let said = said.collect();
    webhook::settings::webhook(
        input,
        Webhook {
            said,
            defaults: defaults(given),
        },
    )
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

/// Returns what was said, by a flag or else by its variable.
fn said(given: &ArgMatches, flag: &'static str) -> Option<Given> {
    let by_flag = given.get_many::<String>(flag).and_then(Iterator::last);
    let by_flag = by_flag.map(|text| Given {
        text: text.clone(),
        place: format!("--{flag}"),
    });
    by_flag.or_else(|| by_variable(flag))
}

/// An empty variable is an absent one.
fn by_variable(flag: &str) -> Option<Given> {
    let place = name(flag);
    let text = variable(&place)?.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(Given { text, place })
}

fn argument(own: &Own) -> Arg {
    let default = own.default.map(|default| format!(" [default: {default}]"));
    let (help, variable) = (own.help, name(own.flag));
    let help = format!("{help} [env: {variable}]{}", default.unwrap_or_default());
    let argument = Arg::new(own.flag)
        .long(own.flag)
        .action(ArgAction::Append)
        .help(help);
    match own.value {
        Some(value) => argument.value_name(value),
        // The flag alone switches it on.
        None => argument
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

/// Returns the variable that says the same as a flag.
fn name(flag: &str) -> String {
    let name = flag.to_ascii_uppercase().replace('-', "_");
    format!("RAM_SIDECAR_WEBHOOK_{name}")
}

const AFTER_HELP: &str = "\
The flags of `inject` say here what is request where neither the pod nor its service account says more: annotations of the
pod beat those of its service account, which beat flags.

POST /inject takes an AdmissionReview of admission.k8s.io/v1; GET /live and /ready are the probes, by https as well.
SIGTERM stops, after the drain. Exit codes: 0 stopped, 64 usage, 71 cannot bind, 78 configuration.";
