//! V3 requests, signed and anonymous.

use std::time::Duration;

use chrono::TimeDelta;

use super::client::start;
use super::client_v3::{Request, call};
use crate::credentials::timestamp;
use crate::sandbox::AccessKey;

#[tokio::test]
async fn parameters_are_accepted_in_the_query_and_in_a_form() {
    let sandbox = start().await;
    let key = sandbox.access_key();
    let awkward = |request: Request| {
        request
            .with_query("Other", "~*+ /'中文")
            .with_query("Empty", "")
    };
    let mixed = awkward(call(&sandbox, "AssumeRole").in_form());
    for request in [
        awkward(call(&sandbox, "AssumeRole")),
        awkward(call(&sandbox, "AssumeRole")).in_form(),
        mixed,
        Request {
            method: "GET",
            ..awkward(call(&sandbox, "AssumeRole"))
        },
    ] {
        let reply = request.signed_with(&key).send(&sandbox).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(
            sandbox
                .issued(&reply.at("/Credentials/AccessKeyId"))
                .is_some()
        );
    }
    let seen = sandbox.requests().remove(0);
    assert_eq!(
        (seen.action, seen.access_key_id),
        (Some("AssumeRole"), Some(key.id))
    );
}

#[tokio::test]
async fn each_missing_header_has_its_code() {
    let sandbox = start().await;
    let key = sandbox.access_key();
    let without = |header| {
        let request = call(&sandbox, "GetCallerIdentity").without(header);
        request.signed_with(&key)
    };
    for (request, code) in [
        (without("x-acs-action"), "MissingAction"),
        (without("x-acs-version"), "MissingVersion"),
        (without("x-acs-date"), "MissingTimestamp"),
        (without("x-acs-signature-nonce"), "MissingSignatureNonce"),
        (without("").without("authorization"), "MissingAccessKeyId"),
        (without("").without("x-acs-content-sha256"), INCOMPLETE),
        (without("").with("x-acs-other", "unsigned"), INCOMPLETE),
        (
            without("").with("authorization", "ACS3-HMAC-SHA256 x"),
            INCOMPLETE,
        ),
    ] {
        let outcome = request.send(&sandbox).await.outcome();
        assert_eq!(outcome, (400, code.to_owned()));
    }
    // A parameter of the query does not replace a header.
    let request = call(&sandbox, "GetCallerIdentity").without("x-acs-action");
    let request = request
        .with_query("Action", "GetCallerIdentity")
        .signed_with(&key);
    let outcome = request.send(&sandbox).await.outcome();
    assert_eq!(outcome, (400, "MissingAction".to_owned()));
}

#[tokio::test]
async fn each_wrong_header_has_its_code() {
    let sandbox = start().await;
    let key = sandbox.access_key();
    let with = |header, value: &str| {
        let request = call(&sandbox, "GetCallerIdentity").with(header, value);
        request.signed_with(&key)
    };
    let by = |id: &str, secret: &str| {
        let (id, secret) = (id.to_owned(), secret.into());
        call(&sandbox, "GetCallerIdentity").signed_with(&AccessKey { id, secret })
    };
    let now = sandbox.clock().now().wall;
    let at = |minutes| with("x-acs-date", &timestamp(now + TimeDelta::minutes(minutes)));
    let good = with("accept", "*/*");
    let other = good.clone().with("authorization", "ACS3-HMAC-SM3 x");
    for (request, status, code) in [
        (
            with("x-acs-action", "CreateUser"),
            404,
            "InvalidApi.NotFound",
        ),
        (with("x-acs-version", "2014-05-26"), 400, "InvalidParameter"),
        (
            with("x-acs-date", "yesterday"),
            400,
            "InvalidTimeStamp.Format",
        ),
        (at(-16), 400, "InvalidTimeStamp.Expired"),
        (at(16), 400, "InvalidTimeStamp.Expired"),
        (at(-14), 200, "ok"),
        (at(14), 200, "ok"),
        (by("LTAIunknown", "x"), 404, "InvalidAccessKeyId.NotFound"),
        (by(&key.id, "wrong"), 400, MISMATCH),
        (good.clone().with_query("a", "b"), 400, MISMATCH),
        (other, 400, "InvalidSignatureMethod"),
        // A refused request has not used up its nonce.
        (good.clone(), 200, "ok"),
        (good, 400, "SignatureNonceUsed"),
    ] {
        let outcome = request.send(&sandbox).await.outcome();
        assert_eq!(outcome, (status, code.to_owned()));
    }
}

