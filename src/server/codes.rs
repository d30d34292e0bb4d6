//! The codes of requests that are refused.

use crate::failure::{self, Code};

/// The code of a response to a request that is refused, or that comes too early; every other code is that of a failure.
#[derive(Clone, Copy, Debug)]
pub struct RefusalCode {
    /// The `Code` of the body.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What to change.
    pub advice: &'static str,
}

/// The codes, for the documentation.
pub const REFUSAL_CODES: &[RefusalCode] = &[
    refusal_code(
        "CredentialsPending",
        503,
        "wait: the first attempt is under way",
    ),
    refusal_code(
        "NoRole",
        404,
        "set role.arn, or role.preset pai-default, if the job is to have a role after all: role.preset is none",
    ),
    refusal_code(
        "NotFound",
        404,
        "use the whole address of `ALIBABA_CLOUD_CREDENTIALS_URI`; its last segment is `serve.key`",
    ),
    refusal_code(
        "MethodNotAllowed",
        405,
        "use a method that the `Allow` header names",
    ),
    refusal_code(
        "BrowserRefused",
        403,
        "request from a program, not from a web page; a program that calls itself Mozilla, like PowerShell's, must send another `User-Agent`",
    ),
    refusal_code(
        "ForwardedRefused",
        403,
        "unset `HTTP_PROXY` for this client; where it obeys `NO_PROXY`, put `127.0.0.1` there",
    ),
    refusal_code(
        "HostRefused",
        403,
        "use `127.0.0.1`, `localhost` or `[::1]` in the address; for a probe by another name, add it to `admin.hosts`",
    ),
    refusal_code(
        "RemoteRefused",
        403,
        "request from the same network namespace; for other machines set `serve.allow_remote`, which does not apply to the metadata dialect",
    ),
    refusal_code(
        "CallerRefused",
        403,
        "add the user's number to `serve.allow_uids`, or request as another user",
    ),
    refusal_code(
        "CallerUnknown",
        503,
        "raise the limit of open files, or fix the cause that the log names",
    ),
    refusal_code(
        "StopRefused",
        403,
        "stop the process as root or as its own user, or set `admin.stop` to `anyone`",
    ),
    refusal_code(
        "ContainerTokenRefused",
        401,
        "let `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` name the file of `container.token_file`",
    ),
    refusal_code(
        "ContainerTokenUnusable",
        503,
        "write the token, and nothing else, to the file of `container.token_file`; a change applies at once",
    ),
    refusal_code(
        "MissingOrInvalidParameters",
        400,
        "send `X-aliyun-ecs-metadata-token-ttl-seconds` with 1 to 21600",
    ),
    refusal_code(
        "Unauthorized",
        401,
        "fetch a new metadata token; a restart makes the old ones invalid",
    ),
    refusal_code(
        "Forbidden",
        403,
        "fetch a metadata token first, or unset `metadata.v2_only`",
    ),
];

/// Returns one of few names for the code of an error response: its own if a table has it, else `other`.
pub(super) fn label(code: &str) -> &'static str {
    let refusal = REFUSAL_CODES.iter().find(|refusal| refusal.code == code);
    let known = || failure::entries().find(|entry| entry.code == code);
    refusal
        .map(|refusal| refusal.code)
        .or_else(|| known().map(|entry| entry.code))
        .unwrap_or_else(|| Code::remote(code).label())
}

const fn refusal_code(code: &'static str, status: u16, advice: &'static str) -> RefusalCode {
    RefusalCode {
        code,
        status,
        advice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_a_table_is_its_own_label_and_every_other_is_none() {
        for known in failure::entries().map(|entry| entry.code) {
            if let Some(prefix) = known.strip_suffix('*') {
                assert_eq!(label(&format!("{prefix}X")), prefix.trim_end_matches('.'));
            } else {
                assert_eq!(label(known), known);
            }
        }
        assert_eq!(label("RemoteRefused"), "RemoteRefused");
        assert_eq!(label("Made.Up"), "other");
    }
}
