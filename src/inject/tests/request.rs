//! Requests and their errors.

use serde_json::{Value, json};

use super::{PROVIDER, ROLE, request, rrsa};
use crate::inject::{Field, Identity, Request, Spec};

pub(super) fn annotated(annotations: &Value) -> Value {
    json!({ "metadata": { "annotations": annotations }, "spec": { "containers": [{ "name": "main" }] } })
}

pub(super) fn spec(flags: &Request, annotations: &Value) -> Spec {
    flags.for_pod(&annotated(annotations)).check().unwrap()
}

#[test]
fn the_identity_is_the_one_whose_settings_take_precedence() {
    let identity = |flags: &Request, annotations: Value| spec(flags, &annotations).identity;
    let oidc = Identity::Oidc {
        provider: PROVIDER.to_owned(),
    };
    let key = Identity::AccessKey {
        secret: "key".to_owned(),
    };
    assert_eq!(
        identity(&rrsa(), json!({ "ram-sidecar/secret": "key" })),
        key
    );
    let node = request(&[(Field::Role, ROLE), (Field::Identity, "ecs_ram_role")]);
    assert_eq!(
        identity(&node, json!({ "ram-sidecar/oidc-provider-arn": PROVIDER })),
        oidc
    );
    assert_eq!(identity(&node, json!({})), Identity::EcsRamRole);
    let both = rrsa().or(&request(&[(Field::Secret, "key")]));
    assert_eq!(identity(&both, json!({})), oidc);
    assert_eq!(
        identity(&both, json!({ "ram-sidecar/identity": "access_key" })),
        key
    );
}

#[test]
fn all_errors_are_reported_at_once_with_their_places() {
    let flags = request(&[
        (Field::Role, "acs:ram::x:role/a"),
        (Field::Identity, "token"),
        (Field::OidcProviderArn, "p"),
        (Field::Secret, "Key"),
        (Field::CredentialsUri, "http://a/b"),
        (Field::Image, "a b"),
        (Field::Region, "CN"),
        (Field::Duration, "5m"),
        (Field::AccountId, "a"),
        (Field::SkipContainers, "a,,b"),
        (Field::RequestCpu, "a lot"),
        (Field::Key, "a/b"),
        (Field::Port, "80"),
        (Field::CaConfigMap, "CA"),
        (Field::LimitMemory, "64m"),
    ]);
    let annotations = json!({
        "ram-sidecar/classic": "maybe",
        "ram-sidecar/metrics": "yes please",
        "ram-sidecar/readiness": "httpGet",
        "pod-identity.alibabacloud.com/service-account-token-expiration": "60",
    });
    let errors = flags.for_pod(&annotated(&annotations)).check().unwrap_err();
    for start in [
        "--role: its account id `x` is not a number",
        "--identity: `token` is not an identity of a pod; choose oidc, access_key",
        "--oidc-provider-arn: `p` is not an OIDC provider",
        "--secret: `Key` is not a Secret's name",
        "--credentials-uri: plain http to another machine",
        "--image: `a b` is not an image",
        "--region: `CN` is not a region",
        "--duration: `5m` is outside the limits of STS",
        "--account-id: `a` is not an account id",
        "--skip-containers: it is empty or has an empty entry",
        "--key: ",
        "--port: `80` is not a port of the sidecar; choose 1024 to 65533",
        "--ca-config-map: `CA` is not a ConfigMap's name",
        "--request-cpu: `a lot` is not a quantity; write it like 50m or 64Mi, or none",
        "--limit-memory: `64m` is less than the sidecar needs, 12M; m means thousandths, write 64Mi",
        "the annotation ram-sidecar/classic: `maybe` is neither true nor false",
        "the annotation ram-sidecar/metrics: `yes please` is neither true nor false",
        "the annotation ram-sidecar/readiness: `httpGet` is neither true nor false",
        "the annotation pod-identity.alibabacloud.com/service-account-token-expiration: `60` is not a token lifetime",
    ] {
        assert!(
            errors.iter().any(|error| error.starts_with(start)),
            "{start}: {errors:#?}"
        );
    }
    assert_eq!(errors.len(), 19, "{errors:#?}");
    assert_eq!(flags.errors().len(), 15);
}

