//! The steps of SDKs of AWS.

use secrecy::ExposeSecret as _;

use super::address::Address;
use super::files::{self, Path, is_readable};
use super::found::{of_keys, of_name, ours};
use super::ini::{self, Syntax};
use super::shown::{Form, shown};
use super::surroundings::{Served, Surroundings};
use super::{AwsPart, Home, On, Outcome, Remedy};

pub(super) fn web_identity(at: &Surroundings<'_>) -> Outcome {
    const FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
    const ROLE: &str = "AWS_ROLE_ARN";
    let Some(file) = at.set(FILE) else {
        return Outcome::Absent(format!("{FILE} is not set"));
    };
    let Some(role) = at.set(ROLE) else {
        let reason = format!("{FILE} is set, but {ROLE} is not");
        return Outcome::Fails(reason, Remedy::Unset(vec![FILE]));
    };
    let remedy = Remedy::Unset(vec![FILE, ROLE]);
    if let Some(path) = file.text()
        && let Err(reason) = is_readable(at, &Path::named(path, FILE))
    {
        return Outcome::Fails(reason, remedy);
    }
    let role = role
        .text()
        .map_or("of AWS_ROLE_ARN", |role| shown(role, Form::RoleArn));
    let identity = format!("the role {role} of AWS, by a token");
    Outcome::Depends(of_name(identity, true, remedy), On::Sts)
}

/// A file of profiles, as a client reads it.
struct File {
    path: Path,
    remedy: Remedy,
    /// Its sections, or what becomes of the step without them.
    sections: Result<ini::Sections, Outcome>,
}

impl File {
    fn read(at: &Surroundings<'_>, variable: &'static str, name: &str) -> Self {
        let path = at.text(variable).map_or_else(
            || Path::at(format!("{}/.aws/{name}", at.home(Home::Variable))),
            |path| Path::named(expanded(at, &path), variable),
        );
        let remedy = Remedy::Set(variable, "/dev/null");
        let sections = sections(at, &path, remedy.clone());
        Self {
            path,
            remedy,
            sections,
        }
    }

    fn section(&self, name: &str) -> Option<&[(String, String)]> {
        ini::section(self.sections.as_ref().ok()?, name)
    }
}

/// Returns the sections of a file, or what becomes of the step without them.
fn sections(at: &Surroundings<'_>, path: &Path, remedy: Remedy) -> Result<ini::Sections, Outcome> {
    let text = files::read(at, path, remedy.clone())?;
    let sections = match files::decoding_failure(at, path) {
        Some(reason) => Err(reason),
        None => ini::parse(text.expose_secret(), Syntax::Botocore)
            .ok_or_else(|| format!("{path} is not an ini file")),
    };
    sections.map_err(|reason| Outcome::Fails(reason, remedy))
}

