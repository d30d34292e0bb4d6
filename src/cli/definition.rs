//! The definition of the command line, made from the table of settings.

use std::ffi::OsString;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, value_parser};
use clap_complete::Shell;

use crate::config::settings::{SETTINGS, Setting};
use crate::formats::format::PRINTED;
use crate::time::duration;

#[cfg(feature = "inject")]
use super::inject::inject;
#[cfg(feature = "sandbox")]
use super::sandbox::flags::{sandbox, with_sandbox};
#[cfg(feature = "inject")]
use super::webhook::webhook;

/// Returns the definition of the command line.
pub fn command() -> Command {
    Command::new("ram-sidecar")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves temporary Alibaba Cloud RAM role credentials to the job beside it, where its tools already look")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            serve(),
            exec(),
            get(),
            wait(),
            health(),
            check(),
            stop(),
        ])
        .subcommands(sandbox())
        .subcommands(inject())
        .subcommands(webhook())
        .subcommands([
            Command::new("metadata-address")
                .about("Gives this network namespace 100.100.100.200, where --metadata-listen is to serve it: for an init container")
                .after_help("It needs the capability NET_ADMIN, and changes nothing where the address is there.\nExit codes: 0 it is there, 71 it cannot be added, 64 usage."),
            completions(),
            Command::new("manual").about("Prints the manual page, for `man -l -`"),
        ])
}

fn serve() -> Command {
    let command = Command::new("serve")
        .about("Assumes the role, keeps its credentials fresh, and serves them")
        .after_help(AFTER_HELP);
    with_sandbox(with_settings(command).args(of_daemon().filter_map(argument)))
}

fn check() -> Command {
    let command = Command::new("check")
        .about("Obtains credentials once with these settings, and explains what it found or what to change")
        .after_help("It prints no secret and changes nothing, and neither reads nor writes a state. Exit codes: 0 credentials were obtained, 69 they were not, 64 usage.")
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print the report as JSON"),
        );
    with_sandbox(with_settings(command).args(of_daemon().filter_map(argument)))
}

fn exec() -> Command {
    let command = Command::new("exec")
        .about("Serves for as long as one command runs, which finds credentials by its environment")
        .after_help(
            "The command gets ALIBABA_CLOUD_CREDENTIALS_URI and what makes the SDKs come to it, but none of this process's own identity.
Signals are passed on, its exit code is kept (128 + n if signal n killed it). By default: a free port, a random serve.key, no admin listener, warnings only.
It keeps no state: state.file, in the environment or the file, is for serve.
Exit codes before it starts: 64 usage, 69 no credentials in time, 71 cannot bind or write, 78 configuration, 126 and 127 it cannot be started or found.",
        )
        .arg(timeout("30s", "How long the first credentials may take"));
    // Last, so that it stands last in the usage.
    with_sandbox(with_settings(command)).arg(
        Arg::new("command")
            .value_name("CMD")
            .value_parser(value_parser!(OsString))
            .num_args(1..)
            .required(true)
            .last(true)
            .help("The command and its arguments, after --"),
    )
}

fn get() -> Command {
    let formats = PRINTED.iter().map(|(name, _)| *name);
    let command = Command::new("get")
        .about("Prints credentials once: of a running daemon, or minted with these settings")
        .after_help(
            "Without --from and without settings as flags, ALIBABA_CLOUD_CREDENTIALS_URI names the daemon; without it, credentials are minted.
The output is a secret. For a shell: eval \"$(ram-sidecar get --format env)\"
Exit codes: 0 printed, 69 there are none, 64 usage, 78 configuration.",
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .default_value("json")
                .value_parser(PossibleValuesParser::new(formats))
                .help("json (the URI's document), env (for a shell), process (for credential processes and aliyun-cli's External), aliyun-cli (a configuration file), ini (ossutil's), json-camel (pyodps')"),
        )
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("URI")
                .conflicts_with_all(flags().chain(["config"]))
                .help("The address of a running daemon's credentials"),
        );
    with_settings(command)
}

