//! The file that pyodps reads when `ODPS_STS_ACCOUNT_FILE` names it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use crate::credentials::{Credentials, timestamp};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    super::secret_object(
        credentials,
        &[
            ("accessKeyId", &credentials.access_key_id),
            (
                "accessKeySecret",
                credentials.access_key_secret.expose_secret(),
            ),
            ("securityToken", credentials.security_token.expose_secret()),
            ("expiration", &timestamp(credentials.expires_at)),
        ],
    )
}

/// Reads when the credentials in a document expire; nothing if it has another format.
pub fn expiration(document: &[u8]) -> Option<DateTime<Utc>> {
    #[derive(Deserialize)]
    struct Document {
        expiration: String,
    }
    let document: Document = serde_json::from_slice(document).ok()?;
    super::time(&document.expiration)
}
