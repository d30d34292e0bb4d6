//! The volumes that are added to a pod, and where the sidecar mounts them.

use serde_json::{Value, json};

use super::json::{objects, text_of};
use super::spec::{Identity, Spec};

/// Renders all volumes that a pod with that spec gets.
pub(super) fn all(spec: &Spec, pod_spec: &Value) -> Vec<Value> {
    let volumes = volumes(spec).into_iter().map(|(volume, _)| volume);
    let hidden = hides_api_token(pod_spec).then(
        || json!({ "name": NO_API_TOKEN, "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } }),
    );
    // The kubelet writes it, so that it is there before any container starts, whatever happens to the sidecar.
    let token = spec.endpoints.container.then(|| {
        let uid = json!({ "path": "token", "fieldRef": { "fieldPath": "metadata.uid" } });
        json!({ "name": CONTAINER_TOKEN, "downwardAPI": { "items": [uid] } })
    });
    volumes.chain(token).chain(hidden).collect()
}

/// Renders the mount that keeps the token for the API server from a container; `None` if no container of the pod gets one.
///
/// The API server mounts the token wherever nothing else is mounted at its path. The application keeps it.
pub(super) fn without_api_token(pod_spec: &Value) -> Option<Value> {
    hides_api_token(pod_spec)
        .then(|| json!({ "name": NO_API_TOKEN, "mountPath": API_TOKEN_PATH, "readOnly": true }))
}

fn hides_api_token(pod_spec: &Value) -> bool {
    pod_spec["automountServiceAccountToken"] != false
}

/// Renders the volumes of the sidecar, each with the sidecar's mount of it. The application mounts one of them too.
pub(super) fn volumes(spec: &Spec) -> Vec<(Value, Value)> {
    let in_memory = |name: &str, path: &str| {
        (
            json!({ "name": name, "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } }),
            json!({ "name": name, "mountPath": path }),
        )
    };
    let read_only = |volume: Value, path: &str| {
        let mount = json!({ "name": volume["name"], "mountPath": path, "readOnly": true });
        (volume, mount)
    };
    let mut volumes = vec![in_memory(CREDENTIALS, CREDENTIALS_PATH)];
    if spec.identity != Identity::Sandbox {
        volumes.push(in_memory(STATE, STATE_PATH));
    }
    match &spec.identity {
        Identity::Oidc { .. } => {
            let token = json!({
                "audience": AUDIENCE,
                "expirationSeconds": spec.token_expiration.as_secs(),
                "path": "token",
            });
            let sources = json!([{ "serviceAccountToken": token }]);
            let volume = json!({ "name": TOKEN, "projected": { "sources": sources } });
            volumes.push(read_only(volume, TOKEN_PATH));
        }
        Identity::AccessKey { secret } => {
            let volume = json!({ "name": ACCESS_KEY, "secret": { "secretName": secret } });
            volumes.push(read_only(volume, ACCESS_KEY_PATH));
        }
        Identity::EcsRamRole | Identity::CredentialsUri { .. } | Identity::Sandbox => {}
    }
    if let Some(name) = &spec.ca_config_map {
        let volume = json!({ "name": CA, "configMap": { "name": name } });
        volumes.push(read_only(volume, CA_PATH));
    }
    volumes
}

/// Whether a volume has the service account's token for STS at the path where the sidecar reads it.
pub(super) fn is_token(volume: &Value) -> bool {
    let sources = volume.get("projected").unwrap_or(&Value::Null);
    objects(sources, "sources").any(|source| {
        let token = &source["serviceAccountToken"];
        text_of(token, "audience") == AUDIENCE && text_of(token, "path") == "token"
    })
}

/// The volume with the credentials file, which the application reads.
pub(super) const CREDENTIALS: &str = "ram-sidecar-credentials";

/// Source: PAI mounts credentials at the same path.
pub(super) const CREDENTIALS_PATH: &str = "/mnt/.alibabacloud";

/// The volume with the token that AWS SDKs send: the pod's UID, without a line break, which every user may read.
pub(super) const CONTAINER_TOKEN: &str = "ram-sidecar-container-token";

/// Where the application mounts that volume.
pub(super) const CONTAINER_TOKEN_PATH: &str = "/var/run/secrets/ram-sidecar-container";

/// The volume with the certificates to trust.
const CA: &str = "ram-sidecar-ca";

pub(super) const CA_PATH: &str = "/etc/ram-sidecar/ca";

/// An empty volume.
const NO_API_TOKEN: &str = "ram-sidecar-no-api-token";

/// Source: the admission plugin `ServiceAccount` of Kubernetes.
const API_TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The volume with the saved state, which survives a restart of the sidecar.
const STATE: &str = "ram-sidecar-state";

pub(super) const STATE_PATH: &str = "/var/lib/ram-sidecar";

/// The volume with the service account's token. Source: ACK's webhook for RRSA gives it this name.
pub(super) const TOKEN: &str = "rrsa-oidc-token";

/// Source: ACK's webhook for RRSA.
pub(super) const TOKEN_PATH: &str = "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens";

/// The audience of the token.
const AUDIENCE: &str = "sts.aliyuncs.com";

/// The volume with the AccessKey.
const ACCESS_KEY: &str = "ram-sidecar-access-key";

pub(super) const ACCESS_KEY_PATH: &str = "/var/run/secrets/ram-sidecar";
