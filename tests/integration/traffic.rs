//! The requests to STS: a client never causes one, and no URL contains a secret, because proxies log URLs.

use axum::http::StatusCode;
use ram_sidecar::sandbox::{Fault, Times};

use crate::http;
use crate::serving::LISTEN;
use crate::stubs::{Reply, Request, Stub};
use crate::support::{Daemon, Scratch};
use crate::upstream::{beside, sts};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_in_every_dialect_cause_no_call_to_sts() {
    let sts = sts().await;
    let args = ["--container", "--metadata-listen", "127.0.0.1:0"];
    let daemon = beside(&sts, &args, &[]);
    daemon.uri();
    let calls = sts.request_count();
    for dialect in crate::access::dialects(&daemon) {
        for _ in 0..1000 {
            assert_eq!(dialect.ask().status, 200, "{}", dialect.name);
        }
    }
    assert_eq!(sts.request_count(), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_renewal_does_not_delay_responses() {
    let sts = sts().await;
    let daemon = beside(&sts, &[], &[]);
    daemon.uri();
    let current = daemon.credentials().body;
    sts.inject(Fault::Hang, Times::UntilCleared);
    daemon.signal("HUP");
    sts.wait_for_requests(2).await;
    let request = "GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let address = daemon.data();
    let clients: Vec<_> = (0..50).map(|_| http::send(address, request)).collect();
    for client in clients {
        let reply = http::received(client);
        assert_eq!((reply.status, &reply.body), (200, &current));
    }
    // The call is still open, so no client has waited for its end.
    let open = sts.requests().pop().expect("the renewal");
    assert_eq!((open.status, sts.request_count()), (None, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn url_of_a_request_to_sts_contains_no_secret() {
    let scratch = Scratch::new();
    let token = scratch.join("token");
    std::fs::write(&token, "planted.oidc.token").unwrap();
    let keys = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIplanted"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted-secret"),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", "planted-token"),
    ];
    let provider = "acs:ram::1:oidc-provider/p";
    let oidc = [
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", provider),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token.to_str().unwrap()),
    ];
    for signature in ["v1", "v3"] {
        for identity in [&keys[..], &oidc] {
            let stub = Stub::start(reject_secrets_in_url);
            let endpoint = stub.endpoint();
            let settings = [
                ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/job"),
                ("ALIBABA_CLOUD_STS_ENDPOINT", &endpoint),
                ("RAM_SIDECAR_STS_SIGNATURE", signature),
            ];
            let daemon = Daemon::spawn(&LISTEN, &[&settings, identity].concat());
            daemon.plant("planted.oidc.token");
            daemon.logged("No credentials");
            assert_eq!(stub.rejections(), [""; 0], "{signature}");
            assert!(stub.accepted()[0].starts_with("POST /"), "{signature}");
        }
    }
}

/// Rejects a request whose URL contains a secret.
fn reject_secrets_in_url(request: &Request) -> Reply {
    let target = format!("{}?{}", request.path, request.query);
    let has_secret = target.contains("planted") || target.contains("oidc");
    Reply {
        status: StatusCode::SERVICE_UNAVAILABLE,
        content_type: "application/json",
        body: "{}".into(),
        rejection: has_secret.then_some(target),
        ..Reply::default()
    }
}
