//! The document that AWS SDKs expect from a container's credential service: `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
//!
//! OSS's S3-compatible interface takes the same keys, with the token in `x-amz-security-token`. botocore demands all
//! four names; their spelling is AWS's.

use bytes::Bytes;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::credentials::{Credentials, timestamp};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    super::secret_json(
        credentials,
        &Document {
            access_key_id: &credentials.access_key_id,
            secret_access_key: credentials.access_key_secret.expose_secret(),
            token: credentials.security_token.expose_secret(),
            expiration: &timestamp(credentials.expires_at),
        },
    )
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::store::tests::credentials;

    #[test]
    fn the_document_has_the_names_that_aws_documents() {
        assert_eq!(
            render(&credentials("x")),
            r#"{"AccessKeyId":"STS.x","SecretAccessKey":"secret-of-x","Token":"token-of-x","Expiration":"2024-05-21T11:39:29Z"}"#
        );
    }
}
