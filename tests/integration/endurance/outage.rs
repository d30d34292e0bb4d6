//! STS is away during the life of credentials: for a part of it, and beyond its end.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{EARLY, LAG, beside, now, read, ready, watched};
use crate::http::Reply;
use crate::sandbox::Sandbox;
use crate::support::{Daemon, Scratch, eventually};

/// Waits until a door gives credentials that end later than these.
fn renewed(daemon: &Daemon, id: &str) {
    eventually("they are renewed", || {
        let reply = daemon.credentials();
        (reply.status == 200 && reply.text("AccessKeyId") != id).then_some(())
    });
}

#[test]
fn an_outage_of_half_a_life_is_noticed_by_nobody() {
    let sandbox = Sandbox::start(&["--fault", "lifetime=16s"]);
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let daemon = beside(&sandbox, &file, &[]);
    ready(&daemon);
    let ((), seen) = watched(&daemon, &file, || {
        // Just renewed, so that the whole outage is of one life.
        renewed(&daemon, &daemon.credentials().text("AccessKeyId"));
        let held = daemon.credentials();
        let ends_at = end(&held);
        sandbox.set("down");
        eventually("half of the life passes", || {
            (now() > ends_at - TimeDelta::seconds(8)).then_some(())
        });
        assert_eq!(daemon.probe("/ready").text("phase"), "failing");
        sandbox.set("lifetime=16s");
        renewed(&daemon, &held.text("AccessKeyId"));
        eventually("the file follows", || {
            let id = read(&file)?.unwrap().id;
            (id != held.text("AccessKeyId")).then_some(())
        });
    });
    for seen in seen {
        assert!(seen.refusals.is_empty(), "{seen:?}");
        assert!(seen.ids.len() >= 2 && seen.good > 100, "{seen:?}");
    }
}

#[test]
fn an_outage_beyond_the_end_is_told_from_the_end_on_and_over_with_the_next_attempt() {
    let sandbox = Sandbox::start(&["--fault", "lifetime=10s"]);
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let daemon = beside(&sandbox, &file, &[]);
    ready(&daemon);
    let (ends_at, seen) = watched(&daemon, &file, || {
        sandbox.set("down");
        let ends_at = end(&daemon.credentials());
        eventually("they end", || {
            (daemon.probe("/ready").text("phase") == "expired").then_some(())
        });
        eventually("the file is gone", || read(&file).is_none().then_some(()));
        let ready_at = now() + next_attempt_after(&daemon);
        sandbox.clear_faults();
        eventually("it serves again", || {
            (daemon.credentials().status == 200).then_some(())
        });
        // Not a moment later than it said, but for a machine that is busy.
        assert!(now() < ready_at + TimeDelta::seconds(3), "{ready_at}");
        ready(&daemon);
        assert!(read(&file).is_some());
        ends_at
    });
    for seen in seen {
        let (first, _) = seen.refusals.first().expect("a refusal");
        assert!(
            (ends_at - EARLY..ends_at + LAG).contains(first),
            "{ends_at} {seen:?}"
        );
        assert!(seen.good > 100, "{seen:?}");
        let is_told = |code: &str| seen.place == "file" || code == "RequestFailed";
        assert!(
            seen.refusals.iter().all(|(_, code)| is_told(code)),
            "{seen:?}"
        );
    }
}

fn end(reply: &Reply) -> DateTime<Utc> {
    reply.text("Expiration").parse().unwrap()
}

fn next_attempt_after(daemon: &Daemon) -> TimeDelta {
    let told: Value = serde_json::from_str(&daemon.probe("/ready").body).unwrap();
    TimeDelta::seconds(told["next_attempt_seconds"].as_i64().unwrap() + 1)
}
