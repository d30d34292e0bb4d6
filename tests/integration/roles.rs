//! The choice of roles, chains of roles, failover between endpoints, and signatures.

use std::time::Duration;

use chrono::TimeDelta;
use ram_sidecar::sandbox::{ACCOUNT_ID, Fault, Options, Sandbox, Times};
use ram_sidecar::time::clock::Clock;
use serde_json::{Value, json};

use crate::serving::LISTEN;
use crate::support::{Daemon, Scratch, eventually, unused_address};
use crate::upstream::{beside, sts};

const HOUR: Duration = Duration::from_secs(3600);

fn trusting(principal: &str) -> String {
    json!({"Version": "1", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [principal]},
    }]})
    .to_string()
}

/// Adds the role `name`, which trusts the sessions of `from`, and lets those assume roles.
fn chained(sts: &Sandbox, from: &str, name: &str) -> String {
    sts.permit_assume_role(from, true);
    sts.add_role(name, &trusting(from), HOUR).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_assumed_in_turn_and_a_failure_names_the_hop() {
    let sts = sts().await;
    let first = sts.role_arn();
    let second = chained(&sts, &first, "second");
    let third = chained(&sts, &second, "third");
    let env = [
        ("ALIBABA_CLOUD_ROLE_ARN", third.as_str()),
        ("RAM_SIDECAR_SOURCE_IDENTITY", "alice"),
    ];
    let via = ["--role-via", &first, "--role-via", &second];
    let daemon = beside(&sts, &via, &env);
    daemon.uri();
    let issued = sts.issued(&daemon.credentials().text("AccessKeyId"));
    let issued = issued.unwrap();
    assert_eq!(issued.role_arn, third);
    assert_eq!(issued.source_identity.as_deref(), Some("alice"));

    sts.set_trust_policy(&second, &trusting("acs:ram::1:user/nobody"))
        .unwrap();
    daemon.signal("HUP");
    let ready = eventually("the second role refuses", || {
        Some(daemon.probe("/ready")).filter(|ready| ready.body.contains("NoPermission"))
    });
    let sentence = ready.text("Message");
    assert!(
        sentence.starts_with(&format!("at hop 2 of 3, {second}: AssumeRole")),
        "{sentence}"
    );
    // The refused caller is a session of the first role.
    assert!(
        sentence.contains(&format!(r#""Principal":{{"RAM":["{first}"]}}"#)),
        "{sentence}"
    );
    assert_eq!(
        daemon.credentials().status,
        200,
        "the current credentials are still served"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn job_without_a_role_is_ready_and_writes_no_file() {
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let args = [&LISTEN[..], &["--file", file.to_str().unwrap()]].concat();
    let mut daemon = Daemon::spawn(&args, &[("RAM_SIDECAR_ROLE_PRESET", "none")]);
    daemon.uri();
    let reply = daemon.credentials();
    assert_eq!(
        (reply.status, reply.text("Code")),
        (404, "NoRole".to_owned())
    );
    assert!(
        reply.text("Message").contains("role.preset is none"),
        "{reply:?}"
    );
    for probe in ["/ready", "/live", "/startup"] {
        assert_eq!(daemon.probe(probe).status, 200, "{probe}");
    }
    assert_eq!(daemon.probe("/ready").text("phase"), "no role");
    daemon.signal("HUP");
    assert_eq!(daemon.credentials().status, 404);
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn pai_default_role_is_derived_from_the_account_and_narrowed_to_the_bucket() {
    let sts = sts().await;
    let arn = sts
        .add_role("aliyunpaidlcdefaultrole", &trusting(&sts.user_arn()), HOUR)
        .unwrap();
    let endpoint = sts.endpoint();
    let (id, secret) = (sts.access_key_id(), sts.access_key_secret());
    let env = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", id.as_str()),
        (
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            secrecy::ExposeSecret::expose_secret(&secret),
        ),
        ("ALIBABA_CLOUD_STS_ENDPOINT", &endpoint),
        ("RAM_SIDECAR_ROLE_PRESET", "pai-default"),
        ("RAM_SIDECAR_ACCOUNT_ID", ACCOUNT_ID),
        ("RAM_SIDECAR_OSS_BUCKET", "examplebucket"),
    ];
    let daemon = Daemon::spawn(&LISTEN, &env);
    daemon.uri();
    let id = daemon.credentials().text("AccessKeyId");
    assert_eq!(sts.issued(&id).unwrap().role_arn, arn);
    for (action, resource, permitted) in [
        ("odps:CreateInstance", "acs:odps:*:*:projects/p", true),
        ("oss:GetObject", "acs:oss:*:1:examplebucket/a", true),
        ("oss:PutObject", "acs:oss:*:1:examplebucket/a/b", true),
        ("oss:ListObjects", "acs:oss:*:1:examplebucket", true),
        ("oss:DeleteBucket", "acs:oss:*:1:examplebucket", false),
        ("oss:GetObject", "acs:oss:*:1:examplebucket2/a", false),
        ("oss:ListObjects", "acs:oss:*:1:other", false),
        ("oss:ListBuckets", "acs:oss:*:1:*", false),
        ("ecs:RunInstances", "*", false),
    ] {
        assert_eq!(
            sts.permits(&id, action, resource),
            permitted,
            "{action} {resource}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_fails_over_when_an_endpoint_is_unreachable_throttles_or_fails() {
    let (first, second) = (sts().await, sts().await);
    let unreachable = unused_address();
    // The last endpoint does not know the key; the test only counts its requests.
    let endpoints = format!(
        "http://{unreachable},{},{}",
        first.endpoint(),
        second.endpoint()
    );
    let env = [("ALIBABA_CLOUD_STS_ENDPOINT", endpoints.as_str())];
    let daemon = beside(&first, &[], &env);
    daemon.uri();
    let event = daemon.logged("Failed over to");
    assert!(event.contains("ConnectionRefused"), "{event}");
    let served_by = first.endpoint().replace("http://", "");
    let renewed = daemon.logged("Credentials renewed");
    assert!(
        renewed.contains(&format!("\"served_by\":\"{served_by}\"")),
        "{renewed}"
    );
    assert_eq!(daemon.probe("/ready").text("served_by"), served_by);

    for fault in [
        Fault::InternalError,
        Fault::Refusal {
            status: 503,
            code: "ServiceUnavailable".into(),
            message: "x".into(),
        },
        Fault::Refusal {
            status: 502,
            code: "Strange".into(),
            message: "x".into(),
        },
        // Last, because the endpoint is then not called for a while.
        Fault::Throttling {
            retry_after: None,
            acs_retry_after: None,
        },
    ] {
        let (before, requests) = (first.request_count(), second.request_count());
        first.inject(fault.clone(), Times::Next(1));
        daemon.signal("HUP");
        eventually("the second endpoint is called", || {
            (second.request_count() > requests).then_some(())
        });
        assert!(first.request_count() > before, "{fault:?}");
    }

    // A refusal is a response: it causes no failover.
    let refused = Sandbox::start(Options::default()).await.unwrap();
    refused.permit_assume_role(&refused.user_arn(), false);
    let (requests, endpoints) = (
        second.request_count(),
        format!("{},{}", refused.endpoint(), second.endpoint()),
    );
    let daemon = beside(
        &refused,
        &[],
        &[("ALIBABA_CLOUD_STS_ENDPOINT", endpoints.as_str())],
    );
    assert_eq!(daemon.credentials().text("Code"), "NoPermission");
    assert_eq!(second.request_count(), requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_clock_of_one_endpoint_does_not_affect_requests_to_another() {
    let clock = Clock::machine();
    clock.shift_wall(TimeDelta::hours(2));
    let wrong = Sandbox::start(Options {
        clock,
        ..Options::default()
    });
    let (wrong, right) = (wrong.await.unwrap(), sts().await);
    wrong.inject(Fault::InternalError, Times::UntilCleared);
    let endpoints = format!("{},{}", wrong.endpoint(), right.endpoint());
    let daemon = beside(
        &right,
        &[],
        &[("ALIBABA_CLOUD_STS_ENDPOINT", endpoints.as_str())],
    );
    daemon.uri();
    let codes: Vec<_> = right
        .requests()
        .iter()
        .map(|seen| seen.code.clone())
        .collect();
    assert_eq!(
        codes,
        [None],
        "the first request is signed with the right time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoint_that_sends_retry_after_is_not_called_while_another_is_tried() {
    let sts = sts().await;
    let fault = Fault::Throttling {
        retry_after: Some(Duration::from_secs(120)),
        acs_retry_after: None,
    };
    sts.inject(fault, Times::UntilCleared);
    let unreachable = unused_address();
    let endpoints = format!("{},http://{unreachable}", sts.endpoint());
    let env = [("ALIBABA_CLOUD_STS_ENDPOINT", endpoints.as_str())];
    let daemon = beside(&sts, &[], &env);
    let message = daemon.logged("No credentials");
    assert!(
        message.contains("before that") && message.contains("RequestId"),
        "{message}"
    );
    eventually("the other endpoint is retried", || {
        daemon.signal("HUP");
        let ready: Value = serde_json::from_str(&daemon.probe("/ready").body).unwrap();
        (ready["failures"].as_u64() >= Some(4)).then_some(())
    });
    assert_eq!(sts.request_count(), 1, "Retry-After is obeyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn diagnosis_names_the_failure_of_every_endpoint() {
    let sts = sts().await;
    sts.inject(Fault::InternalError, Times::UntilCleared);
    let unreachable = unused_address();
    let endpoints = format!("http://{unreachable},{}", sts.endpoint());
    let daemon = beside(
        &sts,
        &[],
        &[("ALIBABA_CLOUD_STS_ENDPOINT", endpoints.as_str())],
    );
    let message = daemon.logged("No credentials");
    assert!(
        message.contains("InternalError") && message.contains("before that, cannot call 127.0.0.1"),
        "{message}"
    );
    sts.clear_faults();
    daemon.uri();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_signed_with_sha_256_where_configured() {
    let sts = sts().await;
    let policy = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"acs:oss:*:*:b/~x y/*+(1)"}]}"#;
    let env = [
        ("RAM_SIDECAR_STS_SIGNATURE", "v3"),
        ("RAM_SIDECAR_POLICY", policy),
    ];
    let daemon = beside(&sts, &[], &env);
    daemon.uri();
    let id = daemon.credentials().text("AccessKeyId");
    assert!(
        sts.issued(&id)
            .unwrap()
            .policy
            .unwrap()
            .contains("~x y/*+(1)")
    );

    // The signature of temporary keys covers their token.
    let first = sts.role_arn();
    let second = chained(&sts, &first, "second");
    let env = [
        ("RAM_SIDECAR_STS_SIGNATURE", "v3"),
        ("ALIBABA_CLOUD_ROLE_ARN", second.as_str()),
    ];
    let daemon = beside(&sts, &["--role-via", &first], &env);
    daemon.uri();
    let id = daemon.credentials().text("AccessKeyId");
    assert_eq!(sts.issued(&id).unwrap().role_arn, second);

    // Only V3 has this message.
    let env = [
        ("RAM_SIDECAR_STS_SIGNATURE", "v3"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "wrong-secret"),
    ];
    let reply = beside(&sts, &[], &env).credentials();
    assert_eq!(reply.text("Code"), "SignatureDoesNotMatch");
    assert!(
        reply
            .text("Message")
            .contains("does not match our calculation"),
        "{reply:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_role_that_is_restored_recovers_without_a_restart() {
    let sts = sts().await;
    let daemon = beside(&sts, &[], &[]);
    daemon.uri();
    sts.delete_role(&sts.role_arn());
    daemon.signal("HUP");
    let ready = eventually("the deleted role is reported", || {
        Some(daemon.probe("/ready")).filter(|ready| ready.body.contains("EntityNotExist.Role"))
    });
    assert_eq!(
        ready.status, 200,
        "the current credentials are still served"
    );
    let sentence = ready.text("Message");
    assert!(
        sentence.contains("create the role sandbox-role in the account 1234567890123456"),
        "{sentence}"
    );

    sts.restore_role(&sts.role_arn());
    daemon.signal("HUP");
    eventually("the restored role is assumed", || {
        Some(daemon.probe("/ready")).filter(|ready| ready.text("phase") == "fresh")
    });
}
