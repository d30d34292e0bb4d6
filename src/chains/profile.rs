//! Profiles of aliyun-cli and the ini file of the SDKs, as the clients read them.

use chrono::DateTime;
use secrecy::ExposeSecret as _;
use serde_json::Value as Json;

use super::address::URI;
use super::clients::{ALL_MODES, ALL_TYPES};
use super::files::{self, Path, is_readable};
use super::found::{METADATA_DISABLED, instance, of_keys, of_name, served};
use super::shown::{Form, shown};
use super::surroundings::Surroundings;
use super::{
    Finding, Home, IniRule, On, Outcome, ProfileRule, Proxy, Remedy, Syntax, ini as format,
};
use crate::credentials::timestamp;

/// Judges the step of a profile of aliyun-cli.
pub(super) fn cli(at: &Surroundings<'_>, rule: &ProfileRule) -> Outcome {
    if at.is_true(DISABLED) {
        return Outcome::Absent(format!("{DISABLED} is true"));
    }
    let named = at.text(CONFIG_FILE).filter(|_| rule.has_file_variable);
    let path = named.map_or_else(
        || Path::at(format!("{}/.aliyun/config.json", at.home(rule.home))),
        |path| Path::named(path, CONFIG_FILE),
    );
    let remedy = Remedy::Set(DISABLED, "true");
    let text = match files::read(at, &path, remedy.clone()) {
        Ok(text) => text,
        Err(outcome) => return outcome,
    };
    if rule.is_of_python
        && let Some(reason) = files::decoding_failure(at, &path)
    {
        return Outcome::Skipped(reason);
    }
    let text = text.expose_secret().trim();
    let Ok(config) = serde_json::from_str::<Json>(text) else {
        // Some clients take numbers, marks and comments that JSON does not have.
        if text.trim_start_matches('\u{feff}').starts_with('{') && text.ends_with('}') {
            let identity = format!("the credentials in {path}, which is not strict JSON");
            return Outcome::Depends(of_name(identity, false, remedy), On::Syntax);
        }
        return Outcome::Skipped(format!("{path} is not JSON"));
    };
    let named = at.text(PROFILE).map(|name| (name, PROFILE));
    let (name, setting) = named.unwrap_or_else(|| {
        let current = config["current"].as_str().unwrap_or_default();
        (current.to_owned(), "current")
    });
    let file = File {
        at,
        rule,
        path: &path,
        config: &config,
        remedy,
    };
    match file.resolve(&name, setting, 0) {
        Ok((finding, None)) => Outcome::Answers(finding),
        Ok((finding, Some(on))) => Outcome::Depends(finding, on),
        Err(reason) => reason,
    }
}

/// A file of profiles, as a client reads it.
struct File<'a> {
    at: &'a Surroundings<'a>,
    rule: &'a ProfileRule,
    path: &'a Path,
    config: &'a Json,
    remedy: Remedy,
}

