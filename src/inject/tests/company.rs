//! What is in the pod already, and how the sidecar gets along with it.

use serde_json::{Value, json};

use super::{Injected, injected, pod, rrsa};
use crate::inject::tests::{ROLE, wanted};
use crate::inject::workload::{Told, inject_into};
use crate::inject::{Wanted, Word};

/// Injects into a pod whose container has these fields besides, and the pod those volumes.
fn with(fields: &Value, volumes: &Value) -> (Value, Vec<String>) {
    let mut pod = pod();
    let container = pod["spec"]["containers"][0].as_object_mut().unwrap();
    container.extend(fields.as_object().unwrap().clone());
    pod["spec"]["volumes"] = volumes.clone();
    let Injected { pod, notes } = injected(&pod, &rrsa());
    (pod, notes[1..].to_vec())
}

fn mounts(pod: &Value) -> Vec<&str> {
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array();
    let mounts = mounts.unwrap().iter();
    mounts.map(|m| m["mountPath"].as_str().unwrap()).collect()
}

#[test]
fn no_mount_is_added_where_the_container_could_not_start_with_it() {
    for (path, volume, told) in [
        // In ours, which is read-only for the job, nothing could be mounted.
        (
            "/mnt/.alibabacloud/credentials",
            json!({"emptyDir": {}}),
            "keeps its own mount at /mnt/.alibabacloud/credentials",
        ),
        (
            "/mnt",
            json!({"configMap": {"name": "c"}}),
            "/mnt read-only",
        ),
        (
            "/mnt/",
            json!({"secret": {"secretName": "c"}}),
            "/mnt read-only",
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
        let (pod, notes) = with(&fields, &json!([volume]));
        assert_eq!(mounts(&pod), [path]);
        assert!(notes.len() == 1 && notes[0].contains(told), "{notes:?}");
    }
    let fields = json!({"volumeMounts": [{"name": "v", "mountPath": "/mnt"}, {"name": "v", "mountPath": "/mnt/.alibaba"}]});
    let (pod, notes) = with(&fields, &json!([{"name": "v", "nfs": {}}]));
    assert_eq!(mounts(&pod)[2], "/mnt/.alibabacloud");
    assert_eq!(
        notes,
        ["container main mounts /mnt, in which an empty directory is made for /mnt/.alibabacloud"]
    );
}

#[test]
fn a_job_with_processors_of_its_own_keeps_them() {
    let whole = json!({"cpu": "8", "memory": "64Gi"});
    let fields = json!({"resources": {"limits": whole, "requests": whole}});
    let (pod, notes) = with(&fields, &Value::Null);
    assert!(
        notes[0].starts_with("keeps the class Guaranteed"),
        "{notes:?}"
    );
    let resources = &pod["spec"]["initContainers"][0]["resources"];
    assert_eq!(
        resources,
        &json!({"limits": {"cpu": "100m", "memory": "64Mi"}})
    );

    // What the pod as a whole may use is divided by nobody, and nothing is told that was not done.
    let mut by_pod = pod.clone();
    by_pod["spec"]["initContainers"] = Value::Null;
    by_pod["spec"]["resources"] = json!({"limits": whole});
    let Injected { pod, notes } = injected(&by_pod, &rrsa());
    assert!(pod["spec"]["initContainers"][0]["resources"].is_null());
    assert!(
        !notes.iter().any(|note| note.contains("Guaranteed")),
        "{notes:?}"
    );
}

#[test]
fn a_volume_that_is_no_token_for_sts_is_told() {
    for (audience, path, is_theirs) in [
        ("sts.aliyuncs.com", "token", true),
        ("sts.aliyuncs.com", "other", false),
        ("vault", "token", false),
    ] {
        let token = json!({"serviceAccountToken": {"audience": audience, "path": path}});
        let volume = json!([{"name": "rrsa-oidc-token", "projected": {"sources": [token]}}]);
        let (pod, notes) = with(&json!({}), &volume);
        assert_eq!(notes.is_empty(), is_theirs, "{notes:?}");
        assert_eq!(pod["spec"]["volumes"][0], volume[0]);
    }
}

#[test]
fn what_may_come_before_it_is_told() {
    let (_, notes) = with(
        &json!({"envFrom": [{"secretRef": {"name": "s"}}]}),
        &Value::Null,
    );
    assert!(
        notes[0].contains("by envFrom, which count less"),
        "{notes:?}"
    );
    let (_, notes) = with(&json!({"name": "istio-proxy"}), &Value::Null);
    assert!(notes[0].contains("excludeOutboundPorts"), "{notes:?}");
}

#[test]
fn a_grace_beyond_all_bounds_is_no_drain_beyond_all_bounds() {
    let mut pod = pod();
    pod["spec"]["terminationGracePeriodSeconds"] = json!(i64::MAX);
    let wanted = wanted(&[(Word::Classic, "true")]).or(&rrsa());
    let pod = injected(&pod, &wanted).pod;
    let env = pod["spec"]["containers"][1]["env"].as_array().unwrap();
    let drain = env
        .iter()
        .find(|entry| entry["name"] == "RAM_SIDECAR_DRAIN");
    let drain = drain.unwrap()["value"].as_str().unwrap();
    assert_eq!(drain, "604798s");
    assert!(crate::time::duration::parse(drain).is_ok());
}

#[test]
fn pods_are_found_by_other_names_and_in_lists_that_do_not_say_it_again() {
    let spec = || json!({"containers": [{"name": "main"}]});
    for mut document in [
        json!({"kind": "LeaderWorkerSet", "spec": {"leaderWorkerTemplate": {
            "leaderTemplate": {"spec": spec()}, "workerTemplate": {"spec": spec()}}}}),
        json!({"kind": "PodList", "items": [{"spec": spec()}, {"spec": spec()}]}),
        json!({"kind": "PodTemplateList", "items": [{"template": {"spec": spec()}}, {"template": {"spec": spec()}}]}),
    ] {
        let mut told = Told::default();
        inject_into(&mut document, &rrsa(), &mut told);
        assert_eq!((told.pods, told.mistakes), (2, Vec::new()), "{document}");
        assert_eq!(document.to_string().matches(ROLE).count(), 2);
    }
    let mut told = Told::default();
    let mut document = json!({"kind": "X", "spec": {"urlTemplate": {"spec": {"containers": 3}}}});
    inject_into(&mut document, &Wanted::default(), &mut told);
    assert_eq!(told, Told::default());
}
