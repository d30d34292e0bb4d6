//! The identity `credentials_uri`, with a second daemon or a stub as the server.

use std::fs;

use axum::http::StatusCode;
use ram_sidecar::sandbox::{Fault, Sandbox, Times};
use serde_json::json;

use crate::identities::{Planted, daemon, failing, fresh, refused, second_role, served_role};
use crate::serving::LISTEN;
use crate::stubs::{Reply, Stub};
use crate::support::{Daemon, Scratch, run, unused_address};
use crate::tls::Front;
use crate::upstream::{beside, renew_until, sts};

/// Starts a daemon whose identity is `uri`.
fn with_uri(sts: &Sandbox, uri: &str, args: &[&str], env: &[(&str, &str)]) -> Daemon {
    let identity = [
        ("RAM_SIDECAR_IDENTITY", "credentials_uri"),
        ("ALIBABA_CLOUD_CREDENTIALS_URI", uri),
    ];
    daemon(sts, args, &[&identity, env].concat())
}

/// Starts a stub that answers every request with `status` and `body`.
fn stub(status: StatusCode, body: String) -> Stub {
    Stub::start(move |_| Reply {
        status,
        ..Reply::accepted("application/json", body.clone())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_a_second_daemon_are_passed_through_under_either_name_of_loopback() {
    let sts = sts().await;
    let first = beside(&sts, &[], &[]);
    let uri = first.uri();
    let from_first = first.credentials();
    for uri in [&uri, &uri.replace("127.0.0.1", "localhost")] {
        let second = with_uri(&sts, uri, &[], &[]);
        second.uri();
        let from_second = second.credentials();
        for name in [
            "AccessKeyId",
            "AccessKeySecret",
            "SecurityToken",
            "Expiration",
        ] {
            assert_eq!(from_second.text(name), from_first.text(name));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_a_second_daemon_assume_a_role() {
    let sts = sts().await;
    let role = second_role(&sts);
    let first = beside(&sts, &[], &[]);
    let second = with_uri(&sts, &first.uri(), &["--role-arn", &role], &[]);
    assert_eq!(served_role(&sts, &second), role);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_of_sts_is_reported_through_two_daemons() {
    let sts = sts().await;
    sts.permit_assume_role(&sts.user_arn(), false);
    let first = beside(&sts, &[], &[]);
    let from_first = first.credentials();
    assert_eq!(from_first.text("Code"), "NoPermission");
    let uri = format!("http://{}/api/v1/credentials/0", first.data());
    let second = with_uri(&sts, &uri, &[], &[]);
    let message = refused(&second, "CredentialsUriRefused");
    for part in [
        "answered HTTP 503 with NoPermission: AssumeRole at 127.0.0.1:",
        &sts.user_arn(),
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn current_credentials_are_served_while_the_other_server_fails_or_is_unreachable() {
    let sts = sts().await;
    let first = beside(&sts, &[], &[]);
    let second = with_uri(&sts, &first.uri(), &[], &[]);
    second.uri();
    let current = second.credentials();
    sts.inject(Fault::InternalError, Times::UntilCleared);
    renew_until(&first, "the first fails", |ready| {
        ready.text("phase") == "failing"
    });
    // The first still serves its credentials, so the second does not notice.
    fresh(&second);
    drop(first);
    let sentence = failing(&second, "ConnectionRefused");
    assert!(sentence.contains("cannot call 127.0.0.1"), "{sentence}");
    assert_eq!(second.credentials().body, current.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_role_is_reported_as_the_other_server_reports_it() {
    let sts = sts().await;
    let first = Daemon::spawn(&LISTEN, &[("RAM_SIDECAR_ROLE_PRESET", "none")]);
    let from_first = first.credentials();
    let second = with_uri(&sts, &first.uri(), &[], &[]);
    let message = refused(&second, "CredentialsUriRefused");
    let (code, sentence) = (from_first.text("Code"), from_first.text("Message"));
    for part in [
        format!("answered HTTP 404 with {code}"),
        sentence.trim_end_matches('.').to_owned(),
    ] {
        assert!(message.contains(&part), "{part}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_server_is_trusted_by_the_configured_authority_only() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let first = beside(&sts, &[], &[]);
    let path = first.uri().replace(&format!("http://{}", first.data()), "");
    let front = Front::start(&first.data().to_string()).await;
    let ca_file = scratch.join("ca.pem");
    fs::write(&ca_file, &front.ca).unwrap();
    let uri = format!("https://{}{path}", front.address);
    let args = ["--ca-file", ca_file.to_str().unwrap()];
    let second = with_uri(&sts, &uri, &args, &[]);
    second.uri();
    let reply = second.credentials();
    assert_eq!(
        reply.text("AccessKeyId"),
        first.credentials().text("AccessKeyId")
    );
    refused(&with_uri(&sts, &uri, &[], &[]), "TlsUntrusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn role_that_pai_may_not_pass_is_reported_with_the_policies_to_paste() {
    let sts = sts().await;
    let body = json!({
        "Code": "AssumeRoleFailed",
        "Message": "Failed to assume role for user 200000000000000001",
    });
    for status in [
        StatusCode::OK,
        StatusCode::BAD_REQUEST,
        StatusCode::INTERNAL_SERVER_ERROR,
    ] {
        let stub = stub(status, body.to_string());
        let uri = format!("{}/api/v1/credentials/0", stub.endpoint());
        let daemon = with_uri(&sts, &uri, &[], &[]);
        let reply = daemon.credentials();
        assert_eq!(reply.text("Code"), "RoleNotPassed", "{status}");
        let sentence = reply.text("Message");
        for part in [
            "AssumeRoleFailed: Failed to assume role for user 200000000000000001",
            r#""Principal":{"Service":["pai.aliyuncs.com"]}"#,
            r#""Action":"ram:PassRole""#,
        ] {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
        assert_eq!(stub.accepted()[0], "GET /api/v1/credentials/0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn response_without_credentials_is_described_and_not_quoted() {
    let sts = sts().await;
    let Planted { id, secret, .. } = Planted::new();
    for (status, body, code, reason) in [
        (
            StatusCode::OK,
            json!({"AccessKeyId": id, "Secret": secret}).to_string(),
            "CredentialsUriUnusable",
            "answered HTTP 200, but it has no AccessKeySecret",
        ),
        (
            StatusCode::BAD_GATEWAY,
            format!("<html>{secret}"),
            "CredentialsUriUnusable",
            "answered HTTP 502 without the JSON of such a server",
        ),
    ] {
        let stub = stub(status, body);
        let path = "planted-secret-path";
        let daemon = with_uri(&sts, &format!("{}/{path}", stub.endpoint()), &[], &[]);
        daemon.plant(secret);
        daemon.plant(path);
        let message = refused(&daemon, code);
        assert!(message.contains(reason), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_to_loopback_bypasses_the_proxy() {
    let sts = sts().await;
    let proxy = Stub::start(|_| panic!("a proxy must not see credentials"));
    let (first, endpoint) = (beside(&sts, &[], &[]), proxy.endpoint());
    let proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, endpoint.as_str()));
    let uri = first.uri().replace("127.0.0.1", "localhost");
    let second = with_uri(&sts, &uri, &[], &proxies);
    second.uri();
    assert_eq!(second.credentials().status, 200);
    assert_eq!(proxy.accepted(), Vec::<String>::new());
}

#[test]
fn own_address_is_a_configuration_error_under_every_name() {
    let port = unused_address().port();
    for host in ["127.0.0.1", "localhost", "[::1]", "127.0.0.2"] {
        let uri = format!("http://{host}:{port}/api/v1/credentials/planted-path");
        let listen = format!("127.0.0.1:{port}");
        let (code, message) = run(
            &["--listen", &listen],
            &[
                ("RAM_SIDECAR_IDENTITY", "credentials_uri"),
                ("ALIBABA_CLOUD_CREDENTIALS_URI", &uri),
            ],
        );
        assert_eq!(code, Some(78), "{message}");
        assert!(
            message.contains("it is the address of this daemon") && !message.contains("planted"),
            "{message}"
        );
    }
}
