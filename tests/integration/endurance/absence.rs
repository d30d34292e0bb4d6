//! STS is away from before the start, and comes back.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{answered, beside, read, ready, watched};
use crate::access::dialects;
use crate::clients::{self, triple};
use crate::sandbox::Sandbox;
use crate::serving::LISTEN;
use crate::support::{Daemon, Process, Scratch, eventually};
use crate::toolchains::Language;

#[test]
fn every_dialect_tells_why_within_its_bound_and_serves_after_the_heal() {
    std::thread::scope(|scope| {
        for (fault, code) in [("down", "RequestFailed"), ("hang", "TimedOut")] {
            scope.spawn(move || {
                let (sandbox, scratch) = (Sandbox::start(&["--fault", fault]), Scratch::new());
                let file = scratch.join("credentials");
                let daemon = beside(&sandbox, &file, &[]);
                // From the first moment on, and again when the first attempt has failed.
                assert_refused(&daemon, &["CredentialsPending", code]);
                daemon.logged("No credentials");
                assert_refused(&daemon, &[code]);
                assert_eq!(daemon.probe("/live").status, 200);
                let told = daemon.probe("/ready");
                assert_eq!((told.status, told.text("Code")), (503, code.to_owned()));

                let ((), seen) = watched(&daemon, &file, || {
                    sandbox.clear_faults();
                    // The next attempt may be a minute away.
                    daemon.signal("HUP");
                    ready(&daemon);
                    for dialect in dialects(&daemon) {
                        assert_eq!(dialect.ask().status, 200, "{fault} {}", dialect.name);
                    }
                    assert!(read(&file).is_some(), "{fault}");
                });
                for seen in seen.iter().filter(|seen| seen.place != "file") {
                    assert!(
                        seen.refusals.iter().all(|(_, told)| told == code),
                        "{seen:?}"
                    );
                }
            });
        }
    });
}

#[test]
fn a_port_where_nothing_listens_is_served_from_as_soon_as_sts_is_there() {
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap().to_string();
    drop(place);
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
    let ways = ["--container", "--metadata-listen", "127.0.0.1:0"];
    let daemon = Daemon::spawn(&[&LISTEN[..], &ways].concat(), &env);
    daemon.logged("No credentials");
    assert_refused(&daemon, &["ConnectionRefused"]);

    let sandbox = Sandbox::start_at(&address, &[]);
    for (key, name) in keys.iter().zip(["ID", "SECRET"]) {
        let value = sandbox.value(&format!("ALIBABA_CLOUD_ACCESS_KEY_{name}"));
        std::fs::write(key, value).unwrap();
    }
    // It may just have met the new STS with the old keys, which only a human could mend.
    daemon.signal("HUP");
    ready(&daemon);
    for dialect in dialects(&daemon) {
        assert_eq!(dialect.ask().status, 200, "{}", dialect.name);
    }
}

#[test]
fn clients_that_were_started_during_the_outage_get_credentials_after_it() {
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
            command.arg(WAY);
            Process::start(command)
        })
        .collect();
    for answer in fetched(&mut clients) {
        let error = answer["error"].as_str().expect("an error");
        assert!(!error.is_empty(), "{answer}");
    }
    sandbox.clear_faults();
    // The next attempt may be a minute away.
    daemon.signal("HUP");
    eventually("it has credentials", || {
        (daemon.probe("/ready").status == 200).then_some(())
    });
    let document: Value = serde_json::from_str(&daemon.credentials().body).unwrap();
    for answer in fetched(&mut clients) {
        assert_eq!(answer, triple(&document));
    }
}

/// Lets all clients fetch at the same time.
fn fetched(clients: &mut [Process]) -> Vec<Value> {
    std::thread::scope(|scope| {
        let asked = clients.iter_mut().map(|client| {
            scope.spawn(|| {
                let answer = client.ask("fetch");
                let json: Value = serde_json::from_str(&answer).expect("JSON");
                json[WAY].clone()
            })
        });
        let asked: Vec<_> = asked.collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

/// Asserts that every dialect refuses with one of these codes, before its clients give up.
fn assert_refused(daemon: &Daemon, codes: &[&str]) {
    std::thread::scope(|scope| {
        for (dialect, patience) in dialects(daemon).into_iter().zip(PATIENCE) {
            scope.spawn(move || {
                // A machine that is busy may be late once, but hardly every time.
                let times = (0..3).map(|_| {
                    let asked_at = Instant::now();
                    let code = answered(&dialect.ask()).expect_err("there is nothing to give");
                    assert!(codes.contains(&code.as_str()), "{}: {code}", dialect.name);
                    asked_at.elapsed()
                });
                let took = times.min().unwrap();
                assert!(took < patience, "{}: {took:?}", dialect.name);
            });
        }
    });
}

const WAY: &str = "credentials_uri";

/// After which clients give up: the SDKs, botocore, and those of the metadata service. And a second more, because this
/// machine may be busy; that they are held no longer is tested beside the routers.
const PATIENCE: [Duration; 3] = [
    Duration::from_secs(6),
    Duration::from_secs(3),
    Duration::from_secs(2),
];
