//! Hints: how to complete a command line or a configuration.

use std::ffi::OsString;
use std::path::Path;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde::Deserialize;

use super::Error;
use super::input::{checked, config_file, variable};
use crate::config::settings::CREDENTIALS_URI;
use crate::config::{Checked, Config, Definition, Shown};
use crate::system::display::one_line;
use crate::system::file;

/// Adds a hint to the error about a misplaced command of `exec` or file of `inject`.
pub(super) fn with_position(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(unexpected)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    if error.kind() != ErrorKind::UnknownArgument || unexpected.starts_with('-') {
        return error;
    }
    // The rest of the line may contain secrets.
    let tip = match arguments.get(1).and_then(|name| name.to_str()) {
        Some("exec") => {
            format!("the command goes after --: `ram-sidecar exec [OPTIONS] -- {unexpected} …`")
        }
        Some("inject") => {
            format!("a file goes after -f: `ram-sidecar inject [OPTIONS] -f {unexpected}`")
        }
        _ => return error,
    };
    // A terminal must not obey what stands in an argument.
    let tip: String = one_line(&tip).collect();
    let tip = ContextValue::StyledStrs(vec![tip.into()]);
    error.insert(ContextKind::Suggested, tip);
    error
}

/// Gathers what is given, and returns the configuration.
///
/// Fails with all errors; if nothing is configured, a hint on an identity precedes them.
pub(super) fn config(
    matches: &ArgMatches,
    defaults: Vec<(&'static Definition, String)>,
) -> Result<Config, Error> {
    let Checked {
        settings, outcome, ..
    } = checked(matches, defaults);
    outcome.map_err(|errors| match on_identity(matches, &settings) {
        Some(hint) => Error::Configuration(format!("{hint}\n{errors}").into()),
        None => errors.into(),
    })
}

/// Returns a hint on an identity of this machine if nothing is configured: no file, role, identity or sandbox.
pub(super) fn on_identity(matches: &ArgMatches, settings: &[Shown]) -> Option<String> {
    // The variable of this key does not count as configuration: clients read it too.
    let is_choice = |setting: &Shown| {
        ["role.", "identity."]
            .iter()
            .any(|section| setting.key.starts_with(section))
            && setting.key != CREDENTIALS_URI.key
            && setting.origin != "default"
    };
    let has_sandbox = matches.try_get_one("sandbox").ok().flatten() == Some(&true);
    if has_sandbox || config_file(matches).is_some() || settings.iter().any(is_choice) {
        return None;
    }
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let profile =
        variable("HOME").and_then(|home| profile(&Path::new(&home).join(".aliyun/config.json")));
    // In a pod, the role of the ECS instance would be that of the node.
    let product = std::fs::read_to_string(PRODUCT_NAME).unwrap_or_default();
    let is_instance = !is_set("KUBERNETES_SERVICE_HOST") && product.trim() == ECS_PRODUCT_NAME;
    Some(hint(
        profile,
        is_set("ALIBABA_CLOUD_CREDENTIALS_URI"),
        is_instance,
    ))
}

/// Returns the hint for what was found: a profile, the variable of a server of credentials, an ECS instance, or nothing.
fn hint(profile: Option<String>, has_uri: bool, is_instance: bool) -> String {
    if let Some(profile) = profile {
        return format!("found {profile}: add --identity profile, and --role-arn for the role");
    }
    let hint = if has_uri {
        "found ALIBABA_CLOUD_CREDENTIALS_URI, such as PAI's service: add --identity credentials_uri, and --role-arn to use another role"
    } else if is_instance {
        "found an ECS instance: add --identity ecs_ram_role, and --role-arn to use another role than the instance's"
    } else {
        "found neither a profile of aliyun-cli nor PAI's service nor an ECS instance: configure an identity and a role, or try it without an account, `ram-sidecar exec --sandbox -- CMD`"
    };
    hint.to_owned()
}

/// Describes the current profile of aliyun-cli, if there is one.
fn profile(path: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct File {
        current: String,
        profiles: Vec<Profile>,
    }
    #[derive(Deserialize)]
    struct Profile {
        name: String,
        mode: String,
    }
    let text = file::read_regular(path, MAX_FILE_SIZE).ok()?;
    let File { current, profiles } = serde_json::from_slice(&text).ok()?;
    let Profile { name, mode } = profiles
        .into_iter()
        .find(|profile| profile.name == current)?;
    let found = format!("the profile `{name}` ({mode}) of {}", path.display());
    Some(one_line(&found).collect())
}

/// The largest file of profiles that is read, in bytes.
const MAX_FILE_SIZE: usize = 1 << 20;

/// The file with the product name of the machine, which cloud-init reads too: the metadata service would need a network.
const PRODUCT_NAME: &str = "/sys/class/dmi/id/product_name";
const ECS_PRODUCT_NAME: &str = "Alibaba Cloud ECS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_names_the_flag_for_what_was_found() {
        let profile = || Some("the profile `work`".to_owned());
        for (profile, has_uri, is_instance, flag) in [
            (profile(), true, true, "--identity profile"),
            (None, true, true, "--identity credentials_uri"),
            (None, false, true, "--identity ecs_ram_role"),
            (None, false, false, "exec --sandbox"),
        ] {
            let hint = hint(profile, has_uri, is_instance);
            assert!(hint.contains(flag), "{flag}: {hint}");
        }
    }
}
