//! The volumes and settings of each identity, and those that ACK's webhook for RRSA adds.

use std::ffi::OsString;

use serde_json::{Value, json};

use super::{PROVIDER, ROLE, injected, names_of, pod, request, variable};
use crate::config;
use crate::inject::{Field, Injected, Request};

#[test]
fn each_identity_gets_its_volumes_and_settings_and_nothing_else() {
    let role = [(Field::Role, ROLE)];
    let of = |fields: &[(Field, &str)]| injected(&pod(), &request(fields).or(&request(&role))).pod;
    let volumes = |pod: &Value| {
        let names = names_of(&pod["spec"]["volumes"]).join(" ");
        names
            .trim_end_matches(" ram-sidecar-no-api-token")
            .to_owned()
    };
    let common = "ram-sidecar-credentials ram-sidecar-state";

    let keyed = of(&[(Field::Secret, "job-key")]);
    assert_eq!(volumes(&keyed), format!("{common} ram-sidecar-access-key"));
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

    let node = of(&[(Field::Identity, "ecs_ram_role")]);
    assert_eq!(volumes(&node), common);
    assert_eq!(
        variable(&node["spec"]["initContainers"][0], "RAM_SIDECAR_IDENTITY"),
        "ecs_ram_role"
    );

    let other = of(&[(Field::CredentialsUri, "https://a.example/b")]);
    assert_eq!(volumes(&other), common);
    let sidecar = &other["spec"]["initContainers"][0];
    assert_eq!(
        variable(sidecar, "ALIBABA_CLOUD_CREDENTIALS_URI"),
        "https://a.example/b"
    );

    let sandbox = of(&[(Field::Identity, "sandbox")]);
    assert_eq!(volumes(&sandbox), "ram-sidecar-credentials");
    let sidecar = &sandbox["spec"]["initContainers"][0];
    let args = json!([
        "serve",
        "--sandbox",
        "--file",
        "/mnt/.alibabacloud/credentials,mode=0644"
    ]);
    assert_eq!(sidecar["args"], args);
    assert_eq!(
        names_of(&sidecar["env"]),
        ["RAM_SIDECAR_KEY", "POD_NAME", "RAM_SIDECAR_PRINT_URI"]
    );
}

#[test]
fn the_variables_that_the_webhook_of_ack_adds_are_used() {
    let mut before = pod();
    before["spec"]["volumes"] = json!([{ "name": "rrsa-oidc-token", "projected": {} }]);
    before["spec"]["containers"][0]["env"] = json!([
        { "name": "ALIBABA_CLOUD_ROLE_ARN", "value": ROLE },
        { "name": "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "value": PROVIDER },
        { "name": "ALIBABA_CLOUD_OIDC_TOKEN_FILE", "value": "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token" },
        { "name": "ALIBABA_CLOUD_STS_REGION", "value": "cn-hangzhou" },
        { "name": "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "value": "true" },
    ]);
    let Injected { pod, warnings, .. } = injected(&before, &Request::default());
    let sidecar = &pod["spec"]["initContainers"][0];
    for (name, value) in [
        ("ALIBABA_CLOUD_ROLE_ARN", ROLE),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", PROVIDER),
        ("ALIBABA_CLOUD_STS_REGION", "cn-hangzhou"),
        ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true"),
    ] {
        assert_eq!(variable(sidecar, name), value);
    }
    assert_eq!(pod["spec"]["volumes"][0], before["spec"]["volumes"][0]);
    assert!(
        warnings[0].starts_with(
            "container main sets ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN, "
        ),
        "{warnings:?}"
    );
    // Without the token volume, the variables are not from ACK's webhook.
    before["spec"]["volumes"] = json!([]);
    let errors = Request::default().for_pod(&before).check().unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
}

#[test]
fn the_settings_of_the_sidecar_are_a_valid_configuration() {
    let role = [(Field::Role, ROLE)];
    let identities = [
        &[(Field::OidcProviderArn, PROVIDER)][..],
        &[(Field::Secret, "job-key")],
        &[(Field::CredentialsUri, "https://a.example/b")],
        &[(Field::Identity, "ecs_ram_role")],
    ];
    let more = [
        &[][..],
        &[(Field::Classic, "true"), (Field::Duration, "90m")],
        &[(Field::Region, "cn-hangzhou"), (Field::Vpc, "true")],
        &[(Field::Metadata, "true"), (Field::Container, "true")],
        &[(Field::MetadataAddress, "true")],
    ];
    for identity in identities {
        for more in more {
            if more == [(Field::MetadataAddress, "true")] && identity[0].1 == "ecs_ram_role" {
                continue;
            }
            let fields = [&role, identity, more].concat();
            let pod = injected(&pod(), &request(&fields)).pod;
            let containers = ["initContainers", "containers"].map(|list| pod["spec"][list].clone());
            let mut containers = containers.iter().filter_map(Value::as_array).flatten();
            let sidecar = containers
                .find(|container| container["name"] == "ram-sidecar")
                .unwrap();
            let variable = |name: &str| {
                let env = sidecar["env"].as_array().unwrap();
                let variable = env.iter().find(|variable| variable["name"] == name)?;
                // The downward API fills these in.
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
                .unwrap_or_else(|errors| panic!("{fields:?}: {errors}"));
            assert_eq!(config.files.len(), 1, "{fields:?}");
            assert!(config.state.is_some(), "{fields:?}");
        }
    }
}
