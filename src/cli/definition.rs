//! The flags that are made from the table of settings, and others that several commands share.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

#[cfg(feature = "sandbox")]
use super::sandbox::flags;
use crate::config::Definition;
use crate::config::settings::{ADMIN_LISTEN, SETTINGS, STATE_FILE};
use crate::time::duration;

/// Defines `--timeout`.
pub(super) fn timeout_argument(default: &'static str, help: &'static str) -> Arg {
    Arg::new("timeout")
        .long("timeout")
        .value_name("DURATION")
        .default_value(default)
        .value_parser(duration::parse)
        .help(help)
}

/// Returns the value of [`timeout_argument`].
pub(super) fn given_timeout(given: &ArgMatches) -> Duration {
    let timeout = given.get_one::<Duration>("timeout");
    timeout.copied().unwrap_or_default()
}

/// Adds the flags that name the admin listener of a daemon.
pub(super) fn with_admin(command: Command) -> Command {
    command.arg(config_argument()).args(argument(&ADMIN_LISTEN))
}

/// Returns the keys of the settings whose flags [`with_settings`] adds.
pub(super) fn flags() -> impl Iterator<Item = &'static str> {
    let flagged = of_all().filter(|setting| setting.flag().is_some());
    flagged.map(|setting| setting.key)
}

/// Adds the flags of every command that obtains credentials.
pub(super) fn with_settings(command: Command) -> Command {
    command
        .arg(config_argument())
        .args(of_all().filter_map(argument))
}

/// Adds the flags of a daemon: those of [`with_settings`], of the embedded STS, and of what only a daemon does.
pub(super) fn with_daemon(command: Command) -> Command {
    with_sandbox(with_settings(command).args(of_daemon().filter_map(argument)))
}

/// Adds the flags of the embedded STS, if that is built in.
pub(super) fn with_sandbox(command: Command) -> Command {
    #[cfg(feature = "sandbox")]
    let command = flags::with_sandbox(command);
    command
}

/// Returns the settings whose flags every command takes that obtains credentials.
fn of_all() -> impl Iterator<Item = &'static Definition> {
    let settings = SETTINGS.iter().copied();
    settings.filter(|setting| !is_of_daemon(setting))
}

/// Returns the settings whose flags only the daemon takes, and `check`, which explains them: elsewhere they would promise
/// what is not done.
fn of_daemon() -> impl Iterator<Item = &'static Definition> {
    let settings = SETTINGS.iter().copied();
    settings.filter(|setting| is_of_daemon(setting))
}

fn is_of_daemon(setting: &Definition) -> bool {
    setting.key == STATE_FILE.key
}

fn config_argument() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("PATH")
        .action(ArgAction::Append)
        .help("A TOML file with any of these settings [env: RAM_SIDECAR_CONFIG]")
}

/// Adds the flags of one section of the settings.
#[cfg(any(feature = "inject", feature = "sandbox"))]
pub(super) fn with_section(command: Command, section: &str) -> Command {
    let settings = SETTINGS.iter().copied();
    let settings = settings.filter(|setting| setting.key.starts_with(section));
    command.args(settings.filter_map(argument))
}

/// Defines the flag of a setting, if it has one.
pub(super) fn argument(setting: &'static Definition) -> Option<Arg> {
    let default = setting.default;
    let default = default.map(|default| format!(" [default: {default}]"));
    let default = default.unwrap_or_default();
    let help = format!("{} [env: {}]{default}", setting.help, setting.variable());
    let argument = Arg::new(setting.key)
        .long(setting.flag()?)
        .value_name(setting.value)
        .action(ArgAction::Append)
        .help(help);
    // `--vpc` alone switches it on.
    Some(if setting.is_switch() {
        argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
    } else {
        argument
    })
}
