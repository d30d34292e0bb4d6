//! The words of the trade: temporary credentials, and the name of a role.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use secrecy::{ExposeSecret, SecretString};

/// Temporary credentials, whole by construction: no field is ever empty.
///
/// The secret parts are wiped when the last owner drops them, and `Debug` does not show them.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Begins with `STS.`; a new one each time, so it tells two issues apart. Not a secret.
    pub access_key_id: String,
    /// The key that requests are signed with.
    pub access_key_secret: SecretString,
    /// Must accompany every request that is signed with the key. Its length is unbounded.
    pub security_token: SecretString,
    /// When STS made them, by the clock of STS.
    pub issued_at: DateTime<Utc>,
    /// When they end, by the clock of STS.
    pub expires_at: DateTime<Utc>,
}

/// What signs a request: an AccessKey, long-term or temporary.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Not a secret.
    pub access_key_id: String,
    /// The key to sign with.
    pub access_key_secret: SecretString,
    /// Accompanies a temporary AccessKey.
    pub security_token: Option<SecretString>,
}

impl Keys {
    /// Returns the secret parts, to search a text for.
    pub fn secrets(&self) -> Vec<&str> {
        let token = self.security_token.iter().map(ExposeSecret::expose_secret);
        token
            .chain([self.access_key_secret.expose_secret()])
            .collect()
    }
}

/// The name of a RAM role: `acs:ram::<account id>:role/<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleArn(String);

impl RoleArn {
    /// Parses a role's ARN.
    ///
    /// Refuses, with the reason, what STS would refuse as wrongly formed: the account is digits, the name 1 to 64
    /// characters of letters, digits, `.`, `_`, `-` (service roles carry a `/`).
    pub fn parse(text: &str) -> Result<Self, String> {
        let shape = "a role is named acs:ram::<account id>:role/<role name>";
        let Some(rest) = text.strip_prefix("acs:ram::") else {
            return Err(format!("it does not begin with `acs:ram::`; {shape}"));
        };
        let Some((account, name)) = rest.split_once(":role/") else {
            return Err(format!("it has no `:role/`; {shape}"));
        };
        if account.is_empty() || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!(
                "its account id `{account}` is not a number; {shape}"
            ));
        }
        let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(in_alphabet) {
            return Err(format!(
                "its role name `{name}` is not 1 to 64 letters, digits or `.`, `_`, `-`; {shape}"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the ARN as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes a time the way STS and every SDK write it: `2024-05-21T10:39:29Z`.
///
/// Exactly 20 characters: Python's and Java's SDKs refuse a fraction or an offset.
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_arns_are_told_from_what_only_looks_like_one() {
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
    fn debug_output_shows_no_secret() {
        let credentials = Credentials {
            access_key_id: "STS.id".into(),
            access_key_secret: "planted-secret".into(),
            security_token: "planted-token".into(),
            issued_at: DateTime::UNIX_EPOCH,
            expires_at: DateTime::UNIX_EPOCH,
        };
        let shown = format!("{credentials:?}");
        assert!(
            shown.contains("STS.id") && !shown.contains("planted"),
            "{shown}"
        );
    }

    #[test]
    fn timestamps_have_exactly_twenty_characters() {
        let at = DateTime::from_timestamp(1_716_287_969, 987_654_321).unwrap();
        assert_eq!(timestamp(at), "2024-05-21T10:39:29Z");
    }
}
