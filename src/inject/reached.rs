//! The sidecar of a pod, and how it is reached.

use serde_json::Value;

use crate::config::parse;

use super::check::PORT;
use super::json::{CONTAINER_LISTS, has_named, objects, text_of};
use super::sidecar::{METADATA_ADDRESS, NAME};
use super::spec::{Endpoints, Key, Metadata};
use super::values::port;
use super::volumes::{CONTAINER_TOKEN, CREDENTIALS};

/// Returns how the sidecar of a pod is reached; `None` if there is none, or it is not as this program writes it.
pub(super) fn reached(pod: &Value) -> Option<Endpoints> {
    let (_, _, sidecar) = sidecar(pod)?;
    endpoints(pod, sidecar)
}

/// Returns the list, the index and the value of the sidecar.
pub(super) fn sidecar(pod: &Value) -> Option<(&'static str, usize, &Value)> {
    CONTAINER_LISTS.into_iter().find_map(|list| {
        let containers = pod["spec"][list].as_array()?;
        let index = containers
            .iter()
            .position(|container| text_of(container, "name") == NAME)?;
        Some((list, index, containers.get(index)?))
    })
}

/// Returns how the sidecar is reached; `None` if it is not as this program writes it.
pub(super) fn endpoints(pod: &Value, sidecar: &Value) -> Option<Endpoints> {
    let variable =
        |name: &str| objects(sidecar, "env").find(|entry| text_of(entry, "name") == name);
    let value = |name: &str| variable(name).map(|entry| text_of(entry, "value"));
    let has_volume = |name: &str| has_named(&pod["spec"], "volumes", name);
    let key = variable("RAM_SIDECAR_KEY")?;
    let key = match (
        text_of(key, "value"),
        &key["valueFrom"]["fieldRef"]["fieldPath"],
    ) {
        ("", path) if path == "metadata.uid" => Key::PodUid,
        ("", _) => return None,
        (text, _) => Key::Text(parse::key(text).ok()?),
    };
    let port = match value("RAM_SIDECAR_LISTEN") {
        Some(address) => port(address.strip_prefix("127.0.0.1:")?).ok()?,
        None => PORT,
    };
    has_volume(CREDENTIALS).then(|| Endpoints {
        key,
        port,
        container: has_volume(CONTAINER_TOKEN),
        metadata: value("RAM_SIDECAR_METADATA_LISTEN").map(|address| match address {
            METADATA_ADDRESS => Metadata::Address,
            _ => Metadata::Loopback,
        }),
    })
}
