//! The process is killed under load and started again, at the same port.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Given, answered, now};
use crate::http::{self, Reply};
use crate::sandbox::Sandbox;
use crate::support::{Daemon, Scratch, eventually};

#[test]
fn without_a_state_clients_meet_closed_doors_and_new_credentials_after_a_kill() {
    let (before, first, seen) = killed_under_load(false);
    assert_ne!(first.id, before.id);
    for (_, given) in &seen {
        assert!([&before.id, &first.id].contains(&&given.id));
    }
}

#[test]
fn with_a_state_clients_get_the_same_document_again_at_once_after_a_kill() {
    let (before, first, seen) = killed_under_load(true);
    assert_eq!(first.id, before.id);
    assert!(seen.iter().all(|(_, given)| given.id == before.id));
}

/// Returns what was given before the kill, first after it, and all in all.
///
/// Clients have no credentials of their own: they ask without a pause, and may find that nobody answers.
fn killed_under_load(keeps_state: bool) -> (Given, Given, Vec<(DateTime<Utc>, Given)>) {
    let (sandbox, scratch) = (
        Sandbox::start(&["--fault", "latency=200ms"]),
        Scratch::new(),
    );
    let state = scratch.join("state");
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let start = || {
        let listen = address.to_string();
        let mut args = vec!["--listen", &listen, "--admin-listen", "off"];
        if keeps_state {
            args.extend(["--state", state.to_str().unwrap()]);
        }
        Daemon::spawn(&args, &sandbox.env())
    };
    let mut daemon = start();
    daemon.uri();
    let before = answered(&daemon.credentials()).unwrap();
    if keeps_state {
        eventually("the state is kept", || state.exists().then_some(()));
    }
    let (seen, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let first = std::thread::scope(|scope| {
        let _over = super::Over(&is_over);
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let asked_at = now();
                    if let Some(reply) = asked(address) {
                        let given = answered(&reply).expect("credentials, or nobody");
                        assert!(given.ends_at > asked_at);
                        seen.lock().unwrap().push((asked_at, given));
                    }
                }
            });
        }
        eventually("they are served", || {
            (seen.lock().unwrap().len() > 50).then_some(())
        });
        daemon.signal("KILL");
        assert_eq!(daemon.ended(), None, "it was killed");
        let killed_at = now();
        daemon = start();
        eventually("they are served again", || {
            let seen = seen.lock().unwrap();
            let mut after = seen.iter().filter(|(asked_at, _)| *asked_at > killed_at);
            let (_, first) = after.next()?;
            (after.count() > 50).then(|| first.clone())
        })
    });
    daemon.credentials();
    (before, first, seen.into_inner().unwrap())
}

/// Asks; nothing if nobody answers.
fn asked(address: SocketAddr) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = "/api/v1/credentials/0";
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let reply = http::parse(&answer);
    // Cut off before the first byte of the answer.
    (reply.status != 0).then_some(reply)
}

/// Longer than the daemon holds a request.
const PATIENCE: Duration = Duration::from_secs(20);