impl File<'_> {
    /// Judges the profile that a setting names.
    fn resolve(
        &self,
        name: &str,
        setting: &str,
        depth: usize,
    ) -> Result<(Finding, Option<On>), Outcome> {
        let skipped = |reason: String| Outcome::Skipped(format!("{}: {reason}", self.path));
        if depth > MAX_DEPTH {
            return Err(skipped("its source profiles form a cycle".to_owned()));
        }
        let profiles = self.config["profiles"].as_array();
        let mut profiles = profiles.into_iter().flatten();
        let entry = profiles
            .find(|entry| !name.is_empty() && entry["name"] == name)
            .ok_or_else(|| skipped(format!("there is no profile that {setting} names")))?;
        let text = |key: &str| {
            let value = entry[key].as_str().filter(|value| !value.is_empty());
            value.map(str::to_owned)
        };
        let mode = text("mode").unwrap_or_default();
        if !self.rule.modes.contains(&mode.as_str()) {
            let mode = shown_mode(&mode);
            return Err(skipped(format!(
                "the profile `{name}` has the mode {mode}, which this client does not know"
            )));
        }
        let place = format!("the profile `{name}` ({mode}) of {}", self.path);
        let or_variable = |key: &str, variable: &str| {
            let set = || self.at.text(variable).filter(|_| self.rule.is_completed);
            text(key).or_else(set)
        };
        let missing = |what: &str| skipped(format!("the profile `{name}` lacks {what}"));
        let role = || {
            or_variable("ram_role_arn", "ALIBABA_CLOUD_ROLE_ARN")
                .ok_or_else(|| missing("ram_role_arn"))
        };
        let by_role = |role: String, on| {
            let role = shown(&role, Form::RoleArn);
            let identity = format!("the role {role} of {place}");
            (of_name(identity, true, self.remedy.clone()), Some(on))
        };
        let keys = || {
            let id = or_variable("access_key_id", "ALIBABA_CLOUD_ACCESS_KEY_ID")
                .ok_or_else(|| missing("access_key_id"))?;
            let secret = or_variable("access_key_secret", "ALIBABA_CLOUD_ACCESS_KEY_SECRET")
                .ok_or_else(|| missing("access_key_secret"))?;
            Ok((Some(id), Some(secret)))
        };
        Ok(match mode.as_str() {
            "AK" => {
                let (id, secret) = keys()?;
                let remedy = self.remedy.clone();
                (of_keys(self.at, &place, [id, secret, None], remedy), None)
            }
            "StsToken" => {
                let (id, secret) = keys()?;
                let token = or_variable("sts_token", "ALIBABA_CLOUD_SECURITY_TOKEN");
                let token = Some(token.ok_or_else(|| missing("sts_token"))?);
                let remedy = self.remedy.clone();
                let finding = of_keys(self.at, &place, [id, secret, token], remedy);
                let ends = expiration(entry);
                (Finding { ends, ..finding }, None)
            }
            "RamRoleArn" => {
                keys()?;
                by_role(role()?, On::Sts)
            }
            "ChainableRamRoleArn" => {
                let source = text("source_profile").unwrap_or_default();
                let (_, on) = self.resolve(&source, "source_profile", depth + 1)?;
                by_role(role()?, on.unwrap_or(On::Sts))
            }
            "OIDC" => {
                let provider = or_variable("oidc_provider_arn", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN");
                provider.ok_or_else(|| missing("oidc_provider_arn"))?;
                let file = or_variable("oidc_token_file", "ALIBABA_CLOUD_OIDC_TOKEN_FILE");
                let file = file.ok_or_else(|| missing("oidc_token_file"))?;
                let file = Path::named(file, "oidc_token_file");
                is_readable(self.at, &file).map_err(skipped)?;
                by_role(role()?, On::Sts)
            }
            "EcsRamRole" => {
                if self.at.is_true(METADATA_DISABLED) {
                    return Err(skipped(format!("{METADATA_DISABLED} is true")));
                }
                let setting = text("ram_role_name").map(|_| "ram_role_name");
                match instance(self.at, Proxy::Never, setting, self.remedy.clone()) {
                    Outcome::Answers(finding) => (finding, None),
                    Outcome::Depends(finding, on) => (finding, Some(on)),
                    outcome => return Err(outcome),
                }
            }
            "External" => {
                // The command may contain a secret.
                text("process_command").ok_or_else(|| missing("process_command"))?;
                let identity = format!("what the program of {place} prints");
                let remedy = self.remedy.clone();
                (of_name(identity, true, remedy), Some(On::Program))
            }
            _ => {
                let remedy = self.remedy.clone();
                (
                    of_name(format!("the login of {place}"), true, remedy),
                    Some(On::Login),
                )
            }
        })
    }
}

/// Returns when the token of a profile ends, which no client heeds.
fn expiration(profile: &Json) -> Option<String> {
    let end = profile["sts_expiration"].as_i64().filter(|end| *end > 0)?;
    DateTime::from_timestamp(end, 0).map(timestamp)
}

