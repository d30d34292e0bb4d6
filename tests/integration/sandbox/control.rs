//! The control endpoint of the sandbox.

use serde_json::Value;

use super::{Sandbox, control};
use crate::http::{self, Reply};
use crate::serving::LISTEN;
use crate::support::{Daemon, eventually};

fn json(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
}

#[test]
fn control_endpoint_reports_the_faults_in_force_and_counts_the_calls() {
    let sandbox = Sandbox::start(&["--fault", "error"]);
    for _ in 0..2 {
        assert_eq!(http::get(sandbox.address(), "/").status, 500);
    }
    sandbox.set("down");
    assert_eq!(http::get(sandbox.address(), "/").status, 0);
    sandbox.clear_faults();
    assert_eq!(
        http::get(sandbox.address(), "/").text("Code"),
        "MissingAction"
    );

    let reply = sandbox.control("GET", "");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let expected = serde_json::json!({
        "Faults": "", "Calls": 4, "Answered": 3, "Met": {"error": 2, "down": 1},
    });
    assert_eq!(json(&reply), expected);
    let head = sandbox.control("HEAD", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn a_change_releases_hanging_requests() {
    let sandbox = Sandbox::start(&["--fault", "hang"]);
    let address = sandbox.address();
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let pending = http::send(address, &request);
    eventually("the call has arrived", || {
        (json(&sandbox.control("GET", ""))["Calls"] == 1).then_some(())
    });
    sandbox.set("unavailable");
    assert_eq!(http::received(pending).text("Code"), "ServiceUnavailable");
}

#[test]
fn an_invalid_plan_is_refused_with_every_error_and_changes_nothing() {
    let sandbox = Sandbox::start(&["--fault", "deny=0.5"]);
    let reply = sandbox.control("PUT", "trottle,latency=2,error=7");
    assert_eq!(
        (reply.status, reply.text("Code").as_str()),
        (400, "InvalidFaults")
    );
    let message = reply.text("Message");
    let errors: Vec<&str> = message.lines().collect();
    for (reported, error) in errors.iter().zip([
        "`trottle` is not a fault; the faults are down, hang, throttle, ",
        "latency: `2` has no unit; write it like 200ms, 2s or 5m",
        "error: `7` is not a probability; write a number from 0 to 1, like error=0.2",
    ]) {
        assert!(reported.starts_with(error), "\n{reported}\n{error}");
    }
    assert_eq!(errors.len(), 3, "{errors:?}");

    let empty = sandbox.control("PUT", " \r\n");
    assert_eq!(empty.status, 400, "{empty:?}");
    let too_long = sandbox.control("PUT", &"x".repeat(200 * 1024));
    assert_eq!(
        (too_long.status, too_long.text("Code").is_empty()),
        (413, false)
    );
    assert_eq!(sandbox.control("GET", "").text("Faults"), "deny=0.5");
}

#[test]
fn web_pages_proxies_and_other_hosts_are_refused() {
    let sandbox = Sandbox::start(&["--fault", "error"]);
    let address = sandbox.address();
    let delete = |host: &str, headers: &str| {
        let path = "/_sandbox/faults";
        let request = format!("DELETE {path} HTTP/1.1\r\n{host}{headers}\r\n");
        http::raw(address, &request)
    };
    let host = format!("Host: {address}\r\n");
    for (host, headers, code) in [
        (&*host, "Origin: http://evil.example\r\n", "BrowserRefused"),
        (&host, "Origin: null\r\n", "BrowserRefused"),
        (&host, "Sec-Fetch-Site: same-origin\r\n", "BrowserRefused"),
        (&host, "X-Forwarded-For: 10.0.0.1\r\n", "ForwardedRefused"),
        (&host, "Via: 1.1 proxy\r\n", "ForwardedRefused"),
        ("Host: evil.example\r\n", "", "HostRefused"),
        ("", "", "HostRefused"),
    ] {
        let reply = delete(host, headers);
        assert_eq!(
            (reply.status, reply.text("Code").as_str()),
            (403, code),
            "{host}{headers}"
        );
    }
    for method in ["POST", "OPTIONS", "PATCH"] {
        let reply = sandbox.control(method, "");
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.header("allow"), Some("GET, HEAD, PUT, DELETE"));
    }
    for path in [
        "/_sandbox",
        "/_sandbox/",
        "/_sandbox/faults/",
        "/_sandbox/Faults",
    ] {
        let reply = http::get(address, path);
        assert_eq!(
            (reply.status, reply.text("Code").as_str()),
            (404, "NotFound"),
            "{path}"
        );
    }
    assert_eq!(sandbox.control("GET", "").text("Faults"), "error");
}

#[test]
fn the_embedded_sandbox_logs_the_url_of_its_control_endpoint() {
    let args = [&["--sandbox", "--fault", "deny"], &LISTEN[..]].concat();
    let daemon = Daemon::spawn(&args, &[]);
    let line = daemon.logged("Sandbox STS listens");
    let event: Value = serde_json::from_str(&line).unwrap();
    let address = event["address"].as_str().unwrap();
    assert_eq!(
        event["faults_at"],
        format!("http://{address}/_sandbox/faults")
    );
    daemon.logged("No credentials");
    assert_eq!(daemon.probe("/ready").text("Code"), "NoPermission");

    assert_eq!(control(address.parse().unwrap(), "DELETE", "").status, 200);
    daemon.logged("Faults of the sandbox cleared");
    daemon.signal("HUP");
    daemon.uri();
    assert_eq!(daemon.credentials().status, 200);
}
