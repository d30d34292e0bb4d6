//! A configuration file of aliyun-cli whose only profile holds the credentials.
//!
//! aliyun-cli reads it at every invocation. It names no region, because a wrong one is worse than none.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::credentials::{Credentials, time_of};

/// Renders credentials. The bytes are wiped when the last reader drops them.
pub fn render(credentials: &Credentials) -> Bytes {
    let profile = Profile {
        name: NAME,
        mode: "StsToken",
        access_key_id: &credentials.access_key_id,
        access_key_secret: credentials.access_key_secret.expose_secret(),
        sts_token: credentials.security_token.expose_secret(),
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

/// Reads from a file when its credentials end; nothing if there is anything else in it.
pub fn expiration(file: &[u8]) -> Option<DateTime<Utc>> {
    let Document { current, profiles } = serde_json::from_slice(file).ok()?;
    let [only] = profiles;
    let is_ours = current == NAME && only.name == NAME;
    is_ours.then(|| time_of(only.sts_expiration))?
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    current: &'a str,
    #[serde(borrow)]
    profiles: [Profile<'a>; 1],
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Profile<'a> {
    name: &'a str,
    mode: &'a str,
    access_key_id: &'a str,
    access_key_secret: &'a str,
    sts_token: &'a str,
    sts_expiration: i64,
    output_format: &'a str,
    language: &'a str,
}

/// The name of the profile.
const NAME: &str = "ram-sidecar";