#[test]
fn missing_and_conflicting_fields_are_reported() {
    for (fields, expected) in [
        (&[][..], &["no identity is set", "no role is set"][..]),
        (&[(Field::OidcProviderArn, PROVIDER)], &["no role is set"]),
        (
            &[(Field::Role, ROLE), (Field::Identity, "oidc")],
            &["the identity oidc requires"],
        ),
        (
            &[(Field::Role, ROLE), (Field::Identity, "access_key")],
            &["the identity access_key requires a Secret"],
        ),
        (
            &[(Field::Identity, "credentials_uri")],
            &["the identity credentials_uri requires"],
        ),
        (
            &[(Field::Role, "job"), (Field::Secret, "key")],
            &["--role: the account of the role `job` is unknown"],
        ),
        (
            &[
                (Field::Role, ROLE),
                (Field::OidcProviderArn, PROVIDER),
                (Field::Secret, "key"),
            ],
            &["--oidc-provider-arn and --secret are settings of different identities"],
        ),
        (
            &[
                (Field::Role, ROLE),
                (Field::Identity, "ecs_ram_role"),
                (Field::MetadataAddress, "true"),
            ],
            &["a pod whose identity is ecs_ram_role cannot get the address"],
        ),
        (
            &[
                (Field::Role, ROLE),
                (Field::Secret, "key"),
                (Field::Vpc, "true"),
            ],
            &["a VPC endpoint belongs to a region"],
        ),
        (
            &[
                (Field::Role, ROLE),
                (Field::Secret, "key"),
                (Field::RequestMemory, "1Gi"),
                (Field::LimitMemory, "1000Mi"),
            ],
            &["--request-memory: `1Gi` is more than `1000Mi` of --limit-memory"],
        ),
    ] {
        let errors = request(fields).check().unwrap_err();
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        for (error, start) in errors.iter().zip(expected) {
            assert!(error.starts_with(start), "{error}");
        }
    }
    // An account completes the ARN of a role name.
    let named = request(&[
        (Field::Role, "job"),
        (Field::Secret, "key"),
        (Field::AccountId, "1"),
    ]);
    assert_eq!(
        named.check().unwrap().role.unwrap().as_str(),
        "acs:ram::1:role/job"
    );
    let passed_through = request(&[(Field::Identity, "ecs_ram_role")]);
    assert_eq!(passed_through.check().unwrap().role, None);
}

#[test]
fn settings_of_the_sidecar_must_be_known_and_not_secret() {
    for (setting, expected) in [
        (
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET=planted",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET is a secret",
        ),
        (
            "ALIBABA_CLOUD_ACCESS_KEY_ID=LTAI",
            "ALIBABA_CLOUD_ACCESS_KEY_ID is a secret",
        ),
        (
            "ALIBABA_CLOUD_SECURITY_TOKEN=planted",
            "ALIBABA_CLOUD_SECURITY_TOKEN is a secret",
        ),
        ("planted", "it has no `=`"),
        ("=planted", "`` is not a variable name"),
        ("1A=planted", "`1A` is not a variable name"),
        (
            "RAM_SIDECAR_KEY=planted",
            "RAM_SIDECAR_KEY is set by inject; use --key",
        ),
        (
            "ALIBABA_CLOUD_ROLE_ARN=planted",
            "ALIBABA_CLOUD_ROLE_ARN is set by inject; use --role",
        ),
        (
            "RAM_SIDECAR_DRIAN=planted",
            "RAM_SIDECAR_DRIAN is not a setting",
        ),
    ] {
        let mut request = rrsa();
        request.add_setting(setting);
        let errors = request.check().unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0].starts_with(&format!("--env: {expected}")),
            "{errors:?}"
        );
        assert!(!errors[0].contains("planted"), "{errors:?}");
    }
    let mut request = rrsa();
    request.add_setting("RAM_SIDECAR_FILE=/mnt/.alibabacloud/credentials,mode=0600");
    request.add_setting("HTTPS_PROXY=http://proxy:3128");
    let pod = super::injected(&super::pod(), &request).pod;
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(super::variable(sidecar, "HTTPS_PROXY"), "http://proxy:3128");
    // The setting replaces the default.
    let names = super::names_of(&sidecar["env"]);
    assert_eq!(
        names
            .iter()
            .filter(|name| **name == "RAM_SIDECAR_FILE")
            .count(),
        1
    );
    assert!(super::variable(sidecar, "RAM_SIDECAR_FILE").ends_with("mode=0600"));
}

#[test]
fn a_quantity_that_kubernetes_cannot_hold_is_an_error() {
    let nines = "9".repeat(400);
    for (quantity, is_valid) in [
        ("1e3", true),
        ("1E-3", true),
        ("8Ei", true),
        ("1e400", false),
        ("1e-400", false),
        ("1e2147483647", false),
        ("1e-2147483648", false),
        (nines.as_str(), false),
    ] {
        let request = request(&[
            (Field::RequestMemory, quantity),
            (Field::LimitMemory, "none"),
        ]);
        assert_eq!(request.errors().is_empty(), is_valid, "{quantity}");
    }
}