pub(super) fn profile(at: &Surroundings<'_>, part: AwsPart) -> Outcome {
    let variable = ["AWS_DEFAULT_PROFILE", "AWS_PROFILE"]
        .into_iter()
        .find_map(|name| Some((name, at.text(name)?)));
    let name = variable.as_ref().map_or("default", |(_, name)| name);
    let config = File::read(at, "AWS_CONFIG_FILE", "config");
    let shared = File::read(at, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
    for file in [&config, &shared] {
        if let Err(failure @ Outcome::Fails(..)) = &file.sections {
            return failure.clone();
        }
    }
    let in_config = if name == "default" {
        config
            .section(name)
            .or_else(|| config.section("profile default"))
    } else {
        config.section(&format!("profile {name}"))
    };
    let in_shared = shared.section(name);
    let is_seen = |file: &File| !matches!(&file.sections, Err(Outcome::Depends(..)));
    if let Some((variable, _)) = &variable
        && in_config.is_none()
        && in_shared.is_none()
        && is_seen(&config)
        && is_seen(&shared)
    {
        let reason = format!("there is no profile that {variable} names");
        return Outcome::Fails(reason, Remedy::Unset(vec![*variable]));
    }
    let (section, file) = match part {
        AwsPart::SharedKeys => (in_shared, &shared),
        _ => (in_config.or(in_shared), &config),
    };
    if let (None, Err(unseen @ Outcome::Depends(..))) = (section, &file.sections) {
        return unseen.clone();
    }
    let path = &file.path;
    let Some(section) = section else {
        let whose = variable.as_ref().map_or_else(
            || "the profile `default`".to_owned(),
            |(variable, _)| format!("the profile that {variable} names"),
        );
        return Outcome::Absent(format!("{whose} is not in {path}"));
    };
    let place = format!("the profile `{name}` of {path}");
    let remedy = match (part, variable) {
        // Without the file, the name of the profile would be a failure.
        (AwsPart::SharedKeys, Some((variable, _))) => Remedy::Unset(vec![variable]),
        (AwsPart::SharedKeys, None) => file.remedy.clone(),
        // The file has other settings too.
        _ => Remedy::Do(format!("remove {} from {place}", key(part))),
    };
    of_section(at, part, section, &place, remedy)
}

/// Returns a path as botocore expands it.
fn expanded(at: &Surroundings<'_>, path: &str) -> String {
    let rest = ["~/", "$HOME/", "${HOME}/"]
        .iter()
        .find_map(|start| path.strip_prefix(start));
    rest.map_or_else(
        || path.to_owned(),
        |rest| format!("{}/{rest}", at.home(Home::Variable)),
    )
}

/// Judges the file of the first tools of EC2.
pub(super) fn key_file(at: &Surroundings<'_>) -> Outcome {
    const FILE: &str = "AWS_CREDENTIAL_FILE";
    let Some(value) = (at.variable)(FILE) else {
        return Outcome::Absent(format!("{FILE} is not set"));
    };
    let remedy = Remedy::Unset(vec![FILE]);
    let Some(path) = value.text() else {
        let identity = format!("the credentials in the file that {FILE} names");
        return Outcome::Depends(of_name(identity, false, remedy), On::Unseen);
    };
    let path = Path::named(expanded(at, path), FILE);
    let text = match files::read(at, &path, remedy.clone()) {
        Ok(text) => text,
        Err(Outcome::Absent(reason) | Outcome::Skipped(reason)) => {
            return Outcome::Fails(reason, remedy);
        }
        Err(outcome) => return outcome,
    };
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.trim().to_owned(), value.trim().to_owned()))
    };
    let pairs: Option<Vec<(String, String)>> = text.expose_secret().lines().map(pair).collect();
    let Some(pairs) = pairs else {
        return Outcome::Fails(format!("{path} has a line without a value"), remedy);
    };
    of_keys_in(
        at,
        &pairs,
        ["AWSAccessKeyId", "AWSSecretKey"],
        &path.to_string(),
        remedy,
    )
}

/// Judges the files of boto 2.
pub(super) fn boto_config(at: &Surroundings<'_>) -> Outcome {
    const FILE: &str = "BOTO_CONFIG";
    let home = at.home(Home::Variable);
    let paths = match (at.variable)(FILE) {
        Some(value) => vec![Path::named(
            expanded(at, value.text().unwrap_or_default()),
            FILE,
        )],
        None => vec![
            Path::at("/etc/boto.cfg".to_owned()),
            Path::at(format!("{home}/.boto")),
        ],
    };
    let remedy = Remedy::Set(FILE, "/dev/null");
    for path in paths {
        let sections = match sections(at, &path, remedy.clone()) {
            Ok(sections) => sections,
            Err(Outcome::Absent(_) | Outcome::Skipped(_)) => continue,
            Err(outcome) => return outcome,
        };
        let names = ["aws_access_key_id", "aws_secret_access_key"];
        let pairs = ini::section(&sections, "Credentials").unwrap_or_default();
        let place = format!("[Credentials] of {path}");
        match of_keys_in(at, pairs, names, &place, remedy.clone()) {
            Outcome::Absent(_) => {}
            outcome => return outcome,
        }
    }
    Outcome::Absent("no file of boto 2 has an AccessKey".to_owned())
}

/// Judges the AccessKey in pairs of a file.
fn of_keys_in(
    at: &Surroundings<'_>,
    pairs: &[(String, String)],
    [id, secret]: [&str; 2],
    place: &str,
    remedy: Remedy,
) -> Outcome {
    let get = |key: &str| ini::get(pairs, key).map(str::to_owned);
    match (get(id), get(secret)) {
        (None, _) => Outcome::Absent(format!("there is no {id} in {place}")),
        (_, None) => Outcome::Fails(format!("there is no {secret} in {place}"), remedy),
        (id, secret) => Outcome::Answers(of_keys(at, place, [id, secret, None], remedy)),
    }
}

/// Returns the key of a profile that a step looks for.
fn key(part: AwsPart) -> &'static str {
    match part {
        AwsPart::Role => "role_arn",
        AwsPart::Sso => "sso_account_id",
        AwsPart::Login => "login_session",
        AwsPart::Process => "credential_process",
        AwsPart::SharedKeys | AwsPart::ConfigKeys => "aws_access_key_id",
    }
}

