//! The sidecar's requests and limits, which keep the pod's class of service as it is, and what a namespace admits.

use serde_json::{Map, Value, json};

use super::json::{CONTAINER_LISTS, objects};
use super::spec::{Amount, Resources};
use super::values::quantity;

/// Returns the sidecar's resources in a pod with that spec, before it is added; `None` if it gets none.
pub(super) fn resources(spec: &Value, set: &Resources) -> Option<Value> {
    let is_guaranteed = is_guaranteed(spec);
    // A pod that has resources as a whole needs no defaults. No CPU limit without need: a throttled sidecar would delay
    // the application.
    let has_defaults = spec["resources"].is_null();
    let limits_cpu = has_defaults && all_limited(spec, "cpu");
    let (mut limits, mut requests) = (Map::new(), Map::new());
    for (name, request, limit, least, most) in [
        (
            "cpu",
            &set.request_cpu,
            &set.limit_cpu,
            "5m",
            limits_cpu.then_some(CPU),
        ),
        (
            "memory",
            &set.request_memory,
            &set.limit_memory,
            "16Mi",
            has_defaults.then_some(MEMORY),
        ),
    ] {
        let least = (has_defaults && !is_guaranteed).then_some(least);
        let (request, limit) = pair(request.as_ref(), limit.as_ref(), least, most);
        if let Some(limit) = limit {
            limits.insert(name.to_owned(), limit.into());
        }
        // An absent request is equal to the limit.
        if let Some(request) = request.filter(|_| !is_guaranteed || limit.is_none()) {
            requests.insert(name.to_owned(), request.into());
        }
    }
    let maps = [("limits", limits), ("requests", requests)];
    let maps = maps.into_iter().filter(|(_, map)| !map.is_empty());
    let resources: Map<String, Value> = maps
        .map(|(name, map)| (name.to_owned(), map.into()))
        .collect();
    (!resources.is_empty()).then(|| json!(resources))
}

/// Returns request and limit of one resource: a default yields to what is set, so that no request is above its limit.
fn pair<'a>(
    request: Option<&'a Amount>,
    limit: Option<&'a Amount>,
    least: Option<&'a str>,
    most: Option<&'a str>,
) -> (Option<&'a str>, Option<&'a str>) {
    fn text(amount: &Amount) -> Option<&str> {
        match amount {
            Amount::None => None,
            Amount::Quantity(text) => Some(text),
        }
    }
    let or = |amount: Option<&'a Amount>, default: Option<&'a str>| amount.map_or(default, text);
    let least = least.map(|least| {
        let limit = limit.and_then(text);
        limit.map_or(least, |limit| {
            if quantity(limit) < quantity(least) {
                limit
            } else {
                least
            }
        })
    });
    let request = or(request, least);
    let most = most.map(|most| {
        request.map_or(most, |request| {
            if quantity(request) > quantity(most) {
                request
            } else {
                most
            }
        })
    });
    (request, or(limit, most))
}

/// Whether the resources have a CPU limit.
pub(super) fn limits_cpu(resources: &Value) -> bool {
    !resources["limits"]["cpu"].is_null()
}

/// Whether a pod has the class of service `Guaranteed`, which jobs with exclusive CPUs need. Init containers count too.
pub(super) fn is_guaranteed(spec: &Value) -> bool {
    let all = |name: &str| {
        all_limited(spec, name)
            && containers(spec).all(|container| {
                let request = &container["resources"]["requests"][name];
                request.is_null() || *request == container["resources"]["limits"][name]
            })
    };
    all("cpu") && all("memory")
}

/// Whether all containers have a limit, as a quota of limits requires.
fn all_limited(spec: &Value, name: &str) -> bool {
    containers(spec).all(|container| !container["resources"]["limits"][name].is_null())
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    CONTAINER_LISTS.iter().flat_map(|list| objects(spec, list))
}

/// The CPU limit where one is needed: it serves some 1,500 requests a second.
const CPU: &str = "100m";