/// Judges the step of an ini file of the SDKs.
pub(super) fn ini(at: &Surroundings<'_>, rule: &IniRule) -> Outcome {
    let named = at.text(INI_FILE).filter(|_| rule.has_file_variable);
    let path = named.map_or_else(
        || {
            Path::at(format!(
                "{}/.alibabacloud/{}",
                at.home(rule.home),
                rule.file
            ))
        },
        |path| Path::named(path, INI_FILE),
    );
    let remedy = if rule.has_file_variable {
        Remedy::Set(INI_FILE, "/dev/null")
    } else {
        Remedy::Do(format!("remove {path}, which no variable replaces"))
    };
    let text = match files::read(at, &path, remedy.clone()) {
        Ok(text) => text,
        Err(outcome) => return outcome,
    };
    if rule.syntax == Syntax::Python
        && let Some(reason) = files::decoding_failure(at, &path)
    {
        return Outcome::Skipped(reason);
    }
    let Some(sections) = format::parse(text.expose_secret(), rule.syntax) else {
        return Outcome::Skipped(format!("{path} is not an ini file"));
    };
    let named = at.text(PROFILE).filter(|_| rule.syntax != Syntax::Java);
    let name = named.as_deref().unwrap_or("default");
    let Some(section) = format::section(&sections, name) else {
        return Outcome::Absent(if named.is_some() {
            format!("there is no section in {path} that {PROFILE} names")
        } else {
            format!("there is no section [default] in {path}")
        });
    };
    let get = |key: &str| format::get(section, key).map(str::to_owned);
    let is_enabled = get("enable").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    if rule.syntax == Syntax::Java && !is_enabled {
        return Outcome::Absent(format!("[{name}] in {path} has no enable = true"));
    }
    let place = format!("[{name}] of {path}");
    let lacks = |what: &str| Outcome::Skipped(format!("{place} lacks {what}"));
    let Some(kind) = get("type") else {
        return lacks("type");
    };
    if !rule.types.contains(&kind.as_str()) && rule.syntax != Syntax::Java {
        let kind = shown(&kind, Form::OneOf(ALL_TYPES));
        return Outcome::Skipped(format!(
            "{place} has the type {kind}, which this client does not know"
        ));
    }
    // The others have defaults for names.
    let is_strict = matches!(rule.syntax, Syntax::Java | Syntax::Go);
    let has_keys = get("access_key_id").is_some() && get("access_key_secret").is_some();
    let by_role = |how: &str| match get("role_arn") {
        Some(arn) => {
            let arn = shown(&arn, Form::RoleArn);
            let identity = format!("the role {arn} of {place}{how}");
            Outcome::Depends(of_name(identity, true, remedy.clone()), On::Sts)
        }
        None => lacks("role_arn"),
    };
    match kind.as_str() {
        "ram_role_arn" if !has_keys => lacks("access_key_id or access_key_secret"),
        "ram_role_arn" if is_strict && get("role_session_name").is_none() => {
            lacks("role_session_name")
        }
        "ram_role_arn" => by_role(""),
        "oidc_role_arn" => by_role(", by an OIDC token"),
        "rsa_key_pair" => {
            let identity = format!("the key pair of {place}");
            Outcome::Depends(of_name(identity, true, remedy), On::Sts)
        }
        "ecs_ram_role" if at.is_true(METADATA_DISABLED) => {
            Outcome::Skipped(format!("{METADATA_DISABLED} is true"))
        }
        "ecs_ram_role" if is_strict && get("role_name").is_none() => lacks("role_name"),
        "ecs_ram_role" => {
            let setting = get("role_name").map(|_| "role_name");
            instance(at, Proxy::Never, setting, remedy)
        }
        _ if !has_keys => lacks("access_key_id or access_key_secret"),
        _ => {
            let parts = [get("access_key_id"), get("access_key_secret"), None];
            Outcome::Answers(of_keys(at, &place, parts, remedy))
        }
    }
}

