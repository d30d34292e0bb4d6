use super::review::{MOST_VALUES, values};
use super::*;
use crate::failure::breaks_a_line;
use crate::inject::Word;

fn defaults() -> Wanted {
    let mut wanted = Wanted::default();
    wanted.say(Word::Role, "flag-role", "--role");
    wanted.say(
        Word::OidcProviderArn,
        "acs:ram::1:oidc-provider/cluster",
        "--oidc-provider-arn",
    );
    wanted
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

type Check<'a> = &'a dyn Fn(&Value) -> bool;

fn annotations(pairs: Pairs<'_>) -> Annotations {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect()
}

/// Applies the patch of an answer with an implementation that is not ours.
fn patched(pod: &Value, answer: &Value) -> Value {
    let patch = answer["response"]["patch"].as_str().expect("a patch");
    let patch = STANDARD.decode(patch).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

#[test]
fn a_pod_is_patched_into_what_inject_makes_of_it_and_then_left_alone() {
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
    // Nothing was out of order.
    assert_eq!(response.get("warnings"), None);

    let injected = patched(&pod, &answer);
    let wish = defaults().of_pod(&pod).checked().unwrap();
    assert_eq!(injected, inject(&pod, &wish).unwrap().pod);

    let again = decide(&injected);
    assert_eq!(again.outcome, Outcome::LeftAlone);
    assert_eq!(
        again.review()["response"],
        json!({ "uid": "u-1", "allowed": true })
    );
}

#[test]
fn what_is_no_review_is_refused_with_a_reason() {
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
    let many = format!("[{}]", "0,".repeat(MOST_VALUES));
    for (text, code, told) in [
        ("", "NotJson", "line 1, column 0"),
        ("{\n\"a\": x", "NotJson", "line 2"),
        (&deep, "NotJson", "is not JSON"),
        ("[]", "NoReview", "is no AdmissionReview"),
        ("null", "NoReview", "is no AdmissionReview"),
        (&other.to_string(), "NoReview", "is no AdmissionReview"),
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
        assert!(malformed.message.contains(told), "{malformed:?}");
    }
    // An answer that was taken for a request.
    let answer = decide(&pod()).review().to_string();
    let malformed = Review::read(answer.as_bytes()).unwrap_err();
    assert_eq!(malformed.code, "NoRequest");
}

#[test]
fn what_is_no_new_pod_or_wants_no_sidecar_is_left_alone() {
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
    let mut gone = request(&Value::Null);
    gone["operation"] = "DELETE".into();
    requests.push(gone);
    for labels in [
        json!({ "ram-sidecar/inject": "false" }),
        json!({ "pod-identity.alibabacloud.com/injection": "off" }),
        json!({ "ram-sidecar/inject": "false", "pod-identity.alibabacloud.com/injection": "on" }),
    ] {
        let mut pod = pod();
        pod["metadata"]["labels"] = labels;
        // It is not even asked whether it could be.
        pod["metadata"]["annotations"] = json!({ "ram-sidecar/role": "no role" });
        requests.push(request(&pod));
    }
    // One that has it needs no role, and may have as many containers as it likes.
    let mut many = pod();
    let container = |index: usize| json!({ "name": format!("c{index}") });
    many["spec"]["containers"] = (0..=MOST_CONTAINERS).map(container).collect();
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
        assert_eq!(review.account(), None, "{request}");
        let account = Err("not asked".to_owned());
        let decision = review.decide(&Wanted::default(), &account, Policy::Fail);
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
fn the_pod_says_more_than_its_service_account_and_that_more_than_the_flags() {
    let acks = ACKS_ROLE;
    let carried = json!({
        "containers": [{
            "name": "job",
            "env": [
                { "name": "ALIBABA_CLOUD_ROLE_ARN", "value": "acs:ram::2:role/carried" },
                { "name": "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "value": "acs:ram::2:oidc-provider/cluster" },
            ],
        }],
        "volumes": [{ "name": "rrsa-oidc-token" }],
    });
    let plain = pod()["spec"].clone();
    // Each row adds something stronger.
    let rows: [(&Value, Pairs<'_>, Pairs<'_>, &str); 6] = [
        (&plain, &[], &[], "acs:ram::1:role/flag-role"),
        (&carried, &[], &[], "acs:ram::2:role/carried"),
        (&carried, &[(acks, "theirs")], &[], "acs:ram::2:role/theirs"),
        (
            &carried,
            &[(acks, "theirs"), ("ram-sidecar/role", "ours")],
            &[],
            "acs:ram::2:role/ours",
        ),
        (
            &carried,
            &[("ram-sidecar/role", "ours")],
            &[(acks, "pods")],
            "acs:ram::2:role/pods",
        ),
        (
            &carried,
            &[("ram-sidecar/role", "ours")],
            &[(acks, "pods"), ("ram-sidecar/role", "acs:ram::3:role/own")],
            "acs:ram::3:role/own",
        ),
    ];
    for (spec, account, own, role) in rows {
        let mut pod = pod();
        pod["spec"] = spec.clone();
        pod["metadata"]["annotations"] = annotations(own).into();
        let review = read(&request(&pod));
        let decision = review.decide(&defaults(), &Ok(annotations(account)), Policy::Fail);
        assert_eq!(decision.role.as_deref(), Some(role));
    }
}

#[test]
fn every_annotation_has_its_effect_on_a_pod_and_on_its_service_account() {
    let sidecar = |pod: &Value| pod["spec"]["initContainers"][0].clone();
    let variable = |pod: &Value, name: &str| {
        let sidecar = sidecar(pod);
        let env = sidecar["env"].as_array().unwrap().iter();
        let found = env.clone().find(|entry| entry["name"] == name);
        found.map(|entry| entry["value"].as_str().unwrap_or_default().to_owned())
    };
    let led = |pod: &Value| pod["spec"]["containers"][0].get("volumeMounts").is_some();
    let token = |pod: &Value| {
        let volumes = pod["spec"]["volumes"].as_array().unwrap().iter();
        let token = volumes
            .clone()
            .find(|v| v["name"] == "rrsa-oidc-token")
            .unwrap();
        token["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"].clone()
    };
    let rows: [(&str, &str, Check<'_>); 13] = [
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
        ("ram-sidecar/metadata", "true", &|pod| {
            sidecar(pod)["name"] == "ram-sidecar-address"
        }),
        ("ram-sidecar/skip-containers", "job", &|pod| !led(pod)),
        ("ram-sidecar/only-containers", "other", &|pod| !led(pod)),
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
            &|pod| !led(pod),
        ),
        (
            "pod-identity.alibabacloud.com/only-containers",
            "other",
            &|pod| !led(pod),
        ),
    ];
    let known = crate::inject::PLACES.iter();
    let known = known.flat_map(|place| [place.annotation, place.ack]);
    for name in known.flatten() {
        let is_here = rows.iter().any(|(row, ..)| *row == name);
        assert!(is_here || name == ACKS_ROLE, "{name} has no row");
    }
    for (name, value, is_right) in rows {
        let said = annotations(&[(name, value)]);
        let mut annotated = pod();
        annotated["metadata"]["annotations"] = said.clone().into();
        for (pod, account) in [(annotated, Annotations::new()), (pod(), said)] {
            let decision = read(&request(&pod)).decide(&defaults(), &Ok(account), Policy::Fail);
            assert_eq!(decision.outcome, Outcome::Injected, "{name}");
            let injected = patched(&pod, &decision.review());
            assert!(is_right(&injected), "{name}: {injected:#}");
        }
    }
}

/// Which role it gives is the matter of another test.
const ACKS_ROLE: &str = "pod-identity.alibabacloud.com/role-name";

#[test]
fn a_pod_that_cannot_have_it_is_denied_with_all_its_mistakes_or_created_with_warnings() {
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
    assert_eq!(denied.mistakes.len(), 3, "{:?}", denied.mistakes);
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
        warnings.iter().all(|told| told
            .as_str()
            .unwrap()
            .starts_with("ram-sidecar: not injected: ")),
        "{warnings:?}"
    );
}

#[test]
fn every_reason_why_a_pod_cannot_have_it_follows_the_policy() {
    let with = |path: &str, value: Value| {
        let mut pod = pod();
        *pod.pointer_mut(path).unwrap() = value;
        pod
    };
    let mut many = pod();
    let container = |index: usize| json!({ "name": format!("c{index}") });
    many["spec"]["containers"] = (0..=MOST_CONTAINERS).map(container).collect();
    let mut windows = pod();
    windows["spec"]["os"] = json!({ "name": "windows" });
    let (asked, unknown) = (Ok(Annotations::new()), Err("no API server".to_owned()));
    let misspelt = annotations(&[("ram-sidecar/rol", "narrow")]);
    let mut own = pod();
    own["metadata"]["annotations"] = misspelt.clone().into();
    let misspelt = Ok(misspelt);
    let nothing = Wanted::default();
    for (pod, wanted, account, told) in [
        (pod(), &nothing, &asked, "--identity"),
        (pod(), &defaults(), &unknown, "no API server"),
        (own, &defaults(), &asked, "the annotation ram-sidecar/rol"),
        (
            pod(),
            &defaults(),
            &misspelt,
            "the service account's annotation ram-sidecar/rol",
        ),
        (windows, &defaults(), &asked, "Windows"),
        (many, &defaults(), &asked, "more than 100 containers"),
        (
            with("/spec", Value::Null),
            &defaults(),
            &asked,
            "spec is no object",
        ),
        (
            with("/spec/containers", json!([])),
            &defaults(),
            &asked,
            "spec.containers is empty",
        ),
        (
            with("/spec/containers", json!({})),
            &defaults(),
            &asked,
            "containers",
        ),
        (
            with("/spec/containers", json!([1])),
            &defaults(),
            &asked,
            "what is no container",
        ),
    ] {
        let review = read(&request(&pod));
        let denied = review.decide(wanted, account, Policy::Fail);
        assert_eq!(denied.outcome, Outcome::Denied, "{told}");
        assert!(denied.mistakes[0].contains(told), "{:?}", denied.mistakes);
        let admitted = review.decide(wanted, account, Policy::Ignore);
        assert_eq!(admitted.outcome, Outcome::Admitted, "{told}");
        assert_eq!(admitted.mistakes, denied.mistakes);
    }
}

#[test]
fn what_is_told_fits_into_a_header_however_much_there_is_to_tell() {
    let name = format!("{}\u{2028}\r\nX: y {}", "é".repeat(300), "x".repeat(5000));
    let names: Vec<String> = (0..200).map(|index| format!("{index}{name}")).collect();
    let mut pod = pod();
    pod["metadata"]["annotations"] =
        json!({ "ram-sidecar/skip-containers": serde_json::to_string(&names).unwrap() });
    let answer = decide(&pod).review();
    let warnings = answer["response"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), WARNINGS);
    for told in warnings.iter().map(|told| told.as_str().unwrap()) {
        assert!(told.starts_with("ram-sidecar: "), "{told}");
        assert!(
            told.len() <= WARNING && !told.contains(breaks_a_line),
            "{told}"
        );
    }
    pod["metadata"]["annotations"] = json!({ "ram-sidecar/role": name });
    let answer = decide(&pod).review();
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.len() <= LONGEST && !message.contains(breaks_a_line));
}

#[test]
fn names_come_from_the_pod_and_else_from_the_request() {
    let named = |metadata: Value, name: &str, namespace: &str| {
        let mut pod = pod();
        pod["metadata"] = metadata;
        let mut request = request(&pod);
        request["name"] = name.into();
        request["namespace"] = namespace.into();
        let review = read(&request);
        (review.namespace().to_owned(), review.name().to_owned())
    };
    let pair = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
    let both = json!({ "name": "job-1", "generateName": "job-", "namespace": "its" });
    assert_eq!(named(both, "", "team"), pair("team", "job-1"));
    let begun = json!({ "generateName": "job-", "namespace": "its" });
    assert_eq!(named(begun, "", ""), pair("its", "job-"));
    assert_eq!(named(json!({}), "job-2", "team"), pair("team", "job-2"));
    assert_eq!(named(Value::Null, "", ""), pair("", ""));
}

#[test]
fn the_service_account_is_the_one_of_the_pod() {
    let account = |spec: Value| {
        let mut pod = pod();
        pod["spec"] = spec;
        read(&request(&pod)).account().map(str::to_owned)
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
fn values_are_counted_before_they_are_read() {
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
        let (most, real) = (values(text.as_bytes()), counted(&value));
        // An empty list looks as if it had one.
        assert!(
            real <= most && most <= 2 * real,
            "{text}: {most} for {real}"
        );
    }
    assert_eq!(values(br#"{"a":{"b":[1]},"c,[{":"d,\"[{"}"#), 5);
}
