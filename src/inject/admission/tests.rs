//! The decisions of the webhook, and their responses.

mod annotations;
mod reviews;

use super::review::count_values;
use super::*;
use crate::inject::Field;
use crate::system::display::is_shown;

fn defaults() -> Request {
    let mut request = Request::default();
    request.set(Field::Role, "flag-role", "--role");
    request.set(
        Field::OidcProviderArn,
        "acs:ram::1:oidc-provider/cluster",
        "--oidc-provider-arn",
    );
    request
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "generateName": "job-", "creationTimestamp": null },
        "spec": { "containers": [{ "name": "job", "image": "job", "resources": {} }] },
        "status": {},
    })
}

fn request(pod: &Value) -> Value {
    json!({
        "uid": "u-1",
        "kind": { "group": "", "version": "v1", "kind": "Pod" },
        "resource": { "group": "", "version": "v1", "resource": "pods" },
        "namespace": "team",
        "operation": "CREATE",
        "userInfo": {},
        "object": pod,
        "oldObject": null,
        "dryRun": false,
        "options": {},
    })
}

fn review(request: &Value) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request })
}

fn read(request: &Value) -> Review {
    Review::read(review(request).to_string().as_bytes()).unwrap()
}

fn decide(pod: &Value) -> Decision {
    read(&request(pod)).decide(&defaults(), &Ok(Annotations::new()), Policy::Fail)
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn annotations(pairs: Pairs<'_>) -> Annotations {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect()
}

/// Applies the patch of a response with an independent implementation.
fn patched(pod: &Value, answer: &Value) -> Value {
    let patch = answer["response"]["patch"].as_str().expect("a patch");
    let patch = STANDARD.decode(patch).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

#[test]
fn a_patched_pod_equals_an_injected_one_and_is_not_patched_again() {
    let pod = pod();
    let decision = decide(&pod);
    assert_eq!(
        (decision.outcome, decision.role.as_deref()),
        (Outcome::Injected, Some("acs:ram::1:role/flag-role"))
    );
    let answer = decision.review();
    assert_eq!(
        (&answer["apiVersion"], &answer["kind"]),
        (&"admission.k8s.io/v1".into(), &"AdmissionReview".into())
    );
    let response = &answer["response"];
    assert_eq!(response["uid"], "u-1");
    assert_eq!(response["allowed"], true);
    assert_eq!(response["patchType"], "JSONPatch");
    // This pod needs no warning.
    assert_eq!(response.get("warnings"), None);

    let injected = patched(&pod, &answer);
    let spec = defaults().for_pod(&pod).check().unwrap();
    assert_eq!(injected, inject(&pod, &spec).unwrap().pod);

    let again = decide(&injected);
    assert_eq!(again.outcome, Outcome::LeftAlone);
    assert_eq!(
        again.review()["response"],
        json!({ "uid": "u-1", "allowed": true })
    );
}

#[test]
fn a_pod_with_errors_is_denied_with_all_of_them_or_created_with_warnings() {
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({
        "ram-sidecar/role": "no role",
        "ram-sidecar/duration": "1s",
        "ram-sidecar/classic": "perhaps",
    });
    let review = read(&request(&pod));
    let account = Ok(Annotations::new());
    let denied = review.decide(&defaults(), &account, Policy::Fail);
    assert_eq!(denied.outcome, Outcome::Denied);
    assert_eq!(denied.errors.len(), 3, "{:?}", denied.errors);
    let answer = denied.review();
    let response = &answer["response"];
    assert_eq!(
        (
            &response["uid"],
            &response["allowed"],
            &response["status"]["code"]
        ),
        (&"u-1".into(), &false.into(), &422.into())
    );
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("the sidecar cannot be injected: "));
    for name in ["role", "duration", "classic"] {
        assert!(
            message.contains(&format!("annotation ram-sidecar/{name}: ")),
            "{message}"
        );
    }
    assert_eq!(response.get("patch"), None);

    let admitted = review.decide(&defaults(), &account, Policy::Ignore);
    assert_eq!(admitted.outcome, Outcome::Admitted);
    let answer = admitted.review();
    let response = &answer["response"];
    assert_eq!(
        (&response["allowed"], response.get("patch")),
        (&true.into(), None)
    );
    let warnings = response["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 3);
    assert!(
        warnings.iter().all(|warning| warning
            .as_str()
            .unwrap()
            .starts_with("ram-sidecar: not injected: ")),
        "{warnings:?}"
    );
}

#[test]
fn every_reason_against_an_injection_follows_the_policy() {
    let with = |path: &str, value: Value| {
        let mut pod = pod();
        *pod.pointer_mut(path).unwrap() = value;
        pod
    };
    let mut many = pod();
    let container = |index: usize| json!({ "name": format!("c{index}") });
    many["spec"]["containers"] = (0..=MAX_CONTAINERS).map(container).collect();
    let mut windows = pod();
    windows["spec"]["os"] = json!({ "name": "windows" });
    let (none, unknown) = (Ok(Annotations::new()), Err("no API server".to_owned()));
    let misspelt = annotations(&[("ram-sidecar/rol", "narrow")]);
    let mut annotated = pod();
    annotated["metadata"]["annotations"] = misspelt.clone().into();
    let misspelt = Ok(misspelt);
    let empty = Request::default();
    for (pod, defaults, account, reason) in [
        (pod(), &empty, &none, "--identity"),
        (pod(), &defaults(), &unknown, "no API server"),
        (
            annotated,
            &defaults(),
            &none,
            "the annotation ram-sidecar/rol",
        ),
        (
            pod(),
            &defaults(),
            &misspelt,
            "the service account's annotation ram-sidecar/rol",
        ),
        (windows, &defaults(), &none, "Windows"),
        (many, &defaults(), &none, "more than 100 containers"),
        (
            with("/spec", Value::Null),
            &defaults(),
            &none,
            "spec is not an object",
        ),
        (
            with("/spec/containers", json!([])),
            &defaults(),
            &none,
            "spec.containers is empty",
        ),
        (
            with("/spec/containers", json!({})),
            &defaults(),
            &none,
            "containers",
        ),
        (
            with("/spec/containers", json!([1])),
            &defaults(),
            &none,
            "an item that is not a container",
        ),
    ] {
        let review = read(&request(&pod));
        let denied = review.decide(defaults, account, Policy::Fail);
        assert_eq!(denied.outcome, Outcome::Denied, "{reason}");
        assert!(denied.errors[0].contains(reason), "{:?}", denied.errors);
        let admitted = review.decide(defaults, account, Policy::Ignore);
        assert_eq!(admitted.outcome, Outcome::Admitted, "{reason}");
        assert_eq!(admitted.errors, denied.errors);
    }
}

#[test]
fn messages_fit_into_a_header_whatever_text_they_repeat() {
    let name = format!("{}\u{2028}\r\nX: y {}", "é".repeat(300), "x".repeat(5000));
    let names: Vec<String> = (0..200).map(|index| format!("{index}{name}")).collect();
    let mut pod = pod();
    pod["metadata"]["annotations"] =
        json!({ "ram-sidecar/skip-containers": serde_json::to_string(&names).unwrap() });
    let answer = decide(&pod).review();
    let warnings = answer["response"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), MAX_WARNINGS);
    for warning in warnings.iter().map(|warning| warning.as_str().unwrap()) {
        assert!(warning.starts_with("ram-sidecar: "), "{warning}");
        assert!(
            warning.len() <= MAX_WARNING_SIZE && warning.chars().all(is_shown),
            "{warning}"
        );
    }
    pod["metadata"]["annotations"] = json!({ "ram-sidecar/role": name });
    let answer = decide(&pod).review();
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.len() <= MAX_MESSAGE_SIZE && message.chars().all(is_shown));
}

