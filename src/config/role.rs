//! Which role the job gets: one, whichever way it is named.

use serde_json::json;

use crate::credentials::RoleArn;

use super::checker::{Checker, Reported};
use super::parse::Preset;
use super::setting::Definition;
use super::settings;

/// The role choice.
#[derive(Debug)]
pub(super) enum Choice {
    /// No role and no credentials, by `role.preset none`.
    Nothing,
    /// Not given: an identity that holds temporary credentials passes them through.
    PassThrough,
    /// A role.
    Role(RoleArn),
}

/// Reads the choice.
pub(super) fn choice(checker: &mut Checker) -> Result<Choice, Reported> {
    let choices = [&*settings::ROLE_PRESET, &*settings::ROLE_ARN];
    refuse_second(checker, &choices, "role choices");
    // The account is part of the name of PAI's default role.
    refuse_second(checker, &[&settings::ROLE_ACCOUNT_ID], "accounts");
    let preset = checker.optional(&settings::ROLE_PRESET)?;
    if preset != Some(Preset::PaiDefault) {
        refuse_all(
            checker,
            &[&settings::ROLE_ACCOUNT_ID, &settings::ROLE_OSS_BUCKET],
            "it belongs to role.preset pai-default; set that too, or remove it",
        );
    }
    let choice = match preset {
        Some(Preset::None) => Choice::Nothing,
        Some(Preset::PaiDefault) => Choice::Role(pai_default(checker)?),
        None => match checker.optional(&settings::ROLE_ARN)? {
            Some(role) => Choice::Role(role),
            None => Choice::PassThrough,
        },
    };
    if !matches!(choice, Choice::Role(_)) {
        // Ignoring a session policy would hand out more than was meant.
        refuse_all(
            checker,
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

/// Returns the session policy of PAI's default role, if that is the choice: MaxCompute as the role has it, and of OSS the
/// objects and the listing of one bucket.
pub(super) fn preset_policy(checker: &mut Checker) -> Result<Option<String>, Reported> {
    if checker.optional(&settings::ROLE_PRESET)? != Some(Preset::PaiDefault) {
        return Ok(None);
    }
    let bucket = checker.required(&settings::ROLE_OSS_BUCKET, PAI_DEFAULT)?;
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
    let account = checker.required(&settings::ROLE_ACCOUNT_ID, PAI_DEFAULT);
    let bucket = checker.required(&settings::ROLE_OSS_BUCKET, PAI_DEFAULT);
    refuse_all(
        checker,
        &[&settings::ROLE_POLICY, &settings::ROLE_POLICY_FILE],
        "role.preset pai-default brings its own session policy; remove one of the two",
    );
    bucket?;
    // RAM writes the names in ARNs in lower case.
    let arn = format!("acs:ram::{}:role/aliyunpaidlcdefaultrole", account?);
    RoleArn::parse(&arn).map_err(|reason| checker.refuse(&settings::ROLE_ACCOUNT_ID, &reason))
}

/// Refuses a second choice, whichever layer it is in.
fn refuse_second(checker: &mut Checker, settings: &[&Definition], what: &str) {
    let mut choices: Vec<(String, String)> = Vec::new();
    for setting in settings {
        let overruled = checker.layers.overruled(setting);
        for given in checker.given(setting).into_iter().chain(overruled) {
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

fn refuse_all(checker: &mut Checker, settings: &[&Definition], reason: &str) {
    for setting in settings {
        if checker.given(setting).is_some() {
            checker.refuse(setting, reason);
        }
    }
}

const PAI_DEFAULT: &str = " for role.preset pai-default";
