//! The listeners, and the servers behind them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{Span, debug, info};

use crate::config::{self, Serve};
use crate::metrics::{self, Counters, RequestCounter};
use crate::server::admin::{self, Admin};
use crate::server::connections::Limit;
use crate::server::data::{self, Data};
use crate::server::hold::Provider;
use crate::server::metadata::{self, Metadata};
use crate::server::{self, Service};

use super::Error;
use super::refused::Refused;
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
    pub(super) counters: Option<Counters>,
}

impl Listeners {
    pub(super) fn bind(
        data: SocketAddr,
        metadata: Option<&config::Metadata>,
        admin: Option<SocketAddr>,
    ) -> Result<Self, Error> {
        let data_bound = bind_data(data);
        let metadata = metadata.map(|options| try_bind(options.listen, "metadata.listen"));
        let admin = admin.map(|address| try_bind(address, "admin.listen"));
        match (data_bound, metadata.transpose(), admin.transpose()) {
            (Ok(data), Ok(metadata), Ok(admin)) => Ok(Self {
                data,
                metadata,
                admin,
            }),
            (data, metadata, admin) => {
                let refused = [data.err(), metadata.err(), admin.err()];
                Err(Error::bind(refused.into_iter().flatten().collect()))
            }
        }
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

    /// Returns the addresses, with the settings that they come from.
    pub(super) fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let named = |setting| move |(_, address): &Bound| (setting, *address);
        let data = self.data.iter().map(named("serve.listen"));
        let metadata = self.metadata.iter().map(named("metadata.listen"));
        let admin = self.admin.iter().map(named("admin.listen"));
        data.chain(metadata).chain(admin).collect()
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
        let counters = services.counters;
        let open = counters.as_ref().map(Counters::open_connections);
        let open = open.unwrap_or_default();
        let limit = Limit::new(open, shared, shared / RESERVED_SHARE);
        let mut servers = TaskSet::new(span);
        let mut start = |name, listener, router: Router, direct, dialect| {
            let counter = counters
                .as_ref()
                .map(|counters| RequestCounter::new(counters, dialect));
            let service = Service {
                router,
                direct,
                counter,
            };
            let stop = closed(closing.clone());
            let serving = server::run(listener, service, limit.clone(), stop);
            servers.spawn(name, serving);
        };
        let caller_log = Arc::clone(&services.admin.caller_log);
        for (listener, address) in self.data {
            let data = Data {
                provider: services.provider.clone(),
                key: serve.key.clone(),
                container: serve.container.clone(),
            };
            let admission = serve.admission.clone();
            let caller_log = Arc::clone(&caller_log);
            let (router, direct) = data::router(data, address.ip(), admission, caller_log);
            let direct = Some(direct);
            start("the data server", listener, router, direct, data::dialect);
        }
        if let (Some((listener, address)), Some(metadata)) = (self.metadata, services.metadata) {
            let role_name = &metadata.role;
            info!(%address, role_name, "Listening for the ECS metadata dialect");
            let uids = services.metadata_uids;
            let router = metadata::router(metadata, uids, caller_log);
            start(
                "the metadata server",
                listener,
                router,
                None,
                metadata::dialect,
            );
        }
        if let Some((listener, address)) = self.admin {
            info!(%address, "Listening for probes");
            let router = admin::router(services.admin);
            start("the admin server", listener, router, None, |_| {
                metrics::ADMIN
            });
        }
        servers
    }
}

/// Binds one address, which comes from `setting`.
#[cfg(feature = "inject")]
pub(crate) fn bind(address: SocketAddr, setting: &'static str) -> Result<Bound, Error> {
    try_bind(address, setting).map_err(|refused| Error::bind(vec![refused]))
}

fn try_bind(address: SocketAddr, setting: &'static str) -> Result<Bound, Refused> {
    let bound = server::bind(address).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| Refused {
        address,
        setting,
        source,
    })
}

/// Binds the data listener, and for 127.0.0.1 the same port of `::1`: `localhost` may mean either.
fn bind_data(listen: SocketAddr) -> Result<Vec<Bound>, Refused> {
    let setting = "serve.listen";
    if listen.ip() != IpAddr::from(Ipv4Addr::LOCALHOST) {
        return Ok(vec![try_bind(listen, setting)?]);
    }
    let mut retries = PORT_RETRIES;
    loop {
        let first = try_bind(listen, setting)?;
        let ipv6 = SocketAddr::from((Ipv6Addr::LOCALHOST, first.1.port()));
        match try_bind(ipv6, setting) {
            Ok(second) => return Ok(vec![first, second]),
            Err(Refused { source, .. }) if source.kind() != io::ErrorKind::AddrInUse => {
                debug!(error = %source, "Listening on 127.0.0.1 only, because [::1] is unavailable");
                return Ok(vec![first]);
            }
            // A port that is free in one family may be taken in the other.
            Err(_) if listen.port() == 0 && retries > 0 => retries -= 1,
            Err(refused) => return Err(refused),
        }
    }
}

async fn closed(mut closing: watch::Receiver<bool>) {
    // A dropped sender also closes.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Concurrent connections of all listeners, if the limit of open files allows. Silent ones fit into 64 MiB.
const CONNECTIONS: usize = 16_384;

/// The share of them that each listener has in any case is one in so many.
const RESERVED_SHARE: usize = 12;

/// Retries to find a port that is free in both families.
const PORT_RETRIES: u32 = 16;
