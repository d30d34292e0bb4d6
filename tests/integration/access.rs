//! Access to every listener that serves credentials: which requests it serves, which it refuses, and what it logs.

mod callers;
mod commands;
mod configuration;
mod hostile;
mod ipv4;
mod network;
mod remote;
mod users;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;

use crate::serving::LISTEN;
use crate::support::Daemon;

/// A protocol in which clients request credentials.
pub(super) struct Dialect {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    /// The path without its last segment.
    pub(super) prefix: &'static str,
    /// The last segment of the path.
    pub(super) last: &'static str,
}

impl Dialect {
    pub(super) fn path(&self) -> String {
        format!("{}{}", self.prefix, self.last)
    }

    /// Requests credentials as a client does.
    pub(super) fn ask(&self) -> crate::http::Reply {
        crate::http::get(self.address, &self.path())
    }
}

/// Starts a sandbox that serves every dialect.
pub(super) fn start(args: &[&str], env: &[(&str, &str)]) -> Daemon {
    let all = [
        "--sandbox",
        "--container",
        "--metadata-listen",
        "127.0.0.1:0",
    ];
    let daemon = Daemon::spawn(&[&all, &LISTEN[..], args].concat(), env);
    daemon.uri();
    daemon
}

/// Returns the dialects of the daemon that [`start`] started.
pub(super) fn dialects(daemon: &Daemon) -> [Dialect; 3] {
    let dialect = |name, address, prefix, last| Dialect {
        name,
        address,
        prefix,
        last,
    };
    let (data, metadata) = (daemon.data(), daemon.metadata());
    let role = "/latest/meta-data/ram/security-credentials/";
    [
        dialect("credentials_uri", data, "/api/v1/credentials/", "0"),
        dialect("container", data, "/api/v1/container/", "0"),
        dialect("metadata", metadata, role, "sandbox-role"),
    ]
}

/// Sends bytes and reads until the server closes, which it may do before it has read them all.
pub(super) fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // The server may have refused already.
    let _ = stream.write_all(request);
    response(stream)
}

pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream
        .set_read_timeout(Some(TIMEOUT))
        .expect("a timeout above zero");
    stream
}

pub(super) fn response(mut stream: TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    // A response may be followed by a reset.
    let _ = stream.read_to_end(&mut received);
    received
}

/// Whether a response of any dialect contains credentials.
pub(super) fn has_credentials(response: &[u8]) -> bool {
    String::from_utf8_lossy(response).contains("Secret")
}

/// Returns the log lines that contain all of `words`.
pub(super) fn lines(daemon: &Daemon, words: &[&str]) -> Vec<String> {
    let log = daemon.stderr();
    let found = log
        .lines()
        .filter(|line| words.iter().all(|word| line.contains(word)));
    found.map(str::to_owned).collect()
}

/// Runs a program until it exits.
pub(super) fn output(words: &[&str]) -> Output {
    let (program, words) = words.split_first().expect("a program");
    Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Whether a program can be run.
pub(super) fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(super) fn has_ipv6_loopback() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

/// Longer than the limit of the daemon for a connection.
const TIMEOUT: Duration = Duration::from_secs(20);
