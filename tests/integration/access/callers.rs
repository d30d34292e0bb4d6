//! What the log tells of those who came.

mod names;

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Dialect, dialects, has, lines, output, speaker};
use crate::http;
use crate::support::{Daemon, eventually, required};

const NEW: &str = "A new caller requested credentials";
const INFO: [(&str, &str); 1] = [("RAM_SIDECAR_LOG", "info")];

#[test]
fn each_caller_is_told_of_once_with_all_that_is_known_of_it() {
    if !required("curl", has("curl")) {
        return;
    }
    let daemon = speaker(&[], &INFO);
    for dialect in dialects(&daemon) {
        let uri = format!("http://{}{}", dialect.address, dialect.path());
        for agent in ["first/1.0", "first/1.0", "second", ""] {
            let agent = format!("User-Agent:{agent}");
            let ran = output(&["curl", "-sf", "--noproxy", "*", "-H", &agent, &uri]);
            assert!(ran.status.success(), "{ran:?}");
        }
        let name = format!("\"dialect\":\"{}\"", dialect.name);
        let told = told(&daemon, &[NEW, &name], 3);
        let events: Vec<Value> = told
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let agents: Vec<&str> = events
            .iter()
            .map(|event| event["user_agent"].as_str().unwrap())
            .collect();
        assert_eq!(agents, ["first/1.0", "second", ""]);
        for event in &events {
            assert_eq!(event["uid"], rustix::process::geteuid().as_raw());
            assert_eq!(event.get("from"), None);
        }
        // On a busy machine a program may be looked for in vain.
        let mut agents = (0..).map(|number| format!("looked-for-{number}"));
        let event = eventually("its program is found", || {
            let agent = agents.next()?;
            let agent = format!("User-Agent:{agent}");
            output(&["curl", "-sf", "--noproxy", "*", "-H", &agent, &uri]);
            let found = lines(&daemon, &["looked-for", "\"pid\"", &name]).pop()?;
            serde_json::from_str::<Value>(&found).ok()
        });
        assert!(event["pid"].as_u64().is_some_and(|pid| pid > 1), "{event}");
        let executable = event["executable"].as_str().unwrap();
        assert!(executable.ends_with("/curl"), "{event}");
    }
}

#[test]
fn more_callers_than_are_remembered_are_served_and_warned_of_once() {
    let daemon = speaker(&[], &INFO);
    let dialect = &dialects(&daemon)[0];
    for number in 0..400 {
        let reply = ask_as(dialect, &format!("agent-{number}"));
        assert_eq!(reply.status, 200);
    }
    assert_eq!(told(&daemon, &["Too many different callers"], 1).len(), 1);
    let told = lines(&daemon, &[NEW]).len();
    assert!((200..=256).contains(&told), "{told}");
    assert!(lines(&daemon, &["agent-399"]).is_empty());
}

#[test]
fn requests_as_if_to_a_proxy_are_warned_of_once() {
    let daemon = speaker(&[], &INFO);
    for dialect in dialects(&daemon) {
        for _ in 0..3 {
            let target = format!("http://{}{}", dialect.address, dialect.path());
            let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", dialect.address);
            assert_eq!(http::raw(dialect.address, &request).status, 200);
        }
    }
    let told = told(&daemon, &["\"WARN\"", "as if to a proxy"], 1);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("unset HTTP_PROXY"), "{told:?}");
}

#[test]
fn a_flood_of_refused_requests_is_told_of_once_a_reason() {
    let daemon = speaker(&[], &INFO);
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
    told(&daemon, &["A request was refused"], 4);
    let log = daemon.stderr();
    let told: Vec<&str> = log.lines().skip(before).collect();
    assert_eq!(told.len(), 4, "{told:?}");
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
fn a_flood_of_refused_requests_to_stop_is_told_of_once_a_reason() {
    let daemon = speaker(&[], &INFO);
    let admin = daemon.admin();
    for _ in 0..100 {
        let reply = http::raw(
            admin,
            "POST /stop HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: null\r\n\r\n",
        );
        assert_eq!(reply.status, 403);
    }
    let told = told(&daemon, &["A request was refused"], 1);
    assert!(told.len() < 5, "{} lines", told.len());
}

/// Whoever has the wrong path has asked for nothing, and should not use up what is remembered.
#[test]
fn whoever_does_not_know_the_key_is_not_told_of_as_a_caller() {
    let daemon = speaker(&["--key", "3f1c8a9be07d4265"], &INFO);
    assert_eq!(daemon.credentials().status, 404);
    assert_eq!(lines(&daemon, &[NEW]), [""; 0]);
}

#[test]
fn a_caller_that_leaves_does_not_hide_the_programs_of_those_who_come_later() {
    let daemon = speaker(&[], &INFO);
    let dialect = &dialects(&daemon)[0];
    for number in 0..20 {
        use std::io::Write as _;
        let mut stream = super::connect(dialect.address);
        let agent = format!("User-Agent: gone-{number}");
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n{agent}\r\n\r\n",
            dialect.path()
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        super::answer(stream);
    }
    let mut agents = (0..100).map(|number| format!("later-{number}"));
    eventually("a program is found", || {
        ask_as(dialect, &agents.next()?);
        lines(&daemon, &["later", "\"pid\""]).pop()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn many_new_callers_at_once_are_answered_without_delay() {
    let daemon = speaker(&[], &INFO);
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
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                answer
            });
        }
        for answer in all.join_all().await {
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        // One after the other would take ten seconds, if each were looked for as long as may be.
        assert!(
            started_at.elapsed() < Duration::from_secs(5),
            "{:?}",
            started_at.elapsed()
        );
    }
}

/// Waits for at least so many lines of the log that contain every one of some words, and returns all.
fn told(daemon: &Daemon, words: &[&str], least: usize) -> Vec<String> {
    let enough = || Some(lines(daemon, words)).filter(|lines| lines.len() >= least);
    eventually("it is told of", enough)
}

fn ask_as(dialect: &Dialect, agent: &str) -> http::Reply {
    let path = dialect.path();
    http::raw(
        dialect.address,
        &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {agent}\r\n\r\n"),
    )
}
