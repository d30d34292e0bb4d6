//! Requests that mean no good, to every dialect.

mod requests;

use std::io::Write as _;
use std::net::Shutdown;
use std::time::Duration;

use tokio::time::Instant;

use self::requests::{Verdict, requests};
use super::{Dialect, answer, connect, dialects, exchange, holds_credentials, speaker};
use crate::http;
use crate::support::Daemon;

#[test]
fn every_hostile_request_gets_what_the_table_says_and_hurts_nobody_else() {
    let daemon = speaker(&[], &[]);
    for dialect in &dialects(&daemon) {
        let secrets = secrets(&daemon, dialect);
        for (what, request, verdict) in requests(dialect) {
            let what = format!("{}: {what}", dialect.name);
            let received = exchange(dialect.address, &request);
            judge(&what, &received, verdict, &secrets);
            assert_eq!(dialect.ask().status, 200, "a good client after {what}");
        }
    }
}

#[test]
fn the_case_of_a_path_matters_but_to_the_metadata_dialect() {
    let daemon = speaker(&[], &[]);
    for dialect in &dialects(&daemon) {
        let path = dialect.path().to_uppercase();
        let expected = if dialect.name == "metadata" { 200 } else { 404 };
        assert_eq!(http::get(dialect.address, &path).status, expected, "{path}");
    }
    let daemon = speaker(&["--key", "Aa"], &[]);
    for (path, status) in [("Aa", 200), ("aa", 404), ("AA", 404), ("%41a", 404)] {
        let path = format!("/api/v1/credentials/{path}");
        assert_eq!(daemon.get(&path).status, status, "{path}");
    }
}

