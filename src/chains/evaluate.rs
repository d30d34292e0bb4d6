//! What becomes of each step of a chain.

use secrecy::ExposeSecret as _;

use super::address::{Address, URI};
use super::files::{self, Path, is_readable};
use super::found::{METADATA_DISABLED, instance, of_keys, of_name, served};
use super::ini::{self, Syntax};
use super::shown::{Form, shown};
use super::surroundings::{Metadata, Surroundings, Value};
use super::{Home, On, Outcome, Proxy, Remedy, Rule};
use super::{aws, odps, profile};

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
        Rule::WebIdentity => aws::web_identity(at),
        Rule::AwsProfile(part) => aws::profile(at, *part),
        Rule::AwsKeyFile => aws::key_file(at),
        Rule::BotoConfig => aws::boto_config(at),
        Rule::Container => aws::container(at),
        Rule::Ec2 => aws::ec2(at),
        Rule::OdpsFile => odps::file(at),
        Rule::OdpsVariables => odps::variables(at),
        Rule::OdpsBearer => odps::bearer(at),
        Rule::AliyunCli => profile::aliyun_cli(at),
        Rule::Ossutil => ossutil(at),
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
            let token = found_token.map(|(name, _)| name);
            let names = [Some(id_name), token].into_iter().flatten();
            Outcome::Fails(reason, Remedy::Unset(names.collect()))
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
        return Outcome::Absent(format!("{} are not set", missing.join(", ")));
    }
    if !missing.is_empty() {
        let verb = if missing.len() == 1 { "is" } else { "are" };
        return Outcome::Absent(format!("{} {verb} not set", missing.join(" and ")));
    }
    let mut names = OIDC.to_vec();
    names.extend(token.filter(|_| has_token));
    let role = at.text("ALIBABA_CLOUD_ROLE_ARN");
    let role = role.as_deref().map_or("of ALIBABA_CLOUD_ROLE_ARN", |role| {
        shown(role, Form::RoleArn)
    });
    if !has_token
        && let Some(path) = at.text(OIDC_FILE)
        && let Err(reason) = is_readable(at, &Path::named(path, OIDC_FILE))
    {
        return Outcome::Skipped(reason);
    }
    let identity = format!("the role {role}, by an OIDC token");
    Outcome::Depends(of_name(identity, true, Remedy::Unset(names)), On::Sts)
}

fn metadata(at: &Surroundings<'_>, proxy: Proxy) -> Outcome {
    const ROLE: &str = "ALIBABA_CLOUD_ECS_METADATA";
    if at.is_true(METADATA_DISABLED) {
        return Outcome::Absent(format!("{METADATA_DISABLED} is true"));
    }
    if let Some(role) = at.text(ROLE)
        && [EXEC_ROLE, INJECT_ROLE].contains(&role.as_str())
        && at.metadata != Metadata::Ours
    {
        return Outcome::Skipped(format!("no ECS instance has the role {role} of {ROLE}"));
    }
    let setting = at.set(ROLE).map(|_| ROLE);
    instance(at, proxy, setting, Remedy::Set(METADATA_DISABLED, "true"))
}

fn uri(at: &Surroundings<'_>, proxy: Proxy) -> Outcome {
    let Some(value) = at.set(URI) else {
        return Outcome::Absent(format!("{URI} is not set"));
    };
    let remedy = Remedy::Unset(vec![URI]);
    let Some(text) = value.text() else {
        let finding = of_name(
            format!("the credentials of the server of {URI}"),
            true,
            remedy,
        );
        return Outcome::Depends(finding, On::Unseen);
    };
    if let Ok(address) = Address::parse(text) {
        if let Some(variable) = at.proxy(proxy, address.host(), address.is_local()) {
            return Outcome::Skipped(format!(
                "the request goes to the proxy of {variable}, whatever NO_PROXY says"
            ));
        }
        if proxy == Proxy::Always && address.host() == "::1" {
            return Outcome::Skipped(format!(
                "{URI} has an IPv6 address, which the SDK cannot use"
            ));
        }
    }
    served(at, text, URI, remedy)
}

fn ossutil(at: &Surroundings<'_>) -> Outcome {
    let path = Path::at(format!("{}/.ossutilconfig", at.home(Home::Account)));
    let remove = |what: &str| Remedy::Do(format!("remove {what} from {path}"));
    let text = match files::read(at, &path, remove("the keys")) {
        Ok(text) => text,
        Err(outcome) => return outcome,
    };
    let fails =
        |reason: &str| Outcome::Fails(reason.to_owned(), Remedy::Do(format!("correct {path}")));
    let Some(sections) = ini::parse(text.expose_secret(), Syntax::Ossutil) else {
        return fails(&format!("{path} is not an ini file"));
    };
    let Some(credentials) = ini::section(&sections, "Credentials") else {
        return fails(&format!("there is no [Credentials] in {path}"));
    };
    let get = |key: &str| ini::get(credentials, key).map(str::to_owned);
    let mode = get("mode").unwrap_or_default().to_lowercase();
    let service = ini::section(&sections, "AkService").and_then(|pairs| ini::get(pairs, "ecsak"));
    if mode == "ecsramrole" && get("ecsrolename").is_some() {
        let remedy = remove("mode and ecsRoleName");
        return instance(at, Proxy::Excluding, Some("ecsRoleName"), remedy);
    }
    if (mode == "ecsramrole" || mode.is_empty() && get("accesskeyid").is_none())
        && let Some(uri) = service
    {
        return served(at, uri, "ecsAk", remove("this ecsAk"));
    }
    let (Some(id), Some(secret)) = (get("accesskeyid"), get("accesskeysecret")) else {
        return fails(&format!("{path} has neither keys nor ecsAk"));
    };
    if mode == "ramrolearn" {
        let role = get("ramrolearn").unwrap_or_default();
        let (role, id) = (shown(&role, Form::RoleArn), shown(&id, Form::Id));
        let identity = format!("the role {role}, by the AccessKey {id} of {path}");
        return Outcome::Depends(of_name(identity, false, remove("mode")), On::Sts);
    }
    Outcome::Answers(of_keys(
        at,
        &path.to_string(),
        [Some(id), Some(secret), get("ststoken")],
        remove("the keys"),
    ))
}

/// The role that clients below `exec --metadata` find. SDKs that know only the fixed address ask a node's metadata service for
/// this name and not for the role of the node, which does not have this name: so they go on to the URI.
pub(crate) const EXEC_ROLE: &str = "ram-sidecar-exec";

/// The same in a pod with the sidecar of `inject --metadata`.
pub(crate) const INJECT_ROLE: &str = "ram-sidecar-inject";

const OIDC_FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";

const OIDC: [&str; 3] = [
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    OIDC_FILE,
];
