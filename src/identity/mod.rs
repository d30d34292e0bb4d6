//! The identity with which the daemon authenticates to STS; one file for each kind.
//!
//! There is one configured identity and no fallback. Files, services and programs are read again for every attempt,
//! because keys and tokens rotate.

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
pub use self::process::{Launch, NotFound, Process, error_output};
pub use self::profile::{Content, Defaults, Profile};

/// A configured identity.
#[derive(Debug)]
pub enum Identity {
    /// An AccessKey, long-term or temporary.
    AccessKey(AccessKey),
    /// The URL of another server of credentials.
    CredentialsUri(CredentialsUri),
    /// The role of the ECS instance.
    EcsRamRole(EcsRamRole),
    /// An OIDC token in a file, as RRSA mounts it.
    Oidc(Oidc),
    /// A program that prints credentials.
    Process(Process),
    /// A profile of aliyun-cli.
    Profile(Profile),
}

/// What authenticates a request to STS.
#[derive(Debug)]
pub enum Proof {
    /// Keys to sign with, whose expiry is unknown.
    Keys(Keys),
    /// Temporary credentials with an expiry, which can also be passed through.
    Lease(Lease),
    /// A token of an OIDC provider that is registered with RAM.
    Token {
        /// `acs:ram::<account id>:oidc-provider/<name>`.
        provider_arn: String,
        /// The token.
        token: SecretString,
    },
}

/// The proof of an identity, and the roles of its profile, which are assumed before the configured ones.
#[derive(Debug)]
pub struct Resolved {
    /// What authenticates the first request to STS.
    pub proof: Proof,
    /// The roles of a profile, at most [`MAX_ROLES`]; other identities have none.
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
    /// Returns the keys to sign requests with; `None` for a token.
    pub fn keys(&self) -> Option<Keys> {
        match self {
            Self::Keys(keys) => Some(keys.clone()),
            Self::Lease(lease) => Some(lease.credentials.keys()),
            Self::Token { .. } => None,
        }
    }
}

impl Identity {
    /// Obtains the proof for one attempt. Cancel safe.
    pub async fn resolve(&mut self, clock: &Clock) -> Result<Resolved, Failure> {
        let proof = match self {
            Self::AccessKey(access_key) => access_key.keys().await.map(Proof::Keys),
            Self::CredentialsUri(uri) => uri.proof(clock).await,
            Self::EcsRamRole(role) => role.proof(clock).await,
            Self::Oidc(oidc) => oidc.token().await,
            Self::Process(process) => process.proof(clock).await,
            Self::Profile(profile) => return Box::pin(profile.resolve(clock)).await,
        };
        proof.map(Resolved::from)
    }

    /// Whether both use the same file or service in the same way, so that the state of one is valid for the other.
    fn has_same_source(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Oidc(one), Self::Oidc(other)) => {
                one.provider_arn == other.provider_arn
                    && one.token_file.path() == other.token_file.path()
            }
            (Self::EcsRamRole(one), Self::EcsRamRole(other)) => one.has_same_source(other),
            _ => false,
        }
    }

    /// Returns what distinguishes this identity from others: its kind, its names, and the source of its proof.
    ///
    /// Some of the values may be secrets.
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

    /// Returns the file that describes the identity, if there is one: editing a profile may change the identity.
    pub fn source_file(&self) -> Option<&Path> {
        match self {
            Self::Profile(profile) => Some(profile.path()),
            _ => None,
        }
    }

    /// Whether it consists of values that this process was started with, so that only a new start can change them.
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::AccessKey(access_key) if access_key.is_fixed())
    }

    /// Returns the configured program that prints credentials, if there is one: a path, or a name in `PATH`.
    pub fn program(&self) -> Option<&str> {
        match self {
            Self::Process(process) => process.command.first().map(String::as_str),
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

    /// Whether programs may be started for the proof; an edited profile may start one at any time.
    pub fn runs_programs(&self) -> bool {
        matches!(self, Self::Process(_) | Self::Profile(_))
    }

    /// Returns the largest possible number of roles in [`Resolved::roles`].
    pub fn max_roles(&self) -> usize {
        match self {
            Self::Profile(_) => MAX_ROLES,
            _ => 0,
        }
    }

    /// Returns the longest time that [`Identity::resolve`] may take.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::AccessKey(_) | Self::Oidc(_) => FILE_TIMEOUT,
            Self::CredentialsUri(_) => credentials_uri::TIMEOUT,
            Self::EcsRamRole(_) => ecs_ram_role::TIMEOUT,
            Self::Process(process) => process.launch.timeout + FILE_TIMEOUT,
            Self::Profile(profile) => profile.timeout() + FILE_TIMEOUT,
        }
    }
}

/// The largest number of roles in a chain of profiles.
pub const MAX_ROLES: usize = 4;

/// The timeout of reading files, for file systems that hang.
const FILE_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::RoleSessionName;
    use crate::http::client::Outbound;

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
            launch: launch(),
        })
    }

    fn launch() -> Launch {
        Launch {
            search_path: "/usr/bin".into(),
            hidden: Vec::new(),
            timeout: FILE_TIMEOUT,
        }
    }

    fn profile(path: &str, name: Option<&str>) -> Identity {
        let defaults = Defaults {
            session_name: RoleSessionName::derive("job"),
            launch: launch(),
            metadata: Metadata {
                url: "http://127.0.0.1:1".into(),
                allow_v1: false,
                disabled: false,
            },
            own_port: 0,
            outbound: Outbound::default(),
        };
        let file = File::new(path.into());
        Identity::Profile(Profile::new(file, name.map(str::to_owned), defaults))
    }

    /// Returns identities of which no two are equal.
    fn all() -> Vec<Identity> {
        vec![
            role("http://127.0.0.1:1", "a", false),
            role("http://127.0.0.1:1", "b", false),
            role("http://127.0.0.1:2", "a", false),
            oidc("a", "/token"),
            oidc("b", "/token"),
            oidc("a", "/other"),
            process(&["/bin/helper"]),
            process(&["/bin/helper", "again"]),
            profile("/config.json", None),
            profile("/config.json", Some("a")),
            profile("/other.json", None),
        ]
    }

    #[test]
    fn coordinates_distinguish_identities() {
        for (index, one) in all().iter().enumerate() {
            for (number, other) in all().iter().enumerate() {
                let is_equal = one.coordinates() == other.coordinates();
                assert_eq!(is_equal, index == number, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn only_an_identity_with_state_can_reuse_that_of_an_equal_one() {
        for (index, one) in all().iter().enumerate() {
            for (number, other) in all().iter().enumerate() {
                let has_state = matches!(one, Identity::EcsRamRole(_) | Identity::Oidc(_));
                assert_eq!(
                    one.has_same_source(other),
                    has_state && index == number,
                    "{one:?}"
                );
            }
        }
    }

    #[test]
    fn only_a_profile_has_a_source_file() {
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
