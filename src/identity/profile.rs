//! A profile of aliyun-cli, from `~/.aliyun/config.json`. The file is read anew for every attempt, and never written.
//!
//! A profile stands for another kind of identity, and may add roles that are assumed with it.

mod config;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret as _, SecretString};

use crate::credentials::{Keys, RoleArn, RoleRequest, RoleSessionName, is_key_text, time_of};
use crate::failure::{Failure, OwnCode, Stage, redact};
use crate::time::clock::Clock;
use crate::time::moment::Moment;

use super::document::Document;
use super::ecs_ram_role::is_role_name;
use super::oidc::is_provider_arn;
use super::{
    CredentialsUri, EcsRamRole, File, Identity, Metadata, Oidc, Process, Proof, ROLES, Resolved,
};

use self::config::{Config, Entry};

/// Which profile of which file.
#[derive(Debug)]
pub struct Profile {
    file: File,
    name: Option<String>,
    defaults: Defaults,
    /// What it stood for the last time, with the token or the hanging file that belongs to it.
    last: Option<Box<Identity>>,
}

/// What a profile file does not say.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The name of sessions.
    pub session_name: RoleSessionName,
    /// How long a program may take.
    pub timeout: Duration,
    /// Where the metadata service is.
    pub metadata: Metadata,
    /// The certificate authorities to trust, instead of the bundled ones.
    pub roots: Option<Vec<CertificateDer<'static>>>,
}

/// What a profile stands for, without its roles.
#[derive(Debug)]
pub enum Meaning {
    /// The keys in it.
    Proof(Proof),
    /// Another kind of identity.
    Identity(Box<Identity>),
}

/// What a profile stands for on its own.
enum Base {
    Keys(Document),
    Identity(Identity),
}

impl Profile {
    /// Names a profile of a file; without a name, the file's current one.
    pub fn new(file: File, name: Option<String>, defaults: Defaults) -> Self {
        Self {
            file,
            name,
            defaults,
            last: None,
        }
    }

    /// Returns where the file is.
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
        let text = self.file.read_as(|text| Ok(text), LIMIT).await?;
        let (meaning, roles) = self.meaning(text.expose_secret(), clock.now())?;
        let resolved = match meaning {
            Meaning::Proof(proof) => Resolved::from(proof),
            Meaning::Identity(identity) => {
                let last = self.last.take().filter(|last| last.is_like(&identity));
                let identity = self.last.insert(last.unwrap_or(identity));
                identity.resolve(clock).await?
            }
        };
        Ok(Resolved { roles, ..resolved })
    }

    /// Reads what the profile stands for in the text of its file, and the roles that belong to it.
    pub fn meaning(&self, text: &str, now: Moment) -> Result<(Meaning, Vec<RoleRequest>), Failure> {
        let (base, roles, name) = Config::read(text)
            .and_then(|config| {
                let name = self.name.as_deref().unwrap_or(&config.current);
                let (base, roles) = resolve(&config, name, &self.defaults)?;
                Ok((base, roles, name.to_owned()))
            })
            .map_err(|reason| {
                // It repeats names out of the file, which may be anything.
                let reason = redact(&reason, &[]);
                let message = format!("cannot use {}: {reason}", self.file.path().display());
                Failure::new(Stage::Identity, OwnCode::ProfileUnusable, message)
            })?;
        let meaning = match base {
            Base::Keys(document) => {
                let source = format!("the profile {}", redact(&name, &[]));
                Meaning::Proof(document.proof(now, None, &source)?)
            }
            Base::Identity(identity) => Meaning::Identity(Box::new(identity)),
        };
        Ok((meaning, roles))
    }

    pub(super) fn timeout(&self) -> Duration {
        // A program is the slowest of all that a profile may stand for.
        self.defaults.timeout.max(super::credentials_uri::TIMEOUT)
    }
}

/// Follows source profiles to the one that stands on its own, and returns it with all their roles, its own first.
fn resolve(
    config: &Config,
    name: &str,
    defaults: &Defaults,
) -> Result<(Base, Vec<RoleRequest>), String> {
    let (mut name, mut seen, mut roles) = (name, Vec::new(), Vec::new());
    loop {
        let is_known = seen.contains(&name);
        seen.push(name);
        if is_known {
            let circle = seen.join(" → ");
            return Err(format!(
                "its source profiles go round in a circle: {circle}"
            ));
        }
        let entry = config.find(name)?;
        let in_profile = |reason| format!("its profile `{name}` {reason}");
        if matches!(
            entry.mode.as_str(),
            "RamRoleArn" | "ChainableRamRoleArn" | "OIDC"
        ) {
            roles.push(role(entry, defaults).map_err(in_profile)?);
        }
        if roles.len() > ROLES {
            return Err(format!("its profiles lead through more than {ROLES} roles"));
        }
        if entry.mode != "ChainableRamRoleArn" {
            roles.reverse();
            return Ok((base(entry, defaults).map_err(in_profile)?, roles));
        }
        name = required(entry.source_profile.as_deref(), "source_profile").map_err(in_profile)?;
    }
}

