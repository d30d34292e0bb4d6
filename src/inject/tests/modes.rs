//! The classic sidecar, and the one that has the address of the ECS metadata service.

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
        let Injected {
            pod,
            summary,
            warnings,
            ..
        } = injected(&pod, &request);
        let spec = &pod["spec"];
        assert_eq!(names_of(&spec["containers"]), ["main", "ram-sidecar"]);
        assert!(spec["containers"][1].get("restartPolicy").is_none());
        assert_eq!(variable(&spec["containers"][1], "RAM_SIDECAR_DRAIN"), drain);
        assert_eq!(
            variable(&spec["containers"][1], "RAM_SIDECAR_ADMIN_STOP"),
            "anyone"
        );
        // A classic sidecar has not started yet when init containers run.
        assert_eq!(
            spec["initContainers"],
            json!([{ "name": "data", "image": "x" }])
        );
        assert!(summary.ends_with("for the container main"), "{summary}");
        let end = "completes only after the sidecar has exited: run `curl -X POST http://127.0.0.1:7003/stop` at the end of the main container";
        let init = "has init containers that get no credentials, because a classic sidecar starts after them: data";
        assert_eq!(warnings, [init, end]);
    }
    pod["spec"]["restartPolicy"] = json!("Always");
    let request = request(&[(Field::Classic, "true")]).or(&rrsa());
    assert_eq!(injected(&pod, &request).warnings.len(), 1);
    let metadata = super::request(&[(Field::MetadataAddress, "true")]).or(&request);
    let warnings = injected(&pod, &metadata).warnings;
    assert!(
        warnings
            .iter()
            .any(|warning| warning.ends_with("after them: data")),
        "{warnings:?}"
    );
    // Containers that are skipped on purpose cause no warning.
    for skipped in [
        request
            .clone()
            .or(&super::request(&[(Field::SkipContainers, "data")])),
        request
            .clone()
            .or(&super::request(&[(Field::OnlyContainers, "main")])),
    ] {
        assert_eq!(injected(&pod, &skipped).warnings.len(), 0);
    }
    pod["spec"]["initContainers"] = json!([]);
    assert_eq!(injected(&pod, &request).warnings.len(), 0);
}

