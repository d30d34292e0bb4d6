//! Why a pod cannot have the sidecar.

use super::sidecar::{ADDRESS, MARKER};

/// Why a pod cannot have the sidecar, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("{0} is not an object; correct it as the API of Kubernetes defines it")]
    NotAnObject(String),
    #[error("{0} is not a list; correct it as the API of Kubernetes defines it")]
    NotAList(String),
    #[error("{0} has an item that is not a container; correct it")]
    NotAContainer(&'static str),
    #[error("spec.containers is empty; add a container")]
    NoContainer,
    #[error("container {name}: {error}")]
    Container { name: String, error: Box<Self> },
    #[error("the pod is for Windows, but the sidecar runs on Linux only; exclude the pod")]
    Windows,
    #[error(
        "with hostNetwork the whole node would lose the ECS metadata service; remove --metadata-address or hostNetwork"
    )]
    NodeAddress,
    #[error(
        "with hostNetwork every program of the node could request credentials by the ECS metadata dialect, which has no secret; remove --metadata or hostNetwork"
    )]
    NodeLoopback,
    #[error("it has a container {ADDRESS} but no sidecar; remove that container, or rename it")]
    AddressContainer,
    #[error("it has the annotation {MARKER} but no sidecar; remove the annotation")]
    Marker,
}
