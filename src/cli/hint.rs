//! Hints: how to complete a command line or a configuration.

use std::ffi::OsString;
use std::path::Path;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde::Deserialize;

use super::Error;
use super::input::{self, config_file, unknown_variables, variable};
use crate::config::settings::{CREDENTIALS_URI, IDENTITY_TYPE};
use crate::config::{Checked, Config, Definition, Errors, Shown};
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
    let (hint, Checked { outcome, .. }) = checked(matches, defaults);
    outcome.map_err(|errors| match hint {
        Some(hint) if errors.0.is_empty() => Error::Configuration(hint.into()),
        Some(hint) => Error::Configuration(format!("{hint}\n{errors}").into()),
        None => errors.into(),
    })
}

/// Gathers what is given, and checks it. If nothing is configured, and that is an error, it is checked with the identity that
/// this machine has, which the hint names: then the hint remedies the other errors.
pub(super) fn checked(
    matches: &ArgMatches,
    defaults: Vec<(&'static Definition, String)>,
) -> (Option<String>, Checked) {
    let mut checked = input::checked(matches, defaults.clone());
    if checked.outcome.is_ok() || is_begun(matches, &checked.settings) {
        return (None, checked);
    }
    let found = Found::here();
    if let Some(kind) = found.kind() {
        let found = (&IDENTITY_TYPE.definition, kind.to_owned());
        let with_found = input::checked(matches, [defaults, vec![found]].concat());
        checked.outcome = Err(with_found.outcome.err().unwrap_or(Errors(Vec::new())));
    }
    let mut hint = found.hint();
    if matches.try_contains_id("from").is_ok() {
        hint.push_str("; the credentials of a running daemon are printed with --from http://127.0.0.1:7002/api/v1/credentials/KEY, its serve.listen and serve.key (0 by default)");
    }
    (Some(hint), checked)
}

/// Whether somebody has begun to configure an identity or a role: by a file, a setting, a misspelt variable or a sandbox.
fn is_begun(matches: &ArgMatches, settings: &[Shown]) -> bool {
    // The variable of this key does not count as configuration: clients read it too.
    let is_choice = |setting: &Shown| {
        ["role.", "identity."]
            .iter()
            .any(|section| setting.key.starts_with(section))
            && setting.key != CREDENTIALS_URI.key
            && setting.origin != "default"
    };
    let has_sandbox = matches.try_get_one("sandbox").ok().flatten() == Some(&true);
    has_sandbox
        || config_file(matches).is_some()
        || settings.iter().any(is_choice)
        || !unknown_variables().is_empty()
}

/// What this machine has for an identity.
#[derive(Debug)]
enum Found {
    /// The current profile of aliyun-cli, and its mode.
    Profile {
        description: String,
        mode: String,
    },
    /// The variable of a server of credentials.
    Uri,
    /// An ECS instance.
    Instance,
    Nothing,
}

impl Found {
    fn here() -> Self {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let profile = variable("HOME")
            .and_then(|home| profile(&Path::new(&home).join(".aliyun/config.json")));
        // In a pod, the role of the ECS instance would be that of the node.
        let product = std::fs::read_to_string(PRODUCT_NAME).unwrap_or_default();
        let is_instance = !is_set("KUBERNETES_SERVICE_HOST") && product.trim() == ECS_PRODUCT_NAME;
        match profile {
            Some(profile) => profile,
            None if is_set("ALIBABA_CLOUD_CREDENTIALS_URI") => Self::Uri,
            None if is_instance => Self::Instance,
            None => Self::Nothing,
        }
    }

    /// Returns the kind of identity, as `identity.type` spells it.
    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Profile { .. } => Some("profile"),
            Self::Uri => Some("credentials_uri"),
            Self::Instance => Some("ecs_ram_role"),
            Self::Nothing => None,
        }
    }

    fn hint(&self) -> String {
        match self {
            // Its AccessKey is never passed on.
            Self::Profile { description, mode } if mode == "AK" => {
                format!("found {description}: add --identity profile, and --role-arn for the role")
            }
            Self::Profile { description, .. } => {
                format!("found {description}: add --identity profile, and --role-arn to use another role than its own")
            }
            Self::Uri => "found ALIBABA_CLOUD_CREDENTIALS_URI, such as PAI's service: add --identity credentials_uri, and --role-arn to use another role".to_owned(),
            Self::Instance => "found an ECS instance: add --identity ecs_ram_role, and --role-arn to use another role than the instance's".to_owned(),
            Self::Nothing => "found neither a profile of aliyun-cli nor PAI's service nor an ECS instance: configure an identity and a role, or try it without an account, `ram-sidecar exec --sandbox -- CMD`".to_owned(),
        }
    }
}

/// Reads the current profile of aliyun-cli, if there is one.
fn profile(path: &Path) -> Option<Found> {
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
    Some(Found::Profile {
        description: one_line(&found).collect(),
        mode,
    })
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
        let profile = |mode: &str| Found::Profile {
            description: "the profile `work`".to_owned(),
            mode: mode.to_owned(),
        };
        for (found, role) in [
            (profile("AK"), "--role-arn for the role"),
            (profile("CloudSSO"), "--role-arn to use another"),
            (Found::Uri, "--role-arn to use another"),
            (Found::Instance, "--role-arn to use another"),
            (Found::Nothing, "exec --sandbox"),
        ] {
            let hint = found.hint();
            let flag = found.kind().map(|kind| format!("--identity {kind}"));
            assert!(flag.is_none_or(|flag| hint.contains(&flag)), "{hint}");
            assert!(hint.contains(role), "{hint}");
        }
    }
}
