//! Parses reviews, and leaves some pods alone.

use std::collections::BTreeSet;

use super::*;
use crate::inject::admission::review::MAX_VALUES;

#[test]
fn a_malformed_review_is_rejected_with_a_reason() {
    let good = request(&pod());
    let change = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        review(&changed).to_string()
    };
    let mut old = review(&good);
    old["apiVersion"] = "admission.k8s.io/v1beta1".into();
    let mut other = review(&good);
    other["kind"] = "ConversionReview".into();
    let deep = "[".repeat(200);
    let many = format!("[{}]", "0,".repeat(MAX_VALUES));
    for (text, code, reason) in [
        ("", "NotJson", "line 1, column 0"),
        ("{\n\"a\": x", "NotJson", "line 2"),
        (&deep, "NotJson", "is not JSON"),
        ("[]", "NoReview", "is not an AdmissionReview"),
        ("null", "NoReview", "is not an AdmissionReview"),
        (&other.to_string(), "NoReview", "is not an AdmissionReview"),
        (&old.to_string(), "WrongVersion", "admissionReviewVersions"),
        (&review(&Value::Null).to_string(), "NoRequest", "no request"),
        (&review(&json!([])).to_string(), "NoRequest", "no request"),
        (&change("uid", "".into()), "NoUid", "no uid"),
        (&change("uid", 1.into()), "NoUid", "no uid"),
        (&change("uid", "u".repeat(129).into()), "NoUid", "no uid"),
        (&change("object", Value::Null), "NoObject", "no object"),
        (&change("object", "pod".into()), "NoObject", "no object"),
        (&many, "TooManyValues", "more than 65536 values"),
    ] {
        let malformed = Review::read(text.as_bytes()).unwrap_err();
        assert_eq!(malformed.code, code, "{malformed:?}");
        assert!(malformed.message.contains(reason), "{malformed:?}");
    }
    // A response instead of a review.
    let answer = decide(&pod()).review().to_string();
    let malformed = Review::read(answer.as_bytes()).unwrap_err();
    assert_eq!(malformed.code, "NoRequest");
}

#[test]
fn a_label_that_is_neither_true_nor_false_denies_the_pod_where_the_sidecar_is_requested() {
    let decide = |label: &str, called_for: CalledFor, policy: Policy| {
        let mut pod = pod();
        pod["metadata"]["labels"] = json!({ "ram-sidecar/inject": label });
        let review = read(&request(&pod)).called_for(called_for);
        review.decide(&Request::default(), &Ok(Annotations::new()), policy)
    };
    for label in ["True", "", "yes"] {
        let denied = decide(label, CalledFor::OwnLabel, Policy::Fail);
        assert_eq!(denied.outcome, Outcome::Denied);
        let reason = format!(
            "the label ram-sidecar/inject is {label:?}, so the pod gets no sidecar: write \"true\" or \"false\""
        );
        assert_eq!(denied.errors, std::slice::from_ref(&reason));
        let admitted = decide(label, CalledFor::OwnLabel, Policy::Ignore);
        assert_eq!(admitted.outcome, Outcome::Admitted);
        // Elsewhere nothing but the label requests the sidecar.
        let warned = decide(label, CalledFor::Label, Policy::Fail);
        assert_eq!(warned.outcome, Outcome::LeftAlone);
        let warning = warned.review()["response"]["warnings"][0].clone();
        assert_eq!(warning, format!("ram-sidecar: {reason}"));
    }
    let other = decide("true", CalledFor::Label, Policy::Fail);
    assert_eq!(other.outcome, Outcome::LeftAlone);
    assert_eq!(other.review()["response"].get("warnings"), None);
}

