//! The output of a credential process, in the spellings of all its readers.
//!
//! `access_key_id` … are for aliyun-cli's `External` mode and the profiles of the SDKs, `AccessKeySecret` and
//! `SecurityToken` for the process providers of the OSS SDKs and ossfs, `Version`, `SecretAccessKey` and `SessionToken`
//! for the `credential_process` of AWS. Readers that ignore case see `expiration` twice, with the same value.

use bytes::Bytes;
use serde::Serialize;

use crate::credentials::{Credentials, timestamp};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    let [id, secret, token] = super::parts(credentials);
    let expiration = &timestamp(credentials.expires_at);
    let aliyun_cli = AliyunCli {
        mode: "StsToken",
        access_key_id: id,
        access_key_secret: secret,
        sts_token: token,
        expiration,
    };
    let document = Document {
        aliyun_cli,
        version: 1,
        access_key_id: id,
        access_key_secret: secret,
        security_token: token,
        secret_access_key: secret,
        session_token: token,
        expiration,
    };
    super::secret_json(credentials, &document)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    #[serde(flatten)]
    aliyun_cli: AliyunCli<'a>,
    version: u8,
    access_key_id: &'a str,
    access_key_secret: &'a str,
    security_token: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expiration: &'a str,
}

#[derive(Serialize)]
struct AliyunCli<'a> {
    mode: &'a str,
    access_key_id: &'a str,
    access_key_secret: &'a str,
    sts_token: &'a str,
    expiration: &'a str,
}
