//! The document of `credentials_uri` and of PAI's file.
//!
//! Its form is the common denominator of a dozen parsers: flat, strings only, no nulls, whole seconds.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::credentials::{Credentials, timestamp};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    // Without `SessionToken`: reqsign takes it for a duplicate of `SecurityToken` and rejects both.
    let [id, secret, token] = super::parts(credentials);
    let fields = [
        ("Code", "Success"),
        ("AccessKeyId", id),
        ("AccessKeySecret", secret),
        ("SecurityToken", token),
        ("Expiration", &timestamp(credentials.expires_at)),
        // oss2 calculates the lifetime from here; without it, it fetches the document for every request.
        ("LastUpdated", &timestamp(credentials.issued_at)),
    ];
    super::secret_object(credentials, &fields)
}

/// Reads when the credentials in a document expire; nothing if it has another format.
pub fn expiration(document: &[u8]) -> Option<DateTime<Utc>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Document {
        expiration: String,
    }
    let document: Document = serde_json::from_slice(document).ok()?;
    super::time(&document.expiration)
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
