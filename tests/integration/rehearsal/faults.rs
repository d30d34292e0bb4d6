//! Each fault as the daemon tells it, and what comes after.

use chrono::{DateTime, TimeDelta};

use super::Sandbox;
use crate::http;
use crate::support::run_command;
use crate::upstream::renew_until;

/// A fault, and the code that the daemon tells while it lasts.
const DIAGNOSES: &[(&str, &str)] = &[
    ("down", "RequestFailed"),
    ("hang", "TimedOut"),
    ("throttle", "Throttling.User"),
    ("error", "InternalError"),
    ("unavailable", "ServiceUnavailable"),
    ("deny", "NoPermission"),
    ("html", "WebPage"),
    ("redirect", "Redirected"),
    ("truncated", "UnexpectedAnswer"),
    ("empty", "UnexpectedAnswer"),
    ("expired", "ExpiredAnswer"),
    ("flap=1h/2h", "RequestFailed"),
];

#[test]
fn each_fault_is_diagnosed_and_is_over_when_it_is_healed() {
    std::thread::scope(|scope| {
        for (fault, code) in DIAGNOSES {
            scope.spawn(move || {
                let sandbox = Sandbox::start(&["--fault", fault]);
                let daemon = sandbox.daemon();
                daemon.logged("No credentials");
                let told = daemon.probe("/ready");
                assert_eq!(
                    (told.status, told.text("Code").as_str()),
                    (503, *code),
                    "{fault}"
                );
                let refused = daemon.credentials();
                assert_eq!(
                    (refused.status, refused.text("Code").as_str()),
                    (503, *code),
                    "{fault}"
                );

                sandbox.heal();
                renew_until(&daemon, "it recovers", |ready| ready.status == 200);
                assert_eq!(daemon.credentials().status, 200, "{fault}");
            });
        }
    });
}

#[test]
fn an_outage_in_the_middle_is_told_and_harms_nobody_who_holds_credentials() {
    let sandbox = Sandbox::start(&[]);
    let daemon = sandbox.daemon();
    daemon.uri();
    let before = daemon.credentials();
    assert_eq!(before.status, 200);

    sandbox.set("unavailable");
    let failing = renew_until(&daemon, "it fails", |ready| ready.body.contains("failing"));
    assert_eq!(
        (failing.status, failing.text("Code").as_str()),
        (200, "ServiceUnavailable")
    );
    assert_eq!(daemon.credentials().body, before.body);

    // From one fault to another, without a restart of anything.
    sandbox.set("deny");
    renew_until(&daemon, "it tells the other fault", |ready| {
        ready.text("Code") == "NoPermission"
    });
    assert_eq!(daemon.credentials().body, before.body);

    sandbox.heal();
    renew_until(&daemon, "it recovers", |ready| ready.body.contains("fresh"));
    assert_ne!(daemon.credentials().body, before.body);
}

#[test]
fn a_service_that_flaps_is_up_after_a_while_without_any_help() {
    let sandbox = Sandbox::start(&["--fault", "down"]);
    let daemon = sandbox.daemon();
    daemon.logged("No credentials");
    sandbox.set("flap=5s/1h");
    assert_eq!(http::get(sandbox.address(), "/").status, 0);
    daemon.uri();
    assert_eq!(daemon.credentials().status, 200);
}

#[test]
fn a_clock_that_is_ahead_or_behind_is_reported_and_stops_nothing() {
    for skew in ["skew=-2h", "skew=+2h"] {
        let sandbox = Sandbox::start(&["--fault", skew]);
        let daemon = sandbox.daemon();
        daemon.logged("This machine's clock differs from that of STS");
        daemon.uri();
        assert_eq!(daemon.credentials().status, 200, "{skew}");
    }
}

#[test]
fn credentials_live_as_long_as_the_fault_says_alone_or_with_others() {
    for (args, seconds) in [
        (&["--fault", "lifetime=10m"][..], 600),
        (
            &["--fault", "latency=10ms", "--fault", "lifetime=20m"],
            1200,
        ),
    ] {
        let sandbox = Sandbox::start(args);
        let printed = run_command("get", &["--format", "json"], &sandbox.env());
        assert_eq!(printed.code, Some(0), "{}", printed.stderr);
        let document: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
        let time = |name: &str| {
            let text = document[name].as_str().unwrap();
            DateTime::parse_from_rfc3339(text).unwrap().to_utc()
        };
        let lived: TimeDelta = time("Expiration") - time("LastUpdated");
        let off: TimeDelta = lived - TimeDelta::seconds(seconds);
        assert!(off.num_seconds().abs() < 30, "{args:?}: {lived}");
    }
}

#[test]
fn throttled_calls_are_told_to_wait() {
    let sandbox = Sandbox::start(&["--fault", "throttle", "--fault", "throttle-pause=7s"]);
    let reply = http::get(sandbox.address(), "/");
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (400, Some("7"))
    );
    let daemon = sandbox.daemon();
    daemon.logged("No credentials");
    let told = daemon.probe("/ready");
    let message = told.text("Message");
    assert!(message.contains("asks for a pause of 7 s"), "{message}");
}
