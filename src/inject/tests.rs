//! What is added to pods, and what is not.

mod company;
mod identities;
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
fn a_classic_sidecar_stands_last_and_outlasts_the_job() {
    let mut pod = pod();
    pod["spec"]["initContainers"] = json!([{ "name": "data", "image": "x" }]);
    pod["spec"]["restartPolicy"] = json!("Never");
    for (grace, drain) in [
        (None, "28s"),
        (Some(600), "598s"),
        (Some(1), "0s"),
        (Some(0), "0s"),
    ] {
        if let Some(grace) = grace {
            pod["spec"]["terminationGracePeriodSeconds"] = json!(grace);
        }
        let wanted = wanted(&[(Word::Classic, "true")]).or(&rrsa());
        let Injected { pod, notes } = injected(&pod, &wanted);
        let spec = &pod["spec"];
        assert_eq!(objects_of(&spec["containers"]), ["main", "ram-sidecar"]);
        assert!(spec["containers"][1].get("restartPolicy").is_none());
        assert_eq!(variable(&spec["containers"][1], "RAM_SIDECAR_DRAIN"), drain);
        // It is not there yet.
        assert_eq!(
            spec["initContainers"],
            json!([{ "name": "data", "image": "x" }])
        );
        assert!(notes[0].ends_with("for the container main"), "{notes:?}");
        let end = "ends only when the sidecar does: let the job's container end with `curl -X POST http://127.0.0.1:7003/stop`";
        let init = "has init containers that get nothing, because a classic sidecar starts after them: data";
        assert_eq!(notes[1..], [init, end]);
    }
    pod["spec"]["restartPolicy"] = json!("Always");
    let wanted = wanted(&[(Word::Classic, "true")]).or(&rrsa());
    assert_eq!(injected(&pod, &wanted).notes.len(), 2);
    let metadata = self::wanted(&[(Word::Metadata, "true")]).or(&wanted);
    let told = injected(&pod, &metadata).notes;
    assert!(
        told.iter().any(|told| told.ends_with("after them: data")),
        "{told:?}"
    );
    // Whoever gets nothing by wish is not told.
    for skipped in [
        wanted
            .clone()
            .or(&self::wanted(&[(Word::SkipContainers, "data")])),
        wanted
            .clone()
            .or(&self::wanted(&[(Word::OnlyContainers, "main")])),
    ] {
        assert_eq!(injected(&pod, &skipped).notes.len(), 1);
    }
    pod["spec"]["initContainers"] = json!([]);
    assert_eq!(injected(&pod, &wanted).notes.len(), 1);
}

#[test]
fn the_metadata_address_comes_before_the_sidecar_and_lets_it_listen() {
    let wanted = wanted(&[(Word::Metadata, "true")]).or(&rrsa());
    let Injected { pod: after, notes } = injected(&pod(), &wanted);
    let spec = &after["spec"];
    assert_eq!(
        objects_of(&spec["initContainers"]),
        ["ram-sidecar-address", "ram-sidecar"]
    );
    let address = &spec["initContainers"][0];
    assert_eq!(address["args"], json!(["metadata-address"]));
    assert_eq!(address["securityContext"]["runAsNonRoot"], false);
    assert_eq!(
        address["securityContext"]["capabilities"],
        json!({ "add": ["NET_ADMIN"], "drop": ["ALL"] })
    );
    let listen = variable(&spec["initContainers"][1], "RAM_SIDECAR_METADATA_LISTEN");
    assert_eq!(listen, "100.100.100.200:80");
    let sysctl = json!([{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }]);
    assert_eq!(spec["securityContext"]["sysctls"], sysctl);
    // With it the SDKs would not ask.
    assert!(!after.to_string().contains("METADATA_DISABLED"));
    assert_eq!(
        notes[1..],
        [
            "needs a namespace with the privileged Pod Security level, because ram-sidecar-address has the capability NET_ADMIN"
        ]
    );

    let mut theirs = pod();
    theirs["spec"]["securityContext"] =
        json!({ "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "80" }] });
    theirs["spec"]["containers"][0]["env"] =
        json!([{ "name": "ALIBABA_CLOUD_ECS_METADATA_DISABLED", "value": "true" }]);
    let Injected { pod: after, notes } = injected(&theirs, &wanted);
    assert_eq!(
        after["spec"]["securityContext"],
        theirs["spec"]["securityContext"]
    );
    assert!(
        notes.contains(
            &"keeps its own net.ipv4.ip_unprivileged_port_start, which must be at most 80"
                .to_owned()
        ),
        "{notes:?}"
    );
    assert!(notes.contains(&"container main sets ALIBABA_CLOUD_ECS_METADATA_DISABLED, with which no SDK asks the metadata service".to_owned()), "{notes:?}");
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