#[tokio::test]
async fn a_body_that_was_not_signed_is_refused() {
    let sandbox = start().await;
    let mut request = call(&sandbox, "AssumeRole")
        .in_form()
        .signed_with(&sandbox.access_key());
    request
        .form
        .insert("RoleSessionName".to_owned(), "other".to_owned());
    let reply = request.send(&sandbox).await;
    assert_eq!(reply.outcome(), (400, MISMATCH.to_owned()));
    let message = reply.at("/Message");
    let opening = "Specified signature does not match our calculation. \
                   server StringToSign is [ACS3-HMAC-SHA256\n";
    assert!(message.starts_with(opening), "{message}");
    let wanted = "server CanonicalRequest is [POST\n/\n\ncontent-type:application/x-www-form";
    assert!(message.contains(wanted), "{message}");
}

#[tokio::test]
async fn a_session_sends_its_token_in_a_header() {
    let sandbox = start().await;
    let key = sandbox.access_key();
    let reply = call(&sandbox, "AssumeRole")
        .signed_with(&key)
        .send(&sandbox)
        .await;
    let session = AccessKey {
        id: reply.at("/Credentials/AccessKeyId"),
        secret: reply.at("/Credentials/AccessKeySecret").into(),
    };
    let token = reply.at("/Credentials/SecurityToken");
    let identity_call = || call(&sandbox, "GetCallerIdentity");
    let with_token = || {
        identity_call()
            .with("x-acs-security-token", &token)
            .signed_with(&session)
    };

    let identity = with_token().send(&sandbox).await;
    assert_eq!(identity.at("/IdentityType"), "AssumedRoleUser");
    for (request, code) in [
        (
            identity_call().signed_with(&session),
            "MissingSecurityToken",
        ),
        (
            identity_call()
                .with_query("SecurityToken", &token)
                .signed_with(&session),
            "MissingSecurityToken",
        ),
        (
            identity_call()
                .signed_with(&session)
                .with("x-acs-security-token", &token),
            INCOMPLETE,
        ),
        (
            identity_call()
                .with("x-acs-security-token", "CAIS")
                .signed_with(&session),
            "InvalidSecurityToken.MismatchWithAccessKey",
        ),
    ] {
        let outcome = request.send(&sandbox).await.outcome();
        assert_eq!(outcome, (400, code.to_owned()));
    }
    sandbox.clock().shift_wall(TimeDelta::hours(1));
    let expired = with_token().send(&sandbox).await.outcome();
    assert_eq!(expired, (400, "InvalidSecurityToken.Expired".to_owned()));
}

#[tokio::test]
async fn an_oidc_token_is_exchanged_without_a_signature() {
    let sandbox = start().await;
    let token = sandbox.oidc_token("subject", "sts.aliyuncs.com", Duration::from_secs(600));
    let request = call(&sandbox, "AssumeRoleWithOIDC")
        .with_query("OIDCProviderArn", &sandbox.oidc_provider_arn())
        .with_query("OIDCToken", &token);
    for request in [request.clone(), request.in_form()] {
        let reply = request.send(&sandbox).await;
        assert_eq!(reply.at("/OIDCTokenInfo/VerificationInfo"), "Success");
    }
}

const INCOMPLETE: &str = "IncompleteSignature";

const MISMATCH: &str = "SignatureDoesNotMatch";
