//! The containers that are added to a pod: the sidecar, and the one that sets up the metadata address.

use serde_json::{Value, json};

use crate::chains::INJECT_ROLE;
use crate::time::duration;

use super::check::PORT;
use super::spec::{Identity, Key, Metadata, Mode, Spec};
use super::volumes::{ACCESS_KEY_PATH, CA_PATH, CREDENTIALS_PATH, STATE_PATH, TOKEN_PATH, volumes};

/// Renders the sidecar. `grace` is the pod's grace period for shutdown, in seconds; `mount` one more mount.
pub(super) fn sidecar(
    spec: &Spec,
    grace: u64,
    resources: Option<Value>,
    mount: Option<Value>,
) -> Value {
    let mut container = json!({ "name": NAME, "image": spec.image, "args": args(spec) });
    let restart = json!("Always");
    let port = json!({ "name": PORT_NAME, "containerPort": spec.endpoints.admin_port() });
    let mounts = volumes(spec).into_iter().map(|(_, mount)| mount);
    let mounts = mounts.chain(mount).collect();
    let fields = [
        (
            "restartPolicy",
            (spec.mode == Mode::Native).then_some(restart),
        ),
        ("ports", spec.metrics.then(|| json!([port]))),
        ("env", Some(env(spec, grace))),
        ("resources", resources),
        ("startupProbe", Some(startup_probe())),
        ("readinessProbe", spec.readiness.then(readiness_probe)),
        ("livenessProbe", Some(liveness_probe())),
        ("securityContext", Some(security_context())),
        ("terminationMessagePolicy", Some(json!(MESSAGE_POLICY))),
        ("volumeMounts", Some(mounts)),
    ];
    if let Value::Object(container) = &mut container {
        let fields = fields.into_iter();
        container.extend(fields.filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    container
}

/// Renders the init container that gives the pod the address of the ECS metadata service.
pub(super) fn address(spec: &Spec, resources: Option<Value>, mount: Option<Value>) -> Value {
    let mut container = json!({
        "name": ADDRESS,
        "image": spec.image,
        "args": ["metadata-address"],
        "terminationMessagePolicy": MESSAGE_POLICY,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
            // The pod's own security context may forbid root.
            "runAsNonRoot": false,
            "runAsUser": 0,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
    });
    let mounts = mount.map(|mount| json!([mount]));
    let fields = [("resources", resources), ("volumeMounts", mounts)];
    if let Value::Object(container) = &mut container {
        let fields = fields.into_iter();
        container.extend(fields.filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    container
}

fn args(spec: &Spec) -> Value {
    match spec.identity {
        // With --sandbox, `serve` refuses files that a variable names.
        Identity::Sandbox => json!(["serve", "--sandbox", "--file", file()]),
        _ => json!(["serve"]),
    }
}

fn env(spec: &Spec, grace: u64) -> Value {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let mut variables = vec![
        match &spec.endpoints.key {
            Key::PodUid => field("RAM_SIDECAR_KEY", "metadata.uid"),
            Key::Text(key) => json!({ "name": "RAM_SIDECAR_KEY", "value": key }),
        },
        // The session name in audit logs.
        field("POD_NAME", "metadata.name"),
    ];
    let settings = settings(spec, grace);
    // A setting of the request takes precedence over the default.
    let is_set = |name: &str| spec.env.iter().any(|(other, _)| other == name);
    let defaults = settings
        .into_iter()
        .filter(|(name, _)| !is_set(name))
        .map(|(name, value)| (name.to_owned(), value));
    let all = defaults.chain(spec.env.iter().cloned());
    variables.extend(all.map(|(name, value)| json!({ "name": name, "value": value })));
    variables.into()
}

fn settings(spec: &Spec, grace: u64) -> Vec<(&'static str, String)> {
    // Standard output would be the only place in the pod's log that is not JSON, and has the key.
    let mut settings = vec![("RAM_SIDECAR_PRINT_URI", "false".to_owned())];
    if let Some(role) = &spec.role {
        settings.push(("ALIBABA_CLOUD_ROLE_ARN", role.to_string()));
    }
    let text = str::to_owned;
    let identity = |name: &str| ("RAM_SIDECAR_IDENTITY", name.to_owned());
    match &spec.identity {
        Identity::Oidc { provider } => settings.extend([
            identity("oidc"),
            ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", provider.clone()),
            (
                "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
                format!("{TOKEN_PATH}/token"),
            ),
        ]),
        Identity::AccessKey { .. } => settings.extend([
            identity("access_key"),
            (
                "ALIBABA_CLOUD_ACCESS_KEY_ID_FILE",
                format!("{ACCESS_KEY_PATH}/access-key-id"),
            ),
            (
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE",
                format!("{ACCESS_KEY_PATH}/access-key-secret"),
            ),
        ]),
        Identity::CredentialsUri { uri } => settings.extend([
            identity("credentials_uri"),
            ("ALIBABA_CLOUD_CREDENTIALS_URI", uri.clone()),
        ]),
        Identity::EcsRamRole => settings.push(identity("ecs_ram_role")),
        Identity::Sandbox => {}
    }
    if spec.identity != Identity::Sandbox {
        settings.push(("RAM_SIDECAR_FILE", file()));
        settings.push(("RAM_SIDECAR_STATE", format!("{STATE_PATH}/state")));
    }
    if spec.ca_config_map.is_some() {
        // Source: the key that Kubernetes and cert-manager use.
        settings.push(("RAM_SIDECAR_CA_FILE", format!("{CA_PATH}/ca.crt")));
    }
    if let Some(region) = &spec.region {
        settings.push(("ALIBABA_CLOUD_STS_REGION", region.clone()));
    }
    if spec.vpc {
        settings.push(("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", text("true")));
    }
    if let Some(duration) = spec.duration {
        settings.push(("RAM_SIDECAR_DURATION", duration::format(duration)));
    }
    let endpoints = &spec.endpoints;
    let is_moved = endpoints.port != PORT;
    if is_moved {
        settings.push((
            "RAM_SIDECAR_LISTEN",
            format!("127.0.0.1:{}", endpoints.port),
        ));
    }
    if is_moved || spec.metrics {
        // On every address: the probes and the request to stop come over loopback.
        let ip = if spec.metrics { "0.0.0.0" } else { "127.0.0.1" };
        settings.push((
            "RAM_SIDECAR_ADMIN_LISTEN",
            format!("{ip}:{}", endpoints.admin_port()),
        ));
    }
    if endpoints.container {
        settings.push(("RAM_SIDECAR_CONTAINER", text("true")));
    }
    let metadata = match endpoints.metadata {
        Some(Metadata::Loopback) => Some(endpoints.metadata_address()),
        Some(Metadata::Address) => Some(text(METADATA_ADDRESS)),
        None => None,
    };
    if let Some(address) = metadata {
        settings.push(("RAM_SIDECAR_METADATA_LISTEN", address));
    }
    if endpoints.metadata == Some(Metadata::Loopback) {
        settings.push(("RAM_SIDECAR_METADATA_ROLE_NAME", text(INJECT_ROLE)));
    }
    if spec.mode == Mode::Classic {
        // All containers get SIGTERM at once, and the application's last upload still needs credentials.
        let drain = grace.min(MAX_GRACE_PERIOD).saturating_sub(SHUTDOWN_TIME);
        settings.push(("RAM_SIDECAR_DRAIN", format!("{drain}s")));
        // The application stops the sidecar at its end, and usually has another user.
        settings.push(("RAM_SIDECAR_ADMIN_STOP", text("anyone")));
    }
    settings
}

fn file() -> String {
    // The application may run as any user, and must be able to read the file.
    format!("{CREDENTIALS_PATH}/credentials,mode=0644")
}

/// Waits for credentials in the probe itself: a kubelet that asks again and again starts the application later, and drops
/// the events with the reason after 25.
fn startup_probe() -> Value {
    json!({
        "exec": { "command": [PROGRAM, "wait", "--timeout", "20s"] },
        // A restart would not correct a trust policy, so the probe must never fail: this is 68 years.
        "failureThreshold": i32::MAX,
        "periodSeconds": 1,
        "timeoutSeconds": 30,
    })
}

/// In the container, because the events then have what it prints; of a probe by http they have only the status.
fn readiness_probe() -> Value {
    json!({
        "exec": { "command": [PROGRAM, "health", "ready"] },
        "periodSeconds": 10,
        "timeoutSeconds": 5,
    })
}

/// A process that hangs is replaced after some 35 seconds: three probes fail, and it ignores the signal to stop.
fn liveness_probe() -> Value {
    json!({
        "exec": { "command": [PROGRAM, "health", "live"] },
        "periodSeconds": 10,
        // Otherwise it would have the grace period of the pod, which may be an hour.
        "terminationGracePeriodSeconds": 3,
        "timeoutSeconds": 5,
    })
}

/// Complies with the restricted Pod Security Standard.
fn security_context() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
        "runAsGroup": USER_ID,
        "runAsNonRoot": true,
        "runAsUser": USER_ID,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// The address of the ECS metadata service.
pub(super) const METADATA_ADDRESS: &str = "100.100.100.200:80";

/// The name of the sidecar.
pub(super) const NAME: &str = "ram-sidecar";

/// The name of the port of its metrics.
pub(super) const PORT_NAME: &str = "metrics";

/// The annotation of pods that have it, with what the injection decided.
pub(super) const MARKER: &str = "ram-sidecar/injected";

/// The name of the init container that gives the pod the address of the ECS metadata service.
pub(super) const ADDRESS: &str = "ram-sidecar-address";

/// `kubectl describe` then shows the last lines of the log of a container that has failed.
const MESSAGE_POLICY: &str = "FallbackToLogsOnError";

/// The only file of the image.
const PROGRAM: &str = "/ram-sidecar";

/// The user of the image.
const USER_ID: u32 = 65532;

/// Seconds (a week): limits the drain, because Kubernetes does not limit the grace period.
const MAX_GRACE_PERIOD: u64 = 604_800;

/// Seconds that the sidecar needs to shut down after the drain, before it is killed.
const SHUTDOWN_TIME: u64 = 2;
