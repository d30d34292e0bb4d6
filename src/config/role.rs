//! Which role the job gets: one, whichever way it is named.

use serde_json::json;

use crate::credentials::RoleArn;

use super::checker::Checker;
use super::parse;

/// A role choice that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    /// PAI's default role: MaxCompute, and one OSS bucket.
    PaiDefault,
    /// No role.
    None,
}

/// The role choice.
#[derive(Debug)]
pub(super) enum Choice {
    /// No role and no credentials, as wished.
    Nothing,
    /// Nothing was said: an identity that holds temporary credentials passes them through.
    PassThrough,
    /// A role.
    Role(RoleArn),
}

impl Checker {
    /// Reads the choice; `None` when it is wrong.
    pub(super) fn role(&mut self) -> Option<Choice> {
        let is_single = self.one_role();
        let preset = match self.given("role.preset") {
            Some(_) => Some(self.value("role.preset", parse::preset)?),
            None => None,
        };
        if preset != Some(Preset::PaiDefault) {
            self.refuse(
                &["role.account_id", "role.oss_bucket"],
                "it belongs to role.preset pai-default; set that too, or remove it",
            );
        }
        let choice = match preset {
            Some(Preset::None) => Choice::Nothing,
            Some(Preset::PaiDefault) => Choice::Role(self.pai_default()?),
            None if self.given("role.arn").is_none() => Choice::PassThrough,
            None => Choice::Role(self.value("role.arn", |text| {
                RoleArn::parse(text).map_err(|reason| format!("`{text}` is no role: {reason}"))
            })?),
        };
        if !matches!(choice, Choice::Role(_)) {
            // To pass a session policy over in silence would be to hand out more than was meant.
            let keys = [
                "role.via",
                "role.external_id",
                "role.source_identity",
                "role.policy",
                "role.policy_file",
            ];
            self.refuse(
                &keys,
                "it takes effect only with a role; set role.arn, or remove it",
            );
        }
        is_single.then_some(choice)
    }

    /// Refuses a second role, wherever it is written.
    fn one_role(&mut self) -> bool {
        let roles = self.is_one(&["role.preset", "role.arn"], "role choices");
        // The account is part of the name of PAI's default role.
        let accounts = self.is_one(&["role.account_id"], "accounts");
        roles && accounts
    }

    fn is_one(&mut self, keys: &[&str], what: &str) -> bool {
        let mut choices: Vec<(String, String)> = Vec::new();
        for key in keys {
            for given in self
                .given(key)
                .into_iter()
                .chain(self.layers.overruled(key))
            {
                let choice = (given.value.clone(), given.origin.to_string());
                if choices.iter().all(|(value, _)| *value != choice.0) {
                    choices.push(choice);
                }
            }
        }
        let [(one, one_place), (other, other_place), ..] = choices.as_slice() else {
            return true;
        };
        let problem = format!(
            "two {what} are given, `{one}` ({one_place}) and `{other}` ({other_place}); a job has one role: remove one of them"
        );
        self.problems.push(problem);
        false
    }

    fn pai_default(&mut self) -> Option<RoleArn> {
        for key in ["role.account_id", "role.oss_bucket"] {
            if self.given(key).is_none() {
                let variable = self.origin(key);
                self.problems.push(format!(
                    "{key}: it is missing for role.preset pai-default; set {variable}"
                ));
            }
        }
        self.refuse(
            &["role.policy", "role.policy_file"],
            "role.preset pai-default brings its own session policy; remove one of the two",
        );
        let account = self.value("role.account_id", parse::account_id)?;
        // RAM writes the names in ARNs in small letters.
        RoleArn::parse(&format!("acs:ram::{account}:role/aliyunpaidlcdefaultrole")).ok()
    }

    /// Returns the session policy of PAI's default role, if that is the choice: MaxCompute as the role has it, and of OSS
    /// the objects and the listing of one bucket.
    pub(super) fn preset_policy(&mut self) -> Option<String> {
        let preset = self.given("role.preset")?.value.clone();
        if parse::preset(&preset) != Ok(Preset::PaiDefault) {
            return None;
        }
        let bucket = self.value("role.oss_bucket", parse::bucket)?;
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
        Some(policy.to_string())
    }

    fn refuse(&mut self, keys: &[&str], reason: &str) {
        for key in keys {
            if let Some(given) = self.given(key) {
                let problem = format!("{}: {reason}", given.origin);
                self.problems.push(problem);
            }
        }
    }
}
