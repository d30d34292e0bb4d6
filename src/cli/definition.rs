//! The flags that are made from the table of settings, and others that several commands share.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

#[cfg(feature = "sandbox")]
use super::sandbox::flags;
use super::suggested::Suggested;
use crate::config::Definition;
use crate::config::settings::{ADMIN_LISTEN, SETTINGS};
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
    let listen = argument(&ADMIN_LISTEN).map(|flag| flag.hide_short_help(false));
    command.arg(config_argument()).args(listen)
}

/// Adds `--config`, and the flags of the settings that the command obeys: those whose keys begin with one of `sections`.
pub(super) fn with_settings(command: Command, sections: &[&str]) -> Command {
    command
        .arg(config_argument())
        .args(settings(sections).filter_map(argument))
}

/// Adds the flags of all settings, and of the embedded STS.
pub(super) fn with_daemon(command: Command) -> Command {
    with_sandbox(with_settings(command, &[""]))
}

/// Adds the flags of the embedded STS, if that is built in.
pub(super) fn with_sandbox(command: Command) -> Command {
    #[cfg(feature = "sandbox")]
    let command = flags::with_sandbox(command);
    command
}

/// Adds the flags of one section of the settings.
#[cfg(any(feature = "inject", feature = "sandbox"))]
pub(super) fn with_section(command: Command, section: &str) -> Command {
    command.args(settings(&[section]).filter_map(argument))
}

/// Returns the settings whose keys begin with one of `sections`.
pub(super) fn settings(sections: &[&str]) -> impl Iterator<Item = &'static Definition> {
    let settings = SETTINGS.iter().copied();
    settings.filter(|setting| sections.iter().any(|start| setting.key.starts_with(start)))
}

/// Shows another default than that of the table.
pub(super) fn with_default(command: Command, setting: &Definition, default: &str) -> Command {
    let help = help(setting, Some(default));
    command.mut_arg(setting.key, |flag| flag.help(help.0).long_help(help.1))
}

fn config_argument() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("PATH")
        .action(ArgAction::Append)
        .help("A TOML file with any of the settings")
        .long_help("A TOML file with any of the settings [env: RAM_SIDECAR_CONFIG]")
}

/// Defines the flag of a setting, if it has one.
pub(super) fn argument(setting: &'static Definition) -> Option<Arg> {
    let (short, long) = help(setting, setting.default);
    let argument = Arg::new(setting.key)
        .long(setting.flag()?)
        .value_name(setting.value_name)
        .action(ArgAction::Append)
        .help_heading(heading(setting.key))
        .hide_short_help(!setting.is_common)
        .help(short)
        .long_help(long);
    let argument = if setting.possible_values.is_empty() {
        argument
    } else {
        let values = Suggested(setting.possible_values.to_vec());
        argument.value_parser(values).hide_possible_values(true)
    };
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

/// Returns the help of a setting: the sentence up to the first semicolon, and the whole with its variable.
fn help(setting: &Definition, default: Option<&str>) -> (String, String) {
    let default = default.map(|default| format!(" [default: {default}]"));
    let default = default.unwrap_or_default();
    let short = setting.help.split(';').next().unwrap_or_default();
    (
        format!("{short}{default}"),
        format!("{} [env: {}]{default}", setting.help, setting.variable()),
    )
}

/// Returns the heading in the help for the section of a key.
fn heading(key: &str) -> &'static str {
    match key.split('.').next().unwrap_or_default() {
        "role" => "Role",
        "identity" => "Identity",
        "sts" => "STS",
        "file" | "state" => "Files",
        "log" => "Logging",
        "webhook" => "Webhook",
        _ => "Serving",
    }
}
