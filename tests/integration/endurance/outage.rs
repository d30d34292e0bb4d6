//! STS is unavailable for a part of the lifetime of credentials, and beyond their expiry.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    EXPIRY_MARGIN, FILE, FILE_DELAY, now, observe, read_file, start_daemon, wait_until_ready,
};
use crate::http::Reply;
use crate::sandbox::Sandbox;
use crate::support::{Daemon, Scratch, eventually};

/// Waits until the daemon serves other credentials than those of this id.
fn wait_until_renewed(daemon: &Daemon, id: &str) {
    eventually("the credentials are renewed", || {
        let reply = daemon.credentials();
        (reply.status == 200 && reply.text("AccessKeyId") != id).then_some(())
    });
}

#[test]
fn clients_do_not_notice_an_outage_of_half_the_lifetime() {
    let sandbox = Sandbox::start(&["--fault", "lifetime=16s"]);
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let daemon = start_daemon(&sandbox, &file, &[]);
    wait_until_ready(&daemon);
    let ((), observations) = observe(&daemon, &file, || {
        // Right after a renewal, so that the whole outage is within one lifetime.
        wait_until_renewed(&daemon, &daemon.credentials().text("AccessKeyId"));
        let current = daemon.credentials();
        let expires_at = expiry(&current);
        sandbox.set("down");
        eventually("half the lifetime passes", || {
            (now() > expires_at - TimeDelta::seconds(8)).then_some(())
        });
        eventually("the renewal fails", || {
            (daemon.probe("/ready").text("phase") == "failing").then_some(())
        });
        sandbox.set("lifetime=16s");
        wait_until_renewed(&daemon, &current.text("AccessKeyId"));
        eventually("the file is updated", || {
            let id = read_file(&file)?.id;
            (id != current.text("AccessKeyId")).then_some(())
        });
    });
    for client in observations {
        assert!(client.refusals.is_empty(), "{client:?}");
        assert!(
            client.ids.len() >= 2 && client.successes > 100,
            "{client:?}"
        );
    }
}

#[test]
fn an_outage_beyond_the_expiry_is_reported_from_the_expiry_until_the_next_attempt() {
    let sandbox = Sandbox::start(&["--fault", "lifetime=10s"]);
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let daemon = start_daemon(&sandbox, &file, &[]);
    wait_until_ready(&daemon);
    let (expires_at, observations) = observe(&daemon, &file, || {
        sandbox.set("down");
        let expires_at = expiry(&daemon.credentials());
        eventually("the credentials expire", || {
            (daemon.probe("/ready").text("phase") == "expired").then_some(())
        });
        eventually("the file is removed", || {
            read_file(&file).is_none().then_some(())
        });
        let ready_at = now() + next_attempt_after(&daemon);
        sandbox.clear_faults();
        eventually("the daemon serves again", || {
            (daemon.credentials().status == 200).then_some(())
        });
        // No later than the daemon announced, except for the delay of a busy machine.
        assert!(now() < ready_at + TimeDelta::seconds(3), "{ready_at}");
        wait_until_ready(&daemon);
        assert!(read_file(&file).is_some());
        expires_at
    });
    for client in observations {
        let (first, _) = client.refusals.first().expect("a refusal");
        assert!(
            (expires_at - EXPIRY_MARGIN..expires_at + FILE_DELAY).contains(first),
            "{expires_at} {client:?}"
        );
        assert!(client.successes > 100, "{client:?}");
        let is_expected = |code: &str| client.source == FILE || code == "RequestFailed";
        assert!(
            client.refusals.iter().all(|(_, code)| is_expected(code)),
            "{client:?}"
        );
    }
}

fn expiry(reply: &Reply) -> DateTime<Utc> {
    reply.text("Expiration").parse().unwrap()
}

fn next_attempt_after(daemon: &Daemon) -> TimeDelta {
    let status: Value = serde_json::from_str(&daemon.probe("/ready").body).unwrap();
    TimeDelta::seconds(status["next_attempt_seconds"].as_i64().unwrap() + 1)
}
