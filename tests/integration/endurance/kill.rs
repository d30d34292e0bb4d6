//! The process is killed under load and restarted on the same port.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Credentials, StopOnDrop, now, outcome};
use crate::http::{self, Reply};
use crate::sandbox::Sandbox;
use crate::support::{Daemon, Scratch, eventually, unused_address};

#[test]
fn without_a_state_clients_get_new_credentials_after_a_kill() {
    let (before, first, all) = kill_under_load(false);
    assert_ne!(first.id, before.id);
    for (_, credentials) in &all {
        assert!([&before.id, &first.id].contains(&&credentials.id));
    }
}

#[test]
fn with_a_state_clients_get_the_same_credentials_after_a_kill() {
    let (before, first, all) = kill_under_load(true);
    assert_eq!(first.id, before.id);
    assert!(all.iter().all(|(_, one)| one.id == before.id));
}

/// Returns the credentials before the kill, the first after it, and all of them with the times of their requests.
///
/// The clients send requests without a pause; connections may fail while the daemon does not run.
fn kill_under_load(
    saves_state: bool,
) -> (Credentials, Credentials, Vec<(DateTime<Utc>, Credentials)>) {
    let (sandbox, scratch) = (
        Sandbox::start(&["--fault", "latency=200ms"]),
        Scratch::new(),
    );
    let state = scratch.join("state");
    let address = unused_address();
    let start = || {
        let listen = address.to_string();
        let mut args = vec!["--listen", &listen, "--admin-listen", "off"];
        if saves_state {
            args.extend(["--state", state.to_str().unwrap()]);
        }
        Daemon::spawn(&args, &sandbox.env())
    };
    let mut daemon = start();
    daemon.uri();
    let before = outcome(&daemon.credentials()).unwrap();
    if saves_state {
        eventually("the state is saved", || state.exists().then_some(()));
    }
    let (all, is_stopped) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let first = std::thread::scope(|scope| {
        let _stop = StopOnDrop(&is_stopped);
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_stopped.load(Ordering::Relaxed) {
                    let requested_at = now();
                    if let Some(reply) = request(address) {
                        let credentials = outcome(&reply).expect("no refusal");
                        assert!(credentials.expires_at > requested_at);
                        all.lock().unwrap().push((requested_at, credentials));
                    }
                }
            });
        }
        eventually("the clients are served", || {
            (all.lock().unwrap().len() > 50).then_some(())
        });
        daemon.signal("KILL");
        assert_eq!(daemon.ended(), None, "it was killed");
        let killed_at = now();
        daemon = start();
        eventually("the clients are served again", || {
            let all = all.lock().unwrap();
            let mut after = all.iter().filter(|(at, _)| *at > killed_at);
            let (_, first) = after.next()?;
            (after.count() > 50).then(|| first.clone())
        })
    });
    daemon.credentials();
    (before, first, all.into_inner().unwrap())
}

/// Requests credentials; `None` if the connection fails or is closed before the response.
fn request(address: SocketAddr) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let path = "/api/v1/credentials/0";
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let reply = http::parse(&response);
    // The status is 0 if the connection was closed before the first byte.
    (reply.status != 0).then_some(reply)
}

/// Longer than a request waits in the daemon.
const TIMEOUT: Duration = Duration::from_secs(20);
