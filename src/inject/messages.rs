//! Messages to the owner of a pod: sentences about the pod, without a subject and a final stop.

use serde_json::Value;

use super::annotations::INJECT_LABEL;
use super::check::account_of;
use super::json::{INIT_CONTAINERS, has_container, objects, text_of, uses_host_network};
use super::sidecar::{ADDRESS, NAME};
use super::spec::{Identity, Key, Metadata, Mode, Spec};

/// Explains a label that neither opts in nor out.
pub(super) fn invalid_label(value: &str) -> String {
    format!(
        "the label {INJECT_LABEL} is {value:?}, so the pod gets no sidecar: write \"true\" or \"false\""
    )
}

/// Reports that a pod already has the sidecar.
pub(super) fn already_injected() -> String {
    format!("already has a container {NAME} and is unchanged")
}

/// Reports containers that were added after the sidecar, and are configured to use it.
pub(super) fn completed(configured: &[String]) -> String {
    let (containers, get) = match configured {
        [] => return format!("already has a container {NAME}"),
        [one] => (format!("the container {one}"), "gets"),
        several => (format!("the containers {}", several.join(", ")), "get"),
    };
    format!(
        "already has a container {NAME}, which is unchanged; {containers} {get} the credentials too"
    )
}

/// Says that a sidecar that is there already keeps what a request wants to change.
pub(super) fn kept(what: &str, place: &str) -> String {
    format!(
        "keeps the {what} of its sidecar, so {place} has no effect: inject into the manifest without the sidecar to change it"
    )
}

/// Reports the field that types from before Kubernetes 1.28 lose, without which the API server refuses the sidecar's probes.
pub(super) fn restored() -> String {
    format!(
        "had lost the restartPolicy of {NAME}, because its operator is older than Kubernetes 1.28: restored; update the operator"
    )
}

/// Reports the sidecar that a pod gets, and the containers that are configured to use it.
pub(super) fn summary(spec: &Spec, configured: &[String]) -> String {
    let mode = match spec.mode {
        Mode::Native => "a native sidecar",
        Mode::Classic => "a classic sidecar",
    };
    let role = match (&spec.role, &spec.identity) {
        (Some(role), _) => format!("the role {role}"),
        (None, Identity::Sandbox) => {
            "an embedded STS, whose credentials no service accepts".to_owned()
        }
        (None, _) => "the identity's own credentials".to_owned(),
    };
    format!("gets {mode} with {role}, {}", named(configured))
}

fn named(containers: &[String]) -> String {
    match containers {
        [] => "for no container".to_owned(),
        [one] => format!("for the container {one}"),
        several => format!("for the containers {}", several.join(", ")),
    }
}

/// Warns of what the pod now requires of its cluster, and of what its owner has to do.
pub(super) fn warnings(pod: &Value, spec: &Spec) -> Vec<String> {
    let mut warnings = Vec::new();
    if spec.endpoints.metadata == Some(Metadata::Address) {
        warnings.push(format!("needs a namespace with the privileged Pod Security level, because {ADDRESS} has the capability NET_ADMIN"));
    }
    if spec.endpoints.metadata == Some(Metadata::Loopback) {
        let address = spec.endpoints.metadata_address();
        warnings.push(format!("serves the ECS metadata dialect at {address} only, for tools that know ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT: tools that know only 100.100.100.200 need --metadata-address (ram-sidecar/metadata-address)"));
    }
    if uses_host_network(pod) {
        let (port, admin) = (spec.endpoints.port, spec.endpoints.admin_port());
        warnings.push(format!(
            "shares the node's network: no other pod of this node may use the ports {port} and {admin}, choose them by --port (ram-sidecar/port)"
        ));
        if spec.metrics {
            warnings.push(format!(
                "shares the node's network: whoever reaches the node reads the metrics and the probes at the port {admin}, limit who does, or leave out --metrics (ram-sidecar/metrics)"
            ));
        }
        if spec.endpoints.key != Key::PodUid {
            warnings.push("shares the node's network and has a key that its manifest shows: every program of the node that knows it gets the credentials".to_owned());
        }
    }
    if let (Some(role), Identity::Oidc { provider }) = (&spec.role, &spec.identity)
        && let Some(account) = account_of(provider)
        && account != role.account()
        && !spec
            .env
            .iter()
            .any(|(name, _)| name == "RAM_SIDECAR_ROLE_VIA")
    {
        let other = role.account();
        warnings.push(format!("has a role of the account {other}, but its OIDC provider is of the account {account}, for which STS refuses it: use a role of that account, or --env RAM_SIDECAR_ROLE_VIA with one that may assume this role"));
    }
    if has_container(pod, "istio-proxy") {
        warnings.push("has a container istio-proxy: if Istio's CNI plugin redirects traffic before that has started, add port 443 (STS) to the pod's annotation traffic.sidecar.istio.io/excludeOutboundPorts".to_owned());
    }
    if spec.mode == Mode::Classic {
        let init = objects(&pod["spec"], INIT_CONTAINERS).map(|init| text_of(init, "name"));
        let without_credentials: Vec<&str> = init
            .filter(|name| *name != ADDRESS && spec.selection.selects(name))
            .collect();
        if !without_credentials.is_empty() {
            warnings.push(format!(
                "has init containers that get no credentials, because a classic sidecar starts after them: {}",
                without_credentials.join(", ")
            ));
        }
        let policy = pod["spec"].get("restartPolicy");
        if policy.is_some_and(|policy| policy != "Always") {
            warnings.push(stop(spec));
        }
    }
    warnings
}

/// Says what a job has to do about a classic sidecar at its end.
pub(super) fn stop(spec: &Spec) -> String {
    let port = spec.endpoints.admin_port();
    format!(
        "completes only after the sidecar has exited: run `curl -X POST http://127.0.0.1:{port}/stop` at the end of the main container"
    )
}
