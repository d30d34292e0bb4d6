//! Log entries with names that callers choose.

use serde_json::Value;

use super::super::{Dialect, dialects, exchange, output, start};
use super::INFO;
use crate::support::{Daemon, Scratch, eventually, required};

#[test]
fn user_agent_cannot_forge_log_lines_in_either_format() {
    for format in ["json", "text"] {
        for agent in [
            &b"\x1b[2J\x1b]0;title\x07"[..],
            b"a\nlevel=ERROR",
            b"a\rb",
            b"a\n b",
            b"\x9b31m",
            b"\xc2\x9b31m",
            b"\xff\xfe",
            "\u{202e}gnp".as_bytes(),
            b"a\tb",
            br#"x" uid=0 pid=1 executable="/bin/true"#,
            br#"x","level":"ERROR","message":"faked"#,
            br"x\u001b[2J",
            &[b'u'; 4000],
        ] {
            // A daemon logs one caller of a user within a minute.
            let daemon = start(
                &["--log-format", format],
                &[("RAM_SIDECAR_LOG", "info"), ("NO_COLOR", "1")],
            );
            let dialect = data_dialect(&daemon, format);
            let mut request = format!(
                "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: ",
                dialect.path()
            )
            .into_bytes();
            request.extend(agent);
            request.extend(b"\r\n\r\n");
            if super::super::has_credentials(&exchange(dialect.address, &request)) {
                daemon.logged("A new caller");
            }
            assert_no_forged_lines(&daemon, format);
            let log = daemon.stderr();
            assert!(!log.contains(&"u".repeat(129)), "{log}");
            assert_eq!(log.contains(&"u".repeat(128)), agent.starts_with(b"uu"));
            assert!(format == "json" || !log.contains("x\" uid=0"), "{log}");
        }
    }
}

#[test]
fn program_name_cannot_forge_log_lines_in_json() {
    assert_program_name_cannot_forge_log_lines("json");
}

#[test]
fn program_name_cannot_forge_log_lines_in_text() {
    assert_program_name_cannot_forge_log_lines("text");
}

fn assert_program_name_cannot_forge_log_lines(format: &str) {
    let Ok(curl) = std::fs::canonicalize("/usr/bin/curl") else {
        required("/usr/bin/curl", false);
        return;
    };
    let scratch = Scratch::new();
    let program = scratch.join("cu\nFAKED \u{1b}[2Jrl");
    std::fs::copy(curl, &program).unwrap();
    // On a busy machine the lookup of a program may fail.
    let daemon = eventually("the program is found", || {
        let daemon = start(&["--log-format", format], &INFO);
        let dialect = data_dialect(&daemon, format);
        let uri = format!("http://{}{}", dialect.address, dialect.path());
        output(&[program.to_str()?, "-sf", "--noproxy", "*", &uri]);
        let entry = daemon.logged("A new caller");
        entry.contains("FAKED").then_some(daemon)
    });
    assert_no_forged_lines(&daemon, format);
}

/// Finds the data listener in a log of either format.
fn data_dialect(daemon: &Daemon, format: &str) -> Dialect {
    if format == "json" {
        let [dialect, ..] = dialects(daemon);
        return dialect;
    }
    let uri = daemon.uri();
    let (address, _) = uri
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    Dialect {
        name: "credentials_uri",
        address: address.parse().unwrap(),
        prefix: "/api/v1/credentials/",
        last: "0",
    }
}

/// Asserts that every log line is an event, and contains no control characters.
fn assert_no_forged_lines(daemon: &Daemon, format: &str) {
    for line in daemon.stderr().lines() {
        let is_event = if format == "json" {
            serde_json::from_str::<Value>(line).is_ok_and(|event| event["level"] != "ERROR")
        } else {
            line.starts_with("20") && line.contains("Z ") && !line.contains(" ERROR ")
        };
        assert!(is_event, "{line:?}");
        assert!(
            !line.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{line:?}"
        );
    }
}
