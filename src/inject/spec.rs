//! What to inject, after all checks.

use std::time::Duration;

use crate::credentials::RoleArn;

/// What to inject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The role to assume; none if the identity's own credentials are passed through.
    pub role: Option<RoleArn>,
    /// How the sidecar proves who it is.
    pub identity: Identity,
    /// The image of the sidecar.
    pub image: String,
    /// What kind of container the sidecar is.
    pub mode: Mode,
    /// Whether the pod gets the address of the ECS metadata service.
    pub metadata: bool,
    /// The region whose STS is used.
    pub region: Option<String>,
    /// Whether STS is called inside the region's VPCs.
    pub vpc: bool,
    /// The lifetime of the credentials; the daemon's default if absent.
    pub duration: Option<Duration>,
    /// The lifetime of the service account's token.
    pub token_expiration: Duration,
    /// Further settings of the sidecar.
    pub env: Vec<(String, String)>,
    /// The names of containers that are left as they are.
    pub skip: Vec<String>,
    /// The names of the only containers that get credentials; all if absent.
    pub only: Option<Vec<String>>,
}

/// How the sidecar proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The service account's token (RRSA).
    Oidc {
        /// `acs:ram::<account id>:oidc-provider/<name>`.
        provider: String,
    },
    /// The node's role, by the ECS metadata service.
    EcsRamRole,
    /// An AccessKey in a Secret.
    AccessKey {
        /// The name of the Secret.
        secret: String,
    },
    /// Another server of credentials.
    CredentialsUri {
        /// Its address.
        uri: String,
    },
    /// The embedded STS: credentials for tests, valid nowhere.
    Sandbox,
}

/// What kind of container the sidecar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An init container that runs beside the others (Kubernetes 1.29 and later).
    Native,
    /// An ordinary container.
    Classic,
}
