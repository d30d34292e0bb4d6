//! Environment variables: those that the SDKs' providers read, and those of OSS.
//!
//! A value is quoted only if a shell would not take it literally: `docker run --env-file` keeps quotes as a part of the
//! value. What STS issues needs no quotes.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use crate::credentials::{Credentials, timestamp};

/// Renders a file of variables, for `set -a; . FILE`, systemd's `EnvironmentFile` and `docker run --env-file`.
pub fn file(credentials: &Credentials) -> Bytes {
    lines(credentials, "")
}

/// Renders commands that a shell evaluates: `eval "$(ram-sidecar get --format env)"`.
pub fn commands(credentials: &Credentials) -> Bytes {
    lines(credentials, "export ")
}

/// Returns the variables of OSS, named by [`OSS_NAMES`].
pub fn oss(credentials: &Credentials) -> impl Iterator<Item = (&'static str, &str)> {
    OSS_NAMES.into_iter().zip(super::parts(credentials))
}

/// Reads when the credentials in a file expire; nothing if it has another format.
pub fn expiration(file: &[u8]) -> Option<DateTime<Utc>> {
    super::header_expiration(file, LINES.as_flattened())
}

fn lines(credentials: &Credentials, before: &str) -> Bytes {
    let mut text = super::buffer(credentials);
    text.extend_from_slice(super::header(&timestamp(credentials.expires_at)).as_bytes());
    for (names, value) in LINES.iter().zip(super::parts(credentials)) {
        for name in names {
            for part in [before, name] {
                text.extend_from_slice(part.as_bytes());
            }
            quote(&mut text, value);
            text.push(b'\n');
        }
    }
    Bytes::from_owner(text)
}

fn quote(text: &mut Zeroizing<Vec<u8>>, value: &str) {
    let is_literal = |b: u8| b.is_ascii_alphanumeric() || b"+-./:=@_".contains(&b);
    if !value.is_empty() && value.bytes().all(is_literal) {
        text.extend_from_slice(value.as_bytes());
        return;
    }
    text.push(b'\'');
    for byte in value.bytes() {
        match byte {
            b'\'' => text.extend_from_slice(br"'\''"),
            other => text.push(other),
        }
    }
    text.push(b'\'');
}

/// The variables that OSS's own tools read: the AccessKey ID, the secret and the token.
pub const OSS_NAMES: [&str; 3] = [
    "OSS_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_SECRET",
    "OSS_SESSION_TOKEN",
];

/// The start of the lines of the AccessKey ID, the secret and the token.
const LINES: [[&str; 2]; 3] = [
    ["ALIBABA_CLOUD_ACCESS_KEY_ID=", "OSS_ACCESS_KEY_ID="],
    ["ALIBABA_CLOUD_ACCESS_KEY_SECRET=", "OSS_ACCESS_KEY_SECRET="],
    ["ALIBABA_CLOUD_SECURITY_TOKEN=", "OSS_SESSION_TOKEN="],
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::store::tests::credentials;

    #[test]
    fn a_shell_takes_every_value_literally() {
        let mut credentials = credentials("x");
        for value in ["a b'c\"$(d)`e`\\f;g\n*?~#", "A+z-./:=@_9", ""] {
            credentials.access_key_secret = value.into();
            let script = commands(&credentials);
            let program = format!(
                "set -u\n{}printf %s \"$ALIBABA_CLOUD_ACCESS_KEY_SECRET\"",
                std::str::from_utf8(&script).unwrap()
            );
            let shell = std::process::Command::new("env")
                .args(["-i", "sh", "-c", &program])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&shell.stdout), value);
        }
    }

    #[test]
    fn values_are_quoted_only_if_necessary_and_each_command_exports() {
        let mut credentials = credentials("x");
        credentials.access_key_secret = "it's".into();
        credentials.security_token = "to+ken/=".into();
        let script = String::from_utf8(commands(&credentials).to_vec()).unwrap();
        let lines: Vec<&str> = script.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "export ALIBABA_CLOUD_ACCESS_KEY_ID=STS.x",
                "export OSS_ACCESS_KEY_ID=STS.x",
                r"export ALIBABA_CLOUD_ACCESS_KEY_SECRET='it'\''s'",
                r"export OSS_ACCESS_KEY_SECRET='it'\''s'",
                "export ALIBABA_CLOUD_SECURITY_TOKEN=to+ken/=",
                "export OSS_SESSION_TOKEN=to+ken/=",
            ]
        );
    }
}
