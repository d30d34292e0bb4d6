//! The output of a credential process, in both spellings that its readers expect.
//!
//! `access_key_id` … are for aliyun-cli's `External` mode and the profiles of the SDKs, `AccessKeyId` … for the process
//! providers of the OSS SDKs and ossfs. Readers that ignore case see `expiration` twice, with the same value.

use bytes::Bytes;

use crate::credentials::{Credentials, timestamp};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    let [id, secret, token] = super::parts(credentials);
    let expiration = timestamp(credentials.expires_at);
    super::secret_object(
        credentials,
        &[
            ("mode", "StsToken"),
            ("access_key_id", id),
            ("access_key_secret", secret),
            ("sts_token", token),
            ("expiration", &expiration),
            ("AccessKeyId", id),
            ("AccessKeySecret", secret),
            ("SecurityToken", token),
            ("Expiration", &expiration),
        ],
    )
}
