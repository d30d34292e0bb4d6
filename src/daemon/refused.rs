//! Explains why addresses cannot be bound: who holds them, and which others are free.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::settings;
use crate::server::metadata;

/// An address that cannot be bound.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) address: SocketAddr,
    /// The setting or the flag that it comes from.
    pub(crate) setting: &'static str,
    pub(crate) source: io::Error,
}

/// Returns what to do about addresses that cannot be bound, of which the first is shown.
pub(super) fn remedy(refused: &[Refused]) -> String {
    let Some(Refused {
        address, source, ..
    }) = refused.first()
    else {
        return String::new();
    };
    let others = |kind: io::ErrorKind, other: fn(SocketAddr) -> SocketAddr| {
        let alike = refused.iter().filter(|one| one.source.kind() == kind);
        let flags: Vec<String> = alike
            .filter(|one| one.address.ip() != IpAddr::from(metadata::ADDRESS))
            .filter_map(|one| Some(format!("{} {}", flag(one.setting)?, other(one.address))))
            .collect();
        match flags.join(" ") {
            flags if flags.is_empty() => None,
            flags => Some(format!("({flags})")),
        }
    };
    match source.kind() {
        io::ErrorKind::AddrNotAvailable if address.ip() == IpAddr::from(metadata::ADDRESS) => {
            "give this machine that address (ip address add 100.100.100.200/32 dev lo)".to_owned()
        }
        kind @ io::ErrorKind::AddrNotAvailable if address.ip() == Ipv4Addr::LOCALHOST => {
            let flags = others(kind, |one| (Ipv6Addr::LOCALHOST, one.port()).into());
            let flags = flags.unwrap_or_else(|| "instead of 127.0.0.1".to_owned());
            format!("bring up this machine's loopback with IPv4, use [::1] {flags}")
        }
        io::ErrorKind::AddrNotAvailable => "write an address that this machine has".to_owned(),
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "grant CAP_NET_BIND_SERVICE, which ports below 1024 need".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "permit the system calls socket and bind in the seccomp filter of this process"
                .to_owned()
        }
        kind @ io::ErrorKind::AddrInUse => {
            let holder = match holder(*address) {
                Holder::RamSidecar => "a ram-sidecar holds it: stop that one",
                Holder::Other => "a program other than ram-sidecar holds it: stop that",
                Holder::Unknown => {
                    "what holds it does not answer, and may be a ram-sidecar that hangs: find it with `ss -ltnp`, and stop it"
                }
            };
            match others(kind, free) {
                None => holder.to_owned(),
                Some(flags) => {
                    format!("{holder}, start this one with addresses of its own {flags}")
                }
            }
        }
        _ => "correct it".to_owned(),
    }
}

/// Returns the flag of a setting, if it has one.
fn flag(setting: &str) -> Option<String> {
    if setting.starts_with("--") {
        return Some(setting.to_owned());
    }
    Some(format!("--{}", settings::find(setting)?.flag()?))
}

/// Returns the same address with a port that is free now; with port 0, which picks one, if there is none nearby.
fn free(address: SocketAddr) -> SocketAddr {
    let nearby = (1..=20).filter_map(|step| address.port().checked_add(10 * step));
    let mut nearby = nearby.map(|port| SocketAddr::new(address.ip(), port));
    let found = nearby.find(|one| TcpListener::bind(one).is_ok());
    found.unwrap_or_else(|| SocketAddr::new(address.ip(), 0))
}

/// What listens at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    RamSidecar,
    Other,
    /// It does not answer.
    Unknown,
}

/// Asks what listens at an address. Its answer only chooses a sentence.
fn holder(address: SocketAddr) -> Holder {
    match answer(address) {
        Ok(answer) if answer.is_empty() => Holder::Unknown,
        Ok(answer) if MARKS.iter().any(|mark| answer.contains(mark)) => Holder::RamSidecar,
        Ok(_) => Holder::Other,
        Err(_) => Holder::Unknown,
    }
}

fn answer(mut address: SocketAddr) -> io::Result<String> {
    match &mut address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => v4.set_ip(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => v6.set_ip(Ipv6Addr::LOCALHOST),
        _ => {}
    }
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one piece: a program that answers its beginning may close the connection with an error at the rest.
    let request = format!("GET /_sandbox HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    let end = Instant::now() + LONGEST;
    while answer.len() < LONGEST_ANSWER && Instant::now() < end {
        match stream.read(&mut part) {
            Ok(length @ 1..) => answer.extend_from_slice(part.get(..length).unwrap_or_default()),
            _ => break,
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What a ram-sidecar answers to that request: the data listener names a setting, the admin listener lists its probes, the
/// metadata listener its paths or a setting, and the embedded STS names its control endpoint.
const MARKS: [&str; 6] = [
    "serve.key",
    "serve.allow",
    "/startup",
    "/latest/meta-data/ram/security-credentials/",
    "metadata.v2_only",
    "/_sandbox/faults",
];

/// How long a program on this machine may take for each part of an answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long it may take for all of it.
const LONGEST: Duration = Duration::from_secs(1);

/// Bytes: the start of an answer tells enough.
const LONGEST_ANSWER: usize = 8192;
