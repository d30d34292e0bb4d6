//! A configuration file of ossutil: `[Credentials]` for version 1, `[default]` for version 2.
//!
//! ossutil reads it at every invocation. It names no endpoint and no region, which belong to the bucket.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::credentials::{Credentials, timestamp};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    let [id, secret, token] = super::parts(credentials);
    let mut text = super::buffer(credentials);
    text.extend_from_slice(super::header(&timestamp(credentials.expires_at)).as_bytes());
    for section in ["[Credentials]\nlanguage=EN", "[default]"] {
        for part in [
            section,
            "\naccessKeyID=",
            id,
            "\naccessKeySecret=",
            secret,
            "\nstsToken=",
            token,
            "\n",
        ] {
            text.extend_from_slice(part.as_bytes());
        }
    }
    Bytes::from_owner(text)
}

/// Reads when the credentials in a file expire; nothing if it has another format.
pub fn expiration(file: &[u8]) -> Option<DateTime<Utc>> {
    super::header_expiration(file, &LINES)
}

/// The beginning of each line.
const LINES: [&str; 6] = [
    "[Credentials]",
    "language=EN",
    "[default]",
    "accessKeyID=",
    "accessKeySecret=",
    "stsToken=",
];
