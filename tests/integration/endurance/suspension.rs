//! The process is stopped until its credentials have expired.

use chrono::TimeDelta;

use super::{now, outcome, parse, read_file, start_daemon, wait_until_ready};
use crate::access::dialects;
use crate::http;
use crate::sandbox::Sandbox;
use crate::support::{Scratch, eventually};

#[test]
fn requests_sent_while_the_process_is_stopped_get_no_expired_credentials() {
    std::thread::scope(|scope| {
        for is_sts_available in [true, false] {
            scope.spawn(move || stop_until_expired(is_sts_available));
        }
    });
}

fn stop_until_expired(is_sts_available: bool) {
    let (sandbox, scratch) = (Sandbox::start(&["--fault", "lifetime=5s"]), Scratch::new());
    let file = scratch.join("credentials");
    let daemon = start_daemon(&sandbox, &file, &[]);
    wait_until_ready(&daemon);
    // The addresses are read from the log, which needs a running daemon.
    let dialects = dialects(&daemon);
    daemon.signal("STOP");
    let current = read_file(&file).expect("the file");
    sandbox.set(if is_sts_available {
        "lifetime=1m"
    } else {
        "down"
    });
    eventually("the credentials expire", || {
        (now() > current.expires_at + TimeDelta::seconds(1)).then_some(())
    });
    // The kernel accepts these connections; the daemon handles their requests as soon as it continues.
    let waiting: Vec<_> = dialects
        .iter()
        .cycle()
        .take(30)
        .map(|dialect| {
            let (path, address) = (dialect.path(), dialect.address);
            let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            http::send(address, &request)
        })
        .collect();
    let continued_at = now();
    daemon.signal("CONT");
    for stream in waiting {
        match outcome(&http::received(stream)) {
            Ok(credentials) => assert!(
                is_sts_available && credentials.expires_at > continued_at,
                "{credentials:?}"
            ),
            Err(code) => assert!(
                !is_sts_available || code == "CredentialsPending",
                "{code} although STS is available"
            ),
        }
    }
    if is_sts_available {
        wait_until_ready(&daemon);
        assert_ne!(read_file(&file).unwrap().id, current.id);
        assert_eq!(
            parse(&daemon.credentials().body).id,
            read_file(&file).unwrap().id
        );
    } else {
        eventually("the file is removed", || {
            read_file(&file).is_none().then_some(())
        });
        assert_eq!(daemon.probe("/ready").text("phase"), "expired");
    }
}
