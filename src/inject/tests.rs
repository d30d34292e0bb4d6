//! What is added to pods, and what is not.

mod annotations;
mod company;
mod drawn;
mod holds;
mod identities;
mod modes;
mod pods;
mod restricted;
mod words;

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

#[test]
fn what_the_user_has_set_stays_and_is_told() {
    let theirs = json!({ "spec": {
        "hostNetwork": true,
        "volumes": [{ "name": "ram-sidecar-state", "emptyDir": {} }, { "name": "rrsa-oidc-token", "emptyDir": {} }],
        "containers": [
            {
                "name": "own",
                "env": [
                    { "name": "ALIBABA_CLOUD_CREDENTIALS_URI", "value": "http://localhost:1/" },
                    { "name": "ALIBABA_CLOUD_ACCESS_KEY_ID", "value": "LTAI" },
                ],
                "volumeMounts": [{ "name": "x", "mountPath": "/mnt/.alibabacloud/" }],
            },
            { "name": "below", "volumeMounts": [{ "name": "x", "mountPath": "/mnt", "readOnly": true }] },
            { "name": "beside", "volumeMounts": [{ "name": "x", "mountPath": "/mnt" }] },
        ],
    } });
    let Injected { pod, notes } = injected(&theirs, &rrsa());
    let containers = &pod["spec"]["containers"];
    assert_eq!(
        containers[0]["env"][0],
        theirs["spec"]["containers"][0]["env"][0]
    );
    assert_eq!(
        containers[0]["volumeMounts"],
        theirs["spec"]["containers"][0]["volumeMounts"]
    );
    assert_eq!(
        containers[1]["volumeMounts"],
        theirs["spec"]["containers"][1]["volumeMounts"]
    );
    assert_eq!(containers[2]["volumeMounts"].as_array().unwrap().len(), 2);
    let volumes = objects_of(&pod["spec"]["volumes"]);
    assert_eq!(
        volumes,
        [
            "ram-sidecar-state",
            "rrsa-oidc-token",
            "ram-sidecar-credentials"
        ]
    );
    assert_eq!(
        notes[1..],
        [
            "container own has ALIBABA_CLOUD_ACCESS_KEY_ID in its environment, which SDKs take before the sidecar's credentials: remove what is not meant",
            "container own keeps its own ALIBABA_CLOUD_CREDENTIALS_URI",
            "container own keeps its own mount at /mnt/.alibabacloud",
            "container below gets no file of credentials, because it mounts /mnt read-only, and /mnt/.alibabacloud would be in it",
            "container beside mounts /mnt, in which an empty directory is made for /mnt/.alibabacloud",
            "keeps its own volume ram-sidecar-state",
            "keeps its own volume rrsa-oidc-token",
            "shares the node's network: no other pod of this node may use its ports 7002 and 7003",
        ]
    );
}

#[test]
fn containers_are_skipped_and_chosen_by_name_and_skipping_wins() {
    let mut theirs = pod();
    theirs["spec"]["containers"] = json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }]);
    theirs["spec"]["initContainers"] = json!([{ "name": "i" }]);
    let words = [
        (Word::SkipContainers, "b, nobody"),
        (Word::OnlyContainers, "a,b,i"),
    ];
    let Injected { pod, notes } = injected(&theirs, &wanted(&words).or(&rrsa()));
    assert!(notes[0].ends_with(", for the containers i, a"), "{notes:?}");
    assert_eq!(notes[1..], ["has no container nobody to skip or to choose"]);
    assert_eq!(pod["spec"]["containers"][1], json!({ "name": "b" }));
    let words = [(Word::OnlyContainers, "nobody")];
    let notes = injected(&theirs, &wanted(&words).or(&rrsa())).notes;
    assert!(notes[0].ends_with(", for no container"), "{notes:?}");
}

#[test]
fn pods_that_cannot_have_it_are_refused_with_the_reason() {
    let wish = rrsa().checked().unwrap();
    let metadata = wanted(&[(Word::Metadata, "true")])
        .or(&rrsa())
        .checked()
        .unwrap();
    for (spec, wish, told) in [
        (json!(null), &wish, "spec is no object"),
        (json!({}), &wish, "spec.containers is empty"),
        (json!({ "containers": {} }), &wish, "containers is no list"),
        (
            json!({ "containers": [1] }),
            &wish,
            "containers holds what is no container",
        ),
        (
            json!({ "containers": [{ "name": "a", "env": "A=b" }] }),
            &wish,
            "container a: env is no list",
        ),
        (
            json!({ "containers": [{}], "volumes": {} }),
            &wish,
            "volumes is no list",
        ),
        (
            json!({ "containers": [{}], "initContainers": "a" }),
            &wish,
            "initContainers is no list",
        ),
        (
            json!({ "containers": [{}], "securityContext": 1 }),
            &metadata,
            "securityContext is no object",
        ),
        (
            json!({ "containers": [{}], "os": { "name": "windows" } }),
            &wish,
            "it is a pod for Windows",
        ),
        (
            json!({ "containers": [{}], "nodeSelector": { "kubernetes.io/os": "windows" } }),
            &wish,
            "it is a pod for Windows",
        ),
        (
            json!({ "containers": [{}], "hostNetwork": true }),
            &metadata,
            "with hostNetwork it would take the node's own way",
        ),
        (
            json!({ "containers": [{ "name": "ram-sidecar-address" }] }),
            &metadata,
            "it has a container ram-sidecar-address but none ram-sidecar",
        ),
    ] {
        let refusal = inject(&json!({ "spec": spec }), wish)
            .unwrap_err()
            .to_string();
        assert!(refusal.starts_with(told), "{spec}: {refusal}");
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

fn objects_of(list: &Value) -> Vec<&str> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap()).collect()
}
