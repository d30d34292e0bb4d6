//! The status of a running daemon: its page, its JSON, and the command.

use serde_json::Value;

use crate::http;
use crate::serving::sandbox;
use crate::support::{Daemon, Ended, Scratch, eventually, run_command};

fn report(daemon: &Daemon) -> Value {
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n";
    let reply = http::raw(daemon.admin(), request);
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, Some("application/json"))
    );
    serde_json::from_str(&reply.body).unwrap()
}

/// Runs `status` for a daemon, in a terminal without colours.
fn status(daemon: &Daemon, args: &[&str]) -> Ended {
    let address = daemon.admin().to_string();
    run_command(
        "status",
        &[&["--admin-listen", &address], args].concat(),
        &[],
    )
}

#[test]
fn the_page_tells_everything_and_asks_nobody() {
    let scratch = Scratch::new();
    let file = scratch.join("<credentials>");
    let path = file.to_str().unwrap();
    let daemon = sandbox(
        &["--file", path],
        &[("RAM_SIDECAR_KEY", "a-long-secret-key")],
    );
    daemon.uri();
    daemon.get("/api/v1/credentials/a-long-secret-key");
    daemon.get("/api/v1/credentials/wrong");
    let page = eventually("the file is written and the caller is known", || {
        let reply = daemon.probe("/");
        assert_eq!(reply.status, 200);
        let is_done = reply.body.contains("written") && reply.body.contains("first seen");
        is_done.then_some(reply)
    });
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    for told in [
        "fresh",
        "acs:ram::1234567890123456:role/sandbox-role",
        "access_key",
        "serve.listen",
        &daemon.data().to_string(),
        "&lt;credentials&gt;",
        "credentials_uri",
        "integration",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(page.body.contains(told), "{told} in {}", page.body);
    }
    for hidden in [
        "<script",
        "http:",
        "https:",
        "url(",
        "a-long-secret-key",
        "STS.",
        "<credentials",
    ] {
        assert!(!page.body.contains(hidden), "{hidden} in {}", page.body);
    }
}

#[test]
fn the_command_shows_the_same_and_exits_like_the_probe() {
    let daemon = sandbox(&[], &[]);
    daemon.uri();
    daemon.credentials();
    let shown = status(&daemon, &[]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    for told in [
        "✓ phase",
        "fresh",
        "sandbox-role",
        "ok",
        "1 with status 200, 0 with another",
    ] {
        assert!(shown.stdout.contains(told), "{told} in {}", shown.stdout);
    }
    assert!(!shown.stdout.contains('\x1b'), "{}", shown.stdout);
    let told = status(&daemon, &["--json"]);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let asked = report(&daemon);
    for name in [
        "phase",
        "roles",
        "endpoints",
        "attempts",
        "listeners",
        "requests",
        "version",
    ] {
        assert_eq!(told[name], asked[name], "{name}");
        assert!(!told[name].is_null(), "{name} in {told}");
    }
}

#[test]
fn a_daemon_that_is_refused_says_why_at_each_attempt() {
    let daemon = sandbox(&["--fault", "deny"], &[]);
    // The embedded STS logs the refusal before the daemon has received it.
    daemon.logged("\"No credentials\"");
    let shown = status(&daemon, &[]);
    assert_eq!(shown.code, Some(1));
    for told in [
        "! phase",
        "pending",
        "✗ last failure",
        "NoPermission",
        "trust policy",
    ] {
        assert!(shown.stdout.contains(told), "{told} in {}", shown.stdout);
    }
    let asked = report(&daemon);
    assert_eq!(asked["attempts"][0]["code"], "NoPermission");
    assert_eq!(asked["credentials"], Value::Null);
}

#[test]
fn no_daemon_and_another_program_are_told_apart() {
    let address = crate::support::unused_address().to_string();
    let none = run_command("status", &["--admin-listen", &address], &[]);
    assert_eq!(none.code, Some(1));
    assert!(
        none.stderr.contains("no ram-sidecar answers at"),
        "{}",
        none.stderr
    );
    let daemon = sandbox(&[], &[]);
    let data = daemon.data().to_string();
    let other = run_command("status", &["--admin-listen", &data], &[]);
    assert_eq!(other.code, Some(1));
    assert!(
        other.stderr.contains("is not the admin listener"),
        "{}",
        other.stderr
    );
}
