//! A profile of aliyun-cli, from `~/.aliyun/config.json`. The file is read for every attempt, and never written.
//!
//! A profile contains keys or describes another identity, and may add roles to assume with it.

mod config;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::error::Category;

use crate::credentials::{Keys, RoleArn, RoleRequest, RoleSessionName, is_key_text, time_of};
use crate::failure::{Failure, FailureClass, LocalCode, Stage, redact};
use crate::http::client::Outbound;
use crate::time::clock::Clock;
use crate::time::moment::Moment;

use super::document::Document;
use super::ecs_ram_role::is_role_name;
use super::oidc::is_provider_arn;
use super::{
    CredentialsUri, EcsRamRole, File, Identity, Launch, MAX_ROLES, Metadata, Oidc, Process, Proof,
    Resolved,
};

use self::config::{Config, Entry};

/// A profile, by its file and name.
#[derive(Debug)]
pub struct Profile {
    file: File,
    name: Option<String>,
    defaults: Defaults,
    /// The identity of the last attempt, with its metadata token or its pending read of a file.
    last: Option<Box<Identity>>,
}

/// Settings that a profile does not contain.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The session name of roles whose profile has none.
    pub session_name: RoleSessionName,
    /// How programs are run.
    pub launch: Launch,
    /// The metadata service.
    pub metadata: Metadata,
    /// The port of this daemon, which must not ask itself.
    pub own_port: u16,
    /// How another server of credentials is called.
    pub outbound: Outbound,
}

/// The content of a profile, without its roles.
#[derive(Debug)]
pub enum Content {
    /// Keys.
    Proof(Proof),
    /// Another kind of identity.
    Identity(Box<Identity>),
}

/// Why a profile cannot be used. The message continues a sentence whose subject is the file.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("it is not the JSON of aliyun-cli ({0:?} at line {1} column {2})")]
    NotJson(Category, usize, usize),
    #[error("it contains no profiles")]
    NoProfiles,
    #[error("it names no current profile")]
    NoCurrent,
    #[error("it has no profile `{0}`, only {1}")]
    Unknown(String, String),
    #[error("its source profiles form a cycle: {0}")]
    Cycle(String),
    #[error("its profiles chain more than {MAX_ROLES} roles")]
    TooManyRoles,
    #[error("its profile `{0}` {1}")]
    Profile(String, String),
    #[error("{}", .0.message)]
    Proof(Failure),
}

