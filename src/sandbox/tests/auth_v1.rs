//! Authentication of RPC requests: signatures, access keys, timestamps, nonces, security tokens.

use std::time::Duration;

use chrono::TimeDelta;

use super::client::{call, start};
use crate::credentials::timestamp;

#[tokio::test]
async fn signed_parameters_are_accepted_in_the_query_and_in_the_body() {
    let sandbox = start().await;
    let request = call(&sandbox, "AssumeRole")
        .with("RegionId", "")
        .with("Other", "~*+ /'中文");
    for (nonce, request) in [
        request.clone(),
        request.clone().posted(false),
        request.posted(true),
    ]
    .iter()
    .enumerate()
    {
        let request = request.clone().with("SignatureNonce", &nonce.to_string());
        assert_eq!(request.send(&sandbox).await.status, 200);
    }
}

#[tokio::test]
async fn each_missing_or_wrong_parameter_has_its_code() {
    let sandbox = start().await;
    let good = call(&sandbox, "GetCallerIdentity");
    let now = sandbox.clock().now().wall;
    let at = |minutes: i64| timestamp(now + TimeDelta::minutes(minutes));
    for (request, status, code) in [
        (good.clone().without("Action"), 400, "MissingAction"),
        (good.clone().without("Version"), 400, "MissingVersion"),
        (
            good.clone().with("Action", "CreateUser"),
            404,
            "InvalidApi.NotFound",
        ),
        (
            good.clone().with("Version", "2014-05-26"),
            400,
            "InvalidParameter",
        ),
        (
            good.clone().with("AccessKeyId", ""),
            400,
            "MissingAccessKeyId",
        ),
        (
            good.clone().without("SignatureNonce"),
            400,
            "MissingSignatureNonce",
        ),
        (good.clone().without("Timestamp"), 400, "MissingTimestamp"),
        (
            good.clone().without("SignatureMethod"),
            400,
            "MissingSignatureMethod",
        ),
        (
            good.clone().without("SignatureVersion"),
            400,
            "MissingSignatureVersion",
        ),
        (
            good.clone().with("SignatureMethod", "HMAC-MD5"),
            400,
            "InvalidSignatureMethod",
        ),
        (
            good.clone().with("SignatureVersion", "2.0"),
            400,
            "InvalidParameter",
        ),
        (
            good.clone().with("AccessKeyId", "LTAIunknown"),
            404,
            "InvalidAccessKeyId.NotFound",
        ),
        (
            good.clone().with("Timestamp", "yesterday"),
            400,
            "InvalidTimeStamp.Format",
        ),
        (
            good.clone().with("Timestamp", "2024-01-01T00:00:00.0Z"),
            400,
            "InvalidTimeStamp.Format",
        ),
        (
            good.clone().with("Timestamp", &at(-16)),
            400,
            "InvalidTimeStamp.Expired",
        ),
        (
            good.clone().with("Timestamp", &at(16)),
            400,
            "InvalidTimeStamp.Expired",
        ),
        (good.clone().with("SecurityToken", "CAIS"), 400, MISMATCH),
        (
            call(&sandbox, "GetCallerIdentity").with("Timestamp", &at(-14)),
            200,
            "ok",
        ),
        (
            call(&sandbox, "GetCallerIdentity").with("Timestamp", &at(14)),
            200,
            "ok",
        ),
    ] {
        assert_eq!(
            request.send(&sandbox).await.outcome(),
            (status, code.to_owned())
        );
    }
    let unsigned = good.send_unsigned(&sandbox).await;
    assert_eq!(unsigned.outcome(), (400, "MissingSignature".to_owned()));
}

#[tokio::test]
async fn the_error_for_a_wrong_signature_contains_the_string_to_sign() {
    let sandbox = start().await;
    let request = call(&sandbox, "GetCallerIdentity");
    let reply = request
        .clone()
        .with("Signature", "d3Jvbmc=")
        .send_unsigned(&sandbox)
        .await;
    assert_eq!(reply.outcome(), (400, "SignatureDoesNotMatch".to_owned()));
    let expected = format!(
        "Specified signature is not matched with our calculation. server string to sign is:{}",
        request.string_to_sign()
    );
    assert_eq!(reply.at("/Message"), expected);
    // A refused request has not used up its nonce.
    assert_eq!(request.send(&sandbox).await.status, 200);
}

#[tokio::test]
async fn a_nonce_is_accepted_once_in_thirty_minutes() {
    let sandbox = start().await;
    let request = call(&sandbox, "GetCallerIdentity");
    assert_eq!(request.send(&sandbox).await.status, 200);
    let replayed = request.send(&sandbox).await;
    assert_eq!(replayed.outcome(), (400, "SignatureNonceUsed".to_owned()));

    sandbox.clock().shift_wall(TimeDelta::minutes(31));
    let late = request.with("Timestamp", &timestamp(sandbox.clock().now().wall));
    assert_eq!(late.send(&sandbox).await.status, 200);
}

#[tokio::test]
async fn a_disabled_or_replaced_key_is_refused() {
    let sandbox = start().await;
    let outcome = async |request: super::client::Request| request.send(&sandbox).await.outcome();

    sandbox.set_access_key_active(false);
    let inactive = (400, "InvalidAccessKeyId.Inactive".to_owned());
    assert_eq!(outcome(call(&sandbox, "GetCallerIdentity")).await, inactive);
    sandbox.set_access_key_active(true);
    assert_eq!(outcome(call(&sandbox, "GetCallerIdentity")).await.0, 200);

    let before = call(&sandbox, "GetCallerIdentity");
    let rotated = sandbox.rotate_access_key();
    assert_eq!(rotated.id, sandbox.access_key_id());
    assert_eq!(
        outcome(before).await,
        (404, "InvalidAccessKeyId.NotFound".to_owned())
    );
    assert_eq!(outcome(call(&sandbox, "GetCallerIdentity")).await.0, 200);
}

#[tokio::test]
async fn a_session_must_send_its_own_unexpired_token() {
    let sandbox = start().await;
    let session = call(&sandbox, "AssumeRole").send(&sandbox).await;
    let other = call(&sandbox, "AssumeRole")
        .send(&sandbox)
        .await
        .at("/Credentials/SecurityToken");
    let good = || call(&sandbox, "GetCallerIdentity").by_session(&session);
    for (request, status, code) in [
        (good(), 200, "ok"),
        (good().without("SecurityToken"), 400, "MissingSecurityToken"),
        (
            good().with("SecurityToken", "CAIS?"),
            400,
            "InvalidSecurityToken.Malformed",
        ),
        (
            good().with("SecurityToken", "AAAA"),
            400,
            "InvalidSecurityToken.Malformed",
        ),
        (good().with("SecurityToken", &other), 400, MISMATCH),
    ] {
        assert_eq!(
            request.send(&sandbox).await.outcome(),
            (status, code.to_owned())
        );
    }
    sandbox
        .clock()
        .shift_wall(TimeDelta::from_std(Duration::from_secs(3600)).unwrap());
    let expired = (400, "InvalidSecurityToken.Expired".to_owned());
    assert_eq!(good().send(&sandbox).await.outcome(), expired);
}

const MISMATCH: &str = "InvalidSecurityToken.MismatchWithAccessKey";
