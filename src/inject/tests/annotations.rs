//! What annotations and labels say.

use super::words::{annotated, wish};
use super::*;

#[test]
fn annotations_beat_flags_and_ours_beat_those_of_ack() {
    let other = "acs:ram::1:role/other";
    let role = |annotations: Value| {
        wish(&rrsa(), &annotations)
            .role
            .unwrap()
            .as_str()
            .to_owned()
    };
    assert_eq!(role(json!({})), ROLE);
    assert_eq!(role(json!({ "ram-sidecar/role": other })), other);
    assert_eq!(role(json!({ "ram-sidecar/role": "" })), ROLE);
    // A name is one of the provider's account.
    let of_ack = json!({ "pod-identity.alibabacloud.com/role-name": "ack" });
    assert_eq!(role(of_ack), "acs:ram::1234567890123456:role/ack");
    assert_eq!(
        role(
            json!({ "pod-identity.alibabacloud.com/role-name": "ack", "ram-sidecar/role": other })
        ),
        other
    );

    let wish = wish(
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
    assert_eq!(wish.image, "registry/a:1");
    assert_eq!(wish.duration.unwrap().as_secs(), 7200);
    assert_eq!(wish.skip, ["a"]);
    assert_eq!(wish.only.unwrap(), ["c", "d"]);
    assert_eq!(wish.token_expiration.as_secs(), 7200);
}

#[test]
fn a_misspelt_annotation_is_a_mistake_that_names_those_there_are() {
    let annotations = json!({
        "ram-sidecar/rol": "narrow",
        "ram-sidecar/inject": "true",
        "ram-sidecar.example.com/rol": "another's",
        "ram-sidecar/role": ROLE,
    });
    let none = "there is no such annotation; choose one of ram-sidecar/role, ram-sidecar/identity,";
    let label = "it is a label of pods and namespaces; write it under metadata.labels";
    let annotations_of = |place: &str| {
        [
            format!("{place} ram-sidecar/rol: {none}"),
            format!("{place} ram-sidecar/inject: {label}"),
        ]
    };
    let account = annotations.as_object().unwrap();
    let none_said = annotated(&json!({}));
    let of_account = rrsa().of_pod_and_account(&none_said, account);
    for (wanted, expected) in [
        (
            rrsa().of_pod(&annotated(&annotations)),
            annotations_of("the annotation"),
        ),
        (
            of_account,
            annotations_of("the service account's annotation"),
        ),
    ] {
        let told = wanted.checked().unwrap_err();
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, start) in told.iter().zip(expected) {
            assert!(told.starts_with(&start), "{told}");
        }
    }
    // Whoever has many, or long ones, gets no long answer.
    let many = (0..1000).map(|index| (format!("ram-sidecar/{index}\n"), "x".into()));
    let many = Value::Object(many.collect());
    let told = rrsa().of_pod(&annotated(&many)).checked().unwrap_err();
    assert_eq!(told.len(), 10);
    assert!(told.iter().all(|told| !told.contains('\n')), "{told:?}");
}

#[test]
fn labels_ask_for_the_sidecar_or_for_none() {
    for (labels, opted_to) in [
        (json!({}), Opted::Unsaid),
        (json!(null), Opted::Unsaid),
        (json!({ "ram-sidecar/inject": "true" }), Opted::In),
        (json!({ "ram-sidecar/inject": "false" }), Opted::Out),
        (json!({ "ram-sidecar/inject": "yes" }), Opted::Out),
        (
            json!({ "pod-identity.alibabacloud.com/injection": "on" }),
            Opted::In,
        ),
        (
            json!({ "pod-identity.alibabacloud.com/injection": "off" }),
            Opted::Out,
        ),
        (
            json!({ "pod-identity.alibabacloud.com/injection": "on", "ram-sidecar/inject": "false" }),
            Opted::Out,
        ),
    ] {
        assert_eq!(opted(Some(&labels)), opted_to, "{labels}");
    }
    assert_eq!(opted(None), Opted::Unsaid);
}
