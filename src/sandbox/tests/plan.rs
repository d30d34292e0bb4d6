//! Plans of faults, as a client sees them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::client::{call, exchange, start};
use crate::sandbox::{Fault, Options, Plan, Sandbox, Times};

fn plan(text: &str) -> Plan {
    Plan::parse(text).unwrap()
}

async fn start_with(text: &str) -> Sandbox {
    let faults = plan(text);
    let options = Options {
        faults,
        ..Options::default()
    };
    Sandbox::start(options).await.unwrap()
}

async fn outcome(sandbox: &Sandbox, action: &str) -> (u16, String) {
    call(sandbox, action).send(sandbox).await.outcome()
}

#[tokio::test]
async fn every_fault_of_a_plan_applies_and_is_recorded_by_name() {
    let sandbox = start().await;
    for (text, expected) in [
        ("error", (500, "InternalError")),
        ("unavailable", (503, "ServiceUnavailable")),
        ("throttle", (400, "Throttling.User")),
        ("deny", (403, "NoPermission")),
    ] {
        sandbox.set_faults(plan(text));
        let (status, code) = outcome(&sandbox, "AssumeRole").await;
        assert_eq!((status, code.as_str()), expected, "{text}");
        assert_eq!(sandbox.requests().last().unwrap().fault, Some(text));
    }
    sandbox.clear_faults();
    assert_eq!(outcome(&sandbox, "AssumeRole").await.0, 200);
}

#[tokio::test]
async fn a_caller_that_is_denied_the_role_is_still_authenticated() {
    let sandbox = start_with("deny").await;
    assert_eq!(outcome(&sandbox, "GetCallerIdentity").await.0, 200);
    let token = sandbox.oidc_token("subject", "sts.aliyuncs.com", Duration::from_secs(600));
    let reply = super::client::oidc_call(&sandbox, &token)
        .send(&sandbox)
        .await;
    let denied = (401, "AuthenticationFail.NoPermission".to_owned());
    assert_eq!(reply.outcome(), denied);
}

#[tokio::test]
async fn a_service_that_is_down_closes_the_connection_without_a_response() {
    let sandbox = start_with("down").await;
    let received = exchange(&sandbox, b"GET / HTTP/1.1\r\nHost: sts\r\n\r\n").await;
    assert_eq!(received, b"");
    let requests = sandbox.requests();
    assert_eq!(
        (requests[0].fault, requests[0].status),
        (Some("down"), None)
    );
}

#[tokio::test]
async fn a_fault_applies_with_its_probability() {
    let sandbox = start_with("error=0.5").await;
    let mut failed = 0;
    for _ in 0..200 {
        failed += u32::from(outcome(&sandbox, "GetCallerIdentity").await.0 == 500);
    }
    // One run in 10^11 is outside these bounds.
    assert!((50..=150).contains(&failed), "{failed}");
}

#[tokio::test]
async fn injected_faults_precede_the_plan() {
    let sandbox = start_with("unavailable").await;
    sandbox.inject(Fault::InternalError, Times::Next(1));
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(outcome(&sandbox, "AssumeRole").await.0);
    }
    assert_eq!(statuses, [500, 503]);
    sandbox.inject(Fault::InternalError, Times::UntilCleared);
    sandbox.clear_faults();
    assert_eq!(outcome(&sandbox, "AssumeRole").await.0, 200);
}

#[tokio::test]
async fn a_hanging_request_gets_the_faults_that_follow() {
    let sandbox = start_with("hang").await;
    let (outcome, ()) = tokio::join!(outcome(&sandbox, "AssumeRole"), async {
        sandbox.wait_for_requests(1).await;
        sandbox.set_faults(plan("hang,latency=1s"));
        sandbox.set_faults(plan("unavailable"));
    });
    assert_eq!(outcome, (503, "ServiceUnavailable".to_owned()));
}

#[tokio::test]
async fn a_delayed_response_is_sent_once_the_faults_change() {
    let sandbox = start_with("latency=10s").await;
    let started = tokio::time::Instant::now();
    let (outcome, ()) = tokio::join!(outcome(&sandbox, "AssumeRole"), async {
        sandbox.wait_for_requests(1).await;
        sandbox.clear_faults();
    });
    assert_eq!(outcome.0, 200);
    assert!(started.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn latency_delays_errors_too() {
    let sandbox = start_with("error,latency=300ms").await;
    let started = tokio::time::Instant::now();
    assert_eq!(outcome(&sandbox, "AssumeRole").await.0, 500);
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn skew_shifts_dates_checks_and_expiries() {
    let sandbox = start_with("skew=-10m,lifetime=2m").await;
    let reply = call(&sandbox, "AssumeRole").send(&sandbox).await;
    let sandbox_time = sandbox.clock().now().wall - TimeDelta::minutes(10);
    let off = |time: DateTime<Utc>, from: DateTime<Utc>| (time - from).num_seconds().abs();
    let date = DateTime::parse_from_rfc2822(&reply.headers["date"]).unwrap();
    assert!(off(date.to_utc(), sandbox_time) < 30, "{date}");
    let id = reply.at("/Credentials/AccessKeyId");
    let expires_at = sandbox.issued(&id).unwrap().expires_at;
    assert!(off(expires_at, sandbox_time + TimeDelta::minutes(2)) < 30);

    sandbox.set_faults(plan("skew=+20m"));
    let late = (400, "InvalidTimeStamp.Expired".to_owned());
    assert_eq!(outcome(&sandbox, "AssumeRole").await, late);
}

#[tokio::test]
async fn an_address_that_other_machines_reach_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let options = Options {
            listen: address.parse().unwrap(),
            ..Options::default()
        };
        assert!(Sandbox::start(options).await.is_err(), "{address}");
    }
}
