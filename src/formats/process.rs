//! The output of a credential process, in both spellings that its readers expect.
//!
//! `access_key_id` … are for aliyun-cli's `External` mode and the profiles of the SDKs, `AccessKeyId` … for the process
//! providers of the OSS SDKs and ossfs. Readers that ignore case see `expiration` twice, with the same value.

use bytes::Bytes;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::credentials::{Credentials, timestamp};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    let (secret, token) = (
        credentials.access_key_secret.expose_secret(),
        credentials.security_token.expose_secret(),
    );
    let end = timestamp(credentials.expires_at);
    super::secret_json(
        credentials,
        &Document {
            mode: "StsToken",
            access_key_id: &credentials.access_key_id,
            access_key_secret: secret,
            sts_token: token,
            expiration: &end,
            pascal_id: &credentials.access_key_id,
            pascal_secret: secret,
            pascal_token: token,
            pascal_expiration: &end,
        },
    )
}

#[derive(Serialize)]
struct Document<'a> {
    mode: &'a str,
    access_key_id: &'a str,
    access_key_secret: &'a str,
    sts_token: &'a str,
    expiration: &'a str,
    #[serde(rename = "AccessKeyId")]
    pascal_id: &'a str,
    #[serde(rename = "AccessKeySecret")]
    pascal_secret: &'a str,
    #[serde(rename = "SecurityToken")]
    pascal_token: &'a str,
    #[serde(rename = "Expiration")]
    pascal_expiration: &'a str,
}
