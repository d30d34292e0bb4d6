//! Who we are: where the proof for STS comes from, one file a kind.
//!
//! There is one configured identity and no fallback. What lives elsewhere, in files, services or programs, is read anew
//! for every attempt, because it rotates.

mod access_key;
mod credentials_uri;
mod document;
mod ecs_ram_role;
mod file;
mod oidc;
mod process;
mod profile;

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;

use crate::credentials::{Keys, Lease, RoleRequest};
use crate::failure::Failure;
use crate::time::clock::Clock;

pub use self::access_key::AccessKey;
pub use self::credentials_uri::CredentialsUri;
pub use self::ecs_ram_role::{EcsRamRole, Metadata, is_role_name};
pub use self::file::{File, Value};
pub use self::oidc::{Oidc, claims, is_provider_arn};
pub use self::process::{Process, complaint};
pub use self::profile::{Defaults, Meaning, Profile};

/// A configured identity.
#[derive(Debug)]
pub enum Identity {
    /// An AccessKey, long-term or temporary.
    AccessKey(AccessKey),
    /// Another server of credentials.
    CredentialsUri(CredentialsUri),
    /// The role of the ECS instance.
    EcsRamRole(EcsRamRole),
    /// An OIDC token, as RRSA mounts it.
    Oidc(Oidc),
    /// What a program prints.
    Process(Process),
    /// A profile of aliyun-cli.
    Profile(Profile),
}

/// What convinces STS.
#[derive(Debug)]
pub enum Proof {
    /// Keys to sign with, whose end is not known.
    Keys(Keys),
    /// Temporary credentials, which can also be passed through.
    Lease(Lease),
    /// A token of an OIDC provider that RAM knows.
    Token {
        /// `acs:ram::<account id>:oidc-provider/<name>`.
        provider_arn: String,
        /// The token.
        token: SecretString,
    },
}

/// The proof of an identity, and the roles that belong to the identity itself: they are assumed before any other.
#[derive(Debug)]
pub struct Resolved {
    /// What convinces STS.
    pub proof: Proof,
    /// The roles that a profile names, at most [`ROLES`].
    pub roles: Vec<RoleRequest>,
}

impl From<Proof> for Resolved {
    fn from(proof: Proof) -> Self {
        Self {
            proof,
            roles: Vec::new(),
        }
    }
}

impl Proof {
    /// Returns what signs requests, if that is the proof.
    pub fn keys(&self) -> Option<Keys> {
        match self {
            Self::Keys(keys) => Some(keys.clone()),
            Self::Lease(lease) => Some(lease.credentials.keys()),
            Self::Token { .. } => None,
        }
    }
}

impl Identity {
    /// Gathers the proof for one attempt. Cancel safe.
    pub async fn resolve(&mut self, clock: &Clock) -> Result<Resolved, Failure> {
        let proof = match self {
            Self::AccessKey(access_key) => access_key.keys().await.map(Proof::Keys),
            Self::CredentialsUri(uri) => uri.proof(clock).await,
            Self::EcsRamRole(role) => role.proof(clock).await,
            Self::Oidc(oidc) => oidc.token().await,
            Self::Process(process) => process.proof(clock).await,
            // What a profile stands for is an identity again.
            Self::Profile(profile) => return Box::pin(profile.resolve(clock)).await,
        };
        proof.map(Resolved::from)
    }

