//! Hostile and malformed requests, in every dialect.

mod requests;

use std::io::Write as _;
use std::net::Shutdown;
use std::time::Duration;

use tokio::time::Instant;

use self::requests::{Outcome, requests};
use super::{Dialect, connect, dialects, exchange, has_credentials, response, start};
use crate::http;
use crate::serving::LISTEN;
use crate::support::Daemon;

#[test]
fn every_hostile_request_has_the_expected_outcome_and_does_not_affect_others() {
    let daemon = start(&[], &[]);
    for dialect in &dialects(&daemon) {
        let secrets = secrets(&daemon, dialect);
        for (description, request, outcome) in requests(dialect) {
            let description = format!("{}: {description}", dialect.name);
            let received = exchange(dialect.address, &request);
            assert_outcome(&description, &received, outcome, &secrets);
            assert_eq!(
                dialect.ask().status,
                200,
                "a valid request after {description}"
            );
        }
    }
}

#[test]
fn every_request_gets_the_same_bytes_with_and_without_the_router() {
    let direct = start(&[], &[]);
    // Where users are restricted, the router answers everything.
    let own = rustix::process::geteuid().to_string();
    let restricted = [
        "--allow-uids",
        &own,
        "--container",
        "--metadata-listen",
        "127.0.0.1:0",
    ];
    let env = [
        ("RAM_SIDECAR_IDENTITY", "credentials_uri"),
        ("ALIBABA_CLOUD_CREDENTIALS_URI", &direct.uri()),
    ];
    let router = Daemon::spawn(&[&restricted, &LISTEN[..]].concat(), &env);
    router.uri();
    for (direct, router) in dialects(&direct).iter().zip(&dialects(&router)).take(2) {
        let pairs = requests(direct).into_iter().zip(requests(router));
        for ((description, request, outcome), (_, same, _)) in pairs {
            // Only the second time the caller is known.
            let [_, received] = [(); 2].map(|()| exchange(direct.address, &request));
            let expected = exchange(router.address, &same);
            let may_be_cut = matches!(outcome, Outcome::Malformed(_));
            if may_be_cut && (received.is_empty() || expected.is_empty()) {
                continue;
            }
            let (received, expected) = (undated(&received), undated(&expected));
            assert_eq!(received, expected, "{}: {description}", direct.name);
        }
    }
}

#[test]
fn paths_are_case_sensitive_except_in_the_metadata_dialect() {
    let daemon = start(&[], &[]);
    for dialect in &dialects(&daemon) {
        let path = dialect.path().to_uppercase();
        let expected = if dialect.name == "metadata" { 200 } else { 404 };
        assert_eq!(http::get(dialect.address, &path).status, expected, "{path}");
    }
    let daemon = start(&["--key", "Aa"], &[]);
    for (path, status) in [("Aa", 200), ("aa", 404), ("AA", 404), ("%41a", 404)] {
        let path = format!("/api/v1/credentials/{path}");
        assert_eq!(daemon.get(&path).status, status, "{path}");
    }
}

