//! The key and the ports of the sidecar, and what clashes with them.

use super::*;
use crate::inject::workload::{Report, inject_into};

/// Injects into a pod whose container has these fields.
fn with(fields: &Value, flags: &[(Field, &str)]) -> Injected {
    let mut pod = pod();
    let container = pod["spec"]["containers"][0].as_object_mut().unwrap();
    container.extend(fields.as_object().unwrap().clone());
    injected(&pod, &request(flags).or(&rrsa()))
}

#[test]
fn a_key_is_the_same_in_the_sidecar_and_in_every_address() {
    let flags = [(Field::Key, "0"), (Field::Container, "true")];
    let after = with(&json!({}), &flags).pod;
    let sidecar = &after["spec"]["initContainers"][0];
    assert_eq!(variable(sidecar, "RAM_SIDECAR_KEY"), "0");
    let main = &after["spec"]["containers"][0];
    for (name, path) in [
        ("ALIBABA_CLOUD_CREDENTIALS_URI", "credentials"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "container"),
    ] {
        let expected = format!("http://127.0.0.1:7002/api/v1/{path}/0");
        assert_eq!(variable(main, name), expected);
    }
    assert!(!main.to_string().contains("RAM_SIDECAR_POD_UID"));
    let by_uid = with(&json!({}), &[(Field::Key, "pod-uid")]).pod;
    assert_eq!(by_uid, with(&json!({}), &[]).pod);
}

#[test]
fn a_port_moves_the_credentials_the_probes_and_the_metadata_dialect() {
    let flags = [(Field::Port, "7012"), (Field::Metadata, "true")];
    let after = with(&json!({}), &flags).pod;
    let sidecar = &after["spec"]["initContainers"][0];
    for (name, value) in [
        ("RAM_SIDECAR_LISTEN", "127.0.0.1:7012"),
        ("RAM_SIDECAR_ADMIN_LISTEN", "127.0.0.1:7013"),
        ("RAM_SIDECAR_METADATA_LISTEN", "127.0.0.1:7014"),
    ] {
        assert_eq!(variable(sidecar, name), value);
    }
    let main = &after["spec"]["containers"][0];
    let uri = variable(main, "ALIBABA_CLOUD_CREDENTIALS_URI");
    assert!(uri.starts_with("http://127.0.0.1:7012/"), "{uri}");
    let endpoint = variable(main, "ALIBABA_CLOUD_ECS_METADATA_SERVICE_ENDPOINT");
    assert_eq!(endpoint, "http://127.0.0.1:7014");
}

#[test]
fn an_address_that_nothing_serves_is_explained_wherever_it_is_written() {
    const PAI: &str = "http://localhost:7002/api/v1/credentials/0";
    let of_pai = json!({
        "env": [{ "name": "ALIBABA_CLOUD_CREDENTIALS_URI", "value": PAI }],
        "command": ["sh", "-c", format!("curl -s '{PAI}'; curl {PAI}")],
    });
    let warnings = with(&of_pai, &[]).warnings;
    let expected = format!(
        "container main has {PAI} in ALIBABA_CLOUD_CREDENTIALS_URI and its command, which nothing serves, because the sidecar's port is 7002 and its key is the pod's UID: use $ALIBABA_CLOUD_CREDENTIALS_URI as inject sets it, or let --key (ram-sidecar/key) and --port (ram-sidecar/port) match the address"
    );
    assert_eq!(warnings, [expected]);
    let unchanged = "container main already sets ALIBABA_CLOUD_CREDENTIALS_URI: unchanged";
    let by_key = with(&of_pai, &[(Field::Key, "0")]).warnings;
    assert_eq!(by_key, [unchanged]);
    let moved = [(Field::Key, "0"), (Field::Port, "7012")];
    assert!(with(&of_pai, &moved).warnings[0].contains("the sidecar's port is 7012"));
    // What is not known is not judged: variables, other hosts, other servers of this machine.
    for text in [
        "http://127.0.0.1:7002/api/v1/credentials/$(POD_UID)",
        "http://127.0.0.1:7002/api/v1/credentials/${RAM_SIDECAR_POD_UID}",
        "http://credentials.example:7002/api/v1/credentials/0",
        "https://localhost:7002/api/v1/credentials/0",
        "http://localhost:7002/other",
        "http://localhost/x http://api/v1/credentials/0",
    ] {
        let args = json!({ "args": [text] });
        assert_eq!(with(&args, &[]).warnings, [""; 0], "{text}");
    }
}

