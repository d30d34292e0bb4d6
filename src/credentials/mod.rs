//! Temporary credentials, role ARNs, and the lease that STS grants.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};
use secrecy::{ExposeSecret, SecretString};

mod lease;
mod name;
mod role;

pub use self::lease::{Lease, RequestTime};
pub use self::name::{AccountId, BucketName, RoleSessionName};
pub use self::role::{RoleArn, RoleRequest};

/// Temporary credentials. No field is ever empty.
///
/// The secret parts are wiped when the last owner drops them, and `Debug` does not show them.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Begins with `STS.`, and differs each time that credentials are issued. Not a secret.
    pub access_key_id: String,
    /// The key that requests are signed with.
    pub access_key_secret: SecretString,
    /// Must accompany every request that is signed with the key. Its length is unbounded.
    pub security_token: SecretString,
    /// When STS issued them, by the clock of STS.
    pub issued_at: DateTime<Utc>,
    /// When they expire, by the clock of STS.
    pub expires_at: DateTime<Utc>,
}

impl Credentials {
    /// Whether both are the same key, token and expiry, whenever they were obtained.
    pub fn is_same(&self, other: &Self) -> bool {
        self.access_key_id == other.access_key_id
            && self.access_key_secret.expose_secret() == other.access_key_secret.expose_secret()
            && self.security_token.expose_secret() == other.security_token.expose_secret()
            && self.expires_at == other.expires_at
    }

    /// Returns the keys that sign a request with them.
    pub fn keys(&self) -> Keys {
        Keys {
            access_key_id: self.access_key_id.clone(),
            access_key_secret: self.access_key_secret.clone(),
            security_token: Some(self.security_token.clone()),
        }
    }
}

/// An AccessKey, long-term or temporary, which signs requests.
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
    /// Returns the secret parts, so that a text can be searched for them.
    pub fn secrets(&self) -> Vec<&str> {
        let token = self.security_token.iter().map(ExposeSecret::expose_secret);
        token
            .chain([self.access_key_secret.expose_secret()])
            .collect()
    }
}

/// Whether a text can be a key or a token: not empty, and nothing but visible ASCII.
pub fn is_key_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Writes bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes a time the way STS and every SDK write it: `2024-05-21T10:39:29Z`.
///
/// Exactly 20 characters: Python's and Java's SDKs refuse a fraction or an offset.
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Reads a time as STS and the SDKs write it, also with a fraction, which is dropped, or an offset.
///
/// Returns `None` if it is not a time, or one that [`timestamp`] could not write.
pub fn time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    time_of(time.timestamp())
}

/// Returns the time so many seconds after 1970, unless its year has more than four digits, which no client reads.
pub fn time_of(seconds: i64) -> Option<DateTime<Utc>> {
    let time = DateTime::from_timestamp(seconds, 0)?;
    (0..=9999).contains(&time.year()).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn times_that_no_client_reads_are_none() {
        for (text, written) in [
            ("2024-05-21T10:39:29Z", Some("2024-05-21T10:39:29Z")),
            ("2024-05-21T12:39:29.5+02:00", Some("2024-05-21T10:39:29Z")),
            ("2024-05-21T23:59:60Z", Some("2024-05-21T23:59:59Z")),
            ("9999-12-31T23:59:59Z", Some("9999-12-31T23:59:59Z")),
            ("9999-12-31T23:59:59-01:00", None),
            ("0000-01-01T00:00:00+01:00", None),
            ("10000-01-01T00:00:00Z", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(time(text).map(timestamp).as_deref(), written, "{text}");
        }
        assert_eq!(time_of(253_402_300_800), None);
        assert_eq!(time_of(i64::MAX), None);
    }
}
