//! The steps of pyodps.

use secrecy::ExposeSecret as _;
use serde_json::Value as Json;

use super::files::{self, Path};
use super::found::{of_keys, of_name};
use super::shown::{Form, shown};
use super::surroundings::Surroundings;
use super::{Finding, On, Outcome, Remedy};

pub(super) fn file(at: &Surroundings<'_>) -> Outcome {
    const FILE: &str = "ODPS_STS_ACCOUNT_FILE";
    let Some(value) = (at.variable)(FILE) else {
        return Outcome::Absent(format!("{FILE} is not set"));
    };
    let remedy = Remedy::Unset(vec![FILE]);
    let Some(path) = value.text() else {
        return Outcome::Depends(
            of_name(
                format!("the credentials in the file that {FILE} names"),
                true,
                remedy,
            ),
            On::Unseen,
        );
    };
    let path = Path::named(path, FILE);
    let text = match files::read(at, &path, remedy.clone()) {
        Ok(text) => text,
        Err(Outcome::Absent(reason) | Outcome::Skipped(reason)) => {
            return Outcome::Fails(reason, remedy);
        }
        Err(outcome) => return outcome,
    };
    if let Some(reason) = files::decoding_failure(at, &path) {
        return Outcome::Fails(reason, remedy);
    }
    let parsed: Option<Json> = serde_json::from_str(text.expose_secret()).ok();
    let part = |name: &str| Some(parsed.as_ref()?[name].as_str()?.to_owned());
    let parts = ["accessKeyId", "accessKeySecret", "securityToken"].map(part);
    if parts.iter().any(Option::is_none) {
        let reason =
            format!("{path} is not the JSON with accessKeyId, accessKeySecret and securityToken");
        return Outcome::Fails(reason, remedy);
    }
    Outcome::Answers(Finding {
        ends: part("expiration").map(|time| shown(&time, Form::Time).to_owned()),
        is_renewed: true,
        ..of_keys(at, &path.to_string(), parts, remedy)
    })
}

pub(super) fn variables(at: &Surroundings<'_>) -> Outcome {
    let names = [
        "ODPS_STS_ACCESS_KEY_ID",
        "ODPS_STS_ACCESS_KEY_SECRET",
        "ODPS_STS_TOKEN",
    ];
    let [id, secret, token] = names.map(|name| at.set(name));
    let (Some(token), true) = (token, (at.variable)(names[2]).is_some()) else {
        return Outcome::Absent(format!("{} is not set", names[2]));
    };
    let (Some(id), Some(secret)) = (id, secret) else {
        let reason = format!("{} is set, but not the AccessKey with it", names[2]);
        return Outcome::Fails(reason, Remedy::Unset(vec![names[2]]));
    };
    let parts = [id, secret, token].map(|value| Some(value.text().unwrap_or_default().to_owned()));
    Outcome::Answers(of_keys(
        at,
        &names.join(", "),
        parts,
        Remedy::Unset(names.to_vec()),
    ))
}

pub(super) fn bearer(at: &Surroundings<'_>) -> Outcome {
    let names = ["ODPS_BEARER_TOKEN_FILE", "ODPS_BEARER_TOKEN"];
    let set = names.into_iter().find(|name| (at.variable)(name).is_some());
    match set {
        None => Outcome::Absent("no ODPS_BEARER_TOKEN is set".to_owned()),
        Some(name) => Outcome::Answers(of_name(
            format!("the bearer token of {name}"),
            name == "ODPS_BEARER_TOKEN_FILE",
            Remedy::Unset(vec![name]),
        )),
    }
}
