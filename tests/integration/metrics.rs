//! The metrics of the real binary.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::access::has;
use crate::http;
use crate::serving::{LISTEN, sandbox};
use crate::support::{Daemon, Scratch, eventually, required};

/// Returns the value of the only sample whose line begins with `name`.
pub(crate) fn value(text: &str, name: &str) -> f64 {
    let samples = text.lines().filter_map(|line| line.strip_prefix(name));
    let values: Vec<f64> = samples
        .filter_map(|rest| rest.strip_prefix(' ')?.parse().ok())
        .collect();
    assert_eq!(values.len(), 1, "{name} in {text}");
    values[0]
}

/// Judges metrics as promtool does.
pub(crate) fn check_with_promtool(text: &str) {
    if !required("promtool", has("promtool")) {
        return;
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let judged = promtool.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&judged.stderr);
    assert!(judged.status.success() && told.is_empty(), "{told}\n{text}");
}

fn metrics(daemon: &Daemon) -> String {
    let reply = daemon.probe("/metrics");
    assert_eq!(reply.status, 200);
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(reply.header("content-type"), Some(content_type));
    reply.body
}

/// Returns the metrics of a daemon in which everything has happened that is counted.
pub(crate) fn scrape() -> String {
    let scratch = Scratch::new();
    let file = scratch.join("credentials");
    let args = [
        "--file",
        file.to_str().unwrap(),
        "--metadata-listen",
        "127.0.0.1:0",
    ];
    let daemon = sandbox(&args, &[]);
    daemon.uri();
    for _ in 0..3 {
        assert_eq!(daemon.credentials().status, 200);
    }
    assert_eq!(daemon.get("/unknown").status, 404);
    let role =
        "GET /latest/meta-data/ram/security-credentials/ HTTP/1.1\r\nhost: 100.100.100.200\r\n\r\n";
    assert_eq!(daemon.raw_metadata(role).status, 200);
    eventually("the file is written", || {
        let text = metrics(&daemon);
        text.contains("ram_sidecar_file_last_write_timestamp_seconds{")
            .then_some(text)
    })
}

#[test]
fn a_scrape_tells_what_happened() {
    let text = scrape();
    for (name, expected) in [
        (
            r#"ram_sidecar_requests_total{dialect="credentials_uri",status="200"}"#,
            3.0,
        ),
        (
            r#"ram_sidecar_requests_total{dialect="credentials_uri",status="404"}"#,
            1.0,
        ),
        (
            r#"ram_sidecar_requests_total{dialect="metadata",status="200"}"#,
            1.0,
        ),
        (
            r#"ram_sidecar_refused_requests_total{code="NotFound"}"#,
            1.0,
        ),
        (
            r#"ram_sidecar_renewals_total{result="success",code="none"}"#,
            1.0,
        ),
        (r#"ram_sidecar_phase{phase="fresh"}"#, 1.0),
        (r#"ram_sidecar_phase{phase="pending"}"#, 0.0),
        (r#"ram_sidecar_file_write_errors_total{format="json"}"#, 0.0),
        ("ram_sidecar_held_requests", 0.0),
        // The scrape itself.
        ("ram_sidecar_open_connections", 1.0),
    ] {
        assert!(
            (value(&text, name) - expected).abs() < 0.1,
            "{name} in {text}"
        );
    }
    let expiration = value(
        &text,
        "ram_sidecar_credentials_expiration_timestamp_seconds",
    );
    let started = value(&text, "process_start_time_seconds");
    assert!((3590.0..3700.0).contains(&(expiration - started)), "{text}");
    check_with_promtool(&text);
}

#[test]
fn no_caller_adds_a_series_or_a_text() {
    const MARK: &str = "planted-by-a-caller";
    let daemon = sandbox(
        &["--metadata-listen", "127.0.0.1:0"],
        &[("RAM_SIDECAR_KEY", "a-long-secret-key")],
    );
    daemon.uri();
    let listeners: [SocketAddr; 3] = [daemon.data(), daemon.metadata(), daemon.admin()];
    for number in 0..200 {
        for method in ["GET", "HEAD", "PUT", "POST", MARK] {
            let request = format!(
                "{method} /{MARK}/{number} HTTP/1.1\r\nhost: {MARK}-{number}\r\nuser-agent: {MARK}{number}\r\nx-aliyun-ecs-metadata-token: {MARK}\r\n\r\n"
            );
            let address = listeners[number % listeners.len()];
            drop(http::send(address, &request));
        }
    }
    let paths = [
        "/api/v1/credentials/",
        "/api/v1/container/",
        "/latest/meta-data/",
        "/metrics/",
    ];
    for (number, path) in (0..200).zip(paths.iter().cycle()) {
        let request = format!("GET {path}{MARK}{number} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        http::raw(listeners[number % listeners.len()], &request);
    }
    let text = metrics(&daemon);
    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for hidden in [MARK, "a-long-secret-key", "STS.", "acs:ram"] {
        let told = series.iter().find(|line| line.contains(hidden));
        assert_eq!(told, None);
    }
    let series = series.len();
    assert!(series < 150, "{series} series: {text}");
}

#[test]
fn a_scraper_gets_the_format_that_it_accepts() {
    let daemon = Daemon::spawn(&[&["--sandbox"], &LISTEN[..]].concat(), &[]);
    for (accept, content_type) in [
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let request =
            format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n");
        let reply = http::raw(daemon.admin(), &request);
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some(content_type))
        );
    }
}

#[test]
fn the_example_of_a_scrape_configuration_is_one() {
    if !required("promtool", has("promtool")) {
        return;
    }
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/guides/monitoring.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, rest) = guide.split_once("```yaml\nscrape_configs:").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    let scratch = Scratch::new();
    let file = scratch.join("prometheus.yml");
    std::fs::write(&file, format!("scrape_configs:{block}")).unwrap();
    let judged = Command::new("promtool")
        .args(["check", "config"])
        .arg(&file)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&judged.stderr);
    assert!(judged.status.success(), "{told}");
}
