//! Containers that another webhook adds to a pod that has the sidecar already.

use super::*;
use crate::inject::complete;
use crate::inject::workload::{Report, inject_into};

/// Returns a pod after injection to which a webhook adds a container to each list.
fn extended(request: &Request) -> Value {
    let mut pod = injected(&pod(), request).pod;
    let lists = ["initContainers", "containers"];
    for (list, name) in lists.into_iter().zip(["first", "proxy"]) {
        let list = &mut pod["spec"][list];
        if list.is_null() {
            *list = json!([]);
        }
        let list = list.as_array_mut().unwrap();
        list.push(json!({ "name": name, "image": "other" }));
    }
    pod
}

#[test]
fn later_containers_are_configured_like_the_others_and_nothing_else_changes() {
    let flags = [
        (Field::Port, "7012"),
        (Field::Key, "0"),
        (Field::Container, "true"),
        (Field::Metadata, "true"),
    ];
    for flags in [&[][..], &flags] {
        let before = extended(&request(flags).or(&rrsa()));
        let completed = complete(&before).unwrap();
        assert_eq!(patched(&before, &completed.operations), completed.pod);
        assert_eq!(
            completed.summary,
            "already has a container ram-sidecar, for the containers first, proxy too from now on"
        );
        let spec = &completed.pod["spec"];
        let main = &spec["containers"][0];
        for later in [&spec["containers"][1], &spec["initContainers"][1]] {
            assert_eq!(later["env"], main["env"]);
            assert_eq!(later["volumeMounts"], main["volumeMounts"]);
        }
        assert_eq!(spec["volumes"], before["spec"]["volumes"]);
        assert_eq!(*main, before["spec"]["containers"][0]);
        let again = complete(&completed.pod).unwrap();
        assert_eq!(again.operations, Vec::<Value>::new());
    }
}

#[test]
fn skipped_containers_stay_without_credentials_whoever_skipped_them() {
    for (flags, expected) in [
        ([(Field::SkipContainers, "main,proxy")], &["first"][..]),
        ([(Field::OnlyContainers, "other,proxy")], &["proxy"]),
        ([(Field::OnlyContainers, "main")], &[]),
    ] {
        let before = extended(&request(&flags).or(&rrsa()));
        let after = complete(&before).unwrap().pod;
        let lists = ["initContainers", "containers"].map(|list| after["spec"][list].as_array());
        let containers = lists.into_iter().flatten().flatten();
        let configured = containers.filter(|container| {
            let is_main = container["name"] == "main";
            !is_main && container.to_string().contains("CREDENTIALS_URI")
        });
        let names: Vec<&str> = configured
            .map(|container| container["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, expected, "{flags:?}");
    }
    // The pod's own annotation stays as it is.
    let mut annotated = pod();
    annotated["metadata"]["annotations"] = json!({ "ram-sidecar/skip-containers": "x" });
    let skip = request(&[(Field::SkipContainers, "y")]).or(&rrsa());
    let after = injected(&annotated, &skip).pod;
    assert_eq!(after["metadata"], annotated["metadata"]);
    // An empty one counts as unset, and stays too.
    annotated["metadata"]["annotations"] = json!({ "ram-sidecar/skip-containers": "" });
    let after = injected(&annotated, &skip).pod;
    assert_eq!(
        after["metadata"]["annotations"],
        json!({ "ram-sidecar/skip-containers": "", "pod-identity.alibabacloud.com/skip-containers": "y" })
    );
}

#[test]
fn a_container_that_ends_before_the_sidecar_starts_gets_nothing() {
    let mut before = injected(&pod(), &rrsa()).pod;
    let init = before["spec"]["initContainers"].as_array_mut().unwrap();
    init.insert(0, json!({ "name": "early" }));
    assert_eq!(complete(&before).unwrap().pod, before);

    let classic = request(&[(Field::Classic, "true")]).or(&rrsa());
    let after = complete(&extended(&classic)).unwrap();
    assert!(after.summary.contains("for the container proxy too"));
}

#[test]
fn a_sidecar_that_was_written_by_hand_is_left_alone() {
    for sidecar in [
        json!({ "name": "ram-sidecar" }),
        json!({ "name": "ram-sidecar", "env": [{ "name": "RAM_SIDECAR_KEY", "value": "k" }] }),
    ] {
        let mut before = pod();
        before["spec"]["initContainers"] = json!([sidecar]);
        assert_eq!(complete(&before).unwrap().pod, before);
    }
}

/// Adds a container to a pod that has the sidecar, and injects again.
fn again(mut pod: Value, later: &Value, request: &Request) -> (Value, Value) {
    pod["kind"] = "Pod".into();
    let containers = pod["spec"]["containers"].as_array_mut().unwrap();
    containers.extend(later.as_array().unwrap().iter().cloned());
    let before = pod.clone();
    let mut report = Report::default();
    inject_into(&mut pod, request, &mut report);
    assert_eq!(report.errors, [""; 0]);
    (before, pod)
}

#[test]
fn a_sidecar_on_ports_or_with_a_key_that_inject_never_chooses_is_left_alone() {
    let flags = [(Field::Port, "7012"), (Field::Key, "0")];
    let whole = injected(&pod(), &request(&flags).or(&rrsa())).pod;
    for (from, to) in [
        ("\"127.0.0.1:7012\"", "\"127.0.0.1:65534\""),
        ("\"127.0.0.1:7012\"", "\"127.0.0.1:65535\""),
        ("\"127.0.0.1:7012\"", "\"127.0.0.1:80\""),
        (
            r#""RAM_SIDECAR_KEY","value":"0""#,
            r#""RAM_SIDECAR_KEY","value":"a/b""#,
        ),
    ] {
        let text = whole.to_string();
        assert!(text.contains(from), "{text}");
        let changed = serde_json::from_str(&text.replacen(from, to, 1)).unwrap();
        let (before, after) = again(changed, &json!([{ "name": "later" }]), &rrsa());
        assert_eq!(after, before, "{to}");
    }
}
