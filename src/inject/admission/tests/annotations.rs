//! Annotations of a pod and of its service account.

use super::*;

type Check<'a> = &'a dyn Fn(&Value) -> bool;

#[test]
fn annotations_of_the_pod_override_those_of_its_service_account_which_override_flags() {
    let ack = ACK_ROLE;
    let by_ack = json!({
        "containers": [{
            "name": "job",
            "env": [
                { "name": "ALIBABA_CLOUD_ROLE_ARN", "value": "acs:ram::2:role/by-ack" },
                { "name": "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "value": "acs:ram::2:oidc-provider/cluster" },
            ],
        }],
        "volumes": [{ "name": "rrsa-oidc-token" }],
    });
    let plain = pod()["spec"].clone();
    // Each row adds a request of higher precedence.
    let rows: [(&Value, Pairs<'_>, Pairs<'_>, &str); 6] = [
        (&plain, &[], &[], "acs:ram::1:role/flag-role"),
        (&by_ack, &[], &[], "acs:ram::2:role/by-ack"),
        (&by_ack, &[(ack, "ack")], &[], "acs:ram::2:role/ack"),
        (
            &by_ack,
            &[(ack, "ack"), ("ram-sidecar/role", "account")],
            &[],
            "acs:ram::2:role/account",
        ),
        (
            &by_ack,
            &[("ram-sidecar/role", "account")],
            &[(ack, "pods")],
            "acs:ram::2:role/pods",
        ),
        (
            &by_ack,
            &[("ram-sidecar/role", "account")],
            &[(ack, "pods"), ("ram-sidecar/role", "acs:ram::3:role/pod")],
            "acs:ram::3:role/pod",
        ),
    ];
    for (spec, account, of_pod, role) in rows {
        let mut pod = pod();
        pod["spec"] = spec.clone();
        pod["metadata"]["annotations"] = annotations(of_pod).into();
        let review = read(&request(&pod));
        let decision = review.decide(&defaults(), &Ok(annotations(account)), Policy::Fail);
        assert_eq!(decision.role.as_deref(), Some(role));
    }
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a table with a row for each annotation"
)]
fn every_annotation_has_its_effect_on_a_pod_and_on_its_service_account() {
    let sidecar = |pod: &Value| pod["spec"]["initContainers"][0].clone();
    let variable = |pod: &Value, name: &str| {
        let sidecar = sidecar(pod);
        let env = sidecar["env"].as_array().unwrap().iter();
        let found = env.clone().find(|entry| entry["name"] == name);
        found.map(|entry| entry["value"].as_str().unwrap_or_default().to_owned())
    };
    let is_configured = |pod: &Value| pod["spec"]["containers"][0].get("volumeMounts").is_some();
    let token = |pod: &Value| {
        let volumes = pod["spec"]["volumes"].as_array().unwrap().iter();
        let token = volumes
            .clone()
            .find(|v| v["name"] == "rrsa-oidc-token")
            .unwrap();
        token["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"].clone()
    };
    let rows: [(&str, &str, Check<'_>); 24] = [
        ("ram-sidecar/role", "r", &|pod| {
            variable(pod, "ALIBABA_CLOUD_ROLE_ARN").unwrap() == "acs:ram::1:role/r"
        }),
        ("ram-sidecar/identity", "ecs_ram_role", &|pod| {
            variable(pod, "RAM_SIDECAR_IDENTITY").unwrap() == "ecs_ram_role"
        }),
        ("ram-sidecar/image", "registry/image:1", &|pod| {
            sidecar(pod)["image"] == "registry/image:1"
        }),
        (
            "ram-sidecar/oidc-provider-arn",
            "acs:ram::7:oidc-provider/p",
            &|pod| {
                variable(pod, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN").unwrap()
                    == "acs:ram::7:oidc-provider/p"
            },
        ),
        ("ram-sidecar/secret", "keys", &|pod| {
            variable(pod, "RAM_SIDECAR_IDENTITY").unwrap() == "access_key"
        }),
        ("ram-sidecar/classic", "true", &|pod| {
            pod["spec"]["containers"][1]["name"] == "ram-sidecar"
        }),
        ("ram-sidecar/key", "0", &|pod| {
            variable(pod, "RAM_SIDECAR_KEY").unwrap() == "0"
        }),
        ("ram-sidecar/port", "7012", &|pod| {
            variable(pod, "RAM_SIDECAR_LISTEN").unwrap() == "127.0.0.1:7012"
        }),
        ("ram-sidecar/ca-config-map", "corp-ca", &|pod| {
            variable(pod, "RAM_SIDECAR_CA_FILE").is_some()
        }),
        ("ram-sidecar/container", "true", &|pod| {
            variable(pod, "RAM_SIDECAR_CONTAINER").unwrap() == "true"
        }),
        ("ram-sidecar/metadata", "true", &|pod| {
            variable(pod, "RAM_SIDECAR_METADATA_LISTEN").unwrap() == "127.0.0.1:7004"
        }),
        ("ram-sidecar/metadata-address", "true", &|pod| {
            sidecar(pod)["name"] == "ram-sidecar-address"
        }),
        ("ram-sidecar/metrics", "true", &|pod| {
            sidecar(pod)["ports"][0]["containerPort"] == 7003
        }),
        ("ram-sidecar/readiness", "true", &|pod| {
            sidecar(pod)["readinessProbe"]["exec"].is_object()
        }),
        ("ram-sidecar/skip-containers", "job", &|pod| {
            !is_configured(pod)
        }),
        ("ram-sidecar/only-containers", "other", &|pod| {
            !is_configured(pod)
        }),
        ("ram-sidecar/request-cpu", "50m", &|pod| {
            sidecar(pod)["resources"]["requests"]["cpu"] == "50m"
        }),
        ("ram-sidecar/request-memory", "32Mi", &|pod| {
            sidecar(pod)["resources"]["requests"]["memory"] == "32Mi"
        }),
        ("ram-sidecar/limit-cpu", "1", &|pod| {
            sidecar(pod)["resources"]["limits"]["cpu"] == "1"
        }),
        ("ram-sidecar/limit-memory", "128Mi", &|pod| {
            sidecar(pod)["resources"]["limits"]["memory"] == "128Mi"
        }),
        ("ram-sidecar/duration", "30m", &|pod| {
            variable(pod, "RAM_SIDECAR_DURATION").unwrap() == "30m"
        }),
        (
            "pod-identity.alibabacloud.com/service-account-token-expiration",
            "7200",
            &|pod| token(pod) == 7200,
        ),
        (
            "pod-identity.alibabacloud.com/skip-containers",
            "job",
            &|pod| !is_configured(pod),
        ),
        (
            "pod-identity.alibabacloud.com/only-containers",
            "other",
            &|pod| !is_configured(pod),
        ),
    ];
    let known = crate::inject::FIELDS.iter();
    let known = known.flat_map(|names| [names.annotation, names.ack_annotation]);
    for name in known.flatten() {
        let has_row = rows.iter().any(|(row, ..)| *row == name);
        assert!(has_row || name == ACK_ROLE, "{name} has no row");
    }
    let mut all_accepted = defaults();
    all_accepted.annotations.account = all_accepted.annotations.pod.clone();
    for (name, value, is_right) in rows {
        let pairs = annotations(&[(name, value)]);
        let mut annotated = pod();
        annotated["metadata"]["annotations"] = pairs.clone().into();
        for (pod, account) in [(annotated, Annotations::new()), (pod(), pairs)] {
            let decision = read(&request(&pod)).decide(&all_accepted, &Ok(account), Policy::Fail);
            assert_eq!(decision.outcome, Outcome::Injected, "{name}");
            let injected = patched(&pod, &decision.review());
            assert!(is_right(&injected), "{name}: {injected:#}");
        }
    }
}

/// Its effect is tested above.
const ACK_ROLE: &str = "pod-identity.alibabacloud.com/role-name";

/// Every annotation with a valid value: whether it is accepted from a pod, and from a service account.
const POLICY: [(&str, &str, bool, bool); 25] = [
    ("ram-sidecar/role", "r", true, true),
    ("pod-identity.alibabacloud.com/role-name", "r", true, true),
    ("ram-sidecar/identity", "ecs_ram_role", true, false),
    (
        "ram-sidecar/oidc-provider-arn",
        "acs:ram::7:oidc-provider/p",
        true,
        false,
    ),
    ("ram-sidecar/secret", "keys", true, false),
    ("ram-sidecar/image", "registry/image:1", true, false),
    ("ram-sidecar/classic", "true", true, false),
    ("ram-sidecar/key", "0", true, false),
    ("ram-sidecar/port", "7012", true, false),
    ("ram-sidecar/ca-config-map", "corp-ca", true, false),
    ("ram-sidecar/container", "true", true, false),
    ("ram-sidecar/metadata", "true", true, false),
    ("ram-sidecar/metadata-address", "true", true, false),
    ("ram-sidecar/metrics", "true", true, false),
    ("ram-sidecar/readiness", "true", true, false),
    ("ram-sidecar/duration", "30m", true, true),
    ("ram-sidecar/request-cpu", "50m", true, false),
    ("ram-sidecar/request-memory", "32Mi", true, false),
    ("ram-sidecar/limit-cpu", "1", true, false),
    ("ram-sidecar/limit-memory", "128Mi", true, false),
    (
        "pod-identity.alibabacloud.com/service-account-token-expiration",
        "7200",
        true,
        true,
    ),
    ("ram-sidecar/skip-containers", "job", true, true),
    (
        "pod-identity.alibabacloud.com/skip-containers",
        "job",
        true,
        true,
    ),
    ("ram-sidecar/only-containers", "job", true, true),
    (
        "pod-identity.alibabacloud.com/only-containers",
        "job",
        true,
        true,
    ),
];

#[test]
fn every_annotation_is_accepted_as_the_table_says_and_flags_change_it() {
    let known = crate::inject::FIELDS.iter();
    let known = known.flat_map(|names| [names.annotation, names.ack_annotation]);
    for name in known.flatten() {
        assert!(POLICY.iter().any(|row| row.0 == name), "{name} has no row");
    }
    let decide = |request: &Request, of_pod: Pairs<'_>, account: Pairs<'_>| {
        let mut pod = pod();
        pod["metadata"]["annotations"] = annotations(of_pod).into();
        let review = read(&super::request(&pod));
        review.decide(request, &Ok(annotations(account)), Policy::Fail)
    };
    for (name, value, from_pod, from_account) in POLICY {
        let pair = [(name, value)];
        let short = name.split('/').next_back().unwrap();
        let short = if short == "role-name" { "role" } else { short };
        let named = crate::inject::policy::annotations(short).unwrap();
        let (mut wide, mut narrow) = (defaults(), defaults());
        wide.annotations.account.extend(named.clone());
        wide.annotations.pod.extend(named);
        narrow.annotations.account.clear();
        narrow.annotations.pod.clear();
        for (request, of_pod, account) in [
            (&defaults(), from_pod, from_account),
            (&wide, true, true),
            (&narrow, false, false),
        ] {
            for (decision, is_accepted, place, flag) in [
                (
                    decide(request, &pair, &[]),
                    of_pod,
                    "the annotation",
                    "--pod-annotations",
                ),
                (
                    decide(request, &[], &pair),
                    account,
                    "the service account's annotation",
                    "--account-annotations",
                ),
            ] {
                let errors = decision.errors.join("; ");
                assert_eq!(errors.is_empty(), is_accepted, "{name}: {errors}");
                if !is_accepted {
                    assert!(errors.starts_with(&format!("{place} {name}: ")), "{errors}");
                    assert!(
                        errors.contains(flag) && decision.errors.len() == 1,
                        "{errors}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_image_of_an_annotation_is_below_a_prefix_of_the_operator() {
    let mut defaults = defaults();
    defaults.annotations.image_prefixes = vec!["registry/team".to_owned()];
    for (image, is_accepted) in [
        ("registry/team/a:1", true),
        ("registry/team/a@sha256:0123", true),
        ("registry/other:1", false),
        ("registry/team/../other:1", false),
        ("registry/team//other:1", false),
        ("registry/team@other/x", false),
    ] {
        let mut pod = pod();
        pod["metadata"]["annotations"] = json!({ "ram-sidecar/image": image });
        let decision =
            read(&request(&pod)).decide(&defaults, &Ok(Annotations::new()), Policy::Fail);
        let errors = decision.errors.join("; ");
        assert_eq!(errors.is_empty(), is_accepted, "{image}: {errors}");
        assert!(is_accepted || errors.contains("--image-prefix"), "{errors}");
    }
}

#[test]
fn the_privilege_matrix_of_security_md_is_the_policy_row_by_row() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md");
    let text = std::fs::read_to_string(path).unwrap();
    for (name, _, from_pod, from_account) in POLICY {
        let mut rows = text.lines().filter(|line| line.starts_with("| `"));
        let row = rows.find(|line| line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        let word = |is_accepted| if is_accepted { "yes" } else { "no" };
        let end = format!("| {} | {} |", word(from_pod), word(from_account));
        assert!(row.ends_with(&end), "{row}");
    }
}
