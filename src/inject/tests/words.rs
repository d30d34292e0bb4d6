//! What can be said, where, and what is wrong with it.

use serde_json::{Value, json};

use super::{PROVIDER, ROLE, rrsa, wanted};
use crate::inject::{Identity, Wanted, Wish, Word};

pub(super) fn annotated(annotations: &Value) -> Value {
    json!({ "metadata": { "annotations": annotations }, "spec": { "containers": [{ "name": "main" }] } })
}

pub(super) fn wish(flags: &Wanted, annotations: &Value) -> Wish {
    flags.of_pod(&annotated(annotations)).checked().unwrap()
}

#[test]
fn the_nearest_settings_are_the_identity() {
    let identity = |flags: &Wanted, annotations: Value| wish(flags, &annotations).identity;
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
    let node = wanted(&[(Word::Role, ROLE), (Word::Identity, "ecs_ram_role")]);
    assert_eq!(
        identity(&node, json!({ "ram-sidecar/oidc-provider-arn": PROVIDER })),
        oidc
    );
    assert_eq!(identity(&node, json!({})), Identity::EcsRamRole);
    let both = rrsa().or(&wanted(&[(Word::Secret, "key")]));
    assert_eq!(identity(&both, json!({})), oidc);
    assert_eq!(
        identity(&both, json!({ "ram-sidecar/identity": "access_key" })),
        key
    );
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let flags = wanted(&[
        (Word::Role, "acs:ram::x:role/a"),
        (Word::Identity, "token"),
        (Word::OidcProviderArn, "p"),
        (Word::Secret, "Key"),
        (Word::CredentialsUri, "http://a/b"),
        (Word::Image, "a b"),
        (Word::Region, "CN"),
        (Word::Duration, "5m"),
        (Word::AccountId, "a"),
        (Word::SkipContainers, "a,,b"),
    ]);
    let annotations = json!({
        "ram-sidecar/classic": "maybe",
        "pod-identity.alibabacloud.com/service-account-token-expiration": "60",
    });
    let told = flags
        .of_pod(&annotated(&annotations))
        .checked()
        .unwrap_err();
    for start in [
        "--role: its account id `x` is not a number",
        "--identity: `token` is no identity of a pod; choose oidc, access_key",
        "--oidc-provider-arn: `p` is no OIDC provider",
        "--secret: `Key` is no name of a Secret",
        "--credentials-uri: plain http to another machine",
        "--image: `a b` is no image",
        "--region: `CN` is no region",
        "--duration: `5m` is outside what STS grants",
        "--account-id: `a` is no account id",
        "--skip-containers: it is empty or has an empty entry",
        "the annotation ram-sidecar/classic: `maybe` is neither true nor false",
        "the annotation pod-identity.alibabacloud.com/service-account-token-expiration: `60` is no life of a token",
    ] {
        assert!(
            told.iter().any(|told| told.starts_with(start)),
            "{start}: {told:#?}"
        );
    }
    assert_eq!(told.len(), 12, "{told:#?}");
    assert_eq!(flags.mistakes().len(), 10);
}

#[test]
fn what_is_missing_or_does_not_go_together_is_told() {
    for (words, told) in [
        (
            &[][..],
            &[
                "nothing says how the sidecar proves who it is",
                "nothing says which role",
            ][..],
        ),
        (
            &[(Word::OidcProviderArn, PROVIDER)],
            &["nothing says which role"],
        ),
        (
            &[(Word::Role, ROLE), (Word::Identity, "oidc")],
            &["the identity oidc needs"],
        ),
        (
            &[(Word::Role, ROLE), (Word::Identity, "access_key")],
            &["the identity access_key needs a Secret"],
        ),
        (
            &[(Word::Identity, "credentials_uri")],
            &["the identity credentials_uri needs"],
        ),
        (
            &[(Word::Role, "job"), (Word::Secret, "key")],
            &["--role: the role `job` has no account"],
        ),
        (
            &[
                (Word::Role, ROLE),
                (Word::OidcProviderArn, PROVIDER),
                (Word::Secret, "key"),
            ],
            &["--oidc-provider-arn and --secret are settings of different identities"],
        ),
        (
            &[
                (Word::Role, ROLE),
                (Word::Identity, "ecs_ram_role"),
                (Word::Metadata, "true"),
            ],
            &["the address of the ECS metadata service cannot be given"],
        ),
        (
            &[
                (Word::Role, ROLE),
                (Word::Secret, "key"),
                (Word::Vpc, "true"),
            ],
            &["a VPC endpoint belongs to a region"],
        ),
    ] {
        let mistakes = wanted(words).checked().unwrap_err();
        assert_eq!(mistakes.len(), told.len(), "{mistakes:?}");
        for (mistake, told) in mistakes.iter().zip(told) {
            assert!(mistake.starts_with(told), "{mistake}");
        }
    }
    // An account makes a role of a name.
    let named = wanted(&[
        (Word::Role, "job"),
        (Word::Secret, "key"),
        (Word::AccountId, "1"),
    ]);
    assert_eq!(
        named.checked().unwrap().role.unwrap().as_str(),
        "acs:ram::1:role/job"
    );
    let passed_through = wanted(&[(Word::Identity, "ecs_ram_role")]);
    assert_eq!(passed_through.checked().unwrap().role, None);
}

#[test]
fn settings_of_the_sidecar_are_no_place_for_secrets() {
    for (setting, told) in [
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
        ("=planted", "`` is no name of a variable"),
        ("1A=planted", "`1A` is no name of a variable"),
        (
            "RAM_SIDECAR_KEY=planted",
            "RAM_SIDECAR_KEY is set by the injection itself; drop it",
        ),
        (
            "ALIBABA_CLOUD_ROLE_ARN=planted",
            "ALIBABA_CLOUD_ROLE_ARN is set by the injection itself; use --role",
        ),
        (
            "RAM_SIDECAR_DRIAN=planted",
            "RAM_SIDECAR_DRIAN is no setting",
        ),
    ] {
        let mut wanted = rrsa();
        wanted.add_env(setting);
        let mistakes = wanted.checked().unwrap_err();
        assert_eq!(mistakes.len(), 1);
        assert!(
            mistakes[0].starts_with(&format!("--env: {told}")),
            "{mistakes:?}"
        );
        assert!(!mistakes[0].contains("planted"), "{mistakes:?}");
    }
    let mut wanted = rrsa();
    wanted.add_env("RAM_SIDECAR_FILE=/mnt/.alibabacloud/credentials,mode=0600");
    wanted.add_env("HTTPS_PROXY=http://proxy:3128");
    let pod = super::injected(&super::pod(), &wanted).pod;
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(super::variable(sidecar, "HTTPS_PROXY"), "http://proxy:3128");
    // What was asked for stands in the place of ours.
    let names = super::objects_of(&sidecar["env"]);
    assert_eq!(
        names
            .iter()
            .filter(|name| **name == "RAM_SIDECAR_FILE")
            .count(),
        1
    );
    assert!(super::variable(sidecar, "RAM_SIDECAR_FILE").ends_with("mode=0600"));
}
