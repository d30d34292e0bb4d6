//! Injected faults, as a client sees them.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{Reply, call, connect, start};
use crate::sandbox::{Fault, Plan, Sandbox, Times};

async fn assume(sandbox: &Sandbox) -> Reply {
    call(sandbox, "AssumeRole").send(sandbox).await
}

#[tokio::test]
async fn a_fault_applies_to_the_given_number_of_calls() {
    let sandbox = start().await;
    let refusal = Fault::Refusal {
        status: 403,
        code: "NoPermission".into(),
        message: "No.".into(),
    };
    sandbox.inject(refusal, Times::Next(2));
    sandbox.inject(Fault::Html, Times::Next(0));
    sandbox.inject(Fault::InternalError, Times::UntilCleared);

    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(assume(&sandbox).await.status);
    }
    assert_eq!(statuses, [403, 403, 500, 500]);
    sandbox.clear_faults();
    assert_eq!(assume(&sandbox).await.status, 200);

    let faults: Vec<_> = sandbox.requests().iter().map(|seen| seen.fault).collect();
    let (refusal, internal) = (Some("refusal"), Some("error"));
    assert_eq!(faults, [refusal, refusal, internal, internal, None]);
}

#[tokio::test]
async fn every_fault_responds_as_documented() {
    let sandbox = start().await;
    let next = async |fault| {
        sandbox.inject(fault, Times::Next(1));
        assume(&sandbox).await
    };

    let throttled = next(Fault::Throttling {
        retry_after: Some(Duration::from_millis(1500)),
        acs_retry_after: Some(Duration::from_millis(700)),
    })
    .await;
    assert_eq!(throttled.outcome(), (400, "Throttling.User".to_owned()));
    assert_eq!(throttled.headers["retry-after"], "2");
    assert_eq!(throttled.headers["x-acs-retry-after"], "700");

    let html = next(Fault::Html).await;
    assert!(
        html.status == 200 && html.body.starts_with("<!DOCTYPE html>"),
        "{html:?}"
    );
    assert!(html.headers["content-type"].starts_with("text/html"));

    let truncated = next(Fault::TruncatedJson).await;
    assert!(
        truncated.status == 200 && truncated.body.starts_with('{'),
        "{truncated:?}"
    );
    assert!(serde_json::from_str::<serde_json::Value>(&truncated.body).is_err());

    let empty = next(Fault::EmptyBody).await;
    assert!(empty.status == 200 && empty.body.is_empty(), "{empty:?}");

    let redirect = next(Fault::Redirect {
        location: "http://127.0.0.1:9/".to_owned(),
    })
    .await;
    assert_eq!(
        (redirect.status, redirect.headers["location"].as_str()),
        (302, "http://127.0.0.1:9/")
    );

    let invalid = Fault::Refusal {
        status: 7,
        code: String::new(),
        message: String::new(),
    };
    assert_eq!(next(invalid).await.status, 500);
}

#[tokio::test]
async fn credentials_can_be_expired_or_short_lived() {
    let sandbox = start().await;
    sandbox.set_faults(Plan::parse("lifetime=170s").unwrap());
    sandbox.inject(Fault::ExpiredCredentials, Times::Next(1));
    let now = sandbox.clock().now().wall;
    let lifetime = async || {
        let id = assume(&sandbox).await.at("/Credentials/AccessKeyId");
        (sandbox.issued(&id).unwrap().expires_at - now).num_seconds()
    };
    assert!(lifetime().await < 0);
    assert!((169..=180).contains(&lifetime().await));
    sandbox.clear_faults();
    assert!(lifetime().await >= 3599);
}

#[tokio::test]
async fn a_hanging_request_gets_a_response_once_the_faults_are_cleared() {
    let sandbox = start().await;
    sandbox.inject(Fault::Hang, Times::UntilCleared);
    let (reply, ()) = tokio::join!(assume(&sandbox), async {
        sandbox.wait_for_requests(1).await;
        assert_eq!(sandbox.requests()[0].status, None);
        sandbox.clear_faults();
    });
    assert_eq!(reply.status, 200);
    assert_eq!(sandbox.requests()[0].status, Some(200));
}

#[tokio::test]
async fn dropping_the_sandbox_closes_hanging_connections() {
    let sandbox = start().await;
    sandbox.inject(Fault::Hang, Times::UntilCleared);
    let mut stream = connect(&sandbox).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: sts\r\n\r\n")
        .await
        .unwrap();
    sandbox.wait_for_requests(1).await;
    let address = stream.peer_addr().unwrap();
    drop(sandbox);
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{end:?} {rest:?}");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn clients_that_time_out_occupy_no_connection() {
    let sandbox = start().await;
    let more_than_the_limit = 300;
    sandbox.inject(Fault::Hang, Times::Next(more_than_the_limit));
    for count in 1..=more_than_the_limit {
        let mut stream = connect(&sandbox).await;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: sts\r\n\r\n")
            .await
            .unwrap();
        sandbox
            .wait_for_requests(u64::try_from(count).unwrap())
            .await;
    }
    assert_eq!(assume(&sandbox).await.status, 200);
}
