//! What becomes of each step of a chain.

use std::net::IpAddr;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value as Json;

use super::surroundings::{FileState, Metadata, Served, Surroundings, Value};
use super::{AwsPart, Finding, Home, On, Outcome, Proxy, Remedy, Rule};
use super::{files, ini, profile};
use crate::credentials::Keys;

/// Judges a step.
pub(super) fn evaluate(rule: &Rule, at: &Surroundings<'_>) -> Outcome {
    match rule {
        Rule::Keys {
            id,
            secret,
            token,
            fails_if_partial,
        } => keys(at, [id, secret, token], *fails_if_partial),
        Rule::SystemProperties => system_properties(at),
        Rule::Oidc { token } => oidc(at, *token),
        Rule::Profile(rule) => profile::cli(at, rule),
        Rule::Ini(rule) => profile::ini(at, rule),
        Rule::Metadata(proxy) => metadata(at, *proxy),
        Rule::Uri(proxy) => uri(at, *proxy),
        Rule::WebIdentity => web_identity(at),
        Rule::AwsProfile(part) => aws_profile(at, *part),
        Rule::Container => container(at),
        Rule::Ec2 => ec2(at),
        Rule::OdpsFile => odps_file(at),
        Rule::OdpsVariables => odps_variables(at),
        Rule::OdpsBearer => odps_bearer(at),
        Rule::AliyunCli => profile::aliyun_cli(at),
        Rule::Ossutil => ossutil(at),
    }
}

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
        identity: format!("the {kind} {id} of {place}"),
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

