//! The JSON credentials of other programs and services, with either of the two usual spellings of the keys.
//!
//! `AccessKeyId`, `AccessKeySecret`, `SecurityToken`, `Expiration` (metadata service, credentials URI, OSS SDKs), and
//! `access_key_id`, `access_key_secret`, `sts_token`, `expiration` (aliyun-cli). A document may contain both.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::credentials::{Credentials, Keys, Lease, RequestTime, is_key_text, time};
use crate::failure::{Failure, LocalCode, Stage};
use crate::time::moment::Moment;

use super::Proof;

/// Credentials with an optional expiry.
pub(super) struct Document {
    pub(super) keys: Keys,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) updated_at: Option<DateTime<Utc>>,
}

impl Document {
    /// Parses a document. The error is the reason, and quotes nothing of the document.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(text).map_err(|error| {
            let (class, line, column) = (error.classify(), error.line(), error.column());
            format!("it is not the JSON of credentials ({class:?} at line {line} column {column})")
        })?;
        if raw.code.is_some_and(|code| code != "Success") {
            return Err("its Code is not Success".to_owned());
        }
        // In other modes, the AccessKey alone is not the identity that aliyun-cli would use.
        let mode = raw.mode.as_deref().unwrap_or_default();
        if !matches!(mode, "" | "AK" | "StsToken") {
            return Err("its mode is neither AK nor StsToken".to_owned());
        }
        let id = raw.id.or(raw.snake_id).ok_or("it has no AccessKeyId")?;
        let secret = raw.secret.or(raw.snake_secret);
        let secret = secret.ok_or("it has no AccessKeySecret")?;
        let token = raw.token.or(raw.snake_token);
        let token = token.filter(|token| mode != "AK" && !token.expose_secret().is_empty());
        let is_valid = |text: &SecretString| is_key_text(text.expose_secret());
        if !is_key_text(&id) || !is_valid(&secret) || !token.iter().all(is_valid) {
            return Err("a key in it is empty or malformed".to_owned());
        }
        let expiration = raw.expiration.or(raw.snake_expiration);
        let expires_at = match expiration.as_deref() {
            None | Some("") => None,
            // Not quoted: this may be a secret in the wrong field.
            Some(text) => {
                let time = time(text);
                Some(time.ok_or("its Expiration is not a time like 2024-05-21T10:39:29Z")?)
            }
        };
        Ok(Self {
            keys: Keys {
                access_key_id: id,
                access_key_secret: secret,
                security_token: token,
            },
            expires_at,
            updated_at: raw.last_updated.as_deref().and_then(time),
        })
    }

    /// Converts the document to a proof: a lease if it has a token and an expiry.
    ///
    /// It was requested from `source` at `requested_at`, and the response was dated `date`. A service clock that is ahead
    /// shortens the lifetime. One that is behind does not extend it, because the date of a cached response is old.
    pub(super) fn proof(
        self,
        requested_at: Moment,
        date: Option<DateTime<Utc>>,
        source: &str,
    ) -> Result<Proof, Failure> {
        let keys = self.keys;
        // A long-term AccessKey is never served, whatever the other fields.
        let is_temporary = !keys.access_key_id.starts_with("LTAI");
        let (Some(token), Some(expires_at), true) =
            (&keys.security_token, self.expires_at, is_temporary)
        else {
            return Ok(Proof::Keys(keys));
        };
        let credentials = Credentials {
            security_token: token.clone(),
            access_key_id: keys.access_key_id,
            access_key_secret: keys.access_key_secret,
            issued_at: self
                .updated_at
                .filter(|updated_at| *updated_at < expires_at)
                .or(date)
                .unwrap_or(requested_at.wall),
            expires_at,
        };
        let skew = date.map_or(TimeDelta::zero(), |date| requested_at.wall - date);
        let skew = skew.min(TimeDelta::zero());
        let requested = RequestTime {
            at: requested_at,
            skew,
            // The service wrote the date after the request, so the lifetime is too short rather than too long.
            uncertainty: Duration::ZERO,
        };
        Lease::new(credentials, requested, Duration::MAX, source)
            .map(Proof::Lease)
            .ok_or_else(|| {
                let message = format!(
                    "{source} returned credentials that have expired, or do so within a second"
                );
                Failure::new(Stage::Identity, LocalCode::ExpiredAnswer, message)
            })
    }
}

#[derive(Deserialize)]
struct Raw {
    mode: Option<String>,
    #[serde(rename = "Code")]
    code: Option<String>,
    #[serde(rename = "AccessKeyId")]
    id: Option<String>,
    #[serde(rename = "AccessKeySecret")]
    secret: Option<SecretString>,
    #[serde(rename = "SecurityToken")]
    token: Option<SecretString>,
    #[serde(rename = "Expiration")]
    expiration: Option<String>,
    #[serde(rename = "LastUpdated")]
    last_updated: Option<String>,
    #[serde(rename = "access_key_id")]
    snake_id: Option<String>,
    #[serde(rename = "access_key_secret")]
    snake_secret: Option<SecretString>,
    #[serde(rename = "sts_token")]
    snake_token: Option<SecretString>,
    #[serde(rename = "expiration")]
    snake_expiration: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::store::tests::noon;

