//! What steps of several clients find: keys, the metadata service, a server of credentials.

use std::net::IpAddr;

use secrecy::SecretString;

use super::surroundings::{FileState, Metadata, Served, Surroundings};
use super::{Finding, On, Outcome, Proxy, Remedy};
use crate::credentials::Keys;

/// Describes keys, and tells whether they are ours: those that the URI serves.
pub(super) fn of_keys(
    at: &Surroundings<'_>,
    place: &str,
    [id, secret, token]: [Option<String>; 3],
    remedy: Remedy,
) -> Finding {
    let id = id.unwrap_or_else(|| "?".to_owned());
    let is_ours = matches!(&at.served, Some(Served::Credentials { access_key_id, .. }) if *access_key_id == id);
    let kind = if token.is_some() {
        "temporary AccessKey"
    } else {
        "AccessKey"
    };
    let ends = match &token {
        None => Some("never".to_owned()),
        Some(_) => None,
    };
    Finding {
        identity: format!("the {kind} {} of {place}", shown(&id)),
        ends,
        keys: secret.map(|secret| {
            Box::new(Keys {
                access_key_id: id,
                access_key_secret: secret.into(),
                security_token: token.map(SecretString::from),
            })
        }),
        is_ours,
        is_renewed: false,
        remedy,
    }
}

/// Returns an AccessKey ID as it may be shown: what is longer without its beginning may be a secret in the wrong place.
fn shown(id: &str) -> &str {
    let is_id = ["LTAI", "STS.", "TMP.", "AKIA", "ASIA"]
        .iter()
        .any(|start| id.starts_with(start));
    if is_id || id.len() <= LONGEST_ID {
        id
    } else {
        "…"
    }
}

/// Bytes of an AccessKey ID. A secret has 30, that of AWS 40.
const LONGEST_ID: usize = 24;

/// Describes what is known by its name only.
pub(super) fn of_name(identity: String, is_renewed: bool, remedy: Remedy) -> Finding {
    Finding {
        identity,
        keys: None,
        is_ours: false,
        ends: None,
        is_renewed,
        remedy,
    }
}

/// Whether a file can be read, which may also be out of sight.
pub(super) fn is_readable(at: &Surroundings<'_>, path: &str) -> Result<(), String> {
    match (at.file)(path) {
        FileState::Text(_) | FileState::Unseen => Ok(()),
        FileState::Missing => Err(format!("there is no {path}")),
        FileState::Unreadable(reason) => Err(format!("cannot read {path}: {reason}")),
    }
}

/// Returns what the metadata service yields for a role, or for the only one.
pub(super) fn instance(at: &Surroundings<'_>, proxy: Proxy, role: Option<String>) -> Outcome {
    let whose = role.map_or_else(
        || "the role of the ECS instance".to_owned(),
        |role| format!("the role {role} of the ECS instance"),
    );
    let remedy = Remedy::Set(METADATA_DISABLED, "true");
    if let Some(variable) = at.proxy(proxy, "100.100.100.200") {
        let whose = format!("{whose}, asked for by the proxy of {variable}");
        return Outcome::Depends(of_name(whose, true, remedy), On::Metadata);
    }
    match at.metadata {
        Metadata::Ours => Outcome::Answers(Finding {
            is_ours: true,
            identity: "the credentials of 100.100.100.200, which is this machine".to_owned(),
            ..of_name(String::new(), true, remedy)
        }),
        Metadata::Unreachable => {
            Outcome::Skipped("100.100.100.200 does not respond, which costs time".to_owned())
        }
        Metadata::Reachable | Metadata::Unknown => {
            Outcome::Depends(of_name(whose, true, remedy), On::Metadata)
        }
    }
}

/// Returns what a server of credentials yields.
pub(super) fn served(at: &Surroundings<'_>, uri: &str, variable: &'static str) -> Outcome {
    served_by(at.served.as_ref(), uri, variable)
}

pub(super) fn served_by(served: Option<&Served>, uri: &str, variable: &'static str) -> Outcome {
    let remedy = Remedy::Unset(vec![variable]);
    if !is_local(uri) {
        let finding = of_name(format!("the server of {variable}"), true, remedy);
        return Outcome::Depends(finding, On::Server);
    }
    let finding = Finding {
        is_ours: true,
        ..of_name(format!("our credentials, by {variable}"), true, remedy)
    };
    match served {
        Some(Served::Nothing(reason)) => Outcome::Skipped(format!(
            "the server of {variable} has no credentials: {reason}"
        )),
        Some(Served::Credentials {
            access_key_id,
            expires_at,
        }) => Outcome::Answers(Finding {
            identity: format!("our credentials, by {variable}: {access_key_id}"),
            ends: Some(expires_at.clone()),
            ..finding
        }),
        None => Outcome::Answers(finding),
    }
}

/// Whether an address is on loopback.
pub(super) fn is_local(uri: &str) -> bool {
    let host = host(uri);
    let is_loopback = host
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback());
    uri.starts_with("http://") && (host == "localhost" || is_loopback)
}

/// Returns the host of an address, without a port.
pub(super) fn host(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Switches off the SDKs' providers of the metadata service.
pub(super) const METADATA_DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
