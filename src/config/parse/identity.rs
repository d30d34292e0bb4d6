//! Identities.

use std::path::PathBuf;
use std::time::Duration;

use url::{Host, Url};

use crate::identity::{File, Value, is_provider_arn, is_role_name};

use super::{accept, duration_within, one_of};

/// A kind of identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An AccessKey.
    AccessKey,
    /// An OIDC token.
    Oidc,
    /// The role of the ECS instance.
    EcsRamRole,
    /// A profile of aliyun-cli.
    Profile,
    /// Another credentials server.
    CredentialsUri,
    /// A program that prints credentials.
    Process,
}

impl Kind {
    /// Returns its name, as `identity.type` spells it.
    pub fn name(self) -> &'static str {
        let named = KINDS.iter().find(|(_, kind)| *kind == self);
        named.map_or("", |(name, _)| name)
    }
}

pub(crate) fn kind(text: &str) -> Result<Kind, String> {
    one_of(text, "an identity", &KINDS)
}

pub(crate) fn access_key(text: &str) -> Result<Value, String> {
    if text.starts_with(['"', '\'']) {
        Err("it is in quotes, which docker --env-file keeps; set it again without them".into())
    } else if text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Value::Inline(text.into()))
    } else {
        Err("it contains white space or invalid characters; set it again".into())
    }
}

/// Reads a path. The error does not repeat the text: a key or token in place of its path is a common error.
pub(crate) fn mounted_file(text: &str) -> Result<File, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(File::new(path))
    } else {
        Err("it is not an absolute path; write the path of a mounted file, from the root".into())
    }
}

/// Reads a command: a JSON array, or one word.
pub(crate) fn command(text: &str) -> Result<Vec<String>, String> {
    let how =
        "write it like [\"/usr/bin/helper\", \"--json\"]; a shell is used only if it is named";
    if text.trim_start().starts_with('[') {
        let words: Vec<String> =
            serde_json::from_str(text).map_err(|_| format!("it is not a list of texts; {how}"))?;
        if words.first().is_none_or(String::is_empty) {
            return Err(format!("it does not name a program; {how}"));
        }
        return Ok(words);
    }
    if text.contains(char::is_whitespace) {
        return Err(format!(
            "it is one text with white space in it, not a list of words; {how}"
        ));
    }
    Ok(vec![text.to_owned()])
}

pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    duration_within(text, 1..=300, "; choose 1s to 5m")
}

/// Reads the address of the metadata service: its own by plain http or, for tests, one on loopback.
///
/// The error does not repeat the text: an address may contain a password.
pub(crate) fn metadata_url(text: &str) -> Result<String, String> {
    let how = "write it like http://100.100.100.200";
    let url = Url::parse(text).map_err(|error| format!("it is not an address ({error}); {how}"))?;
    let is_local = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.octets() == [100, 100, 100, 200],
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        _ => false,
    };
    if url.scheme() != "http" || !is_local {
        return Err(format!(
            "it is not a metadata service; only 100.100.100.200 and loopback are allowed; {how}"
        ));
    }
    let is_bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !is_bare {
        return Err(format!("it contains more than an address; {how}"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

pub(crate) fn ecs_role_name(text: &str) -> Result<String, String> {
    accept(text, is_role_name(text), || {
        format!(
            "`{text}` is not a role name; write the name alone, not an ARN: 1 to 64 letters, digits or `.`, `_`, `-`"
        )
    })
}

pub(crate) fn provider_arn(text: &str) -> Result<String, String> {
    accept(text, is_provider_arn(text), || {
        format!(
            "`{text}` is not an OIDC provider; write acs:ram::<account id>:oidc-provider/<name>"
        )
    })
}

/// Every kind, by its name.
pub(crate) const KINDS: [(&str, Kind); 6] = [
    ("access_key", Kind::AccessKey),
    ("oidc", Kind::Oidc),
    ("ecs_ram_role", Kind::EcsRamRole),
    ("profile", Kind::Profile),
    ("credentials_uri", Kind::CredentialsUri),
    ("process", Kind::Process),
];
