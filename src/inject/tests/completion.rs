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
            "already has a container ram-sidecar, which is unchanged; the containers first, proxy get the credentials too"
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
fn a_port_and_a_key_that_a_sidecar_does_not_get_any_more_are_told() {
    let kept = |what: &str, flag: &str| {
        format!(
            "Pod/trainer: keeps the {what} of its sidecar, so {flag} has no effect: inject into the manifest without the sidecar to change it"
        )
    };
    let others = [(Field::Key, "0"), (Field::Port, "7012")];
    let told = |flags: &[(Field, &str)]| {
        let mut document = extended(&rrsa());
        document["kind"] = json!("Pod");
        let mut report = Report::default();
        inject_into(&mut document, &request(flags), &mut report);
        report.messages.split_off(1)
    };
    let expected = [kept("port 7002", "--port"), kept("key", "--key")];
    assert_eq!(told(&others), expected);
    assert_eq!(told(&[]), [""; 0]);
    assert_eq!(
        told(&[(Field::Key, "pod-uid"), (Field::Port, "7002")]),
        [""; 0]
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
    assert!(
        after
            .summary
            .contains("the container proxy gets the credentials too")
    );
}

#[test]
fn a_restart_policy_that_an_old_operator_has_dropped_is_restored() {
    let whole = injected(&pod(), &rrsa()).pod;
    let mut before = whole.clone();
    let sidecar = before["spec"]["initContainers"][0].as_object_mut().unwrap();
    sidecar.remove("restartPolicy");
    let completed = complete(&before).unwrap();
    assert_eq!(completed.pod, whole);
    assert_eq!(patched(&before, &completed.operations), whole);
    assert_eq!(completed.summary, "already has a container ram-sidecar");
    assert_eq!(
        completed.warnings,
        [
            "had lost the restartPolicy of ram-sidecar, because its operator is older than Kubernetes 1.28: restored; update the operator"
        ]
    );
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
