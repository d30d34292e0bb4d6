//! Renderings: values in, bytes out.

pub mod document;
pub mod probe;

use bytes::Bytes;
use serde::Serialize;

use crate::failure::Failure;

/// The body of an error: never empty, because Java's SDK takes that for a transport failure, and free of secrets,
/// because every SDK pastes it into its exceptions.
pub fn error(code: &str, message: &str) -> Bytes {
    json(&Error { code, message })
}

/// The body of a refusal that has a diagnosis.
pub fn diagnosis(failure: &Failure) -> Bytes {
    error(&failure.code, &failure.to_string())
}

/// The body of the answer to a job that is to have no role.
pub fn no_role() -> Bytes {
    error(
        "NoRole",
        "this job has no RAM role, because role.preset is none, and therefore no credentials; set role.arn, or role.preset pai-default, to give it some",
    )
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
}

fn json(value: &impl Serialize) -> Bytes {
    #[expect(
        clippy::expect_used,
        reason = "structs of strings and numbers always have a JSON form"
    )]
    let bytes = serde_json::to_vec(value).expect("always serializable");
    bytes.into()
}
