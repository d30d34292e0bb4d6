//! The saved state, which a daemon leaves to its successor.

mod ignored;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use ram_sidecar::sandbox::{Fault, Plan, Sandbox, Times};
use ram_sidecar::time::clock::Clock;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::files::SmallDisk;
use crate::http::Reply;
use crate::serving::LISTEN;
use crate::support::{Daemon, Scratch, eventually, run, run_command};
use crate::upstream::{beside, renew_until, sts};

/// Starts a daemon that saves its state at `path`.
pub(crate) fn start(sts: &Sandbox, path: &Path) -> Daemon {
    beside(sts, &["--state", path.to_str().unwrap()], &[])
}

/// Returns environment variables with the same settings as [`start`].
fn settings(sts: &Sandbox, path: &Path) -> [(&'static str, String); 5] {
    let secret = sts.access_key_secret();
    [
        ("ALIBABA_CLOUD_STS_ENDPOINT", sts.endpoint()),
        ("ALIBABA_CLOUD_ROLE_ARN", sts.role_arn()),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", sts.access_key_id()),
        (
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            secret.expose_secret().to_owned(),
        ),
        ("RAM_SIDECAR_STATE", path.to_str().unwrap().to_owned()),
    ]
}

/// Returns the `AccessKeyId` in a state, once it has been written.
fn id_in(path: &Path) -> Option<String> {
    let state: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    Some(state["state"]["access_key_id"].as_str()?.to_owned())
}

/// Waits until the state contains the served credentials, and returns the response.
pub(crate) fn wait_until_saved(daemon: &Daemon, path: &Path) -> Reply {
    daemon.uri();
    eventually("the state is saved", || {
        let reply = daemon.credentials();
        (id_in(path) == Some(reply.text("AccessKeyId"))).then_some(reply)
    })
}

pub(crate) fn now() -> DateTime<Utc> {
    Clock::machine().now().wall
}

fn time(reply: &Reply, name: &str) -> DateTime<Utc> {
    reply.text(name).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_successor_of_a_killed_daemon_serves_its_credentials_without_a_request() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let path = scratch.join("state");
    let first = start(&sts, &path);
    let before = wait_until_saved(&first, &path);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let beside = fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(beside, 1, "no temporary file remains");
    // Dropping it sends SIGKILL.
    drop(first);
    for _ in 0..3 {
        let successor = start(&sts, &path);
        let reply = successor.credentials();
        assert_eq!((reply.status, &reply.body), (200, &before.body));
        successor.logged("Serving the credentials of the saved state");
        successor.uri();
        let ready = successor.probe("/ready");
        assert_eq!((ready.status, ready.text("phase")), (200, "fresh".into()));
        assert_eq!(successor.probe("/startup").status, 200);
        assert_eq!(sts.request_count(), 1, "{}", successor.stderr());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_credentials_are_served_while_sts_is_unreachable() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let path = scratch.join("state");
    let settings = settings(&sts, &path);
    let env = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let first = Daemon::spawn(&LISTEN, &env);
    let before = wait_until_saved(&first, &path);
    drop(first);
    drop(Arc::into_inner(sts).expect("there is no other reference"));

    let successor = Daemon::spawn(&LISTEN, &env);
    let reply = successor.credentials();
    assert_eq!((reply.status, &reply.body), (200, &before.body));
    let ready = renew_until(&successor, "the failure shows", |ready| {
        ready.text("phase") == "failing"
    });
    assert_eq!(ready.status, 200);
    assert_eq!(successor.credentials().body, before.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_credentials_are_renewed_when_they_were_due() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let path = scratch.join("state");
    sts.set_faults(Plan::parse("lifetime=20s").unwrap());
    let first = start(&sts, &path);
    let before = wait_until_saved(&first, &path);
    drop(first);

    let successor = start(&sts, &path);
    let mut readings = 0;
    let renewed = eventually("the credentials are renewed", || {
        let reply = successor.credentials();
        assert_eq!(reply.status, 200, "{reply:?}");
        readings += 1;
        (reply.body != before.body).then_some(reply)
    });
    // After 40 to 46 percent of the lifetime; times are whole seconds, rounded down.
    let waited = time(&renewed, "LastUpdated") - time(&before, "LastUpdated");
    let expected = TimeDelta::seconds(7)..TimeDelta::seconds(16);
    assert!(expected.contains(&waited), "{waited}");
    assert!(readings > 10 && sts.request_count() == 2);
    eventually("the state follows", || {
        (id_in(&path) == Some(renewed.text("AccessKeyId"))).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_renewal_is_attempted_at_once_while_the_restored_credentials_are_served() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let path = scratch.join("state");
    sts.set_faults(Plan::parse("lifetime=24s").unwrap());
    let first = start(&sts, &path);
    let before = wait_until_saved(&first, &path);
    drop(first);
    let due = time(&before, "LastUpdated") + TimeDelta::seconds(12);
    eventually("the renewal is overdue", || (now() > due).then_some(()));

    sts.inject(Fault::InternalError, Times::UntilCleared);
    let successor = start(&sts, &path);
    let reply = successor.credentials();
    assert_eq!((reply.status, &reply.body), (200, &before.body));
    successor.logged("Cannot renew, still serving the current credentials");
    let gone = eventually("the credentials expire", || {
        let (requested_at, reply) = (now(), successor.credentials());
        let end = time(&before, "Expiration");
        assert!(
            reply.status != 200 || requested_at < end,
            "requested at {requested_at}"
        );
        (reply.status != 200).then_some(reply)
    });
    assert_eq!(gone.text("Code"), "InternalError");
    eventually("the state is removed", || (!path.exists()).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requested_renewal_replaces_the_state() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let path = scratch.join("state");
    drop({
        let first = start(&sts, &path);
        wait_until_saved(&first, &path);
        first
    });
    let successor = start(&sts, &path);
    let before = wait_until_saved(&successor, &path);
    successor.signal("HUP");
    let after = eventually("the credentials are renewed", || {
        let reply = successor.credentials();
        (reply.body != before.body).then_some(reply)
    });
    assert_eq!(wait_until_saved(&successor, &path).body, after.body);
    drop(successor);
    assert_eq!(start(&sts, &path).credentials().body, after.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_passed_through_are_saved_too() {
    let (sts, scratch) = (sts().await, Scratch::new());
    let path = scratch.join("state");
    let other = beside(&sts, &[], &[]);
    let uri = other.uri();
    let env = [
        ("RAM_SIDECAR_IDENTITY", "credentials_uri"),
        ("ALIBABA_CLOUD_CREDENTIALS_URI", uri.as_str()),
        ("RAM_SIDECAR_STATE", path.to_str().unwrap()),
    ];
    let first = Daemon::spawn(&LISTEN, &env);
    let before = wait_until_saved(&first, &path);
    drop((first, other));
    let successor = Daemon::spawn(&LISTEN, &env);
    let reply = successor.credentials();
    assert_eq!((reply.status, &reply.body), (200, &before.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_shows_in_readiness_which_stays_ready() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let sts = sts().await;
    let path = disk.0.join("state");
    let daemon = start(&sts, &path);
    wait_until_saved(&daemon, &path);
    let ballast = disk.0.join("ballast");
    let _ = fs::write(&ballast, vec![0; 64 * 1024]);
    let ready = renew_until(&daemon, "the failure shows", |ready| {
        ready.body.contains("state_message")
    });
    assert_eq!(ready.status, 200);
    let sentence = ready.text("state_message");
    for part in [
        &format!("cannot save the state in {} as user ", path.display()),
        "No space left on device",
        "free space or inodes on its file system",
    ] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    daemon.logged("cannot save the state");
    let before = daemon.credentials();
    assert_ne!(id_in(&path), Some(before.text("AccessKeyId")));
    assert!(id_in(&path).is_some(), "the old state is complete");

    fs::remove_file(&ballast).unwrap();
    eventually("it recovers", || {
        (!daemon.probe("/ready").body.contains("state_message")).then_some(())
    });
    assert_eq!(id_in(&path), Some(before.text("AccessKeyId")));
}

#[test]
fn the_start_fails_if_the_state_cannot_be_written() {
    let scratch = Scratch::new();
    let env = [
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/job"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted"),
    ];
    for (path, reason, remedy) in [
        (
            scratch.join("missing/state"),
            "No such file or directory",
            "make its directory exist",
        ),
        (
            scratch.path().to_owned(),
            "it is a directory",
            "name a file in it",
        ),
    ] {
        let path = path.to_str().unwrap();
        let (code, stderr) = run(&[&LISTEN[..], &["--state", path]].concat(), &env);
        assert_eq!(code, Some(71), "{stderr}");
        let sentence = stderr.lines().last().unwrap();
        for part in [&format!("cannot save the state in {path}"), reason, remedy] {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
    }
    for (path, reason) in [
        ("state", "is not absolute"),
        ("/", "is a directory"),
        ("/run/", "is a directory"),
    ] {
        let (code, stderr) = run(&["--state", path], &env);
        assert_eq!(code, Some(78));
        assert!(
            stderr.contains(&format!("--state: `{path}` {reason}")),
            "{stderr}"
        );
    }
    let (code, stderr) = run(&["--state", "/run/a", "--file", "/run/a"], &env);
    assert_eq!(code, Some(78));
    assert!(
        stderr.contains("--state: /run/a is also a credentials file"),
        "{stderr}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_serve_without_a_sandbox_saves_a_state() {
    let scratch = Scratch::new();
    let path = scratch.join("state");
    let path_text = path.to_str().unwrap();
    for name in ["exec", "get"] {
        let words = if name == "exec" {
            &["--", "true"][..]
        } else {
            &[]
        };
        let ended = run_command(name, &[&["--state", path_text][..], words].concat(), &[]);
        assert_eq!(ended.code, Some(64), "{}", ended.stderr);
        assert!(ended.stderr.contains("'--state'"), "{}", ended.stderr);
    }
    let (code, stderr) = run(&["--sandbox", "--state", path_text], &[]);
    assert_eq!(code, Some(78));
    assert!(stderr.contains("no state is saved"), "{stderr}");

    let env = [("RAM_SIDECAR_STATE", path_text)];
    let daemon = Daemon::spawn(&[&LISTEN[..], &["--sandbox"]].concat(), &env);
    daemon.uri();
    let stderr = daemon.logged("The sandbox replaces the configured role");
    assert!(stderr.contains("RAM_SIDECAR_STATE"), "{stderr}");

    // Other commands ignore the state of a daemon.
    let sts = sts().await;
    let daemon = start(&sts, &path);
    let before = wait_until_saved(&daemon, &path);
    drop(daemon);
    let state = fs::read(&path).unwrap();
    let settings = settings(&sts, &path);
    let env = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let count = sts.request_count();
    for (name, args) in [
        ("exec", &["--", "true"][..]),
        ("get", &[]),
        ("check", &[]),
        ("check", &["--state", path_text]),
    ] {
        let ended = run_command(name, args, &env);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        assert!(
            !ended.stdout.contains(&before.text("AccessKeyId")),
            "{name}"
        );
    }
    assert!(
        sts.request_count() >= count + 4,
        "each command sends a request"
    );
    assert_eq!(fs::read(&path).unwrap(), state);
}
