//! The listeners, and the servers behind them.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{Span, debug, info};

use crate::config::{self, Serve};
use crate::server;
use crate::server::admin::{self, Admin};
use crate::server::connections::Limit;
use crate::server::data::{self, Data};
use crate::server::hold::Provider;
use crate::server::metadata::{self, Metadata};

use super::Error;
use super::tasks::TaskSet;

/// A listener and its address.
pub(crate) type Bound = (TcpListener, SocketAddr);

/// The listeners of a process.
#[derive(Debug)]
pub(super) struct Listeners {
    data: Vec<Bound>,
    metadata: Option<Bound>,
    admin: Option<Bound>,
}

/// What the listeners serve.
pub(super) struct Services {
    pub(super) provider: Provider,
    pub(super) serve: Serve,
    pub(super) metadata: Option<Metadata>,
    pub(super) metadata_uids: Option<Vec<u32>>,
    pub(super) admin: Admin,
}

impl Listeners {
    pub(super) fn bind(
        data: SocketAddr,
        metadata: Option<&config::Metadata>,
        admin: Option<SocketAddr>,
    ) -> Result<Self, Error> {
        let metadata = metadata.map(|options| bind(options.listen, "metadata.listen"));
        let admin = admin.map(|address| bind(address, "admin.listen"));
        Ok(Self {
            data: bind_data(data)?,
            metadata: metadata.transpose()?,
            admin: admin.transpose()?,
        })
    }

    /// Returns the address to advertise, as an IPv4 literal if possible: Python's SDK fails on IPv6 literals.
    pub(super) fn advertised(&self, listen: SocketAddr) -> SocketAddr {
        let first = self.data.first();
        let mut address = first.map_or(listen, |(_, address)| *address);
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        address
    }

    /// Returns the address of the metadata listener.
    pub(super) fn metadata(&self) -> Option<SocketAddr> {
        self.metadata.as_ref().map(|(_, address)| *address)
    }

    /// Serves on every address until `closing` is set. The listeners share the limit of open files.
    pub(super) fn serve(
        self,
        services: Services,
        open_files: usize,
        closing: &watch::Receiver<bool>,
        span: Span,
    ) -> TaskSet {
        let serve = services.serve;
        // A fifth for what is reserved for each of at most four listeners, and a fifth for everything else.
        let shared = (open_files / 5 * 3).clamp(16, CONNECTIONS);
        let limit = Limit::new(shared, shared / RESERVED_SHARE);
        let mut servers = TaskSet::new(span);
        let mut start = |name, listener, router: Router| {
            let stop = closed(closing.clone());
            servers.spawn(name, server::run(listener, router, limit.clone(), stop));
        };
        let caller_log = Arc::clone(&services.admin.caller_log);
        for (listener, address) in self.data {
            let data = Data {
                provider: services.provider.clone(),
                key: serve.key.clone(),
                container: serve.container.clone(),
            };
            let admission = serve.admission.clone();
            let router = data::router(data, address.ip(), admission, Arc::clone(&caller_log));
            start("the data server", listener, router);
        }
        if let (Some((listener, address)), Some(metadata)) = (self.metadata, services.metadata) {
            let role = &metadata.role;
            info!(%address, role, "The ECS metadata dialect is served");
            let uids = services.metadata_uids;
            let router = metadata::router(metadata, uids, caller_log);
            start("the metadata server", listener, router);
        }
        if let Some((listener, address)) = self.admin {
            info!(%address, "Probes are served");
            start("the admin server", listener, admin::router(services.admin));
        }
        servers
    }
}

/// Binds one address, which comes from `setting`.
pub(crate) fn bind(address: SocketAddr, setting: &'static str) -> Result<Bound, Error> {
    let bound = server::bind(address).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| Error::bind(address, setting, source))
}

/// Binds the data listener, and for 127.0.0.1 the same port of `::1`: `localhost` may mean either.
fn bind_data(listen: SocketAddr) -> Result<Vec<Bound>, Error> {
    let setting = "serve.listen";
    if listen.ip() != IpAddr::from(Ipv4Addr::LOCALHOST) {
        return Ok(vec![bind(listen, setting)?]);
    }
    let mut retries = PORT_RETRIES;
    loop {
        let first = bind(listen, setting)?;
        let ipv6 = SocketAddr::from((Ipv6Addr::LOCALHOST, first.1.port()));
        match bind(ipv6, setting) {
            Ok(second) => return Ok(vec![first, second]),
            Err(Error::Bind { source, .. }) if source.kind() != io::ErrorKind::AddrInUse => {
                debug!("Serving on 127.0.0.1 only, because [::1] is unavailable: {source}");
                return Ok(vec![first]);
            }
            // A port that is free in one family may be taken in the other.
            Err(_) if listen.port() == 0 && retries > 0 => retries -= 1,
            Err(error) => return Err(error),
        }
    }
}

/// Returns what to do about an address that cannot be bound.
pub(super) fn remedy(address: SocketAddr, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable if address.ip() == IpAddr::from(metadata::ADDRESS) => {
            "give this machine that address (ip address add 100.100.100.200/32 dev lo)"
        }
        io::ErrorKind::AddrNotAvailable if address.ip() == Ipv4Addr::LOCALHOST => {
            "bring up this machine's loopback with IPv4, write [::1] instead of 127.0.0.1"
        }
        io::ErrorKind::AddrNotAvailable => "write an address that this machine has",
        io::ErrorKind::PermissionDenied => {
            "grant CAP_NET_BIND_SERVICE, which ports below 1024 need"
        }
        io::ErrorKind::AddrInUse => match is_ram_sidecar(address) {
            Ok(true) => {
                "a ram-sidecar holds it: stop that one, start this one with addresses of its own (--listen 127.0.0.1:7012 --admin-listen 127.0.0.1:7013)"
            }
            Ok(false) => "a program other than ram-sidecar holds it: stop that",
            Err(_) => "stop what uses it",
        },
        _ => "correct it",
    }
}

/// Asks what listens at an address. Its answer only chooses a sentence.
fn is_ram_sidecar(mut address: SocketAddr) -> io::Result<bool> {
    match &mut address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => v4.set_ip(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => v6.set_ip(Ipv6Addr::LOCALHOST),
        _ => {}
    }
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while answer.len() < LONGEST_ANSWER {
        match stream.read(&mut part) {
            Ok(length @ 1..) => answer.extend_from_slice(part.get(..length).unwrap_or_default()),
            _ => break,
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    // The refusals of the data listener, which name a setting, and that of the admin listener, which lists its probes.
    Ok(["serve.key", "serve.allow", "/startup"]
        .iter()
        .any(|mark| answer.contains(mark)))
}

async fn closed(mut closing: watch::Receiver<bool>) {
    // A dropped sender also closes.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// How long a program on this machine may take for each part of an answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// Bytes: the start of an answer tells enough.
const LONGEST_ANSWER: usize = 8192;

/// Concurrent connections of all listeners, if the limit of open files allows. Silent ones fit into 64 MiB.
const CONNECTIONS: usize = 16_384;

/// The share of them that each listener has in any case is one in so many.
const RESERVED_SHARE: usize = 12;

/// Retries to find a port that is free in both families.
const PORT_RETRIES: u32 = 16;