#[test]
fn the_metadata_address_container_comes_first_and_the_sidecar_may_listen_on_port_80() {
    let request = request(&[(Field::MetadataAddress, "true")]).or(&rrsa());
    let Injected {
        pod: after,
        warnings,
        ..
    } = injected(&pod(), &request);
    let spec = &after["spec"];
    assert_eq!(
        names_of(&spec["initContainers"]),
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
    // With that variable, SDKs would not use the metadata service.
    assert!(!after.to_string().contains("METADATA_DISABLED"));
    assert_eq!(
        warnings,
        [
            "needs a namespace with the privileged Pod Security level, because ram-sidecar-address has the capability NET_ADMIN"
        ]
    );

    let mut before = pod();
    before["spec"]["securityContext"] =
        json!({ "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "80" }] });
    before["spec"]["containers"][0]["env"] =
        json!([{ "name": "ALIBABA_CLOUD_ECS_METADATA_DISABLED", "value": "true" }]);
    let Injected {
        pod: after,
        warnings,
        ..
    } = injected(&before, &request);
    assert_eq!(
        after["spec"]["securityContext"],
        before["spec"]["securityContext"]
    );
    assert!(
        warnings.contains(
            &"already sets net.ipv4.ip_unprivileged_port_start: unchanged, it must be at most 80"
                .to_owned()
        ),
        "{warnings:?}"
    );
    assert!(warnings.contains(&"container main sets ALIBABA_CLOUD_ECS_METADATA_DISABLED, which stops SDKs from using the metadata service: remove it".to_owned()), "{warnings:?}");
}

#[test]
fn the_metadata_dialect_on_loopback_needs_no_address_and_no_privilege() {
    let request = request(&[(Field::Metadata, "true")]).or(&rrsa());
    let Injected {
        pod: after,
        warnings,
        ..
    } = injected(&pod(), &request);
    let spec = &after["spec"];
    assert_eq!(names_of(&spec["initContainers"]), ["ram-sidecar"]);
    assert_eq!(spec["securityContext"], Value::Null);
    let listen = variable(&spec["initContainers"][0], "RAM_SIDECAR_METADATA_LISTEN");
    let endpoint = variable(
        &spec["containers"][0],
        "ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT",
    );
    assert_eq!(
        (listen, endpoint),
        ("127.0.0.1:7004", "http://127.0.0.1:7004")
    );
    // With that variable, opendal would not use the metadata service.
    assert!(!after.to_string().contains("METADATA_DISABLED"));
    // SDKs that know only the fixed address ask the node for a role that it does not have.
    let role = variable(&spec["containers"][0], "ALIBABA_CLOUD_ECS_METADATA");
    assert_eq!(role, "ram-sidecar-inject");
    let sidecar = &spec["initContainers"][0];
    assert_eq!(variable(sidecar, "RAM_SIDECAR_METADATA_ROLE_NAME"), role);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let mut named = request.clone();
    named.add_setting("RAM_SIDECAR_METADATA_ROLE_NAME=other");
    let errors = named.check().unwrap_err();
    assert!(errors[0].contains("is set by --metadata"), "{errors:?}");
    // The address includes it: clients request it there by default.
    let both = super::request(&[(Field::MetadataAddress, "true")]).or(&request);
    let after = injected(&pod(), &both).pod.to_string();
    assert!(
        after.contains("100.100.100.200:80") && !after.contains("7004"),
        "{after}"
    );
}

#[test]
fn aws_clients_get_their_address_a_token_and_no_checksums() {
    let request = request(&[(Field::Container, "true")]).or(&rrsa());
    let Injected {
        pod: after,
        warnings,
        ..
    } = injected(&pod(), &request);
    assert_eq!(warnings, [""; 0]);
    let spec = &after["spec"];
    let sidecar = &spec["initContainers"][0];
    assert_eq!(variable(sidecar, "RAM_SIDECAR_CONTAINER"), "true");
    let main = &spec["containers"][0];
    for (name, value) in [
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "http://127.0.0.1:7002/api/v1/container/$(RAM_SIDECAR_POD_UID)",
        ),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            "/var/run/secrets/ram-sidecar-container/token",
        ),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required"),
        ("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required"),
    ] {
        assert_eq!(variable(main, name), value);
    }
    // The kubelet writes the token, with the default mode 0644.
    let volumes = spec["volumes"].as_array().unwrap();
    let volume = volumes
        .iter()
        .find(|volume| volume["name"] == "ram-sidecar-container-token");
    let uid = json!([{ "path": "token", "fieldRef": { "fieldPath": "metadata.uid" } }]);
    assert_eq!(volume.unwrap()["downwardAPI"], json!({ "items": uid }));
    assert_eq!(
        main["volumeMounts"][1],
        json!({ "name": "ram-sidecar-container-token", "mountPath": "/var/run/secrets/ram-sidecar-container", "readOnly": true })
    );
    // The sidecar does not require it: clients older than the variable send none.
    assert!(!sidecar.to_string().contains("container-token"));

    // A variable without its file would stop every AWS SDK.
    let mut before = pod();
    before["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "run", "mountPath": "/var/run", "readOnly": true }]);
    before["spec"]["containers"][0]["env"] = json!([{ "name": "AWS_PROFILE", "value": "x" }]);
    let Injected {
        pod: after,
        warnings,
        ..
    } = injected(&before, &request);
    assert!(!after.to_string().contains("AUTHORIZATION_TOKEN_FILE"));
    assert_eq!(
        warnings,
        [
            "container main keeps boto3 from the sidecar's credentials: there is no profile that AWS_PROFILE names",
            "container main gets no token, because /var/run/secrets/ram-sidecar-container is inside its read-only mount /var/run",
        ]
    );
}
