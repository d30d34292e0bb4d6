//! The formats of credentials: credentials in, bytes out.

pub mod aliyun_cli;
pub mod aws;
pub mod container;
pub mod env;
pub mod format;
pub mod ini;
pub mod json;
pub mod json_camel;
pub mod ossfs;
pub mod process;

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::credentials::{Credentials, time};

/// Renders an object of strings that contain `credentials`. The bytes are wiped when their last reference is dropped.
fn secret_object(credentials: &Credentials, fields: &[(&str, &str)]) -> Bytes {
    struct Fields<'a>(&'a [(&'a str, &'a str)]);

    impl Serialize for Fields<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().copied())
        }
    }

    secret_json(credentials, &Fields(fields))
}

/// Renders a document that contains `credentials`. The bytes are wiped when their last reference is dropped.
fn secret_json(credentials: &Credentials, document: &impl Serialize) -> Bytes {
    let mut bytes = buffer(credentials);
    #[expect(
        clippy::expect_used,
        reason = "structs of strings and numbers always have a JSON form"
    )]
    serde_json::to_writer(&mut *bytes, document).expect("always serializable");
    Bytes::from_owner(bytes)
}

/// A string of a JSON document, borrowed unless it has escapes, so that reading does not copy secrets.
#[derive(Deserialize, Serialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Allocates a buffer for all parts of the credentials three times: a growing vector would leave copies that are not wiped.
fn buffer(credentials: &Credentials) -> Zeroizing<Vec<u8>> {
    let [_, secret, token] = parts(credentials);
    Zeroizing::new(Vec::with_capacity((secret.len() + token.len()) * 3 + 1024))
}

/// Returns the AccessKey ID, the secret and the token.
fn parts(credentials: &Credentials) -> [&str; 3] {
    [
        &credentials.access_key_id,
        credentials.access_key_secret.expose_secret(),
        credentials.security_token.expose_secret(),
    ]
}

/// Returns the first line of a file whose format has no field for the expiration.
fn header(expiration: &str) -> String {
    format!("{HEADER}{expiration}\n")
}

/// Reads the expiration from that line; nothing if another line does not start with one of `lines`.
fn header_expiration(file: &[u8], lines: &[&str]) -> Option<DateTime<Utc>> {
    let (first, rest) = std::str::from_utf8(file).ok()?.split_once('\n')?;
    let is_known = |line: &str| lines.iter().any(|start| line.starts_with(start));
    let expiration = first.strip_prefix(HEADER)?;
    rest.lines().all(is_known).then(|| time(expiration))?
}

const HEADER: &str = "# Written by ram-sidecar; these credentials end at ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_holds_long_tokens_three_times_and_not_much_more() {
        let mut credentials = crate::refresh::store::tests::credentials("x");
        credentials.access_key_secret = "s".repeat(100).into();
        credentials.security_token = "t".repeat(5000).into();
        let capacity = buffer(&credentials).capacity();
        assert!((15_300..20_000).contains(&capacity), "{capacity}");
    }
}