    /// Whether both ask the same file or service for the same, so that one can go on where the other stopped.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Oidc(one), Self::Oidc(other)) => {
                one.provider_arn == other.provider_arn
                    && one.token_file.path() == other.token_file.path()
            }
            (Self::EcsRamRole(one), Self::EcsRamRole(other)) => one.is_like(other),
            _ => false,
        }
    }

    /// Returns the kind, and whatever else tells this identity from others: names, and where its proof comes from.
    ///
    /// Some of it may be a secret.
    pub fn coordinates(&self) -> Vec<String> {
        let mut coordinates = vec![self.kind().to_owned()];
        coordinates.extend(match self {
            Self::AccessKey(access_key) => access_key.coordinates(),
            Self::CredentialsUri(uri) => vec![uri.url().to_owned()],
            Self::EcsRamRole(role) => role.coordinates(),
            Self::Oidc(oidc) => {
                let file = oidc.token_file.path().display();
                vec![oidc.provider_arn.clone(), file.to_string()]
            }
            Self::Process(process) => process.command.clone(),
            Self::Profile(profile) => profile.coordinates(),
        });
        coordinates
    }

    /// Returns the file that says who we are, if what it says may change: a profile is of another identity then.
    pub fn source_file(&self) -> Option<&Path> {
        match self {
            Self::Profile(profile) => Some(profile.path()),
            _ => None,
        }
    }

    /// Returns the name of the kind, as `identity.type` spells it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AccessKey(_) => "access_key",
            Self::CredentialsUri(_) => "credentials_uri",
            Self::EcsRamRole(_) => "ecs_ram_role",
            Self::Oidc(_) => "oidc",
            Self::Process(_) => "process",
            Self::Profile(_) => "profile",
        }
    }

    /// Whether programs may be started for the proof: a profile can say so at any time.
    pub fn runs_programs(&self) -> bool {
        matches!(self, Self::Process(_) | Self::Profile(_))
    }

    /// Returns the most roles that may belong to the identity itself.
    pub fn max_roles(&self) -> usize {
        match self {
            Self::Profile(_) => ROLES,
            _ => 0,
        }
    }

    /// Returns the longest time that gathering the proof may take.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::AccessKey(_) | Self::Oidc(_) => FILES,
            Self::CredentialsUri(_) => credentials_uri::TIMEOUT,
            Self::EcsRamRole(_) => ecs_ram_role::TIMEOUT,
            Self::Process(process) => process.timeout + FILES,
            Self::Profile(profile) => profile.timeout() + FILES,
        }
    }
}

/// The most roles that a profile may lead through.
pub const ROLES: usize = 4;

/// Reading files takes no time, unless their file system hangs.
const FILES: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::RoleSessionName;

    fn role(url: &str, name: &str, disabled: bool) -> Identity {
        let metadata = Metadata {
            url: url.to_owned(),
            allow_v1: false,
            disabled,
        };
        Identity::EcsRamRole(EcsRamRole::new(metadata, Some(name.to_owned())))
    }

    fn oidc(provider: &str, path: &str) -> Identity {
        Identity::Oidc(Oidc {
            provider_arn: format!("acs:ram::1:oidc-provider/{provider}"),
            token_file: File::new(path.into()),
        })
    }

    fn process(command: &[&str]) -> Identity {
        Identity::Process(Process {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            timeout: FILES,
        })
    }

    fn profile(path: &str, name: Option<&str>) -> Identity {
        let defaults = Defaults {
            session_name: RoleSessionName::derive("job"),
            timeout: FILES,
            metadata: Metadata {
                url: "http://127.0.0.1:1".into(),
                allow_v1: false,
                disabled: false,
            },
            roots: None,
        };
        let file = File::new(path.into());
        Identity::Profile(Profile::new(file, name.map(str::to_owned), defaults))
    }

    /// Every one is another, and each can be made twice.
    fn all() -> Vec<Identity> {
        vec![
            role("http://127.0.0.1:1", "a", false),
            role("http://127.0.0.1:1", "b", false),
            role("http://127.0.0.1:2", "a", false),
            oidc("a", "/token"),
            oidc("b", "/token"),
            oidc("a", "/other"),
            process(&["/bin/giver"]),
            process(&["/bin/giver", "again"]),
            profile("/config.json", None),
            profile("/config.json", Some("a")),
            profile("/other.json", None),
        ]
    }

    #[test]
    fn identity_ignores_the_settings_of_the_others() {
        for (index, one) in all().iter().enumerate() {
            for (number, other) in all().iter().enumerate() {
                let is_one = one.coordinates() == other.coordinates();
                assert_eq!(is_one, index == number, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn only_an_identity_with_state_resumes_from_its_predecessor() {
        for (index, one) in all().iter().enumerate() {
            for (number, other) in all().iter().enumerate() {
                let keeps = matches!(one, Identity::EcsRamRole(_) | Identity::Oidc(_));
                assert_eq!(one.is_like(other), keeps && index == number, "{one:?}");
            }
        }
    }

    #[test]
    fn only_a_profile_may_become_another_identity_when_its_file_changes() {
        for identity in all() {
            let is_profile = identity.kind() == "profile";
            assert_eq!(identity.source_file().is_some(), is_profile, "{identity:?}");
        }
        let path = Path::new("/config.json");
        assert_eq!(profile("/config.json", None).source_file(), Some(path));
    }

    #[tokio::test]
    async fn disabled_metadata_service_is_not_called() {
        let mut role = role("http://127.0.0.1:1", "a", true);
        let refusal = role.resolve(&Clock::machine()).await.unwrap_err();
        assert_eq!(refusal.code, "MetadataDisabled");
    }
}
