//! The volumes that are added to a pod, and where the sidecar mounts them.

use serde_json::{Value, json};

use super::json::{objects, text_of};
use super::spec::{Identity, Spec};

/// Renders the volumes of the sidecar, one of which the job mounts too.
pub(super) fn volumes(spec: &Spec) -> Vec<Value> {
    let in_memory = |name: &str| json!({ "name": name, "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } });
    let mut volumes = vec![in_memory(CREDENTIALS)];
    if spec.identity != Identity::Sandbox {
        volumes.push(in_memory(STATE));
    }
    match &spec.identity {
        Identity::Oidc { .. } => volumes.push(json!({
            "name": TOKEN,
            "projected": { "sources": [{ "serviceAccountToken": {
                "audience": AUDIENCE,
                "expirationSeconds": spec.token_expiration.as_secs(),
                "path": "token",
            } }] },
        })),
        Identity::AccessKey { secret } => {
            volumes.push(json!({ "name": ACCESS_KEY, "secret": { "secretName": secret } }));
        }
        Identity::EcsRamRole | Identity::CredentialsUri { .. } | Identity::Sandbox => {}
    }
    volumes
}

/// Renders the sidecar's mounts of these volumes.
pub(super) fn mounts(spec: &Spec) -> Value {
    let mut mounts = vec![json!({ "name": CREDENTIALS, "mountPath": CREDENTIALS_PATH })];
    if spec.identity != Identity::Sandbox {
        mounts.push(json!({ "name": STATE, "mountPath": STATE_PATH }));
    }
    let read_only =
        |name: &str, path: &str| json!({ "name": name, "mountPath": path, "readOnly": true });
    match spec.identity {
        Identity::Oidc { .. } => mounts.push(read_only(TOKEN, TOKEN_PATH)),
        Identity::AccessKey { .. } => mounts.push(read_only(ACCESS_KEY, ACCESS_KEY_PATH)),
        Identity::EcsRamRole | Identity::CredentialsUri { .. } | Identity::Sandbox => {}
    }
    mounts.into()
}

/// Whether a volume holds a token of the service account for STS, at the path where the sidecar reads it.
pub(super) fn is_token(volume: &Value) -> bool {
    let sources = volume.get("projected").unwrap_or(&Value::Null);
    objects(sources, "sources").any(|source| {
        let token = &source["serviceAccountToken"];
        text_of(token, "audience") == AUDIENCE && text_of(token, "path") == "token"
    })
}

/// The volume with the credentials file, which the job reads.
pub(super) const CREDENTIALS: &str = "ram-sidecar-credentials";

/// Source: PAI mounts credentials at the same path.
pub(super) const CREDENTIALS_PATH: &str = "/mnt/.alibabacloud";

/// The volume with the saved state, which outlives a restart of the sidecar.
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
