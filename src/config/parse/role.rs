//! Roles and their sessions.

use std::time::Duration;

use serde_json::Value as Json;

use crate::credentials::RoleArn;
use crate::identity::MAX_ROLES;

use super::{duration, list};

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
    let duration = duration(text)?;
    if (900..=43_200).contains(&duration.as_secs()) {
        Ok(duration)
    } else {
        Err(format!(
            "`{text}` is outside the limits of STS; choose 15m to 12h"
        ))
    }
}

pub(crate) fn preset(text: &str) -> Result<Preset, String> {
    match text {
        "pai-default" => Ok(Preset::PaiDefault),
        "none" => Ok(Preset::None),
        _ => Err(format!(
            "`{text}` is not a preset; choose pai-default or none"
        )),
    }
}

pub(crate) fn source_identity(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    if (2..=64).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not a source identity; use 2 to 64 letters, digits or `_+=,.@-`"
        ))
    }
}

pub(crate) fn external_id(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    if (2..=1224).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("it is not an external ID; use 2 to 1224 letters, digits or `_+=,.@:/-`".to_owned())
    }
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

/// Reads the policy in a file.
pub(crate) fn policy_file(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("cannot read {path}: {error}; correct the path or the permissions")
    })?;
    policy(&text).map_err(|reason| format!("in {path} {reason}"))
}

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
