//! How callers and refusals are logged.

mod names;

use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Dialect, connect, dialects, has, lines, output, response, start};
use crate::http;
use crate::serving::LISTEN;
use crate::support::{Daemon, eventually, required};

const NEW_CALLER: &str = "A new caller requested credentials";
const INFO: [(&str, &str); 1] = [("RAM_SIDECAR_LOG", "info")];

#[test]
fn a_user_of_each_dialect_is_logged_once_with_its_program() {
    if !required("curl", has("curl")) {
        return;
    }
    let daemon = start(&[], &INFO);
    for dialect in dialects(&daemon) {
        let uri = format!("http://{}{}", dialect.address, dialect.path());
        for agent in ["first/1.0", "first/1.0", "second", ""] {
            let agent = format!("User-Agent:{agent}");
            let ran = output(&["curl", "-sf", "--noproxy", "*", "-H", &agent, &uri]);
            assert!(ran.status.success(), "{ran:?}");
        }
        let name = format!("\"dialect\":\"{}\"", dialect.name);
        let entries = logged(&daemon, &[NEW_CALLER, &name], 1);
        assert_eq!(entries.len(), 1, "{entries:?}");
        let event: Value = serde_json::from_str(&entries[0]).unwrap();
        assert_eq!(event["user_agent"], "first/1.0");
        assert_eq!(event["uid"], rustix::process::geteuid().as_raw());
        assert_eq!(event.get("from"), None);
    }
    // On a busy machine the lookup of a program may fail.
    let event = eventually("a program is found", || {
        let daemon = start(&[], &INFO);
        let uri = daemon.uri();
        output(&["curl", "-sf", "--noproxy", "*", &uri]);
        let entry = logged(&daemon, &[NEW_CALLER], 1).pop()?;
        serde_json::from_str::<Value>(&entry)
            .ok()
            .filter(|event| event.get("pid").is_some())
    });
    assert!(event["pid"].as_u64().is_some_and(|pid| pid > 1), "{event}");
    let executable = event["executable"].as_str().unwrap();
    assert!(executable.ends_with("/curl"), "{event}");
}

#[test]
fn a_client_that_leaves_at_once_does_not_hide_the_next_caller() {
    let daemon = start(&[], &INFO);
    for dialect in dialects(&daemon) {
        let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", dialect.path());
        for _ in 0..20 {
            let mut stream = connect(dialect.address);
            stream.write_all(request.as_bytes()).unwrap();
        }
        assert_eq!(http::raw(dialect.address, &request).status, 200);
        let uid = format!("\"uid\":{}", rustix::process::geteuid().as_raw());
        let name = format!("\"dialect\":\"{}\"", dialect.name);
        assert_eq!(logged(&daemon, &[NEW_CALLER, &uid, &name], 1).len(), 1);
    }
}

#[test]
fn a_client_that_leaves_at_once_does_not_hide_who_is_refused_next() {
    let daemon = start(&[], &INFO);
    let refused = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    for _ in 0..20 {
        let mut stream = connect(daemon.data());
        stream.write_all(refused.as_bytes()).unwrap();
    }
    assert_eq!(http::raw(daemon.data(), refused).status, 403);
    let uid = format!("\"uid\":{}", rustix::process::geteuid().as_raw());
    let told = ["A request was refused", "HostRefused", &uid];
    assert_eq!(logged(&daemon, &told, 1).len(), 1);
}

#[test]
fn without_netlink_callers_are_logged_and_a_flood_of_refusals_delays_nobody() {
    if !required("python3", has("python3")) {
        return;
    }
    let filter = ["python3", "-c", include_str!("callers/without_netlink.py")];
    let args = [&["--sandbox"], &LISTEN[..]].concat();
    let daemon = Daemon::spawn_under(&filter, &args, &INFO);
    daemon.uri();
    let refused = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let flood: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = connect(daemon.data());
            stream.write_all(refused.as_bytes()).unwrap();
            stream
        })
        .collect();
    // It stays open, so that a slow look-up finds it.
    let uri = daemon.uri();
    let path = &uri[uri.find("/api").expect("a path")..];
    let mut caller = connect(daemon.data());
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    caller.write_all(request.as_bytes()).unwrap();
    for _ in 0..10 {
        let asked = Instant::now();
        assert_eq!(daemon.credentials().status, 200);
        assert!(asked.elapsed() < Duration::from_secs(1), "{asked:?}");
    }
    for stream in flood {
        assert!(response(stream).starts_with(b"HTTP/1.1 403"));
    }
    let uid = format!("\"uid\":{}", rustix::process::geteuid().as_raw());
    assert_eq!(logged(&daemon, &[NEW_CALLER, &uid], 1).len(), 1);
    assert_eq!(logged(&daemon, &["sock_diag is unavailable"], 1).len(), 1);
    assert!(response(caller).starts_with(b"HTTP/1.1 200"));
}

#[test]
fn invented_programs_of_one_user_are_served_and_log_one_line() {
    let daemon = start(&[], &INFO);
    let dialect = &dialects(&daemon)[0];
    for number in 0..400 {
        let reply = request_as(dialect, &format!("agent-{number}"));
        assert_eq!(reply.status, 200);
    }
    let entries = logged(&daemon, &[NEW_CALLER], 1);
    assert_eq!(entries.len(), 1, "{entries:?}");
}

