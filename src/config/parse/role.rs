//! Roles and their sessions.

use std::time::Duration;

use serde_json::Value as Json;

use crate::credentials::{RoleArn, is_made_of};
use crate::identity::MAX_ROLES;
use crate::system::file;

use super::{accept, duration_within, list, one_of};

/// A named role choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    /// PAI's default role: MaxCompute, and one OSS bucket.
    PaiDefault,
    /// No role.
    None,
}

pub(crate) fn role(text: &str) -> Result<RoleArn, String> {
    RoleArn::parse(text).map_err(|reason| format!("`{text}` is not a role ARN: {reason}"))
}

pub(crate) fn roles(text: &str) -> Result<Vec<RoleArn>, String> {
    let roles = list(text)?;
    if roles.len() > MAX_ROLES {
        return Err(format!("it lists more than {MAX_ROLES} roles"));
    }
    roles.iter().map(|text| role(text)).collect()
}

pub(crate) fn role_duration(text: &str) -> Result<Duration, String> {
    duration_within(text, 900..=43_200, " of STS; choose 15m to 12h")
}

pub(crate) fn preset(text: &str) -> Result<Preset, String> {
    let presets = [("pai-default", Preset::PaiDefault), ("none", Preset::None)];
    one_of(text, "a preset", &presets)
}

pub(crate) fn source_identity(text: &str) -> Result<String, String> {
    accept(text, is_made_of(text, 2..=64, "_+=,.@-"), || {
        format!("`{text}` is not a source identity; use 2 to 64 letters, digits or `_+=,.@-`")
    })
}

pub(crate) fn external_id(text: &str) -> Result<String, String> {
    accept(text, is_made_of(text, 2..=1224, "_+=,.@:/-"), || {
        "it is not an external ID; use 2 to 1224 letters, digits or `_+=,.@:/-`".to_owned()
    })
}

/// Checks a session policy without RAM's grammar, and removes its white space.
pub(crate) fn policy(text: &str) -> Result<String, String> {
    let json: Json = serde_json::from_str(text)
        .map_err(|error| format!("the session policy is not JSON ({error}); correct it"))?;
    if json.get("Version").is_none() || json.get("Statement").is_none() {
        return Err(
            "the session policy lacks Version or Statement; see RAM's policy language".into(),
        );
    }
    let compact = json.to_string();
    let length = compact.chars().count();
    if length > 2048 {
        return Err(format!(
            "the session policy has {length} characters; STS accepts 2048; shorten it"
        ));
    }
    Ok(compact)
}

pub(crate) fn policy_file(path: &str) -> Result<String, String> {
    let text = file::read_text(path.as_ref(), POLICY_LIMIT).map_err(|error| {
        let remedy = file::remedy(&error, "correct the path");
        format!("cannot read {path}: {error}; {remedy}")
    })?;
    policy(&text).map_err(|reason| format!("in {path} {reason}"))
}

/// Far more bytes than a policy that STS accepts has, whatever its white space.
const POLICY_LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_is_checked_and_compacted() {
        let good = "{ \"Statement\": [],\n \"Version\": \"1\" }";
        assert_eq!(
            policy(good).as_deref(),
            Ok(r#"{"Statement":[],"Version":"1"}"#)
        );
        let long = format!(r#"{{"Version":"1","Statement":"{}"}}"#, "x".repeat(2048));
        for (bad, reason) in [
            ("{", "not JSON"),
            ("{}", "lacks"),
            ("[]", "lacks"),
            (&long, "2048"),
        ] {
            assert!(policy(bad).unwrap_err().contains(reason), "{bad}");
        }
    }
}
