//! Selects the role of the job, by ARN or preset.

use serde_json::json;

use crate::credentials::RoleArn;

use super::checker::{Checker, Reported};
use super::parse::Preset;
use super::setting::Definition;
use super::settings;

#[derive(Debug)]
pub(super) enum Choice {
    /// No role and no credentials, by `role.preset none`.
    NoRole,
    /// No role is configured: the temporary credentials of the identity are passed through.
    PassThrough,
    Role(RoleArn),
}

pub(super) fn choice(checker: &mut Checker) -> Result<Choice, Reported> {
    let choices = [&*settings::ROLE_PRESET, &*settings::ROLE_ARN];
    reject_second(checker, &choices, "role choices");
    // The account is part of the name of PAI's default role.
    reject_second(checker, &[&settings::ROLE_ACCOUNT_ID], "accounts");
    let preset = checker.optional(&settings::ROLE_PRESET)?;
    if preset != Some(Preset::PaiDefault) {
        checker.reject_given(
            &[&settings::ROLE_ACCOUNT_ID, &settings::ROLE_OSS_BUCKET],
            "it belongs to role.preset pai-default; set that too, or remove it",
        );
    }
    let choice = match preset {
        Some(Preset::None) => Choice::NoRole,
        Some(Preset::PaiDefault) => Choice::Role(pai_default(checker)?),
        None => match checker.optional(&settings::ROLE_ARN)? {
            Some(role) => Choice::Role(role),
            None => Choice::PassThrough,
        },
    };
    if !matches!(choice, Choice::Role(_)) {
        // Without its session policy, the job would get more permissions than intended.
        checker.reject_given(
            &[
                &settings::ROLE_VIA,
                &settings::ROLE_EXTERNAL_ID,
                &settings::ROLE_SOURCE_IDENTITY,
                &settings::ROLE_POLICY,
                &settings::ROLE_POLICY_FILE,
            ],
            "it takes effect only with a role; set role.arn, or remove it",
        );
    }
    Ok(choice)
}

/// Returns the session policy of PAI's default role, if that is selected: all of MaxCompute, and the objects and the
/// listing of one OSS bucket.
pub(super) fn preset_policy(checker: &mut Checker) -> Result<Option<String>, Reported> {
    if checker.optional(&settings::ROLE_PRESET)? != Some(Preset::PaiDefault) {
        return Ok(None);
    }
    let bucket = checker.required(&settings::ROLE_OSS_BUCKET, FOR_PAI_DEFAULT)?;
    let of_bucket = [
        "oss:ListObjects",
        "oss:ListObjectVersions",
        "oss:ListMultipartUploads",
        "oss:GetBucketInfo",
        "oss:GetBucketLocation",
    ];
    let policy = json!({"Version": "1", "Statement": [
        {"Effect": "Allow", "Action": "odps:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "oss:*", "Resource": format!("acs:oss:*:*:{bucket}/*")},
        {"Effect": "Allow", "Action": of_bucket, "Resource": format!("acs:oss:*:*:{bucket}")},
    ]});
    Ok(Some(policy.to_string()))
}

fn pai_default(checker: &mut Checker) -> Result<RoleArn, Reported> {
    let account = checker.required(&settings::ROLE_ACCOUNT_ID, FOR_PAI_DEFAULT);
    let bucket = checker.required(&settings::ROLE_OSS_BUCKET, FOR_PAI_DEFAULT);
    checker.reject_given(
        &[&settings::ROLE_POLICY, &settings::ROLE_POLICY_FILE],
        "role.preset pai-default has its own session policy; remove one of the two",
    );
    bucket?;
    // RAM writes the names in ARNs in lower case.
    let arn = format!("acs:ram::{}:role/aliyunpaidlcdefaultrole", account?);
    RoleArn::parse(&arn).map_err(|reason| checker.reject(&settings::ROLE_ACCOUNT_ID, &reason))
}

/// Rejects a second choice in any layer.
fn reject_second(checker: &mut Checker, settings: &[&Definition], what: &str) {
    let mut choices: Vec<(String, String)> = Vec::new();
    for setting in settings {
        let overridden = checker.layers.overridden(setting);
        for given in checker.given(setting).into_iter().chain(overridden) {
            if choices.iter().all(|(value, _)| *value != given.value) {
                choices.push((given.value.clone(), given.origin.to_string()));
            }
        }
    }
    if let [(one, one_place), (other, other_place), ..] = choices.as_slice() {
        checker.report(format!(
            "two {what} are given, `{one}` ({one_place}) and `{other}` ({other_place}); a job has one role: remove one of them"
        ));
    }
}

const FOR_PAI_DEFAULT: &str = " for role.preset pai-default";
