//! The restricted Pod Security Standard, by its text: <https://kubernetes.io/docs/concepts/security/pod-security-standards/>.

use serde_json::{Value, json};

/// Returns everything in a pod that the standard forbids.
pub(super) fn violations(pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let context = &spec["securityContext"];
    let mut found = Vec::new();
    let mut forbid = |is_there: bool, what: &str| {
        if is_there {
            found.push(what.to_owned());
        }
    };
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        forbid(spec[field] == true, field);
    }
    for sysctl in items(&context["sysctls"]) {
        forbid(
            !SYSCTLS.iter().any(|safe| sysctl["name"] == *safe),
            "an unsafe sysctl",
        );
    }
    for volume in items(&spec["volumes"]) {
        let fields = volume.as_object().unwrap();
        let kinds = fields.keys().filter(|key| *key != "name");
        for kind in kinds {
            forbid(
                !VOLUMES.contains(&kind.as_str()),
                &format!("a volume {kind}"),
            );
        }
    }
    of_context(context, &mut forbid);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items(&spec[list]) {
            of_container(container, context, &mut forbid);
        }
    }
    found
}

fn of_container(container: &Value, of_pod: &Value, forbid: &mut dyn FnMut(bool, &str)) {
    let name = &container["name"];
    let context = &container["securityContext"];
    let mut forbid = |is_there: bool, what: &str| forbid(is_there, &format!("{name}: {what}"));
    forbid(context["privileged"] == true, "privileged");
    forbid(
        context["allowPrivilegeEscalation"] != false,
        "allowPrivilegeEscalation",
    );
    let capabilities = &context["capabilities"];
    forbid(
        !items(&capabilities["drop"]).any(|name| name == "ALL"),
        "not all capabilities are dropped",
    );
    forbid(
        items(&capabilities["add"]).any(|name| name != "NET_BIND_SERVICE"),
        "a capability",
    );
    let is_default = |value: &Value| value.is_null() || value == "Default";
    forbid(!is_default(&context["procMount"]), "procMount");
    let either = |field: &str| {
        if context[field].is_null() {
            of_pod[field].clone()
        } else {
            context[field].clone()
        }
    };
    forbid(either("runAsNonRoot") != true, "runAsNonRoot");
    let seccomp = &either("seccompProfile")["type"];
    forbid(
        !["RuntimeDefault", "Localhost"]
            .iter()
            .any(|known| seccomp == known),
        "seccompProfile",
    );
    for port in items(&container["ports"]) {
        forbid(
            !matches!(port["hostPort"].as_u64(), None | Some(0)),
            "hostPort",
        );
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        for handler in ["httpGet", "tcpSocket"] {
            forbid(
                !container[probe][handler]["host"].is_null(),
                "the host of a probe",
            );
        }
    }
    of_context(context, &mut forbid);
}

/// Checks the fields that both the pod's and a container's security context may have.
fn of_context(context: &Value, forbid: &mut dyn FnMut(bool, &str)) {
    forbid(
        context["windowsOptions"]["hostProcess"] == true,
        "hostProcess",
    );
    forbid(context["runAsUser"] == 0, "runAsUser 0");
    forbid(
        context["seccompProfile"]["type"] == "Unconfined",
        "seccompProfile",
    );
    forbid(
        context["appArmorProfile"]["type"] == "Unconfined",
        "appArmorProfile",
    );
    let selinux = &context["seLinuxOptions"];
    let types = [
        json!(null),
        json!(""),
        json!("container_t"),
        json!("container_init_t"),
        json!("container_kvm_t"),
        json!("container_engine_t"),
    ];
    forbid(!types.contains(&selinux["type"]), "seLinuxOptions");
    forbid(
        !selinux["user"].is_null() || !selinux["role"].is_null(),
        "seLinuxOptions",
    );
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

const SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
];
