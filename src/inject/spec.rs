//! What to inject, after all checks.

use std::time::Duration;

use crate::credentials::RoleArn;

/// What to inject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The role to assume; `None` if the credentials of the identity are served unchanged.
    pub role: Option<RoleArn>,
    /// How the sidecar authenticates.
    pub identity: Identity,
    /// The image of the sidecar.
    pub image: String,
    /// The kind of the sidecar's container.
    pub mode: Mode,
    /// Where the pod's containers find the sidecar.
    pub endpoints: Endpoints,
    /// Whether metrics and probes are served on the pod's address.
    pub metrics: bool,
    /// Whether the pod is ready only while it has credentials.
    pub readiness: bool,
    /// The `ConfigMap` with the certificates that the sidecar trusts.
    pub ca_config_map: Option<String>,
    /// The region whose STS is used.
    pub region: Option<String>,
    /// Whether STS is called inside the region's VPCs.
    pub vpc: bool,
    /// The lifetime of the credentials; the daemon's default if `None`.
    pub duration: Option<Duration>,
    /// The lifetime of the service account's token.
    pub token_expiration: Duration,
    /// The resources of the sidecar that replace the defaults.
    pub resources: Resources,
    /// Further settings of the sidecar.
    pub env: Vec<(String, String)>,
    /// The containers that get credentials.
    pub selection: Selection,
}

/// The containers that get credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The names of containers that get none.
    pub skip: Vec<String>,
    /// Whether these are for all pods of a service account, of which some lack a container, or get it later.
    pub is_skip_of_account: bool,
    /// The names of the only containers that get some; all if `None`.
    pub only: Option<Vec<String>>,
}

impl Selection {
    /// Whether a container of that name gets credentials.
    pub(super) fn selects(&self, name: &str) -> bool {
        let is_in = |names: &[String]| names.iter().any(|other| other == name);
        !is_in(&self.skip) && self.only.as_ref().is_none_or(|only| is_in(only))
    }
}

/// Resources of the sidecar that replace the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// The CPU that is requested.
    pub request_cpu: Option<Amount>,
    /// The memory that is requested.
    pub request_memory: Option<Amount>,
    /// The CPU limit.
    pub limit_cpu: Option<Amount>,
    /// The memory limit.
    pub limit_memory: Option<Amount>,
}

/// An amount of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Neither a default nor another one.
    None,
    /// A quantity as Kubernetes writes it.
    Quantity(String),
}

/// How the sidecar authenticates.
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
    /// Another credentials server.
    CredentialsUri {
        /// Its address.
        uri: String,
    },
    /// The embedded STS: credentials for tests, which no service accepts.
    Sandbox,
}

/// Where the containers of a pod find the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The last segment of the URI's path.
    pub key: Key,
    /// The port of the credentials. The next two are those of the probes and of the metadata dialect on loopback.
    pub port: u16,
    /// Whether AWS SDKs are served too.
    pub container: bool,
    /// Where the ECS metadata dialect is served, if it is.
    pub metadata: Option<Metadata>,
}

/// The last segment of the URI's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The UID of the pod, which only the pod and its readers know.
    PodUid,
    /// A text, which is the same in every pod.
    Text(String),
}

/// Where the ECS metadata dialect is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// On loopback, at the address that a variable names.
    Loopback,
    /// At 100.100.100.200, which the pod then has.
    Address,
}

/// The kind of the sidecar's container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An init container that keeps running (Kubernetes 1.29 and later).
    Native,
    /// An ordinary container.
    Classic,
}

impl Endpoints {
    /// The port of the probes and the metrics.
    pub(super) fn admin_port(&self) -> u16 {
        self.port + 1
    }

    /// The address of the metadata dialect on loopback.
    pub(super) fn metadata_address(&self) -> String {
        format!("127.0.0.1:{}", self.port + 2)
    }

    /// Returns the ports that the sidecar uses on loopback.
    pub(super) fn ports(&self) -> Vec<u16> {
        let on_loopback = self.metadata == Some(Metadata::Loopback);
        let last = self.port + if on_loopback { 2 } else { 1 };
        (self.port..=last).collect()
    }
}
