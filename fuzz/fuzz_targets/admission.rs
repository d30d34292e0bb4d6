//! The webhook's decision: a review of the API server, and the annotations of a service account in the second section.
//!
//! Whatever comes in, an answer is one that the API server can take; a patch is applied by an implementation that is not
//! ours, gives what injection gives, loses nothing of the pod, and is followed by none.

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
        let (outcome, mistakes) = (decision.outcome, decision.mistakes.clone());
        let answer = decision.review();
        check(sections[0], &answer, outcome, &mistakes, policy);
    }
});

fn check(text: &[u8], answer: &Value, outcome: Outcome, mistakes: &[String], policy: Policy) {
    let asked: Value = serde_json::from_slice(text).expect("it was read");
    let response = &answer["response"];
    assert_eq!(response["uid"], asked["request"]["uid"]);
    assert_eq!(response["allowed"], outcome != Outcome::Denied);
    assert_eq!(
        mistakes.is_empty(),
        matches!(outcome, Outcome::Injected | Outcome::LeftAlone)
    );
    assert!(outcome != Outcome::Denied || policy == Policy::Fail);
    assert!(outcome != Outcome::Admitted || policy == Policy::Ignore);
    for mistake in mistakes {
        check_line(mistake, &[]);
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
        check_patch(&asked, patch);
    }
}

fn check_patch(asked: &Value, patch: &str) {
    let patch = STANDARD.decode(patch).expect("it is Base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("it is a patch");
    let pod = &asked["request"]["object"];
    let mut injected = pod.clone();
    json_patch::patch(&mut injected, &patch).expect("it fits");
    assert!(is_kept(pod, &injected), "something of the pod is lost");

    let mut again = asked.clone();
    again["request"]["object"] = injected;
    let text = again.to_string();
    // A few more values may be more than are read.
    if let Ok(review) = Review::read(text.as_bytes()) {
        let decision = review.decide(&DEFAULTS, &Ok(Annotations::new()), Policy::Ignore);
        assert_ne!(decision.outcome, Outcome::Injected);
    }
}

/// Whether all of a value is in another: lists may have gained items, and what was null may be something.
fn is_kept(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Null, _) => true,
        (Value::Object(before), Value::Object(after)) => before.iter().all(|(name, value)| {
            let found = after.get(name);
            found.is_some_and(|found| is_kept(value, found))
        }),
        (Value::Array(before), Value::Array(after)) => {
            let mut rest = after.iter();
            before
                .iter()
                .all(|item| rest.any(|other| is_kept(item, other)))
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