#[test]
fn a_pod_with_the_label_of_ack_and_no_role_is_left_alone_as_by_its_own_webhook() {
    let mut defaults = Request::default();
    defaults.set(Field::OidcProviderArn, "acs:ram::1:oidc-provider/p", "--p");
    let decide = |called_for: CalledFor, account: Pairs<'_>| {
        let review = read(&request(&pod())).called_for(called_for);
        review.decide(&defaults, &Ok(annotations(account)), Policy::Fail)
    };
    let left = decide(CalledFor::Ack, &[]);
    assert_eq!(left.outcome, Outcome::LeftAlone);
    assert_eq!(
        left.review()["response"],
        json!({ "uid": "u-1", "allowed": true })
    );
    let role = [("pod-identity.alibabacloud.com/role-name", "job")];
    assert_eq!(decide(CalledFor::Ack, &role).outcome, Outcome::Injected);
    assert_eq!(decide(CalledFor::OwnLabel, &[]).outcome, Outcome::Denied);
    let review = read(&request(&pod())).called_for(CalledFor::Ack);
    let unknown = review.decide(&defaults, &Err("no API server".to_owned()), Policy::Fail);
    assert_eq!(unknown.outcome, Outcome::Denied);
}

#[test]
fn containers_that_a_later_webhook_adds_are_configured_when_it_is_called_again() {
    let mut injected = patched(&pod(), &decide(&pod()).review());
    let containers = injected["spec"]["containers"].as_array_mut().unwrap();
    containers.push(json!({ "name": "proxy", "image": "proxy" }));
    let review = read(&request(&injected));
    // No role is needed.
    let account = Ok(Annotations::new());
    let decision = review.decide(&Request::default(), &account, Policy::Fail);
    assert_eq!(decision.outcome, Outcome::Injected);
    let after = patched(&injected, &decision.review());
    let containers = &after["spec"]["containers"];
    assert_eq!(containers[0], injected["spec"]["containers"][0]);
    assert_eq!(containers[1]["env"], containers[0]["env"]);
    assert_eq!(decide(&after).outcome, Outcome::LeftAlone);

    // A small review must not cause a large response.
    let containers = injected["spec"]["containers"].as_array_mut().unwrap();
    let container = |index: usize| json!({ "name": format!("c{index}") });
    containers.extend((0..=MAX_CONTAINERS).map(container));
    assert_eq!(decide(&injected).outcome, Outcome::LeftAlone);
}

#[test]
fn other_objects_and_pods_that_opt_out_are_left_alone() {
    let kind = |group: &str, version: &str, kind: &str| json!({ "group": group, "version": version, "kind": kind });
    let mut requests = Vec::new();
    for (name, value) in [
        ("kind", kind("apps", "v1", "Deployment")),
        ("kind", kind("", "v1", "Binding")),
        ("kind", kind("", "v2", "Pod")),
        ("kind", kind("example.com", "v1", "Pod")),
        ("kind", Value::Null),
        ("operation", "UPDATE".into()),
        ("operation", "DELETE".into()),
        ("subResource", "ephemeralcontainers".into()),
    ] {
        let mut changed = request(&pod());
        changed[name] = value;
        requests.push(changed);
    }
    // A deletion has no object.
    let mut deletion = request(&Value::Null);
    deletion["operation"] = "DELETE".into();
    requests.push(deletion);
    for labels in [
        json!({ "ram-sidecar/inject": "false" }),
        json!({ "pod-identity.alibabacloud.com/injection": "off" }),
        json!({ "ram-sidecar/inject": "false", "pod-identity.alibabacloud.com/injection": "on" }),
    ] {
        let mut pod = pod();
        pod["metadata"]["labels"] = labels;
        // Errors of such a pod do not matter.
        pod["metadata"]["annotations"] = json!({ "ram-sidecar/role": "no role" });
        requests.push(request(&pod));
    }
    let mut mirror = pod();
    mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "d" });
    requests.push(request(&mirror));
    // A pod that has the sidecar needs no role, and may have any number of containers.
    let mut many = pod();
    let container = |index: usize| json!({ "name": format!("c{index}") });
    many["spec"]["containers"] = (0..=MAX_CONTAINERS).map(container).collect();
    for list in ["initContainers", "containers"] {
        for mut pod in [pod(), many.clone()] {
            let mut containers = pod["spec"][list].as_array().cloned().unwrap_or_default();
            containers.push(json!({ "name": "ram-sidecar" }));
            pod["spec"][list] = containers.into();
            requests.push(request(&pod));
        }
    }
    for request in requests {
        let review = read(&request);
        assert_eq!(review.service_account(), None, "{request}");
        let account = Err("not called".to_owned());
        let decision = review.decide(&Request::default(), &account, Policy::Fail);
        assert_eq!(decision.outcome, Outcome::LeftAlone, "{request}");
        assert_eq!(
            decision.review()["response"],
            json!({ "uid": "u-1", "allowed": true })
        );
    }
    for labels in [
        json!(null),
        json!({ "app": "job" }),
        json!({ "ram-sidecar/inject": "true" }),
        json!({ "pod-identity.alibabacloud.com/injection": "on" }),
        json!({ "ram-sidecar/inject": "true", "pod-identity.alibabacloud.com/injection": "off" }),
    ] {
        let mut pod = pod();
        pod["metadata"]["labels"] = labels.clone();
        assert_eq!(decide(&pod).outcome, Outcome::Injected, "{labels}");
    }
}