/// Judges the profile that aliyun-cli itself uses: there is one source, which variables complete.
pub(super) fn aliyun_cli(at: &Surroundings<'_>) -> Outcome {
    let first = |names: &[&'static str]| {
        let mut names = names.iter();
        names.find_map(|name| Some((*name, at.set(name)?)))
    };
    let path = Path::at(format!("{}/.aliyun/config.json", at.home(Home::Variable)));
    let ignored = at.text("ALIBABA_CLOUD_IGNORE_PROFILE").as_deref() == Some("TRUE");
    let remedy = Remedy::Do("choose another profile with --profile or --config-path".to_owned());
    let entry = if ignored {
        Json::Null
    } else {
        match files::read(at, &path, remedy.clone()) {
            Ok(text) => match chosen(at, text.expose_secret()) {
                Ok(entry) => entry,
                Err(reason) => return Outcome::Fails(format!("{path}: {reason}"), remedy),
            },
            Err(Outcome::Absent(_)) => Json::Null,
            Err(outcome) => return outcome,
        }
    };
    let text = |key: &str| {
        let value = entry[key].as_str().filter(|value| !value.is_empty());
        value.map(str::to_owned)
    };
    let variables = [ID_OF_CLI, SECRET_OF_CLI, TOKEN_OF_CLI].map(first);
    let keys = ["access_key_id", "access_key_secret", "sts_token"];
    let mut parts = keys.map(text);
    let mut used = Vec::new();
    for (part, variable) in parts.iter_mut().zip(variables) {
        if let (None, Some((name, value))) = (&part, variable) {
            used.push(name);
            *part = Some(value.text().unwrap_or_default().to_owned());
        }
    }
    let has_keys = parts.iter().take(2).all(Option::is_some);
    let mode = text("mode").unwrap_or_default();
    let place = text("name").map_or_else(
        || used.join(", "),
        |name| format!("the profile `{name}` ({}) of {path}", shown_mode(&mode)),
    );
    let remedy = if mode.is_empty() {
        Remedy::Unset(used)
    } else {
        remedy
    };
    let unset = || {
        Outcome::Absent(format!(
            "there is neither a profile in {path} nor an AccessKey in variables"
        ))
    };
    match mode.as_str() {
        "" if has_keys => Outcome::Answers(of_keys(at, &place, parts, remedy)),
        "" => unset(),
        "AK" | "StsToken" if has_keys => {
            if mode == "AK" {
                parts[2] = None;
            }
            Outcome::Answers(of_keys(at, &place, parts, remedy))
        }
        "AK" | "StsToken" => Outcome::Fails(format!("{place} lacks its AccessKey"), remedy),
        "EcsRamRole" => {
            let setting = text("ram_role_name").map(|_| "ram_role_name");
            instance(at, Proxy::Excluding, setting, remedy)
        }
        "CredentialsURI" => match (text("credentials_uri"), at.text(URI)) {
            (Some(uri), _) => served(at, &uri, &format!("credentials_uri in {place}"), remedy),
            (None, Some(uri)) => served(at, &uri, URI, Remedy::Unset(vec![URI])),
            (None, None) => {
                Outcome::Fails(format!("{place} has no URI, and {URI} is not set"), remedy)
            }
        },
        other => {
            let on = match other {
                "External" => On::Program,
                "CloudSSO" | "OAuth" | "BearerToken" => On::Login,
                _ => On::Sts,
            };
            Outcome::Depends(of_name(place, true, remedy), on)
        }
    }
}

/// Returns the profile that aliyun-cli uses.
fn chosen(at: &Surroundings<'_>, text: &str) -> Result<Json, String> {
    let config: Json = serde_json::from_str(text).map_err(|_| "it is not JSON".to_owned())?;
    let variables = [
        "ALIBABACLOUD_PROFILE",
        "ALIBABA_CLOUD_PROFILE",
        "ALICLOUD_PROFILE",
    ];
    let mut variables = variables.into_iter();
    let named = variables.find_map(|variable| Some((at.text(variable)?, variable)));
    let (name, setting) = named.unwrap_or_else(|| {
        let current = config["current"].as_str().unwrap_or("default");
        (current.to_owned(), "current")
    });
    let profiles = config["profiles"].as_array();
    let mut profiles = profiles.into_iter().flatten();
    let found = profiles.find(|entry| entry["name"] == name.as_str());
    found
        .cloned()
        .ok_or_else(|| format!("there is no profile that {setting} names"))
}

/// Returns a mode as it may be shown.
fn shown_mode(mode: &str) -> &str {
    let of_sdks = shown(mode, Form::OneOf(ALL_MODES));
    if of_sdks == mode {
        mode
    } else {
        shown(
            mode,
            Form::OneOf(&[
                "CredentialsURI",
                "BearerToken",
                "RsaKeyPair",
                "RamRoleArnWithEcs",
            ]),
        )
    }
}

const CONFIG_FILE: &str = "ALIBABA_CLOUD_CONFIG_FILE";
const PROFILE: &str = "ALIBABA_CLOUD_PROFILE";
const INI_FILE: &str = "ALIBABA_CLOUD_CREDENTIALS_FILE";

/// Switches off the SDKs' providers of aliyun-cli's profiles.
const DISABLED: &str = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";

/// The longest chain of source profiles that is followed.
const MAX_DEPTH: usize = 8;

const ID_OF_CLI: &[&str] = &[
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABACLOUD_ACCESS_KEY_ID",
    "ALICLOUD_ACCESS_KEY_ID",
    "ACCESS_KEY_ID",
];
const SECRET_OF_CLI: &[&str] = &[
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABACLOUD_ACCESS_KEY_SECRET",
    "ALICLOUD_ACCESS_KEY_SECRET",
    "ACCESS_KEY_SECRET",
];
const TOKEN_OF_CLI: &[&str] = &[
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABACLOUD_SECURITY_TOKEN",
    "ALICLOUD_SECURITY_TOKEN",
    "SECURITY_TOKEN",
];
