//! What is added to pods, and what is not.

use serde_json::{Value, json};

use super::*;

const ROLE: &str = "acs:ram::1234567890123456:role/job";
const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1";

/// What was said, as flags say it.
fn wanted(words: &[(Word, &str)]) -> Wanted {
    let mut wanted = Wanted::default();
    for (word, text) in words {
        let place = PLACES.iter().find(|place| place.word == *word).unwrap();
        wanted.say(*word, *text, format!("--{}", place.flag.unwrap()));
    }
    wanted
}

fn rrsa() -> Wanted {
    wanted(&[(Word::Role, ROLE), (Word::OidcProviderArn, PROVIDER)])
}

fn injected(pod: &Value, wanted: &Wanted) -> Injected {
    inject(pod, &wanted.of_pod(pod).checked().unwrap()).unwrap()
}

fn pod() -> Value {
    json!({
        "metadata": { "name": "trainer" },
        "spec": { "containers": [{ "name": "main", "image": "job" }] },
    })
}

#[test]
fn a_plain_pod_gets_a_native_sidecar_that_starts_first() {
    let Injected { pod, notes } = injected(&pod(), &rrsa());
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(sidecar["name"], "ram-sidecar");
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(
        notes,
        [format!(
            "gets a native sidecar with the role {ROLE}, for the container main"
        )]
    );
    let names: Vec<&str> = objects_of(&pod["spec"]["volumes"]);
    let ours = [
        "ram-sidecar-credentials",
        "ram-sidecar-state",
        "rrsa-oidc-token",
    ];
    assert_eq!(names, ours);
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
fn a_pod_that_has_it_is_left_as_it_is() {
    let once = injected(&pod(), &rrsa()).pod;
    let twice = injected(&once, &rrsa());
    assert_eq!(twice.pod, once);
    assert_eq!(
        twice.notes,
        ["has a container ram-sidecar already, and is left as it is"]
    );
}

fn objects_of(list: &Value) -> Vec<&str> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap()).collect()
}
