//! Existing mounts, volumes, limits and settings of a pod.

use serde_json::{Value, json};

use super::{Injected, injected, pod, rrsa};
use crate::inject::tests::{ROLE, request};
use crate::inject::workload::{Report, inject_into};
use crate::inject::{Field, Request};

/// Injects into a pod with these volumes, whose container has these additional fields; returns the pod and the warnings.
fn with(fields: &Value, volumes: &Value) -> (Value, Vec<String>) {
    let mut pod = pod();
    let container = pod["spec"]["containers"][0].as_object_mut().unwrap();
    container.extend(fields.as_object().unwrap().clone());
    pod["spec"]["volumes"] = volumes.clone();
    let Injected { pod, warnings, .. } = injected(&pod, &rrsa());
    (pod, warnings)
}

fn mounts(pod: &Value) -> Vec<&str> {
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array();
    let mounts = mounts.unwrap().iter();
    mounts.map(|m| m["mountPath"].as_str().unwrap()).collect()
}

#[test]
fn no_mount_is_added_that_would_prevent_the_container_from_starting() {
    for (path, volume, warning) in [
        // The application's mount of the credentials volume is read-only: nothing could be mounted inside.
        (
            "/mnt/.alibabacloud/credentials",
            json!({"emptyDir": {}}),
            "already has a mount at /mnt/.alibabacloud/credentials: unchanged",
        ),
        (
            "/mnt",
            json!({"configMap": {"name": "c"}}),
            "read-only mount /mnt",
        ),
        (
            "/mnt/",
            json!({"secret": {"secretName": "c"}}),
            "read-only mount /mnt",
        ),
        (
            "/",
            json!({"persistentVolumeClaim": {"claimName": "c", "readOnly": true}}),
            "read-only",
        ),
    ] {
        let mut volume = volume;
        volume["name"] = "v".into();
        let fields = json!({"volumeMounts": [{"name": "v", "mountPath": path}]});
        let (pod, warnings) = with(&fields, &json!([volume]));
        assert_eq!(mounts(&pod), [path]);
        assert!(
            warnings.len() == 1 && warnings[0].contains(warning),
            "{warnings:?}"
        );
    }
    let fields = json!({"volumeMounts": [{"name": "v", "mountPath": "/mnt"}, {"name": "v", "mountPath": "/mnt/.alibaba"}]});
    let (pod, warnings) = with(&fields, &json!([{"name": "v", "nfs": {}}]));
    assert_eq!(mounts(&pod)[2], "/mnt/.alibabacloud");
    assert_eq!(
        warnings,
        [
            "container main mounts /mnt: an empty directory is created in that volume for /mnt/.alibabacloud"
        ]
    );
}

#[test]
fn a_guaranteed_pod_keeps_its_qos_class() {
    let whole = json!({"cpu": "8", "memory": "64Gi"});
    let fields = json!({"resources": {"limits": whole, "requests": whole}});
    let (pod, warnings) = with(&fields, &Value::Null);
    assert!(
        warnings[0].starts_with("keeps its QoS class Guaranteed"),
        "{warnings:?}"
    );
    let resources = &pod["spec"]["initContainers"][0]["resources"];
    assert_eq!(
        resources,
        &json!({"limits": {"cpu": "100m", "memory": "64Mi"}})
    );

    // If the whole pod has resources, the sidecar needs none, and there is no warning.
    let mut by_pod = pod.clone();
    by_pod["spec"]["initContainers"] = Value::Null;
    by_pod["metadata"]["annotations"] = Value::Null;
    by_pod["spec"]["resources"] = json!({"limits": whole});
    let Injected { pod, warnings, .. } = injected(&by_pod, &rrsa());
    assert!(pod["spec"]["initContainers"][0]["resources"].is_null());
    assert!(
        !warnings
            .iter()
            .any(|warning| warning.contains("Guaranteed")),
        "{warnings:?}"
    );
}

#[test]
fn a_token_volume_for_another_audience_or_path_is_reported() {
    for (audience, path, is_usable) in [
        ("sts.aliyuncs.com", "token", true),
        ("sts.aliyuncs.com", "other", false),
        ("vault", "token", false),
    ] {
        let token = json!({"serviceAccountToken": {"audience": audience, "path": path}});
        let volume = json!([{"name": "rrsa-oidc-token", "projected": {"sources": [token]}}]);
        let (pod, warnings) = with(&json!({}), &volume);
        assert_eq!(warnings.is_empty(), is_usable, "{warnings:?}");
        assert_eq!(pod["spec"]["volumes"][0], volume[0]);
    }
}

