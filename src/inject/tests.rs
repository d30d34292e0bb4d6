//! What an injection adds to pods, and what stays unchanged.

mod annotations;
mod completion;
mod endpoints;
mod existing;
mod identities;
mod modes;
mod pods;
mod preserved;
mod random;
mod request;
mod restricted;
mod scraping;

use serde_json::{Value, json};

use super::*;

const ROLE: &str = "acs:ram::1234567890123456:role/job";
const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1";

/// Returns the request that flags make.
fn request(fields: &[(Field, &str)]) -> Request {
    let mut request = Request::default();
    for (field, text) in fields {
        let names = FIELDS.iter().find(|names| names.field == *field).unwrap();
        request.set(*field, *text, format!("--{}", names.flag.unwrap()));
    }
    request
}

fn rrsa() -> Request {
    request(&[(Field::Role, ROLE), (Field::OidcProviderArn, PROVIDER)])
}

fn injected(pod: &Value, request: &Request) -> Injected {
    let injected = inject(pod, &request.for_pod(pod).check().unwrap()).unwrap();
    assert_eq!(patched(pod, &injected.operations), injected.pod);
    injected
}

/// Applies the operations with an independent implementation.
fn patched(pod: &Value, operations: &[Value]) -> Value {
    let mut pod = pod.clone();
    let operations = Value::Array(operations.to_vec());
    let operations: json_patch::Patch = serde_json::from_value(operations).unwrap();
    json_patch::patch(&mut pod, &operations).unwrap();
    pod
}

fn pod() -> Value {
    json!({
        "metadata": { "name": "trainer" },
        "spec": { "containers": [{ "name": "main", "image": "job" }] },
    })
}

#[test]
fn a_plain_pod_gets_a_native_sidecar_that_starts_first() {
    let Injected {
        pod,
        summary,
        warnings,
        ..
    } = injected(&pod(), &rrsa());
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(sidecar["name"], "ram-sidecar");
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(
        summary,
        format!("gets a native sidecar with the role {ROLE}, for the container main")
    );
    assert_eq!(warnings, [""; 0]);
    let names = names_of(&pod["spec"]["volumes"]);
    let expected = [
        "ram-sidecar-credentials",
        "ram-sidecar-state",
        "rrsa-oidc-token",
        "ram-sidecar-no-api-token",
    ];
    assert_eq!(names, expected);
    let main = &pod["spec"]["containers"][0];
    assert_eq!(
        main["env"],
        json!([
            { "name": "RAM_SIDECAR_POD_UID", "valueFrom": { "fieldRef": { "fieldPath": "metadata.uid" } } },
            { "name": "ALIBABA_CLOUD_CREDENTIALS_URI", "value": "http://127.0.0.1:7002/api/v1/credentials/$(RAM_SIDECAR_POD_UID)" },
            { "name": "ALIBABA_CLOUD_ECS_METADATA_DISABLED", "value": "true" },
        ])
    );
    assert_eq!(
        main["volumeMounts"],
        json!([{ "name": "ram-sidecar-credentials", "mountPath": "/mnt/.alibabacloud", "readOnly": true }])
    );
}

#[test]
fn a_probe_waits_for_credentials_and_a_sidecar_that_hangs_is_replaced_soon() {
    let pod = injected(&pod(), &rrsa()).pod;
    let sidecar = &pod["spec"]["initContainers"][0];
    let startup = &sidecar["startupProbe"];
    let command = json!(["/ram-sidecar", "wait", "--timeout", "20s"]);
    assert_eq!(startup["exec"]["command"], command);
    // The kubelet must not end the probe before it says what is wrong.
    assert_eq!(startup["timeoutSeconds"], 30);
    let liveness = &sidecar["livenessProbe"];
    let seconds = |name: &str| liveness[name].as_u64().unwrap();
    let failures = 3;
    let replaced = failures * seconds("periodSeconds")
        + seconds("timeoutSeconds")
        + seconds("terminationGracePeriodSeconds");
    assert!(replaced < 40, "{replaced} s");
    assert_eq!(liveness.get("failureThreshold"), None);
}