fn keys(
    at: &Surroundings<'_>,
    [id, secret, token]: [&[&'static str]; 3],
    fails_if_partial: bool,
) -> Outcome {
    let first = |names: &[&'static str]| {
        let mut names = names.iter();
        names.find_map(|name| Some((*name, at.set(name)?)))
    };
    let [found_id, found_secret, found_token] = [id, secret, token].map(first);
    let Some((id_name, id_value)) = found_id else {
        return Outcome::Absent(format!("{} is not set", or(id)));
    };
    let Some((secret_name, secret_value)) = found_secret else {
        let reason = format!("{id_name} is set, but {} is not", or(secret));
        return if fails_if_partial {
            Outcome::Fails(reason)
        } else {
            Outcome::Skipped(reason)
        };
    };
    let token_name = found_token.as_ref().map(|(name, _)| *name);
    let names: Vec<&'static str> = [Some(id_name), Some(secret_name), token_name]
        .into_iter()
        .flatten()
        .collect();
    let text = |value: &Value| value.text().map(str::to_owned);
    let parts = [
        text(&id_value),
        text(&secret_value),
        found_token
            .as_ref()
            .map(|(_, value)| text(value).unwrap_or_default()),
    ];
    let mut finding = of_keys(at, &names.join(", "), parts, Remedy::Unset(names.clone()));
    if id_value.text().is_none() {
        finding.identity = format!("the AccessKey of {}", names.join(", "));
    }
    Outcome::Answers(finding)
}

/// Joins alternatives.
fn or(names: &[&str]) -> String {
    names.join(" or ")
}

fn system_properties(at: &Surroundings<'_>) -> Outcome {
    let id = at.property("alibabacloud.accessKeyId");
    let secret = at
        .property("alibabacloud.accessKeySecret")
        .or_else(|| at.property("alibabacloud.accessKeyIdSecret"));
    let remedy = Remedy::Do(
        "remove -Dalibabacloud.accessKeyId from JAVA_TOOL_OPTIONS and JDK_JAVA_OPTIONS".to_owned(),
    );
    match (id, secret) {
        (None, _) => Outcome::Absent("alibabacloud.accessKeyId is not set".to_owned()),
        (Some(_), None) => Outcome::Skipped(
            "alibabacloud.accessKeyId is set, but alibabacloud.accessKeySecret is not".to_owned(),
        ),
        (id, secret) => {
            let token = at.property("alibabacloud.sessionToken");
            let place = "the system property alibabacloud.accessKeyId";
            Outcome::Answers(of_keys(at, place, [id, secret, token], remedy))
        }
    }
}

fn oidc(at: &Surroundings<'_>, token: Option<&'static str>) -> Outcome {
    let has_token = token.is_some_and(|name| at.set(name).is_some());
    let missing: Vec<&str> = OIDC
        .into_iter()
        .filter(|name| at.set(name).is_none() && !(has_token && *name == OIDC_FILE))
        .collect();
    if missing.len() == OIDC.len() {
        return Outcome::Absent(format!("{} is not set", missing.join(", ")));
    }
    if !missing.is_empty() {
        return Outcome::Absent(format!("{} is missing", missing.join(" and ")));
    }
    let mut names = OIDC.to_vec();
    names.extend(token.filter(|_| has_token));
    let role = at.text("ALIBABA_CLOUD_ROLE_ARN");
    let role = role.unwrap_or_else(|| "of ALIBABA_CLOUD_ROLE_ARN".to_owned());
    if !has_token
        && let Some(path) = at.text(OIDC_FILE)
        && let Err(reason) = is_readable(at, &path)
    {
        return Outcome::Skipped(reason);
    }
    let identity = format!("the role {role}, by an OIDC token");
    Outcome::Depends(of_name(identity, true, Remedy::Unset(names)), On::Sts)
}

/// Whether a file can be read, which may also be out of sight.
pub(super) fn is_readable(at: &Surroundings<'_>, path: &str) -> Result<(), String> {
    match (at.file)(path) {
        FileState::Text(_) | FileState::Unseen => Ok(()),
        FileState::Missing => Err(format!("there is no {path}")),
        FileState::Unreadable(reason) => Err(format!("cannot read {path}: {reason}")),
    }
}

fn metadata(at: &Surroundings<'_>, proxy: Proxy) -> Outcome {
    if at.is_true(METADATA_DISABLED) {
        return Outcome::Absent(format!("{METADATA_DISABLED} is true"));
    }
    let role = at.text("ALIBABA_CLOUD_ECS_METADATA");
    if let Some(role) = &role
        && [EXEC_ROLE, INJECT_ROLE].contains(&role.as_str())
        && at.metadata != Metadata::Ours
    {
        return Outcome::Skipped(format!(
            "no ECS instance has the role {role} of ALIBABA_CLOUD_ECS_METADATA"
        ));
    }
    instance(at, proxy, role)
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

fn uri(at: &Surroundings<'_>, proxy: Proxy) -> Outcome {
    let Some(value) = at.set(URI) else {
        return Outcome::Absent(format!("{URI} is not set"));
    };
    let Some(text) = value.text() else {
        let finding = of_name(
            format!("the server of {URI}"),
            true,
            Remedy::Unset(vec![URI]),
        );
        return Outcome::Depends(finding, On::Unseen);
    };
    let host = host(text);
    if let Some(variable) = at.proxy(proxy, host) {
        return Outcome::Skipped(format!(
            "the request goes to the proxy of {variable}, whatever NO_PROXY says"
        ));
    }
    if proxy == Proxy::Always && host == "::1" {
        return Outcome::Skipped(format!(
            "{URI} has an IPv6 address, which the SDK cannot use"
        ));
    }
    served(at, text, URI)
}

/// Returns what a server of credentials yields.
pub(super) fn served(at: &Surroundings<'_>, uri: &str, variable: &'static str) -> Outcome {
    served_by(at.served.as_ref(), uri, variable)
}

fn served_by(served: Option<&Served>, uri: &str, variable: &'static str) -> Outcome {
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
fn host(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn web_identity(at: &Surroundings<'_>) -> Outcome {
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

fn aws_profile(at: &Surroundings<'_>, part: AwsPart) -> Outcome {
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
    aws_part(at, part, &section, &place, remedy)
}

fn aws_part(
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

fn container(at: &Surroundings<'_>) -> Outcome {
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

fn ec2(at: &Surroundings<'_>) -> Outcome {
    const DISABLED: &str = "AWS_EC2_METADATA_DISABLED";
    if at.is_true(DISABLED) {
        return Outcome::Absent(format!("{DISABLED} is true"));
    }
    Outcome::Absent("169.254.169.254 is of AWS, and does not respond elsewhere".to_owned())
}

fn odps_file(at: &Surroundings<'_>) -> Outcome {
    const FILE: &str = "ODPS_STS_ACCOUNT_FILE";
    let Some(value) = (at.variable)(FILE) else {
        return Outcome::Absent(format!("{FILE} is not set"));
    };
    let remedy = Remedy::Unset(vec![FILE]);
    let Some(path) = value.text() else {
        return Outcome::Depends(
            of_name(format!("the file of {FILE}"), true, remedy),
            On::Unseen,
        );
    };
    let text = match files::read(at, path, remedy.clone()) {
        Ok(text) => text,
        Err(Outcome::Absent(reason) | Outcome::Skipped(reason)) => return Outcome::Fails(reason),
        Err(outcome) => return outcome,
    };
    let parsed: Option<Json> = serde_json::from_str(text.expose_secret()).ok();
    let part = |name: &str| Some(parsed.as_ref()?[name].as_str()?.to_owned());
    let parts = ["accessKeyId", "accessKeySecret", "securityToken"].map(part);
    if parts.iter().any(Option::is_none) {
        return Outcome::Fails(format!(
            "{path} is not the JSON with accessKeyId, accessKeySecret and securityToken"
        ));
    }
    Outcome::Answers(Finding {
        ends: part("expiration"),
        is_renewed: true,
        ..of_keys(at, path, parts, remedy)
    })
}

fn odps_variables(at: &Surroundings<'_>) -> Outcome {
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
        return Outcome::Fails(format!(
            "{} is set, but not the AccessKey with it",
            names[2]
        ));
    };
    let parts = [id, secret, token].map(|value| Some(value.text().unwrap_or("?").to_owned()));
    Outcome::Answers(of_keys(
        at,
        &names.join(", "),
        parts,
        Remedy::Unset(names.to_vec()),
    ))
}

fn odps_bearer(at: &Surroundings<'_>) -> Outcome {
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

fn ossutil(at: &Surroundings<'_>) -> Outcome {
    let path = format!("{}/.ossutilconfig", at.home(Home::Account));
    let remedy = Remedy::Do(format!("remove the keys from {path}"));
    let text = match files::read(at, &path, remedy.clone()) {
        Ok(text) => text,
        Err(outcome) => return outcome,
    };
    let Some(sections) = ini::parse(text.expose_secret()) else {
        return Outcome::Fails(format!("{path} is not an ini file"));
    };
    let Some(credentials) = ini::section(&sections, "Credentials") else {
        return Outcome::Fails(format!("there is no [Credentials] in {path}"));
    };
    let get = |key: &str| ini::get(credentials, key).map(str::to_owned);
    let mode = get("mode").unwrap_or_default().to_lowercase();
    let service = ini::section(&sections, "AkService").and_then(|pairs| ini::get(pairs, "ecsak"));
    if mode == "ecsramrole" && get("ecsrolename").is_some() {
        return instance(at, Proxy::Excluding, get("ecsrolename"));
    }
    if (mode == "ecsramrole" || mode.is_empty() && get("accesskeyid").is_none())
        && let Some(uri) = service
    {
        return if is_local(uri) {
            served(at, uri, "ecsAk")
        } else {
            let finding = of_name(format!("the server of ecsAk in {path}"), true, remedy);
            Outcome::Depends(finding, On::Server)
        };
    }
    let (Some(id), Some(secret)) = (get("accesskeyid"), get("accesskeysecret")) else {
        return Outcome::Fails(format!("{path} has neither keys nor ecsAk"));
    };
    if mode == "ramrolearn" {
        let role = get("ramrolearn").unwrap_or_default();
        let identity = format!("the role {role}, by the AccessKey {id} of {path}");
        return Outcome::Depends(of_name(identity, false, remedy), On::Sts);
    }
    Outcome::Answers(of_keys(
        at,
        &path,
        [Some(id), Some(secret), get("ststoken")],
        remedy,
    ))
}

/// The role that clients below `exec --metadata` find. SDKs that know only the fixed address ask a node's metadata service for
/// this name and not for the role of the node, which does not have this name: so they go on to the URI.
pub(crate) const EXEC_ROLE: &str = "ram-sidecar-exec";

/// The same in a pod with the sidecar of `inject --metadata`.
pub(crate) const INJECT_ROLE: &str = "ram-sidecar-inject";

const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// Switches off the SDKs' providers of the metadata service.
pub(super) const METADATA_DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";

const OIDC_FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";

const OIDC: [&str; 3] = [
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    OIDC_FILE,
];