#[test]
fn a_port_of_the_job_that_the_sidecar_uses_is_reported() {
    let ports = json!({ "ports": [{ "containerPort": 7002 }, { "containerPort": 7004 }] });
    let warning = |port: u16| {
        format!(
            "container main has the port {port}, which the sidecar uses: move the sidecar by --port (ram-sidecar/port)"
        )
    };
    assert_eq!(with(&ports, &[]).warnings, [warning(7002)]);
    let metadata = with(&ports, &[(Field::Metadata, "true")]).warnings;
    assert_eq!(metadata[..2], [warning(7002), warning(7004)]);
    assert_eq!(with(&ports, &[(Field::Port, "7012")]).warnings, [""; 0]);
}

#[test]
fn metadata_on_loopback_names_the_flag_for_tools_that_do_not_find_it() {
    let warnings = with(&json!({}), &[(Field::Metadata, "true")]).warnings;
    let start = "serves the ECS metadata dialect at 127.0.0.1:7004 only";
    assert!(
        warnings[0].starts_with(start)
            && warnings[0].contains("100.100.100.200 need --metadata-address"),
        "{warnings:?}"
    );
}

#[test]
fn the_note_about_open_mpi_is_told_once_and_only_where_it_helps() {
    let told = |launcher: Value| {
        let template = json!({"template": {"spec": launcher}});
        let mut job = json!({"kind": "MPIJob", "metadata": {"name": "pi"},
            "spec": {"mpiReplicaSpecs": {"Launcher": template, "Worker": template}}});
        let [first, second] = [(), ()].map(|()| {
            let mut report = Report::default();
            inject_into(&mut job, &rrsa(), &mut report);
            report.messages
        });
        let is_note = |text: &String| text.contains("ranks");
        assert!(!second.iter().any(is_note), "{second:?}");
        first.into_iter().filter(is_note).collect::<Vec<String>>()
    };
    let key = "MPIJob/pi: has the key 0, because MPI ranks get the URI of their launcher: it can be guessed, --key (ram-sidecar/key) sets another";
    let open = "MPIJob/pi: with Open MPI, ranks over ssh get no environment: let them read /mnt/.alibabacloud/credentials, or start them by mpirun -x ALIBABA_CLOUD_CREDENTIALS_URI";
    let address = ", or use --metadata-address";
    let main = json!({"name": "main"});
    assert_eq!(
        told(json!({"containers": [main]})),
        [&format!("{open}{address}"), key]
    );
    let node = told(json!({"containers": [main], "hostNetwork": true}));
    let own = "has the pod's UID as its key, because with hostNetwork another job on the node could answer for the key 0: MPI ranks cannot use the URI of their launcher, let them read /mnt/.alibabacloud/credentials, or set a key of this job (--key, ram-sidecar/key)";
    let place = |role: &str| format!("MPIJob/pi: spec.mpiReplicaSpecs.{role}.template: {own}");
    assert_eq!(node, [open.to_owned(), place("Launcher"), place("Worker")]);
    let passed =
        json!({"name": "main", "args": ["mpirun", "-x", "ALIBABA_CLOUD_CREDENTIALS_URI", "./pi"]});
    assert_eq!(told(json!({"containers": [passed]})), [key]);
}