#[test]
fn names_of_the_pod_take_precedence_over_those_of_the_request() {
    let named = |metadata: Value, name: &str, namespace: &str| {
        let mut pod = pod();
        pod["metadata"] = metadata;
        let mut request = request(&pod);
        request["name"] = name.into();
        request["namespace"] = namespace.into();
        let review = read(&request);
        (review.namespace, review.name)
    };
    let pair = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
    let both = json!({ "name": "job-1", "generateName": "job-", "namespace": "its" });
    assert_eq!(named(both, "", "team"), pair("team", "job-1"));
    let generated = json!({ "generateName": "job-", "namespace": "its" });
    assert_eq!(named(generated, "", ""), pair("its", "job-"));
    assert_eq!(named(json!({}), "job-2", "team"), pair("team", "job-2"));
    assert_eq!(named(Value::Null, "", ""), pair("", ""));
}

#[test]
fn values_are_counted_before_they_are_parsed() {
    fn counted(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(counted).sum(),
            Value::Object(members) => members.values().map(counted).sum(),
            _ => 0,
        }
    }
    for text in [
        "null",
        "[1,2,[3]]",
        r#"{"a":{"b":[]},"c,[{":"d,\"[{","e\\":["x","\\\\"]}"#,
        &review(&request(&pod())).to_string(),
    ] {
        let value: Value = serde_json::from_str(text).unwrap();
        let (bound, count) = (count_values(text.as_bytes()), counted(&value));
        // An empty list counts as if it had one value.
        assert!(
            count <= bound && bound <= 2 * count,
            "{text}: {bound} for {count}"
        );
    }
    assert_eq!(count_values(br#"{"a":{"b":[1]},"c,[{":"d,\"[{"}"#), 5);
}
