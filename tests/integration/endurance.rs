//! The real process while STS fails, and while it is itself stopped, killed or flooded, as its clients see it.
//!
//! Tests that [`observe`] a daemon also verify that every response and every file contains complete, unexpired credentials of
//! one issue, and that no request is refused before the current credentials expire.

mod absence;
mod crowd;
mod disk;
mod idleness;
mod intermittent;
mod kill;
mod outage;
mod rotation;
mod suspension;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use ram_sidecar::time::clock::Clock;
use serde_json::Value;

use crate::access::dialects;
use crate::http::Reply;
use crate::sandbox::Sandbox;
use crate::serving::LISTEN;
use crate::support::{Daemon, eventually};

/// Starts a daemon that uses `sandbox`, serves every dialect and writes a credentials file.
fn start_daemon(sandbox: &Sandbox, file: &Path, args: &[&str]) -> Daemon {
    let file = file.to_str().unwrap();
    let outputs = [
        "--container",
        "--metadata-listen",
        "127.0.0.1:0",
        "--file",
        file,
    ];
    Daemon::spawn(&[&LISTEN[..], &outputs, args].concat(), &sandbox.env())
}

/// Waits until the daemon is ready: it has credentials, and has written its files.
fn wait_until_ready(daemon: &Daemon) {
    eventually("the daemon is ready", || {
        (daemon.probe("/ready").status == 200).then_some(())
    });
}

fn now() -> DateTime<Utc> {
    Clock::machine().now().wall
}

/// Credentials from a response or from the file.
#[derive(Clone, Debug)]
struct Credentials {
    id: String,
    secrets: [String; 2],
    expires_at: DateTime<Utc>,
}

/// Parses a document of any dialect, which must be complete and of one issue.
fn parse(document: &str) -> Credentials {
    let json: Value =
        serde_json::from_str(document).unwrap_or_else(|error| panic!("{error}: {document}"));
    let text = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| json[*name].as_str());
        found.unwrap_or_else(|| panic!("no {names:?}")).to_owned()
    };
    let id = text(["AccessKeyId"; 2]);
    let secret = text(["AccessKeySecret", "SecretAccessKey"]);
    let token = text(["SecurityToken", "Token"]);
    // The sandbox's token contains the id of its AccessKey.
    let decoded = STANDARD.decode(&token).expect("a token of the sandbox");
    assert!(
        String::from_utf8_lossy(&decoded).contains(&id),
        "the id and the token are of two issues"
    );
    assert!(!secret.is_empty());
    let expires_at = text(["Expiration"; 2]).parse().expect("a time");
    Credentials {
        id,
        secrets: [secret, token],
        expires_at,
    }
}

/// The credentials of a response, or the code of its refusal.
type Outcome = Result<Credentials, String>;

fn outcome(reply: &Reply) -> Outcome {
    match reply.status {
        200 => Ok(parse(&reply.body)),
        503 => Err(reply.text("Code")),
        _ => panic!("{reply:?}"),
    }
}

/// Reads the credentials file; `None` if it does not exist.
fn read_file(file: &Path) -> Option<Credentials> {
    match std::fs::read_to_string(file) {
        Ok(text) => Some(parse(&text)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", file.display()),
    }
}

/// Everything that one client or one reader of the file observed.
#[derive(Debug, Default)]
struct Observations {
    /// The dialect of the client, or [`FILE`].
    source: &'static str,
    /// The number of times that credentials were obtained.
    successes: usize,
    /// The ids of all credentials that were obtained.
    ids: BTreeSet<String>,
    /// The times without credentials, each with the code of the response; it is empty for a file.
    refusals: Vec<(DateTime<Utc>, String)>,
    last: Option<Credentials>,
}

/// Requests credentials in every dialect and reads the file, repeatedly, while `scenario` runs.
///
/// Returns the result of `scenario`, and the observations of each client and of the reader.
fn observe<T>(
    daemon: &Daemon,
    file: &Path,
    scenario: impl FnOnce() -> T,
) -> (T, Vec<Observations>) {
    let observer = Observer {
        daemon,
        expires_at: Mutex::default(),
        is_stopped: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let observer = &observer;
        let clients = dialects(daemon).map(|dialect| {
            scope.spawn(move || observer.run(dialect.name, || outcome(&dialect.ask())))
        });
        let reader =
            scope.spawn(move || observer.run(FILE, || read_file(file).ok_or_else(String::new)));
        let result = {
            let _stop = StopOnDrop(&observer.is_stopped);
            scenario()
        };
        let threads = clients.into_iter().chain([reader]);
        let observations = threads.map(|thread| thread.join().expect("no assertion failed"));
        (result, observations.collect())
    })
}

struct Observer<'a> {
    daemon: &'a Daemon,
    /// The latest expiry in any response: until then, no request may be refused.
    expires_at: Mutex<Option<DateTime<Utc>>>,
    is_stopped: AtomicBool,
}

impl Observer<'_> {
    fn run(&self, source: &'static str, obtain: impl Fn() -> Outcome) -> Observations {
        let is_file = source == FILE;
        let mut observations = Observations {
            source,
            ..Observations::default()
        };
        while !self.is_stopped.load(Ordering::Relaxed) {
            let current_until = if is_file {
                observations.last.as_ref().map(|last| last.expires_at)
            } else {
                *self.expires_at.lock().unwrap()
            };
            let requested_at = now();
            match obtain() {
                Ok(credentials) => {
                    let delay = if is_file {
                        FILE_DELAY
                    } else {
                        TimeDelta::zero()
                    };
                    assert!(
                        credentials.expires_at + delay > requested_at,
                        "{source}: expired at {requested_at}"
                    );
                    self.record(credentials, &mut observations);
                }
                Err(code) => {
                    let refused_at = now();
                    let is_early =
                        current_until.is_some_and(|until| refused_at < until - EXPIRY_MARGIN);
                    assert!(
                        !is_early,
                        "{source}: `{code}` at {refused_at}, {current_until:?}"
                    );
                    observations.refusals.push((refused_at, code));
                }
            }
            thread::sleep(INTERVAL);
        }
        observations
    }

    fn record(&self, credentials: Credentials, observations: &mut Observations) {
        observations.successes += 1;
        if observations.ids.insert(credentials.id.clone()) {
            for secret in &credentials.secrets {
                self.daemon.plant(secret);
            }
            if observations.source != FILE {
                let mut expires_at = self.expires_at.lock().unwrap();
                *expires_at = (*expires_at).max(Some(credentials.expires_at));
            }
        }
        observations.last = Some(credentials);
    }
}

/// Stops the clients and the reader, also when the scenario panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The source of observations of the credentials file.
const FILE: &str = "file";

/// How long before the `Expiration` a request may be refused: responses have whole seconds, and the daemon counts from the
/// time of its request to STS, so that its expiry is the earlier one.
const EXPIRY_MARGIN: TimeDelta = TimeDelta::seconds(3);

/// How long after a response the file may be updated, on a busy machine.
const FILE_DELAY: TimeDelta = TimeDelta::seconds(3);

/// Some hundred requests per second and dialect, which leave a CPU for other processes.
const INTERVAL: Duration = Duration::from_millis(8);
