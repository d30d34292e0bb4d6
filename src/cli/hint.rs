//! Hints: how to complete a command line or a configuration.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde::Deserialize;

use super::Error;
use super::input::{checked, config_file, variable};
use crate::config::settings::CREDENTIALS_URI;
use crate::config::{Checked, Config, Definition, Shown};
use crate::failure::one_line;
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
/// Fails with all errors; where nothing is configured, with what could be.
pub(super) fn config(
    matches: &ArgMatches,
    defaults: Vec<(&'static Definition, String)>,
) -> Result<Config, Error> {
    let Checked {
        settings, outcome, ..
    } = checked(matches, defaults);
    outcome.map_err(|errors| match of(matches, &settings) {
        Some(hint) => Error::Configuration(format!("{hint}\n{errors}").into()),
        None => errors.into(),
    })
}

/// Returns what could be the identity on this machine, and what to type for it, if nothing has been configured: no file, no
/// role, no identity and no sandbox.
pub(super) fn of(given: &ArgMatches, settings: &[Shown]) -> Option<String> {
    // The variable of this key is for clients, unless identity.type chooses it.
    let is_choice = |setting: &&Shown| {
        ["role.", "identity."]
            .iter()
            .any(|section| setting.key.starts_with(section))
            && setting.key != CREDENTIALS_URI.key
            && setting.origin != "default"
    };
    let has_sandbox = given.try_get_one("sandbox").ok().flatten() == Some(&true);
    let is_configured =
        has_sandbox || config_file(given).is_some() || settings.iter().any(|s| is_choice(&s));
    (!is_configured).then(next_step)
}

fn next_step() -> String {
    let home = variable("HOME").map(PathBuf::from);
    let profile = home.and_then(|home| profile(&home.join(".aliyun/config.json")));
    let has_uri = variable("ALIBABA_CLOUD_CREDENTIALS_URI").is_some_and(|uri| !uri.is_empty());
    if let Some(profile) = profile {
        return format!("found {profile}: add --identity profile, and --role-arn for the role");
    }
    if has_uri {
        return "found ALIBABA_CLOUD_CREDENTIALS_URI, such as PAI's service: add --identity credentials_uri, and --role-arn to use another role".to_owned();
    }
    // In a pod, that would be the role of the node.
    let is_pod = variable("KUBERNETES_SERVICE_HOST").is_some();
    if !is_pod && std::fs::read_to_string(PRODUCT_NAME).is_ok_and(|name| name.trim() == ECS) {
        return "found an ECS instance: add --identity ecs_ram_role, and --role-arn to use another role than the instance's".to_owned();
    }
    "found neither a profile of aliyun-cli nor PAI's service nor an ECS instance: configure an identity and a role, or try it without an account, `ram-sidecar exec --sandbox -- CMD`".to_owned()
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
    let text = file::read_regular(path, MAX_PROFILES).ok()?;
    let File { current, profiles } = serde_json::from_slice(&text).ok()?;
    let Profile { name, mode } = profiles
        .into_iter()
        .find(|profile| profile.name == current)?;
    let found = format!("the profile `{name}` ({mode}) of {}", path.display());
    Some(one_line(&found).collect())
}

/// The largest file of profiles that is read, in bytes.
const MAX_PROFILES: usize = 1 << 20;

/// The file with the product name of the machine, which cloud-init reads too: the metadata service would need a network.
const PRODUCT_NAME: &str = "/sys/class/dmi/id/product_name";
const ECS: &str = "Alibaba Cloud ECS";
