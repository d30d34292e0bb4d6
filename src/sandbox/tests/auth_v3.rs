//! V3 requests, signed and anonymous.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::client::{Reply, escape, send, start};
use crate::credentials::{hex, timestamp};
use crate::sandbox::random::Random;
use crate::sandbox::{AccessKey, Sandbox};

/// One request with its common parameters in headers.
#[derive(Clone)]
struct Request {
    method: &'static str,
    query: BTreeMap<String, String>,
    form: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
}

/// A call that would succeed once it is signed.
fn call(sandbox: &Sandbox, action: &str) -> Request {
    let request = Request {
        method: "POST",
        query: BTreeMap::new(),
        form: BTreeMap::new(),
        headers: BTreeMap::new(),
    }
    .with("host", "sts:8080")
    .with("x-acs-action", action)
    .with("x-acs-version", "2015-04-01")
    .with("x-acs-date", &timestamp(sandbox.clock().now().wall))
    .with("x-acs-signature-nonce", &Random::seeded().unwrap().uuid());
    if action == "GetCallerIdentity" {
        return request;
    }
    request
        .with_query("RoleArn", &sandbox.role_arn())
        .with_query("RoleSessionName", "session")
}

impl Request {
    fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.insert(header.to_owned(), value.to_owned());
        self
    }

    fn without(mut self, header: &str) -> Self {
        self.headers.remove(header);
        self
    }

    fn with_query(mut self, name: &str, value: &str) -> Self {
        self.query.insert(name.to_owned(), value.to_owned());
        self
    }

    fn in_form(mut self) -> Self {
        self.form.append(&mut self.query);
        self.with("content-type", "application/x-www-form-urlencoded")
    }

    /// Signs all headers.
    fn signed_with(self, key: &AccessKey) -> Self {
        let digest = hex(&Sha256::digest(pairs(&self.form)));
        let request = self.with("x-acs-content-sha256", &digest);
        let lines: String = request.header_lines(":").replace("\r\n", "\n");
        let names = request
            .headers
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(";");
        let canonical_request = format!(
            "{}\n/\n{}\n{lines}\n{names}\n{digest}",
            request.method,
            pairs(&request.query)
        );
        let text = format!(
            "ACS3-HMAC-SHA256\n{}",
            hex(&Sha256::digest(canonical_request))
        );
        let mut mac =
            Hmac::<Sha256>::new_from_slice(key.secret.expose_secret().as_bytes()).unwrap();
        mac.update(text.as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        let id = &key.id;
        request.with(
            "authorization",
            &format!(
                "ACS3-HMAC-SHA256 Credential={id},SignedHeaders={names},Signature={signature}"
            ),
        )
    }

    async fn send(&self, sandbox: &Sandbox) -> Reply {
        let (method, query, body) = (self.method, pairs(&self.query), pairs(&self.form));
        let (headers, length) = (self.header_lines(": "), body.len());
        let raw = format!(
            "{method} /?{query} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        send(sandbox, raw.as_bytes()).await
    }

    fn header_lines(&self, colon: &str) -> String {
        let lines = self.headers.iter();
        lines
            .map(|(name, value)| [name, colon, value, "\r\n"].concat())
            .collect()
    }
}

fn pairs(params: &BTreeMap<String, String>) -> String {
    let pairs = params
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}

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
    let asked = call(&sandbox, "GetCallerIdentity").without("x-acs-action");
    let asked = asked
        .with_query("Action", "GetCallerIdentity")
        .signed_with(&key);
    let outcome = asked.send(&sandbox).await.outcome();
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
    let asked = || call(&sandbox, "GetCallerIdentity");
    let with_token = || {
        asked()
            .with("x-acs-security-token", &token)
            .signed_with(&session)
    };

    let identity = with_token().send(&sandbox).await;
    assert_eq!(identity.at("/IdentityType"), "AssumedRoleUser");
    for (request, code) in [
        (asked().signed_with(&session), "MissingSecurityToken"),
        (
            asked()
                .with_query("SecurityToken", &token)
                .signed_with(&session),
            "MissingSecurityToken",
        ),
        (
            asked()
                .signed_with(&session)
                .with("x-acs-security-token", &token),
            INCOMPLETE,
        ),
        (
            asked()
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
