//! What is added to a pod beside its containers: the sidecar, what gives it an address, and volumes.

use serde_json::{Value, json};

use crate::time::duration::written;

use super::json::{objects, text_of};
use super::spec::{Identity, Mode, Wish};

/// Renders the sidecar. `grace` is how many seconds the pod has to stop.
pub(super) fn sidecar(wish: &Wish, grace: u64, resources: Option<Value>) -> Value {
    let mut container = json!({ "name": NAME, "image": wish.image, "args": args(wish) });
    let restart = json!("Always");
    let fields = [
        (
            "restartPolicy",
            (wish.mode == Mode::Native).then_some(restart),
        ),
        ("env", Some(env(wish, grace))),
        ("resources", resources),
        ("startupProbe", Some(startup_probe())),
        ("livenessProbe", Some(liveness_probe())),
        ("securityContext", Some(security_context())),
        ("volumeMounts", Some(mounts(wish))),
    ];
    if let Value::Object(container) = &mut container {
        let fields = fields.into_iter();
        container.extend(fields.filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    container
}

/// Renders the init container that gives the pod the address of the ECS metadata service.
pub(super) fn address(wish: &Wish, resources: Option<Value>) -> Value {
    let mut container = json!({
        "name": ADDRESS,
        "image": wish.image,
        "args": ["metadata-address"],
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
            // A pod that runs as nobody in particular would else forbid it.
            "runAsNonRoot": false,
            "runAsUser": 0,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
    });
    if let (Value::Object(container), Some(resources)) = (&mut container, resources) {
        container.insert("resources".to_owned(), resources);
    }
    container
}

/// Renders the volumes that the sidecar mounts, and with them the job.
pub(super) fn volumes(wish: &Wish) -> Vec<Value> {
    let in_memory = |name: &str| json!({ "name": name, "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } });
    let mut volumes = vec![in_memory(CREDENTIALS)];
    if wish.identity != Identity::Sandbox {
        volumes.push(in_memory(STATE));
    }
    match &wish.identity {
        Identity::Oidc { .. } => volumes.push(json!({
            "name": TOKEN,
            "projected": { "sources": [{ "serviceAccountToken": {
                "audience": AUDIENCE,
                "expirationSeconds": wish.token_expiration.as_secs(),
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

fn args(wish: &Wish) -> Value {
    match wish.identity {
        // The variable would be taken for a real job's.
        Identity::Sandbox => json!(["serve", "--sandbox", "--file", file()]),
        _ => json!(["serve"]),
    }
}

fn env(wish: &Wish, grace: u64) -> Value {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let mut variables = vec![
        // Whoever knows the pod's UID is of the pod, or may read it.
        field("RAM_SIDECAR_KEY", "metadata.uid"),
        // It names the session in audit logs.
        field("POD_NAME", "metadata.name"),
    ];
    let settings = settings(wish, grace);
    // What was asked for beats what would be there without asking.
    let is_given = |name: &str| wish.env.iter().any(|(given, _)| given == name);
    let ours = settings
        .into_iter()
        .filter(|(name, _)| !is_given(name))
        .map(|(name, value)| (name.to_owned(), value));
    let all = ours.chain(wish.env.iter().cloned());
    variables.extend(all.map(|(name, value)| json!({ "name": name, "value": value })));
    variables.into()
}

fn settings(wish: &Wish, grace: u64) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    if let Some(role) = &wish.role {
        settings.push(("ALIBABA_CLOUD_ROLE_ARN", role.to_string()));
    }
    let text = str::to_owned;
    if let Some(name) = wish.identity.name() {
        settings.push(("RAM_SIDECAR_IDENTITY", text(name)));
    }
    match &wish.identity {
        Identity::Oidc { provider } => settings.extend([
            ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", provider.clone()),
            (
                "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
                format!("{TOKEN_PATH}/token"),
            ),
        ]),
        Identity::AccessKey { .. } => settings.extend([
            (
                "ALIBABA_CLOUD_ACCESS_KEY_ID_FILE",
                format!("{ACCESS_KEY_PATH}/access-key-id"),
            ),
            (
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE",
                format!("{ACCESS_KEY_PATH}/access-key-secret"),
            ),
        ]),
        Identity::CredentialsUri { uri } => {
            settings.push(("ALIBABA_CLOUD_CREDENTIALS_URI", uri.clone()));
        }
        Identity::EcsRamRole | Identity::Sandbox => {}
    }
    if wish.identity != Identity::Sandbox {
        settings.push(("RAM_SIDECAR_FILE", file()));
        settings.push(("RAM_SIDECAR_STATE", format!("{STATE_PATH}/state")));
    }
    if let Some(region) = &wish.region {
        settings.push(("ALIBABA_CLOUD_STS_REGION", region.clone()));
    }
    if wish.vpc {
        settings.push(("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", text("true")));
    }
    if let Some(duration) = wish.duration {
        settings.push(("RAM_SIDECAR_DURATION", written(duration)));
    }
    if wish.metadata {
        settings.push(("RAM_SIDECAR_METADATA_LISTEN", text("100.100.100.200:80")));
    }
    if wish.mode == Mode::Classic {
        // It is told to stop when the job is, whose last upload still needs credentials.
        let drain = grace.min(GRACE_MOST).saturating_sub(FAREWELL);
        settings.push(("RAM_SIDECAR_DRAIN", format!("{drain}s")));
    }
    settings
}

impl Identity {
    /// Returns what `identity.type` calls it.
    fn name(&self) -> Option<&'static str> {
        match self {
            Self::Oidc { .. } => Some("oidc"),
            Self::EcsRamRole => Some("ecs_ram_role"),
            Self::AccessKey { .. } => Some("access_key"),
            Self::CredentialsUri { .. } => Some("credentials_uri"),
            Self::Sandbox => None,
        }
    }
}

fn file() -> String {
    // The job may run as any user.
    format!("{CREDENTIALS_PATH}/credentials,mode=0644")
}

fn mounts(wish: &Wish) -> Value {
    let mut mounts = vec![json!({ "name": CREDENTIALS, "mountPath": CREDENTIALS_PATH })];
    if wish.identity != Identity::Sandbox {
        mounts.push(json!({ "name": STATE, "mountPath": STATE_PATH }));
    }
    let read_only =
        |name: &str, path: &str| json!({ "name": name, "mountPath": path, "readOnly": true });
    match wish.identity {
        Identity::Oidc { .. } => mounts.push(read_only(TOKEN, TOKEN_PATH)),
        Identity::AccessKey { .. } => mounts.push(read_only(ACCESS_KEY, ACCESS_KEY_PATH)),
        Identity::EcsRamRole | Identity::CredentialsUri { .. } | Identity::Sandbox => {}
    }
    mounts.into()
}

/// Whether a volume has a token of the service account for STS where the sidecar looks for it.
pub(super) fn is_token(volume: &Value) -> bool {
    let sources = volume.get("projected").unwrap_or(&Value::Null);
    objects(sources, "sources").any(|source| {
        let token = &source["serviceAccountToken"];
        text_of(token, "audience") == AUDIENCE && text_of(token, "path") == "token"
    })
}

fn startup_probe() -> Value {
    json!({
        "exec": { "command": [PROGRAM, "health", "startup"] },
        // A restart mends no trust policy, so there never is one: 68 years of seconds.
        "failureThreshold": i32::MAX,
        "periodSeconds": 1,
        "timeoutSeconds": 5,
    })
}

fn liveness_probe() -> Value {
    json!({
        "exec": { "command": [PROGRAM, "health", "live"] },
        "periodSeconds": 30,
        "timeoutSeconds": 5,
    })
}

/// Meets the restricted Pod Security Standard.
fn security_context() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
        "runAsGroup": USER,
        "runAsNonRoot": true,
        "runAsUser": USER,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// The sidecar.
pub(super) const NAME: &str = "ram-sidecar";

/// The init container that gives the pod the address of the ECS metadata service.
pub(super) const ADDRESS: &str = "ram-sidecar-address";

/// The volume with the file of credentials, which the job may read.
pub(super) const CREDENTIALS: &str = "ram-sidecar-credentials";

/// Where PAI has it.
pub(super) const CREDENTIALS_PATH: &str = "/mnt/.alibabacloud";

/// The volume by which the sidecar survives a restart.
pub(super) const STATE: &str = "ram-sidecar-state";

const STATE_PATH: &str = "/var/lib/ram-sidecar";

/// The volume with the service account's token, as ACK's webhook for RRSA calls it.
pub(super) const TOKEN: &str = "rrsa-oidc-token";

/// Whom it is for.
const AUDIENCE: &str = "sts.aliyuncs.com";

/// Where that mounts it.
const TOKEN_PATH: &str = "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens";

/// The volume with the AccessKey.
pub(super) const ACCESS_KEY: &str = "ram-sidecar-access-key";

const ACCESS_KEY_PATH: &str = "/var/run/secrets/ram-sidecar";

/// The image holds nothing else.
const PROGRAM: &str = "/ram-sidecar";

/// The image's own user.
const USER: u32 = 65532;

/// A week of seconds. Kubernetes knows no bound, and the drain does.
const GRACE_MOST: u64 = 604_800;

/// Seconds of the pod's grace that the sidecar needs for itself, to end by itself and not be killed.
const FAREWELL: u64 = 2;