fn of_section(
    at: &Surroundings<'_>,
    part: AwsPart,
    section: &[(String, String)],
    place: &str,
    remedy: Remedy,
) -> Outcome {
    let get = |key: &str| ini::get(section, key).map(str::to_owned);
    let Some(value) = get(key(part)) else {
        return Outcome::Absent(format!("there is no {} in {place}", key(part)));
    };
    let (identity, on) = match part {
        AwsPart::Role => {
            let role = shown(&value, Form::RoleArn);
            (format!("the role {role} of {place}"), On::Sts)
        }
        AwsPart::Sso | AwsPart::Login => (format!("the login of {place}"), On::Login),
        // A command may contain a secret.
        AwsPart::Process => (
            format!("what the credential_process of {place} prints"),
            On::Program,
        ),
        AwsPart::SharedKeys | AwsPart::ConfigKeys => {
            let Some(secret) = get("aws_secret_access_key") else {
                let reason = format!("there is no aws_secret_access_key in {place}");
                return Outcome::Fails(reason, remedy);
            };
            let token = get("aws_session_token").or_else(|| get("aws_security_token"));
            let parts = [Some(value), Some(secret), token];
            return Outcome::Answers(of_keys(at, place, parts, remedy));
        }
    };
    Outcome::Depends(of_name(identity, true, remedy), on)
}

pub(super) fn container(at: &Surroundings<'_>) -> Outcome {
    const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    // Each counts even if it is empty.
    if (at.variable)(RELATIVE).is_some() {
        let finding = of_name(
            format!("the task role of {RELATIVE}"),
            true,
            Remedy::Unset(vec![RELATIVE]),
        );
        return Outcome::Depends(finding, On::Server);
    }
    let Some(uri) = at.set(FULL) else {
        return Outcome::Absent(format!("{FULL} is not set"));
    };
    if let Some((name, reason)) = token_failure(at) {
        return Outcome::Fails(reason, Remedy::Unset(vec![name]));
    }
    let remedy = Remedy::Unset(vec![FULL]);
    let others = || {
        of_name(
            format!("the credentials of the server of {FULL}"),
            true,
            remedy.clone(),
        )
    };
    let Some(uri) = uri.text() else {
        return Outcome::Depends(others(), On::Unseen);
    };
    let address = match Address::parse(uri) {
        Ok(address) => address,
        Err(reason) => {
            return Outcome::Fails(format!("{FULL} cannot be used: {reason}"), remedy);
        }
    };
    if let (Some(reason), true) = (&at.container_failure, address.is_local()) {
        let remedy = Remedy::Do(format!(
            "start the server of {FULL}, or correct the variable"
        ));
        return Outcome::Fails(
            format!("the server of {FULL} does not respond: {reason}"),
            remedy,
        );
    }
    // Ours serves both at one port, with one key.
    let key = address.path().strip_prefix(CONTAINER_PREFIX);
    let is_beside_ours = address.is_local()
        && ["127.0.0.1", "localhost", "::1"].contains(&address.host())
        && !matches!(at.served, Some(Served::Nothing { .. }))
        && at.uri().is_some_and(|uri| {
            let is_at_port = uri.is_local() && uri.port() == address.port();
            is_at_port && key.is_some() && uri.path().rsplit('/').next() == key
        });
    if is_beside_ours {
        ours(at, FULL, remedy)
    } else {
        Outcome::Depends(others(), On::Server)
    }
}

pub(super) fn ec2(at: &Surroundings<'_>) -> Outcome {
    const DISABLED: &str = "AWS_EC2_METADATA_DISABLED";
    if at.is_true(DISABLED) {
        return Outcome::Absent(format!("{DISABLED} is true"));
    }
    Outcome::Absent("169.254.169.254 is of AWS, and does not respond elsewhere".to_owned())
}

/// Why the token for the service of a container cannot be sent, and the variable that holds or names it.
fn token_failure(at: &Surroundings<'_>) -> Option<(&'static str, String)> {
    const FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
    const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
    let has_break = |text: &str| text.contains(['\r', '\n']);
    if let Some(path) = (at.variable)(FILE) {
        let path = Path::named(path.text()?, FILE);
        let reason = match files::read(at, &path, Remedy::Unset(vec![FILE])) {
            Ok(text) if !has_break(text.expose_secret()) => return None,
            Ok(_) => format!("{path} has a line break"),
            Err(Outcome::Absent(reason) | Outcome::Skipped(reason)) => reason,
            Err(_) => return None,
        };
        return Some((FILE, reason));
    }
    let is_broken = at.text(TOKEN).is_some_and(|text| has_break(&text));
    is_broken.then(|| (TOKEN, format!("{TOKEN} has a line break")))
}

/// Where ours serves the credential service of a container.
const CONTAINER_PREFIX: &str = "/api/v1/container/";
