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

use crate::clock::Clock;
use crate::credentials::{Granted, Keys, RoleRequest};
use crate::failure::Failure;

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
    Granted(Granted),
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
pub struct Standing {
    /// What convinces STS.
    pub proof: Proof,
    /// The roles that a profile names, at most [`ROLES`].
    pub roles: Vec<RoleRequest>,
}

impl From<Proof> for Standing {
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
            Self::Granted(granted) => Some(granted.credentials.keys()),
            Self::Token { .. } => None,
        }
    }
}

impl Identity {
    /// Gathers the proof for one attempt. Cancel safe.
    pub async fn standing(&mut self, clock: &Clock) -> Result<Standing, Failure> {
        let proof = match self {
            Self::AccessKey(access_key) => access_key.keys().await.map(Proof::Keys),
            Self::CredentialsUri(uri) => uri.proof(clock).await,
            Self::EcsRamRole(role) => role.proof(clock).await,
            Self::Oidc(oidc) => oidc.token().await,
            Self::Process(process) => process.proof(clock).await,
            // What a profile stands for is an identity again.
            Self::Profile(profile) => return Box::pin(profile.standing(clock)).await,
        };
        proof.map(Standing::from)
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
    pub fn told_in(&self) -> Option<&Path> {
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
    pub fn most_roles(&self) -> usize {
        match self {
            Self::Profile(_) => ROLES,
            _ => 0,
        }
    }

    /// Returns the longest time that gathering the proof may take.
    pub fn patience(&self) -> Duration {
        match self {
            Self::AccessKey(_) | Self::Oidc(_) => FILES,
            Self::CredentialsUri(_) => credentials_uri::PATIENCE,
            Self::EcsRamRole(_) => ecs_ram_role::PATIENCE,
            Self::Process(process) => process.timeout + FILES,
            Self::Profile(profile) => profile.patience() + FILES,
        }
    }
}

/// The most roles that a profile may lead through.
pub const ROLES: usize = 4;

/// Reading files takes no time, unless their file system hangs.
const FILES: Duration = Duration::from_secs(5);