    fn proof(text: &str) -> Result<Proof, String> {
        let document = Document::parse(text.as_bytes())?;
        document
            .proof(noon(), None, "the test")
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn both_spellings_and_their_union_are_read() {
        for text in [
            r#"{"Code":"Success","AccessKeyId":"STS.a","AccessKeySecret":"s","SecurityToken":"t","Expiration":"2024-05-21T11:39:29Z"}"#,
            r#"{"mode":"StsToken","access_key_id":"STS.a","access_key_secret":"s","sts_token":"t","expiration":"2024-05-21T11:39:29Z"}"#,
            r#"{"AccessKeyId":"STS.a","AccessKeySecret":"s","SecurityToken":"t","Expiration":"2024-05-21T11:39:29Z",
                "access_key_id":"STS.a","access_key_secret":"s","sts_token":"t","expiration":"2024-05-21T11:39:29Z","mode":"StsToken"}"#,
            "\n{\n \"Code\" : \"Success\",\"AccessKeyId\" : \"STS.a\",\"AccessKeySecret\":\"s\",\"SecurityToken\":\"t\",\"Expiration\":\"2024-05-21T11:39:29Z\"}\n",
        ] {
            let Ok(Proof::Lease(lease)) = proof(text) else {
                panic!("{text}");
            };
            assert_eq!(lease.credentials.access_key_id, "STS.a");
            assert_eq!(lease.lifetime.as_secs(), 3600);
        }
    }

    #[test]
    fn document_without_a_token_or_an_expiry_yields_signing_keys_only() {
        for text in [
            r#"{"mode":"AK","access_key_id":"LTAI","access_key_secret":"s"}"#,
            r#"{"AccessKeyId":"LTAI","AccessKeySecret":"s","SecurityToken":"","Expiration":""}"#,
            r#"{"AccessKeyId":"STS.a","AccessKeySecret":"s","SecurityToken":"t"}"#,
            r#"{"AccessKeyId":"STS.a","AccessKeySecret":"s","SecurityToken":null,"Expiration":null}"#,
        ] {
            assert!(matches!(proof(text), Ok(Proof::Keys(_))), "{text}");
        }
    }

    #[test]
    fn long_term_key_is_not_temporary_whatever_the_other_fields() {
        for text in [
            r#"{"AccessKeyId":"LTAI5t","AccessKeySecret":"s","SecurityToken":"t","Expiration":"9999-12-31T00:00:00Z"}"#,
            r#"{"mode":"AK","access_key_id":"STS.a","access_key_secret":"s","sts_token":"t","expiration":"2024-05-21T11:39:29Z"}"#,
        ] {
            assert!(matches!(proof(text), Ok(Proof::Keys(_))), "{text}");
        }
        let other = r#"{"mode":"RamRoleArn","access_key_id":"a","access_key_secret":"s"}"#;
        assert!(
            proof(other)
                .unwrap_err()
                .contains("neither AK nor StsToken")
        );
    }

    #[test]
    fn slow_clock_does_not_extend_the_lifetime() {
        let text = r#"{"AccessKeyId":"STS.a","AccessKeySecret":"s","SecurityToken":"t","Expiration":"2024-05-21T11:39:29Z"}"#;
        let left = |skew: i64| {
            let document = Document::parse(text.as_bytes()).unwrap();
            match document.proof(
                noon(),
                Some(noon().wall - TimeDelta::seconds(skew)),
                "the test",
            ) {
                Ok(Proof::Lease(lease)) => Some(lease.lifetime.as_secs()),
                _ => None,
            }
        };
        assert_eq!(
            (left(0), left(7200), left(-600), left(-3600)),
            (Some(3600), Some(3600), Some(3000), None)
        );
    }

    #[test]
    fn incomplete_document_is_refused_without_quoting_it() {
        for (text, reason) in [
            ("", "not the JSON of credentials (Eof"),
            ("planted", "not the JSON of credentials (Syntax"),
            ("[]", "not the JSON"),
            (r#"{"AccessKeyId":7}"#, "not the JSON of credentials (Data"),
            (
                r#"{"Code":"NoPermission","Message":"x"}"#,
                "its Code is not Success",
            ),
            ("{}", "no AccessKeyId"),
            (r#"{"AccessKeyId":"a"}"#, "no AccessKeySecret"),
            (
                r#"{"AccessKeyId":"a","AccessKeySecret":""}"#,
                "empty or malformed",
            ),
            (
                r#"{"AccessKeyId":"a b","AccessKeySecret":"planted"}"#,
                "empty or malformed",
            ),
            (
                r#"{"AccessKeyId":"a","AccessKeySecret":"planted","Expiration":"planted"}"#,
                "its Expiration is not a time",
            ),
            (
                r#"{"AccessKeyId":"a","AccessKeySecret":"planted","SecurityToken":"t","Expiration":"2024-05-21T10:39:29Z"}"#,
                "have expired",
            ),
        ] {
            let refusal = proof(text).map(|_| ()).unwrap_err();
            assert!(
                refusal.contains(reason) && !refusal.contains("planted"),
                "{text}: {refusal}"
            );
        }
    }
}
