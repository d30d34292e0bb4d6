//! The classic sidecar, and the one that is the ECS metadata service.

use super::*;

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
    let metadata = super::wanted(&[(Word::Metadata, "true")]).or(&wanted);
    let told = injected(&pod, &metadata).notes;
    assert!(
        told.iter().any(|told| told.ends_with("after them: data")),
        "{told:?}"
    );
    // Whoever gets nothing by wish is not told.
    for skipped in [
        wanted
            .clone()
            .or(&super::wanted(&[(Word::SkipContainers, "data")])),
        wanted
            .clone()
            .or(&super::wanted(&[(Word::OnlyContainers, "main")])),
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
