//! Containers that another webhook adds to a pod that has the sidecar already.

use super::*;
use crate::inject::workload::{Report, inject_into};

fn complete(pod: &Value) -> Result<Injected, Error> {
    crate::inject::complete(pod, &Request::default())
}

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
}

#[test]
fn an_annotation_has_what_an_injection_decided() {
    let fields = [(Field::SkipContainers, "y"), (Field::OnlyContainers, "a,b")];
    let select = request(&fields).or(&rrsa());
    let annotated = |annotations: Value, request: &Request| {
        let mut before = pod();
        before["metadata"]["annotations"] = annotations;
        injected(&before, request).pod["metadata"]["annotations"].clone()
    };
    assert_eq!(
        annotated(Value::Null, &rrsa()),
        json!({ "ram-sidecar/injected": r#"{"containers":["main"]}"# })
    );
    let decided = r#"{"containers":["main"],"skip":["y"],"only":["a","b"]}"#;
    let empty = json!({ "ram-sidecar/skip-containers": "" });
    assert_eq!(
        annotated(empty, &select),
        json!({ "ram-sidecar/skip-containers": "", "ram-sidecar/injected": decided })
    );
    let decided = r#"{"containers":["main"],"skip":["x"],"only":["a","b"]}"#;
    let own = json!({ "ram-sidecar/skip-containers": "x" });
    assert_eq!(
        annotated(own, &select),
        json!({ "ram-sidecar/skip-containers": "x", "ram-sidecar/injected": decided })
    );
    // Without the sidecar, it is wrong about the containers.
    let mut stale = pod();
    stale["metadata"]["annotations"] = json!({ "ram-sidecar/injected": decided });
    let error = inject(&stale, &rrsa().check().unwrap()).unwrap_err();
    let expected =
        "it has the annotation ram-sidecar/injected but no sidecar; remove the annotation";
    assert_eq!(error.to_string(), expected);
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
fn later_containers_are_skipped_by_the_flags_and_the_annotations_of_today_and_of_the_injection() {
    let names = |fields: &[(Field, &str)], later: &[(Field, &str)], annotations: &Value| {
        let mut pod = injected(&pod(), &request(fields).or(&rrsa())).pod;
        let all = annotations.as_object().unwrap().clone();
        pod["metadata"]["annotations"]
            .as_object_mut()
            .unwrap()
            .extend(all);
        let added = json!([{ "name": "a" }, { "name": "b" }]);
        let (_, after) = again(pod, &added, &request(later).or(&rrsa()));
        let containers = after["spec"]["containers"].as_array().unwrap().clone();
        let configured = containers.iter().filter(|container| {
            ["a", "b"].iter().any(|name| container["name"] == *name)
                && container.to_string().contains("CREDENTIALS_URI")
        });
        let names = configured.map(|container| container["name"].as_str().unwrap());
        names.collect::<Vec<&str>>().join(",")
    };
    let none = json!({});
    let skip_a = &[(Field::SkipContainers, "a")][..];
    let only_b = &[(Field::OnlyContainers, "b")][..];
    assert_eq!(names(&[], &[], &none), "a,b");
    assert_eq!(names(&[], skip_a, &none), "b");
    assert_eq!(names(&[], only_b, &none), "b");
    assert_eq!(names(skip_a, &[], &none), "b");
    assert_eq!(names(only_b, skip_a, &none), "b");
    assert_eq!(names(skip_a, only_b, &none), "b");
    let annotated = json!({ "ram-sidecar/skip-containers": "b" });
    assert_eq!(names(&[], &[], &annotated), "a");
    assert_eq!(names(skip_a, &[], &annotated), "");
    let malformed = json!({ "ram-sidecar/skip-containers": "b,," });
    assert_eq!(names(&[], &[], &malformed), "");
}

#[test]
fn only_containers_that_were_added_after_an_injection_are_configured() {
    // Its variables were deleted by hand.
    let mut whole = injected(&pod(), &rrsa()).pod;
    let main = whole["spec"]["containers"][0].as_object_mut().unwrap();
    main.remove("env");
    main.remove("volumeMounts");
    let (before, after) = again(whole, &json!([]), &rrsa());
    assert_eq!(after, before);
    // Written by hand, after an example.
    let mut by_hand = injected(&pod(), &rrsa()).pod;
    by_hand["metadata"] = json!({ "name": "trainer" });
    let (before, after) = again(by_hand, &json!([{ "name": "untrusted" }]), &rrsa());
    assert_eq!(after, before);
}

#[test]
fn containers_that_a_flag_skipped_stay_skipped_whatever_annotations_are_empty() {
    let mut empty = pod();
    empty["metadata"]["annotations"] = json!({
        "ram-sidecar/skip-containers": "",
        "pod-identity.alibabacloud.com/skip-containers": "",
    });
    let skip = request(&[(Field::SkipContainers, "main,other")]).or(&rrsa());
    let once = injected(&empty, &skip).pod;
    let (before, after) = again(once, &json!([{ "name": "other" }]), &rrsa());
    assert_eq!(after, before);
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
