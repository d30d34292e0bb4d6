//! How the daemon reports each fault, and how it recovers.

use chrono::{DateTime, TimeDelta};

use super::Sandbox;
use crate::http;
use crate::support::run_command;
use crate::upstream::renew_until;

/// The faults, and the code that the daemon reports for each.
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
fn each_fault_is_diagnosed_and_the_daemon_recovers_from_it() {
    std::thread::scope(|scope| {
        for (fault, code) in DIAGNOSES {
            scope.spawn(move || {
                let sandbox = Sandbox::start(&["--fault", fault]);
                let daemon = sandbox.daemon();
                daemon.logged("No credentials");
                let ready = daemon.probe("/ready");
                assert_eq!(
                    (ready.status, ready.text("Code").as_str()),
                    (503, *code),
                    "{fault}"
                );
                let refused = daemon.credentials();
                assert_eq!(
                    (refused.status, refused.text("Code").as_str()),
                    (503, *code),
                    "{fault}"
                );

                sandbox.clear_faults();
                renew_until(&daemon, "the daemon recovers", |ready| ready.status == 200);
                assert_eq!(daemon.credentials().status, 200, "{fault}");
            });
        }
    });
}

#[test]
fn an_outage_is_reported_while_the_current_credentials_are_served() {
    let sandbox = Sandbox::start(&[]);
    let daemon = sandbox.daemon();
    daemon.uri();
    let before = daemon.credentials();
    assert_eq!(before.status, 200);

    sandbox.set("unavailable");
    let failing = renew_until(&daemon, "the renewal fails", |ready| {
        ready.body.contains("failing")
    });
    assert_eq!(
        (failing.status, failing.text("Code").as_str()),
        (200, "ServiceUnavailable")
    );
    assert_eq!(daemon.credentials().body, before.body);

    // The fault changes while both processes run.
    sandbox.set("deny");
    renew_until(&daemon, "the daemon reports the other fault", |ready| {
        ready.text("Code") == "NoPermission"
    });
    assert_eq!(daemon.credentials().body, before.body);

    sandbox.clear_faults();
    renew_until(&daemon, "the daemon recovers", |ready| {
        ready.body.contains("fresh")
    });
    assert_ne!(daemon.credentials().body, before.body);
}

#[test]
fn the_daemon_recovers_from_a_flapping_service_by_itself() {
    let sandbox = Sandbox::start(&["--fault", "down"]);
    let daemon = sandbox.daemon();
    daemon.logged("No credentials");
    sandbox.set("flap=5s/1h");
    assert_eq!(http::get(sandbox.address(), "/").status, 0);
    daemon.uri();
    assert_eq!(daemon.credentials().status, 200);
}

#[test]
fn clock_skew_is_reported_and_credentials_are_served() {
    for skew in ["skew=-2h", "skew=+2h"] {
        let sandbox = Sandbox::start(&["--fault", skew]);
        let daemon = sandbox.daemon();
        daemon.logged("This machine's clock differs from that of STS");
        daemon.uri();
        assert_eq!(daemon.credentials().status, 200, "{skew}");
    }
}

#[test]
fn the_lifetime_fault_sets_the_lifetime_alone_or_with_other_faults() {
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
        let lifetime: TimeDelta = time("Expiration") - time("LastUpdated");
        let difference: TimeDelta = lifetime - TimeDelta::seconds(seconds);
        assert!(difference.num_seconds().abs() < 30, "{args:?}: {lifetime}");
    }
}

#[test]
fn throttled_calls_get_the_pause_of_the_fault() {
    let sandbox = Sandbox::start(&["--fault", "throttle", "--fault", "throttle-pause=7s"]);
    let reply = http::get(sandbox.address(), "/");
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (400, Some("7"))
    );
    let daemon = sandbox.daemon();
    daemon.logged("No credentials");
    let ready = daemon.probe("/ready");
    let message = ready.text("Message");
    assert!(message.contains("retry after 7 s"), "{message}");
}