impl Profile {
    /// Refers to a profile of a file; without a name, to the current profile of the file.
    pub fn new(file: File, name: Option<String>, defaults: Defaults) -> Self {
        Self {
            file,
            name,
            defaults,
            last: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(super) fn coordinates(&self) -> Vec<String> {
        vec![
            self.file.path().display().to_string(),
            self.name.clone().unwrap_or_default(),
            self.defaults.session_name.to_string(),
            self.defaults.metadata.url.clone(),
        ]
    }

    pub(super) async fn resolve(&mut self, clock: &Clock) -> Result<Resolved, Failure> {
        let (content, roles) = match self.read(clock).await {
            // Perhaps it is just being written.
            Err(failure) if failure.class == FailureClass::Transient => {
                tokio::time::sleep(WRITE_TIME).await;
                let read = self.read(clock).await;
                read.map_err(|failure| Failure {
                    class: FailureClass::Persistent,
                    ..failure
                })?
            }
            read => read?,
        };
        let resolved = match content {
            Content::Proof(proof) => Resolved::from(proof),
            Content::Identity(identity) => {
                let last = self.last.take();
                let last = last.filter(|last| last.has_same_source(&identity));
                let identity = self.last.insert(last.unwrap_or(identity));
                identity.resolve(clock).await?
            }
        };
        Ok(Resolved { roles, ..resolved })
    }

    async fn read(&mut self, clock: &Clock) -> Result<(Content, Vec<RoleRequest>), Failure> {
        let text = self.file.read_as(|_| true, LIMIT).await;
        let text = text.map_err(|failure| {
            let is_there = failure.code.as_str() == LocalCode::IdentityFileInvalid.as_str();
            let mut failure = unreadable(failure.message);
            if !is_there {
                failure.advice = NO_FILE.into();
            }
            failure
        })?;
        self.parse(text.expose_secret(), clock.now())
    }

    /// Reads the content of the profile from the text of its file, and the roles that it adds.
    pub fn parse(&self, text: &str, now: Moment) -> Result<(Content, Vec<RoleRequest>), Failure> {
        let parsed = Config::parse(text).and_then(|config| {
            let name = self.name.as_deref().unwrap_or(&config.current);
            resolve(&config, name, &self.defaults, now)
        });
        parsed.map_err(|error| match error {
            Error::Proof(failure) => failure,
            error => {
                // It quotes names of the file, which may be anything.
                let reason = redact(&error.to_string(), &[]);
                let message = format!("cannot use {}: {reason}", self.file.path().display());
                match error {
                    Error::NotJson(..) => unreadable(message),
                    _ => Failure::new(Stage::Identity, LocalCode::ProfileUnusable, message),
                }
            }
        })
    }

    pub(super) fn timeout(&self) -> Duration {
        // A program or another server is the slowest content.
        self.defaults
            .launch
            .timeout
            .max(super::credentials_uri::TIMEOUT)
    }
}

/// Returns the failure of a file that may be in the middle of being written.
fn unreadable(message: String) -> Failure {
    let failure = Failure::new(Stage::Identity, LocalCode::ProfileUnusable, message);
    Failure {
        class: FailureClass::Transient,
        ..failure
    }
}

/// Follows source profiles to the last, and returns its content and the roles of all, in the order in which they are
/// assumed.
fn resolve(
    config: &Config,
    name: &str,
    defaults: &Defaults,
    now: Moment,
) -> Result<(Content, Vec<RoleRequest>), Error> {
    let (mut name, mut seen, mut roles) = (name, Vec::new(), Vec::new());
    loop {
        let is_known = seen.contains(&name);
        seen.push(name);
        if is_known {
            return Err(Error::Cycle(seen.join(" → ")));
        }
        let entry = config.find(name)?;
        let in_profile = |reason| Error::Profile(name.to_owned(), reason);
        let mode = entry.mode.as_str();
        if matches!(mode, "RamRoleArn" | "ChainableRamRoleArn" | "OIDC") {
            roles.push(role(entry, defaults).map_err(in_profile)?);
        }
        if roles.len() > MAX_ROLES {
            return Err(Error::TooManyRoles);
        }
        if mode == "ChainableRamRoleArn" {
            let source = required(entry.source_profile.as_ref(), "source_profile");
            name = source.map_err(in_profile)?;
            continue;
        }
        roles.reverse();
        let content = if matches!(mode, "AK" | "StsToken" | "RamRoleArn") || has_cached_keys(mode) {
            let shown = redact(name, &[]);
            let source = format!("the profile {shown}");
            let proof = keys(entry).map_err(in_profile)?.proof(now, None, &source);
            Content::Proof(proof.map_err(|mut failure| {
                failure.class = FailureClass::Persistent;
                if has_cached_keys(mode) {
                    failure.advice = format!("let aliyun-cli renew the keys of this {mode} profile, with a command such as `aliyun sts GetCallerIdentity --profile {shown}`; the file is read again for every attempt").into();
                }
                Error::Proof(failure)
            })?)
        } else {
            Content::Identity(Box::new(identity(entry, defaults).map_err(in_profile)?))
        };
        return Ok((content, roles));
    }
}

fn identity(entry: &Entry, defaults: &Defaults) -> Result<Identity, String> {
    Ok(match entry.mode.as_str() {
        "EcsRamRole" => {
            let role = non_empty(entry.ram_role_name.as_ref());
            if role.is_some_and(|role| !is_role_name(role)) {
                return Err("has a ram_role_name that is not a role name".to_owned());
            }
            let role = role.map(str::to_owned);
            Identity::EcsRamRole(EcsRamRole::new(defaults.metadata.clone(), role))
        }
        "OIDC" => {
            let provider = required(entry.oidc_provider_arn.as_ref(), "oidc_provider_arn")?;
            if !is_provider_arn(provider) {
                return Err(
                    "has an oidc_provider_arn that is not the ARN of an OIDC provider".to_owned(),
                );
            }
            let path = required(entry.oidc_token_file.as_ref(), "oidc_token_file")?;
            Identity::Oidc(Oidc {
                provider_arn: provider.to_owned(),
                token_file: File::new(PathBuf::from(path)),
            })
        }
        "External" => {
            let command = required(entry.process_command.as_ref(), "process_command")?;
            let process = Process {
                command: words::split(command)
                    .map_err(|reason| format!("has a process_command that {reason}"))?,
                launch: defaults.launch.clone(),
            };
            process
                .check()
                .map_err(|reason| format!("has a process_command whose program {reason}"))?;
            Identity::Process(process)
        }
        "CredentialsURI" => {
            let uri = required(entry.credentials_uri.as_ref(), "credentials_uri")?;
            let mut uri = CredentialsUri::parse(uri)
                .map_err(|reason| format!("has a credentials_uri that cannot be used: {reason}"))?;
            if uri.loopback_port() == Some(defaults.own_port) {
                return Err("has the address of this daemon (serve.listen) as its credentials_uri; choose another profile, or change serve.listen".to_owned());
            }
            uri.outbound.clone_from(&defaults.outbound);
            Identity::CredentialsUri(uri)
        }
        "" => return Err("has no mode".to_owned()),
        other if MODES_OF_CLI.contains(&other) => {
            return Err(format!(
                "has the mode {other}, which only aliyun-cli itself can use; choose a profile of the mode {}",
                MODES.join(", ")
            ));
        }
        other => {
            let known = MODES.iter().find(|mode| mode.eq_ignore_ascii_case(other));
            let meant = known.map(|mode| format!("did you mean {mode}? "));
            return Err(format!(
                "has the unknown mode {other}; {}the modes are {}",
                meant.unwrap_or_default(),
                MODES.join(", ")
            ));
        }
    })
}

/// Whether aliyun-cli logs in by a browser, and saves the temporary keys that it gets in the profile.
fn has_cached_keys(mode: &str) -> bool {
    matches!(mode, "CloudSSO" | "OAuth")
}

fn keys(entry: &Entry) -> Result<Document, String> {
    let is_empty = |text: &SecretString| text.expose_secret().is_empty();
    // A profile retains the fields of its earlier modes; aliyun-cli ignores them too.
    let token = entry.sts_token.as_ref();
    let token = token.filter(|token| entry.mode != "AK" && !is_empty(token));
    let expires = entry.sts_expiration;
    let is_temporary = entry.mode == "StsToken" || has_cached_keys(&entry.mode);
    let expires = expires.filter(|expires| is_temporary && *expires != 0);
    if has_cached_keys(&entry.mode) && token.is_none() {
        return Err("lacks sts_token: aliyun-cli saves it when it has logged in".to_owned());
    }
    if is_temporary && token.is_none() {
        return Err("lacks sts_token".to_owned());
    }
    let secret = entry.access_key_secret.as_ref();
    let secret = secret.filter(|secret| !is_empty(secret));
    let secret = secret.ok_or("lacks access_key_secret")?;
    let id = required(entry.access_key_id.as_ref(), "access_key_id")?;
    let is_valid = |text: &SecretString| is_key_text(text.expose_secret());
    if !is_key_text(id) || !is_valid(secret) || !token.is_none_or(is_valid) {
        return Err("has a malformed key".to_owned());
    }
    Ok(Document {
        keys: Keys {
            access_key_id: id.to_owned(),
            access_key_secret: secret.clone(),
            security_token: token.cloned(),
        },
        expires_at: expires.and_then(time_of),
        updated_at: None,
    })
}

fn role(entry: &Entry, defaults: &Defaults) -> Result<RoleRequest, String> {
    let arn = required(entry.ram_role_arn.as_ref(), "ram_role_arn")?;
    let arn =
        RoleArn::parse(arn).map_err(|reason| format!("has an invalid ram_role_arn: {reason}"))?;
    let name = non_empty(entry.ram_session_name.as_ref())
        .or_else(|| non_empty(entry.role_session_name.as_ref()));
    let seconds = entry.expired_seconds.filter(|seconds| *seconds != 0);
    let external_id = non_empty(entry.external_id.as_ref());
    Ok(RoleRequest {
        arn,
        session_name: name.unwrap_or(defaults.session_name.as_str()).to_owned(),
        duration: Duration::from_secs(seconds.unwrap_or(DURATION)),
        policy: non_empty(entry.policy.as_ref()).map(str::to_owned),
        // AssumeRoleWithOIDC has no such parameter.
        external_id: external_id
            .filter(|_| entry.mode != "OIDC")
            .map(str::to_owned),
        source_identity: None,
    })
}

fn non_empty(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|text| !text.is_empty())
}

fn required<'a>(value: Option<&'a String>, name: &str) -> Result<&'a str, String> {
    non_empty(value).ok_or_else(|| format!("lacks {name}"))
}

const MODES: [&str; 10] = [
    "AK",
    "StsToken",
    "RamRoleArn",
    "ChainableRamRoleArn",
    "EcsRamRole",
    "OIDC",
    "External",
    "CredentialsURI",
    "CloudSSO",
    "OAuth",
];

const MODES_OF_CLI: [&str; 2] = ["RsaKeyPair", "RamRoleArnWithRoleName"];

/// The default duration of a session, in seconds.
const DURATION: u64 = 3600;

/// What to do about a file that is missing, or not for this user.
const NO_FILE: &str = "make it with `aliyun configure`, mount it where this user can read it, or correct its path (ALIBABA_CLOUD_CONFIG_FILE); the file is read again for every attempt";

/// How long aliyun-cli may take to write its file.
const WRITE_TIME: Duration = Duration::from_secs(1);

/// Enough for hundreds of profiles.
const LIMIT: usize = 512 * 1024;

#[cfg(test)]
mod tests;