#[test]
fn the_service_account_is_the_one_that_the_pod_names() {
    let account = |spec: Value| {
        let mut pod = pod();
        pod["spec"] = spec;
        read(&request(&pod)).service_account().map(str::to_owned)
    };
    for (spec, name) in [
        (json!({}), "default"),
        (json!({ "serviceAccountName": "" }), "default"),
        (json!({ "serviceAccountName": "job" }), "job"),
        (json!({ "serviceAccount": "old" }), "old"),
        (
            json!({ "serviceAccountName": "job", "serviceAccount": "old" }),
            "job",
        ),
    ] {
        assert_eq!(account(spec).as_deref(), Some(name));
    }
}

#[test]
fn a_pod_with_the_label_of_ack_whose_request_has_errors_is_denied() {
    let mut defaults = Request::default();
    defaults.set(Field::OidcProviderArn, "acs:ram::1:oidc-provider/p", "--p");
    let mut refusing = defaults.clone();
    refusing.annotations.pod.clear();
    for (defaults, name, reason) in [
        (&defaults, "ram-sidecar/rol", "there is no such annotation"),
        (&refusing, "ram-sidecar/role", "--pod-annotations"),
    ] {
        let mut pod = pod();
        pod["metadata"]["annotations"] = json!({ name: "job" });
        let review = read(&request(&pod)).called_for(CalledFor::Ack);
        let denied = review.decide(defaults, &Ok(Annotations::new()), Policy::Fail);
        assert_eq!(denied.outcome, Outcome::Denied, "{name}");
        assert!(denied.errors[0].contains(reason), "{:?}", denied.errors);
    }
}

#[test]
fn the_label_of_a_pod_that_gets_or_has_the_sidecar_anyway_is_not_judged() {
    let mut mirror = pod();
    mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "d" });
    let injected = patched(&pod(), &decide(&pod()).review());
    for mut pod in [mirror, injected] {
        pod["metadata"]["labels"] = json!({ "ram-sidecar/inject": "yes" });
        for called_for in [CalledFor::OwnLabel, CalledFor::Label] {
            let review = read(&request(&pod)).called_for(called_for);
            let decision = review.decide(&defaults(), &Ok(Annotations::new()), Policy::Fail);
            assert_eq!(decision.outcome, Outcome::LeftAlone);
            let response = json!({ "uid": "u-1", "allowed": true });
            assert_eq!(decision.review()["response"], response);
        }
    }
}

