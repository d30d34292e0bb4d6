//! `AssumeRoleWithOIDC`: valid tokens, and each kind of invalid one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::client::{call, oidc_call, start};
use crate::sandbox::{Options, Sandbox, TokenDefect};

const SUBJECT: &str = "system:serviceaccount:train:job";
const AUDIENCE: &str = "sts.aliyuncs.com";
const HOUR: Duration = Duration::from_secs(3600);

fn valid_token(sandbox: &Sandbox) -> String {
    sandbox.oidc_token(SUBJECT, AUDIENCE, HOUR)
}

#[tokio::test]
async fn a_valid_token_needs_no_signature_and_is_described() {
    let sandbox = start().await;
    let reply = oidc_call(&sandbox, &valid_token(&sandbox))
        .send(&sandbox)
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(
        reply.at("/AssumedRoleUser/Arn"),
        format!("{}/session", sandbox.role_arn())
    );
    for (field, value) in [
        ("Subject", SUBJECT),
        ("Issuer", "https://oidc.sandbox.invalid"),
        ("ClientIds", AUDIENCE),
        ("VerificationInfo", "Success"),
    ] {
        assert_eq!(reply.at(&format!("/OIDCTokenInfo/{field}")), value);
    }
    for field in ["ExpirationTime", "IssuanceTime"] {
        assert_eq!(reply.at(&format!("/OIDCTokenInfo/{field}")).len(), 20);
    }
    let identity = call(&sandbox, "GetCallerIdentity")
        .by_session(&reply)
        .send(&sandbox)
        .await;
    assert_eq!(identity.at("/IdentityType"), "AssumedRoleUser");
}

#[tokio::test]
async fn each_defect_has_its_code() {
    let sandbox = start().await;
    for (defect, code) in [
        (TokenDefect::OtherIssuer, "IssuerNotMatch"),
        (TokenDefect::OtherKey, "InvalidSignature"),
        (TokenDefect::UnknownKeyId, "InvalidSignature"),
        (TokenDefect::OtherAlgorithm, "Invalid"),
        (TokenDefect::Expired, "Expired"),
        (TokenDefect::NotYetValid, "Invalid"),
    ] {
        let token = sandbox.invalid_oidc_token(defect, SUBJECT, AUDIENCE, HOUR);
        refuses(&sandbox, &token, code).await;
    }
    refuses(
        &sandbox,
        &sandbox.oidc_token(SUBJECT, "another", HOUR),
        "AudienceNotMatch",
    )
    .await;

    let token = valid_token(&sandbox);
    sandbox.clock().shift_wall(TimeDelta::hours(1));
    refuses(&sandbox, &token, "Expired").await;
}

#[tokio::test]
async fn malformed_tokens_are_refused_with_the_messages_of_sts() {
    let sandbox = start().await;
    let token = valid_token(&sandbox);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let forged = |header: &str, claims: &str| {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{signature}", encode(header), encode(claims))
    };
    let es256 = r#"{"alg":"ES256"}"#;
    for (token, message) in [
        (String::new(), "The OIDCToken can not empty."),
        (
            "x".repeat(20_001),
            "The Jwt content is invalid that cannot be recognized.",
        ),
        (
            signed.to_owned(),
            "The number of Jwt field should be divided into 3 parts with '.' .",
        ),
        (
            format!("{token}.x"),
            "The number of Jwt field should be divided into 3 parts with '.' .",
        ),
        (
            format!("{signed}.?"),
            "Cannot decode base64 encoded response(format invalid).",
        ),
        (
            forged("{", "{}"),
            "The Jwt content is invalid that cannot be recognized.",
        ),
        (
            forged(es256, "[]"),
            "The Jwt content is invalid that cannot be recognized.",
        ),
        (
            forged(
                es256,
                r#"{"iss":"i","sub":"s","aud":"a","exp":99999999999999999}"#,
            ),
            "The Jwt content is invalid that cannot be recognized.",
        ),
        (
            forged(r#"{"alg":"none"}"#, "{}"),
            "The algorithm none that be specified in Jwt header is unknown.",
        ),
    ] {
        let reply = oidc_call(&sandbox, &token).send(&sandbox).await;
        let code = "AuthenticationFail.OIDCToken.Invalid".to_owned();
        assert_eq!(reply.outcome(), (401, code), "{token}");
        assert_eq!(reply.at("/Message"), message);
    }
    let altered = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 64]));
    refuses(&sandbox, &altered, "InvalidSignature").await;
    refuses(&sandbox, &format!("{signed}."), "InvalidSignature").await;
}

