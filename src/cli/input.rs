//! What the flags, the environment and the host give to the configuration.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;

#[cfg(feature = "sandbox")]
use super::sandbox::flags;
use crate::config::settings::SETTINGS;
use crate::config::{self, Checked};
use crate::system::process;

/// Gathers what is given, and checks it.
pub(super) fn checked(matches: &ArgMatches, defaults: Vec<(&'static str, String)>) -> Checked {
    config::check(&input(matches, defaults))
}

/// Gathers what is given; `defaults` replace those of the table of settings.
pub(super) fn input(
    matches: &ArgMatches,
    defaults: Vec<(&'static str, String)>,
) -> config::Input<'static> {
    // Not every command has every flag.
    let flag = |name: &str| {
        let values = matches.try_get_many::<String>(name).ok().flatten()?;
        Some(values.cloned().collect::<Vec<String>>())
    };
    let file = flag("config").and_then(|mut paths| paths.pop());
    let file = file.map(PathBuf::from).or_else(|| {
        variable("RAM_SIDECAR_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    });
    config::Input {
        flags: SETTINGS
            .iter()
            .filter(|setting| setting.flag.is_some())
            .filter_map(|setting| flag(setting.key).map(|values| (setting.key, values)))
            .collect(),
        variable: &variable,
        file,
        host_name: process::host_name(),
        defaults,
        #[cfg(feature = "sandbox")]
        sandbox: flags::asked_for(matches),
    }
}

/// Reads an environment variable.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
