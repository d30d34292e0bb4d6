//! The webhook's decision: a review of the API server, and the annotations of a service account in the second section.
//!
//! For any input, the response is valid for the API server. An independent implementation applies the patch, which removes
//! nothing from the pod; the patched pod is not patched again.

#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use ram_sidecar::inject::admission::{Outcome, Policy, Review};
use ram_sidecar::inject::{Annotations, Field, Request};
use ram_sidecar_fuzz::{check_line, sections};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let sections = sections(data);
    let review = match Review::read(sections[0]) {
        Ok(review) => review,
        Err(malformed) => return check_line(&malformed.message, &[]),
    };
    let account = sections.get(1).map_or(Ok(Annotations::new()), |text| {
        serde_json::from_slice(text).map_err(|_| "it cannot be read".to_owned())
    });
    for policy in [Policy::Fail, Policy::Ignore] {
        let decision = review.decide(&DEFAULTS, &account, policy);
        let (outcome, errors) = (decision.outcome, decision.errors.clone());
        let answer = decision.review();
        check(sections[0], &answer, outcome, &errors, policy);
    }
});

fn check(text: &[u8], answer: &Value, outcome: Outcome, errors: &[String], policy: Policy) {
    let sent: Value = serde_json::from_slice(text).expect("it was read");
    let response = &answer["response"];
    assert_eq!(response["uid"], sent["request"]["uid"]);
    assert_eq!(response["allowed"], outcome != Outcome::Denied);
    assert_eq!(
        errors.is_empty(),
        matches!(outcome, Outcome::Injected | Outcome::LeftAlone)
    );
    assert!(outcome != Outcome::Denied || policy == Policy::Fail);
    assert!(outcome != Outcome::Admitted || policy == Policy::Ignore);
    for error in errors {
        check_line(error, &[]);
    }
    let warnings = response["warnings"].as_array();
    let warnings = warnings.into_iter().flatten().filter_map(Value::as_str);
    let mut length = 0;
    for warning in warnings {
        check_line(warning, &[]);
        assert!(warning.len() <= 256);
        length += warning.len();
    }
    assert!(length <= 4096);
    let patch = response.get("patch").and_then(Value::as_str);
    assert_eq!(patch.is_some(), outcome == Outcome::Injected);
    if let Some(patch) = patch {
        check_patch(&sent, patch);
    }
}

fn check_patch(sent: &Value, patch: &str) {
    let patch = STANDARD.decode(patch).expect("it is Base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("it is a patch");
    let pod = &sent["request"]["object"];
    let mut injected = pod.clone();
    json_patch::patch(&mut injected, &patch).expect("the patch applies");
    assert!(is_preserved(pod, &injected), "a part of the pod is lost");

    let mut again = sent.clone();
    again["request"]["object"] = injected;
    let text = again.to_string();
    // The added values may exceed the limit of a review.
    if let Ok(review) = Review::read(text.as_bytes()) {
        let decision = review.decide(&DEFAULTS, &Ok(Annotations::new()), Policy::Ignore);
        assert_ne!(decision.outcome, Outcome::Injected);
    }
}

/// Whether everything in `before` is in `after`. A null may have become another value.
fn is_preserved(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Null, _) => true,
        (Value::Object(before), Value::Object(after)) => before.iter().all(|(name, value)| {
            let found = after.get(name);
            found.is_some_and(|found| is_preserved(value, found))
        }),
        (Value::Array(before), Value::Array(after)) => {
            let mut rest = after.iter();
            before
                .iter()
                .all(|item| rest.any(|other| is_preserved(item, other)))
        }
        _ => before == after,
    }
}

static DEFAULTS: LazyLock<Request> = LazyLock::new(|| {
    let mut request = Request::default();
    request.set(Field::Role, "job", "--role");
    let provider = "acs:ram::1:oidc-provider/cluster";
    request.set(Field::OidcProviderArn, provider, "--oidc-provider-arn");
    request
});
