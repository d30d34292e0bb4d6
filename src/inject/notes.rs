//! What the owner of a pod should know of an injection, in sentences without a final stop.

use serde_json::Value;

use super::json::{INIT, has_container, objects, text_of};
use super::sidecar::{ADDRESS, NAME};
use super::spec::{Identity, Mode, Spec};

/// Says that a pod has the sidecar already.
pub(super) fn already_injected() -> String {
    format!("has a container {NAME} already, and is left as it is")
}

/// Says what a pod gets, and which of its containers use it.
pub(super) fn summary(spec: &Spec, led: &[String]) -> String {
    let mode = match spec.mode {
        Mode::Native => "a native sidecar",
        Mode::Classic => "a classic sidecar",
    };
    let role = match (&spec.role, &spec.identity) {
        (Some(role), _) => format!("the role {role}"),
        (None, Identity::Sandbox) => {
            "an embedded STS, whose credentials are valid nowhere".to_owned()
        }
        (None, _) => "the identity's own credentials".to_owned(),
    };
    let led = match led {
        [] => "for no container".to_owned(),
        [one] => format!("for the container {one}"),
        several => format!("for the containers {}", several.join(", ")),
    };
    format!("gets {mode} with {role}, {led}")
}

/// Says what the pod now needs of its surroundings, and what it has to do itself.
pub(super) fn remarks(pod: &Value, spec: &Spec) -> Vec<String> {
    let mut remarks = Vec::new();
    if spec.metadata {
        remarks.push(format!("needs a namespace with the privileged Pod Security level, because {ADDRESS} has the capability NET_ADMIN"));
    }
    if is_on_host(pod) {
        remarks.push(
            "shares the node's network: no other pod of this node may use the ports 7002 and 7003"
                .to_owned(),
        );
    }
    if has_container(pod, "istio-proxy") {
        remarks.push("has a container istio-proxy: if Istio's CNI plugin redirects traffic before that has started, add port 443 (STS) to the pod's annotation traffic.sidecar.istio.io/excludeOutboundPorts".to_owned());
    }
    if spec.mode == Mode::Classic {
        let init = objects(&pod["spec"], INIT).map(|init| text_of(init, "name"));
        let early: Vec<&str> = init
            .filter(|name| *name != ADDRESS && spec.concerns(name))
            .collect();
        if !early.is_empty() {
            remarks.push(format!(
                "has init containers that get no credentials, because a classic sidecar starts after them: {}",
                early.join(", ")
            ));
        }
        let policy = pod["spec"].get("restartPolicy");
        if policy.is_some_and(|policy| policy != "Always") {
            remarks.push("completes only after the sidecar has ended: let the job's container end with `curl -X POST http://127.0.0.1:7003/stop`".to_owned());
        }
    }
    remarks
}

/// Whether a pod uses the network of its node.
pub(super) fn is_on_host(pod: &Value) -> bool {
    pod["spec"]["hostNetwork"] == true
}