#[test]
fn requests_as_if_to_a_proxy_log_one_warning() {
    let daemon = start(&[], &INFO);
    for dialect in dialects(&daemon) {
        for _ in 0..3 {
            let target = format!("http://{}{}", dialect.address, dialect.path());
            let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", dialect.address);
            assert_eq!(http::raw(dialect.address, &request).status, 200);
        }
    }
    let warnings = logged(&daemon, &["\"WARN\"", "as if to a proxy"], 1);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("unset HTTP_PROXY"), "{warnings:?}");
}

#[test]
fn refused_requests_log_one_warning_per_reason() {
    let daemon = start(&[], &INFO);
    daemon.logged("Credentials renewed");
    let before = daemon.stderr().lines().count();
    for number in 0..1000 {
        for dialect in &dialects(&daemon)[number % 3..][..1] {
            let (method, header) = match number % 4 {
                0 => ("GET", "Origin: http://evil.example"),
                1 => ("GET", "X-Forwarded-For: 10.0.0.1"),
                2 => ("GET", "Host: evil.example"),
                _ => ("POST", "Content-Length: 0"),
            };
            let path = dialect.path();
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {number}\r\n{header}\r\n\r\n"
            );
            let reply = http::raw(dialect.address, &request);
            assert!([403, 405].contains(&reply.status), "{reply:?}");
        }
    }
    logged(&daemon, &["A request was refused"], 4);
    let log = daemon.stderr();
    let new: Vec<&str> = log.lines().skip(before).collect();
    assert_eq!(new.len(), 4, "{new:?}");
    for code in [
        "BrowserRefused",
        "ForwardedRefused",
        "HostRefused",
        "MethodNotAllowed",
    ] {
        assert_eq!(lines(&daemon, &["\"WARN\"", code]).len(), 1, "{code}");
    }
}

#[test]
fn refused_stop_requests_log_one_warning_per_reason() {
    let daemon = start(&[], &INFO);
    let admin = daemon.admin();
    for _ in 0..100 {
        let reply = http::raw(
            admin,
            "POST /stop HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: null\r\n\r\n",
        );
        assert_eq!(reply.status, 403);
    }
    let refusals = logged(&daemon, &["A request was refused"], 1);
    assert!(refusals.len() < 5, "{} lines", refusals.len());
}

/// A caller with a wrong path must not use up the limit on the number of remembered callers.
#[test]
fn request_with_a_wrong_key_is_not_logged_as_a_caller() {
    let daemon = start(&["--key", "3f1c8a9be07d4265"], &INFO);
    assert_eq!(daemon.credentials().status, 404);
    assert_eq!(lines(&daemon, &[NEW_CALLER]), [""; 0]);
}

#[test]
fn requests_with_a_wrong_key_log_one_warning_that_names_the_right_variable() {
    let daemon = start(&["--key", "3f1c8a9be07d4265"], &INFO);
    for _ in 0..20 {
        assert_eq!(daemon.credentials().status, 404);
    }
    let warnings = logged(&daemon, &["wrong key"], 1);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let warning = &warnings[0];
    assert!(
        warning.contains("let the program use ALIBABA_CLOUD_CREDENTIALS_URI")
            && warning.contains("unless the pod or a script sets it itself")
            && warning.contains("ram-sidecar/key")
            && !warning.contains("3f1c8a9be07d4265"),
        "{warning}"
    );
}

#[test]
fn callers_that_disconnect_do_not_prevent_the_lookup_of_later_programs() {
    eventually("a program is found", || {
        let daemon = start(&[], &INFO);
        let [left, asked, _] = dialects(&daemon);
        for number in 0..20 {
            use std::io::Write as _;
            let mut stream = connect(left.address);
            let agent = format!("User-Agent: disconnected-{number}");
            let request = format!(
                "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n{agent}\r\n\r\n",
                left.path()
            );
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            response(stream);
        }
        request_as(&asked, "later");
        let entry = logged(&daemon, &["\"user_agent\":\"later\""], 1).pop();
        entry.filter(|entry| entry.contains("\"pid\""))
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_new_callers_are_answered_without_delay() {
    let daemon = start(&[], &INFO);
    for dialect in &dialects(&daemon) {
        let started_at = Instant::now();
        let mut all = tokio::task::JoinSet::new();
        for number in 0..200 {
            let request = format!(
                "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {}-{number}\r\n\r\n",
                dialect.path(),
                dialect.name
            );
            let address = dialect.address;
            all.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut response = String::new();
                stream.read_to_string(&mut response).await.unwrap();
                response
            });
        }
        for response in all.join_all().await {
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        }
        // Sequential lookups, each with the longest timeout, would take ten seconds.
        assert!(
            started_at.elapsed() < Duration::from_secs(5),
            "{:?}",
            started_at.elapsed()
        );
    }
}

/// Waits for at least `count` log lines that contain all of `words`, and returns all such lines.
fn logged(daemon: &Daemon, words: &[&str], count: usize) -> Vec<String> {
    let enough = || Some(lines(daemon, words)).filter(|lines| lines.len() >= count);
    eventually(&format!("{count} lines with {words:?} are logged"), enough)
}

fn request_as(dialect: &Dialect, agent: &str) -> http::Reply {
    let path = dialect.path();
    http::raw(
        dialect.address,
        &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {agent}\r\n\r\n"),
    )
}
