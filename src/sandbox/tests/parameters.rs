//! The bounds of every parameter of `AssumeRole`.

use std::time::Duration;

use serde_json::json;

use super::client::{call, start};
use crate::sandbox::{Options, Sandbox};

#[tokio::test]
async fn names_and_arns_outside_their_bounds_are_refused() {
    let sandbox = start().await;
    for (name, value, code) in [
        ("RoleArn", "", "MissingRoleArn"),
        (
            "RoleArn",
            "acs:ram::12ab:role/x",
            "InvalidParameter.RoleArn",
        ),
        ("RoleArn", "acs:ram::1:role/other", "EntityNotExist.Role"),
        ("RoleSessionName", "", "MissingRoleSessionName"),
        ("RoleSessionName", "x", "InvalidParameter.RoleSessionName"),
        (
            "RoleSessionName",
            &"x".repeat(65),
            "InvalidParameter.RoleSessionName",
        ),
        ("RoleSessionName", "a b", "InvalidParameter.RoleSessionName"),
        (
            "RoleSessionName",
            "中文",
            "InvalidParameter.RoleSessionName",
        ),
        ("RoleSessionName", &"x".repeat(64), "ok"),
        ("RoleSessionName", "a.@-_Z9", "ok"),
        ("ExternalId", "x", "InvalidParameter.ExternalId"),
        (
            "ExternalId",
            &"x".repeat(1225),
            "InvalidParameter.ExternalId",
        ),
        ("ExternalId", "a b", "InvalidParameter.ExternalId"),
        ("ExternalId", "a_+=,.@:/-", "ok"),
        ("SourceIdentity", "x", "InvalidParameter.SourceIdentity"),
        (
            "SourceIdentity",
            "acs:me",
            "InvalidParameter.SourceIdentity",
        ),
        (
            "SourceIdentity",
            &"x".repeat(65),
            "InvalidParameter.SourceIdentity",
        ),
        ("SourceIdentity", "Alice+=,.@-_", "ok"),
    ] {
        expect(&sandbox, name, value, code).await;
    }
}

#[tokio::test]
async fn durations_outside_their_bounds_are_refused() {
    let sandbox = start().await;
    let wrong = "InvalidParameter.DurationSeconds";
    for value in ["899", "3601", "-1", "+3600", "1e3", " 900", &"9".repeat(99)] {
        expect(&sandbox, "DurationSeconds", value, wrong).await;
    }
    for value in ["900", "3600"] {
        expect(&sandbox, "DurationSeconds", value, "ok").await;
    }
    let long = Options {
        max_session: Duration::from_secs(43_200),
        ..Options::default()
    };
    let sandbox = Sandbox::start(long).await.unwrap();
    expect(&sandbox, "DurationSeconds", "43200", "ok").await;
    expect(&sandbox, "DurationSeconds", "43201", wrong).await;
}

#[tokio::test]
async fn session_policies_beyond_size_or_grammar_are_refused() {
    let sandbox = start().await;
    let policy = |length: usize| {
        let frame =
            r#"{"Statement":[{"Action":"","Effect":"Allow","Resource":"*"}],"Version":"1"}"#.len();
        let action = "x".repeat(length - frame);
        let statement = json!({"Effect": "Allow", "Action": action, "Resource": "*"});
        json!({"Version": "1", "Statement": [statement]}).to_string()
    };
    for (value, code) in [
        (policy(2048).as_str(), "ok"),
        (&policy(2049), "InvalidParameter.PolicySize"),
        ("{", "InvalidParameter.PolicyGrammar"),
        ("[]", "InvalidParameter.PolicyGrammar"),
        (r#"{"Statement": []}"#, "InvalidParameter.PolicyGrammar"),
        (
            r#"{"Version": "1", "Statement": {}}"#,
            "InvalidParameter.PolicyGrammar",
        ),
        (
            r#"{"Version": "1", "Statement": [{}]}"#,
            "InvalidParameter.PolicyGrammar",
        ),
        (
            r#"{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "oss:*"}]}"#,
            "InvalidParameter.PolicyGrammar",
        ),
    ] {
        expect(&sandbox, "Policy", value, code).await;
    }
}

/// Sends one parameter as given; the others are valid.
async fn expect(sandbox: &Sandbox, name: &str, value: &str, code: &str) {
    let status = match code {
        "ok" => 200,
        "EntityNotExist.Role" => 404,
        _ => 400,
    };
    let reply = call(sandbox, "AssumeRole")
        .with(name, value)
        .send(sandbox)
        .await;
    assert_eq!(reply.outcome(), (status, code.to_owned()), "{name}={value}");
}
