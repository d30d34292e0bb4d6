//! What to inject, checked.

use std::time::Duration;

use crate::credentials::RoleArn;

/// What to inject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The role to assume; none with an identity whose own credentials are passed through.
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
    /// How long credentials live; what the daemon's default is if nothing is said.
    pub duration: Option<Duration>,
    /// How long the service account's token lives.
    pub token_expiration: Duration,
    /// Further settings of the sidecar.
    pub env: Vec<(String, String)>,
    /// Containers that get nothing.
    pub skip: Vec<String>,
    /// The only containers that get something; all if nothing is said.
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
    /// An init container that stays (Kubernetes 1.29 and later).
    Native,
    /// An ordinary container.
    Classic,
}