#[test]
fn pods_of_mpi_jobs_have_one_key_unless_another_is_set() {
    for labels in [
        json!({ "training.kubeflow.org/operator-name": "mpi-operator" }),
        json!({ "mpi_job_name": "pi" }),
    ] {
        let mut before = pod();
        before["metadata"]["labels"] = labels;
        let key = |pod: &Value| {
            let after = injected(pod, &rrsa()).pod;
            let sidecar = &after["spec"]["initContainers"][0];
            sidecar["env"][0]["value"].as_str().map(str::to_owned)
        };
        assert_eq!(key(&before).as_deref(), Some("0"));
        // Another job's sidecar on the node could answer for it.
        before["spec"]["hostNetwork"] = json!(true);
        assert_eq!(key(&before), None);
        before["spec"]["hostNetwork"] = json!(false);
        before["metadata"]["annotations"] = json!({ "ram-sidecar/key": "pod-uid" });
        assert_eq!(key(&before), None);
    }
    let mut other = pod();
    other["metadata"]["labels"] =
        json!({ "training.kubeflow.org/operator-name": "pytorchjob-controller" });
    let after = injected(&other, &rrsa()).pod;
    assert_eq!(after["spec"], injected(&pod(), &rrsa()).pod["spec"]);
}

#[test]
fn a_known_key_on_the_network_of_the_node_is_reported() {
    let mut pod = pod();
    pod["spec"]["hostNetwork"] = json!(true);
    let request = request(&[(Field::Key, "0")]).or(&rrsa());
    let warnings = injected(&pod, &request).warnings;
    assert_eq!(
        warnings[1],
        "shares the node's network and has a key that its manifest shows: every program of the node that knows it gets the credentials"
    );
}

#[test]
fn a_role_of_another_account_than_the_provider_is_reported() {
    let other = request(&[(Field::Role, "acs:ram::7:role/job")]).or(&rrsa());
    let warnings = injected(&pod(), &other).warnings;
    let start = "has a role of the account 7, but its OIDC provider is of the account 1234567890123456, for which STS refuses it";
    assert!(warnings[0].starts_with(start), "{warnings:?}");
    let mut chained = other;
    chained.add_setting("RAM_SIDECAR_ROLE_VIA=acs:ram::1234567890123456:role/first");
    assert_eq!(injected(&pod(), &chained).warnings, [""; 0]);
}

#[test]
fn the_certificates_of_a_config_map_are_mounted_and_trusted() {
    let after = with(&json!({}), &[(Field::CaConfigMap, "corp-ca")]).pod;
    let spec = &after["spec"];
    let volumes = spec["volumes"].as_array().unwrap();
    let volume = volumes
        .iter()
        .find(|volume| volume["name"] == "ram-sidecar-ca");
    assert_eq!(volume.unwrap()["configMap"], json!({ "name": "corp-ca" }));
    let sidecar = &spec["initContainers"][0];
    assert_eq!(
        variable(sidecar, "RAM_SIDECAR_CA_FILE"),
        "/etc/ram-sidecar/ca/ca.crt"
    );
    let mounts = sidecar["volumeMounts"].as_array().unwrap();
    let expected =
        json!({ "name": "ram-sidecar-ca", "mountPath": "/etc/ram-sidecar/ca", "readOnly": true });
    assert!(mounts.contains(&expected), "{mounts:?}");
}

#[test]
fn few_of_many_addresses_and_places_are_searched_and_reported() {
    let addresses = (0..40_000).map(|key| format!("http://[::1]/api/v1/credentials/{key:x} "));
    let many = json!({ "args": [addresses.collect::<String>()] });
    assert_eq!(with(&many, &[]).warnings.len(), 10);

    let variable = |index: usize| json!({ "name": format!("URI_{index}"), "value": "http://localhost/api/v1/credentials/0" });
    let many = json!({ "env": (0..16_000).map(variable).collect::<Vec<Value>>() });
    let warnings = with(&many, &[]).warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].matches("URI_").count(), 10, "{warnings:?}");
}

#[test]
fn a_port_of_a_container_without_credentials_clashes_too() {
    let ports = json!({ "ports": [{ "containerPort": 7003 }] });
    let skipped = with(&ports, &[(Field::SkipContainers, "main")]).warnings;
    let expected = "container main has the port 7003, which the sidecar uses: move the sidecar by --port (ram-sidecar/port)";
    assert_eq!(skipped, [expected]);
}
