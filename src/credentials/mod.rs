//! Temporary credentials, role ARNs, and the lease that STS grants.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};
use secrecy::{ExposeSecret, SecretString};

mod lease;
mod name;
mod role;

pub use self::lease::{Lease, RequestTime};
pub use self::name::{AccountId, BucketName, RoleSessionName, is_made_of};
pub use self::role::{RoleArn, RoleRequest};

/// Temporary credentials. No field is ever empty.
///
/// The secret parts are wiped when the last owner drops them, and `Debug` does not show them.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The AccessKey ID, which begins with `STS.` and differs each time that credentials are issued. Not a secret.
    pub access_key_id: String,
    /// The key to sign requests with.
    pub access_key_secret: SecretString,
    /// The token that must accompany every signed request. Its length is unbounded.
    pub security_token: SecretString,
    /// When STS issued them, by the clock of STS.
    pub issued_at: DateTime<Utc>,
    /// When they expire, by the clock of STS.
    pub expires_at: DateTime<Utc>,
}

impl Credentials {
    /// Whether key, token and expiry are equal; the time of issue is ignored.
    pub fn is_same(&self, other: &Self) -> bool {
        self.access_key_id == other.access_key_id
            && self.access_key_secret.expose_secret() == other.access_key_secret.expose_secret()
            && self.security_token.expose_secret() == other.security_token.expose_secret()
            && self.expires_at == other.expires_at
    }

    /// Returns the keys to sign requests with.
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
    /// The AccessKey ID. Not a secret.
    pub access_key_id: String,
    /// The key to sign requests with.
    pub access_key_secret: SecretString,
    /// The token of a temporary AccessKey; a long-term one has none.
    pub security_token: Option<SecretString>,
}

impl Keys {
    /// Returns the secret parts, for redacting them from a text.
    pub fn secrets(&self) -> Vec<&str> {
        let token = self.security_token.iter().map(ExposeSecret::expose_secret);
        token
            .chain([self.access_key_secret.expose_secret()])
            .collect()
    }
}

/// Whether a text can be a key or a token: visible ASCII characters only, and at least one.
pub fn is_key_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Formats bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Formats a time as STS and every SDK do: `2024-05-21T10:39:29Z`.
///
/// Exactly 20 characters: Python's and Java's SDKs refuse a fraction or an offset.
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Parses a time as STS and the SDKs write it; a fraction of a second is dropped, and an offset is applied.
///
/// Returns `None` if it is not a time, or a time that [`timestamp`] cannot format.
pub fn time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    time_of(time.timestamp())
}

/// Returns the time that is `seconds` after the Unix epoch; `None` outside the years 0 to 9999, which clients cannot
/// parse.
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
    fn times_that_clients_cannot_parse_are_rejected() {
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