fn base(entry: &Entry, defaults: &Defaults) -> Result<Base, String> {
    let identity = match entry.mode.as_str() {
        "AK" | "StsToken" | "RamRoleArn" => return keys(entry),
        "EcsRamRole" => {
            let role = entry.ram_role_name.clone();
            if role.as_deref().is_some_and(|role| !is_role_name(role)) {
                return Err("has a ram_role_name that is no name of a role".to_owned());
            }
            Identity::EcsRamRole(EcsRamRole::new(defaults.metadata.clone(), role))
        }
        "OIDC" => Identity::Oidc(Oidc {
            provider_arn: provider(entry)?,
            token_file: File::new(PathBuf::from(required(
                entry.oidc_token_file.as_deref(),
                "oidc_token_file",
            )?)),
        }),
        "External" => {
            let command = required(entry.process_command.as_deref(), "process_command")?;
            Identity::Process(Process {
                command: words::split(command)
                    .map_err(|reason| format!("has a process_command that {reason}"))?,
                timeout: defaults.timeout,
            })
        }
        "CredentialsURI" => {
            let uri = required(entry.credentials_uri.as_deref(), "credentials_uri")?;
            let mut uri = CredentialsUri::parse(uri)
                .map_err(|reason| format!("has a credentials_uri that cannot be used: {reason}"))?;
            uri.roots.clone_from(&defaults.roots);
            Identity::CredentialsUri(uri)
        }
        "" => return Err("has no mode".to_owned()),
        other => {
            return Err(format!(
                "has the mode {other}, which only aliyun-cli itself can use; choose a profile of the mode {MODES}"
            ));
        }
    };
    Ok(Base::Identity(identity))
}

fn keys(entry: &Entry) -> Result<Base, String> {
    // A profile keeps what belonged to a mode that it had before, and aliyun-cli passes it over too.
    let token = entry.sts_token.as_ref().filter(|_| entry.mode != "AK");
    let ends = entry.sts_expiration.filter(|_| entry.mode == "StsToken");
    if entry.mode == "StsToken" && token.is_none() {
        return Err("lacks sts_token".to_owned());
    }
    let secret = entry
        .access_key_secret
        .as_ref()
        .ok_or("lacks access_key_secret")?;
    let id = required(entry.access_key_id.as_deref(), "access_key_id")?;
    let is_whole = |text: &SecretString| is_key_text(text.expose_secret());
    if !is_key_text(id) || !is_whole(secret) || !token.is_none_or(is_whole) {
        return Err("has a key that is garbled".to_owned());
    }
    Ok(Base::Keys(Document {
        keys: Keys {
            access_key_id: id.to_owned(),
            access_key_secret: secret.clone(),
            security_token: token.cloned(),
        },
        expires_at: ends.and_then(time_of),
        updated_at: None,
    }))
}

fn role(entry: &Entry, defaults: &Defaults) -> Result<RoleRequest, String> {
    let arn = required(entry.ram_role_arn.as_deref(), "ram_role_arn")?;
    let arn =
        RoleArn::parse(arn).map_err(|reason| format!("has no good ram_role_arn: {reason}"))?;
    let seconds = entry.expired_seconds.unwrap_or(DURATION);
    Ok(RoleRequest {
        arn,
        session_name: entry
            .session_name()
            .unwrap_or(defaults.session_name.as_str())
            .to_owned(),
        duration: Duration::from_secs(seconds),
        policy: entry.policy.clone(),
        // AssumeRoleWithOIDC has no such parameter.
        external_id: entry.external_id.clone().filter(|_| entry.mode != "OIDC"),
        source_identity: None,
    })
}

fn provider(entry: &Entry) -> Result<String, String> {
    let arn = required(entry.oidc_provider_arn.as_deref(), "oidc_provider_arn")?;
    if !is_provider_arn(arn) {
        return Err("has an oidc_provider_arn that names no OIDC provider".to_owned());
    }
    Ok(arn.to_owned())
}

fn required<'a>(value: Option<&'a str>, name: &str) -> Result<&'a str, String> {
    value.ok_or_else(|| format!("lacks {name}"))
}

const MODES: &str =
    "AK, StsToken, RamRoleArn, ChainableRamRoleArn, EcsRamRole, OIDC, External or CredentialsURI";

/// What STS grants by default, in seconds.
const DURATION: u64 = 3600;

/// Hundreds of profiles.
const LIMIT: usize = 512 * 1024;

#[cfg(test)]
mod tests;