#[test]
fn the_token_for_the_api_server_stays_with_the_application() {
    let request = request(&[(Field::MetadataAddress, "true")]).or(&rrsa());
    let path = "/var/run/secrets/kubernetes.io/serviceaccount";
    for (automount, is_hidden) in [
        (json!(null), true),
        (json!(true), true),
        (json!(false), false),
    ] {
        let mut before = pod();
        before["spec"]["automountServiceAccountToken"] = automount;
        let spec = &injected(&before, &request).pod["spec"];
        for container in spec["initContainers"].as_array().unwrap() {
            let mounts = container["volumeMounts"].as_array().into_iter().flatten();
            let found = mounts.filter(|mount| mount["mountPath"] == path);
            assert_eq!(found.count(), usize::from(is_hidden), "{container}");
        }
        assert!(!spec["containers"].to_string().contains(path));
        let volumes = names_of(&spec["volumes"]);
        assert_eq!(volumes.contains(&"ram-sidecar-no-api-token"), is_hidden);
    }
}

#[test]
fn why_a_container_ended_is_a_part_of_its_status() {
    let request = request(&[(Field::MetadataAddress, "true")]).or(&rrsa());
    let pod = injected(&pod(), &request).pod;
    for container in pod["spec"]["initContainers"].as_array().unwrap() {
        assert_eq!(
            container["terminationMessagePolicy"],
            "FallbackToLogsOnError"
        );
    }
}

#[test]
fn a_pod_that_has_the_sidecar_stays_unchanged() {
    let once = injected(&pod(), &rrsa()).pod;
    let twice = injected(&once, &rrsa());
    assert_eq!(twice.pod, once);
    assert_eq!(
        twice.summary,
        "already has a container ram-sidecar and is unchanged"
    );
    assert_eq!(twice.warnings, [""; 0]);
}

#[test]
fn existing_settings_stay_unchanged_and_are_reported() {
    let before = json!({ "spec": {
        "hostNetwork": true,
        "volumes": [{ "name": "ram-sidecar-state", "emptyDir": {} }, { "name": "rrsa-oidc-token", "emptyDir": {} }],
        "containers": [
            {
                "name": "main",
                "env": [
                    { "name": "ALIBABA_CLOUD_CREDENTIALS_URI", "value": "http://localhost:1/" },
                    { "name": "ALIBABA_CLOUD_ACCESS_KEY_ID", "value": "LTAI" },
                    { "name": "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "value": "x" },
                ],
                "volumeMounts": [{ "name": "x", "mountPath": "/mnt/.alibabacloud/" }],
            },
            { "name": "below", "volumeMounts": [{ "name": "x", "mountPath": "/mnt", "readOnly": true }] },
            { "name": "beside", "volumeMounts": [{ "name": "x", "mountPath": "/mnt" }] },
        ],
    } });
    let Injected { pod, warnings, .. } = injected(&before, &rrsa());
    let containers = &pod["spec"]["containers"];
    assert_eq!(
        containers[0]["env"][0],
        before["spec"]["containers"][0]["env"][0]
    );
    assert_eq!(
        containers[0]["volumeMounts"],
        before["spec"]["containers"][0]["volumeMounts"]
    );
    assert_eq!(
        containers[1]["volumeMounts"],
        before["spec"]["containers"][1]["volumeMounts"]
    );
    assert_eq!(containers[2]["volumeMounts"].as_array().unwrap().len(), 2);
    let volumes = names_of(&pod["spec"]["volumes"]);
    assert_eq!(
        volumes,
        [
            "ram-sidecar-state",
            "rrsa-oidc-token",
            "ram-sidecar-credentials",
            "ram-sidecar-no-api-token"
        ]
    );
    assert_eq!(
        warnings,
        [
            "container main sets ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET, which the default chains of python, java, go, node, php prefer to the sidecar's credentials: remove unintended variables",
            "container main already sets ALIBABA_CLOUD_CREDENTIALS_URI: unchanged",
            "container main already has a mount at /mnt/.alibabacloud: unchanged",
            "container below gets no credentials file, because /mnt/.alibabacloud is inside its read-only mount /mnt",
            "container beside mounts /mnt: an empty directory is created in that volume for /mnt/.alibabacloud",
            "already has a volume ram-sidecar-state: unchanged",
            "already has a volume rrsa-oidc-token: unchanged",
            "shares the node's network: no other pod of this node may use the ports 7002 and 7003, choose them by --port (ram-sidecar/port)",
        ]
    );
}

#[test]
fn containers_are_skipped_and_selected_by_name_and_skipping_takes_precedence() {
    let mut before = pod();
    before["spec"]["containers"] = json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }]);
    before["spec"]["initContainers"] = json!([{ "name": "i" }]);
    let fields = [
        (Field::SkipContainers, "b, nobody"),
        (Field::OnlyContainers, "a,b,i"),
    ];
    let Injected {
        pod,
        summary,
        warnings,
        ..
    } = injected(&before, &request(&fields).or(&rrsa()));
    assert!(summary.ends_with(", for the containers i, a"), "{summary}");
    assert_eq!(
        warnings,
        ["has no container nobody: correct the containers to skip or to select"]
    );
    assert_eq!(pod["spec"]["containers"][1], json!({ "name": "b" }));
    let fields = [(Field::OnlyContainers, "nobody")];
    let summary = injected(&before, &request(&fields).or(&rrsa())).summary;
    assert!(summary.ends_with(", for no container"), "{summary}");
}

