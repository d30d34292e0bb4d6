//! The flags of the embedded STS, alone and within a daemon.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config;

/// Gives a command that obtains credentials the embedded STS to obtain them from.
pub(in crate::cli) fn with_sandbox(command: Command) -> Command {
    command
        .arg(
            Arg::new("sandbox")
                .long("sandbox")
                .action(ArgAction::SetTrue)
                .help("Use an embedded STS with an account, a user and a role of its own; no cloud account needed"),
        )
        .args(
            [
                listen("sandbox-listen")
                    .help("Where the sandbox listens, an address of loopback; by default on a free port"),
                fault(),
            ]
            .map(|argument| argument.requires("sandbox")),
        )
}

/// Returns what was said of the embedded STS, if it was asked for.
pub(in crate::cli) fn asked_for(given: &ArgMatches) -> Option<config::Sandbox> {
    let is_asked_for = given.try_get_one::<bool>("sandbox").ok().flatten();
    is_asked_for
        .is_some_and(|is_asked_for| *is_asked_for)
        .then(|| said(given, "sandbox-"))
}

/// Returns what was said of the embedded STS where it is alone.
pub(super) fn alone(given: &ArgMatches) -> config::Sandbox {
    said(given, "")
}

fn said(given: &ArgMatches, prefix: &'static str) -> config::Sandbox {
    let text = |name: &str| given.get_one::<String>(name).cloned();
    let faults = given.get_many::<String>("fault");
    config::Sandbox {
        prefix,
        listen: text(&format!("{prefix}listen")),
        faults: faults.map(|faults| faults.cloned().collect::<Vec<_>>().join(",")),
    }
}

pub(super) fn listen(flag: &'static str) -> Arg {
    Arg::new(flag).long(flag).value_name("ADDRESS")
}

pub(super) fn fault() -> Arg {
    Arg::new("fault")
        .long("fault")
        .value_name("SPEC")
        .action(ArgAction::Append)
        .help("Simulates faults in the sandbox, such as throttle=0.2,latency=2s or lifetime=2m; `ram-sidecar sandbox --help` lists them all")
}
