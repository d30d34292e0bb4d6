//! The document that AWS SDKs expect from a container's credential service: `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
//!
//! OSS's S3-compatible interface takes the same keys, with the token in `x-amz-security-token`. botocore requires all
//! four names; their spelling is AWS's.

use bytes::Bytes;

use crate::credentials::{Credentials, timestamp};

/// Renders credentials. The bytes are wiped when their last reference is dropped.
pub fn render(credentials: &Credentials) -> Bytes {
    let [id, secret, token] = super::parts(credentials);
    let fields = [
        ("AccessKeyId", id),
        ("SecretAccessKey", secret),
        ("Token", token),
        ("Expiration", &timestamp(credentials.expires_at)),
    ];
    super::secret_object(credentials, &fields)
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
