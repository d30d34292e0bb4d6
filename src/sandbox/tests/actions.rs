//! `AssumeRole` and `GetCallerIdentity`: the form of the responses, and who may call them.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::client::{Reply, call, start};
use crate::sandbox::{Options, Plan, Sandbox};

#[tokio::test]
async fn a_response_has_the_documented_form() {
    let sandbox = start().await;
    let reply = call(&sandbox, "AssumeRole")
        .with("SourceIdentity", "Alice")
        .send(&sandbox)
        .await;
    assert_eq!(reply.status, 200);

    let names = names(&reply);
    assert_eq!(
        names,
        [
            "AssumedRoleUser",
            "Credentials",
            "RequestId",
            "SourceIdentity"
        ]
    );
    assert_eq!(reply.at("/SourceIdentity"), "Alice");
    let user_arn = format!("{}/session", sandbox.role_arn());
    assert_eq!(reply.at("/AssumedRoleUser/Arn"), user_arn);
    assert!(
        reply
            .at("/AssumedRoleUser/AssumedRoleId")
            .ends_with(":session")
    );

    let (id, secret) = (
        reply.at("/Credentials/AccessKeyId"),
        reply.at("/Credentials/AccessKeySecret"),
    );
    assert!(id.starts_with("STS.Sandbox") && id.len() == 29, "{id}");
    assert_eq!(secret.len(), 44);
    let token = reply.at("/Credentials/SecurityToken");
    assert!(token.starts_with("CAIS") && token.len() > 300, "{token}");
    let inside = STANDARD.decode(&token).unwrap();
    assert!(String::from_utf8_lossy(&inside).contains("Sandbox"));

    let issued = sandbox.issued(&id).unwrap();
    assert_eq!(issued.access_key_secret.expose_secret(), secret);
    assert_eq!(issued.security_token.expose_secret(), token);
    assert_eq!(
        (issued.role_arn, issued.session_name),
        (sandbox.role_arn(), "session".to_owned())
    );
    assert_eq!(expiration(&reply), issued.expires_at);

    let plain = call(&sandbox, "AssumeRole").send(&sandbox).await;
    assert!(plain.json().get("SourceIdentity").is_none());
    assert_ne!(plain.at("/Credentials/AccessKeyId"), id);
    assert!(
        sandbox.issued(&id).is_some(),
        "new credentials do not replace earlier ones"
    );
}

#[tokio::test]
async fn the_lifetime_is_as_requested_unless_a_fault_overrides_it() {
    let sandbox = start().await;
    let lifetime = async |duration: &str| {
        let reply = call(&sandbox, "AssumeRole")
            .with("DurationSeconds", duration)
            .send(&sandbox)
            .await;
        let before = sandbox.clock().now().wall;
        (expiration(&reply) - before + TimeDelta::seconds(2)).num_seconds()
    };
    assert!((3600..=3602).contains(&lifetime("").await));
    assert!((900..=902).contains(&lifetime("900").await));
    sandbox.set_faults(Plan::parse("lifetime=170s").unwrap());
    assert!((170..=172).contains(&lifetime("900").await));
}

#[tokio::test]
async fn the_root_account_may_not_assume_roles() {
    let sandbox = start().await;
    let root = sandbox.root_access_key();
    let reply = call(&sandbox, "AssumeRole")
        .signed_with(&root)
        .send(&sandbox)
        .await;
    assert_eq!(reply.outcome(), (403, "NoPermission".to_owned()));
    assert_eq!(
        reply.at("/Message"),
        "Roles may not be assumed by root accounts."
    );

    let identity = call(&sandbox, "GetCallerIdentity")
        .signed_with(&root)
        .send(&sandbox)
        .await;
    assert_eq!(identity.at("/IdentityType"), "Account");
    assert_eq!(identity.at("/Arn"), "acs:ram::1234567890123456:root");
}

