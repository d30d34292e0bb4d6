//! The steps of SDKs of AWS.

use secrecy::ExposeSecret as _;

use super::found::{is_readable, of_keys, of_name, served_by};
use super::surroundings::Surroundings;
use super::{AwsPart, Home, On, Outcome, Remedy, files, ini};

pub(super) fn web_identity(at: &Surroundings<'_>) -> Outcome {
    const FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
    let Some(file) = at.set(FILE) else {
        return Outcome::Absent(format!("{FILE} is not set"));
    };
    let Some(role) = at.set("AWS_ROLE_ARN") else {
        return Outcome::Fails(format!("{FILE} is set, but AWS_ROLE_ARN is not"));
    };
    if let Some(path) = file.text()
        && let Err(reason) = is_readable(at, path)
    {
        return Outcome::Fails(reason);
    }
    let role = role.text().unwrap_or("of AWS_ROLE_ARN").to_owned();
    let finding = of_name(
        format!("the role {role} of AWS, by a token"),
        true,
        Remedy::Unset(vec![FILE, "AWS_ROLE_ARN"]),
    );
    Outcome::Depends(finding, On::Sts)
}

pub(super) fn profile(at: &Surroundings<'_>, part: AwsPart) -> Outcome {
    let home = at.home(Home::Variable);
    let variable = ["AWS_DEFAULT_PROFILE", "AWS_PROFILE"]
        .into_iter()
        .find_map(|name| Some((name, at.text(name)?)));
    let name = variable.as_ref().map_or("default", |(_, name)| name);
    let read = |variable: &str, file: &str| {
        let path = at
            .text(variable)
            .unwrap_or_else(|| format!("{home}/.aws/{file}"));
        let remedy = Remedy::Set(
            if file == "config" {
                "AWS_CONFIG_FILE"
            } else {
                "AWS_SHARED_CREDENTIALS_FILE"
            },
            "/dev/null",
        );
        let text = files::read(at, &path, remedy.clone());
        let sections = text.map(|text| ini::parse(text.expose_secret()));
        (path, remedy, sections)
    };
    let (config_path, config_remedy, config) = read("AWS_CONFIG_FILE", "config");
    let (shared_path, shared_remedy, shared) = read("AWS_SHARED_CREDENTIALS_FILE", "credentials");
    let prefers_config = matches!(
        part,
        AwsPart::Sso | AwsPart::ConfigKeys | AwsPart::Role | AwsPart::Process
    );
    for (sections, path) in [(&config, &config_path), (&shared, &shared_path)] {
        if let Ok(None) = sections {
            return Outcome::Fails(format!("{path} is not an ini file"));
        }
    }
    let config = config.map(Option::unwrap_or_default);
    let shared = shared.map(Option::unwrap_or_default);
    let of = |sections: &Result<ini::Sections, Outcome>, name: &str| {
        let sections = sections.as_ref().ok()?;
        ini::section(sections, name).map(<[_]>::to_vec)
    };
    let config_name = if name == "default" {
        name.to_owned()
    } else {
        format!("profile {name}")
    };
    let in_config = of(&config, &config_name);
    let in_shared = of(&shared, name);
    if let Some((variable, name)) = &variable
        && in_config.is_none()
        && in_shared.is_none()
        && config.is_ok() | shared.is_ok() | matches!(config, Err(Outcome::Absent(_)))
    {
        return Outcome::Fails(format!(
            "there is no profile `{name}`, which {variable} names"
        ));
    }
    let (section, path, remedy) = if prefers_config {
        (
            in_config.or_else(|| in_shared.clone()),
            config_path,
            config_remedy,
        )
    } else {
        (in_shared, shared_path, shared_remedy)
    };
    let place = format!("the profile `{name}` of {path}");
    let Some(section) = section else {
        return Outcome::Absent(format!("there is no profile `{name}` in {path}"));
    };
    of_section(at, part, &section, &place, remedy)
}

fn of_section(
    at: &Surroundings<'_>,
    part: AwsPart,
    section: &[(String, String)],
    place: &str,
    remedy: Remedy,
) -> Outcome {
    let get = |key: &str| ini::get(section, key).map(str::to_owned);
    let (key, on) = match part {
        AwsPart::Role => ("role_arn", On::Sts),
        AwsPart::Sso => ("sso_account_id", On::Login),
        AwsPart::Process => ("credential_process", On::Program),
        AwsPart::SharedKeys | AwsPart::ConfigKeys => {
            let Some(id) = get("aws_access_key_id") else {
                return Outcome::Absent(format!("there is no aws_access_key_id in {place}"));
            };
            let Some(secret) = get("aws_secret_access_key") else {
                return Outcome::Fails(format!("there is no aws_secret_access_key in {place}"));
            };
            let token = get("aws_session_token").or_else(|| get("aws_security_token"));
            let parts = [Some(id), Some(secret), token];
            return Outcome::Answers(of_keys(at, place, parts, remedy));
        }
    };
    match get(key) {
        None => Outcome::Absent(format!("there is no {key} in {place}")),
        // A command may contain a secret.
        Some(_) if part == AwsPart::Process => {
            let identity = format!("what the {key} of {place} prints");
            Outcome::Depends(of_name(identity, true, remedy), on)
        }
        Some(value) => {
            let identity = format!("the {key} {value} of {place}");
            Outcome::Depends(of_name(identity, true, remedy), on)
        }
    }
}

pub(super) fn container(at: &Surroundings<'_>) -> Outcome {
    const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
    if at.set(RELATIVE).is_some() {
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
    if let Some(path) = at.text(TOKEN)
        && let Err(reason) = is_readable(at, &path)
    {
        return Outcome::Fails(format!("{reason}, which {TOKEN} names"));
    }
    match uri
        .text()
        .map(|uri| served_by(at.container.as_ref(), uri, FULL))
    {
        Some(Outcome::Skipped(reason)) => Outcome::Fails(reason),
        Some(outcome) => outcome,
        None => {
            let finding = of_name(
                format!("the server of {FULL}"),
                true,
                Remedy::Unset(vec![FULL]),
            );
            Outcome::Depends(finding, On::Unseen)
        }
    }
}

pub(super) fn ec2(at: &Surroundings<'_>) -> Outcome {
    const DISABLED: &str = "AWS_EC2_METADATA_DISABLED";
    if at.is_true(DISABLED) {
        return Outcome::Absent(format!("{DISABLED} is true"));
    }
    Outcome::Absent("169.254.169.254 is of AWS, and does not respond elsewhere".to_owned())
}
