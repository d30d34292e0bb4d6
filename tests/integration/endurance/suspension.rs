//! The process is stopped for longer than its credentials live.

use chrono::TimeDelta;

use super::{answered, beside, now, read, ready, whole};
use crate::access::dialects;
use crate::http;
use crate::sandbox::Sandbox;
use crate::support::{Scratch, eventually};

#[test]
fn what_waits_for_a_process_that_slept_through_the_end_gets_nothing_that_has_ended() {
    std::thread::scope(|scope| {
        for is_there in [true, false] {
            scope.spawn(move || slept_through_the_end(is_there));
        }
    });
}

fn slept_through_the_end(is_there: bool) {
    let (sandbox, scratch) = (Sandbox::start(&["--fault", "lifetime=5s"]), Scratch::new());
    let file = scratch.join("credentials");
    let daemon = beside(&sandbox, &file, &[]);
    ready(&daemon);
    // Found in the log before it stops.
    let doors = dialects(&daemon);
    daemon.signal("STOP");
    let held = read(&file).expect("the file").expect("credentials");
    sandbox.set(if is_there { "lifetime=1m" } else { "down" });
    eventually("they end", || {
        (now() > held.ends_at + TimeDelta::seconds(1)).then_some(())
    });
    // The kernel takes connections and requests meanwhile; they are the first that it finds.
    let waiting: Vec<_> = doors
        .iter()
        .cycle()
        .take(30)
        .map(|door| {
            let (path, address) = (door.path(), door.address);
            let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            http::send(address, &request)
        })
        .collect();
    let waked_at = now();
    daemon.signal("CONT");
    for stream in waiting {
        match answered(&http::received(stream)) {
            Ok(given) => assert!(is_there && given.ends_at > waked_at, "{given:?}"),
            Err(code) => assert!(
                !is_there || code == "CredentialsPending",
                "{code} although STS is there"
            ),
        }
    }
    if is_there {
        ready(&daemon);
        assert_ne!(read(&file).unwrap().unwrap().id, held.id);
        assert_eq!(
            whole(&daemon.credentials().body).id,
            read(&file).unwrap().unwrap().id
        );
    } else {
        eventually("the file is gone", || read(&file).is_none().then_some(()));
        assert_eq!(daemon.probe("/ready").text("phase"), "expired");
    }
}
