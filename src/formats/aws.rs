//! A shared credentials file of AWS, with one profile, for tools that know no other way, such as s3fs.
//!
//! There are no spaces around `=`: not every reader removes them.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::credentials::{Credentials, timestamp};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    let mut text = super::buffer(credentials);
    text.extend_from_slice(super::header(&timestamp(credentials.expires_at)).as_bytes());
    text.extend_from_slice(b"[default]\n");
    for (name, value) in NAMES.into_iter().zip(super::parts(credentials)) {
        for part in [name, value, "\n"] {
            text.extend_from_slice(part.as_bytes());
        }
    }
    Bytes::from_owner(text)
}

/// Reads when the credentials in a file expire; nothing if it has another format.
pub fn expiration(file: &[u8]) -> Option<DateTime<Utc>> {
    let [id, secret, token] = NAMES;
    super::header_expiration(file, &["[default]", id, secret, token])
}

/// The beginning of the lines of the AccessKey ID, the secret and the token.
const NAMES: [&str; 3] = [
    "aws_access_key_id=",
    "aws_secret_access_key=",
    "aws_session_token=",
];
