//! The flags of the embedded STS, of `sandbox` and of the commands that embed it.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::cli::suggested::Suggested;
use crate::config;
use crate::sandbox::FAULTS;

/// Adds the flags of the embedded STS to a command that obtains credentials.
pub(in crate::cli) fn with_sandbox(command: Command) -> Command {
    command
        .arg(
            Arg::new("sandbox")
                .long("sandbox")
                .action(ArgAction::SetTrue)
                .help_heading("Sandbox")
                .help("Use an embedded STS with an account, a user and a role of its own; no cloud account needed"),
        )
        .args(
            [
                listen("sandbox-listen")
                    .help("The address of loopback that the sandbox listens on; by default a free port"),
                fault(),
            ]
            .map(|argument| argument.requires("sandbox").help_heading("Sandbox").hide_short_help(true)),
        )
}

/// Returns the flags of the embedded STS within a command, if `--sandbox` is given.
pub(in crate::cli) fn embedded(given: &ArgMatches) -> Option<config::Sandbox> {
    let is_given = given.try_get_one::<bool>("sandbox").ok().flatten();
    is_given
        .is_some_and(|is_given| *is_given)
        .then(|| read(given, "sandbox-"))
}

/// Returns the flags of the embedded STS of `sandbox`.
pub(super) fn alone(given: &ArgMatches) -> config::Sandbox {
    config::Sandbox {
        oidc_issuer: given.get_one("oidc-issuer").cloned(),
        oidc_keys: given.get_one("oidc-keys").cloned(),
        ..read(given, "")
    }
}

fn read(given: &ArgMatches, prefix: &'static str) -> config::Sandbox {
    let text = |name: &str| given.get_one::<String>(name).cloned();
    let faults = given.get_many::<String>("fault");
    config::Sandbox {
        prefix,
        listen: text(&format!("{prefix}listen")),
        faults: faults.map(|faults| faults.cloned().collect::<Vec<_>>().join(",")),
        oidc_issuer: None,
        oidc_keys: None,
    }
}

pub(super) fn listen(flag: &'static str) -> Arg {
    Arg::new(flag).long(flag).value_name("ADDRESS")
}

/// Returns the flags of the OIDC provider, which are given together.
pub(super) fn provider() -> [Arg; 2] {
    [
        Arg::new("oidc-issuer")
            .long("oidc-issuer")
            .value_name("URL")
            .requires("oidc-keys")
            .help("The issuer of a cluster, whose tokens the OIDC provider accepts instead of those of the sandbox"),
        Arg::new("oidc-keys")
            .long("oidc-keys")
            .value_name("PATH")
            .value_parser(value_parser!(PathBuf))
            .requires("oidc-issuer")
            .help("The file of its public keys, as `kubectl get --raw /openid/v1/jwks` prints them"),
    ]
}

pub(super) fn fault() -> Arg {
    let mut faults = String::from("\nP is a probability from 0 to 1, by default 1:");
    for (usage, meaning) in FAULTS {
        // Writing to a String cannot fail.
        let _ = write!(faults, "\n  {usage:<30}{meaning}");
    }
    let names = FAULTS
        .iter()
        .filter_map(|(usage, _)| usage.split(['[', '=']).next());
    let help = "Simulates faults in the sandbox, such as throttle=0.2,latency=2s or lifetime=2m";
    Arg::new("fault")
        .long("fault")
        .value_name("SPEC")
        .action(ArgAction::Append)
        .value_parser(Suggested(names.collect()))
        .hide_possible_values(true)
        .help(help)
        .long_help(format!("{help}{faults}"))
}
