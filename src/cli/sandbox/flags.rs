//! The flags of the embedded STS, alone and within a daemon.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::cli::definition::with_section;
use crate::config;
use crate::sandbox::FAULTS;

/// Defines `sandbox`.
pub(in crate::cli) fn sandbox() -> [Command; 1] {
    let command = Command::new("sandbox")
        .about("Serves the embedded STS alone, for tests of other programs")
        .after_help(after_help())
        .args([
            listen("listen")
                .default_value("127.0.0.1:7005")
                .help("Where it listens, an address of loopback; port 0 picks a free one"),
            fault(),
        ]);
    [with_section(command, "log.")]
}

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
pub(in crate::cli) fn alone(given: &ArgMatches) -> config::Sandbox {
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

fn listen(flag: &'static str) -> Arg {
    Arg::new(flag).long(flag).value_name("ADDRESS")
}

fn fault() -> Arg {
    Arg::new("fault")
        .long("fault")
        .value_name("SPEC")
        .action(ArgAction::Append)
        .help("Simulates faults in the sandbox, such as throttle=0.2,latency=2s or lifetime=2m; `ram-sidecar sandbox --help` lists them all")
}

fn after_help() -> String {
    let mut text = "\
It prints ALIBABA_CLOUD_STS_ENDPOINT, ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_ACCESS_KEY_ID and
ALIBABA_CLOUD_ACCESS_KEY_SECRET, as a shell or an environment file takes them: secrets of nothing.

Faults, separated by commas; P is a share of the calls, 0 to 1, by default all:
"
    .to_owned();
    for (usage, meaning) in FAULTS {
        // Nothing can go wrong in memory.
        let _ = writeln!(text, "  {usage:<30}{meaning}");
    }
    text.push_str(
        "
While it runs, PUT /_sandbox/faults with such a text replaces them, DELETE heals, GET tells and counts.
Exit codes: 0 stopped, 64 usage, 71 cannot bind, 78 configuration.",
    );
    text
}
