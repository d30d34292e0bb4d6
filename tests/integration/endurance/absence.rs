//! STS is unavailable before the daemon starts, and becomes available later.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{FILE, observe, outcome, read_file, start_daemon, wait_until_ready};
use crate::access::dialects;
use crate::clients::{self, triple};
use crate::sandbox::Sandbox;
use crate::serving::LISTEN;
use crate::support::{Daemon, Process, Scratch, unused_address};
use crate::toolchains::Language;

#[test]
fn every_dialect_reports_the_cause_within_its_timeout_and_serves_after_the_outage() {
    std::thread::scope(|scope| {
        for (fault, code) in [("down", "RequestFailed"), ("hang", "TimedOut")] {
            scope.spawn(move || {
                let (sandbox, scratch) = (Sandbox::start(&["--fault", fault]), Scratch::new());
                let file = scratch.join("credentials");
                let daemon = start_daemon(&sandbox, &file, &[]);
                // Immediately after the start, and after the first attempt has failed.
                assert_refused(&daemon, &["CredentialsPending", code]);
                daemon.logged("No credentials");
                assert_refused(&daemon, &[code]);
                assert_eq!(daemon.probe("/live").status, 200);
                let reply = daemon.probe("/ready");
                assert_eq!((reply.status, reply.text("Code")), (503, code.to_owned()));

                let ((), observations) = observe(&daemon, &file, || {
                    sandbox.clear_faults();
                    // Otherwise the next attempt may be a minute later.
                    daemon.signal("HUP");
                    wait_until_ready(&daemon);
                    for dialect in dialects(&daemon) {
                        assert_eq!(dialect.ask().status, 200, "{fault} {}", dialect.name);
                    }
                    assert!(read_file(&file).is_some(), "{fault}");
                });
                for client in observations.iter().filter(|one| one.source != FILE) {
                    assert!(
                        client.refusals.iter().all(|(_, reported)| reported == code),
                        "{client:?}"
                    );
                }
            });
        }
    });
}

#[test]
fn credentials_are_served_once_sts_listens_on_a_port_that_was_closed() {
    let address = unused_address().to_string();
    let scratch = Scratch::new();
    let keys = ["id", "secret"].map(|name| scratch.join(name));
    for key in &keys {
        std::fs::write(key, "not-yet-known").unwrap();
    }
    let role = Sandbox::start(&[])
        .value("ALIBABA_CLOUD_ROLE_ARN")
        .to_owned();
    let endpoint = format!("http://{address}");
    let env = [
        ("ALIBABA_CLOUD_STS_ENDPOINT", endpoint.as_str()),
        ("ALIBABA_CLOUD_ROLE_ARN", &role),
        (
            "ALIBABA_CLOUD_ACCESS_KEY_ID_FILE",
            keys[0].to_str().unwrap(),
        ),
        (
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET_FILE",
            keys[1].to_str().unwrap(),
        ),
    ];
    let outputs = ["--container", "--metadata-listen", "127.0.0.1:0"];
    let daemon = Daemon::spawn(&[&LISTEN[..], &outputs].concat(), &env);
    daemon.logged("No credentials");
    assert_refused(&daemon, &["ConnectionRefused"]);

    let sandbox = Sandbox::start_at(&address, &[]);
    for (key, name) in keys.iter().zip(["ID", "SECRET"]) {
        let value = sandbox.value(&format!("ALIBABA_CLOUD_ACCESS_KEY_{name}"));
        std::fs::write(key, value).unwrap();
    }
    // The daemon may have called the new STS with the old keys, which delays its next attempt.
    daemon.signal("HUP");
    wait_until_ready(&daemon);
    for dialect in dialects(&daemon) {
        assert_eq!(dialect.ask().status, 200, "{}", dialect.name);
    }
}

#[test]
fn clients_started_during_an_outage_get_credentials_after_it() {
    let homes: [Scratch; 4] = std::array::from_fn(|_| Scratch::new());
    let languages = [
        Language::Python,
        Language::Node,
        Language::Go,
        Language::Java,
    ];
    let commands: Vec<_> = languages
        .into_iter()
        .zip(&homes)
        .filter_map(|(language, home)| language.program("follow", home.path()))
        .collect();
    let sandbox = Sandbox::start(&["--fault", "down"]);
    let daemon = sandbox.daemon();
    let uri = format!("http://{}/api/v1/credentials/0", daemon.data());
    let mut clients: Vec<_> = commands
        .into_iter()
        .map(|command| {
            let mut command = clients::beside(&uri, command);
            command.arg(PROTOCOL);
            Process::start(command)
        })
        .collect();
    for result in fetch_all(&mut clients) {
        let error = result["error"].as_str().expect("an error");
        assert!(!error.is_empty(), "{result}");
    }
    sandbox.clear_faults();
    // Otherwise the next attempt may be a minute later.
    daemon.signal("HUP");
    wait_until_ready(&daemon);
    let document: Value = serde_json::from_str(&daemon.credentials().body).unwrap();
    for result in fetch_all(&mut clients) {
        assert_eq!(result, triple(&document));
    }
}

/// Lets all clients fetch credentials at the same time, and returns what they printed.
fn fetch_all(clients: &mut [Process]) -> Vec<Value> {
    std::thread::scope(|scope| {
        let fetches = clients.iter_mut().map(|client| {
            scope.spawn(|| {
                let line = client.ask("fetch");
                let json: Value = serde_json::from_str(&line).expect("JSON");
                json[PROTOCOL].clone()
            })
        });
        let fetches: Vec<_> = fetches.collect();
        fetches.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

/// Asserts that every dialect refuses with one of these codes before its clients time out.
fn assert_refused(daemon: &Daemon, codes: &[&str]) {
    std::thread::scope(|scope| {
        for (dialect, timeout) in dialects(daemon).into_iter().zip(TIMEOUTS) {
            scope.spawn(move || {
                // A busy machine may delay one response, but hardly every one.
                let times = (0..3).map(|_| {
                    let requested_at = Instant::now();
                    let code = outcome(&dialect.ask()).expect_err("a refusal");
                    assert!(codes.contains(&code.as_str()), "{}: {code}", dialect.name);
                    requested_at.elapsed()
                });
                let took = times.min().unwrap();
                assert!(took < timeout, "{}: {took:?}", dialect.name);
            });
        }
    });
}

const PROTOCOL: &str = "credentials_uri";

/// The timeouts of the SDKs, of botocore, and of clients of the metadata service, each with an extra second for a busy
/// machine. The unit tests of the routers verify the exact time that a request waits.
const TIMEOUTS: [Duration; 3] = [
    Duration::from_secs(6),
    Duration::from_secs(3),
    Duration::from_secs(2),
];