#[test]
fn variables_and_proxies_that_take_precedence_are_reported() {
    let (_, warnings) = with(
        &json!({"envFrom": [{"secretRef": {"name": "s"}}]}),
        &Value::Null,
    );
    assert!(
        warnings[0].contains("SDKs prefer an AccessKey from it"),
        "{warnings:?}"
    );
    let (_, warnings) = with(
        &json!({"env": [{"name": "http_proxy", "value": "http://p:1"}, {"name": "HTTPS_PROXY", "value": "http://p:1"}]}),
        &Value::Null,
    );
    assert_eq!(
        warnings,
        [
            "container main sets http_proxy: clients send their requests for credentials to that proxy, Python's SDKs whatever NO_PROXY says; they fail, or the proxy sees the credentials: remove it, HTTPS_PROXY may stay"
        ]
    );
    let (_, warnings) = with(&json!({"name": "istio-proxy"}), &Value::Null);
    assert!(warnings[0].contains("excludeOutboundPorts"), "{warnings:?}");
}

#[test]
fn a_mount_of_a_home_directory_may_hold_what_clients_prefer() {
    let told = |path: &str, variables: Value| {
        let fields = json!({
            "volumeMounts": [{"name": "v", "mountPath": path}],
            "env": variables,
        });
        let (_, warnings) = with(&fields, &json!([{"name": "v", "emptyDir": {}}]));
        warnings.join("\n")
    };
    let of_cli = "may have the credentials in ~/.aliyun/config.json";
    for (path, is_told) in [
        ("/root", true),
        ("/home", true),
        ("/home/job/", true),
        ("/home/job/.aliyun", true),
        ("/home/job/data", false),
        ("/data", false),
    ] {
        let warnings = told(path, json!([]));
        assert_eq!(warnings.contains(of_cli), is_told, "{path}: {warnings}");
    }
    let warnings = told("/root", json!([]));
    assert!(
        warnings.contains("which the default chain of php prefers to"),
        "{warnings}"
    );
    let key = json!([{"name": "ALIBABA_CLOUD_ECS_METADATA_DISABLED", "value": "false"}, {"name": "ALIBABA_CLOUD_ECS_METADATA", "value": "planted"}]);
    assert!(!told("/data", key).contains("planted"));
}

#[test]
fn a_proxy_for_everything_is_reported_unless_no_proxy_has_loopback() {
    for (variables, is_told) in [
        (&[("ALL_PROXY", "http://p:1")][..], true),
        (
            &[("all_proxy", "socks5://p:1"), ("NO_PROXY", ".local")],
            true,
        ),
        (
            &[
                ("ALL_PROXY", "http://p:1"),
                ("NO_PROXY", "127.0.0.1"),
                ("no_proxy", ""),
            ],
            true,
        ),
        (
            &[
                ("ALL_PROXY", "http://p:1"),
                ("no_proxy", "localhost, 127.0.0.1"),
            ],
            false,
        ),
        (
            &[
                ("ALL_PROXY", "http://p:1"),
                ("NO_PROXY", "127.0.0.0/8"),
                ("no_proxy", "*"),
            ],
            false,
        ),
        (&[("HTTPS_PROXY", "http://p:1")], false),
    ] {
        let env = variables.iter();
        let env: Vec<Value> = env
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        let (_, warnings) = with(&json!({"env": env}), &Value::Null);
        let name = variables[0].0;
        let expected = format!(
            "container main sets {name}: clients send their requests for credentials to that proxy; they fail, or the proxy sees the credentials: add 127.0.0.1,localhost to NO_PROXY and no_proxy"
        );
        let expected = if is_told { vec![expected] } else { Vec::new() };
        assert_eq!(warnings, expected, "{variables:?}");
    }
}

#[test]
fn a_container_without_a_name_is_told_by_its_index() {
    let mut service = pod();
    service["spec"]["containers"] =
        json!([{"image": "i", "env": [{"name": "HTTP_PROXY", "value": "http://p:1"}]}]);
    let Injected {
        summary, warnings, ..
    } = injected(&service, &rrsa());
    assert!(summary.ends_with(", for the container 0"), "{summary}");
    assert!(
        warnings[0].starts_with("container 0 sets HTTP_PROXY"),
        "{warnings:?}"
    );
}

