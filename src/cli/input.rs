//! What the flags, the environment and the host give to the configuration.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;

#[cfg(feature = "sandbox")]
use super::sandbox::flags as sandbox;
use crate::config::settings::SETTINGS;
use crate::config::{self, Checked, Definition, Errors};
use crate::system::process;

/// Gathers what is given, and checks it. The errors begin with the unknown variables, which may be their cause.
pub(super) fn checked(
    matches: &ArgMatches,
    defaults: Vec<(&'static Definition, String)>,
) -> Checked {
    let mut checked = config::check(&input(matches, defaults));
    if let Err(Errors(errors)) = &mut checked.outcome {
        errors.splice(0..0, unknown_variables());
    }
    checked
}

/// Gathers what is given; `defaults` replace those of the table of settings.
pub(super) fn input(
    matches: &ArgMatches,
    defaults: Vec<(&'static Definition, String)>,
) -> config::Input<'static> {
    config::Input {
        flags: flags(matches, SETTINGS),
        variable: &variable,
        file: config_file(matches),
        host_name: process::host_name(),
        defaults,
        #[cfg(feature = "sandbox")]
        sandbox: sandbox::embedded(matches),
    }
}

/// Returns the path of the file with settings, if one is given.
pub(super) fn config_file(matches: &ArgMatches) -> Option<PathBuf> {
    let file = values(matches, "config").and_then(|mut paths| paths.pop());
    file.map(PathBuf::from).or_else(|| {
        variable("RAM_SIDECAR_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    })
}

/// Returns which flags of these settings are used, and their values.
pub(super) fn flags(
    matches: &ArgMatches,
    settings: &[&'static Definition],
) -> Vec<(&'static Definition, Vec<String>)> {
    let used = settings
        .iter()
        .filter_map(|setting| Some((*setting, values(matches, setting.key)?)));
    used.collect()
}

/// Returns the values of a flag, which not every command has.
fn values(matches: &ArgMatches, name: &str) -> Option<Vec<String>> {
    let values = matches.try_get_many::<String>(name).ok().flatten()?;
    Some(values.cloned().collect())
}

/// Returns a sentence for each variable that looks like one of this program and is none.
pub(super) fn unknown_variables() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    config::unknown_variables(names)
}

/// Reads an environment variable.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
