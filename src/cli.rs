//! The command line, and the only reader of the environment.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::settings::{SETTINGS, Setting};
use crate::config::{self, Checked, Config, Mistakes};
use crate::process;

/// What was asked for.
#[derive(Debug)]
pub enum Request {
    /// `serve`.
    Serve(Box<Result<Config, Mistakes>>),
    /// `check`.
    Check {
        /// What was found.
        checked: Box<Checked>,
        /// Print JSON.
        json: bool,
    },
}

/// Reads the command line, the environment and the configuration file.
///
/// Fails with clap's error: wrong usage, or the help that was asked for.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    Ok(match matches.subcommand() {
        Some(("check", check)) => Request::Check {
            checked: Box::new(checked(check)),
            json: check.get_flag("json"),
        },
        Some((_, serve)) => Request::Serve(Box::new(checked(serve).outcome)),
        None => Request::Serve(Box::new(checked(&matches).outcome)),
    })
}

fn checked(matches: &ArgMatches) -> Checked {
    let flag = |name: &str| {
        matches
            .get_many::<String>(name)
            .map(|values| values.cloned().collect())
    };
    let last = |name: &str| {
        matches
            .get_many::<String>(name)
            .and_then(Iterator::last)
            .cloned()
    };
    let file = last("config").map(PathBuf::from).or_else(|| {
        variable("RAM_SIDECAR_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    });
    config::check(&config::Input {
        flags: SETTINGS
            .iter()
            .filter(|setting| setting.flag.is_some())
            .filter_map(|setting| flag(setting.key).map(|values| (setting.key, values)))
            .collect(),
        variable: &variable,
        file,
        host_name: process::host_name(),
        #[cfg(feature = "sandbox")]
        sandbox: sandbox(matches),
    })
}

#[cfg(feature = "sandbox")]
fn sandbox(matches: &ArgMatches) -> Option<config::Sandbox> {
    let lifetime = matches.get_one::<String>("sandbox-lifetime").cloned();
    matches
        .get_flag("sandbox")
        .then_some(config::Sandbox { lifetime })
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Returns the definition of the command line.
pub fn command() -> Command {
    Command::new("ram-sidecar")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves temporary Alibaba Cloud RAM role credentials to the job beside it, where its tools already look")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve())
        .subcommand(check())
}

fn serve() -> Command {
    let command = Command::new("serve")
        .about("Assumes the role, keeps its credentials fresh, and serves them")
        .after_help(AFTER_HELP);
    with_settings(command)
}

fn check() -> Command {
    let command = Command::new("check")
        .about("Obtains credentials once with these settings, and explains what it found or what to change")
        .after_help("It prints no secret and changes nothing. Exit codes: 0 credentials were obtained, 69 they were not, 64 usage.")
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print the report as JSON"),
        );
    with_settings(command)
}

fn with_settings(command: Command) -> Command {
    let command = command
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("PATH")
                .action(ArgAction::Append)
                .help("A TOML file with any of these settings [env: RAM_SIDECAR_CONFIG]"),
        )
        .args(SETTINGS.iter().filter_map(argument));
    with_sandbox(command)
}

fn argument(setting: &'static Setting) -> Option<Arg> {
    let default = setting
        .default
        .map(|default| format!(" [default: {default}]"))
        .unwrap_or_default();
    let help = format!("{} [env: {}]{default}", setting.help, setting.variable);
    let argument = Arg::new(setting.key)
        .long(setting.flag?)
        .value_name(setting.value)
        .action(ArgAction::Append)
        .help(help);
    // `--vpc` alone switches it on.
    Some(if setting.value == "BOOL" {
        argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
    } else {
        argument
    })
}

#[cfg(feature = "sandbox")]
fn with_sandbox(command: Command) -> Command {
    command
        .arg(
            Arg::new("sandbox")
                .long("sandbox")
                .action(ArgAction::SetTrue)
                .help("Use an embedded STS with an account, a user and a role of its own; no cloud account needed"),
        )
        .arg(
            Arg::new("sandbox-lifetime")
                .long("sandbox-lifetime")
                .value_name("DURATION")
                .requires("sandbox")
                .help("How long the sandbox's credentials live, whatever is asked for: to watch clients follow a rotation"),
        )
}

#[cfg(not(feature = "sandbox"))]
fn with_sandbox(command: Command) -> Command {
    command
}

const AFTER_HELP: &str = "\
Flags beat the environment, the environment beats the file, the file beats the defaults.
Secrets are never flags: ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET, ALIBABA_CLOUD_SECURITY_TOKEN,
or the same names with _FILE for the paths of mounted files. RRSA's ALIBABA_CLOUD_OIDC_PROVIDER_ARN and
ALIBABA_CLOUD_OIDC_TOKEN_FILE are understood too. config/ram-sidecar.toml documents every key.

SIGTERM stops, after the drain; SIGHUP renews the credentials at once.
Exit codes: 0 stopped, 64 usage, 70 a task ended, 71 cannot bind or write, 78 configuration.";
