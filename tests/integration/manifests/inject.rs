//! The injection, held to the manifests and to Kubernetes' own libraries.

use std::io::Write as _;
use std::process::Stdio;

use ram_sidecar::inject::{Wanted, Word, inject, patch};
use serde_json::{Value, json};

use super::object;
use crate::support::Scratch;
use crate::toolchains::Language;

const ROLE: &str = "acs:ram::1234567890123456:role/job";
const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c0123456789";

fn injected(pod: &Value, words: &[(Word, &str)]) -> Value {
    let mut wanted = Wanted::default();
    let names = [(Word::Role, ROLE), (Word::OidcProviderArn, PROVIDER)];
    for (word, text) in names.iter().chain(words) {
        wanted.say(*word, *text, "a test");
    }
    inject(pod, &wanted.checked().unwrap()).unwrap().pod
}

#[test]
fn a_bare_pod_gets_what_the_examples_have() {
    for (example, words) in [("native", &[][..]), ("classic", &[(Word::Classic, "true")])] {
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

        // A hand has written a shorter name.
        let text = injected(&bare, words).to_string();
        let injected: Value =
            serde_json::from_str(&text.replace("RAM_SIDECAR_POD_UID", "POD_UID")).unwrap();
        assert_eq!(injected, pod, "{example}");
    }
}

/// Pods that meet a level of Pod Security, as the last field says.
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
fn kubernetes_finds_nothing_wrong_and_the_standard_that_was_met_is_met() {
    let mut expected = Vec::new();
    let mut questions = Vec::new();
    for (pod, level) in pods() {
        for words in [&[][..], &[(Word::Classic, "true")]] {
            let after = injected(&pod, words);
            let patch = patch::patch(&pod, &after);
            assert!(!patch.is_empty());
            questions.push(json!({"before": pod, "after": after, "patch": patch}));
            expected.push(json!({"before": level, "after": level, "problems": []}));
        }
    }
    let Some(verdicts) = judged(&questions.into()) else {
        return;
    };
    assert_eq!(verdicts, Value::from(expected));
}

#[test]
fn only_the_address_of_the_metadata_service_needs_the_privileged_level() {
    let (pod, _) = pods().swap_remove(0);
    let after = injected(&pod, &[(Word::Metadata, "true")]);
    let patch = patch::patch(&pod, &after);
    let question = json!([{"before": pod, "after": after, "patch": patch}]);
    let Some(verdicts) = judged(&question) else {
        return;
    };
    let expected = json!([{"before": "restricted", "after": "privileged", "problems": []}]);
    assert_eq!(verdicts, expected);
}

#[test]
fn a_patch_that_makes_something_else_and_a_field_that_no_pod_has_are_found() {
    let (pod, _) = pods().swap_remove(0);
    let after = injected(&pod, &[]);
    let mut wrong = patch::patch(&pod, &after);
    wrong.pop();
    let mut odd = pod.clone();
    odd["spec"]["hostNetwrok"] = json!(true);
    let Some(verdicts) = judged(&json!([
        {"before": pod, "after": after, "patch": wrong},
        {"before": odd},
    ])) else {
        return;
    };
    let problem = |index: usize| verdicts[index]["problems"][0].as_str().unwrap();
    assert!(problem(0).starts_with("patch: makes "), "{verdicts}");
    assert!(problem(1).contains("hostNetwrok"), "{verdicts}");
}

/// Lets Kubernetes' own libraries judge pods; nothing where Go is not installed.
fn judged(questions: &Value) -> Option<Value> {
    let home = Scratch::new();
    let mut program = Language::Kubernetes.program("kubernetes", home.path())?;
    let mut child = program
        .arg("pods")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It reads all before it writes.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(questions.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