#[test]
fn only_the_first_request_of_a_connection_is_answered() {
    let daemon = start(&[], &[]);
    for dialect in &dialects(&daemon) {
        let valid = valid_request(dialect);
        let refused = valid.replace("127.0.0.1", "evil.example");
        let posted = valid
            .replace("GET", "POST")
            .replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody");
        let smuggled = format!(
            "{}{}",
            valid.replace("GET", "POST").replace(
                "\r\n\r\n",
                "\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            valid
        );
        for (first, is_served) in [
            (valid.as_str(), true),
            (&refused, false),
            (&posted, false),
            (&smuggled, false),
        ] {
            let received = exchange(dialect.address, format!("{first}{valid}{valid}").as_bytes());
            let text = String::from_utf8_lossy(&received);
            assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
            assert_eq!(has_credentials(&received), is_served, "{text}");
        }
    }
}

#[test]
fn request_sent_byte_by_byte_is_answered() {
    let daemon = start(&[], &[]);
    for dialect in &dialects(&daemon) {
        let mut stream = connect(dialect.address);
        stream.set_nodelay(true).unwrap();
        for byte in valid_request(dialect).as_bytes() {
            stream.write_all(&[*byte]).unwrap();
        }
        assert!(has_credentials(&response(stream)), "{}", dialect.name);
    }
}

/// hyper closes a connection whose client has closed its half before the response is ready, unless `half_close` is set. The
/// response to a new caller waits for the lookup of its process, and for the first credentials.
#[test]
fn client_that_half_closes_after_its_request_is_answered() {
    let daemon = start(&[], &[]);
    for dialect in &dialects(&daemon) {
        let mut stream = connect(dialect.address);
        stream.write_all(valid_request(dialect).as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(has_credentials(&response(stream)), "{}", dialect.name);
    }
}

#[test]
fn clients_that_disconnect_before_the_response_do_not_affect_others() {
    let daemon = start(&[], &[]);
    for dialect in &dialects(&daemon) {
        for _ in 0..100 {
            let mut stream = connect(dialect.address);
            stream.write_all(valid_request(dialect).as_bytes()).unwrap();
        }
        assert_eq!(dialect.ask().status, 200, "{}", dialect.name);
    }
}

#[test]
fn unfinished_request_is_cut_off_without_credentials() {
    let daemon = start(&[], &[]);
    let streams = dialects(&daemon).map(|dialect| {
        let mut stream = connect(dialect.address);
        let unfinished = valid_request(&dialect).replace("\r\n\r\n", "\r\n");
        stream.write_all(unfinished.as_bytes()).unwrap();
        (stream, dialect)
    });
    let sent_at = Instant::now();
    for (stream, dialect) in streams {
        assert_eq!(dialect.ask().status, 200);
        assert!(!has_credentials(&response(stream)), "{}", dialect.name);
    }
    assert!(sent_at.elapsed() < Duration::from_secs(15));
}

/// No browser or client sends such a `Host`; a lenient parser would accept it as an address of this machine.
#[test]
fn host_with_trailing_text_after_the_address_is_refused() {
    let daemon = start(&[], &[]);
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
/// and no `X-Forwarded-For`; nginx is usually configured to add `X-Real-IP`.
#[test]
fn request_with_any_proxy_header_is_refused() {
    let daemon = start(&[], &[]);
    for header in [
        "Via: 1.1 tinyproxy",
        "X-Real-IP: 10.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: a",
        "X-Forwarded: for=10.0.0.1",
        "X-Client-IP: 10.0.0.1",
        "Client-IP: 10.0.0.1",
        "CF-Connecting-IP: 10.0.0.1",
        "True-Client-IP: 10.0.0.1",
        "X-Envoy-External-Address: 10.0.0.1",
        "X-Cluster-Client-IP: 10.0.0.1",
        "Proxy-Connection: keep-alive",
        "X-Amzn-Trace-Id: Root=1",
        "X-Cloud-Trace-Context: 1/1",
        "Fastly-Client-IP: 10.0.0.1",
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

/// Returns an answer without the line that has the time.
fn undated(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.lines()
        .filter(|line| !line.starts_with("date: "))
        .collect()
}

fn assert_outcome(description: &str, received: &[u8], outcome: Outcome, secrets: &[String]) {
    let text = String::from_utf8_lossy(received);
    assert!(
        text.matches("HTTP/1.").count() <= 1,
        "{description}: {text}"
    );
    let reply = http::parse(&text);
    let shown = format!("{description}: {reply:?}");
    if outcome == Outcome::Served {
        assert_eq!(reply.status, 200, "{shown}");
        assert!(has_credentials(received), "{shown}");
        return;
    }
    assert!(!has_credentials(received), "{shown}");
    assert!(
        !secrets.iter().any(|secret| text.contains(secret)),
        "{shown}"
    );
    match outcome {
        Outcome::Served => {}
        Outcome::Refused(status, code) => {
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
        Outcome::Empty => {
            assert_eq!((reply.status, reply.body.as_str()), (200, ""), "{shown}");
        }
        Outcome::Malformed(status) => {
            // The library closes with bytes unread, and a reset may overtake its response.
            assert!(reply.status == status || reply.status == 0, "{shown}");
            assert_eq!(reply.body, "", "{shown}");
        }
    }
}

fn valid_request(dialect: &Dialect) -> String {
    format!("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", dialect.path())
}

/// Returns the secrets that no refusal may contain.
fn secrets(daemon: &Daemon, dialect: &Dialect) -> Vec<String> {
    let reply = daemon.credentials();
    assert_eq!(dialect.ask().status, 200, "{}", dialect.name);
    ["AccessKeyId", "AccessKeySecret", "SecurityToken"]
        .map(|name| reply.text(name))
        .to_vec()
}
