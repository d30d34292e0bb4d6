//! The file that pyodps reads when `ODPS_STS_ACCOUNT_FILE` names it.

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
            access_key_id: &credentials.access_key_id,
            access_key_secret: credentials.access_key_secret.expose_secret(),
            security_token: credentials.security_token.expose_secret(),
            expiration: &timestamp(credentials.expires_at),
        },
    )
}

/// Reads when the credentials in a document expire; nothing if it has another format.
pub fn expiration(document: &[u8]) -> Option<DateTime<Utc>> {
    #[derive(Deserialize)]
    struct Ending {
        expiration: String,
    }
    let ending: Ending = serde_json::from_slice(document).ok()?;
    super::time(&ending.expiration)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    access_key_id: &'a str,
    access_key_secret: &'a str,
    security_token: &'a str,
    expiration: &'a str,
}
