//! Renderings: values in, bytes out.

pub mod aliyun_cli;
pub mod container;
pub mod env;
pub mod format;
pub mod ini;
pub mod json;
pub mod json_camel;
pub mod ossfs;
pub mod process;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::credentials::{Credentials, time};
use crate::failure::Failure;

/// The body of an error: never empty, because Java's SDK takes that for a transport failure, and free of secrets,
/// because every SDK pastes it into its exceptions.
pub fn error(code: &str, message: &str) -> Bytes {
    json(&Error { code, message })
}

/// The body of a refusal that has a diagnosis.
pub fn diagnosis(failure: &Failure) -> Bytes {
    error(failure.code.as_str(), &failure.to_string())
}

/// The body of the answer to a job that is to have no role.
pub fn no_role() -> Bytes {
    error(
        "NoRole",
        "this job has no RAM role, because role.preset is none, and therefore no credentials; set role.arn, or role.preset pai-default, to give it some",
    )
}

/// The body of the answer while the first attempt is under way.
pub fn pending() -> Bytes {
    error(
        "CredentialsPending",
        "credentials are still on their way from STS; try again in a second",
    )
}

/// The body of the answer to a request to stop.
pub fn stopping() -> Bytes {
    json(&serde_json::json!({ "status": "stopping" }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
}

pub(crate) fn json(value: &impl Serialize) -> Bytes {
    #[expect(
        clippy::expect_used,
        reason = "structs of strings and numbers always have a JSON form"
    )]
    let bytes = serde_json::to_vec(value).expect("always serializable");
    bytes.into()
}

/// Renders a document that holds `credentials`. The bytes are wiped when the last reader drops them.
fn secret_json(credentials: &Credentials, document: &impl Serialize) -> Bytes {
    let mut bytes = room(credentials);
    #[expect(
        clippy::expect_used,
        reason = "structs of strings and numbers always have a JSON form"
    )]
    serde_json::to_writer(&mut *bytes, document).expect("always serializable");
    Bytes::from_owner(bytes)
}

/// Makes room for every part of the credentials twice: a growing vector would leave unwiped copies behind.
fn room(credentials: &Credentials) -> Zeroizing<Vec<u8>> {
    let Credentials {
        access_key_secret,
        security_token,
        ..
    } = credentials;
    let secrets = access_key_secret.expose_secret().len() + security_token.expose_secret().len();
    Zeroizing::new(Vec::with_capacity(secrets * 2 + 1024))
}

/// The comment at the head of a file that has no other place for its end.
fn note(end: &str) -> String {
    format!("{NOTE}{end}\n")
}

/// Reads that comment; nothing if the file has any line that does not begin like one of `lines`.
fn noted_expiration(file: &[u8], lines: &[&str]) -> Option<DateTime<Utc>> {
    let (note, rest) = std::str::from_utf8(file).ok()?.split_once('\n')?;
    let is_ours = |line: &str| lines.iter().any(|start| line.starts_with(start));
    let end = note.strip_prefix(NOTE)?;
    rest.lines().all(is_ours).then(|| time(end))?
}

const NOTE: &str = "# Written by ram-sidecar; these credentials end at ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Stage;

    #[test]
    fn every_error_has_a_code_and_a_message() {
        let failure = Failure::new(Stage::Sts, "InvalidProtocol.NeedSsl", "STS said \"no\"");
        assert_eq!(
            diagnosis(&failure),
            r#"{"Code":"InvalidProtocol.NeedSsl","Message":"STS said \"no\"; use https:// in sts.endpoint"}"#
        );
        for (body, start) in [
            (
                no_role(),
                r#"{"Code":"NoRole","Message":"this job has no RAM role"#,
            ),
            (
                pending(),
                r#"{"Code":"CredentialsPending","Message":"credentials are"#,
            ),
            (stopping(), r#"{"status":"stopping"}"#),
        ] {
            assert!(body.starts_with(start.as_bytes()), "{body:?}");
        }
    }

    #[test]
    fn there_is_room_for_long_tokens_twice_and_not_much_more() {
        let mut credentials = crate::refresh::store::tests::credentials("x");
        credentials.access_key_secret = "s".repeat(100).into();
        credentials.security_token = "t".repeat(5000).into();
        let capacity = room(&credentials).capacity();
        assert!((10_200..20_000).contains(&capacity), "{capacity}");
    }
}