/// More than ten times the memory that was measured in a pod, a probe included.
const MEMORY: &str = "64Mi";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_its_qos_class() {
        let both = r#"{"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": 8}"#;
        let whole = format!(r#"{{"resources": {{"limits": {both}, "requests": {both}}}}}"#);
        let limited = format!(r#"{{"resources": {{"limits": {both}}}}}"#);
        let half = r#"{"resources": {"limits": {"memory": "1Gi"}}}"#;
        for (containers, first, is_guaranteed) in [
            (&*whole, "", true),
            (&limited, &*whole, true),
            (&whole, &limited, true),
            (&whole, "{}", false),
            ("{}", "", false),
            (half, "", false),
        ] {
            let spec = format!(r#"{{"containers": [{containers}], "initContainers": [{first}]}}"#);
            let resources =
                resources(&serde_json::from_str(&spec).unwrap(), &Resources::default()).unwrap();
            assert_eq!(
                !resources["limits"]["cpu"].is_null(),
                is_guaranteed,
                "{spec}"
            );
            assert_eq!(resources["requests"].is_null(), is_guaranteed, "{spec}");
        }
        let by_pod = json!({"containers": [{}], "resources": {"limits": {"cpu": "9"}}});
        assert_eq!(resources(&by_pod, &Resources::default()), None);
    }

    #[test]
    fn a_cpu_limit_is_set_when_all_containers_have_one() {
        let limited = json!({"resources": {"limits": {"cpu": "1", "memory": "2Gi"}, "requests": {"cpu": "500m"}}});
        for (first, is_limited) in [(limited.clone(), true), (json!({}), false)] {
            let spec = json!({"containers": [limited], "initContainers": [first]});
            let limits = json!({"memory": "64Mi", "cpu": "100m"});
            let resources = resources(&spec, &Resources::default()).unwrap();
            assert_eq!(resources["limits"] == limits, is_limited, "{resources}");
            assert_eq!(
                resources["requests"],
                json!({"cpu": "5m", "memory": "16Mi"})
            );
        }
    }

    #[test]
    fn what_is_set_replaces_a_default_and_other_defaults_yield() {
        fn amount(text: &str) -> Option<Amount> {
            match text {
                "" => None,
                "none" => Some(Amount::None),
                text => Some(Amount::Quantity(text.to_owned())),
            }
        }
        let whole = json!({"limits": {"cpu": "8", "memory": "64Gi"}});
        // Requests and limits that are set: CPU, then memory.
        for (pod, [request_cpu, limit_cpu, request_memory, limit_memory], expected) in [
            (
                json!({}),
                ["50m", "", "32Mi", ""],
                json!({"limits": {"memory": "64Mi"}, "requests": {"cpu": "50m", "memory": "32Mi"}}),
            ),
            (
                json!({}),
                ["", "0.2", "128Mi", ""],
                json!({"limits": {"cpu": "0.2", "memory": "128Mi"}, "requests": {"cpu": "5m", "memory": "128Mi"}}),
            ),
            (
                json!({}),
                ["", "2m", "", "12M"],
                json!({"limits": {"cpu": "2m", "memory": "12M"}, "requests": {"cpu": "2m", "memory": "12M"}}),
            ),
            (json!({}), ["none", "", "none", "none"], Value::Null),
            // A Guaranteed pod stays so: its requests are its limits.
            (
                whole.clone(),
                ["50m", "", "128Mi", ""],
                json!({"limits": {"cpu": "100m", "memory": "128Mi"}}),
            ),
            (
                whole,
                ["50m", "200m", "", ""],
                json!({"limits": {"cpu": "200m", "memory": "64Mi"}}),
            ),
        ] {
            let set = Resources {
                request_cpu: amount(request_cpu),
                limit_cpu: amount(limit_cpu),
                request_memory: amount(request_memory),
                limit_memory: amount(limit_memory),
            };
            let spec = json!({"containers": [{"resources": pod}]});
            let resources = resources(&spec, &set).unwrap_or_default();
            assert_eq!(resources, expected, "{set:?}");
        }
    }
}
