//! The sidecar's requests and limits, which keep the pod's class of service as it is.

use serde_json::{Value, json};

use super::json::{CONTAINER_LISTS, objects};

/// Returns the sidecar's resources in a pod with that spec, before it is added; `None` if the pod as a whole has resources.
pub(super) fn resources(spec: &Value) -> Option<Value> {
    if !spec["resources"].is_null() {
        return None;
    }
    Some(if is_guaranteed(spec) {
        // Absent requests are equal to the limits. A tenth of a CPU serves some 1,500 requests a second.
        json!({ "limits": { "cpu": "100m", "memory": MEMORY } })
    } else {
        // No CPU limit: a throttled sidecar would delay the application.
        json!({ "limits": { "memory": MEMORY }, "requests": { "cpu": "5m", "memory": "16Mi" } })
    })
}

/// Whether the resources have a CPU limit.
pub(super) fn has_cpu_limit(resources: Option<&Value>) -> bool {
    resources.is_some_and(|resources| !resources["limits"]["cpu"].is_null())
}

/// Whether a pod has the class of service `Guaranteed`, which jobs with exclusive CPUs need. Init containers count too.
fn is_guaranteed(spec: &Value) -> bool {
    let mut containers = CONTAINER_LISTS.iter().flat_map(|list| objects(spec, list));
    containers.all(|container| {
        let resources = &container["resources"];
        ["cpu", "memory"].iter().all(|name| {
            let (limit, request) = (&resources["limits"][name], &resources["requests"][name]);
            !limit.is_null() && (request.is_null() || request == limit)
        })
    })
}

/// More than ten times the resident memory that was measured in a pod.
const MEMORY: &str = "64Mi";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_its_qos_class() {
        let both = r#"{"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": 8}"#;
        let whole = format!(r#"{{"resources": {{"limits": {both}, "requests": {both}}}}}"#);
        let limited = format!(r#"{{"resources": {{"limits": {both}}}}}"#);
        let less = format!(r#"{{"resources": {{"limits": {both}, "requests": {{"cpu": "7"}}}}}}"#);
        let half = r#"{"resources": {"limits": {"memory": "1Gi"}}}"#;
        for (containers, first, is_guaranteed) in [
            (&*whole, "", true),
            (&limited, &*whole, true),
            (&whole, &limited, true),
            (&whole, "{}", false),
            ("{}", "", false),
            (half, "", false),
            (&less, "", false),
        ] {
            let spec = format!(r#"{{"containers": [{containers}], "initContainers": [{first}]}}"#);
            let resources = resources(&serde_json::from_str(&spec).unwrap()).unwrap();
            assert_eq!(
                !resources["limits"]["cpu"].is_null(),
                is_guaranteed,
                "{spec}"
            );
            assert_eq!(resources["requests"].is_null(), is_guaranteed, "{spec}");
        }
        let by_pod = json!({"containers": [{}], "resources": {"limits": {"cpu": "9"}}});
        assert_eq!(resources(&by_pod), None);
    }
}
