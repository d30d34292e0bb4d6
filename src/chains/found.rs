//! What steps of several clients find: keys, the metadata service, a server of credentials.

use secrecy::SecretString;

use super::address::Address;
use super::shown::{Form, is_id, shown};
use super::surroundings::{Metadata, Served, Surroundings};
use super::{Finding, On, Outcome, Proxy, Remedy};
use crate::credentials::Keys;

/// Describes keys, and tells whether they are ours: those that the URI serves.
pub(super) fn of_keys(
    at: &Surroundings<'_>,
    place: &str,
    [id, secret, token]: [Option<String>; 3],
    remedy: Remedy,
) -> Finding {
    let id = id.unwrap_or_default();
    let is_ours = match &at.served {
        Some(Served::Credentials { access_key_id, .. } | Served::Later { access_key_id }) => {
            *access_key_id == id
        }
        _ => false,
    };
    let kind = if token.is_some() {
        "temporary AccessKey"
    } else {
        "AccessKey"
    };
    let whose = if is_ours { "our" } else { "the" };
    let ends = match &token {
        None => Some("never".to_owned()),
        Some(_) => None,
    };
    Finding {
        identity: format!("{whose} {kind} {} of {place}", shown(&id, Form::Id)),
        ends,
        // STS is not asked with what may be a secret in the place of an ID.
        keys: secret.filter(|_| is_id(&id)).map(|secret| {
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

/// Returns what the metadata service yields: for the role that a setting names, or for the only one.
pub(super) fn instance(
    at: &Surroundings<'_>,
    proxy: Proxy,
    setting: Option<&str>,
    remedy: Remedy,
) -> Outcome {
    let whose = setting.map_or_else(
        || "the role of the ECS instance".to_owned(),
        |setting| format!("the role of the ECS instance that {setting} names"),
    );
    if let Some(variable) = at.proxy(proxy, "100.100.100.200", false) {
        let whose = format!("{whose}, asked for by the proxy of {variable}");
        return Outcome::Depends(of_name(whose, true, remedy), On::Metadata);
    }
    match &at.metadata {
        Metadata::Ours => Outcome::Answers(Finding {
            is_ours: true,
            identity: "our credentials, by 100.100.100.200, which is this machine".to_owned(),
            ..of_name(String::new(), true, remedy)
        }),
        Metadata::Unreachable => Outcome::Skipped(
            "100.100.100.200 does not respond, for which the client waits".to_owned(),
        ),
        // A role that a setting names may be another one.
        Metadata::Others { access_key_id } if setting.is_none() => {
            let id = shown(access_key_id, Form::Id);
            let identity = format!("{whose}, whose metadata service responds: {id}");
            Outcome::Answers(of_name(identity, true, remedy))
        }
        Metadata::Others { .. } | Metadata::Reachable | Metadata::Unknown => {
            Outcome::Depends(of_name(whose, true, remedy), On::Metadata)
        }
    }
}

/// Returns what the server yields whose address a setting has. Only that of the credentials URI is ours.
pub(super) fn served(at: &Surroundings<'_>, uri: &str, setting: &str, remedy: Remedy) -> Outcome {
    match Address::parse(uri) {
        Err(reason) => Outcome::Skipped(format!("{setting} cannot be used: {reason}")),
        Ok(address) if address.is_local() && at.uri().as_ref() == Some(&address) => {
            ours(at, setting, remedy)
        }
        Ok(_) => {
            let identity = format!("the credentials of the server of {setting}");
            Outcome::Depends(of_name(identity, true, remedy), On::Server)
        }
    }
}

/// Returns what the server of the credentials URI yields to a client that a setting leads there.
pub(super) fn ours(at: &Surroundings<'_>, setting: &str, remedy: Remedy) -> Outcome {
    let identity = format!("our credentials, by {setting}");
    let (identity, ends) = match &at.served {
        Some(Served::Nothing { reason, .. }) => {
            return Outcome::Skipped(format!(
                "the server of {setting} has no credentials: {reason}"
            ));
        }
        Some(Served::Credentials {
            access_key_id,
            expires_at,
        }) => (
            format!("{identity}: {}", shown(access_key_id, Form::Id)),
            Some(expires_at.clone()),
        ),
        Some(Served::Later { .. }) | None => (identity, None),
    };
    Outcome::Answers(Finding {
        is_ours: true,
        ends,
        ..of_name(identity, true, remedy)
    })
}

/// Switches off the SDKs' providers of the metadata service.
pub(super) const METADATA_DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
