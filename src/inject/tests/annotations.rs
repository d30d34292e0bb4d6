//! Annotations and labels.

use super::request::{annotated, spec};
use super::*;

#[test]
fn annotations_take_precedence_over_flags_and_over_annotations_by_ack() {
    let other = "acs:ram::1:role/other";
    let role = |annotations: Value| {
        spec(&rrsa(), &annotations)
            .role
            .unwrap()
            .as_str()
            .to_owned()
    };
    assert_eq!(role(json!({})), ROLE);
    assert_eq!(role(json!({ "ram-sidecar/role": other })), other);
    assert_eq!(role(json!({ "ram-sidecar/role": "" })), ROLE);
    // The account of a role name is that of the OIDC provider.
    let by_ack = json!({ "pod-identity.alibabacloud.com/role-name": "ack" });
    assert_eq!(role(by_ack), "acs:ram::1234567890123456:role/ack");
    assert_eq!(
        role(
            json!({ "pod-identity.alibabacloud.com/role-name": "ack", "ram-sidecar/role": other })
        ),
        other
    );

    let spec = spec(
        &rrsa(),
        &json!({
            "ram-sidecar/image": "registry/a:1",
            "ram-sidecar/duration": "2h",
            "ram-sidecar/classic": "true",
            "ram-sidecar/skip-containers": "a",
            "pod-identity.alibabacloud.com/skip-containers": "b",
            "pod-identity.alibabacloud.com/only-containers": "c,d",
            "pod-identity.alibabacloud.com/service-account-token-expiration": "7200",
        }),
    );
    assert_eq!(spec.image, "registry/a:1");
    assert_eq!(spec.duration.unwrap().as_secs(), 7200);
    assert_eq!(spec.selection.skip, ["a"]);
    assert_eq!(spec.selection.only.unwrap(), ["c", "d"]);
    assert_eq!(spec.token_expiration.as_secs(), 7200);
}

#[test]
fn a_misspelt_annotation_is_an_error_that_lists_the_known_ones() {
    let annotations = json!({
        "ram-sidecar/rol": "narrow",
        "ram-sidecar/inject": "true",
        "ram-sidecar.example.com/rol": "of another prefix",
        "ram-sidecar/role": ROLE,
    });
    let unknown =
        "there is no such annotation; choose one of ram-sidecar/role, ram-sidecar/identity,";
    let label = "it is a label of pods and namespaces; write it under metadata.labels";
    let annotations_of = |place: &str| {
        [
            format!("{place} ram-sidecar/rol: {unknown}"),
            format!("{place} ram-sidecar/inject: {label}"),
        ]
    };
    let account = annotations.as_object().unwrap();
    let pod = annotated(&json!({}));
    let for_account = rrsa().for_pod_and_account(&pod, account);
    for (request, expected) in [
        (
            rrsa().for_pod(&annotated(&annotations)),
            annotations_of("the annotation"),
        ),
        (
            for_account,
            annotations_of("the service account's annotation"),
        ),
    ] {
        let errors = request.check().unwrap_err();
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, start) in errors.iter().zip(expected) {
            assert!(error.starts_with(&start), "{error}");
        }
    }
    // The number of errors is limited, and each is one line.
    let many = (0..1000).map(|index| (format!("ram-sidecar/{index}\n"), "x".into()));
    let many = Value::Object(many.collect());
    let errors = rrsa().for_pod(&annotated(&many)).check().unwrap_err();
    assert_eq!(errors.len(), 10);
    assert!(
        errors.iter().all(|error| !error.contains('\n')),
        "{errors:?}"
    );
}

#[test]
fn labels_opt_in_or_out() {
    for (labels, expected) in [
        (json!({}), OptIn::Unset),
        (json!(null), OptIn::Unset),
        (json!({ "ram-sidecar/inject": "true" }), OptIn::Yes),
        (json!({ "ram-sidecar/inject": "false" }), OptIn::No),
        (json!({ "ram-sidecar/inject": "yes" }), OptIn::No),
        (
            json!({ "pod-identity.alibabacloud.com/injection": "on" }),
            OptIn::Yes,
        ),
        (
            json!({ "pod-identity.alibabacloud.com/injection": "off" }),
            OptIn::No,
        ),
        (
            json!({ "pod-identity.alibabacloud.com/injection": "on", "ram-sidecar/inject": "false" }),
            OptIn::No,
        ),
    ] {
        assert_eq!(opt_in(Some(&labels)), expected, "{labels}");
    }
    assert_eq!(opt_in(None), OptIn::Unset);
}