#[tokio::test]
async fn role_provider_and_parameters_are_checked_too() {
    let sandbox = start().await;
    let good = oidc_call(&sandbox, &valid_token(&sandbox));
    for (name, value, status, code) in [
        ("OIDCProviderArn", "", 400, "MissingOIDCProviderArn"),
        (
            "OIDCProviderArn",
            "acs:ram::1:x",
            401,
            "AuthenticationFail.NoPermission",
        ),
        ("RoleArn", "", 400, "MissingRoleArn"),
        ("RoleArn", "acs:ram::1:role/x", 404, "EntityNotExist.Role"),
        ("RoleSessionName", "", 400, "MissingRoleSessionName"),
        (
            "RoleSessionName",
            "a/b",
            400,
            "InvalidParameter.RoleSessionName",
        ),
        (
            "DurationSeconds",
            "60",
            400,
            "InvalidParameter.DurationSeconds",
        ),
        (
            "DurationSeconds",
            "7200",
            400,
            "InvalidParameter.DurationSeconds",
        ),
        ("Policy", "?", 400, "InvalidParameter.PolicyGrammar"),
    ] {
        let reply = good.clone().with(name, value).send(&sandbox).await;
        assert_eq!(reply.outcome(), (status, code.to_owned()), "{name}={value}");
    }
}

#[tokio::test]
async fn the_trust_policy_decides_on_issuer_audience_and_subject() {
    let sandbox = start().await;
    let request = oidc_call(&sandbox, &valid_token(&sandbox));
    for (operator, key, value, status) in [
        ("StringEquals", "oidc:sub", SUBJECT, 200),
        (
            "StringEquals",
            "oidc:sub",
            "system:serviceaccount:train:*",
            401,
        ),
        (
            "StringLike",
            "oidc:sub",
            "system:serviceaccount:train:*",
            200,
        ),
        (
            "StringLike",
            "oidc:sub",
            "system:serviceaccount:other:*",
            401,
        ),
        ("StringEquals", "oidc:aud", AUDIENCE, 200),
        ("StringEquals", "oidc:aud", "another", 401),
        (
            "StringEquals",
            "oidc:iss",
            "https://oidc.sandbox.invalid",
            200,
        ),
        ("StringEquals", "oidc:iss", "https://another.invalid", 401),
        ("StringEquals", "sts:ExternalId", "x", 401),
    ] {
        let policy = json!({"Version": "1", "Statement": [{
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Federated": [sandbox.oidc_provider_arn()]},
            "Condition": {operator: {key: [value]}},
        }]});
        sandbox
            .set_trust_policy(&sandbox.role_arn(), &policy.to_string())
            .unwrap();
        let reply = request.send(&sandbox).await;
        assert_eq!(reply.status, status, "{operator} {key} {value}");
        if status == 401 {
            assert_eq!(reply.outcome().1, "AuthenticationFail.NoPermission");
        }
    }
}

#[tokio::test]
async fn configured_key_set_replaces_the_key_of_the_sandbox() {
    let issuer = start().await;
    let token = valid_token(&issuer);
    let sandbox_key: Value = serde_json::from_str(&issuer.oidc_keys()).unwrap();
    let sandbox_key = &sandbox_key["keys"][0];
    let mut renamed = sandbox_key.clone();
    renamed["kid"] = json!("another");
    let unsupported = json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"});
    for (keys, status) in [
        (json!([unsupported, sandbox_key]), 200),
        (json!([renamed]), 401),
        (json!([]), 401),
    ] {
        let oidc_keys = Some(json!({"keys": keys}).to_string());
        let sandbox = Sandbox::start(Options {
            oidc_keys,
            ..Options::default()
        })
        .await
        .unwrap();
        assert_eq!(
            oidc_call(&sandbox, &token).send(&sandbox).await.status,
            status,
            "{keys}"
        );
    }
    for broken in [
        "",
        "{}",
        r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#,
    ] {
        let options = Options {
            oidc_keys: Some(broken.to_owned()),
            ..Options::default()
        };
        let error = Sandbox::start(options).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{broken}");
    }
}

async fn refuses(sandbox: &Sandbox, token: &str, reason: &str) {
    let reply = oidc_call(sandbox, token).send(sandbox).await;
    let code = format!("AuthenticationFail.OIDCToken.{reason}");
    assert_eq!(reply.outcome(), (401, code));
}
