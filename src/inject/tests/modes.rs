//! The classic sidecar, and the one that serves the ECS metadata address.

use super::*;

#[test]
fn a_classic_sidecar_comes_last_and_drains_until_the_grace_period_ends() {
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
        let request = request(&[(Field::Classic, "true")]).or(&rrsa());
        let Injected { pod, notes, .. } = injected(&pod, &request);
        let spec = &pod["spec"];
        assert_eq!(objects_of(&spec["containers"]), ["main", "ram-sidecar"]);
        assert!(spec["containers"][1].get("restartPolicy").is_none());
        assert_eq!(variable(&spec["containers"][1], "RAM_SIDECAR_DRAIN"), drain);
        // The sidecar has not started yet when they run.
        assert_eq!(
            spec["initContainers"],
            json!([{ "name": "data", "image": "x" }])
        );
        assert!(notes[0].ends_with("for the container main"), "{notes:?}");
        let end = "completes only after the sidecar has ended: let the job's container end with `curl -X POST http://127.0.0.1:7003/stop`";
        let init = "has init containers that get no credentials, because a classic sidecar starts after them: data";
        assert_eq!(notes[1..], [init, end]);
    }
    pod["spec"]["restartPolicy"] = json!("Always");
    let request = request(&[(Field::Classic, "true")]).or(&rrsa());
    assert_eq!(injected(&pod, &request).notes.len(), 2);
    let metadata = super::request(&[(Field::Metadata, "true")]).or(&request);
    let notes = injected(&pod, &metadata).notes;
    assert!(
        notes.iter().any(|note| note.ends_with("after them: data")),
        "{notes:?}"
    );
    // Containers that are skipped on purpose are not noted.
    for skipped in [
        request
            .clone()
            .or(&super::request(&[(Field::SkipContainers, "data")])),
        request
            .clone()
            .or(&super::request(&[(Field::OnlyContainers, "main")])),
    ] {
        assert_eq!(injected(&pod, &skipped).notes.len(), 1);
    }
    pod["spec"]["initContainers"] = json!([]);
    assert_eq!(injected(&pod, &request).notes.len(), 1);
}

#[test]
fn the_metadata_address_container_comes_first_and_the_sidecar_may_listen() {
    let request = request(&[(Field::Metadata, "true")]).or(&rrsa());
    let Injected {
        pod: after, notes, ..
    } = injected(&pod(), &request);
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
    // The variable would keep the SDKs from asking.
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
    let Injected {
        pod: after, notes, ..
    } = injected(&theirs, &request);
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
    assert!(notes.contains(&"container main sets ALIBABA_CLOUD_ECS_METADATA_DISABLED, which keeps SDKs from asking the metadata service: remove it".to_owned()), "{notes:?}");
}
