//! The injection, compared with the manifests and validated by Kubernetes' own libraries.

use std::io::Write as _;
use std::process::Stdio;

use ram_sidecar::inject::{Field, Injected, Request, inject};
use serde_json::{Value, json};

use super::object;
use crate::support::Scratch;
use crate::toolchains::Language;

const ROLE: &str = "acs:ram::1234567890123456:role/job";
const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c0123456789";

fn injected(pod: &Value, fields: &[(Field, &str)]) -> Injected {
    let mut request = Request::default();
    let names = [(Field::Role, ROLE), (Field::OidcProviderArn, PROVIDER)];
    for (field, text) in names.iter().chain(fields) {
        request.set(*field, *text, "a test");
    }
    inject(pod, &request.check().unwrap()).unwrap()
}

#[test]
fn injection_turns_bare_pods_into_the_examples() {
    for (example, fields) in [
        ("native", &[][..]),
        ("classic", &[(Field::Classic, "true")]),
    ] {
        let Some(pod) = object(example, "Pod") else {
            return;
        };
        let mut bare = pod.clone();
        let spec = bare["spec"].as_object_mut().unwrap();
        spec.remove("initContainers");
        spec.remove("volumes");
        let containers = spec["containers"].as_array_mut().unwrap();
        containers.truncate(1);
        let job = containers[0].as_object_mut().unwrap();
        assert!(job.remove("env").is_some() && job.remove("volumeMounts").is_some());

        // The hand-written examples have a shorter name.
        let text = injected(&bare, fields).pod.to_string();
        let mut injected: Value =
            serde_json::from_str(&text.replace("RAM_SIDECAR_POD_UID", "POD_UID")).unwrap();
        // What is written by hand stays as it is written.
        let metadata = injected["metadata"].as_object_mut().unwrap();
        assert!(metadata.remove("annotations").is_some());
        assert_eq!(injected, pod, "{example}");
    }
}

/// Pods, each with the Pod Security level that it complies with.
fn pods() -> Vec<(Value, &'static str)> {
    let safe = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": true,
        "seccompProfile": {"type": "RuntimeDefault"}
    });
    let pod = |spec: Value| json!({"metadata": {"name": "job"}, "spec": spec});
    let safe = json!({"name": "job", "image": "job", "securityContext": safe});
    let plain = json!({"name": "job", "image": "job"});
    vec![
        (pod(json!({"containers": [safe]})), "restricted"),
        (
            pod(json!({"containers": [safe], "initContainers": [], "volumes": null})),
            "restricted",
        ),
        (
            pod(json!({
                "containers": [{
                    "name": "job",
                    "image": "job",
                    "env": [{"name": "A~/B", "value": "$(x)"}],
                    "volumeMounts": [{"name": "work", "mountPath": "/work"}],
                    "securityContext": safe["securityContext"]
                }, {
                    "name": "other",
                    "image": "job",
                    "securityContext": safe["securityContext"]
                }],
                "initContainers": [{
                    "name": "first",
                    "image": "job",
                    "securityContext": safe["securityContext"]
                }],
                "volumes": [{"name": "work", "emptyDir": {}}]
            })),
            "restricted",
        ),
        (pod(json!({"containers": [plain]})), "baseline"),
        (
            pod(json!({"containers": [plain], "hostNetwork": true})),
            "privileged",
        ),
    ]
}

#[test]
fn injected_pods_are_valid_and_keep_their_pod_security_level() {
    let mut expected = Vec::new();
    let mut cases = Vec::new();
    for (pod, level) in pods() {
        for fields in [&[][..], &[(Field::Classic, "true")]] {
            cases.push(case(&pod, &injected(&pod, fields)));
            expected.push(json!({"before": level, "after": level, "problems": []}));
        }
    }
    let Some(results) = validated(&cases.into()) else {
        return;
    };
    assert_eq!(results, Value::from(expected));
}

#[test]
fn only_the_metadata_address_needs_the_privileged_level() {
    let (pod, _) = pods().swap_remove(0);
    let after = injected(&pod, &[(Field::MetadataAddress, "true")]);
    let Some(results) = validated(&json!([case(&pod, &after)])) else {
        return;
    };
    let expected = json!([{"before": "restricted", "after": "privileged", "problems": []}]);
    assert_eq!(results, expected);
}

#[test]
fn the_validator_finds_a_wrong_patch_and_an_unknown_field() {
    let (pod, _) = pods().swap_remove(0);
    let mut wrong = injected(&pod, &[]);
    wrong.operations.pop();
    let mut odd = pod.clone();
    odd["spec"]["hostNetwrok"] = json!(true);
    let Some(results) = validated(&json!([
        case(&pod, &wrong),
        {"before": odd},
    ])) else {
        return;
    };
    let problem = |index: usize| results[index]["problems"][0].as_str().unwrap();
    assert!(problem(0).starts_with("patch: makes "), "{results}");
    assert!(problem(1).contains("hostNetwrok"), "{results}");
}

/// Returns a case for the validator: whether the patch results in the injected pod, and whether that pod is valid.
fn case(before: &Value, injected: &Injected) -> Value {
    assert!(!injected.operations.is_empty());
    json!({"before": before, "after": injected.pod, "patch": injected.operations})
}

/// Validates pods with Kubernetes' own libraries; returns `None` if Go is not installed.
fn validated(cases: &Value) -> Option<Value> {
    let home = Scratch::new();
    let mut program = Language::Kubernetes.program("kubernetes", home.path())?;
    let mut child = program
        .arg("pods")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The program reads everything before it writes.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(cases.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
