//! RAM roles: their ARNs, and the parameters of a request to assume one.

use std::time::Duration;

use super::is_made_of;

/// A role to assume, and the parameters of the request. Each field names its parameter of AssumeRole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRequest {
    /// `RoleArn`.
    pub arn: RoleArn,
    /// `RoleSessionName`. The same for each refresh, because clients pin the identity. The name in a
    /// profile is not validated here.
    pub session_name: String,
    /// `DurationSeconds`: 15 minutes to 12 hours, bounded by the role's maximum.
    pub duration: Duration,
    /// `Policy`: a session policy, at most 2048 characters of JSON.
    pub policy: Option<String>,
    /// `ExternalId`. AssumeRoleWithOIDC has no such parameter.
    pub external_id: Option<String>,
    /// `SourceIdentity`: 2 to 64 characters. AssumeRoleWithOIDC has no such parameter.
    pub source_identity: Option<String>,
}

/// The ARN of a RAM role: `acs:ram::<account id>:role/<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleArn(pub(super) String);

impl RoleArn {
    /// Parses a role ARN by the rules of STS. The error is the reason.
    ///
    /// The account id consists of digits, the name of 1 to 64 letters, digits, `.`, `_`, `-`, and `/` in service roles.
    pub fn parse(text: &str) -> Result<Self, String> {
        let format = "a role ARN has the form acs:ram::<account id>:role/<role name>";
        let Some(rest) = text.strip_prefix("acs:ram::") else {
            return Err(format!("it does not begin with `acs:ram::`; {format}"));
        };
        let Some((account, name)) = rest.split_once(":role/") else {
            return Err(format!("it has no `:role/`; {format}"));
        };
        if account.is_empty() || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!(
                "its account id `{account}` is not a number; {format}"
            ));
        }
        if !is_made_of(name, 1..=64, "._-/") {
            return Err(format!(
                "its role name `{name}` is not 1 to 64 letters, digits or `.`, `_`, `-`; {format}"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the id of the account that the role belongs to.
    pub fn account(&self) -> &str {
        let account = self.0.trim_start_matches("acs:ram::").split(':').next();
        account.unwrap_or_default()
    }

    /// Returns the name of the role.
    pub fn name(&self) -> &str {
        self.0.split_once(":role/").map_or("", |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_role_arn_is_refused_with_the_reason() {
        for good in [
            "acs:ram::1234567890123:role/firstrole",
            "acs:ram::1:role/aliyunserviceroleforpaieas/x",
            "acs:ram::1:role/A.b_c-9",
        ] {
            assert_eq!(
                RoleArn::parse(good).map(|arn| arn.to_string()).as_deref(),
                Ok(good)
            );
        }
        for (bad, reason) in [
            ("", "does not begin"),
            ("arn:aws:iam::1:role/x", "does not begin"),
            ("acs:ram::12ab:role/x", "account id"),
            ("acs:ram:::role/x", "account id"),
            ("acs:ram::1:user/x", "no `:role/`"),
            ("acs:ram::1:role/", "role name"),
            ("acs:ram::1:role/a b", "role name"),
        ] {
            let refusal = RoleArn::parse(bad).unwrap_err();
            assert!(refusal.contains(reason), "{bad}: {refusal}");
        }
    }

    #[test]
    fn role_arn_has_an_account_and_a_name() {
        let arn = RoleArn::parse("acs:ram::123:role/path/name").unwrap();
        assert_eq!((arn.account(), arn.name()), ("123", "path/name"));
    }
}
