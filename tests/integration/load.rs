//! Many clients at once, and hostile clients.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::http;
use crate::serving::LISTEN;
use crate::support::{Daemon, required};

const CLIENTS: usize = 2000;

/// Raises the limit of open files to its maximum, and returns whether it suffices.
pub(crate) fn enough_files() -> bool {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    let current = getrlimit(Resource::Nofile).current;
    required(
        "a limit of 5000 open files",
        current.is_none_or(|current| current >= 5000),
    )
}

fn start() -> Daemon {
    let daemon = Daemon::spawn(
        &[&["--sandbox"], &LISTEN[..]].concat(),
        &[("RAM_SIDECAR_LOG", "info")],
    );
    daemon.uri();
    daemon
}

async fn request(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}

#[tokio::test(flavor = "multi_thread")]
async fn burst_of_two_thousand_connections_is_answered_completely() {
    if !enough_files() {
        return;
    }
    let daemon = start();
    let (address, expected) = (daemon.data(), daemon.credentials().body);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(request(address)))
        .collect();
    for client in clients {
        let response = client.await.unwrap().expect("no connection is reset");
        assert!(
            response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with(&expected),
            "{response}"
        );
    }
}

#[test]
fn two_thousand_idle_connections_do_not_delay_responses() {
    if !enough_files() {
        return;
    }
    let daemon = start();
    let address = daemon.data();
    let mut idle = Vec::new();
    for count in 1..=CLIENTS {
        idle.push(TcpStream::connect(address).expect("the backlog is not full"));
        if count % 500 == 0 {
            let reply = daemon.credentials();
            assert_eq!(reply.status, 200, "beside {count} idle connections");
        }
    }
    // A client that does not complete its request does not delay responses either.
    let mut slow = TcpStream::connect(address).unwrap();
    slow.write_all(b"GET /api/v1/cred").unwrap();
    assert_eq!(daemon.credentials().status, 200);
    slow.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert!(
        slow.read_to_end(&mut Vec::new()).is_ok(),
        "the slow client is disconnected"
    );
    // The idle clients are disconnected as well.
    for mut stream in idle {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // A close or a reset; a timeout would be an error of another kind.
        match stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("an idle connection stays open: {other:?}"),
        }
    }
}

#[test]
fn idle_connections_are_closed_under_a_low_limit_of_open_files() {
    let daemon = Daemon::spawn_limited(120, &[&["--sandbox"], &LISTEN[..]].concat());
    daemon.uri();
    let address = daemon.data();
    let mut idle = Vec::new();
    for _ in 0..400 {
        idle.push(TcpStream::connect(address).expect("the backlog is not full"));
    }
    assert_eq!(http::get(address, "/api/v1/credentials/0").status, 200);
    assert!(
        !daemon.stderr().contains("Cannot accept"),
        "{}",
        daemon.stderr()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn active_clients_are_answered_under_a_low_limit_of_open_files() {
    let daemon = Daemon::spawn_limited(120, &[&["--sandbox"], &LISTEN[..]].concat());
    daemon.uri();
    let address = daemon.data();
    // All are connected before the first reads its response: more than the limit allows.
    let mut connected = Vec::new();
    for _ in 0..100 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            .await
            .unwrap();
        connected.push(stream);
    }
    for mut stream in connected {
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    }
}