#[test]
fn drain_is_capped_whatever_the_grace_period() {
    let mut pod = pod();
    pod["spec"]["terminationGracePeriodSeconds"] = json!(i64::MAX);
    let request = request(&[(Field::Classic, "true")]).or(&rrsa());
    let pod = injected(&pod, &request).pod;
    let env = pod["spec"]["containers"][1]["env"].as_array().unwrap();
    let drain = env
        .iter()
        .find(|entry| entry["name"] == "RAM_SIDECAR_DRAIN");
    let drain = drain.unwrap()["value"].as_str().unwrap();
    assert_eq!(drain, "604798s");
    assert!(crate::time::duration::parse(drain).is_ok());
}

#[test]
fn every_object_that_runs_containers_and_gets_nothing_is_named() {
    let image = || json!({"name": "main", "image": "i"});
    for (mut document, is_named) in [
        (
            json!({"kind": "DaskCluster", "spec": {"worker": {"spec": {"containers": [image()]}}}}),
            true,
        ),
        (
            json!({"kind": "CronWorkflow", "spec": {"workflowSpec": {"templates": [{"container": image()}]}}}),
            true,
        ),
        (json!({"kind": "Task", "spec": {"steps": [image()]}}), true),
        (
            json!({"apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "ScheduledSparkApplication", "spec": {"template": {"driver": {"cores": 1}}}}),
            true,
        ),
        (
            json!({"kind": "LLMInferenceService", "spec": {"template": {"containers": [image()]}}}),
            true,
        ),
        (json!({"kind": "ConfigMap", "data": {"image": "i"}}), false),
        (
            json!({"kind": "CustomResourceDefinition", "spec": {"containers": {"type": "array"}}}),
            false,
        ),
    ] {
        let mut report = Report::default();
        inject_into(&mut document, &rrsa(), &mut report);
        let kind = document["kind"].as_str().unwrap();
        let named: Vec<bool> = report
            .messages
            .iter()
            .map(|message| message.starts_with(&format!("{kind}/?: is unchanged, because")))
            .collect();
        assert_eq!(named, vec![true; usize::from(is_named)], "{document}");
    }
}

#[test]
fn a_label_with_another_value_is_explained() {
    let mut report = Report::default();
    let labels = json!({"labels": {"ram-sidecar/inject": "yes"}});
    let mut document = json!({"kind": "Pod", "metadata": labels, "spec": {"containers": [{}]}});
    inject_into(&mut document, &rrsa(), &mut report);
    let expected = "Pod/?: the label ram-sidecar/inject is \"yes\", so the pod gets no sidecar: write \"true\" or \"false\"";
    assert_eq!(report.messages, [expected]);
}

#[test]
fn pods_are_found_in_named_templates_and_in_lists_of_items_without_kind() {
    let spec = || json!({"containers": [{"name": "main"}]});
    for mut document in [
        json!({"kind": "LeaderWorkerSet", "spec": {"leaderWorkerTemplate": {
            "leaderTemplate": {"spec": spec()}, "workerTemplate": {"spec": spec()}}}}),
        json!({"kind": "PodList", "items": [{"spec": spec()}, {"spec": spec()}]}),
        json!({"kind": "PodTemplateList", "items": [{"template": {"spec": spec()}}, {"template": {"spec": spec()}}]}),
    ] {
        let mut report = Report::default();
        inject_into(&mut document, &rrsa(), &mut report);
        assert_eq!((report.pods, report.errors), (2, Vec::new()), "{document}");
        assert_eq!(document.to_string().matches(ROLE).count(), 2);
    }
    let mut report = Report::default();
    let mut document = json!({"kind": "X", "spec": {"urlTemplate": {"spec": {"containers": 3}}}});
    inject_into(&mut document, &Request::default(), &mut report);
    assert_eq!(report, Report::default());
}

#[test]
fn the_label_of_a_pod_that_has_the_sidecar_does_not_say_that_it_gets_none() {
    let mut document = injected(&pod(), &rrsa()).pod;
    document["kind"] = "Pod".into();
    document["metadata"]["labels"] = json!({"ram-sidecar/inject": "yes"});
    let mut report = Report::default();
    inject_into(&mut document, &rrsa(), &mut report);
    let expected = "Pod/trainer: already has a container ram-sidecar and is unchanged";
    assert_eq!(report.messages, [expected]);
}
