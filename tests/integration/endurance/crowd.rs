//! Two thousand connections of clients that never read the response, never finish the request, or disconnect meanwhile.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use tokio::time::Instant;

use super::{outcome, wait_until_ready};
use crate::access::{dialects, is_root};
use crate::load::enough_files;
use crate::sandbox::Sandbox;
use crate::serving::LISTEN;
use crate::support::{Daemon, eventually, required};

/// Misuses one connection, and returns the connection unless it was closed.
type Misbehave = fn(SocketAddr) -> Option<TcpStream>;

const CROWDS: &[(&str, Misbehave)] = &[
    ("sends a request and never reads the response", |address| {
        let mut stream = connected(address);
        stream.write_all(REQUEST).unwrap();
        Some(stream)
    }),
    (
        "sends a request, with a receive buffer smaller than the response",
        |address| {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            // The kernel raises it to its minimum, about two thousand bytes.
            sockopt::set_socket_recv_buffer_size(&socket, 1).unwrap();
            connect(&socket, &address).unwrap();
            let mut stream = TcpStream::from(socket);
            stream.write_all(REQUEST).unwrap();
            Some(stream)
        },
    ),
    ("never finishes the request", |address| {
        let mut stream = connected(address);
        stream.write_all(&REQUEST[..40]).unwrap();
        Some(stream)
    }),
    ("shuts down writing without a request", |address| {
        let stream = connected(address);
        stream.shutdown(Shutdown::Write).unwrap();
        Some(stream)
    }),
    (
        "shuts down writing in the middle of the request",
        |address| {
            let mut stream = connected(address);
            stream.write_all(&REQUEST[..40]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            Some(stream)
        },
    ),
    ("sends a request and disconnects", |address| {
        let mut stream = connected(address);
        stream.write_all(REQUEST).unwrap();
        // Closes the connection with a reset.
        sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).unwrap();
        None
    }),
];

#[test]
fn misused_connections_neither_delay_other_clients_nor_leak_resources() {
    if !enough_files() || !required("root, to count descriptors", is_root()) {
        return;
    }
    let sandbox = Sandbox::start(&[]);
    let outputs = ["--container", "--metadata-listen", "127.0.0.1:0"];
    let quiet = [&sandbox.env()[..], &[("RAM_SIDECAR_LOG", "info")]].concat();
    let daemon = Daemon::spawn(&[&LISTEN[..], &outputs].concat(), &quiet);
    wait_until_ready(&daemon);
    let address = daemon.data();
    for dialect in dialects(&daemon) {
        outcome(&dialect.ask()).expect("credentials");
    }
    let before = settled_resources(&daemon, usize::MAX);
    for (what, misbehave) in CROWDS {
        let open = crowd(&daemon, address, *misbehave);
        assert_eq!(
            open.len(),
            if *what == "sends a request and disconnects" {
                0
            } else {
                CLIENTS
            }
        );
        // The clients keep their connections open; the daemon closes its own.
        let after = settled_resources(&daemon, before.descriptors);
        assert!(
            after.descriptors <= before.descriptors,
            "{what}: {after:?} {before:?}"
        );
        assert!(after.threads <= MAX_THREADS, "{what}: {after:?} {before:?}");
        assert!(
            after.anonymous <= before.anonymous + MAX_GROWTH,
            "{what}: {after:?} {before:?}"
        );
    }
}

/// Opens two thousand connections, and requests credentials in every dialect meanwhile; returns the open connections.
fn crowd(daemon: &Daemon, address: SocketAddr, misbehave: Misbehave) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for count in 1..=CLIENTS {
        open.extend(misbehave(address));
        if count % 250 == 0 {
            for dialect in dialects(daemon) {
                let times = (0..3).map(|_| {
                    let requested_at = Instant::now();
                    outcome(&dialect.ask()).expect("credentials");
                    requested_at.elapsed()
                });
                let took = times.min().unwrap();
                assert!(took < Duration::from_secs(1), "{}: {took:?}", dialect.name);
            }
        }
    }
    open
}

/// The resources that a process uses.
#[derive(Debug)]
struct Resources {
    descriptors: usize,
    threads: u64,
    /// Anonymous resident memory, in KiB.
    anonymous: u64,
}

/// Waits until the process has at most this number of descriptors, a stable one.
fn settled_resources(daemon: &Daemon, descriptors: usize) -> Resources {
    let mut last = 0;
    eventually("the daemon closes its descriptors", || {
        let used = resources(daemon);
        let is_stable = used.descriptors <= descriptors && used.descriptors == last;
        last = used.descriptors;
        is_stable.then_some(used)
    })
}

fn resources(daemon: &Daemon) -> Resources {
    let of = |name: &str| format!("/proc/{}/{name}", daemon.id());
    let status = std::fs::read_to_string(of("status")).expect("the daemon runs");
    let number = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        let value = value.and_then(|value| value.split_whitespace().next());
        value.expect("a field").parse().expect("a number")
    };
    Resources {
        descriptors: std::fs::read_dir(of("fd"))
            .expect("root has access")
            .count(),
        threads: number("Threads:"),
        anonymous: number("RssAnon:"),
    }
}

fn connected(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).expect("the backlog is not full")
}

const CLIENTS: usize = 2000;

/// One serves, five do blocking work, and one writes the token file.
const MAX_THREADS: u64 = 7;

const REQUEST: &[u8] = b"GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// The memory, in KiB, that may remain in use after two thousand connections. A buffer for each would be 16,000.
const MAX_GROWTH: u64 = 3000;
