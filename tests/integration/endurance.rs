//! Ordeals: the real process while STS fails, and while it is itself stopped, killed or flooded, as its clients see it.
//!
//! Whoever asks a [`watched`] daemon, or reads its file, finds all the while that what is given is whole, of one issue
//! and not expired, and that nobody is refused while credentials are held.

mod absence;
mod crowd;
mod disk;
mod idleness;
mod kill;
mod outage;
mod rotation;
mod storm;
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

/// Starts a daemon beside `sandbox` that speaks every dialect and keeps a file.
fn beside(sandbox: &Sandbox, file: &Path, args: &[&str]) -> Daemon {
    let file = file.to_str().unwrap();
    let ways = [
        "--container",
        "--metadata-listen",
        "127.0.0.1:0",
        "--file",
        file,
    ];
    Daemon::spawn(&[&LISTEN[..], &ways, args].concat(), &sandbox.env())
}

/// Waits until it has credentials, and its file too.
fn ready(daemon: &Daemon) {
    eventually("it is ready", || {
        (daemon.probe("/ready").status == 200).then_some(())
    });
}

fn now() -> DateTime<Utc> {
    Clock::machine().now().wall
}

/// Credentials that somebody was given.
#[derive(Clone, Debug)]
struct Given {
    id: String,
    secrets: [String; 2],
    ends_at: DateTime<Utc>,
}

/// Reads a document of any dialect, which must be whole and of one issue.
fn whole(document: &str) -> Given {
    let json: Value =
        serde_json::from_str(document).unwrap_or_else(|error| panic!("{error}: {document}"));
    let text = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| json[*name].as_str());
        found.unwrap_or_else(|| panic!("no {names:?}")).to_owned()
    };
    let id = text(["AccessKeyId"; 2]);
    let secret = text(["AccessKeySecret", "SecretAccessKey"]);
    let token = text(["SecurityToken", "Token"]);
    // The sandbox's token names the AccessKey that it belongs to.
    let inside = STANDARD.decode(&token).expect("a token of the sandbox");
    assert!(String::from_utf8_lossy(&inside).contains(&id), "mixed");
    assert!(!secret.is_empty());
    let ends_at = text(["Expiration"; 2]).parse().expect("a time");
    Given {
        id,
        secrets: [secret, token],
        ends_at,
    }
}

/// What was seen in one place while a daemon was watched.
#[derive(Debug, Default)]
struct Seen {
    place: &'static str,
    /// How often credentials were given.
    good: usize,
    ids: BTreeSet<String>,
    /// When nothing was given, and the code that was told, if one was.
    refusals: Vec<(DateTime<Utc>, String)>,
    last: Option<Given>,
}

/// Asks at every door and reads the file, over and over, while `ordeal` lasts; returns what it returned, and what was
/// seen.
fn watched<T>(daemon: &Daemon, file: &Path, ordeal: impl FnOnce() -> T) -> (T, Vec<Seen>) {
    let watch = Watch {
        daemon,
        ends_at: Mutex::default(),
        is_over: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let watch = &watch;
        let doors = dialects(daemon)
            .map(|door| scope.spawn(move || watch.over(door.name, || Some(answered(&door.ask())))));
        let reader = scope.spawn(move || watch.over("file", || read(file)));
        let outcome = {
            let _over = Over(&watch.is_over);
            ordeal()
        };
        let witnesses = doors.into_iter().chain([reader]);
        let seen = witnesses.map(|witness| witness.join().expect("nobody saw anything wrong"));
        (outcome, seen.collect())
    })
}

/// What somebody got: credentials, or a code.
type Got = Result<Given, String>;

fn answered(reply: &Reply) -> Got {
    match reply.status {
        200 => Ok(whole(&reply.body)),
        503 => Err(reply.text("Code")),
        _ => panic!("{reply:?}"),
    }
}

/// Reads the file; nothing tells why there is none.
fn read(file: &Path) -> Option<Got> {
    match std::fs::read_to_string(file) {
        Ok(text) => Some(Ok(whole(&text))),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", file.display()),
    }
}

struct Watch<'a> {
    daemon: &'a Daemon,
    /// When the last credentials end that any door gave: until then they are held.
    ends_at: Mutex<Option<DateTime<Utc>>>,
    is_over: AtomicBool,
}

impl Watch<'_> {
    fn over(&self, place: &'static str, look: impl Fn() -> Option<Got>) -> Seen {
        let is_file = place == "file";
        let mut seen = Seen {
            place,
            ..Seen::default()
        };
        while !self.is_over.load(Ordering::Relaxed) {
            let held_until = if is_file {
                seen.last.as_ref().map(|last| last.ends_at)
            } else {
                *self.ends_at.lock().unwrap()
            };
            let looked_at = now();
            match look() {
                Some(Ok(given)) => {
                    let ends_at = given.ends_at + if is_file { LAG } else { TimeDelta::zero() };
                    assert!(ends_at > looked_at, "{place}: expired at {looked_at}");
                    self.learn(&given, &mut seen);
                }
                other => {
                    let code = other.map_or_else(String::new, |got| got.expect_err("a code"));
                    let moment = now();
                    let is_held = held_until.is_some_and(|until| moment < until - EARLY);
                    assert!(!is_held, "{place}: `{code}` at {moment}, {held_until:?}");
                    seen.refusals.push((moment, code));
                }
            }
            thread::sleep(PACE);
        }
        seen
    }

    fn learn(&self, given: &Given, seen: &mut Seen) {
        seen.good += 1;
        if seen.ids.insert(given.id.clone()) {
            for secret in &given.secrets {
                self.daemon.plant(secret);
            }
            if seen.place != "file" {
                let mut ends_at = self.ends_at.lock().unwrap();
                *ends_at = (*ends_at).max(Some(given.ends_at));
            }
        }
        seen.last = Some(given.clone());
    }
}

/// Ends a watch, also when the ordeal panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long before the `Expiration` credentials may be withdrawn: times are told in whole seconds, and the daemon counts
/// from the moment of asking, so that what it takes for the end errs to the early side.
const EARLY: TimeDelta = TimeDelta::seconds(3);

/// How much later than the doors the file may be, on a machine that is busy.
const LAG: TimeDelta = TimeDelta::seconds(3);

/// Some hundred looks a second in every place, and a CPU for others.
const PACE: Duration = Duration::from_millis(8);
