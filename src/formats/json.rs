//! The document of `credentials_uri` and of PAI's file.
//!
//! Its shape is the common denominator of a dozen parsers: flat, strings only, no nulls, whole seconds.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::credentials::{Credentials, timestamp};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    super::secret_json(
        credentials,
        &Document {
            code: "Success",
            access_key_id: &credentials.access_key_id,
            access_key_secret: credentials.access_key_secret.expose_secret(),
            security_token: credentials.security_token.expose_secret(),
            expiration: &timestamp(credentials.expires_at),
            last_updated: &timestamp(credentials.issued_at),
        },
    )
}

/// Reads when the credentials in a document expire; nothing if it has another format.
pub fn expiration(document: &[u8]) -> Option<DateTime<Utc>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Ending {
        expiration: String,
    }
    let ending: Ending = serde_json::from_slice(document).ok()?;
    super::time(&ending.expiration)
}

/// `SessionToken` is not among the keys: reqsign takes it for a duplicate of `SecurityToken` and refuses both.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    code: &'a str,
    access_key_id: &'a str,
    access_key_secret: &'a str,
    security_token: &'a str,
    expiration: &'a str,
    /// oss2 measures the lifetime from here; without it, it asks on every request.
    last_updated: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::store::tests::credentials;

    #[test]
    fn the_expiration_is_read_from_a_rendered_document() {
        let credentials = credentials("x");
        assert_eq!(
            expiration(&render(&credentials)),
            Some(credentials.expires_at)
        );
        assert_eq!(expiration(b"{}"), None);
        assert_eq!(expiration(b"\xff"), None);
    }

    #[test]
    fn the_document_has_exactly_the_documented_fields() {
        assert_eq!(
            render(&credentials("x")),
            r#"{"Code":"Success","AccessKeyId":"STS.x","AccessKeySecret":"secret-of-x","SecurityToken":"token-of-x","Expiration":"2024-05-21T11:39:29Z","LastUpdated":"2024-05-21T10:39:29Z"}"#
        );
    }
}
