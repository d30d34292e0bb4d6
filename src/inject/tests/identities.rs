//! What each identity brings, and what another webhook has brought already.

use std::ffi::OsString;

use serde_json::{Value, json};

use super::{PROVIDER, ROLE, injected, objects_of, pod, variable, wanted};
use crate::config;
use crate::inject::{Injected, Wanted, Word};

#[test]
fn each_identity_brings_what_it_needs_and_nothing_else() {
    let role = [(Word::Role, ROLE)];
    let of = |words: &[(Word, &str)]| injected(&pod(), &wanted(words).or(&wanted(&role))).pod;
    let volumes = |pod: &Value| objects_of(&pod["spec"]["volumes"]).join(" ");
    let ours = "ram-sidecar-credentials ram-sidecar-state";

    let keyed = of(&[(Word::Secret, "job-key")]);
    assert_eq!(volumes(&keyed), format!("{ours} ram-sidecar-access-key"));
    assert_eq!(
        keyed["spec"]["volumes"][2]["secret"],
        json!({ "secretName": "job-key" })
    );
    let sidecar = &keyed["spec"]["initContainers"][0];
    assert_eq!(variable(sidecar, "RAM_SIDECAR_IDENTITY"), "access_key");
    assert_eq!(
        variable(sidecar, "ALIBABA_CLOUD_ACCESS_KEY_ID_FILE"),
        "/var/run/secrets/ram-sidecar/access-key-id"
    );
    assert_eq!(
        variable(sidecar, "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE"),
        "/var/run/secrets/ram-sidecar/access-key-secret"
    );

    let node = of(&[(Word::Identity, "ecs_ram_role")]);
    assert_eq!(volumes(&node), ours);
    assert_eq!(
        variable(&node["spec"]["initContainers"][0], "RAM_SIDECAR_IDENTITY"),
        "ecs_ram_role"
    );

    let other = of(&[(Word::CredentialsUri, "https://a.example/b")]);
    assert_eq!(volumes(&other), ours);
    let sidecar = &other["spec"]["initContainers"][0];
    assert_eq!(
        variable(sidecar, "ALIBABA_CLOUD_CREDENTIALS_URI"),
        "https://a.example/b"
    );

    let sandbox = of(&[(Word::Identity, "sandbox")]);
    assert_eq!(volumes(&sandbox), "ram-sidecar-credentials");
    let sidecar = &sandbox["spec"]["initContainers"][0];
    let args = json!([
        "serve",
        "--sandbox",
        "--file",
        "/mnt/.alibabacloud/credentials,mode=0644"
    ]);
    assert_eq!(sidecar["args"], args);
    assert_eq!(objects_of(&sidecar["env"]), ["RAM_SIDECAR_KEY", "POD_NAME"]);
}

#[test]
fn what_ack_has_set_up_is_taken_from_the_pod() {
    let mut theirs = pod();
    theirs["spec"]["volumes"] = json!([{ "name": "rrsa-oidc-token", "projected": {} }]);
    theirs["spec"]["containers"][0]["env"] = json!([
        { "name": "ALIBABA_CLOUD_ROLE_ARN", "value": ROLE },
        { "name": "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "value": PROVIDER },
        { "name": "ALIBABA_CLOUD_OIDC_TOKEN_FILE", "value": "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token" },
        { "name": "ALIBABA_CLOUD_STS_REGION", "value": "cn-hangzhou" },
        { "name": "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "value": "true" },
    ]);
    let Injected { pod, notes } = injected(&theirs, &Wanted::default());
    let sidecar = &pod["spec"]["initContainers"][0];
    for (name, value) in [
        ("ALIBABA_CLOUD_ROLE_ARN", ROLE),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", PROVIDER),
        ("ALIBABA_CLOUD_STS_REGION", "cn-hangzhou"),
        ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true"),
    ] {
        assert_eq!(variable(sidecar, name), value);
    }
    assert_eq!(pod["spec"]["volumes"][0], theirs["spec"]["volumes"][0]);
    assert!(
        notes[1].starts_with(
            "container main has ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN, "
        ),
        "{notes:?}"
    );
    // Variables of another origin are not meant for us.
    theirs["spec"]["volumes"] = json!([]);
    let told = Wanted::default().of_pod(&theirs).checked().unwrap_err();
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn what_the_sidecar_is_told_is_a_configuration_that_it_takes() {
    let role = [(Word::Role, ROLE)];
    let identities = [
        &[(Word::OidcProviderArn, PROVIDER)][..],
        &[(Word::Secret, "job-key")],
        &[(Word::CredentialsUri, "https://a.example/b")],
        &[(Word::Identity, "ecs_ram_role")],
    ];
    let more = [
        &[][..],
        &[(Word::Classic, "true"), (Word::Duration, "90m")],
        &[(Word::Region, "cn-hangzhou"), (Word::Vpc, "true")],
        &[(Word::Metadata, "true")],
    ];
    for identity in identities {
        for more in more {
            if more == [(Word::Metadata, "true")] && identity[0].1 == "ecs_ram_role" {
                continue;
            }
            let words = [&role, identity, more].concat();
            let pod = injected(&pod(), &wanted(&words)).pod;
            let containers = ["initContainers", "containers"].map(|list| pod["spec"][list].clone());
            let mut containers = containers.iter().filter_map(Value::as_array).flatten();
            let sidecar = containers
                .find(|container| container["name"] == "ram-sidecar")
                .unwrap();
            let variable = |name: &str| {
                let env = sidecar["env"].as_array().unwrap();
                let variable = env.iter().find(|variable| variable["name"] == name)?;
                // What the downward API fills in.
                let field = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str();
                let value = match field {
                    Some("metadata.uid") => "1c1d4e3a-6a0f-4b7c-9a44-0f3f3d0a7b11",
                    Some("metadata.name") => "trainer-0",
                    _ => variable["value"].as_str().unwrap(),
                };
                Some(OsString::from(value))
            };
            let checked = config::check(&config::Input {
                flags: Vec::new(),
                variable: &variable,
                file: None,
                host_name: "node".to_owned(),
                defaults: Vec::new(),
                #[cfg(feature = "sandbox")]
                sandbox: None,
            });
            let config = checked
                .outcome
                .unwrap_or_else(|told| panic!("{words:?}: {told}"));
            assert_eq!(config.files.len(), 1, "{words:?}");
            assert!(config.state.is_some(), "{words:?}");
        }
    }
}
