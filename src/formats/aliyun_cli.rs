//! A configuration file of aliyun-cli whose only profile contains the credentials.
//!
//! aliyun-cli reads it at every invocation. The file does not set a region, because a wrong one is worse than none.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::credentials::{Credentials, time_of};

use super::Text;

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    let [access_key_id, access_key_secret, sts_token] = super::parts(credentials);
    let profile = Profile {
        name: NAME,
        mode: "StsToken",
        access_key_id,
        access_key_secret,
        sts_token,
        sts_expiration: credentials.expires_at.timestamp(),
        output_format: "json",
        language: "en",
    };
    super::secret_json(
        credentials,
        &Document {
            current: NAME,
            profiles: [profile],
        },
    )
}

/// Reads when the credentials in a file expire; nothing if the file contains anything else.
pub fn expiration(file: &[u8]) -> Option<DateTime<Utc>> {
    let document: Document<Text<'_>> = serde_json::from_slice(file).ok()?;
    let [profile] = document.profiles;
    let is_written_here = document.current.0 == NAME && profile.name.0 == NAME;
    is_written_here.then(|| time_of(profile.sts_expiration))?
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document<T> {
    current: T,
    profiles: [Profile<T>; 1],
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Profile<T> {
    name: T,
    mode: T,
    access_key_id: T,
    access_key_secret: T,
    sts_token: T,
    sts_expiration: i64,
    output_format: T,
    language: T,
}

/// The name of the profile.
const NAME: &str = "ram-sidecar";
