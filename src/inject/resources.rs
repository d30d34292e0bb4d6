//! What the sidecar may use: so little, and so that the pod's class of service stays what it is.

use serde_json::{Map, Value, json};

/// Returns what the sidecar asks for in a pod that does not have it yet; nothing where the pod as a whole says it.
pub(super) fn resources(spec: &Map<String, Value>) -> Option<Value> {
    if spec.get("resources").is_some_and(|whole| !whole.is_null()) {
        return None;
    }
    Some(if is_guaranteed(spec) {
        // What is not requested is what the limits are. A tenth of a processor is some 1,500 answers a second.
        json!({ "limits": { "cpu": "100m", "memory": MEMORY } })
    } else {
        // No limit of the processor: throttled, it would keep the job waiting.
        json!({ "limits": { "memory": MEMORY }, "requests": { "cpu": "5m", "memory": "16Mi" } })
    })
}

/// Whether there is a limit of the processor among them.
pub(super) fn limits_processor(resources: Option<&Value>) -> bool {
    resources.is_some_and(|resources| !resources["limits"]["cpu"].is_null())
}

/// Whether all that its containers use is set aside for them: the class Guaranteed, which jobs with processors of their own
/// need. Init containers count too.
fn is_guaranteed(spec: &Map<String, Value>) -> bool {
    let lists =
        ["containers", "initContainers"].map(|list| spec.get(list).and_then(Value::as_array));
    let mut containers = lists.into_iter().flatten().flatten();
    containers.all(|container| {
        let resources = &container["resources"];
        ["cpu", "memory"].iter().all(|name| {
            let (limit, request) = (&resources["limits"][name], &resources["requests"][name]);
            !limit.is_null() && (request.is_null() || request == limit)
        })
    })
}

/// More than ten times what it was seen to take in a pod.
const MEMORY: &str = "64Mi";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_its_class_of_service() {
        let of = |spec: &Value| resources(spec.as_object().unwrap());
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
            let told = of(&serde_json::from_str(&spec).unwrap()).unwrap();
            assert_eq!(!told["limits"]["cpu"].is_null(), is_guaranteed, "{spec}");
            assert_eq!(told["requests"].is_null(), is_guaranteed, "{spec}");
        }
        let by_pod = json!({"containers": [{}], "resources": {"limits": {"cpu": "9"}}});
        assert_eq!(of(&by_pod), None);
    }
}
