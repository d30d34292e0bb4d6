//! Two thousand connections of those who never take an answer, never end a question, or leave in the middle.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use tokio::time::Instant;

use super::{answered, ready};
use crate::access::{dialects, is_root};
use crate::load::enough_files;
use crate::sandbox::Sandbox;
use crate::serving::LISTEN;
use crate::support::{Daemon, eventually, required};

/// What each of a crowd does with its connection; the connection, if it is kept.
type Misbehave = fn(SocketAddr) -> Option<TcpStream>;

const CROWDS: &[(&str, Misbehave)] = &[
    ("asks and never takes the answer", |address| {
        let mut stream = connected(address);
        stream.write_all(REQUEST).unwrap();
        Some(stream)
    }),
    ("asks, with room for a part of the answer only", |address| {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        // The kernel makes it some two thousand bytes, its least.
        sockopt::set_socket_recv_buffer_size(&socket, 1).unwrap();
        connect(&socket, &address).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(REQUEST).unwrap();
        Some(stream)
    }),
    ("never ends its question", |address| {
        let mut stream = connected(address);
        stream.write_all(&REQUEST[..40]).unwrap();
        Some(stream)
    }),
    ("ends its half without a question", |address| {
        let stream = connected(address);
        stream.shutdown(Shutdown::Write).unwrap();
        Some(stream)
    }),
    ("ends its half in the middle of the question", |address| {
        let mut stream = connected(address);
        stream.write_all(&REQUEST[..40]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        Some(stream)
    }),
    ("asks and is gone", |address| {
        let mut stream = connected(address);
        stream.write_all(REQUEST).unwrap();
        // A reset, and not an end, is what its peer meets.
        sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).unwrap();
        None
    }),
];

#[test]
fn two_thousand_of_each_kind_keep_no_good_client_waiting_and_leave_nothing_behind() {
    if !enough_files() || !required("root, who may count descriptors", is_root()) {
        return;
    }
    let sandbox = Sandbox::start(&[]);
    let ways = ["--container", "--metadata-listen", "127.0.0.1:0"];
    let quiet = [&sandbox.env()[..], &[("RAM_SIDECAR_LOG", "info")]].concat();
    let daemon = Daemon::spawn(&[&LISTEN[..], &ways].concat(), &quiet);
    ready(&daemon);
    let address = daemon.data();
    for dialect in dialects(&daemon) {
        answered(&dialect.ask()).expect("credentials");
    }
    let before = settled(&daemon, usize::MAX);
    for (what, misbehave) in CROWDS {
        let held = crowd(&daemon, address, *misbehave);
        assert_eq!(
            held.len(),
            if *what == "asks and is gone" {
                0
            } else {
                CLIENTS
            }
        );
        // They hold on; it lets go.
        let after = settled(&daemon, before.descriptors);
        assert!(
            after.descriptors <= before.descriptors,
            "{what}: {after:?} {before:?}"
        );
        assert!(
            after.threads <= before.threads,
            "{what}: {after:?} {before:?}"
        );
        assert!(
            after.anonymous <= before.anonymous + SLACK,
            "{what}: {after:?} {before:?}"
        );
    }
}

/// Opens two thousand connections, and asks in every dialect meanwhile; returns those that are kept.
fn crowd(daemon: &Daemon, address: SocketAddr, misbehave: Misbehave) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for count in 1..=CLIENTS {
        held.extend(misbehave(address));
        if count % 250 == 0 {
            for dialect in dialects(daemon) {
                let times = (0..3).map(|_| {
                    let asked_at = Instant::now();
                    answered(&dialect.ask()).expect("credentials");
                    asked_at.elapsed()
                });
                let took = times.min().unwrap();
                assert!(took < Duration::from_secs(1), "{}: {took:?}", dialect.name);
            }
        }
    }
    held
}

/// What a process has taken.
#[derive(Debug)]
struct Taken {
    descriptors: usize,
    threads: u64,
    /// Memory of its own, in KiB.
    anonymous: u64,
}

/// Waits until it has let go of all descriptors but so many, and of the threads that do blocking work.
fn settled(daemon: &Daemon, descriptors: usize) -> Taken {
    let mut last = 0;
    eventually("it comes to rest", || {
        let taken = taken(daemon);
        let is_at_rest = taken.descriptors <= descriptors && taken.descriptors == last;
        last = taken.descriptors;
        (is_at_rest && taken.threads <= 2).then_some(taken)
    })
}

fn taken(daemon: &Daemon) -> Taken {
    let of = |name: &str| format!("/proc/{}/{name}", daemon.id());
    let status = std::fs::read_to_string(of("status")).expect("it runs");
    let number = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        let value = value.and_then(|value| value.split_whitespace().next());
        value.expect("a field").parse().expect("a number")
    };
    Taken {
        descriptors: std::fs::read_dir(of("fd")).expect("root may").count(),
        threads: number("Threads:"),
        anonymous: number("RssAnon:"),
    }
}

fn connected(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).expect("the backlog is not full")
}

const CLIENTS: usize = 2000;

const REQUEST: &[u8] = b"GET /api/v1/credentials/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// In KiB: what it may keep of two thousand connections for the next. A buffer for each would be 16,000.
const SLACK: u64 = 3000;
