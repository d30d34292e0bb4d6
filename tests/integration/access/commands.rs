//! The commands that query a running daemon, and those that describe the program.

mod described;

use std::net::TcpListener;

use crate::http;
use crate::serving::LISTEN;
use crate::support::{Daemon, Ended, Scratch, eventually, run_command, unused_address};

const PROBES: [&str; 3] = ["live", "ready", "startup"];

fn sandbox(args: &[&str]) -> Daemon {
    let daemon = Daemon::spawn(&[&["--sandbox"], &LISTEN[..], args].concat(), &[]);
    daemon.uri();
    daemon
}

/// Starts a daemon whose STS is unreachable.
fn without_sts() -> Daemon {
    let env = [
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/job"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "id"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "planted-secret"),
        ("ALIBABA_CLOUD_STS_ENDPOINT", "http://127.0.0.1:9"),
    ];
    let daemon = Daemon::spawn(&LISTEN, &env);
    daemon.logged("No credentials");
    daemon
}

fn health(probe: &str, args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let Ended {
        code,
        stdout,
        stderr,
    } = run_command("health", &[&[probe], args].concat(), env);
    assert_eq!(stdout, "", "messages go to standard error");
    (code, stderr)
}

#[test]
fn health_finds_the_daemon_by_flag_variable_or_file() {
    let daemon = sandbox(&[]);
    let admin = daemon.admin().to_string();
    let any = format!("0.0.0.0:{}", daemon.admin().port());
    let scratch = Scratch::new();
    let file = scratch.join("config.toml");
    std::fs::write(
        &file,
        format!("[admin]\nlisten = '{admin}'\n[role]\nduration = '1h'\n"),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    for probe in PROBES {
        for (args, env) in [
            (&["--admin-listen", admin.as_str()][..], &[][..]),
            (&["--admin-listen", &any], &[]),
            (&[], &[("RAM_SIDECAR_ADMIN_LISTEN", admin.as_str())]),
            (&["--config", file], &[]),
            (&[], &[("RAM_SIDECAR_CONFIG", file)]),
            // The flag overrides the variable, and no proxy is used.
            (
                &["--admin-listen", &admin],
                &[
                    ("RAM_SIDECAR_ADMIN_LISTEN", "127.0.0.1:9"),
                    ("HTTP_PROXY", "http://127.0.0.1:9"),
                    ("http_proxy", "http://127.0.0.1:9"),
                ],
            ),
        ] {
            assert_eq!(
                health(probe, args, env),
                (Some(0), String::new()),
                "{probe} {args:?} {env:?}"
            );
        }
    }
}

#[test]
fn health_fails_with_the_message_of_the_daemon() {
    let daemon = without_sts();
    let admin = daemon.admin().to_string();
    let args = ["--admin-listen", admin.as_str()];
    assert_eq!(health("live", &args, &[]), (Some(0), String::new()));
    for probe in ["ready", "startup"] {
        let sentence = daemon.probe("/ready").text("Message");
        let expected = format!("ram-sidecar: {sentence}");
        assert_eq!(health(probe, &args, &[]), (Some(1), expected), "{probe}");
    }
}

#[test]
fn errors_distinguish_an_absent_daemon_from_an_unhealthy_one() {
    let free = unused_address().to_string();
    let no_daemon = format!("no ram-sidecar answers at {free} (admin.listen)");
    for (name, args, code) in [
        ("health", &["live"][..], 1),
        ("health", &["ready"], 1),
        ("stop", &[], 69),
        ("wait", &["--timeout", "1s"], 69),
    ] {
        let ended = run_command(name, &[args, &["--admin-listen", &free]].concat(), &[]);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(&no_daemon), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);

        for (value, sentence) in [
            ("off", "admin.listen is off, so the daemon cannot be asked"),
            ("here", "--admin-listen: `here` is not an address"),
        ] {
            let ended = run_command(name, &[args, &["--admin-listen", value]].concat(), &[]);
            assert_eq!(ended.code, Some(78), "{}", ended.stderr);
            assert!(ended.stderr.contains(sentence), "{}", ended.stderr);
        }
    }
    for args in [
        &["health"][..],
        &["health", "alive"],
        &["wait", "--timeout", "soon"],
        &["stop", "now"],
    ] {
        let ended = run_command(args[0], &args[1..], &[]);
        assert_eq!(ended.code, Some(64), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn health_fails_if_another_server_answers() {
    let daemon = sandbox(&[]);
    let data = daemon.data().to_string();
    let (code, message) = health("ready", &["--admin-listen", &data], &[]);
    assert_eq!(code, Some(1), "{message}");
}

#[test]
fn wait_returns_when_the_file_is_written() {
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let path = file.to_str().unwrap();
    let daemon = Daemon::spawn(&[&["--sandbox", "--file", path], &LISTEN[..]].concat(), &[]);
    let admin = daemon.admin().to_string();
    let waited = run_command("wait", &["--admin-listen", &admin], &[]);
    assert_eq!((waited.code, waited.stderr.as_str()), (Some(0), ""));
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("AccessKeySecret")
    );
}

#[test]
fn wait_times_out_with_the_message_of_the_daemon() {
    let daemon = without_sts();
    let admin = daemon.admin().to_string();
    let waited = run_command("wait", &["--timeout", "1s", "--admin-listen", &admin], &[]);
    let sentence = daemon.probe("/ready").text("Message");
    assert_eq!(waited.code, Some(69));
    assert_eq!(
        waited.stderr,
        format!("ram-sidecar: not ready within 1 s: {sentence}")
    );
}

#[test]
fn wait_retries_until_the_daemon_starts() {
    let listener = TcpListener::bind(unused_address()).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let waiting = std::thread::spawn({
        let address = address.clone();
        move || {
            run_command(
                "wait",
                &["--timeout", "25s", "--admin-listen", &address],
                &[],
            )
        }
    });
    // Its first connection is closed without a response.
    drop(listener.accept().unwrap());
    drop(listener);
    let args = [
        "--sandbox",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        &address,
    ];
    let _daemon = Daemon::spawn(&args, &[]);
    let waited = waiting.join().unwrap();
    assert_eq!(waited.code, Some(0), "{}", waited.stderr);
}

#[test]
fn stop_shuts_the_daemon_down_without_its_drain() {
    let mut daemon = sandbox(&["--drain", "1h"]);
    let admin = daemon.admin().to_string();
    let stop = || run_command("stop", &["--admin-listen", &admin], &[]);
    let stopped = stop();
    assert_eq!((stopped.code, stopped.stderr.as_str()), (Some(0), ""));
    daemon.logged("A program requested the shutdown of this process");
    assert_eq!(daemon.ended(), Some(0));
    assert_eq!(stop().code, Some(69));
}

#[test]
fn stop_ends_the_drain_of_a_daemon_that_shuts_down() {
    let mut daemon = sandbox(&["--drain", "1h"]);
    let admin = daemon.admin().to_string();
    daemon.signal("TERM");
    eventually("the daemon is not ready any more", || {
        (daemon.probe("/ready").status == 503).then_some(())
    });
    assert_eq!(daemon.credentials().status, 200);
    let stopped = run_command("stop", &["--admin-listen", &admin], &[]);
    assert_eq!(stopped.code, Some(0));
    assert_eq!(daemon.ended(), Some(0));
}

#[test]
fn only_a_program_of_the_pod_may_stop_the_daemon() {
    let daemon = sandbox(&[]);
    let admin = daemon.admin();
    let post = |headers: &str| {
        http::raw(
            admin,
            &format!("POST /stop HTTP/1.1\r\nHost: {admin}\r\n{headers}\r\n"),
        )
    };
    for (reply, code) in [
        (post("Origin: http://evil.example\r\n"), "BrowserRefused"),
        (
            post("Origin: null\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n"),
            "BrowserRefused",
        ),
        (post("Sec-Fetch-Dest: empty\r\n"), "BrowserRefused"),
        (post("User-Agent: Mozilla/5.0\r\n"), "BrowserRefused"),
        (post("X-Forwarded-For: 10.0.0.1\r\n"), "ForwardedRefused"),
        (
            http::raw(admin, "POST /stop HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
            "HostRefused",
        ),
        (
            http::raw(admin, "POST /stop HTTP/1.1\r\n\r\n"),
            "HostRefused",
        ),
    ] {
        assert_eq!(
            (reply.status, reply.text("Code").as_str()),
            (403, code),
            "{reply:?}"
        );
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let reply = http::raw(
            admin,
            &format!("{method} /stop HTTP/1.1\r\nHost: {admin}\r\n\r\n"),
        );
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some("POST")),
            "{method}"
        );
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    for path in ["/stop/", "//stop", "/Stop", "/%73top", "/x/../stop"] {
        let reply = http::raw(
            admin,
            &format!("POST {path} HTTP/1.1\r\nHost: {admin}\r\n\r\n"),
        );
        assert_eq!(reply.status, 404, "{path}");
    }
    assert_eq!(daemon.probe("/ready").status, 200);
    assert_eq!(daemon.credentials().status, 200);
}
