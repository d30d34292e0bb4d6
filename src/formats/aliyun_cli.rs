//! A configuration file of aliyun-cli whose only profile holds the credentials.
//!
//! aliyun-cli reads it at every invocation. It names no region, because a wrong one is worse than none.

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::credentials::{Credentials, time_of};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    let profile = Profile {
        name: NAME.into(),
        mode: "StsToken".into(),
        access_key_id: credentials.access_key_id.as_str().into(),
        access_key_secret: credentials.access_key_secret.expose_secret().into(),
        sts_token: credentials.security_token.expose_secret().into(),
        sts_expiration: credentials.expires_at.timestamp(),
        output_format: "json".into(),
        language: "en".into(),
    };
    super::secret_json(
        credentials,
        &Document {
            current: NAME.into(),
            profiles: [profile],
        },
    )
}

/// Reads when the credentials in a file expire; nothing if it contains anything else.
pub fn expiration(file: &[u8]) -> Option<DateTime<Utc>> {
    let Document { current, profiles } = serde_json::from_slice(file).ok()?;
    let [only] = profiles;
    let is_ours = current == NAME && only.name == NAME;
    is_ours.then(|| time_of(only.sts_expiration))?
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    #[serde(borrow)]
    current: Cow<'a, str>,
    #[serde(borrow)]
    profiles: [Profile<'a>; 1],
}

/// Texts are borrowed, unless JSON had to escape something in them.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Profile<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    mode: Cow<'a, str>,
    #[serde(borrow)]
    access_key_id: Cow<'a, str>,
    #[serde(borrow)]
    access_key_secret: Cow<'a, str>,
    #[serde(borrow)]
    sts_token: Cow<'a, str>,
    sts_expiration: i64,
    #[serde(borrow)]
    output_format: Cow<'a, str>,
    #[serde(borrow)]
    language: Cow<'a, str>,
}

/// The name of the profile.
const NAME: &str = "ram-sidecar";