#[test]
fn of_several_requests_on_a_connection_only_the_first_is_answered() {
    let daemon = speaker(&[], &[]);
    for dialect in &dialects(&daemon) {
        let good = good(dialect);
        let refused = good.replace("127.0.0.1", "evil.example");
        let posted = good
            .replace("GET", "POST")
            .replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody");
        let smuggled = format!(
            "{}{}",
            good.replace("GET", "POST").replace(
                "\r\n\r\n",
                "\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            good
        );
        for (first, gives) in [
            (good.as_str(), true),
            (&refused, false),
            (&posted, false),
            (&smuggled, false),
        ] {
            let received = exchange(dialect.address, format!("{first}{good}{good}").as_bytes());
            let text = String::from_utf8_lossy(&received);
            assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
            assert_eq!(holds_credentials(&received), gives, "{text}");
        }
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    let daemon = speaker(&[], &[]);
    for dialect in &dialects(&daemon) {
        let mut stream = connect(dialect.address);
        stream.set_nodelay(true).unwrap();
        for byte in good(dialect).as_bytes() {
            stream.write_all(&[*byte]).unwrap();
        }
        assert!(holds_credentials(&answer(stream)), "{}", dialect.name);
    }
}

/// hyper ends a connection whose client has closed its half before the answer is there, unless `half_close` is set. It
/// takes time to look for a new caller's process, and to wait for the first credentials; known callers race.
#[test]
fn a_client_that_has_said_all_and_closed_its_half_is_answered() {
    let daemon = speaker(&[], &[]);
    for dialect in &dialects(&daemon) {
        let mut stream = connect(dialect.address);
        stream.write_all(good(dialect).as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(holds_credentials(&answer(stream)), "{}", dialect.name);
    }
}

#[test]
fn clients_that_leave_before_the_answer_hurt_nobody() {
    let daemon = speaker(&[], &[]);
    for dialect in &dialects(&daemon) {
        for _ in 0..100 {
            let mut stream = connect(dialect.address);
            stream.write_all(good(dialect).as_bytes()).unwrap();
        }
        assert_eq!(dialect.ask().status, 200, "{}", dialect.name);
    }
}

#[test]
fn a_request_that_never_ends_is_cut_off_and_gives_nothing() {
    let daemon = speaker(&[], &[]);
    let streams = dialects(&daemon).map(|dialect| {
        let mut stream = connect(dialect.address);
        let unfinished = good(&dialect).replace("\r\n\r\n", "\r\n");
        stream.write_all(unfinished.as_bytes()).unwrap();
        (stream, dialect)
    });
    let sent_at = Instant::now();
    for (stream, dialect) in streams {
        assert_eq!(dialect.ask().status, 200);
        assert!(!holds_credentials(&answer(stream)), "{}", dialect.name);
    }
    assert!(sent_at.elapsed() < Duration::from_secs(15));
}

/// What a browser or a client never sends, but which is read as an address of this machine and should not be.
#[test]
fn a_host_with_something_else_behind_the_address_is_refused() {
    let daemon = speaker(&[], &[]);
    for host in [
        "[::1]evil",
        "[::1]@evil",
        "127.0.0.1:x",
        "127.0.0.1:99999",
        "localhost:1:evil",
        "localhost/evil",
        "ftp://localhost",
    ] {
        let reply = daemon.raw(&format!(
            "GET /api/v1/credentials/0 HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ));
        assert_eq!(reply.status, 403, "{host}");
    }
}

/// RFC 9110 demands `Via` of every proxy (tinyproxy adds it and nothing else); Envoy adds `X-Forwarded-Proto` by default
/// and no `X-Forwarded-For`; nginx is usually told to add `X-Real-IP`.
#[test]
fn every_mark_of_a_proxy_is_refused() {
    let daemon = speaker(&[], &[]);
    for header in [
        "Via: 1.1 tinyproxy",
        "X-Real-IP: 10.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: a",
    ] {
        let reply = daemon.raw(&format!(
            "GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\n\r\n"
        ));
        assert_eq!(
            (reply.status, reply.text("Code").as_str()),
            (403, "ForwardedRefused"),
            "{header}"
        );
    }
}

fn judge(what: &str, received: &[u8], verdict: Verdict, secrets: &[String]) {
    let text = String::from_utf8_lossy(received);
    assert!(text.matches("HTTP/1.").count() <= 1, "{what}: {text}");
    let reply = http::parse(&text);
    let shown = format!("{what}: {reply:?}");
    if verdict == Verdict::Served {
        assert_eq!(reply.status, 200, "{shown}");
        assert!(holds_credentials(received), "{shown}");
        return;
    }
    assert!(!holds_credentials(received), "{shown}");
    assert!(
        !secrets.iter().any(|secret| text.contains(secret)),
        "{shown}"
    );
    match verdict {
        Verdict::Served => {}
        Verdict::Refused(status, code) => {
            assert_eq!(reply.status, status, "{shown}");
            assert_eq!(
                reply.header("content-type"),
                Some("application/json"),
                "{shown}"
            );
            assert_eq!(reply.header("connection"), Some("close"), "{shown}");
            assert!(status != 405 || reply.header("allow").is_some(), "{shown}");
            assert!(
                !reply
                    .headers
                    .iter()
                    .any(|(name, _)| name.starts_with("access-control")),
                "{shown}"
            );
            assert_eq!(reply.text("Code"), code, "{shown}");
            assert!(!reply.text("Message").is_empty(), "{shown}");
        }
        Verdict::Empty => {
            assert_eq!((reply.status, reply.body.as_str()), (200, ""), "{shown}");
        }
        Verdict::Unread(status) => {
            // The library closes with bytes unread, and a reset may overtake its answer.
            assert!(reply.status == status || reply.status == 0, "{shown}");
            assert_eq!(reply.body, "", "{shown}");
        }
    }
}

fn good(dialect: &Dialect) -> String {
    format!("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", dialect.path())
}

/// What must be in no refusal.
fn secrets(daemon: &Daemon, dialect: &Dialect) -> Vec<String> {
    let reply = daemon.credentials();
    assert_eq!(dialect.ask().status, 200, "{}", dialect.name);
    ["AccessKeyId", "AccessKeySecret", "SecurityToken"]
        .map(|name| reply.text(name))
        .to_vec()
}