#[test]
fn later_containers_are_skipped_by_the_flags_and_by_the_service_account_of_today() {
    let mut injected = patched(&pod(), &decide(&pod()).review());
    let containers = injected["spec"]["containers"].as_array_mut().unwrap();
    containers.push(json!({ "name": "istio-proxy" }));
    let review = read(&request(&injected));
    assert_eq!(review.service_account(), Some("default"));
    let skip = annotations(&[("ram-sidecar/skip-containers", "istio-proxy")]);
    let mut skipping = Request::default();
    skipping.set(Field::SkipContainers, "istio-proxy", "--skip-containers");
    let outcome = |defaults: &Request, account: Result<Annotations, String>| {
        review.decide(defaults, &account, Policy::Fail).outcome
    };
    let defaults = Request::default();
    assert_eq!(
        outcome(&defaults, Ok(Annotations::new())),
        Outcome::Injected
    );
    assert_eq!(
        outcome(&skipping, Ok(Annotations::new())),
        Outcome::LeftAlone
    );
    assert_eq!(outcome(&defaults, Ok(skip)), Outcome::LeftAlone);
    // What the account skips is unknown.
    let unknown = || Err("no API server".to_owned());
    assert_eq!(outcome(&defaults, unknown()), Outcome::Denied);
    let whole = patched(&pod(), &decide(&pod()).review());
    let review = read(&request(&whole));
    assert_eq!(review.service_account(), None);
    let decision = review.decide(&defaults, &unknown(), Policy::Fail);
    assert_eq!(decision.outcome, Outcome::LeftAlone);
}

#[test]
fn a_container_to_skip_that_a_pod_lacks_is_reported_only_where_the_pod_names_it() {
    let skip = [("ram-sidecar/skip-containers", "istio-proxy")];
    let warnings = |pod: &Value, account: Annotations| {
        let decision = read(&request(pod)).decide(&defaults(), &Ok(account), Policy::Fail);
        assert_eq!(decision.outcome, Outcome::Injected);
        decision.review()["response"]["warnings"].to_string()
    };
    let mut naming = pod();
    naming["metadata"]["annotations"] = annotations(&skip).into();
    let reported = "has no container istio-proxy";
    assert!(warnings(&naming, Annotations::new()).contains(reported));
    // Another webhook may add it later.
    assert!(!warnings(&pod(), annotations(&skip)).contains(reported));
}

#[test]
fn pods_that_share_the_ports_of_a_node_get_ports_of_their_own() {
    let mut pod = pod();
    pod["spec"]["hostNetwork"] = true.into();
    let port = |pod: &Value, defaults: &Request, uid: &str| {
        let mut request = request(pod);
        request["uid"] = uid.into();
        let review = read(&request);
        let answer = review.decide(defaults, &Ok(Annotations::new()), Policy::Fail);
        let injected = patched(pod, &answer.review()).to_string();
        let port = injected.split("http://127.0.0.1:").nth(1).unwrap();
        port.split('/').next().unwrap().parse::<u16>().unwrap()
    };
    let of_reviews = (0..20).map(|uid| port(&pod, &defaults(), &format!("u-{uid}")));
    let ports: BTreeSet<u16> = of_reviews.collect();
    assert!(ports.len() > 15, "{ports:?}");
    let all: Vec<u16> = ports.into_iter().collect();
    assert!(all.iter().all(|port| PORTS.contains(port)), "{all:?}");
    // None is the second or the third port of another.
    assert!(
        all.windows(2)
            .all(|pair| pair[1] - pair[0] >= PORTS_OF_A_POD)
    );
    let mut moved = defaults();
    moved.set(Field::Port, "7012", "--port");
    assert_eq!(port(&pod, &moved, "u"), 7012);
    pod["spec"]["hostNetwork"] = false.into();
    assert_eq!(port(&pod, &defaults(), "u"), 7002);
}

#[test]
fn a_pod_whose_restart_policy_an_operator_has_dropped_is_mended_and_its_owner_warned() {
    let whole = patched(&pod(), &decide(&pod()).review());
    let mut dropped = whole.clone();
    let sidecar = dropped["spec"]["initContainers"][0].as_object_mut();
    sidecar.unwrap().remove("restartPolicy");
    let answer = decide(&dropped).review();
    assert_eq!(patched(&dropped, &answer), whole);
    let warnings = answer["response"]["warnings"].to_string();
    assert!(
        warnings.contains("had lost the restartPolicy"),
        "{warnings}"
    );
}