#[test]
fn pods_that_cannot_have_the_sidecar_are_rejected_with_the_reason() {
    let spec = rrsa().check().unwrap();
    let metadata = request(&[(Field::MetadataAddress, "true")])
        .or(&rrsa())
        .check()
        .unwrap();
    let loopback = request(&[(Field::Metadata, "true")])
        .or(&rrsa())
        .check()
        .unwrap();
    for (pod_spec, spec, reason) in [
        (json!(null), &spec, "spec is not an object"),
        (json!({}), &spec, "spec.containers is empty"),
        (
            json!({ "containers": {} }),
            &spec,
            "containers is not a list",
        ),
        (
            json!({ "containers": [1] }),
            &spec,
            "containers has an item that is not a container",
        ),
        (
            json!({ "containers": [{ "name": "a", "env": "A=b" }] }),
            &spec,
            "container a: env is not a list",
        ),
        (
            json!({ "containers": [{}], "volumes": {} }),
            &spec,
            "volumes is not a list",
        ),
        (
            json!({ "containers": [{}], "initContainers": "a" }),
            &spec,
            "initContainers is not a list",
        ),
        (
            json!({ "containers": [{}], "securityContext": 1 }),
            &metadata,
            "securityContext is not an object",
        ),
        (
            json!({ "containers": [{}], "os": { "name": "windows" } }),
            &spec,
            "the pod is for Windows",
        ),
        (
            json!({ "containers": [{}], "nodeSelector": { "kubernetes.io/os": "windows" } }),
            &spec,
            "the pod is for Windows",
        ),
        (
            json!({ "containers": [{}], "hostNetwork": true }),
            &metadata,
            "with hostNetwork the whole node would lose",
        ),
        (
            json!({ "containers": [{}], "hostNetwork": true }),
            &loopback,
            "with hostNetwork every program of the node",
        ),
        (
            json!({ "containers": [{ "name": "ram-sidecar-address" }] }),
            &metadata,
            "it has a container ram-sidecar-address but no sidecar",
        ),
    ] {
        let error = inject(&json!({ "spec": pod_spec }), spec)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(reason), "{pod_spec}: {error}");
    }
}

/// Returns the value of a variable.
fn variable<'a>(container: &'a Value, name: &str) -> &'a str {
    let env = container["env"].as_array().unwrap();
    let variable = env.iter().find(|variable| variable["name"] == name);
    variable.unwrap_or_else(|| panic!("{name} is not set"))["value"]
        .as_str()
        .unwrap()
}

fn names_of(list: &Value) -> Vec<&str> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap()).collect()
}