#[tokio::test]
async fn the_external_id_must_be_the_one_that_the_role_requires() {
    let options = Options {
        external_id: Some("agreed".to_owned()),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    for (sent, status) in [("agreed", 200), ("guessed", 403), ("", 403)] {
        let reply = call(&sandbox, "AssumeRole")
            .with("ExternalId", sent)
            .send(&sandbox)
            .await;
        assert_eq!(reply.status, status, "{sent}");
    }
}

#[tokio::test]
async fn the_caller_must_be_both_trusted_and_permitted() {
    let sandbox = start().await;
    let outcome = async || call(&sandbox, "AssumeRole").send(&sandbox).await.outcome();
    let refused = (403, "NoPermission".to_owned());

    sandbox.permit_assume_role(&sandbox.user_arn(), false);
    assert_eq!(outcome().await, refused);
    sandbox.permit_assume_role(&sandbox.user_arn(), true);
    assert_eq!(outcome().await.0, 200);

    sandbox
        .set_trust_policy(&sandbox.role_arn(), &trusting("acs:ram::9:root"))
        .unwrap();
    assert_eq!(outcome().await, refused);
    let account = trusting("acs:ram::1234567890123456:root");
    sandbox
        .set_trust_policy(&sandbox.role_arn(), &account)
        .unwrap();
    assert_eq!(outcome().await.0, 200);
}

#[tokio::test]
async fn role_chaining_keeps_the_source_identity() {
    let sandbox = start().await;
    let hour = Duration::from_secs(3600);
    let second = sandbox
        .add_role("second", &trusting(&sandbox.role_arn()), hour)
        .unwrap();
    let first = call(&sandbox, "AssumeRole")
        .with("SourceIdentity", "Alice")
        .send(&sandbox)
        .await;
    let chain = || {
        call(&sandbox, "AssumeRole")
            .by_session(&first)
            .with("RoleArn", &second)
    };

    assert_eq!(
        chain().send(&sandbox).await.status,
        403,
        "sessions of the first role are not permitted"
    );
    sandbox.permit_assume_role(&sandbox.role_arn(), true);
    let chained = chain().send(&sandbox).await;
    assert_eq!(chained.status, 200);
    assert!(chained.json().get("SourceIdentity").is_none());
    let issued = sandbox
        .issued(&chained.at("/Credentials/AccessKeyId"))
        .unwrap();
    assert_eq!(issued.source_identity.as_deref(), Some("Alice"));

    let changed = chain().with("SourceIdentity", "Bob").send(&sandbox).await;
    assert_eq!(
        changed.outcome(),
        (400, "InvalidParameter.SourceIdentity".to_owned())
    );
    let direct = call(&sandbox, "AssumeRole")
        .with("RoleArn", &second)
        .send(&sandbox)
        .await;
    assert_eq!(
        direct.status, 403,
        "the second role does not trust the user"
    );
}

#[tokio::test]
async fn a_session_policy_restricts_its_own_session_only() {
    let sandbox = start().await;
    let other_role = sandbox
        .add_role(
            "other",
            &trusting(&sandbox.role_arn()),
            Duration::from_secs(3600),
        )
        .unwrap();
    sandbox.permit_assume_role(&sandbox.role_arn(), true);
    let policy = |action: &str| {
        let statement = json!({"Effect": "Allow", "Action": action, "Resource": "*"});
        json!({"Version": "1", "Statement": [statement]}).to_string()
    };
    let whole = call(&sandbox, "AssumeRole").send(&sandbox).await;
    for (action, status) in [("oss:*", 403), ("sts:AssumeRole", 200)] {
        let narrow = call(&sandbox, "AssumeRole")
            .with("Policy", &policy(action))
            .send(&sandbox)
            .await;
        let permits = |reply: &Reply, action: &str| {
            sandbox.permits(&reply.at("/Credentials/AccessKeyId"), action, "a")
        };
        assert_eq!(permits(&narrow, "oss:GetObject"), action == "oss:*");
        assert!(permits(&whole, "oss:GetObject"));
        let chained = call(&sandbox, "AssumeRole")
            .with("RoleArn", &other_role)
            .by_session(&narrow)
            .send(&sandbox)
            .await;
        assert_eq!(chained.status, status, "{action}");
    }
    assert!(!sandbox.permits(&sandbox.access_key_id(), "oss:GetObject", "a"));
    assert!(!sandbox.permits("STS.unknown", "oss:GetObject", "a"));
}

#[tokio::test]
async fn get_caller_identity_identifies_users_and_sessions() {
    let sandbox = start().await;
    let user = call(&sandbox, "GetCallerIdentity").send(&sandbox).await;
    let names = names(&user);
    let expected = [
        "AccountId",
        "Arn",
        "IdentityType",
        "PrincipalId",
        "RequestId",
        "UserId",
    ];
    assert_eq!(names, expected);
    assert_eq!(user.at("/Arn"), sandbox.user_arn());
    assert_eq!(user.at("/IdentityType"), "RAMUser");

    let assumed = call(&sandbox, "AssumeRole").send(&sandbox).await;
    let session = call(&sandbox, "GetCallerIdentity")
        .by_session(&assumed)
        .send(&sandbox)
        .await;
    let arn = "acs:ram::1234567890123456:assumed-role/sandbox-role/session";
    assert_eq!(session.at("/Arn"), arn);
    assert_eq!(session.at("/IdentityType"), "AssumedRoleUser");
    assert_eq!(
        session.at("/PrincipalId"),
        format!("{}:session", session.at("/RoleId"))
    );
    assert_eq!(
        session.at("/PrincipalId"),
        assumed.at("/AssumedRoleUser/AssumedRoleId")
    );
    assert!(session.json().get("UserId").is_none());
}

#[tokio::test]
async fn credentials_and_request_ids_are_unique() {
    let sandbox = start().await;
    let mut seen = BTreeSet::new();
    for _ in 0..8 {
        let reply = call(&sandbox, "AssumeRole").send(&sandbox).await;
        for pointer in ["AccessKeyId", "AccessKeySecret", "SecurityToken"] {
            assert!(seen.insert(reply.at(&format!("/Credentials/{pointer}"))));
        }
        assert!(seen.insert(reply.at("/RequestId")));
    }
}

fn expiration(reply: &Reply) -> DateTime<Utc> {
    let text = reply.at("/Credentials/Expiration");
    assert_eq!(text.len(), 20, "{text}");
    text.parse().unwrap()
}

fn trusting(principal: &str) -> String {
    let statement =
        json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [principal]}});
    json!({"Version": "1", "Statement": [statement]}).to_string()
}

/// Returns the names of the fields of a response, sorted.
fn names(reply: &Reply) -> Vec<String> {
    let json = reply.json();
    let mut names: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
    names.sort_unstable();
    names
}