fn wait() -> Command {
    let command = Command::new("wait")
        .about(
            "Returns when a running daemon is ready: it has credentials, and its files hold them",
        )
        .after_help("Exit codes: 0 ready, 69 not in time, 64 usage, 78 configuration.")
        .arg(timeout("60s", "How long to wait"));
    with_admin(command)
}

fn health() -> Command {
    let command = Command::new("health")
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

fn stop() -> Command {
    let command = Command::new("stop")
        .about("Asks a running daemon to leave, from any container of its pod")
        .after_help("Without this program, `curl -X POST http://127.0.0.1:7003/stop` does the same.\nIt leaves without shutdown.drain, which is for jobs that are told to stop at the same time.\nExit codes: 0 it leaves, 69 it does not, 64 usage, 78 configuration.");
    with_admin(command)
}

fn completions() -> Command {
    Command::new("completions")
        .about("Prints the completions of a shell")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(value_parser!(Shell))
                .help("bash, elvish, fish, powershell or zsh"),
        )
}

fn timeout(default: &'static str, help: &'static str) -> Arg {
    Arg::new("timeout")
        .long("timeout")
        .value_name("DURATION")
        .default_value(default)
        .value_parser(duration::parse)
        .help(help)
}

/// Gives a command what it needs to find the admin listener of a daemon.
fn with_admin(command: Command) -> Command {
    let admin = SETTINGS
        .iter()
        .filter(|setting| setting.key == "admin.listen");
    command
        .arg(config_argument())
        .args(admin.filter_map(argument))
}

fn flags() -> impl Iterator<Item = &'static str> {
    let flagged = of_all().filter(|setting| setting.flag.is_some());
    flagged.map(|setting| setting.key)
}

fn with_settings(command: Command) -> Command {
    command
        .arg(config_argument())
        .args(of_all().filter_map(argument))
}

/// Returns the settings whose flags every command takes that obtains credentials.
fn of_all() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| !is_of_daemon(setting))
}

/// Returns the settings whose flags only the daemon takes, and `check`, which explains them: elsewhere they would promise
/// what is not done.
fn of_daemon() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| is_of_daemon(setting))
}

fn is_of_daemon(setting: &Setting) -> bool {
    setting.key == "state.file"
}

fn config_argument() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("PATH")
        .action(ArgAction::Append)
        .help("A TOML file with any of these settings [env: RAM_SIDECAR_CONFIG]")
}

/// Gives a command the settings of a section, and no others.
#[cfg(any(feature = "inject", feature = "sandbox"))]
pub(super) fn with_section(command: Command, section: &str) -> Command {
    let settings = SETTINGS
        .iter()
        .filter(|setting| setting.key.starts_with(section));
    command.args(settings.filter_map(argument))
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

#[cfg(not(feature = "sandbox"))]
fn with_sandbox(command: Command) -> Command {
    command
}

#[cfg(not(feature = "sandbox"))]
fn sandbox() -> [Command; 0] {
    []
}

#[cfg(not(feature = "inject"))]
fn inject() -> [Command; 0] {
    []
}

#[cfg(not(feature = "inject"))]
fn webhook() -> [Command; 0] {
    []
}

const AFTER_HELP: &str = "\
Flags beat the environment, the environment beats the file, the file beats the defaults.
Secrets are never flags: ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET, ALIBABA_CLOUD_SECURITY_TOKEN,
or the same names with _FILE for the paths of mounted files. RRSA's ALIBABA_CLOUD_OIDC_PROVIDER_ARN and
ALIBABA_CLOUD_OIDC_TOKEN_FILE are understood too. config/ram-sidecar.toml documents every key.

SIGTERM stops, after the drain; SIGHUP renews the credentials at once.
Exit codes: 0 stopped, 64 usage, 70 a task ended, 71 cannot bind or write, 78 configuration.";
