//! The file that pyodps reads when `ODPS_STS_ACCOUNT_FILE` names it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::credentials::{Credentials, timestamp};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    let [id, secret, token] = super::parts(credentials);
    let fields = [
        ("accessKeyId", id),
        ("accessKeySecret", secret),
        ("securityToken", token),
        ("expiration", &timestamp(credentials.expires_at)),
    ];
    super::secret_object(credentials, &fields)
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
